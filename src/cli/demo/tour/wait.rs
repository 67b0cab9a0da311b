//! What the tour waits for, always with a bound.

use std::time::Duration;

use git2::Oid;
use tokio::time::Instant;

use super::{Tour, TourError, id, short};
use crate::cli::demo::figures::Figures;
use crate::server::{HistoryView, StatusView};

/// How often something is looked at that gives no event.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So long nothing may be asked of the clusters before a commit's cost is measured, and after it.
pub(super) const QUIET: Duration = Duration::from_secs(2);

impl Tour {
    /// The newest event of a cluster that begins like this, as the API tells it.
    pub(super) async fn told_of(
        &self,
        cluster: &str,
        what: &str,
        bound: Duration,
    ) -> Result<String, TourError> {
        let (began, path) = (Instant::now(), format!("/api/v1/targets/{cluster}/history?limit=5"));
        while began.elapsed() < bound {
            let events: Vec<HistoryView> = self.client.get_json(&path).await?;
            if let Some(event) = events.into_iter().find(|event| event.outcome.starts_with(what)) {
                return Ok(event.outcome);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(TourError::Late { what: "an event in the cluster's history", after: bound })
    }

    pub(super) async fn taken(&mut self, commit: Oid) -> Result<(), TourError> {
        let (wanted, mut seen, mut superseded) = (id(commit), false, false);
        let done = |view: &StatusView| {
            let observed = view.repository.observed;
            superseded = seen && observed != Some(wanted);
            seen |= observed == Some(wanted);
            superseded || (seen && view.fleets.iter().all(|fleet| fleet.accepted == Some(wanted)))
        };
        self.until("the commit's being accepted", done).await?;
        if superseded {
            return Err(TourError::Superseded(short(commit)));
        }
        Ok(())
    }

    /// Waits, with a bound, for a picture that fits.
    pub(super) async fn until(
        &mut self,
        what: &'static str,
        mut fits: impl FnMut(&StatusView) -> bool,
    ) -> Result<(), TourError> {
        let after = self.bound();
        let found = tokio::time::timeout(after, self.views.wait_for(|view| fits(view))).await;
        match found {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(TourError::Ended),
            Err(_) => Err(TourError::Late { what, after }),
        }
    }

    /// Waits until nothing is asked of any cluster; the figures from then.
    pub(super) async fn settle(&self) -> Result<Figures, TourError> {
        let (began, after) = (Instant::now(), self.bound());
        let mut last = self.figures().await?;
        while began.elapsed() < after {
            tokio::time::sleep(QUIET / 2).await;
            let now = self.figures().await?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
        Err(TourError::Late { what: "the clusters' being left alone", after })
    }

    pub(super) async fn figures(&self) -> Result<Figures, TourError> {
        Ok(Figures::read(&self.client.get_text("/metrics").await?))
    }

    /// Long enough for a slow machine, and for many clusters.
    pub(super) fn bound(&self) -> Duration {
        Duration::from_secs(60) + Duration::from_millis(60) * u32::try_from(self.clusters.len()).unwrap_or(0)
    }
}

//! The task that follows the repository: fetches when told, when the time has come, and when a local
//! repository's refs change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::model::digest::CommitId;
use crate::repo::{Mirror, RepoError, Tag};

/// Longest wait between two tries at a repository that can't be fetched.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// What a fetch gave.
#[derive(Debug)]
pub enum Observation {
    Fetched {
        head: CommitId,
        tags: Vec<Tag>,
        /// Whether any ref changed.
        changed: bool,
    },
    /// The last good state stays.
    Failed { reason: String },
}

/// Asks for a fetch now; many asks that come together are one.
#[derive(Clone, Default)]
pub struct Kick {
    notify: Arc<Notify>,
    branches: Arc<Mutex<Vec<String>>>,
}

impl Kick {
    pub fn now(&self) {
        self.notify.notify_one();
    }

    /// Other branches to fetch from now on, at once if there are new ones among them.
    pub fn follow(&self, branches: BTreeSet<String>) {
        let mut followed = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        let new = branches.iter().any(|branch| !followed.contains(branch));
        *followed = branches.into_iter().collect();
        if new {
            self.now();
        }
    }

    fn branches(&self) -> Vec<String> {
        self.branches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Fetches until cancelled. Ends early only if nobody listens any more.
pub async fn follow(
    mut mirror: Mirror,
    poll: Duration,
    kick: Kick,
    observations: mpsc::Sender<(Observation, Duration)>,
    cancel: CancellationToken,
) {
    let mut failures = 0u32;
    loop {
        let start = tokio::time::Instant::now();
        let Some((back, result)) = fetch(mirror, kick.branches()).await else { return };
        mirror = back;
        let observation = match result {
            Ok(observation) => {
                failures = 0;
                observation
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let reason = crate::daemon::chain(&error);
                warn!(error = reason, label = error.label(), failures, "the repository could not be fetched");
                Observation::Failed { reason }
            }
        };
        if observations.send((observation, start.elapsed())).await.is_err() {
            return;
        }
        let pause = pause_after(failures, poll, fastrand::f64());
        debug!(seconds = pause.as_secs_f64(), "next fetch");
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = kick.notify.notified() => {}
        }
    }
}

/// Gives nothing only if the blocking task was cancelled with the runtime.
async fn fetch(mut mirror: Mirror, also: Vec<String>) -> Option<(Mirror, Result<Observation, RepoError>)> {
    let task = tokio::task::spawn_blocking(move || {
        let result = observe(&mut mirror, &also);
        (mirror, result)
    });
    match task.await {
        Ok(done) => Some(done),
        Err(error) => {
            info!(%error, "the fetch ended with the program");
            None
        }
    }
}

fn observe(mirror: &mut Mirror, also: &[String]) -> Result<Observation, RepoError> {
    let fetched = mirror.fetch(also)?;
    if let Some(damage) = fetched.rebuilt {
        warn!(damage, "the mirror was damaged, and was built anew");
    }
    let tags = mirror.history().tags()?;
    Ok(Observation::Fetched { head: fetched.head, tags, changed: !fetched.changed.is_empty() })
}

/// The poll interval, doubled for each failure up to a limit, and jittered by a tenth so that many daemons
/// don't come at once. `random` is in 0..1.
fn pause_after(failures: u32, poll: Duration, random: f64) -> Duration {
    let backoff =
        poll.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(MAX_BACKOFF.max(poll));
    backoff.mul_f64(0.9 + 0.2 * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_sources_are_asked_ever_less() {
        let poll = Duration::from_secs(30);
        let pauses: Vec<_> = [0, 1, 2, 3, 4, 40].map(|n| pause_after(n, poll, 0.5).as_secs()).to_vec();
        assert_eq!(pauses, [30, 60, 120, 240, 300, 300]);
        assert_eq!(pause_after(0, Duration::from_secs(3600), 0.5), Duration::from_secs(3600));
    }
}

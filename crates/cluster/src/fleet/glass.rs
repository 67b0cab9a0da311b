//! Objects that people keep from being healed for a while: the annotation `fairlead.dev/hold-until`.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Fleet, FleetEnd};
use fairlead_core::model::assignment::{BreakGlass, FactBody, Hold, Progress};
use fairlead_core::model::object::ObjectKey;
use fairlead_core::plan::Why;

/// How often the clock is looked at while something is kept from being healed: clocks are set, too.
const LOOK: Duration = Duration::from_secs(60);

impl Fleet {
    /// Says who keeps what from being healed, when that changes, and heals what is kept no more.
    pub(super) async fn mind_glass(&mut self) -> Result<(), FleetEnd> {
        let objects = self.broken_glass(Timestamp::now());
        if objects == self.said.glass {
            return Ok(());
        }
        let holds = |one: &&BreakGlass| one.until.is_some();
        let over = self.said.glass.iter().filter(holds).filter(|one| !objects.contains(one));
        let over: Vec<ObjectKey> = over.map(|one| one.object.clone()).collect();
        for one in objects.iter().filter(|one| !self.said.glass.contains(one)) {
            tracing::warn!(cluster = %self.cx.settings.target, fleet = %self.name, "break glass: {one}");
        }
        self.said.glass.clone_from(&objects);
        self.say(FactBody::BreakGlass { objects }).await;
        for key in over {
            if let Some(item) = self.item(&key) {
                self.rejudge(item).await?;
            }
        }
        Ok(())
    }

    /// What is kept from being healed now, and what would be if it named a time.
    fn broken_glass(&self, now: Timestamp) -> Vec<BreakGlass> {
        let stands = self
            .eye
            .glass()
            .filter(|(key, glass)| (glass.holds(now) || glass.until.is_none()) && self.item(key).is_some());
        let said = stands.map(|(key, glass)| BreakGlass {
            object: key.clone(),
            until: glass.until,
            by: glass.by.clone(),
        });
        said.collect()
    }

    /// What waits because a person keeps it from being healed waits for that person.
    pub(super) fn with_glass(&self, mut progress: Progress) -> Progress {
        let kept = progress.waiting.iter().filter_map(|waiting| self.kept_unhealthy(&waiting.object));
        let kept: Vec<Hold> = kept.collect();
        progress.holds.extend(kept);
        progress
    }

    /// The hold on an object that is not healthy, if it is not put right because of its annotation.
    pub(super) fn kept_unhealthy(&self, key: &ObjectKey) -> Option<Hold> {
        if self.said.glass.is_empty() {
            return None;
        }
        let (object, judgement) = self.judgement(self.item(key)?)?;
        match judgement.why {
            Why::BreakGlass { until, .. } => {
                let by = self.said.glass.iter().find(|glass| glass.object == object);
                let by = by.map(|glass| glass.by.clone()).unwrap_or_default();
                Some(Hold::BreakGlass { object, until, by })
            }
            _ => None,
        }
    }

    /// When to look again.
    pub(super) fn glass_wake(&self) -> Option<Instant> {
        let now = Timestamp::now();
        let next = self.said.glass.iter().filter_map(|glass| glass.until).min()?;
        let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        Some(Instant::now() + wait.min(LOOK))
    }
}

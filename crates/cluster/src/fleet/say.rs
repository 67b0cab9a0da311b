//! What is told of a fleet's share of a cluster. Nothing is said twice.

use tokio::time::Instant;

use super::{Fleet, PROGRESS_EVERY, Phase};
use fairlead_core::model::assignment::{Cause, FactBody, Hold, KeptObject, Progress};
use fairlead_core::plan::{Kept, KeptWhy};

impl Fleet {
    pub(super) async fn say(&self, body: FactBody) {
        self.cx.say(&self.name, body).await;
    }

    /// The whole plan waits for a person.
    pub(super) async fn hold(&mut self, generation: u64, hold: Hold) {
        self.say_held(generation, hold).await;
        self.stop();
    }

    pub(super) async fn say_held(&mut self, generation: u64, hold: Hold) {
        if self.stands_by() {
            tracing::warn!(cluster = %self.cx.settings.target, fleet = %self.name, "can't be healed: {hold}");
            return;
        }
        if self.said.held.as_ref() == Some(&(generation, hold.clone())) {
            return;
        }
        tracing::warn!(cluster = %self.cx.settings.target, fleet = %self.name, generation, "held: {hold}");
        self.said.held = Some((generation, hold.clone()));
        let release = self.release_digest();
        self.say(FactBody::Held { generation, release, reason: hold }).await;
    }

    pub(super) async fn say_failed(&mut self, cause: Cause) {
        let generation = self.generation();
        if self.stands_by() {
            tracing::warn!(cluster = %self.cx.settings.target, fleet = %self.name, "can't be healed: {cause}");
            return;
        }
        if self.said.failed == Some(generation) {
            return;
        }
        tracing::warn!(cluster = %self.cx.settings.target, fleet = %self.name, generation, "failed: {cause}");
        self.said.failed = Some(generation);
        let release = self.release_digest();
        self.say(FactBody::Failed { generation, release, cause }).await;
    }

    /// The cluster's own trouble; said once until something moves again.
    pub(super) async fn say_stalled(&mut self, reason: String) {
        // How a converged release stands is said by its health.
        let converged = self.phase == Phase::Executing && self.run.as_ref().is_some_and(|run| run.converged);
        if converged || std::mem::replace(&mut self.said.stalled, true) {
            return;
        }
        tracing::warn!(cluster = %self.cx.settings.target, fleet = %self.name, reason, "stalled");
        let generation = self.generation();
        self.say(FactBody::Stalled { generation, reason }).await;
    }

    /// What the release dropped and stays all the same; what moves to another fleet is no news.
    pub(super) async fn say_kept(&mut self, generation: u64, kept: &[Kept], lingering: Vec<KeptObject>) {
        let stays = kept.iter().filter(|kept| !matches!(kept.why, KeptWhy::HandOver { .. }));
        let objects: Vec<KeptObject> = stays
            .map(|kept| KeptObject {
                object: kept.key.clone(),
                reason: kept.why.to_string(),
                approvable: kept.why.is_protected(),
                deleting: false,
            })
            .chain(lingering)
            .collect();
        self.said.kept_by_plan = (generation, objects);
        self.say_stays().await;
    }

    /// What the plan keeps, and fields that stay though Git dropped them.
    pub(super) async fn say_stays(&mut self) {
        let (generation, mut objects) = self.said.kept_by_plan.clone();
        for (object, entry) in &self.stored.ledger.inventory.objects {
            objects.extend(entry.stays.iter().map(|stay| KeptObject {
                object: object.clone(),
                reason: stay.to_string(),
                approvable: false,
                deleting: false,
            }));
        }
        let news = Some((generation, objects));
        let said = self.said.kept.as_ref().is_some_and(|(_, objects)| !objects.is_empty());
        let empty = news.as_ref().is_some_and(|(_, objects)| objects.is_empty());
        if self.said.kept == news || (empty && !said) {
            return;
        }
        self.said.kept.clone_from(&news);
        let Some((generation, objects)) = news else { return };
        for kept in &objects {
            tracing::warn!(cluster = %self.cx.settings.target, fleet = %self.name, "kept: {kept}");
        }
        self.say(FactBody::Kept { generation, objects }).await;
    }

    pub(super) fn progress_due(&self) -> Option<Instant> {
        let (_, at) = self.said.progress.as_ref()?;
        self.said.moved.then_some(*at + PROGRESS_EVERY)
    }

    /// Says how far the present assignment has come, if that moved.
    pub(super) async fn say_progress(&mut self) {
        let Some(run) = self.run.as_ref().filter(|run| self.phase == Phase::Executing && !run.converged)
        else {
            return;
        };
        let now = Instant::now();
        if self.said.progress.as_ref().is_some_and(|(_, at)| now < *at + PROGRESS_EVERY) {
            return;
        }
        let progress = self.with_glass(run.progress(|key| self.why_unhealthy(key)));
        self.said.moved = false;
        self.ask_namespaces();
        if let Some(reason) = self.held_up() {
            // Progress is said anew when it goes on.
            self.said.progress = Some((Progress::default(), now));
            if self.said.held_up.as_ref() != Some(&reason) {
                self.said.held_up = Some(reason.clone());
                self.said.stalled = false;
            }
            self.say_stalled(reason).await;
            return;
        }
        self.said.held_up = None;
        if self.said.progress.as_ref().is_some_and(|(said, _)| *said == progress) {
            return;
        }
        self.said.progress = Some((progress.clone(), now));
        self.said.stalled = progress.stalled.is_some();
        if progress.holds.is_empty() {
            self.said.held = None;
        }
        let generation = self.generation();
        self.say(FactBody::Progress { generation, progress }).await;
    }
}

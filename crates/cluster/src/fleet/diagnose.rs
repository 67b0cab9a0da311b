//! Why objects are not healthy, looked up once for each failure: before it is said, or just before the progress
//! deadline makes it one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::run::State;
use super::{Fleet, Phase};
use crate::causes::{Doubt, look};
use crate::health::Verdict;
use fairlead_core::model::assignment::{Cause, FactBody};
use fairlead_core::model::object::ObjectKey;

/// How long before the progress deadline the cause is looked up, at most; it is a fifth of a short deadline.
const BEFORE_DEADLINE: Duration = Duration::from_secs(15);

/// What a cause is looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An object of the assignment has failed.
    Failure,
    /// Nothing has moved for nearly as long as the progress deadline allows.
    Deadline,
    /// A converged fleet is not healthy any more.
    Relapse,
}

/// A look that is under way.
pub(super) struct Look {
    purpose: Purpose,
    generation: u64,
    doubt: Doubt,
    task: AbortOnDropHandle<String>,
}

impl Look {
    /// What was found; None: the task failed. Safe to drop.
    pub async fn ended(look: &mut Option<Self>) -> Option<String> {
        match look {
            Some(look) => (&mut look.task).await.ok(),
            None => std::future::pending().await,
        }
    }
}

impl Fleet {
    /// Objects that are applied and not healthy, with the reason that their status gives.
    pub(super) fn doubts(&self) -> Vec<Doubt> {
        let Some(run) = self.run.as_ref().filter(|_| self.phase == Phase::Executing) else {
            return Vec::new();
        };
        let open = run.unsettled().filter(|item| item.state == State::Done);
        let doubts = open.filter_map(|item| {
            let (key, version) = (item.action.key.clone(), item.action.version.clone());
            Some(Doubt { reason: self.why_unhealthy(&key)?, key, version })
        });
        doubts.take(super::run::NAMED).collect()
    }

    /// Looks up the cause of what an object's status says. What is being looked up already is not asked twice.
    fn look_up(&mut self, purpose: Purpose, doubt: Doubt) {
        let generation = self.generation();
        if self.look.as_ref().is_some_and(|look| look.purpose == purpose && look.generation == generation) {
            return;
        }
        let (Some(discovery), session) = (self.discovery.clone(), Arc::clone(&self.cx)) else { return };
        let asked = doubt.clone();
        let task = tokio::spawn(async move { look(&session, &discovery, &asked).await });
        self.look = Some(Look { purpose, generation, doubt, task: AbortOnDropHandle::new(task) });
    }

    /// An object that this assignment wrote will not become healthy by itself.
    pub(super) fn look_up_failure(&mut self, object: &ObjectKey, reason: String) {
        if self.said.failed == Some(self.generation()) || self.stands_by() {
            return;
        }
        let version = self.item(object).and_then(|item| self.action(item)).map(|action| action.version);
        let (key, version) = (object.clone(), version.unwrap_or_default());
        self.look_up(Purpose::Failure, Doubt { key, version, reason });
    }

    /// A converged fleet has been unhealthy for some time.
    pub(super) fn look_up_relapse(&mut self, doubt: Doubt) {
        self.look_up(Purpose::Relapse, doubt);
    }

    /// When the cause is looked up of what is waited for: once for each time in which nothing moves.
    pub(super) fn diagnosis_due(&self) -> Option<Instant> {
        let run = self
            .run
            .as_ref()
            .filter(|run| !run.converged && !run.standby && self.phase == Phase::Executing)?;
        let deadline = run.assignment.policy.progress_deadline?.get();
        let (_, at) = self.said.progress.as_ref()?;
        let waits = self.look.is_none() && !self.said.stalled && self.said.diagnosed != Some(*at);
        waits.then(|| *at + deadline.saturating_sub(BEFORE_DEADLINE.min(deadline / 5)))
    }

    pub(super) fn diagnose(&mut self) {
        let Some(due) = self.diagnosis_due() else { return };
        if due > Instant::now() {
            return;
        }
        self.said.diagnosed = self.said.progress.as_ref().map(|(_, at)| *at);
        if let Some(doubt) = self.doubts().into_iter().next() {
            self.look_up(Purpose::Deadline, doubt);
        }
    }

    /// Says what was found out, if it is still so.
    pub(super) async fn take_look(&mut self, found: Option<String>) {
        let Some(Look { purpose, generation, doubt, .. }) = self.look.take() else { return };
        let message = found.unwrap_or_else(|| doubt.reason.clone());
        if generation != self.generation() || self.phase != Phase::Executing {
            return;
        }
        let object = doubt.key;
        let verdict = self.verdict(&object);
        match purpose {
            Purpose::Failure => {
                if matches!(verdict, Some(Verdict::Failed(_))) {
                    self.say_failed(Cause::Unhealthy { object, message }).await;
                }
            }
            Purpose::Deadline => {
                if self.why_unhealthy(&object).is_some() {
                    self.say(FactBody::Diagnosed { generation, object, message }).await;
                }
            }
            Purpose::Relapse => {
                let converged = self.run.as_ref().is_some_and(|run| run.converged);
                if converged && self.why_unhealthy(&object).is_some() {
                    self.say_unhealthy(object, message).await;
                }
            }
        }
    }
}

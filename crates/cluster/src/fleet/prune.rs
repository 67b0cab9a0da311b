//! What leaves: asked for, waited for, and said while it lingers.
//!
//! Deletions of what can block others come before everything else, the others after everything is healthy. An object
//! that only waits to be gone fails no release: once that was waited for a moment, the release has converged, and
//! what is left of the deletions goes on beside it.

use std::time::Duration;

use tokio::time::Instant;

use super::fetch::{brought_by, is_crd};
use super::outcome::{REFUSED_AGAIN, wait_after};
use super::run::{Leaver, State};
use super::{Fleet, FleetEnd, Phase};
use crate::backoff::jitter;
use crate::error::{ApiError, Meaning};
use fairlead_core::model::assignment::KeptObject;
use fairlead_core::model::object::ObjectKey;
use fairlead_core::plan::{Action, KeptWhy, Verb};

/// How long a release that is applied and healthy waits for an object that is being deleted.
const PATIENCE: Duration = Duration::from_secs(10);

impl Fleet {
    /// Deletes what can keep others from being written. When all that goes before everything else is done, and the
    /// plan was made without knowing what it would find then, it is made again.
    pub(super) async fn unblock(&mut self) {
        let Some(run) = self.run.as_ref().filter(|run| !run.converged && !run.standby) else { return };
        let was = run.is_unblocking();
        if was {
            let due = run.unblock_due(Instant::now());
            if !due.is_empty() && self.siblings_are_known() {
                self.ask_for(due);
            }
        }
        let Some(run) = &mut self.run else { return };
        if run.is_unblocking() {
            run.unblocking = true;
            return;
        }
        let done = std::mem::take(&mut run.unblocking) || was;
        if done {
            run.after_unblocking(Instant::now());
        }
        if run.preliminary {
            self.phase = Phase::Stopped;
            self.wake = Some(Instant::now() + self.backoff.next_wait());
        } else if done && run.unblock.iter().any(|leaver| leaver.action.key.kind() == "APIService") {
            // What it hid is found now, or what it served is gone.
            self.look_what_is_served().await;
            self.plan_again();
        }
    }

    /// Makes the plan of the same order again.
    pub(super) fn plan_again(&mut self) {
        self.wake = (!self.jobs.is_empty()).then(|| Instant::now() + super::DRAIN);
        self.phase = Phase::Begin;
    }

    /// Works on the present stage of pruning; a stage ends when everything of it is gone.
    pub(super) fn prune(&mut self) {
        loop {
            let Some(run) = &mut self.run else { return };
            let now = Instant::now();
            let mut due = run.prune_due(now);
            due.extend(run.unblock_due(now));
            if due.is_empty() || !self.ask_for(due) {
                return;
            }
        }
    }

    /// Removes objects, as many as requests are allowed at a time. Whether some of them are done with already.
    fn ask_for(&mut self, due: Vec<Action>) -> bool {
        let mut moved = false;
        for action in due {
            if self.jobs.len() >= self.cx.api.allowed() {
                return false;
            }
            moved |= self.remove(&action);
        }
        moved
    }

    /// Removes one object; whether it is done with already.
    fn remove(&mut self, action: &Action) -> bool {
        let key = &action.key;
        if self.cx.siblings_of(&self.name).values().any(|sibling| sibling.claims(key)) {
            // It moved there after the plan was made: theirs to take over.
            self.forget(key);
            return true;
        }
        let kind = key.group_kind();
        let resource = self.discovery.as_ref().and_then(|d| d.find(&kind, &action.version)).cloned();
        let same = self.precondition(key).filter(|now| {
            // Only what the plan looked at: a new object under an old name is not ours to judge.
            action.precondition.as_ref().is_none_or(|planned| planned.uid == now.uid)
        });
        let hand = self.hand();
        let state = match (&action.verb, resource, same) {
            (Verb::Delete, Some(resource), Some(only)) if is_crd(key) => {
                let brings = self.discovery.as_ref().and_then(|d| brought_by(d, key)).cloned();
                let (key, known) = (key.clone(), self.inventory_keys());
                match brings {
                    Some(brings) => self.jobs.spawn(hand.delete_crd(resource, key, only, (brings, known))),
                    None => self.jobs.spawn(hand.delete(resource, key, only)),
                };
                State::Running
            }
            (Verb::Delete, Some(resource), Some(only)) => {
                self.jobs.spawn(hand.delete(resource, key.clone(), only));
                State::Running
            }
            (Verb::Release, Some(resource), _) => {
                self.jobs.spawn(hand.release(resource, key.clone()));
                State::Running
            }
            (Verb::AwaitGone, _, Some(_)) => State::Leaving,
            _ => {
                self.forget(key);
                return true;
            }
        };
        let patience = self.patience(key);
        if let Some(leaver) = self.run.as_mut().and_then(|run| run.leaver_mut(key)) {
            leaver.state = state;
            leaver.patience.get_or_insert(patience);
        }
        false
    }

    /// Until when an object's end is waited for, from now or from when its deletion began.
    fn patience(&self, key: &ObjectKey) -> Instant {
        let began = self.eye.get(key).and_then(|seen| seen.object.deletion.as_ref()?.since);
        let age = began.map(|began| self.cx.api.server_time().duration_since(began));
        let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default();
        Instant::now() + PATIENCE.saturating_sub(age)
    }

    /// Drops what is gone, or not ours any more, from the inventory.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        if let Some(run) = &mut self.run {
            run.gone(key);
        }
        self.dirty |= self.stored.ledger.inventory.objects.remove(key).is_some();
    }

    /// A delete was answered: of what leaves, or of what is replaced.
    pub(super) async fn deleted(
        &mut self,
        key: &ObjectKey,
        answer: Result<(), ApiError>,
    ) -> Result<(), FleetEnd> {
        if let Some(item) = self.item(key) {
            match answer {
                Ok(()) if self.eye.get(key).is_none() => self.after_leaving(item),
                Ok(()) => {
                    if let Some(run) = &mut self.run {
                        run.deletions_left = run.deletions_left.saturating_sub(1);
                        run.set(item, State::Leaving, false);
                    }
                }
                Err(error) => return self.trouble(item, &error).await,
            }
            return Ok(());
        }
        match answer {
            Ok(()) if self.eye.get(key).is_none() => self.forget(key),
            Ok(()) => {
                if let Some(leaver) = self.run.as_mut().and_then(|run| run.leaver_mut(key)) {
                    leaver.state = State::Leaving;
                }
            }
            Err(error) => return self.leaver_trouble(key, &error).await,
        }
        Ok(())
    }

    /// Others made objects of a kind whose CRD was to go.
    pub(super) fn still_used(&mut self, key: &ObjectKey, count: usize) {
        if let Some(leaver) = self.run.as_mut().and_then(|run| run.leaver_mut(key)) {
            let why = KeptWhy::ForeignInstances { count }.to_string();
            leaver.state = State::Later { at: Instant::now() + jitter(REFUSED_AGAIN), why };
        }
    }

    pub(super) async fn leaver_trouble(&mut self, key: &ObjectKey, error: &ApiError) -> Result<(), FleetEnd> {
        if self.phase != Phase::Executing {
            // Trouble of an order that was overtaken.
            return Ok(());
        }
        let retry = self.cx.settings.retry;
        let tries = self.run.as_mut().and_then(|run| run.leaver_mut(key)).map_or(0, |leaver| leaver.tries);
        let mut wait = wait_after(retry, tries);
        let why = match error.meaning(key) {
            Meaning::NotFound => {
                self.eye.forget(key);
                self.forget(key);
                return Ok(());
            }
            // Another version may be served by now. Where no version of its kind is, it went with its kind.
            Meaning::NoSuchResource => {
                self.look_what_is_served().await;
                if self.phase == Phase::Executing && self.is_kind_gone(key) {
                    self.eye.forget(key);
                    self.forget(key);
                    return Ok(());
                }
                "its kind is served in another version".to_owned()
            }
            // Of the cluster, or of what serves this kind alone? The probe ends the session if it is the cluster.
            Meaning::Unauthorized => {
                self.probe();
                error.describe(key)
            }
            // The plan is made anew when the stop ends.
            Meaning::Stopped => return Ok(()),
            Meaning::Unreachable(why) => {
                self.probe();
                why
            }
            // Something changed it since it was looked at: our watch will say what.
            Meaning::Stale => "it changed while it was to be deleted".to_owned(),
            Meaning::Stalled { reason, .. } => {
                self.say_stalled(reason.clone()).await;
                reason
            }
            // The release stands, and so does what it dropped, until whoever forbids it lets it go.
            Meaning::Refused(message) | Meaning::Immutable(message) => {
                wait = jitter(REFUSED_AGAIN).min(retry.1.max(wait));
                message
            }
            _ => error.describe(key),
        };
        if let Some(leaver) = self.run.as_mut().and_then(|run| run.leaver_mut(key)) {
            leaver.tries += 1;
            leaver.state = State::Later { at: Instant::now() + wait, why };
        }
        Ok(())
    }

    /// Goes on with what lingers after the release has converged.
    pub(super) async fn keep_pruning(&mut self) {
        let Some(run) = self.run.as_ref().filter(|run| !run.standby) else { return };
        if run.is_pruned() && !self.said.lingers {
            self.descriptions.clear();
            return;
        }
        self.prune();
        self.ask_namespaces();
        self.say_left().await;
    }

    /// Says which objects of those that the release dropped are still there, and why.
    pub(super) async fn say_left(&mut self) {
        let Some(run) = &self.run else { return };
        let lingering = run.lingering().map(|(leaver, first)| self.lingers(leaver, first));
        let lingering: Vec<KeptObject> = lingering.collect();
        self.said.lingers = !lingering.is_empty();
        let (generation, kept) = (run.assignment.generation, run.kept.clone());
        self.say_kept(generation, &kept, lingering).await;
    }

    fn lingers(&self, leaver: &Leaver, first: Option<&ObjectKey>) -> KeptObject {
        let object = leaver.action.key.clone();
        let reason = match (&leaver.state, first) {
            (State::Leaving, _) => self.deletion_details(&object),
            (State::Later { why, .. }, _) => why.clone(),
            (_, Some(first)) => format!("after {first}"),
            _ => String::new(),
        };
        KeptObject { object, reason, approvable: false, deleting: true }
    }
}

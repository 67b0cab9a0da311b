//! What the answers to our requests mean for the run.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::jobs::Done;
use super::run::State;
use super::{Fleet, FleetEnd, Phase};
use crate::backoff::jitter;
use crate::error::{ApiError, Meaning};
use crate::fields::{FieldConflict, managers_and_fields};
use crate::health::{Reduced, Verdict};
use crate::text::chain;
use fairlead_core::model::assignment::{Cause, FactBody, Hold};
use fairlead_core::model::digest::ObjectDigest;
use fairlead_core::model::object::ObjectKey;
use fairlead_core::plan::{InventoryEntry, Origin, Stay, Verb, was_there_before};

/// The field of our label, as a conflict names it.
const LABEL_FIELD: &str = "applyset.kubernetes.io/part-of";
/// Our annotation, as a conflict names it.
const DIGEST_FIELD: &str = ".metadata.annotations.fairlead.dev/digest";
/// How soon a write is tried again that was refused by what is being changed or deleted now.
const UNBLOCKED_AGAIN: Duration = Duration::from_millis(300);
/// How long a refusal is left alone: only the cluster can change it, for the release does not.
pub(super) const REFUSED_AGAIN: Duration = Duration::from_secs(120);

impl Fleet {
    pub(super) async fn take_done(&mut self, done: Done) -> Result<(), FleetEnd> {
        match done {
            Done::Applied { key, digest, left_out, answer } => {
                let Some(item) = self.item(&key) else { return Ok(()) };
                if answer.is_ok() {
                    self.streaks.remove(&key);
                }
                match answer {
                    Ok((reduced, stays)) => self.applied(item, reduced, digest, (left_out, stays)).await,
                    Err(error) => self.trouble(item, &error).await,
                }
            }
            Done::Compared { key, digest, left_out, answer } => {
                let Some(item) = self.item(&key) else { return Ok(()) };
                match answer {
                    Ok(found) => self.compared(item, found, digest, left_out).await,
                    Err(error) => self.trouble(item, &error).await,
                }
            }
            Done::Deleted { key, answer } => self.deleted(&key, answer).await,
            Done::StillUsed { key, count } => {
                self.still_used(&key, count);
                Ok(())
            }
            Done::Released { key, answer } => match answer {
                Ok(()) => {
                    self.eye.forget(&key);
                    self.forget(&key);
                    Ok(())
                }
                Err(error) => self.leaver_trouble(&key, &error).await,
            },
            Done::Looked { key, answer } => self.looked(key, answer).await,
            Done::Verified(answer) => self.verified(answer).await,
            Done::Described { key, answer } => {
                self.described(key, answer);
                Ok(())
            }
        }
    }

    pub(super) fn item(&self, key: &ObjectKey) -> Option<usize> {
        self.run.as_ref()?.index.get(key).copied()
    }

    async fn applied(
        &mut self,
        item: usize,
        reduced: Reduced,
        digest: ObjectDigest,
        (left_out, stays): (Vec<String>, Vec<Stay>),
    ) -> Result<(), FleetEnd> {
        let key = reduced.key.clone();
        self.record(item, &reduced, digest, (left_out, stays));
        self.say_stays().await;
        self.eye.wrote(reduced);
        self.record_job(item).await?;
        self.said.stalled = false;
        let log = self.run.as_ref().and_then(|run| run.items.get(item)).is_some_and(|entry| entry.log);
        let healed = self.settle(item);
        if let Some(run) = self.run.as_mut().filter(|_| key.is("", "Namespace")) {
            run.namespace_is_back(key.name(), Instant::now());
        }
        if healed {
            if log {
                tracing::info!(cluster = %self.cx.settings.target, fleet = %self.name, object = %key, "healed");
            }
            self.say(FactBody::Drift { objects: vec![key], healed: true }).await;
        }
        // Someone may have changed it again while we wrote.
        self.rejudge(item).await
    }

    /// An item is done; whether that was a heal.
    fn settle(&mut self, item: usize) -> bool {
        let Some(key) = self.action(item).map(|action| action.key) else { return false };
        let healthy = self.is_healthy(&key);
        let Some(run) = &mut self.run else { return false };
        run.set(item, State::Done, healthy);
        let Some(entry) = run.items.get_mut(item) else { return false };
        (entry.tries, entry.by_value) = (0, false);
        std::mem::take(&mut entry.healing)
    }

    /// Notes in the inventory what was applied.
    fn record(
        &mut self,
        item: usize,
        reduced: &Reduced,
        digest: ObjectDigest,
        (left_out, stays): (Vec<String>, Vec<Stay>),
    ) {
        let Some(run) = &self.run else { return };
        let (Some(entry), Some(layer)) = (run.items.get(item), run.layer_id(item)) else { return };
        let action = &entry.action;
        let old = self.stored.ledger.inventory.objects.get(&action.key);
        let origin = match (action.origin, old.map(|old| old.origin)) {
            (Some(Origin::Intended { .. }) | None, Some(Origin::Intended { at, generation })) => {
                match was_there_before(reduced.object.created, at) {
                    true if action.force => Origin::Taken,
                    true => Origin::Adopted,
                    false => Origin::Created { generation },
                }
            }
            (Some(origin), _) | (None, Some(origin)) => origin,
            (None, None) => Origin::Taken,
        };
        let new = InventoryEntry {
            version: action.version.clone(),
            uid: Some(reduced.object.uid.clone()),
            layer: layer.clone(),
            applied: Some(digest),
            fields: reduced.object.fields,
            origin,
            left_out,
            stays,
            finished: reduced.object.finished,
        };
        // The proof of a heal need not be written at once: losing it costs one comparison.
        self.dirty |= old.is_none_or(|old| {
            old.applied != new.applied
                || old.origin != new.origin
                || old.layer != new.layer
                || old.uid != new.uid
                || old.stays != new.stays
        });
        self.stored.ledger.inventory.objects.insert(action.key.clone(), new);
    }

    async fn compared(
        &mut self,
        item: usize,
        found: Option<(Reduced, bool)>,
        digest: ObjectDigest,
        left_out: Vec<String>,
    ) -> Result<(), FleetEnd> {
        let Some(action) = self.action(item) else { return Ok(()) };
        match found {
            Some((reduced, true)) if reduced.object.part_of.as_deref() == Some(&*self.set()) => {
                let known = self.stored.ledger.inventory.objects.get(&action.key);
                let stays = known.map(|entry| entry.stays.clone()).unwrap_or_default();
                self.record(item, &reduced, digest, (left_out, stays));
                if let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) {
                    entry.compared = Some(reduced.object.resource_version.clone());
                }
                self.eye.note(reduced);
                self.settle(item);
                self.rejudge(item).await?;
                self.judge_health(item).await;
                return Ok(());
            }
            Some((reduced, _)) => {
                self.eye.note(reduced);
            }
            None => self.eye.forget(&action.key),
        }
        if self.phase != Phase::Executing {
            return Ok(());
        }
        if action.force {
            if let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) {
                entry.action.verb = Verb::Heal;
                entry.healing = true;
            }
            self.count_heal(item, &action.key).await;
            if let Some(run) = &mut self.run {
                run.set(item, State::Todo, false);
            }
            return Ok(());
        }
        self.settle(item);
        self.say(FactBody::Drift { objects: vec![action.key], healed: false }).await;
        Ok(())
    }

    /// Finds out whether the cluster still answers.
    pub(super) fn probe(&mut self) {
        if self.probe.is_none() {
            let hand = self.hand();
            self.probe = Some(AbortOnDropHandle::new(tokio::spawn(hand.probe())));
        }
    }

    /// A request for an object of the release failed.
    pub(super) async fn trouble(&mut self, item: usize, error: &ApiError) -> Result<(), FleetEnd> {
        let Some(action) = self.action(item).filter(|_| self.phase == Phase::Executing) else {
            // Trouble of an order that was overtaken.
            return Ok(());
        };
        let retry = self.cx.settings.retry;
        let Some(run) = &mut self.run else { return Ok(()) };
        let tries = run.items.get(item).map_or(0, |entry| entry.tries);
        let mut waited = false;
        if let Some(entry) = run.items.get_mut(item) {
            entry.tries += 1;
            waited = std::mem::take(&mut entry.held_up);
        }
        let mut wait = wait_after(retry, tries);
        if error.at_admission() && !run.first_contains(item) && run.unblocks(Instant::now()) {
            self.later(item, UNBLOCKED_AGAIN, chain(error));
            return Ok(());
        }
        let object = action.key.clone();
        if error.of_terminating_kind() {
            self.hold_up(item);
            self.later(item, wait, chain(error));
            return Ok(());
        }
        if self.blame(&object, error).await {
            return Ok(());
        }
        let mut stalled = false;
        let why = match error.meaning(&object) {
            // Of the cluster, or of what serves this kind alone? The probe ends the session if it is the cluster.
            Meaning::Unauthorized => {
                self.probe();
                error.describe(&object)
            }
            // The plan is made anew when the stop ends.
            Meaning::Stopped => return Ok(()),
            Meaning::Unreachable(why) => {
                self.probe();
                why
            }
            Meaning::Conflict(conflicts) => return self.conflict(item, object, conflicts).await,
            Meaning::Immutable(message) => return self.immutable(item, message).await,
            Meaning::Refused(message) => {
                wait = jitter(REFUSED_AGAIN);
                let object = object.clone();
                self.say_failed(Cause::Refused { object, message: message.clone() }).await;
                message
            }
            Meaning::Stalled { reason, retry_after } => {
                wait = retry_after.unwrap_or(wait);
                stalled = true;
                reason
            }
            Meaning::NamespaceMissing => {
                if waited || self.had_namespace(&object) {
                    self.hold_up_without_namespace(item);
                }
                format!("its namespace {} is not there", object.namespace().unwrap_or_default())
            }
            Meaning::NamespaceTerminating => {
                self.hold_up_without_namespace(item);
                let namespace = ObjectKey::new("", "Namespace", "", object.namespace().unwrap_or_default());
                format!("its namespace {} {}", namespace.name(), self.deletion_text(&namespace))
            }
            Meaning::NoSuchResource => {
                // Whatever was known about its kind is out of date.
                self.rediscovered = None;
                self.look_what_is_served().await;
                "its kind is not served yet".to_owned()
            }
            Meaning::NotFound | Meaning::Stale | Meaning::Expired | Meaning::NotAllowed(..) => {
                error.describe(&object)
            }
        };
        if let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) {
            (entry.held, entry.stalled) = (None, stalled);
        }
        self.later(item, wait, why.clone());
        if stalled {
            self.say_stalled(format!("{object}: {why}")).await;
        }
        Ok(())
    }

    /// Others own fields that we want to set.
    async fn conflict(
        &mut self,
        item: usize,
        object: ObjectKey,
        conflicts: Vec<FieldConflict>,
    ) -> Result<(), FleetEnd> {
        let stamps = conflicts.iter().all(|conflict| conflict.field == DIGEST_FIELD);
        let told: Vec<FieldConflict> =
            conflicts.iter().filter(|c| c.field != DIGEST_FIELD).cloned().collect();
        let (managers, fields) = managers_and_fields(if stamps { &conflicts } else { &told });
        let foreign = conflicts.iter().find(|conflict| conflict.field.contains(LABEL_FIELD));
        let Some(run) = &mut self.run else { return Ok(()) };
        let Some(entry) = run.items.get_mut(item) else { return Ok(()) };
        if foreign.is_none() && entry.action.force && !std::mem::replace(&mut entry.may_force, true) {
            run.set(item, State::Todo, false);
            return Ok(());
        }
        if stamps && !std::mem::replace(&mut entry.forces_stamp, true) {
            run.set(item, State::Todo, false);
            return Ok(());
        }
        let hold = match foreign {
            Some(conflict) => Hold::ForeignOwner { object, owner: conflict.manager.clone() },
            None => Hold::Conflict { object, managers, fields },
        };
        // A person may end it in the cluster, too, where no watch of ours sees that.
        let (wait, why) = (jitter(self.cx.settings.retry.1), hold.to_string());
        let news = entry.held.replace(hold.clone()).as_ref() != Some(&hold);
        entry.stalled = false;
        self.later(item, wait, why);
        if news {
            self.say_held(self.generation(), hold).await;
        }
        Ok(())
    }

    /// A field that can't be changed: a new object, where the manifest allows that and the budget lasts.
    async fn immutable(&mut self, item: usize, message: String) -> Result<(), FleetEnd> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let left = run.deletions_left;
        let Some(entry) = run.items.get_mut(item) else { return Ok(()) };
        if entry.action.may_replace && left > 0 {
            entry.action.verb = Verb::Replace;
            run.set(item, State::Todo, false);
            return Ok(());
        }
        let object = entry.action.key.clone();
        self.later(item, jitter(REFUSED_AGAIN), message.clone());
        self.say_failed(Cause::Immutable { object, message }).await;
        Ok(())
    }

    /// Says that the release fails, if an object that this assignment wrote will not become healthy by itself.
    pub(super) async fn judge_health(&mut self, item: usize) {
        let Some(run) = &self.run else { return };
        let Some(entry) = run.items.get(item) else { return };
        if run.converged || !entry.ours || entry.state != State::Done {
            return;
        }
        let object = entry.action.key.clone();
        if let Some(Verdict::Failed(message)) = self.verdict(&object) {
            self.look_up_failure(&object, message);
        }
    }
}

/// The wait after a number of failed tries.
pub(super) fn wait_after((first, longest): (Duration, Duration), tries: u32) -> Duration {
    jitter(first.saturating_mul(1 << tries.min(16)).min(longest))
}

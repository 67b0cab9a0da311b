//! Executing a plan: starts what may be started, prunes, and writes the result.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::jobs::How;
use super::prepare::reorder;
use super::run::{Health, State};
use super::{Fleet, FleetEnd, Phase};
use crate::discovery::Resource;
use crate::ledger::{Converged, Ledger, Stored};
use fairlead_core::model::assignment::{Cause, FactBody};
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::{LayerId, ReleaseObject};
use fairlead_core::plan::{Action, Origin, Precondition, Served, Verb};

/// How often discovery is read again for a kind that is not served: one that a CRD of ours brings, another.
const REDISCOVER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

impl Fleet {
    /// Starts what may be started; at the end, prunes and writes the result.
    pub(super) async fn step(&mut self) -> Result<(), FleetEnd> {
        self.mind_glass().await?;
        self.unblock().await;
        if self.phase != Phase::Executing {
            return Ok(());
        }
        let room = self.cx.api.allowed().saturating_sub(self.jobs.len());
        let Some(run) = &self.run else { return Ok(()) };
        for item in run.ready(Instant::now(), room) {
            self.start(item).await?;
        }
        let Some(run) = &self.run else { return Ok(()) };
        if run.converged {
            return self.keep().await;
        }
        if run.preliminary || !run.is_applied() {
            return Ok(());
        }
        if !self.siblings_are_known() {
            return Ok(());
        }
        self.prune();
        let leaves = self.goal.as_ref().is_some_and(|goal| goal.release.is_none());
        let Some(run) = &self.run else { return Ok(()) };
        let done = run.is_pruned() || (run.is_overdue(Instant::now()) && !leaves);
        if done {
            return self.finish().await;
        }
        if run.is_overdue(Instant::now()) {
            self.say_left().await;
        }
        Ok(())
    }

    /// Starts the next request for an object of the release.
    async fn start(&mut self, item: usize) -> Result<(), FleetEnd> {
        if self.needs_no_heal(item).await {
            return Ok(());
        }
        let Some(action) = self.action(item) else { return Ok(()) };
        let Some(resource) = self.resource(item, &action).await? else { return Ok(()) };
        self.eye.add(resource.clone());
        let Some(run) = &mut self.run else { return Ok(()) };
        let Some(object) = run.object(item).cloned() else { return Ok(()) };
        run.set(item, State::Running, false);
        // As others own them now, and not when the plan was made.
        let leave_out = self.yields(item);
        let hand = self.hand();
        let key = action.key.clone();
        match action.verb {
            Verb::Compare => self.jobs.spawn(hand.compare(resource, key, object, leave_out)),
            Verb::Replace => {
                let Some(only) = self.precondition(&key) else {
                    self.after_leaving(item);
                    return Ok(());
                };
                self.jobs.spawn(hand.delete(resource, key, only))
            }
            _ => {
                let stamp = self.run.as_ref().is_some_and(|run| run.forces_stamp(item));
                let how = How {
                    force: (action.force && self.may_force(item, &key)) || stamp,
                    take: self.takes(item, &key),
                    drops: self.drops_shared(&key, &object),
                    stays: self.stays(&key),
                };
                self.jobs.spawn(hand.apply(resource, key, object, how, leave_out))
            }
        };
        Ok(())
    }

    /// The first apply of an object never forces, not even where the layer adopts: only its conflicts tell whether
    /// it belongs to another set.
    fn may_force(&self, item: usize, key: &ObjectKey) -> bool {
        let known =
            self.stored.ledger.inventory.objects.get(key).is_some_and(|entry| entry.applied.is_some());
        known || self.run.as_ref().and_then(|run| run.items.get(item)).is_some_and(|entry| entry.may_force)
    }

    /// Whether what an apply drops of an object may stay, because others own it too.
    fn drops_shared(&self, key: &ObjectKey, object: &ReleaseObject) -> bool {
        let applied = self.stored.ledger.inventory.objects.get(key).and_then(|entry| entry.applied);
        let shared = match self.eye.get(key) {
            Some(seen) => seen.object.shared,
            None => self.eye.is_unread(&key.group_kind()),
        };
        shared && applied.is_some_and(|applied| applied != object.digest)
    }

    /// Fields that stay though Git dropped them earlier.
    fn stays(&self, key: &ObjectKey) -> Vec<String> {
        let entry = self.stored.ledger.inventory.objects.get(key);
        entry.map(|entry| entry.stays.iter().map(|stay| stay.path.clone()).collect()).unwrap_or_default()
    }

    /// Whether an object that may have been there before becomes ours in full: a layer or a person says so, and it is
    /// not ours already.
    fn takes(&self, item: usize, key: &ObjectKey) -> bool {
        let entry = self.stored.ledger.inventory.objects.get(key);
        let shared = entry.is_none_or(|entry| entry.applied.is_none() || entry.origin == Origin::Adopted);
        shared && self.run.as_ref().is_some_and(|run| run.adopts(item))
    }

    pub(super) fn action(&self, item: usize) -> Option<Action> {
        Some(self.run.as_ref()?.items.get(item)?.action.clone())
    }

    /// What a delete must still find, if there is something of ours to delete.
    pub(super) fn precondition(&self, key: &ObjectKey) -> Option<Precondition> {
        let seen = &self.eye.get(key)?.object;
        let ours = seen.part_of.as_deref() == Some(&*self.set);
        let (uid, resource_version) = (seen.uid.clone(), seen.resource_version.clone());
        ours.then_some(Precondition { uid, resource_version })
    }

    /// How the object of an item is reached. None: not yet, or not at all, which was noted.
    async fn resource(&mut self, item: usize, action: &Action) -> Result<Option<Resource>, FleetEnd> {
        let kind = action.key.group_kind();
        let exact = |fleet: &Self| fleet.discovery.as_ref()?.exact(&kind, &action.version).cloned();
        if let Some(resource) = exact(self) {
            return Ok(Some(resource));
        }
        let brought = matches!(action.served, Served::By(_));
        let wait = if brought { REDISCOVER.0 } else { REDISCOVER.1 };
        if self.rediscovered.is_none_or(|at| at.elapsed() >= wait) {
            self.rediscovered = Some(Instant::now());
            if let Some(old) = self.discovery.clone() {
                match self.cx.rediscover(&old).await {
                    Ok(new) => self.discovery = Some(new),
                    Err(error) => {
                        self.trouble(item, &error).await?;
                        return Ok(None);
                    }
                }
            }
            if let Some(resource) = exact(self) {
                return Ok(Some(resource));
            }
        }
        self.not_served(item, action, brought, wait).await;
        Ok(None)
    }

    async fn not_served(&mut self, item: usize, action: &Action, brought: bool, wait: Duration) {
        let kind = action.key.group_kind();
        let (mut other, mut unknown) = (None, false);
        if let Some(discovery) = &self.discovery {
            other = discovery.find(&kind, "").map(|r| r.version.clone());
            unknown = discovery.is_unknown(&kind.group);
        }
        let object = action.key.clone();
        // It was applied before: the commit is not what took its kind away.
        let known = self.stored.ledger.inventory.objects.get(&object).is_some_and(|e| e.applied.is_some());
        let cause = match other {
            _ if unknown || brought => None,
            None if known => None,
            Some(served) => {
                let message = format!("the cluster serves {kind} in {served}, not in {}", action.version);
                Some(Cause::Refused { object, message })
            }
            None => Some(Cause::UnknownKind { object }),
        };
        let why = match (unknown, known) {
            (true, _) => "its API group does not answer",
            (false, true) if !brought => "the cluster does not serve its kind any more",
            _ => "its kind is not served yet",
        };
        if !brought && (unknown || (known && cause.is_none())) {
            self.hold_up(item);
        }
        self.later(item, wait, why.to_owned());
        if let Some(cause) = cause {
            self.say_failed(cause).await;
        }
    }

    /// Tries an item again after a while.
    pub(super) fn later(&mut self, item: usize, wait: Duration, why: String) {
        if let Some(run) = &mut self.run {
            run.set(item, State::Later { at: Instant::now() + wait, why }, false);
        }
    }

    /// What had to go before an item could be applied has gone.
    pub(super) fn after_leaving(&mut self, item: usize) {
        let Some(run) = &mut self.run else { return };
        if let Some(entry) = run.items.get_mut(item) {
            entry.action.verb = Verb::Create;
        }
        let at = run.items.get_mut(item).and_then(|entry| entry.not_before.take());
        let state = match at.filter(|at| *at > Instant::now()) {
            Some(at) => {
                State::Later { at, why: "something else removed it again after it was put right".to_owned() }
            }
            None => State::Todo,
        };
        run.set(item, state, false);
    }

    /// Everything is as the plan wanted it: writes the result and says so.
    async fn finish(&mut self) -> Result<(), FleetEnd> {
        let Some(goal) = self.goal.clone() else { return Ok(()) };
        if goal.release.is_none() {
            return self.farewell_done().await;
        }
        let assignment = &goal.assignment;
        let digest = assignment.release.digest;
        self.settle_layers();
        let ledger = &mut self.stored.ledger;
        if self.dirty || !ledger.is_converged_at(&digest) {
            let generation = ledger.generation;
            ledger.converged = Some(Converged { release: assignment.release.clone(), generation });
            let in_use: Vec<_> = ledger.inventory.objects.values().map(|entry| entry.layer.clone()).collect();
            let order = goal.release.iter().flat_map(|r| &r.layers).map(|layer| layer.id.clone());
            reorder(&mut ledger.inventory.layers, order.collect());
            let wanted =
                |id: &LayerId| goal.release.iter().flat_map(|r| &r.layers).any(|layer| layer.id == *id);
            ledger.inventory.layers.retain(|layer| wanted(layer) || in_use.contains(layer));
            if !self.write_ledger().await? {
                // What is applied stays so; only the record is missing.
                self.phase = Phase::Executing;
                return Ok(());
            }
        }
        self.publish_wants();
        if let Some(run) = &mut self.run {
            run.converged = true;
            run.said_health = Some(Health::Healthy);
        }
        self.unhealthy = None;
        self.backoff.reset();
        let generation = assignment.generation;
        self.say_left().await;
        tracing::info!(cluster = %self.cx.settings.target, fleet = %self.name, generation, release = %digest.short(), "converged");
        self.say(FactBody::Converged { generation, release: digest }).await;
        Ok(())
    }

    /// Objects that moved to another layer as they are were not written, but belong to it now.
    fn settle_layers(&mut self) {
        let Some(run) = &self.run else { return };
        for (number, item) in run.items.iter().enumerate() {
            let entry = self.stored.ledger.inventory.objects.get_mut(&item.action.key);
            if let (Some(entry), Some(layer)) = (entry, run.layer_id(number))
                && entry.layer != *layer
            {
                entry.layer = layer.clone();
                self.dirty = true;
            }
        }
    }

    /// The target left the fleet and everything stays: only the ledger says so.
    pub(super) async fn orphan(&mut self, generation: u64) -> Result<(), FleetEnd> {
        if self.stored.is_written() && !self.stored.ledger.orphaned {
            self.stored.ledger.generation = generation;
            self.stored.ledger.orphaned = true;
            self.stored.ledger.base = None;
            if !self.write_ledger().await? {
                return Ok(());
            }
        }
        self.removed().await;
        Ok(())
    }

    /// The target left the fleet: the ledger goes with the last object; what had to be kept keeps it.
    async fn farewell_done(&mut self) -> Result<(), FleetEnd> {
        let generation = self.generation();
        if !self.stored.ledger.inventory.objects.is_empty() && !self.leaves() {
            return self.orphan(generation).await;
        }
        match self.cx.store.delete(&self.stored).await {
            Ok(()) => {}
            Err(crate::ledger::WriteError::Api(error)) => return self.prepare_again(&error).await,
            Err(_) => return Err(FleetEnd::Reread),
        }
        let ledger = &self.stored.ledger;
        let (instance, fleet, target) =
            (ledger.instance.clone(), ledger.fleet.clone(), ledger.target.clone());
        self.stored = Stored::new(Ledger::new(instance, fleet, target, self.cx.identity.clone()));
        self.removed().await;
        Ok(())
    }

    async fn removed(&mut self) {
        self.eye.close();
        self.run = None;
        self.dirty = false;
        self.cx.set_sibling(&self.stored, Default::default());
        self.phase = Phase::Idle;
        tracing::info!(cluster = %self.cx.settings.target, fleet = %self.name, "the target has left the fleet");
        self.say(FactBody::Removed).await;
    }

    /// Whether an object is there and healthy, as far as it can be told.
    pub(super) fn is_healthy(&self, key: &ObjectKey) -> bool {
        self.why_unhealthy(key).is_none()
    }

    pub(super) fn why_unhealthy(&self, key: &ObjectKey) -> Option<String> {
        use crate::health::Verdict;
        let kind = key.group_kind();
        match self.verdict(key) {
            Some(Verdict::Healthy) => None,
            Some(Verdict::Progressing(why) | Verdict::Failed(why)) => Some(why),
            Some(Verdict::Terminating) if self.is_finished(key) => None,
            Some(Verdict::Terminating) => Some(self.deletion_text(key)),
            Some(Verdict::Unbound(_)) => Some("is not bound to a volume yet".to_owned()),
            // Nobody can tell: that it was applied must do.
            None if !self.eye.watches(&kind) || self.eye.is_unread(&kind) => None,
            None if self.is_finished(key) => None,
            None => Some("is not there".to_owned()),
        }
    }

    /// Tells the run about the health of every object.
    pub(super) fn refresh_health(&mut self) {
        let Some(run) = &self.run else { return };
        let healths: Vec<bool> = run
            .items
            .iter()
            .enumerate()
            .map(|(item, entry)| self.is_handed_over(run, item) || self.is_healthy(&entry.action.key))
            .collect();
        let Some(run) = &mut self.run else { return };
        for (item, healthy) in healths.into_iter().enumerate() {
            run.touch(item, healthy);
        }
    }

    pub(super) fn is_handed_over(&self, run: &super::run::Run, item: usize) -> bool {
        use fairlead_core::plan::Why;
        run.items.get(item).is_some_and(|item| matches!(item.action.why, Why::HandedOver { .. }))
    }

    /// The set's id; what our label says.
    pub(super) fn set(&self) -> Arc<str> {
        Arc::clone(&self.set)
    }
}

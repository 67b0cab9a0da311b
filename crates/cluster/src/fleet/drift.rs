//! What others do to our objects, and what becomes of it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::eye::Change;
use super::run::{Health, Run, State};
use super::{Fleet, FleetEnd, Phase};
use crate::backoff::jitter;
use crate::error::ApiError;
use crate::health::Reduced;
use crate::session::Lost;
use crate::text::chain;
use fairlead_core::model::assignment::{Cause, FactBody, Hold};
use fairlead_core::model::digest::ReleaseDigest;
use fairlead_core::model::object::{GroupKind, ObjectKey};
use fairlead_core::plan::{Context, Judgement, Verb, Wanted, Why, judge, yields};

/// How long a converged fleet may be unhealthy before that is said: a heal or a restart of a Pod is no news.
pub const UNHEALTHY_AFTER: Duration = Duration::from_secs(3);

impl Fleet {
    pub(super) async fn take_change(&mut self, change: Change) -> Result<(), FleetEnd> {
        match change {
            Change::Unread => {}
            Change::Listed { kind, was_unread } => {
                if self.phase == Phase::Executing && self.kept_can_be_read() {
                    self.plan_again();
                } else if was_unread {
                    self.seen_at_last(&kind).await?;
                }
            }
            Change::NotServed => self.look_what_is_served().await,
            Change::Broken(error) if error.is_unauthorized() => {
                return Err(FleetEnd::Lost(Lost::Unauthorized));
            }
            Change::Broken(_) => self.probe(),
            // Without the first lists there is no plan: that is said, for the progress clock must stand.
            Change::Throttled(error) if self.phase == Phase::Observing => {
                self.say_stalled(chain(&error)).await;
            }
            Change::Throttled(_) => {}
            Change::Object(key) if self.phase == Phase::Executing => {
                if key.is("storage.k8s.io", "StorageClass") {
                    self.reread_classes();
                }
                if let Some(item) = self.item(&key) {
                    self.seen_again(item, &key).await?;
                } else if self.may_go_now(&key) {
                    self.phase = Phase::Begin;
                }
            }
            Change::Vanished(key) if self.phase == Phase::Executing => self.vanished(key),
            Change::Object(_) | Change::Vanished(_) => {}
        }
        Ok(())
    }

    /// A kind can be read again: what nobody could tell of its objects is looked at now.
    async fn seen_at_last(&mut self, kind: &GroupKind) -> Result<(), FleetEnd> {
        tracing::info!(cluster = %self.cx.settings.target, fleet = %self.name, %kind, "objects of a kind can be read again");
        if self.phase != Phase::Executing {
            return Ok(());
        }
        let of_kind = |run: &Run| -> Vec<(usize, ObjectKey)> {
            let items = run.index.iter().filter(|(key, _)| key.is(&kind.group, &kind.kind));
            items.map(|(key, item)| (*item, key.clone())).collect()
        };
        for (item, key) in self.run.as_deref().map(of_kind).unwrap_or_default() {
            self.seen_again(item, &key).await?;
        }
        Ok(())
    }

    async fn seen_again(&mut self, item: usize, key: &ObjectKey) -> Result<(), FleetEnd> {
        let healthy = self.is_healthy(key);
        let Some(run) = &mut self.run else { return Ok(()) };
        run.touch(item, healthy);
        self.note_finished(item);
        let Some(run) = &mut self.run else { return Ok(()) };
        let leaving = run.items.get(item).is_some_and(|entry| entry.state == State::Leaving);
        if leaving && self.eye.get(key).is_some_and(|seen| !seen.object.terminating) {
            // Another object stands under the name now: look at it as at any other.
            if let Some(run) = &mut self.run {
                run.set(item, State::Done, healthy);
            }
        }
        self.rejudge(item).await?;
        self.judge_health(item).await;
        Ok(())
    }

    /// Our watch no longer sees an object.
    fn vanished(&mut self, key: ObjectKey) {
        if let Some(item) = self.item(&key) {
            self.note_finished(item);
            let state =
                self.run.as_ref().and_then(|run| run.items.get(item)).map(|entry| entry.state.clone());
            match state {
                Some(State::Leaving) => self.after_leaving(item),
                Some(State::Running) | None => {}
                Some(_) => {
                    if let Some(run) = &mut self.run {
                        run.touch(item, false);
                    }
                    self.look_closer(key);
                }
            }
            return;
        }
        let leaves = self.run.as_mut().is_some_and(|run| run.leaver_mut(&key).is_some());
        if leaves {
            self.forget(&key);
        } else if self.stored.ledger.inventory.objects.contains_key(&key) {
            self.look_closer(key);
        }
    }

    /// Gone, or stripped of our label? One read tells.
    fn look_closer(&mut self, key: ObjectKey) {
        let version = self.stored.ledger.inventory.objects.get(&key).map(|entry| entry.version.clone());
        let discovery = self.discovery.as_ref();
        let resource =
            discovery.and_then(|d| d.find(&key.group_kind(), version.as_deref().unwrap_or_default()));
        if let Some(resource) = resource.cloned() {
            let hand = self.hand();
            self.jobs.spawn(hand.look(resource, key));
        }
    }

    pub(super) async fn looked(
        &mut self,
        key: ObjectKey,
        answer: Result<Option<Reduced>, ApiError>,
    ) -> Result<(), FleetEnd> {
        let found = match answer {
            Ok(found) => found,
            Err(error) if error.is_unauthorized() => return Err(FleetEnd::Lost(Lost::Unauthorized)),
            Err(_) => {
                // Unknown. The connection is tried; a watch, or the next full check, tells.
                self.probe();
                return Ok(());
            }
        };
        let ours = found.as_ref().is_some_and(|r| r.object.part_of.as_deref() == Some(&*self.set));
        match found {
            Some(reduced) => {
                self.eye.note(reduced);
            }
            None => self.eye.forget(&key),
        }
        let Some(item) = self.item(&key) else {
            if !ours {
                self.eye.forget(&key);
                self.forget(&key);
            }
            return Ok(());
        };
        self.rejudge(item).await
    }

    /// Looks at an object that is done: is it still as it should be?
    pub(super) async fn rejudge(&mut self, item: usize) -> Result<(), FleetEnd> {
        if self.phase != Phase::Executing {
            return Ok(());
        }
        self.meet_siblings(item);
        let waits = self.waits_to_heal(item);
        let done =
            self.run.as_ref().and_then(|run| run.items.get(item)).is_some_and(|i| i.state == State::Done);
        if !waits && !done {
            return Ok(());
        }
        let Some((key, judgement)) = self.judgement(item) else { return Ok(()) };
        match judgement.verb {
            Verb::Unchanged => {
                if matches!(judgement.why, Why::HandedOver { .. }) {
                    self.handed_over(item, judgement.why);
                } else if waits {
                    self.stands_again(item, key).await;
                } else {
                    let healthy = self.is_healthy(&key);
                    if let Some(run) = &mut self.run {
                        run.touch(item, healthy);
                    }
                }
            }
            // At its time.
            _ if waits => {}
            Verb::Compare if self.was_compared(item, &key) => {}
            Verb::Report => self.report(item, key).await,
            Verb::Held => {
                if let Why::ForeignOwner { owner } = judgement.why {
                    let hold = Hold::ForeignOwner { object: key, owner };
                    if let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) {
                        entry.held = Some(hold.clone());
                    }
                    self.later(item, jitter(self.cx.settings.retry.1), hold.to_string());
                    self.say_held(self.generation(), hold).await;
                }
            }
            _ => self.put_right(item, key, judgement).await,
        }
        Ok(())
    }

    /// Reads the other fleets' wants anew when an object carries a label that is not ours.
    fn meet_siblings(&mut self, item: usize) {
        let Some(key) = self.action(item).map(|action| action.key) else { return };
        let other = self.eye.get(&key).and_then(|seen| seen.object.part_of.clone());
        if other.is_some_and(|set| set != self.set) {
            let siblings = self.siblings();
            if let Some(run) = &mut self.run {
                run.siblings = siblings;
            }
        }
    }

    /// The ignored fields of an item that others own now.
    pub(super) fn yields(&self, item: usize) -> Vec<String> {
        let wanted = self.run.as_ref().and_then(|run| {
            let (entry, object) = (run.items.get(item)?, run.object(item)?);
            let owned = &self.eye.get(&entry.action.key)?.object.yielded;
            Some(yields(owned, object, &entry.action.key, &run.assignment.policy.drift.ignore))
        });
        wanted.unwrap_or_default()
    }

    /// What is to be done to an item that is done, or waits to be healed.
    pub(super) fn judgement(&self, item: usize) -> Option<(ObjectKey, Judgement)> {
        let run = self.run.as_ref()?;
        let entry = run.items.get(item)?;
        let key = entry.action.key.clone();
        let yielded = self.yields(item);
        let wanted = Wanted {
            digest: run.object(item)?.digest,
            adopt: run.adopts(item),
            unread: self.eye.is_unread(&key.group_kind()),
            yields: &yielded,
        };
        let seen = self.eye.get(&key).map(|seen| &seen.object);
        if wanted.unread || (seen.is_none() && !self.eye.watches(&key.group_kind())) {
            // Nobody tells about it between full checks.
            return None;
        }
        let ctx = Context {
            assignment: &run.assignment,
            inventory: &self.stored.ledger.inventory,
            set: &self.set,
            siblings: &run.siblings,
            back_to: run.back_to,
            adopt: &run.adopt,
            now: Timestamp::now(),
        };
        let judgement = judge(&key, &wanted, seen, &ctx);
        Some((key, judgement))
    }

    fn handed_over(&mut self, item: usize, why: Why) {
        let Some(run) = &mut self.run else { return };
        if let Some(entry) = run.items.get_mut(item) {
            entry.action.why = why;
        }
        run.touch(item, true);
    }

    /// Says once for each version that someone changed an object which policy leaves alone.
    async fn report(&mut self, item: usize, key: ObjectKey) {
        let version = self.eye.get(&key).map(|seen| seen.object.resource_version.clone()).unwrap_or_default();
        let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) else { return };
        if entry.reported.as_ref() == Some(&version) {
            return;
        }
        entry.reported = Some(version);
        self.say(FactBody::Drift { objects: vec![key], healed: false }).await;
    }

    /// Puts an object right at its pace: at once, and later each time that it has to be done again.
    async fn put_right(&mut self, item: usize, key: ObjectKey, judgement: Judgement) {
        let leave_out = self.yields(item);
        let compares = judgement.verb == Verb::Compare;
        let recreates = judgement.verb == Verb::Recreate;
        if let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) {
            let action = &mut entry.action;
            action.verb = judgement.verb;
            action.why = judgement.why;
            action.force = judgement.force;
            action.origin = judgement.origin;
            action.leave_out = leave_out;
            entry.healing = !compares;
        }
        let wait = self.paces.step(&key, Instant::now());
        if !compares {
            self.count_heal(item, &key).await;
        }
        self.heal_after(item, &key, wait, recreates);
    }

    /// Counts a heal, and says so when there were too many.
    pub(super) async fn count_heal(&mut self, item: usize, key: &ObjectKey) {
        let heal = self.paces.heal(key);
        if let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) {
            entry.log = heal.log;
        }
        if heal.contested {
            let rival = self.rival(key);
            tracing::warn!(cluster = %self.cx.settings.target, fleet = %self.name, object = %key, "contested: {rival}");
            self.say(FactBody::Contested { objects: vec![key.clone()] }).await;
        }
    }

    /// Sets an item to be healed after a while; what is being deleted (`recreates`), once that is over.
    pub(super) fn heal_after(&mut self, item: usize, key: &ObjectKey, wait: Duration, recreates: bool) {
        let at = Instant::now() + wait;
        let why = self.rival(key);
        let Some(run) = &mut self.run else { return };
        let state = match (recreates, wait.is_zero()) {
            (true, _) => State::Leaving,
            (false, true) => State::Todo,
            (false, false) => State::Later { at, why },
        };
        if let Some(entry) = run.items.get_mut(item).filter(|_| recreates) {
            entry.not_before = Some(at);
        }
        run.set(item, state, false);
    }

    /// Who is at it, for people.
    fn rival(&self, key: &ObjectKey) -> String {
        let Some(seen) = self.eye.get(key) else {
            return "something else removed it again after it was put right".to_owned();
        };
        let managers: Vec<&str> = seen.object.managers.iter().map(|name| &**name).collect();
        let by = if managers.is_empty() {
            String::new()
        } else {
            format!(" (other field managers: {})", managers.join(", "))
        };
        format!("someone else keeps changing it{by}")
    }

    /// Whether an item only waits for its time to be healed.
    fn waits_to_heal(&self, item: usize) -> bool {
        let entry = self.run.as_ref().and_then(|run| run.items.get(item));
        entry.is_some_and(|entry| {
            matches!(entry.state, State::Later { .. })
                && entry.tries == 0
                && !entry.by_value
                && matches!(entry.action.verb, Verb::Heal | Verb::Compare)
        })
    }

    /// Whether a comparison has found this very version as it should be: the proof can't be had, then.
    fn was_compared(&self, item: usize, key: &ObjectKey) -> bool {
        let compared = self.run.as_ref().and_then(|run| run.items.get(item)?.compared.as_ref());
        compared.is_some() && compared == self.eye.get(key).map(|seen| &seen.object.resource_version)
    }

    /// What was to be healed is as it should be: someone else has put it right.
    pub(super) async fn stands_again(&mut self, item: usize, key: ObjectKey) {
        let healthy = self.is_healthy(&key);
        let Some(run) = &mut self.run else { return };
        run.set(item, State::Done, healthy);
        if let Some(entry) = run.items.get_mut(item) {
            entry.healing = false;
        }
        if self.paces.is_contested(&key) {
            self.say(FactBody::Drift { objects: vec![key], healed: true }).await;
        }
    }

    /// Whether what waited to be healed is as it should be by now.
    pub(super) async fn needs_no_heal(&mut self, item: usize) -> bool {
        let entry = self.run.as_ref().and_then(|run| run.items.get(item));
        if !entry.is_some_and(|entry| entry.healing && !entry.by_value && entry.action.verb == Verb::Heal) {
            return false;
        }
        match self.judgement(item) {
            Some((key, judgement)) if judgement.verb == Verb::Unchanged => {
                self.stands_again(item, key).await;
                true
            }
            _ => false,
        }
    }

    /// Keeps what stands as it is: says when a converged fleet's health changes, and writes what others took from it.
    pub(super) async fn keep(&mut self) -> Result<(), FleetEnd> {
        self.keep_pruning().await;
        let Some(run) = &self.run else { return Ok(()) };
        let (standby, healthy) = (run.standby, run.is_applied());
        if !standby {
            self.follow_health(healthy).await;
        }
        if self.dirty && self.jobs.is_empty() && (healthy || standby) {
            if self.write_ledger().await? {
                self.publish_wants();
            } else {
                self.phase = Phase::Executing;
            }
        }
        if Instant::now() >= self.verify_at {
            self.verify_at = Instant::now() + super::verify_wait(self.cx.settings.verify_every);
            self.verify();
        }
        Ok(())
    }

    async fn follow_health(&mut self, healthy: bool) {
        let Some(run) = &self.run else { return };
        let (said, unseen) = (run.said_health, self.unseen());
        if healthy && unseen.is_none() {
            self.unhealthy = None;
            if said != Some(Health::Healthy) {
                self.say_health(Health::Healthy, |generation, release| FactBody::Converged {
                    generation,
                    release,
                })
                .await;
            }
            return;
        }
        let since = *self.unhealthy.get_or_insert_with(Instant::now);
        if said == Some(Health::Healthy) && since.elapsed() < UNHEALTHY_AFTER {
            return;
        }
        let mut progress = self.with_glass(run.progress(|key| self.why_unhealthy(key)));
        let (hold, waiting) = (progress.holds.drain(..).next(), progress.waiting.drain(..).next());
        let stalled = progress.stalled.take().or_else(|| self.held_up());
        let stalled = stalled.or_else(|| unseen.filter(|_| waiting.is_none()));
        match (hold, stalled, waiting) {
            (Some(hold), _, _) if said != Some(Health::Held) => {
                self.say_held(self.generation(), hold).await;
                self.set_health(Health::Held);
            }
            (None, Some(reason), _) if said != Some(Health::Stalled) => {
                let fact = |generation, _| FactBody::Stalled { generation, reason };
                self.say_health(Health::Stalled, fact).await;
            }
            (None, None, Some(waiting)) if said != Some(Health::Unhealthy) => {
                match self.doubts().into_iter().next() {
                    // Said once its cause is known.
                    Some(doubt) => self.look_up_relapse(doubt),
                    None => self.say_unhealthy(waiting.object, waiting.reason).await,
                }
            }
            // Something is under work: how that ends is waited for.
            (None, None, None) => self.unhealthy = Some(Instant::now()),
            _ => {}
        }
    }

    /// What can't be read of a converged release, and why: nobody can tell how it stands.
    fn unseen(&self) -> Option<String> {
        let mut unseen = self.eye.unseen();
        let (kind, reason) = unseen.next()?;
        let more = match unseen.count() {
            0 => String::new(),
            count => format!(" and of {count} more kinds"),
        };
        Some(format!("objects of {kind}{more} can't be read: {reason}"))
    }

    pub(super) async fn say_unhealthy(&mut self, object: ObjectKey, message: String) {
        let cause = Cause::Unhealthy { object, message };
        let fact = |generation, release| FactBody::Unhealthy { generation, release, cause };
        self.say_health(Health::Unhealthy, fact).await;
    }

    async fn say_health(&mut self, health: Health, fact: impl FnOnce(u64, ReleaseDigest) -> FactBody) {
        let Some(run) = &self.run else { return };
        let body = fact(run.assignment.generation, run.assignment.release.digest);
        self.set_health(health);
        self.say(body).await;
    }

    fn set_health(&mut self, health: Health) {
        if health != Health::Held {
            self.said.held = None;
        }
        if let Some(run) = &mut self.run {
            run.said_health = Some(health);
        }
    }
}

//! Clusters that do what they are told to, and what must hold at every step.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_core::model::assignment::{
    Assignment, Cause, Fact, FactBody, Hold, LedgerSummary, Progress, Purpose,
};
use fairlead_core::model::digest::ReleaseDigest;
use fairlead_core::model::fleet::OnFailure;
use fairlead_core::model::name::{FleetName, TargetName};
use fairlead_core::model::object::ObjectKey;
use fairlead_core::rollout::{
    Effect, Event, FleetState, Person, Reason, RevisionHold, RolloutState, TargetReport, TargetStatus,
    report, resume, step,
};
use jiff::{SignedDuration, Timestamp};

use super::checks::Watch;
use super::repository::{Doc, commit_id, name};
use super::setting::{Edit, Op, Setting};

#[derive(Clone, Copy, PartialEq)]
pub enum Doing {
    /// Since then, but for the time for which its progress clock stood.
    Working(Timestamp),
    Held,
    Stalled(Timestamp),
    /// Stalled for so long that it takes no room any more.
    GivenUp,
    Converged,
    Failed,
    Gone,
}

pub struct Model {
    pub(super) state: FleetState,
    pub(super) now: Timestamp,
    pub(super) wake: Option<Timestamp>,
    pub(super) setting: Setting,
    pub(super) docs: BTreeMap<TargetName, Doc>,
    pub(super) olden: BTreeMap<TargetName, Doc>,
    /// Whose workers were told to stop everything.
    pub(super) asleep: BTreeSet<TargetName>,
    pub(super) commit: u32,
    pub(super) unknown: bool,
    pub(super) intent: BTreeMap<TargetName, ReleaseDigest>,
    pub(super) orders: BTreeMap<TargetName, (Assignment, Doing)>,
    pub(super) ledgers: BTreeMap<TargetName, LedgerSummary>,
    pub(super) online: BTreeSet<TargetName>,
    /// Since when a target is offline: its progress clock stands.
    pub(super) away: BTreeMap<TargetName, Timestamp>,
    pub(super) generations: BTreeMap<TargetName, u64>,
    /// Failures that count, since the last commit, retry or resume.
    pub(super) failures: u32,
    /// Not healthy when last heard of.
    pub(super) ailing: BTreeSet<TargetName>,
    /// The fleets that targets wait for.
    pub(super) unmet: BTreeMap<TargetName, FleetName>,
    pub(super) said_back: bool,
    pub watch: Watch,
}

const DEADLINE: SignedDuration = SignedDuration::from_mins(10);

fn ann() -> Person {
    Person { who: "ann".into(), why: String::new() }
}

fn cause() -> Cause {
    let object = ObjectKey::new("", "Pod", "", "web");
    Cause::Unhealthy { object, message: "no".into() }
}

impl Model {
    pub fn new(setting: Setting) -> Self {
        let mut model = Self {
            state: FleetState::new("retail".parse().unwrap()),
            now: "2026-11-23T09:00:00Z".parse().unwrap(),
            wake: None,
            docs: (0..setting.targets).map(|n| (name(n), Doc::default())).collect(),
            olden: BTreeMap::new(),
            asleep: BTreeSet::new(),
            setting,
            commit: 0,
            unknown: false,
            intent: BTreeMap::new(),
            orders: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            online: BTreeSet::new(),
            away: BTreeMap::new(),
            generations: BTreeMap::new(),
            failures: 0,
            ailing: BTreeSet::new(),
            unmet: BTreeMap::new(),
            said_back: false,
            watch: Watch::default(),
        };
        model.commit(0, &Edit::Nothing);
        model.come_through();
        model
    }

    /// Everybody who is at work, or not healthy, converges.
    fn converge_all(&mut self) {
        let all: BTreeSet<_> = self.orders.keys().chain(self.docs.keys()).cloned().collect();
        for (n, target) in all.iter().enumerate() {
            let doing = self.orders.get(target).map(|(_, doing)| *doing);
            if doing.is_some_and(|doing| doing != Doing::Converged) || self.ailing.contains(target) {
                self.run(&Op::Converge(n));
            }
        }
    }

    /// Everybody is there and converges, and a person approves what waits, until the fleet is through.
    fn come_through(&mut self) {
        for n in 0..8 {
            self.run(&Op::Online(n));
        }
        for _ in 0..200 {
            self.converge_all();
            let report = report(&self.state);
            let settled = |one: &TargetReport| one.reason == Reason::Converged;
            if report.rollout == RolloutState::Converged && report.targets.iter().all(settled) {
                return;
            }
            for one in report.targets.iter().filter(|one| matches!(one.reason, Reason::Removing { .. })) {
                self.ledgers.remove(&one.target);
                self.fact(&one.target, FactBody::Removed);
            }
            self.run(&Op::Approve(None));
            self.advance(4);
        }
    }

    /// Time is up for those whose progress clocks ran.
    fn expire(&mut self) {
        for (target, (_, doing)) in &mut self.orders {
            let clock_stands = self.asleep.contains(target) || !self.online.contains(target);
            *doing = match *doing {
                Doing::Working(since) if !clock_stands && since + DEADLINE <= self.now => Doing::Failed,
                Doing::Stalled(since) if !clock_stands && since + DEADLINE <= self.now => Doing::GivenUp,
                same => same,
            };
        }
    }

    pub fn step(&mut self, event: Event) {
        self.expire();
        let by_hand = matches!(event, Event::Retry { .. } | Event::Resumed { .. });
        if by_hand {
            self.failures = 0;
        }
        let commits = matches!(event, Event::CommitObserved(_));
        let effects = step(&mut self.state, event, self.now);
        // Who is let go on takes up its order again, whatever room there is.
        let (calls, effects): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Suspend { .. }));
        for call in calls {
            self.effect(call);
        }
        let report = report(&self.state);
        self.note_waves(&report);
        let before = self.in_flight();
        let gave_back = effects.iter().any(|effect| match effect {
            Effect::Report(status) => status.description.contains("back to") && !commits && !by_hand,
            _ => false,
        });
        let mut started = Vec::new();
        for effect in effects {
            started.extend(self.effect(effect));
        }
        self.check_concurrency(&before);
        if gave_back && !self.said_back {
            self.check_return(&report);
        }
        self.said_back = gave_back;
        self.check_starts(&started, &report);
        self.check_reasons(&report);
        self.note_accepted(&report);
    }

    /// Carries an effect out. Answers the order, if it starts something.
    fn effect(&mut self, effect: Effect) -> Option<Assignment> {
        match effect {
            Effect::Assign(order) => {
                let newest = self.generations.entry(order.target.clone()).or_default();
                assert!(order.generation > *newest, "generations grow");
                *newest = order.generation;
                let wanted = self.intent.get(&order.target);
                // An approval of deletions gives the order that stands once more, whatever the head wants.
                let standing = self.orders.get(&order.target).map(|(standing, _)| standing.release.digest);
                let allowed = order.deletions_approved && standing == Some(order.release.digest);
                if !allowed && let Purpose::Change | Purpose::Revert | Purpose::Pin = order.purpose {
                    assert_eq!(wanted, Some(&order.release.digest), "only what the head wants");
                }
                if !allowed
                    && let Purpose::Change | Purpose::Revert = order.purpose
                    && self.setting.on_failure != OnFailure::Continue
                {
                    assert!(self.failures <= self.setting.failures, "starts after too many failures");
                }
                self.watch.healthy.remove(&order.target);
                self.orders.insert(order.target.clone(), ((*order).clone(), Doing::Working(self.now)));
                return (!allowed).then_some(*order).filter(|order| Some(order.release.digest) != standing);
            }
            Effect::Remove { target, generation, .. } => {
                assert!(!self.unknown, "removes while it is unknown who is there");
                assert!(!self.docs.contains_key(&target));
                let newest = self.generations.entry(target.clone()).or_default();
                assert!(generation > *newest, "generations grow");
                *newest = generation;
                self.orders.remove(&target);
            }
            Effect::WakeAt(at) => self.wake = Some(at),
            Effect::Report(status) => assert!(status.description.chars().count() <= 140),
            Effect::Suspend { target, suspend } => {
                let told =
                    if suspend { self.asleep.insert(target.clone()) } else { self.asleep.remove(&target) };
                assert!(told, "{target} is told twice");
                let now = self.now;
                self.watch.healthy.entry(target.clone()).and_modify(|since| *since = now);
                if let Some((_, Doing::Working(since) | Doing::Stalled(since))) = self.orders.get_mut(&target)
                {
                    *since = now;
                }
            }
            Effect::Hold { .. } => {}
        }
        None
    }

    fn fact(&mut self, target: &TargetName, body: FactBody) {
        let fact = Fact { target: target.clone(), fleet: self.state.fleet().clone(), body };
        self.step(fact.into());
    }

    pub fn run(&mut self, op: &Op) {
        match op {
            Op::Commit { changed, edit } => self.commit(*changed, edit),
            Op::Approve(wave) => self.approve(*wave),
            Op::Depend(n, unmet) => {
                let Some(target) = self.target(*n) else { return };
                let fleet: Option<FleetName> = unmet.then(|| "infrastructure".parse().unwrap());
                self.unmet.remove(&target);
                self.unmet.extend(fleet.clone().map(|fleet| (target.clone(), fleet)));
                self.step(Event::Dependency { target, unmet: fleet });
            }
            Op::Retry => self.step(Event::Retry { by: ann() }),
            Op::Pause => self.step(Event::Paused { by: ann() }),
            Op::Resume => self.step(Event::Resumed { by: ann() }),
            Op::HoldRevision => {
                let commit = commit_id(999);
                self.step(Event::RevisionHeld { commit, reason: RevisionHold::Unreachable { commit } });
            }
            Op::ReleaseRevision => self.observe(),
            Op::Advance(minutes) => self.advance(*minutes),
            Op::Restart => self.restart(),
            Op::Converge(n) | Op::Fail(n) | Op::FailStale(n) | Op::Progress(n) | Op::Stall(n) => {
                self.work(*n, op);
            }
            Op::Offline(n) | Op::Online(n) | Op::Unhealthy(n) | Op::Held(n) | Op::Left(n) => {
                self.work(*n, op)
            }
        }
    }

    fn advance(&mut self, minutes: i64) {
        let end = self.now + SignedDuration::from_mins(minutes);
        while let Some(at) = self.wake.filter(|at| *at <= end) {
            (self.now, self.wake) = (at.max(self.now), None);
            self.step(Event::Tick);
        }
        self.now = end;
    }

    pub fn restart(&mut self) {
        self.step(Event::Tick);
        let stored = serde_json::to_value(&self.state).unwrap();
        let mut again: FleetState = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(again, self.state);
        let effects = resume(&mut again, self.now);
        let mut orders = self.orders.clone();
        for effect in effects {
            match effect {
                Effect::Assign(order) => {
                    let (known, _) = orders.remove(&order.target).unwrap();
                    assert_eq!(
                        (order.generation, order.release.digest),
                        (known.generation, known.release.digest)
                    );
                }
                Effect::WakeAt(at) => self.wake = Some(at),
                _ => {}
            }
        }
        assert!(orders.values().all(|(_, doing)| *doing == Doing::Gone), "orders lost: {:?}", orders.keys());
        assert_eq!(report(&again), report(&self.state));
        self.state = again;
    }

    /// Whether the operation was about the cluster's being there.
    fn come_or_go(&mut self, target: &TargetName, op: &Op) -> bool {
        match op {
            Op::Offline(_) => {
                self.online.remove(target);
                self.away.entry(target.clone()).or_insert(self.now);
                self.fact(target, FactBody::Offline { reason: "no route".into() });
            }
            Op::Online(_) => {
                self.online.insert(target.clone());
                let since = self.away.remove(target);
                if let (Some(away), Some((_, Doing::Working(since)))) = (since, self.orders.get_mut(target)) {
                    *since += self.now.duration_since(away.max(*since));
                }
                if let (Some(away), Some(since)) = (since, self.watch.healthy.get_mut(target)) {
                    *since += self.now.duration_since(away.max(*since));
                }
                let ledger = self.ledgers.get(target).cloned();
                self.fact(target, FactBody::Online { ledger: ledger.map(Box::new) });
            }
            _ => return false,
        }
        true
    }

    fn work(&mut self, number: usize, op: &Op) {
        let all: BTreeSet<_> = self.orders.keys().chain(self.docs.keys()).cloned().collect();
        let Some(target) = all.iter().nth(number % all.len().max(1)).cloned() else { return };
        if self.come_or_go(&target, op) {
            return;
        }
        let suspended = self.asleep.contains(&target);
        let Some((order, doing)) =
            self.orders.get_mut(&target).filter(|_| self.online.contains(&target) && !suspended)
        else {
            return;
        };
        let (generation, release) = (order.generation, order.release.digest);
        let working = matches!(doing, Doing::Working(_) | Doing::Stalled(_) | Doing::Held | Doing::GivenUp);
        let order_now = order.clone();
        let ledger = self.ledgers.entry(target.clone()).or_default();
        ledger.converged.take_if(|_| ledger.generation < generation);
        (ledger.generation, ledger.base, ledger.assigned) =
            (generation, order.base.clone(), Some(order.release.clone()));
        let ledger_converged = Some(order.release.clone());
        let body = match op {
            Op::Converge(_) if *doing != Doing::Gone => {
                *doing = Doing::Converged;
                self.watch.healthy.entry(target.clone()).or_insert(self.now);
                ledger.converged = ledger_converged;
                self.ailing.remove(&target);
                FactBody::Converged { generation, release }
            }
            Op::Fail(_) if working => {
                *doing = Doing::Failed;
                let pinned = self.docs.get(&target).is_some_and(|doc| doc.pin.is_some());
                let wanted = self.intent.get(&target) == Some(&release) && !pinned;
                let counts = matches!(order_now.purpose, Purpose::Change | Purpose::Revert) && wanted;
                self.failures += u32::from(counts && self.is_counted(&target));
                FactBody::Failed { generation, release, cause: cause() }
            }
            Op::FailStale(_) if generation > 1 => {
                FactBody::Failed { generation: generation - 1, release, cause: cause() }
            }
            // A worker says what holds it as long as that stands.
            Op::Progress(n) if *doing == Doing::Held && n % 2 == 0 => {
                let reason = Hold::EmptyRelease { of: 9 };
                let progress = Progress { holds: vec![reason], ..Progress::default() };
                FactBody::Progress { generation, progress }
            }
            Op::Progress(_) if working => {
                *doing = Doing::Working(self.now);
                FactBody::Progress { generation, progress: Progress::default() }
            }
            Op::Stall(_) if working && matches!(doing, Doing::Working(_)) => {
                *doing = Doing::Stalled(self.now);
                FactBody::Stalled { generation, reason: "503".into() }
            }
            Op::Unhealthy(_) if *doing == Doing::Converged => {
                let healthy = self.watch.healthy.remove(&target).is_some();
                if healthy && self.bakes_on_trial(&target) {
                    if let Some((_, doing)) = self.orders.get_mut(&target) {
                        *doing = Doing::Failed;
                    }
                    let pinned = self.docs.get(&target).is_some_and(|doc| doc.pin.is_some());
                    let accepted = self.watch.accepted.get(&target) == Some(&release);
                    self.failures += u32::from(self.counts_now() && !pinned && !accepted);
                } else {
                    self.ailing.insert(target.clone());
                }
                FactBody::Unhealthy { generation, release, cause: cause() }
            }
            Op::Held(_) if working => {
                *doing = Doing::Held;
                let reason = Hold::DeletionBudget { count: 9, of: 10, budget: 5, objects: Vec::new() };
                FactBody::Held { generation, release, reason }
            }
            Op::Left(_) if *doing == Doing::Converged => {
                self.orders.remove(&target);
                self.ledgers.remove(&target);
                FactBody::Removed
            }
            _ => return,
        };
        self.fact(&target, body);
    }

    /// Whether a failure of this target counts: it was not ill when it was given its order.
    fn is_counted(&self, target: &TargetName) -> bool {
        let report = report(&self.state);
        let one = report.targets.iter().find(|one| one.target == *target);
        self.counts_now()
            && !self.ailing.contains(target)
            && one.is_some_and(|one| matches!(one.status, TargetStatus::Progressing | TargetStatus::Stalled))
    }

    /// Everything is mended, changed and converges: nothing may be stuck.
    pub fn all_is_well(&mut self) {
        self.run(&Op::Resume);
        for target in std::mem::take(&mut self.unmet).into_keys() {
            self.step(Event::Dependency { target, unmet: None });
        }
        self.commit += 1;
        self.unknown = false;
        let commit = self.commit;
        for doc in self.docs.values_mut() {
            *doc = Doc { content: commit, ..Doc::default() };
        }
        self.failures = 0;
        self.observe();
        self.run(&Op::Approve(None));
        self.run(&Op::Retry);
        self.come_through();
        let report = report(&self.state);
        let lines: Vec<_> = report
            .targets
            .iter()
            .map(|one| format!("{} {:?}: {}", one.target, one.status, one.reason))
            .collect();
        assert_eq!(report.rollout, RolloutState::Converged, "{lines:#?}");
        for one in report.targets.iter().filter(|one| self.docs.contains_key(&one.target)) {
            assert_eq!(
                (one.status, &one.reason),
                (TargetStatus::Converged, &Reason::Converged),
                "{}",
                one.target
            );
        }
    }
}

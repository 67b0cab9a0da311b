//! What must hold of rollouts over random fleets, policies and orders of events.

use std::collections::{BTreeMap, BTreeSet};

use fairlead::model::assignment::{
    Assignment, Cause, Fact, FactBody, Hold, LedgerSummary, Progress, Purpose,
};
use fairlead::model::digest::{CommitId, InputDigest, ReleaseDigest};
use fairlead::model::fleet::{Offline, OnFailure, Wave};
use fairlead::model::name::TargetName;
use fairlead::model::object::ObjectKey;
use fairlead::model::release::ReleaseRef;
use fairlead::model::revision::{Revision, Revisions};
use fairlead::model::units::{Amount, Span};
use fairlead::rollout::{
    Effect, Event, FleetPolicy, FleetReport, FleetState, Intent, Person, Reason, RevisionHold, RolloutState,
    TargetIntent, TargetStatus, report, resume, step,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// One thing that may happen; numbers choose targets, modulo how many there are.
#[derive(Debug, Clone)]
enum Op {
    Commit { changed: u8, edit: Edit },
    Converge(usize),
    Fail(usize),
    FailStale(usize),
    Progress(usize),
    Stall(usize),
    Offline(usize),
    Online(usize),
    Unhealthy(usize),
    Held(usize),
    Left(usize),
    Approve,
    Retry,
    Pause,
    Resume,
    HoldRevision,
    ReleaseRevision,
    Advance(i64),
    Restart,
}

#[derive(Debug, Clone)]
enum Edit {
    Nothing,
    Suspend(usize),
    Pin(usize),
    Remove(usize),
    Add(usize),
    Break(usize),
    Unknown(usize),
    GoBack,
}

#[derive(Debug, Clone)]
struct Setting {
    targets: usize,
    concurrency: u32,
    failures: u32,
    on_failure: OnFailure,
    offline: Offline,
}

fn setting() -> impl Strategy<Value = Setting> {
    let on_failure = prop_oneof![
        3 => Just(OnFailure::Rollback), 1 => Just(OnFailure::Pause), 1 => Just(OnFailure::Continue)
    ];
    let offline = prop_oneof![Just(Offline::Skip), Just(Offline::Wait)];
    (1..7usize, 1..4u32, 0..3u32, on_failure, offline).prop_map(
        |(targets, concurrency, failures, on_failure, offline)| Setting {
            targets,
            concurrency,
            failures,
            on_failure,
            offline,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let t = 0..8usize;
    let edit = prop_oneof![
        6 => Just(Edit::Nothing),
        1 => t.clone().prop_map(Edit::Suspend),
        1 => t.clone().prop_map(Edit::Pin),
        1 => t.clone().prop_map(Edit::Remove),
        1 => t.clone().prop_map(Edit::Add),
        1 => t.clone().prop_map(Edit::Break),
        1 => t.clone().prop_map(Edit::Unknown),
        1 => Just(Edit::GoBack),
    ];
    prop_oneof![
        4 => (any::<u8>(), edit).prop_map(|(changed, edit)| Op::Commit { changed, edit }),
        12 => t.clone().prop_map(Op::Converge),
        4 => t.clone().prop_map(Op::Fail),
        1 => t.clone().prop_map(Op::FailStale),
        2 => t.clone().prop_map(Op::Progress),
        1 => t.clone().prop_map(Op::Stall),
        1 => t.clone().prop_map(Op::Offline),
        4 => t.clone().prop_map(Op::Online),
        1 => t.clone().prop_map(Op::Unhealthy),
        1 => t.clone().prop_map(Op::Held),
        1 => t.prop_map(Op::Left),
        1 => Just(Op::Approve),
        1 => Just(Op::Retry),
        1 => Just(Op::Pause),
        2 => Just(Op::Resume),
        1 => Just(Op::HoldRevision),
        2 => Just(Op::ReleaseRevision),
        3 => (1..15i64).prop_map(Op::Advance),
        1 => Just(Op::Restart),
    ]
}

#[derive(Clone, Default, PartialEq)]
struct Doc {
    content: u32,
    suspend: bool,
    pin: Option<u32>,
    broken: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Doing {
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

struct Model {
    state: FleetState,
    now: Timestamp,
    wake: Option<Timestamp>,
    setting: Setting,
    docs: BTreeMap<TargetName, Doc>,
    olden: BTreeMap<TargetName, Doc>,
    /// Whose workers were told to stop everything.
    asleep: BTreeSet<TargetName>,
    commit: u32,
    unknown: bool,
    intent: BTreeMap<TargetName, ReleaseDigest>,
    orders: BTreeMap<TargetName, (Assignment, Doing)>,
    ledgers: BTreeMap<TargetName, LedgerSummary>,
    online: BTreeSet<TargetName>,
    /// Since when a target is offline: its progress clock stands.
    away: BTreeMap<TargetName, Timestamp>,
    generations: BTreeMap<TargetName, u64>,
    /// Failures that count, since the last commit, retry or resume.
    failures: u32,
    /// Not healthy when last heard of.
    ailing: BTreeSet<TargetName>,
    said_back: bool,
}

const DEADLINE: SignedDuration = SignedDuration::from_mins(10);

fn name(number: usize) -> TargetName {
    format!("edge-{number}").parse().unwrap()
}

fn ann() -> Person {
    Person { who: "ann".into(), why: String::new() }
}

fn commit_id(number: u32) -> CommitId {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    CommitId::from_bytes(bytes)
}

fn cause() -> Cause {
    let object = ObjectKey::new("", "Pod", "", "web");
    Cause::Unhealthy { object, message: "no".into() }
}

impl Model {
    fn new(setting: Setting) -> Self {
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
            said_back: false,
        };
        model.commit(0, &Edit::Nothing);
        for n in 0..model.setting.targets {
            model.run(&Op::Online(n));
        }
        for _ in 0..2 {
            for n in 0..model.setting.targets {
                model.run(&Op::Converge(n));
            }
        }
        model
    }

    fn target(&self, number: usize) -> Option<TargetName> {
        self.docs.keys().nth(number % self.docs.len().max(1)).cloned()
    }

    fn policy(&self) -> FleetPolicy {
        let mut policy = FleetPolicy::default();
        policy.rollout.max_failures = Amount::Count(self.setting.failures);
        policy.rollout.on_failure = self.setting.on_failure;
        policy.rollout.offline = self.setting.offline;
        policy.rollout.progress_deadline = Span::from_secs(600);
        policy.rollout.waves = vec![Wave {
            max_concurrency: Some(Amount::Count(self.setting.concurrency)),
            ..Wave::new("all".parse().unwrap())
        }];
        policy
    }

    fn commit(&mut self, changed: u8, edit: &Edit) {
        self.commit += 1;
        self.unknown = false;
        let commit = self.commit;
        let before = self.docs.clone();
        for (_, doc) in
            self.docs.iter_mut().enumerate().filter(|(n, _)| changed & (1 << n) != 0).map(|(n, d)| (n, d.1))
        {
            doc.content = commit;
        }
        match edit {
            Edit::Nothing => {}
            Edit::GoBack => self.docs = std::mem::take(&mut self.olden),
            Edit::Add(n) => {
                self.docs.entry(name(*n)).or_insert(Doc { content: commit, ..Doc::default() });
            }
            Edit::Remove(n) | Edit::Unknown(n) => {
                self.unknown = matches!(edit, Edit::Unknown(_));
                if let Some(target) = self.target(*n) {
                    self.docs.remove(&target);
                }
            }
            Edit::Suspend(n) | Edit::Pin(n) | Edit::Break(n) => {
                if let Some(doc) = self.target(*n).and_then(|target| self.docs.get_mut(&target)) {
                    match edit {
                        Edit::Suspend(_) => doc.suspend = !doc.suspend,
                        Edit::Pin(_) if doc.pin.is_none() => doc.pin = Some(commit / 2),
                        Edit::Pin(_) => doc.pin = None,
                        _ => doc.broken = !doc.broken,
                    }
                }
            }
        }
        self.olden = before;
        self.failures = 0;
        self.observe();
    }

    fn observe(&mut self) {
        let profiles = [("shop".parse().unwrap(), Revision::control(commit_id(self.commit)))].into();
        let revisions = Revisions { control: Revision::control(commit_id(self.commit)), profiles };
        let (mut targets, mut wants) = (BTreeMap::new(), BTreeMap::new());
        for (name, doc) in &self.docs {
            let content = doc.pin.unwrap_or(doc.content);
            let digest = ReleaseDigest::of([name.as_str().as_bytes(), &content.to_be_bytes()]);
            let release = ReleaseRef { digest, revisions: revisions.clone() };
            let mut intent = TargetIntent::new(release.clone());
            intent.entry = self.state.entry_revisions(name).map(|_| Ok(release));
            (intent.suspend, intent.pinned) = (doc.suspend, doc.pin.is_some());
            if doc.broken {
                intent.release = Err("broken".into());
            } else {
                wants.insert(name.clone(), digest);
            }
            targets.insert(name.clone(), intent);
        }
        self.intent = wants;
        let (renderers, policy, unknown) = (InputDigest::of([]), self.policy(), self.unknown);
        let intent = Intent { revisions, renderers, policy, targets, unknown };
        self.step(Event::CommitObserved(Box::new(intent)));
    }

    /// How many clusters are at work on a change, as the workers know it.
    fn in_flight(&self) -> usize {
        let working = |target: &TargetName, order: &Assignment, doing: Doing| {
            let away = self.asleep.contains(target) || !self.online.contains(target);
            let busy = matches!(doing, Doing::Held | Doing::Working(_) | Doing::Stalled(_));
            busy && !away && order.purpose == Purpose::Change
        };
        self.orders.iter().filter(|(target, (order, doing))| working(target, order, *doing)).count()
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

    fn step(&mut self, event: Event) {
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
        calls.into_iter().for_each(|effect| self.effect(effect));
        let before = self.in_flight();
        let gave_back = effects.iter().any(|effect| match effect {
            Effect::Report(status) => status.description.contains("back to") && !commits && !by_hand,
            _ => false,
        });
        for effect in effects {
            self.effect(effect);
        }
        assert!(self.in_flight() <= before.max(self.setting.concurrency as usize), "too many at work");
        let report = report(&self.state);
        if gave_back && !self.said_back {
            self.check_return(&report);
        }
        self.said_back = gave_back;
        self.check_reasons(&report);
    }

    fn effect(&mut self, effect: Effect) {
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
                self.orders.insert(order.target.clone(), (*order, Doing::Working(self.now)));
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
                if let Some((_, Doing::Working(since) | Doing::Stalled(since))) = self.orders.get_mut(&target)
                {
                    *since = now;
                }
            }
            Effect::Hold { .. } => {}
        }
    }

    /// Every cluster that has a base, and no way of its own, is assigned it.
    fn check_return(&self, report: &FleetReport) {
        for one in report.targets.iter().filter(|one| one.base.is_some()) {
            let Some((order, _)) = self.orders.get(&one.target) else { continue };
            let own_way = matches!(order.purpose, Purpose::CatchUp | Purpose::Pin);
            let pinned = self.docs.get(&one.target).is_some_and(|doc| doc.pin.is_some());
            if !own_way && !pinned {
                let digest = |release: &Option<ReleaseRef>| release.as_ref().map(|release| release.digest);
                assert_eq!(digest(&one.assigned), digest(&one.base), "{} is not taken back", one.target);
            }
        }
    }

    /// Whoever waits, waits for something that can come.
    fn check_reasons(&self, report: &FleetReport) {
        for one in &report.targets {
            match &one.reason {
                Reason::Turn { in_flight, limit } => assert!(in_flight >= limit, "{one:?}"),
                Reason::Applying { .. } | Reason::Returning { .. } => {
                    assert!(self.wake.is_some_and(|wake| wake > self.now), "nobody looks after {one:?}");
                }
                Reason::ReturnFailed { at, .. } => assert!(self.wake.is_some_and(|wake| wake <= *at)),
                Reason::Acceptance => {
                    assert!(matches!(report.rollout, RolloutState::Rolling { .. }), "{one:?}");
                }
                _ => {}
            }
        }
    }

    fn fact(&mut self, target: &TargetName, body: FactBody) {
        let fact = Fact { target: target.clone(), fleet: self.state.fleet().clone(), body };
        self.step(fact.into());
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Commit { changed, edit } => self.commit(*changed, edit),
            Op::Approve => self.step(Event::Approved { by: ann(), wave: None }),
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

    fn restart(&mut self) {
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

    fn work(&mut self, number: usize, op: &Op) {
        let all: BTreeSet<_> = self.orders.keys().chain(self.docs.keys()).cloned().collect();
        let Some(target) = all.iter().nth(number % all.len().max(1)).cloned() else { return };
        match op {
            Op::Offline(_) => {
                self.online.remove(&target);
                self.away.entry(target.clone()).or_insert(self.now);
                return self.fact(&target, FactBody::Offline { reason: "no route".into() });
            }
            Op::Online(_) => {
                self.online.insert(target.clone());
                let since = self.away.remove(&target);
                if let (Some(away), Some((_, Doing::Working(since)))) = (since, self.orders.get_mut(&target))
                {
                    *since += self.now.duration_since(away.max(*since));
                }
                let ledger = self.ledgers.get(&target).cloned();
                return self.fact(&target, FactBody::Online { ledger: ledger.map(Box::new) });
            }
            _ => {}
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
            Op::Progress(_) if working => {
                *doing = Doing::Working(self.now);
                FactBody::Progress { generation, progress: Progress::default() }
            }
            Op::Stall(_) if working && matches!(doing, Doing::Working(_)) => {
                *doing = Doing::Stalled(self.now);
                FactBody::Stalled { generation, reason: "503".into() }
            }
            Op::Unhealthy(_) if *doing == Doing::Converged => {
                self.ailing.insert(target.clone());
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
        let rolling = matches!(report.rollout, RolloutState::Rolling { .. });
        rolling
            && !self.ailing.contains(target)
            && one.is_some_and(|one| matches!(one.status, TargetStatus::Progressing | TargetStatus::Stalled))
    }

    /// Everything is mended, changed and converges: nothing may be stuck.
    fn all_is_well(&mut self) {
        self.run(&Op::Resume);
        self.commit += 1;
        self.unknown = false;
        let commit = self.commit;
        for doc in self.docs.values_mut() {
            *doc = Doc { content: commit, ..Doc::default() };
        }
        self.failures = 0;
        self.observe();
        self.run(&Op::Approve);
        self.run(&Op::Retry);
        for n in 0..16 {
            self.run(&Op::Online(n));
        }
        for _ in 0..12 {
            for n in 0..16 {
                self.run(&Op::Converge(n));
            }
        }
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

/// The same cases at every run, so that a failure is always of the change at hand. To look further:
/// `PROPTEST_RNG_SEED=7 PROPTEST_CASES=20000 cargo test --test it rollout_properties`. What that finds is kept
/// as a scenario.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    let rng_seed = if given.rng_seed == RngSeed::Random { RngSeed::Fixed(1) } else { given.rng_seed };
    ProptestConfig { rng_seed, failure_persistence: None, ..given }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rollouts_keep_their_promises(setting in setting(), ops in prop::collection::vec(op(), 0..70)) {
        let mut model = Model::new(setting);
        for op in &ops {
            model.run(op);
        }
        model.all_is_well();
    }

    #[test]
    fn a_restart_after_every_event_changes_nothing(setting in setting(), ops in prop::collection::vec(op(), 0..40)) {
        let (mut calm, mut shaky) = (Model::new(setting.clone()), Model::new(setting));
        for op in &ops {
            calm.run(op);
            calm.step(Event::Tick);
            shaky.run(op);
            shaky.restart();
        }
        prop_assert_eq!(report(&calm.state), report(&shaky.state));
    }
}

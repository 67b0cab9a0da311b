//! The rollout room at 5,000 clusters, each with a release of its own: `cargo bench --bench rollout`.
//! Says median, p99 and maximum, and fails when a median misses its limit.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fairlead::model::assignment::{Assignment, Fact, FactBody, LedgerSummary, Progress};
use fairlead::model::digest::{CommitId, InputDigest, ReleaseDigest};
use fairlead::model::fleet::Wave;
use fairlead::model::name::TargetName;
use fairlead::model::release::ReleaseRef;
use fairlead::model::revision::{Revision, Revisions};
use fairlead::model::units::Amount;
use fairlead::rollout::{
    Effect, Event, FleetPolicy, FleetState, Intent, Person, RolloutState, TargetIntent, report, resume, step,
};
use jiff::Timestamp;

const CLUSTERS: usize = 5_000;

struct Fleet {
    state: FleetState,
    now: Timestamp,
    orders: BTreeMap<TargetName, Assignment>,
}

fn name(number: usize) -> TargetName {
    format!("edge-{number:04}").parse().unwrap()
}

fn intent(commit: u8, state: &FleetState) -> Intent {
    let control = Revision::control(CommitId::from_bytes([commit; 20]));
    let profiles = [("retail-edge".parse().unwrap(), control.clone())].into();
    let revisions = Revisions { control, profiles };
    let target = |number| {
        let name: TargetName = name(number);
        let digest = ReleaseDigest::of([name.as_str().as_bytes(), &[commit]]);
        let mut intent = TargetIntent::new(ReleaseRef { digest, revisions: revisions.clone() });
        intent.time_zone = "Europe/Berlin".parse().ok();
        intent.entry = state.entry_revisions(&name).map(|_| intent.release.clone());
        (name, intent)
    };
    let targets = (0..CLUSTERS).map(target).collect();
    let mut policy = FleetPolicy::default();
    policy.rollout.max_failures = Amount::Percent(1);
    policy.rollout.waves =
        vec![Wave { max_concurrency: Some(Amount::Percent(25)), ..Wave::new("all".parse().unwrap()) }];
    Intent { revisions, renderers: InputDigest::of([]), policy, targets, unknown: false }
}

impl Fleet {
    fn take(&mut self, event: Event) -> Duration {
        self.now += Duration::from_millis(10);
        let start = Instant::now();
        let effects = step(&mut self.state, event, self.now);
        let took = start.elapsed();
        for effect in effects {
            if let Effect::Assign(order) = effect {
                self.orders.insert(order.target.clone(), *order);
            }
        }
        took
    }

    fn fact(&mut self, number: usize, body: impl Fn(Option<&Assignment>) -> FactBody) -> Duration {
        let target = name(number);
        let body = body(self.orders.get(&target));
        let fleet = self.state.fleet().clone();
        self.take(Fact { target, fleet, body }.into())
    }

    fn commit(&mut self, commit: u8) -> Duration {
        let intent = Box::new(intent(commit, &self.state));
        self.take(Event::CommitObserved(intent))
    }

    /// Everything at work makes progress once and converges, until nothing is left.
    fn roll(&mut self, times: &mut Vec<Duration>) {
        while let RolloutState::Rolling { .. } = report(&self.state).rollout {
            let working: Vec<usize> = (0..CLUSTERS).filter(|n| self.orders.contains_key(&name(*n))).collect();
            let orders = std::mem::take(&mut self.orders);
            for number in working {
                let order = &orders[&name(number)];
                let generation = order.generation;
                let progress = Progress { applied: 3, total: 40, waiting: Vec::new() };
                times.push(
                    self.fact(number, |_| FactBody::Progress { generation, progress: progress.clone() }),
                );
                let release = order.release.digest;
                times.push(self.fact(number, |_| FactBody::Converged { generation, release }));
            }
        }
    }
}

fn say(what: &str, times: &mut [Duration], limit: Duration) {
    times.sort();
    let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
    let p99 = times[times.len() * 99 / 100];
    println!("{what}: median {median:?}, p99 {p99:?}, maximum {most:?} of {} (limit {limit:?})", times.len());
    assert!(median < limit, "{what} takes too long");
}

fn main() {
    let now = "2026-11-23T09:00:00Z".parse().unwrap();
    let state = FleetState::new("retail".parse().unwrap());
    let mut fleet = Fleet { state, now, orders: BTreeMap::new() };
    fleet.commit(1);
    for number in 0..CLUSTERS {
        fleet.fact(number, |_| FactBody::Online { ledger: None });
    }
    let mut facts = Vec::new();
    fleet.roll(&mut facts);
    // Ten good releases each, so that histories are full.
    for commit in 2..=11 {
        fleet.commit(commit);
        fleet.roll(&mut facts);
    }
    assert_eq!(report(&fleet.state).rollout, RolloutState::Converged);
    say("a fact", &mut facts, Duration::from_micros(100));

    let mut commits: Vec<_> = (20..40).map(|commit| fleet.commit(commit)).collect();
    say("a commit that changes every cluster", &mut commits, Duration::from_millis(250));

    let stored = serde_json::to_string(&fleet.state).unwrap();
    let mut again: Vec<_> = (0..20)
        .map(|_| {
            let mut state: FleetState = serde_json::from_str(&stored).unwrap();
            let start = Instant::now();
            resume(&mut state, fleet.now);
            start.elapsed()
        })
        .collect();
    say("taking up after a restart, with every order that stands", &mut again, Duration::from_millis(250));

    println!("the stored state in mid-rollout: {} kB (limit 2000 kB)", stored.len() / 1000);
    assert!(stored.len() < 2_000_000);

    let by = Person { who: "ann".into(), why: String::new() };
    let mut full: Vec<_> = (0..20).map(|_| fleet.take(Event::Retry { by: by.clone() })).collect();
    say("a full recomputation", &mut full, Duration::from_millis(5));

    let start = Instant::now();
    let mut replayed = 0;
    let ledger = LedgerSummary::default();
    while replayed < 10_000 {
        for number in 0..CLUSTERS {
            fleet.fact(number, |order| match order {
                Some(order) => {
                    FactBody::Converged { generation: order.generation, release: order.release.digest }
                }
                None => FactBody::Online { ledger: Some(Box::new(ledger.clone())) },
            });
            replayed += 1;
        }
    }
    println!("a replay of {replayed} facts: {:?} (limit 1 s)", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(1));

    let mut reports: Vec<_> = (0..20)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(report(&fleet.state));
            start.elapsed()
        })
        .collect();
    say("a report on every cluster", &mut reports, Duration::from_millis(250));
}

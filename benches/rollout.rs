//! The rollout room at 5,000 clusters in 24 time zones, each with a release of its own, through three waves with bake
//! times, an approval and windows: `cargo bench --bench rollout`.
//! Says median, p99 and maximum, and fails when a median misses its limit.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fairlead_core::model::assignment::{Assignment, Fact, FactBody, LedgerSummary, Progress};
use fairlead_core::model::digest::{CommitId, InputDigest, ReleaseDigest};
use fairlead_core::model::fleet::{Approval, Wave, Window};
use fairlead_core::model::labels::LabelSelector;
use fairlead_core::model::name::TargetName;
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::model::revision::{Revision, Revisions};
use fairlead_core::model::units::{Amount, Span};
use fairlead_core::rollout::{
    Effect, Event, FleetPolicy, FleetState, Intent, Person, RolloutState, TargetIntent, report, resume, step,
};
use jiff::Timestamp;

const CLUSTERS: usize = 5_000;

const ZONES: [&str; 24] = [
    "Europe/Berlin",
    "Europe/London",
    "Europe/Lisbon",
    "Europe/Helsinki",
    "Europe/Istanbul",
    "Africa/Cairo",
    "Africa/Lagos",
    "Asia/Dubai",
    "Asia/Karachi",
    "Asia/Kolkata",
    "Asia/Dhaka",
    "Asia/Bangkok",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Pacific/Auckland",
    "Pacific/Honolulu",
    "America/Anchorage",
    "America/Los_Angeles",
    "America/Denver",
    "America/Chicago",
    "America/New_York",
    "America/Halifax",
    "America/Sao_Paulo",
];

struct Fleet {
    state: FleetState,
    now: Timestamp,
    wake: Option<Timestamp>,
    orders: BTreeMap<TargetName, Assignment>,
}

fn name(number: usize) -> TargetName {
    format!("edge-{number:04}").parse().unwrap()
}

fn ring(name: &str) -> BTreeMap<String, String> {
    [("ring".to_owned(), name.to_owned())].into()
}

fn window(schedule: &str, hours: u64) -> Window {
    let (schedule, duration) = (schedule.parse().unwrap(), Span::from_secs(hours * 3600));
    Window { schedule, duration, time_zone: None, deny: false }
}

fn waves() -> Vec<Wave> {
    let wave = |name: &str| Wave {
        max_concurrency: Some(Amount::Percent(25)),
        min_success_time: Some(Span::from_secs(600)),
        ..Wave::new(name.parse().unwrap())
    };
    let clusters = Some(LabelSelector { match_labels: ring("canary"), ..LabelSelector::default() });
    let (percent, approval) = (Some(Amount::Percent(10)), Some(Approval::Required));
    let windows = vec![window("0 0 * * Sat,Sun", 24)];
    vec![
        Wave { clusters, ..wave("canary") },
        Wave { percent, approval, ..wave("early") },
        Wave { windows, ..wave("others") },
    ]
}

fn intent(commit: u8, state: &FleetState) -> Intent {
    let control = Revision::control(CommitId::from_bytes([commit; 20]));
    let profiles = [("retail-edge".parse().unwrap(), control.clone())].into();
    let revisions = Revisions { control, profiles };
    let target = |number| {
        let name: TargetName = name(number);
        let digest = ReleaseDigest::of([name.as_str().as_bytes(), &[commit]]);
        let mut intent = TargetIntent::new(ReleaseRef { digest, revisions: revisions.clone() });
        intent.time_zone = ZONES[number % ZONES.len()].parse().ok();
        if number % 100 == 0 {
            intent.labels = ring("canary");
        }
        intent.entry = state.entry_revisions(&name).map(|_| intent.release.clone());
        (name, intent)
    };
    let targets = (0..CLUSTERS).map(target).collect();
    let mut policy = FleetPolicy::default();
    policy.rollout.max_failures = Amount::Percent(1);
    policy.rollout.waves = waves();
    policy.windows = vec![window("0 1 * * *", 6)];
    Intent { revisions, renderers: InputDigest::of([]), policy, targets, unknown: false }
}

impl Fleet {
    fn take(&mut self, event: Event) -> Duration {
        self.now += Duration::from_millis(10);
        let start = Instant::now();
        let effects = step(&mut self.state, event, self.now);
        let took = start.elapsed();
        for effect in effects {
            match effect {
                Effect::Assign(order) => {
                    self.orders.insert(order.target.clone(), *order);
                }
                Effect::WakeAt(at) => self.wake = Some(at),
                _ => {}
            }
        }
        took
    }

    fn approve(&mut self, wave: Option<&str>) {
        let by = Person { who: "ann".into(), why: String::new() };
        self.take(Event::Approved { by, wave: wave.map(|wave| wave.parse().unwrap()) });
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
        while report(&self.state).rollout != RolloutState::Converged {
            if self.orders.is_empty() && self.state.awaits_approval() {
                self.approve(None);
            }
            if self.orders.is_empty() {
                // All that bake are through with it by then.
                self.now = self.wake.take().unwrap_or(self.now).max(self.now) + Duration::from_secs(700);
                self.take(Event::Tick);
            }
            let working: Vec<usize> = (0..CLUSTERS).filter(|n| self.orders.contains_key(&name(*n))).collect();
            let orders = std::mem::take(&mut self.orders);
            for number in working {
                let order = &orders[&name(number)];
                let generation = order.generation;
                let progress = Progress { applied: 3, total: 40, waiting: Vec::new(), ..Progress::default() };
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
    let mut fleet = Fleet { state, now, wake: None, orders: BTreeMap::new() };
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

    for wave in ["canary", "early", "others"] {
        fleet.approve(Some(wave));
    }
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

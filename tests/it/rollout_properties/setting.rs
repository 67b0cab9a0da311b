//! Random fleets, policies, and what may happen to them.

use fairlead_core::model::fleet::{Approval, Offline, OnFailure, Wave, Window};
use fairlead_core::model::labels::LabelSelector;
use fairlead_core::model::units::{Amount, Span};
use fairlead_core::rollout::FleetPolicy;
use proptest::prelude::*;

/// One thing that may happen; numbers choose targets, modulo how many there are.
#[derive(Debug, Clone)]
pub enum Op {
    Commit {
        changed: u8,
        edit: Edit,
    },
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
    Depend(usize, bool),
    /// What waits, or a wave by its number.
    Approve(Option<usize>),
    Retry,
    Pause,
    Resume,
    HoldRevision,
    ReleaseRevision,
    Advance(i64),
    Restart,
}

#[derive(Debug, Clone)]
pub enum Edit {
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
pub struct Setting {
    pub targets: usize,
    pub failures: u32,
    pub on_failure: OnFailure,
    pub offline: Offline,
    pub waves: Vec<WaveSetting>,
    /// The fleet's windows: open for 35 minutes of each hour.
    pub windows: bool,
    pub allow_reverts: bool,
}

#[derive(Debug, Clone)]
pub struct WaveSetting {
    choice: Choice,
    concurrency: u32,
    /// Minutes.
    bake: u64,
    approval: bool,
    /// Of its own: from minute 20 to 50.
    windows: bool,
}

#[derive(Debug, Clone)]
enum Choice {
    Ring(usize),
    Count(u32),
    Percent(u32),
    Rest,
}

/// So many values does the label `ring` have.
const RINGS: usize = 3;

pub fn ring(target: usize) -> String {
    (target % RINGS).to_string()
}

fn window(schedule: &str, minutes: u64) -> Window {
    let (schedule, duration) = (schedule.parse().unwrap(), Span::from_secs(minutes * 60));
    Window { schedule, duration, time_zone: None, deny: false }
}

impl WaveSetting {
    fn wave(&self, number: usize) -> Wave {
        let mut wave = Wave::new(format!("wave-{number}").parse().unwrap());
        match self.choice {
            Choice::Ring(ring) => {
                let match_labels = [("ring".to_owned(), ring.to_string())].into();
                wave.clusters = Some(LabelSelector { match_labels, ..LabelSelector::default() });
            }
            Choice::Count(count) => wave.count = Some(count),
            Choice::Percent(percent) => wave.percent = Some(Amount::Percent(percent)),
            Choice::Rest => {}
        }
        wave.max_concurrency = Some(Amount::Count(self.concurrency));
        wave.min_success_time = Some(Span::from_secs(self.bake * 60));
        wave.approval = self.approval.then_some(Approval::Required);
        if self.windows {
            wave.windows = vec![window("20 * * * *", 30)];
        }
        wave
    }
}

impl Setting {
    pub fn policy(&self) -> FleetPolicy {
        let mut policy = FleetPolicy::default();
        policy.rollout.max_failures = Amount::Count(self.failures);
        policy.rollout.on_failure = self.on_failure;
        policy.rollout.offline = self.offline;
        policy.rollout.progress_deadline = Span::from_secs(600);
        policy.rollout.allow_reverts = self.allow_reverts;
        policy.rollout.waves = self.waves.iter().enumerate().map(|(n, wave)| wave.wave(n)).collect();
        if self.windows {
            policy.windows = vec![window("0 * * * *", 35)];
        }
        policy
    }
}

fn wave(last: bool) -> impl Strategy<Value = WaveSetting> {
    let part = prop_oneof![
        2 => (0..RINGS).prop_map(Choice::Ring),
        1 => (1..3u32).prop_map(Choice::Count),
        1 => (1..60u32).prop_map(Choice::Percent),
    ];
    let choice = if last { prop_oneof![1 => Just(Choice::Rest), 1 => part].boxed() } else { part.boxed() };
    let bake = prop_oneof![1 => Just(0), 1 => 1..15u64];
    (choice, 1..4u32, bake, prop::bool::weighted(0.3), prop::bool::weighted(0.3)).prop_map(
        |(choice, concurrency, bake, approval, windows)| WaveSetting {
            choice,
            concurrency,
            bake,
            approval,
            windows,
        },
    )
}

pub fn setting() -> impl Strategy<Value = Setting> {
    let on_failure = prop_oneof![
        3 => Just(OnFailure::Rollback), 1 => Just(OnFailure::Pause), 1 => Just(OnFailure::Continue)
    ];
    let offline = prop_oneof![Just(Offline::Skip), Just(Offline::Wait)];
    let waves = (prop::collection::vec(wave(false), 0..3), wave(true));
    let windows = prop::bool::weighted(0.3);
    (1..7usize, 0..3u32, on_failure, offline, waves, windows, any::<bool>()).prop_map(
        |(targets, failures, on_failure, offline, (mut waves, last), windows, allow_reverts)| {
            waves.push(last);
            Setting { targets, failures, on_failure, offline, waves, windows, allow_reverts }
        },
    )
}

pub fn op() -> impl Strategy<Value = Op> {
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
        1 => t.clone().prop_map(Op::Left),
        1 => (t, any::<bool>()).prop_map(|(target, unmet)| Op::Depend(target, unmet)),
        2 => prop::option::of(0..3usize).prop_map(Op::Approve),
        1 => Just(Op::Retry),
        1 => Just(Op::Pause),
        2 => Just(Op::Resume),
        1 => Just(Op::HoldRevision),
        2 => Just(Op::ReleaseRevision),
        4 => (1..15i64).prop_map(Op::Advance),
        1 => Just(Op::Restart),
    ]
}

//! What must hold after every step, judged by what the workers know and not by what the state machine says of itself.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_core::model::assignment::{Assignment, Purpose};
use fairlead_core::model::digest::ReleaseDigest;
use fairlead_core::model::fleet::{Approval, Offline, Window};
use fairlead_core::model::name::{TargetName, WaveName};
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::rollout::{
    Event, FleetReport, Opening, Person, Reason, RolloutState, TargetReport, TargetStatus, WaveReport,
    WaveStanding, opening, report,
};
use jiff::{SignedDuration, Timestamp};

use super::model::{Doing, Model};

/// What is remembered for the checks.
#[derive(Default)]
pub struct Watch {
    /// The waves of the fleet, and the number of each target's.
    names: Vec<WaveName>,
    waves: BTreeMap<TargetName, usize>,
    /// Healthy at its release since then, but for the time for which nobody could see it.
    pub healthy: BTreeMap<TargetName, Timestamp>,
    /// Has been healthy for as long as its wave asked at that time.
    proven: BTreeSet<(TargetName, ReleaseDigest)>,
    approved: BTreeSet<(TargetName, ReleaseDigest)>,
    /// What the accepted commit wants.
    pub accepted: BTreeMap<TargetName, ReleaseDigest>,
    accepted_commit: Option<String>,
}

impl Model {
    pub(super) fn note_waves(&mut self, report: &FleetReport) {
        self.watch.names = self.setting.policy().rollout.wave_names();
        let number = |one: &TargetReport| {
            let number = one.wave.as_ref().and_then(|wave| self.watch.names.iter().position(|n| n == wave));
            (one.target.clone(), number.unwrap_or_default())
        };
        self.watch.waves = report.targets.iter().map(number).collect();
        let healthy = self.watch.healthy.iter().filter(|(target, _)| self.sees(target));
        let healthy = healthy.filter(|(target, since)| self.now >= **since + self.bake_time(target));
        let digest = |target: &TargetName| Some((target.clone(), self.orders.get(target)?.0.release.digest));
        let done: Vec<_> = healthy.filter_map(|(target, _)| digest(target)).collect();
        self.watch.proven.extend(done);
    }

    pub(super) fn note_accepted(&mut self, report: &FleetReport) {
        let accepted = report.accepted.map(|commit| commit.to_string());
        if self.watch.accepted_commit != accepted {
            (self.watch.accepted_commit, self.watch.accepted) = (accepted, self.intent.clone());
        }
    }

    fn sees(&self, target: &TargetName) -> bool {
        self.online.contains(target) && !self.asleep.contains(target)
    }

    fn wave_of(&self, target: &TargetName) -> usize {
        self.watch.waves.get(target).copied().unwrap_or_default()
    }

    fn bake_time(&self, target: &TargetName) -> SignedDuration {
        let policy = self.setting.policy();
        let wave = policy.rollout.waves.get(self.wave_of(target));
        let span = wave.and_then(|wave| wave.min_success_time).map(|span| span.get()).unwrap_or_default();
        SignedDuration::try_from(span).unwrap()
    }

    /// Whether a relapse would be a failure.
    pub(super) fn bakes_on_trial(&self, target: &TargetName) -> bool {
        let report = report(&self.state);
        let one = report.targets.iter().find(|one| one.target == *target);
        one.is_some_and(|one| matches!(one.reason, Reason::Baking { .. }))
            || self.orders.get(target).is_some_and(|(order, _)| {
                order.purpose == Purpose::CatchUp
                    && !self.watch.proven.contains(&(target.clone(), order.release.digest))
                    && !self.bake_time(target).is_zero()
            })
    }

    /// Whether a failure could count against the head.
    pub(super) fn counts_now(&self) -> bool {
        let report = report(&self.state);
        // Once the head is accepted it has no waves any more.
        let rolls = matches!(report.rollout, RolloutState::Rolling { .. } | RolloutState::Holding { .. });
        rolls && !report.waves.is_empty()
    }

    pub(super) fn approve(&mut self, wave: Option<usize>) {
        let report = report(&self.state);
        let waits =
            |wave: &WaveReport| !matches!(wave.standing, WaveStanding::Passed | WaveStanding::Unaffected);
        let number = wave.map(|n| n % self.watch.names.len());
        let meant = number.or_else(|| report.waves.iter().position(waits));
        let pairs = self.intent.iter().filter(|(target, _)| Some(self.wave_of(target)) == meant);
        let pairs = pairs.map(|(target, digest)| (target.clone(), *digest)).collect::<Vec<_>>();
        self.watch.approved.extend(pairs);
        let wave = number.and_then(|number| self.watch.names.get(number)).cloned();
        self.step(Event::Approved { by: Person { who: "ann".into(), why: String::new() }, wave });
    }

    /// How many clusters of each wave are at work on a change, as the workers know it.
    pub(super) fn in_flight(&self) -> BTreeMap<usize, usize> {
        let working = |target: &TargetName, order: &Assignment, doing: Doing| {
            let busy = matches!(doing, Doing::Held | Doing::Working(_) | Doing::Stalled(_));
            busy && self.sees(target) && order.purpose == Purpose::Change
        };
        let mut counts = BTreeMap::new();
        for (target, (order, doing)) in &self.orders {
            *counts.entry(self.wave_of(target)).or_default() += usize::from(working(target, order, *doing));
        }
        counts
    }

    pub(super) fn check_concurrency(&self, before: &BTreeMap<usize, usize>) {
        let policy = self.setting.policy();
        for (wave, count) in self.in_flight() {
            let limit = policy.rollout.waves.get(wave).and_then(|wave| wave.max_concurrency);
            let limit = limit.map_or(usize::MAX, |limit| limit.ceil_of(0));
            let before = before.get(&wave).copied().unwrap_or_default();
            assert!(count <= before.max(limit), "{count} at work in wave {wave}");
        }
    }

    /// What was started was allowed to.
    pub(super) fn check_starts(&self, started: &[Assignment], report: &FleetReport) {
        for order in started {
            let target = &order.target;
            if order.purpose != Purpose::Return {
                assert!(!self.unmet.contains_key(target), "{target} does not wait for the fleet below");
                self.check_windows(order);
            }
            if order.purpose == Purpose::Change {
                self.check_approval(order, report);
                let wave = self.wave_of(target);
                for one in report.targets.iter().filter(|one| self.wave_of(&one.target) < wave) {
                    assert!(self.is_through(one, report), "{target} starts before {one:?}");
                }
                let held = |wave: &WaveReport| matches!(wave.standing, WaveStanding::Quarantined { .. });
                assert!(!report.waves.iter().take(wave).any(held), "{target} starts behind a held canary");
            }
        }
    }

    /// Whether nobody waits for a cluster of an earlier wave: it has baked, or need not.
    fn is_through(&self, one: &TargetReport, report: &FleetReport) -> bool {
        let target = &one.target;
        let Some(wanted) = self.intent.get(target) else { return true };
        let unaffected = self.watch.accepted.get(target) == Some(wanted);
        let own_way = self.docs.get(target).is_some_and(|doc| doc.pin.is_some());
        let newcomer = one.base.is_none() && report.accepted.is_some();
        let waits = self.setting.offline == Offline::Wait;
        if unaffected || own_way || newcomer {
            return true;
        }
        match one.status {
            TargetStatus::Failed | TargetStatus::Returning | TargetStatus::Quarantined => true,
            TargetStatus::Suspended => true,
            TargetStatus::Offline | TargetStatus::Stalled => !waits,
            // Taken out by a person: as good as offline.
            TargetStatus::Held if one.reason == Reason::Left => !waits,
            _ => self.orders.get(target).is_some_and(|(order, doing)| {
                let there = order.release.digest == *wanted && *doing == Doing::Converged;
                let proven = self.watch.proven.contains(&(target.clone(), *wanted));
                there && (proven || order.purpose != Purpose::Change)
            }),
        }
    }

    fn check_windows(&self, order: &Assignment) {
        let policy = self.setting.policy();
        if order.purpose == Purpose::Revert && policy.rollout.allow_reverts {
            return;
        }
        let wave = policy.rollout.waves.get(self.wave_of(&order.target));
        let wave = wave.filter(|_| order.purpose != Purpose::Pin);
        let levels: [&[Window]; 2] =
            [&policy.windows, wave.map(|w| w.windows.as_slice()).unwrap_or_default()];
        let zone = super::repository::zone(&order.target);
        let open = matches!(opening(&levels, zone.as_ref(), self.now), Opening::Open { .. });
        assert!(open, "{} starts outside of its windows", order.target);
    }

    fn check_approval(&self, order: &Assignment, report: &FleetReport) {
        let policy = self.setting.policy();
        let wave = policy.rollout.waves.get(self.wave_of(&order.target));
        if wave.is_none_or(|wave| wave.approval != Some(Approval::Required)) {
            return;
        }
        let pair = (order.target.clone(), order.release.digest);
        let joins = report.targets.iter().any(|one| one.target == order.target && one.base.is_none());
        assert!(joins || self.watch.approved.contains(&pair), "nobody approved {pair:?}");
    }

    /// Every cluster that has a base, and no way of its own, is assigned it.
    pub(super) fn check_return(&self, report: &FleetReport) {
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
    pub(super) fn check_reasons(&self, report: &FleetReport) {
        let woken = |at: Timestamp| self.wake.is_some_and(|wake| wake <= at);
        for one in &report.targets {
            match &one.reason {
                Reason::Turn { in_flight, limit, .. } => assert!(in_flight >= limit, "{one:?}"),
                Reason::Applying { .. } | Reason::Returning { .. } => {
                    assert!(self.wake.is_some_and(|wake| wake > self.now), "nobody looks after {one:?}");
                }
                Reason::ReturnFailed { at, .. } => assert!(woken(*at)),
                Reason::Acceptance => {
                    assert!(matches!(report.rollout, RolloutState::Rolling { .. }), "{one:?}");
                }
                Reason::Window { opens, .. } => {
                    assert!(opens.is_some_and(|opens| opens > self.now && woken(opens)), "{one:?}");
                }
                Reason::Baking { until } => assert!(*until > self.now && woken(*until), "{one:?}"),
                Reason::Wave { ahead, standing } => {
                    let wave = report.waves.iter().find(|wave| wave.name == *ahead);
                    assert_eq!(wave.map(|wave| &wave.standing), Some(standing), "{one:?}");
                    assert!(!matches!(standing, WaveStanding::Passed | WaveStanding::Unaffected), "{one:?}");
                }
                Reason::Approval { .. } => {
                    assert!(report.waves.iter().any(|wave| wave.baked < wave.affected), "{one:?}");
                }
                _ => {}
            }
        }
    }
}

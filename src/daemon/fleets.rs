//! The fleets' states, and what the daemon must remember about each between two decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::error;

use super::effects;
use crate::store::{FleetRecord, Write};
use fairlead_cluster::Other;
use fairlead_core::model::assignment::{BreakGlass, Fact, FactBody, KeptObject};
use fairlead_core::model::digest::ReleaseDigest;
use fairlead_core::model::name::{FleetName, TargetName};
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::rollout::{self, Effect, Event, FleetPolicy, FleetReport, FleetState, TargetReport};

/// Shape of the saved states; grows when the rollout room can no longer read older ones by itself.
const FORMAT: u32 = 1;
/// How often a state is saved in which nothing but counts moved.
const SAVE_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// How long the daemon sleeps at most until something is due.
const NAP: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Fleet {
    state: FleetState,
    policy: FleetPolicy,
    wake: Option<Timestamp>,
    /// The state changed since it was saved.
    unsaved: bool,
    saved: Option<Timestamp>,
    /// Targets of the newest intent; every one has a worker.
    targets: BTreeSet<TargetName>,
    /// What each target was last ordered.
    assigned: BTreeMap<TargetName, ReleaseRef>,
    details: BTreeMap<TargetName, Details>,
}

/// What pages show of a target beside its state.
#[derive(Debug, Clone, Default)]
pub struct Details {
    pub objects: usize,
    pub kept: Vec<KeptObject>,
    pub drift: Vec<ObjectKey>,
    pub glass: Vec<BreakGlass>,
    /// What the present order waits for, in full: the states keep it cut.
    pub waiting: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Fleets {
    fleets: BTreeMap<FleetName, Fleet>,
    unwatched: Vec<(FleetName, TargetName)>,
    wants_reading: bool,
    /// The time at which the state machines' clock stands.
    frozen: Option<Timestamp>,
}

impl Fleets {
    /// Takes up what was saved. A state that can't be read is said and left out: the ledgers tell what it held.
    pub fn restore(records: Vec<FleetRecord>) -> Self {
        let mut fleets = Self::default();
        for record in records {
            match serde_json::from_slice::<FleetState>(&record.state) {
                Ok(state) if record.format == FORMAT => {
                    fleets.fleets.insert(record.fleet, Fleet::new(state));
                }
                Ok(_) => {
                    error!(fleet = %record.fleet, format = record.format, "saved by another version; starts anew")
                }
                Err(error) => {
                    error!(fleet = %record.fleet, %error, "the saved state can't be read; starts anew")
                }
            }
        }
        fleets
    }

    pub fn resume(&mut self, now: Timestamp) -> Vec<(FleetName, Effect)> {
        let mut effects = Vec::new();
        for (name, fleet) in &mut self.fleets {
            let resumed = rollout::resume(&mut fleet.state, now);
            fleet.remember(&resumed);
            effects.extend(resumed.into_iter().map(|effect| (name.clone(), effect)));
            let targets: Vec<_> = fleet.state.targets().cloned().collect();
            self.unwatched.extend(targets.iter().map(|target| (name.clone(), target.clone())));
            fleet.targets.extend(targets);
        }
        for name in self.fleets.keys().cloned().collect::<Vec<_>>() {
            self.look_again(&name, None, now, &mut effects);
        }
        effects
    }

    /// Lets a fleet decide about one event, and those that wait for it about what that means for them.
    pub fn decide(
        &mut self,
        name: &FleetName,
        mut event: Event,
        now: Timestamp,
        effects: &mut Vec<(FleetName, Effect)>,
    ) {
        if let Event::CommitObserved(intent) = &mut event {
            let first = intent.policy.depends_on.clone();
            for (target, intended) in &mut intent.targets {
                intended.unmet = self.unmet(&first, target);
            }
        }
        let mut touched = match &event {
            Event::Fact(fact) => Some(BTreeSet::from([fact.target.clone()])),
            Event::Dependency { .. } => Some(BTreeSet::new()),
            _ => None,
        };
        let before = effects.len();
        self.decide_alone(name, event, now, effects);
        if let Some(touched) = &mut touched {
            touched.extend(effects.iter().skip(before).filter_map(|(_, effect)| match effect {
                Effect::Assign(assignment) => Some(assignment.target.clone()),
                _ => None,
            }));
        }
        let waits = |fleet: &Fleet| fleet.policy.depends_on.contains(name);
        let waiting = self.fleets.iter().filter(|(_, fleet)| waits(fleet));
        for waiting in waiting.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.look_again(&waiting, touched.as_ref(), now, effects);
        }
    }

    /// The first of these fleets that has not converged on a target. One that was never read may have it.
    fn unmet(&self, first: &[FleetName], target: &TargetName) -> Option<FleetName> {
        let met = |name: &FleetName| self.fleets.get(name).is_some_and(|f| f.state.converged_on(target));
        first.iter().find(|name| !met(name)).cloned()
    }

    /// Tells a fleet whether those that it waits for have converged on its targets, as far as that changed.
    fn look_again(
        &mut self,
        name: &FleetName,
        targets: Option<&BTreeSet<TargetName>>,
        now: Timestamp,
        effects: &mut Vec<(FleetName, Effect)>,
    ) {
        let Some(fleet) = self.fleets.get(name) else { return };
        let asked = |target: &&TargetName| targets.is_none_or(|targets| targets.contains(*target));
        let news = fleet.state.targets().filter(asked).filter_map(|target| {
            let unmet = self.unmet(&fleet.policy.depends_on, target);
            (unmet.as_ref() != fleet.state.unmet(target)).then(|| (target.clone(), unmet))
        });
        for (target, unmet) in news.collect::<Vec<_>>() {
            self.decide(name, Event::Dependency { target, unmet }, now, effects);
        }
    }

    fn decide_alone(
        &mut self,
        name: &FleetName,
        event: Event,
        now: Timestamp,
        effects: &mut Vec<(FleetName, Effect)>,
    ) {
        let fleet =
            self.fleets.entry(name.clone()).or_insert_with(|| Fleet::new(FleetState::new(name.clone())));
        if let Event::CommitObserved(intent) = &event {
            fleet.policy = intent.policy.clone();
            // A target that left is forgotten; one that comes back is as new as others.
            fleet.targets = fleet.state.targets().cloned().collect();
            for (target, intended) in &intent.targets {
                if fleet.targets.insert(target.clone()) {
                    self.unwatched.push((name.clone(), target.clone()));
                }
                let missing = intended.entry.is_none() && !intended.pinned;
                self.wants_reading |= missing && fleet.state.entry_revisions(target).is_some();
            }
        }
        let accepted = fleet.state.accepted();
        let decided = rollout::step(&mut fleet.state, event, self.frozen.unwrap_or(now));
        self.wants_reading |= fleet.state.accepted() != accepted && fleet.state.holds_newcomers();
        fleet.unsaved = true;
        fleet.remember(&decided);
        effects.extend(decided.into_iter().map(|effect| (name.clone(), effect)));
    }

    /// Lets a fleet take in what a person said; whether that changed anything.
    pub fn hear(
        &mut self,
        name: &FleetName,
        event: Event,
        now: Timestamp,
        effects: &mut Vec<(FleetName, Effect)>,
    ) -> bool {
        // What is due happens first, so that the word alone makes the difference.
        self.decide(name, Event::Tick, now, effects);
        let state = |fleets: &Self| fleets.fleets.get(name).map(|fleet| fleet.state.clone());
        let before = state(self);
        self.decide(name, event, now, effects);
        before != state(self)
    }

    /// Lets the state machines' clock stand: while an emergency stop lasts, no cluster can make progress, so none
    /// may be found late.
    pub fn freeze(&mut self, now: Timestamp) {
        self.frozen.get_or_insert(now);
    }

    /// Lets the clock go on. Nobody's time has passed.
    pub fn thaw(&mut self, now: Timestamp, effects: &mut Vec<(FleetName, Effect)>) {
        if self.frozen.take().is_some() {
            self.go_on(now, effects);
        }
    }

    /// The clock went from one time to another at once: nobody's time has passed between them.
    pub fn leap(&mut self, from: Timestamp, to: Timestamp, effects: &mut Vec<(FleetName, Effect)>) {
        if self.frozen.is_some() {
            return;
        }
        let names: Vec<FleetName> = self.fleets.keys().cloned().collect();
        for name in names {
            self.decide(&name, Event::Tick, from, effects);
        }
        self.go_on(to, effects);
    }

    /// Clocks stood since the last event.
    fn go_on(&mut self, now: Timestamp, effects: &mut Vec<(FleetName, Effect)>) {
        for (name, fleet) in &mut self.fleets {
            let resumed = rollout::resume(&mut fleet.state, now);
            fleet.unsaved = true;
            fleet.remember(&resumed);
            effects.extend(resumed.into_iter().map(|effect| (name.clone(), effect)));
        }
    }

    pub fn tick(&mut self, now: Timestamp, effects: &mut Vec<(FleetName, Effect)>) {
        let due = |fleet: &Fleet| fleet.wake.is_some_and(|at| at <= now);
        let names: Vec<_> =
            self.fleets.iter().filter(|(_, f)| due(f)).map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(fleet) = self.fleets.get_mut(&name) {
                fleet.wake = None;
            }
            self.decide(&name, Event::Tick, now, effects);
        }
    }

    pub fn wake_at(&mut self, fleet: &FleetName, at: Timestamp) {
        if let Some(fleet) = self.fleets.get_mut(fleet) {
            fleet.wake = Some(at);
        }
    }

    pub fn next_wake(&self) -> Option<Timestamp> {
        if self.frozen.is_some() {
            return None;
        }
        self.fleets.values().filter_map(|fleet| fleet.wake).min()
    }

    /// Returns at the next wake-up, or after a while: the clock may have been set. At once if there is none.
    pub async fn wake(&self) {
        let left = self.next_wake().map(|at| at.duration_since(Timestamp::now()));
        let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default();
        tokio::time::sleep(left.min(NAP)).await;
    }

    /// The states that must be saved before `effects` are carried out: those that ordered something; those whose
    /// counts only move once in a while, for a state is large and each of a thousand clusters moves them. `binds`: all
    /// that had effects.
    pub fn writes_after(
        &mut self,
        effects: &[(FleetName, Effect)],
        binds: bool,
        now: Timestamp,
        writes: &mut Vec<Write>,
    ) {
        let mut bound: BTreeMap<&FleetName, bool> = BTreeMap::new();
        for (name, effect) in effects {
            *bound.entry(name).or_default() |= binds || effects::binds(effect);
        }
        for (name, at_once) in bound {
            if let Some(fleet) = self.fleets.get_mut(name)
                && (at_once || fleet.saved.is_none_or(|saved| now.duration_since(saved) >= SAVE_EVERY))
            {
                fleet.saved = Some(now);
                writes.extend(fleet.record(name));
            }
        }
    }

    /// All states that changed since they were saved.
    pub fn unsaved(&mut self) -> Vec<Write> {
        self.fleets.iter_mut().filter_map(|(name, fleet)| fleet.record(name)).collect()
    }

    /// Targets that have no worker yet.
    pub fn unwatched(&mut self) -> Vec<(FleetName, TargetName)> {
        std::mem::take(&mut self.unwatched)
    }

    /// Whether a state machine asks for releases that the last reading did not give; asks once.
    pub fn wants_reading(&mut self) -> bool {
        std::mem::take(&mut self.wants_reading)
    }

    /// Keeps what pages show beside the state.
    pub fn note(&mut self, fact: &Fact) {
        let Some(fleet) = self.fleets.get_mut(&fact.fleet) else { return };
        let details = fleet.details.entry(fact.target.clone()).or_default();
        match &fact.body {
            FactBody::Online { ledger } => {
                details.objects = ledger.as_ref().map_or(0, |ledger| ledger.objects)
            }
            FactBody::Progress { progress, .. } => {
                details.objects = progress.total;
                let waits =
                    progress.waiting.iter().map(|waiting| match progress.holds_object(&waiting.object) {
                        Some(hold) => hold.to_string(),
                        None => format!("{}: {}", waiting.object, waiting.reason),
                    });
                details.waiting = waits.collect();
            }
            FactBody::Held { reason, .. } => details.waiting = vec![reason.to_string()],
            FactBody::Stalled { reason, .. } => details.waiting = vec![reason.clone()],
            FactBody::Failed { cause, .. } | FactBody::Unhealthy { cause, .. } => {
                details.waiting = vec![cause.to_string()];
            }
            FactBody::Drift { objects, healed: false } | FactBody::Contested { objects } => {
                details.drift.clone_from(objects);
            }
            FactBody::Kept { objects, .. } => details.kept.clone_from(objects),
            FactBody::BreakGlass { objects } => details.glass.clone_from(objects),
            FactBody::Drift { healed: true, .. } => details.drift.clear(),
            FactBody::Converged { .. } => {
                details.drift.clear();
                details.waiting.clear();
            }
            _ => {}
        }
    }

    pub fn assigned(&self, fleet: &FleetName, target: &TargetName) -> Option<&ReleaseRef> {
        self.fleets.get(fleet)?.assigned.get(target)
    }

    pub fn policy(&self, fleet: &FleetName) -> FleetPolicy {
        self.fleets.get(fleet).map(|fleet| fleet.policy.clone()).unwrap_or_default()
    }

    pub fn details(&self, fleet: &FleetName, target: &TargetName) -> Details {
        self.fleets.get(fleet).and_then(|fleet| fleet.details.get(target)).cloned().unwrap_or_default()
    }

    /// The states, for reading a commit.
    pub fn known(&self) -> BTreeMap<FleetName, FleetState> {
        self.fleets.iter().map(|(name, fleet)| (name.clone(), fleet.state.clone())).collect()
    }

    pub fn report(&self, fleet: &FleetName, target: &TargetName) -> Option<TargetReport> {
        rollout::explain(&self.fleets.get(fleet)?.state, target)
    }

    pub fn reports(&self) -> Vec<FleetReport> {
        self.fleets.values().map(|fleet| rollout::report(&fleet.state)).collect()
    }

    /// For each fleet of the targets that have several: what the others are to get there.
    pub fn others(&self) -> BTreeMap<(TargetName, FleetName), Vec<Other>> {
        let mut fleets_of: BTreeMap<&TargetName, Vec<(&FleetName, &FleetState)>> = BTreeMap::new();
        for (name, fleet) in &self.fleets {
            for target in fleet.state.targets() {
                fleets_of.entry(target).or_default().push((name, &fleet.state));
            }
        }
        let mut others = BTreeMap::new();
        for (target, fleets) in fleets_of.into_iter().filter(|(_, fleets)| fleets.len() > 1) {
            for (name, _) in &fleets {
                let theirs = fleets.iter().filter(|(other, _)| other != name);
                let theirs =
                    theirs.filter_map(|(other, state)| Some(((*other).clone(), state.wanted(target)?)));
                others.insert((target.clone(), (*name).clone()), theirs.collect());
            }
        }
        others
    }

    /// Whether a fleet holds because a revision may not be used; that outlives a restart.
    pub fn holds_revision(&self, fleet: &FleetName) -> bool {
        self.fleets.get(fleet).is_some_and(|fleet| fleet.state.holds_revision())
    }

    /// Whether a person must approve something before the fleet goes on.
    pub fn awaits_approval(&self, fleet: &FleetName) -> bool {
        self.fleets.get(fleet).is_some_and(|fleet| fleet.state.awaits_approval())
    }

    pub fn contains(&self, fleet: &FleetName) -> bool {
        self.fleets.contains_key(fleet)
    }

    /// The fleets that a target is in.
    pub fn of_target(&self, target: &TargetName) -> Vec<FleetName> {
        self.fleets.iter().filter(|(_, f)| f.targets.contains(target)).map(|(name, _)| name.clone()).collect()
    }

    /// Releases whose bytes must be kept: what is assigned, accepted, or a base.
    pub fn kept_releases(&self) -> BTreeSet<ReleaseDigest> {
        let kept = self.fleets.values().flat_map(|fleet| fleet.state.kept_releases());
        kept.map(|(_, release)| release.digest).collect()
    }
}

impl Fleet {
    fn new(state: FleetState) -> Self {
        Self {
            policy: state.policy(),
            state,
            wake: None,
            unsaved: false,
            saved: None,
            targets: BTreeSet::new(),
            assigned: BTreeMap::new(),
            details: BTreeMap::new(),
        }
    }

    fn remember(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Assign(assignment) = effect {
                self.assigned.insert(assignment.target.clone(), assignment.release.clone());
            }
        }
    }

    fn record(&mut self, name: &FleetName) -> Option<Write> {
        if !std::mem::take(&mut self.unsaved) {
            return None;
        }
        match serde_json::to_vec(&self.state) {
            Ok(state) => Some(Write::Fleet(FleetRecord { fleet: name.clone(), format: FORMAT, state })),
            Err(error) => {
                error!(fleet = %name, %error, "the state can't be written as JSON");
                None
            }
        }
    }
}

//! The one decision maker: takes in what was observed, read, reported and ordered, lets the fleets' state
//! machines decide, saves, and only then carries out.

mod heads;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::clock::Clock;
use super::effects;
use super::emergency::{Emergency, Standing};
use super::fleets::Fleets;
use super::orders;
use super::reader::{Reader, Reading};
use super::releases::Releases;
use super::source::{Kick, Observation};
use super::teller::Teller;
use super::view;
use super::workers::Workers;
use crate::server::{Metrics, NotReady, Order, ProfilesView, Publisher, RepositoryView};
use crate::store::{self, HistoryEvent, RolloutRecord, Write};
use fairlead_core::model::assignment::{Fact, FactBody};
use fairlead_core::model::budget::Budget;
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::{FleetName, TargetName};
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::rollout::{Effect, Event, FleetReason, RevisionHold};

/// Inputs taken in before what they led to is saved and carried out.
const BATCH: usize = 1024;
/// Pages need no more than this many pictures a second.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// How long to wait before a store that refused a write is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Everything that the engine hears.
pub struct Inputs {
    pub observations: mpsc::Receiver<(Observation, Duration)>,
    pub facts: mpsc::Receiver<Fact>,
    pub orders: mpsc::Receiver<Order>,
    pub readings: mpsc::Receiver<Result<Reading, String>>,
    pub stops: watch::Receiver<Standing>,
    pub questions: mpsc::Receiver<ProfilesQuestion>,
}

/// Which commits of its profiles a target runs.
pub struct ProfilesQuestion {
    pub fleet: FleetName,
    pub target: TargetName,
    pub answer: oneshot::Sender<ProfilesView>,
}

enum Input {
    Observed(Observation, Duration),
    Read(Result<Reading, String>),
    Fact(Box<Fact>),
    Order(Order),
    /// An emergency stop began, or is over.
    Stop(Standing),
    Question(ProfilesQuestion),
    /// A wake-up of a fleet, or time to publish.
    Time,
}

/// What a batch of inputs led to.
#[derive(Default)]
pub(super) struct Turn {
    /// Something else than facts and the time led to it: what was decided is saved, whatever it was.
    pub binds: bool,
    pub effects: Vec<(FleetName, Effect)>,
    pub writes: Vec<Write>,
    pub answers: Vec<orders::Answer>,
}

pub struct Engine {
    pub(super) fleets: Fleets,
    pub(super) workers: Workers,
    pub(super) kick: Kick,
    pub(super) repository: Repository,
    store: store::Handle,
    reader: Arc<Reader>,
    releases: Arc<Releases>,
    readings: mpsc::Sender<Result<Reading, String>>,
    read_timeout: Duration,
    publisher: Publisher,
    metrics: Arc<Metrics>,
    pub(super) emergency: Arc<Emergency>,
    teller: Teller,
    not_ready: Vec<NotReady>,
    /// A reading is under way, and can be stopped.
    reading: Option<Under>,
    /// Another must follow when it is done, because something changed meanwhile.
    read_again: bool,
    /// How many readings were stopped for a newer head since one came to its end.
    stopped_in_a_row: u32,
    /// The last reading was dropped for a newer head.
    passed_over: bool,
    /// A head that could not be read within the time: it is not tried again.
    too_long: Option<CommitId>,
    /// The head is still to be read, or could not be.
    unread: bool,
    published: tokio::time::Instant,
    swept: tokio::time::Instant,
    changed: bool,
}

/// A reading that is under way.
struct Under {
    head: CommitId,
    budget: Arc<Budget>,
    began: tokio::time::Instant,
    /// It was stopped for a newer head.
    superseded: bool,
}

/// What is known of the fleet repository.
pub(super) struct Repository {
    pub view: RepositoryView,
    pub head: Option<CommitId>,
    pub tags: BTreeMap<String, CommitId>,
    /// The last head that was taken over.
    pub accepted: Option<CommitId>,
    /// Tags as first seen or accepted, and commits off the branch that a person let in.
    pub remembered: BTreeMap<String, CommitId>,
    /// Fleets whose revisions may not be used until a person accepts them.
    pub held: BTreeMap<FleetName, RevisionHold>,
    pub diagnostics: Vec<Diagnostic>,
}

/// What an engine is made of.
pub struct Parts {
    pub fleets: Fleets,
    pub workers: Workers,
    pub kick: Kick,
    pub store: store::Handle,
    pub reader: Arc<Reader>,
    pub releases: Arc<Releases>,
    pub readings: mpsc::Sender<Result<Reading, String>>,
    pub read_timeout: Duration,
    pub publisher: Publisher,
    pub metrics: Arc<Metrics>,
    pub emergency: Arc<Emergency>,
    pub teller: Teller,
    pub repository: RepositoryView,
    pub accepted: Option<CommitId>,
    pub remembered: BTreeMap<String, CommitId>,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let Parts { fleets, workers, kick, store, reader, releases, readings, publisher, .. } = parts;
        let read_timeout = parts.read_timeout;
        let (metrics, emergency, teller) = (parts.metrics, parts.emergency, parts.teller);
        let starting = NotReady { code: "no-commit-yet".into(), message: "no commit was read yet".into() };
        Self {
            fleets,
            workers,
            kick,
            repository: Repository {
                view: parts.repository,
                head: None,
                tags: BTreeMap::new(),
                accepted: parts.accepted,
                remembered: parts.remembered,
                held: BTreeMap::new(),
                diagnostics: Vec::new(),
            },
            store,
            reader,
            releases,
            readings,
            read_timeout,
            publisher,
            metrics,
            emergency,
            teller,
            not_ready: vec![starting],
            reading: None,
            too_long: None,
            stopped_in_a_row: 0,
            read_again: false,
            passed_over: false,
            unread: true,
            published: tokio::time::Instant::now(),
            swept: tokio::time::Instant::now(),
            changed: true,
        }
    }

    /// Runs until cancelled. What the state machines ordered before the restart is ordered again first.
    pub async fn run(mut self, mut inputs: Inputs, cancel: CancellationToken) {
        self.workers.tell_others(self.fleets.others());
        let mut turn = Turn { effects: self.fleets.resume(Timestamp::now()), ..Turn::default() };
        self.teller.effects(&turn.effects, Timestamp::now(), &mut turn.writes);
        if !self.save(turn.writes, &cancel).await {
            return;
        }
        self.carry_out(turn.effects);
        if inputs.stops.borrow_and_update().stop.is_some() {
            self.fleets.freeze(Timestamp::now());
        }
        let mut clock = Clock::new(Timestamp::now(), tokio::time::Instant::now());
        while let Some(batch) = self.next(&mut inputs, &cancel).await {
            self.metrics.facts_waiting(inputs.facts.len());
            let mut turn = Turn::default();
            let now = Timestamp::now();
            if let Some(ahead) = clock.look(now, tokio::time::Instant::now()) {
                warn!(seconds = ahead.as_secs(), "the clock was set ahead; no deadline counts that time");
                // Not before the last look, so it is a time.
                self.fleets.leap(now - ahead, now, &mut turn.effects);
            }
            for input in batch {
                self.take(input, now, &mut turn);
            }
            effects::keep_last(&mut turn.effects);
            self.teller.effects(&turn.effects, Timestamp::now(), &mut turn.writes);
            self.fleets.writes_after(&turn.effects, turn.binds, Timestamp::now(), &mut turn.writes);
            turn.writes.extend(turn.effects.iter().filter_map(|effect| rollout(effect, Timestamp::now())));
            if !self.save(std::mem::take(&mut turn.writes), &cancel).await {
                break;
            }
            self.carry_out(turn.effects);
            turn.answers.into_iter().for_each(orders::Answer::send);
            self.publish(false);
            self.sweep();
        }
        let writes = self.fleets.unsaved();
        if let Err(error) = self.store.write(writes).await {
            warn!(%error, "the last facts were not saved; the clusters will tell them again");
        }
        self.workers.ended().await;
    }

    /// The next inputs, at least one; none when cancelled.
    async fn next(&self, inputs: &mut Inputs, cancel: &CancellationToken) -> Option<Vec<Input>> {
        let publish = self.changed.then(|| self.published + PUBLISH_EVERY);
        let first = tokio::select! {
            () = cancel.cancelled() => return None,
            Some((observation, took)) = inputs.observations.recv() => Input::Observed(observation, took),
            Some(reading) = inputs.readings.recv() => Input::Read(reading),
            Some(order) = inputs.orders.recv() => Input::Order(order),
            Ok(()) = inputs.stops.changed() => Input::Stop(inputs.stops.borrow_and_update().clone()),
            Some(question) = inputs.questions.recv() => Input::Question(question),
            Some(fact) = inputs.facts.recv() => Input::Fact(Box::new(fact)),
            () = self.fleets.wake(), if self.fleets.next_wake().is_some() => Input::Time,
            () = tokio::time::sleep_until(publish.unwrap_or(self.published)), if publish.is_some() => Input::Time,
        };
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match inputs.facts.try_recv() {
                Ok(fact) => batch.push(Input::Fact(Box::new(fact))),
                Err(_) => break,
            }
        }
        Some(batch)
    }

    fn take(&mut self, input: Input, now: Timestamp, turn: &mut Turn) {
        self.changed |= !matches!(input, Input::Question(_));
        turn.binds |= !matches!(input, Input::Fact(_) | Input::Time);
        match input {
            Input::Observed(observation, took) => self.observed(observation, took, now, turn),
            Input::Read(Ok(reading)) => self.read(reading, now, turn),
            Input::Read(Err(reason)) => {
                self.unread = true;
                self.broke_off(reason, now, turn);
            }
            Input::Fact(fact) => self.fact(*fact, now, turn),
            Input::Order(order) => self.order(order, now, turn),
            Input::Stop(standing) => self.stopped(standing, now, turn),
            Input::Question(ProfilesQuestion { fleet, target, answer }) => {
                // Who asked may have gone.
                let _ = answer.send(self.profiles(&fleet, &target));
            }
            Input::Time => self.fleets.tick(now, &mut turn.effects),
        }
    }

    fn profiles(&self, fleet: &FleetName, target: &TargetName) -> ProfilesView {
        let Some(report) = self.fleets.report(fleet, target) else { return ProfilesView::default() };
        let shown = |release: Option<ReleaseRef>| {
            release.map(|release| view::profiles(&release, &self.repository.remembered)).unwrap_or_default()
        };
        ProfilesView { converged: shown(report.converged), wanted: shown(report.wanted) }
    }

    fn fact(&mut self, fact: Fact, now: Timestamp, turn: &mut Turn) {
        self.metrics.fact(&fact.body);
        if let FactBody::Drift { objects, healed: true } = &fact.body {
            self.metrics.drift_healed(objects.len() as u64);
        }
        if let Some(outcome) = outcome(&fact.body)
            && let Some(assigned) = self.fleets.assigned(&fact.fleet, &fact.target)
        {
            info!(fleet = %fact.fleet, cluster = %fact.target, commit = %assigned.revisions.control.commit, outcome);
            turn.writes.push(Write::Event(HistoryEvent {
                at: now,
                target: fact.target.clone(),
                fleet: fact.fleet.clone(),
                release: assigned.digest,
                control: assigned.revisions.control.commit,
                profiles: view::profiles(assigned, &self.repository.remembered),
                outcome,
            }));
        }
        self.fleets.note(&fact);
        let fleet = fact.fleet.clone();
        self.fleets.decide(&fleet, Event::from(fact), now, &mut turn.effects);
        if self.fleets.wants_reading() {
            self.start_reading();
        }
    }

    /// Whether the writes are safe. A store that refuses (a full disk) is asked again until it takes them or
    /// the daemon is told to stop: nothing is carried out that is not saved.
    async fn save(&mut self, writes: Vec<Write>, cancel: &CancellationToken) -> bool {
        if writes.is_empty() {
            return true;
        }
        loop {
            match self.store.write(writes.clone()).await {
                Ok(()) => break,
                Err(error) => {
                    error!(
                        error = super::chain(&error),
                        "the store refused a write; nothing moves until it takes it"
                    );
                    let code = "store".to_owned();
                    self.not_ready = vec![NotReady { code, message: super::chain(&error) }];
                    self.publish(true);
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return false,
                () = tokio::time::sleep(STORE_RETRY) => {}
            }
        }
        self.not_ready.retain(|reason| reason.code != "store");
        self.teller.saved(&writes);
        true
    }

    fn carry_out(&mut self, effects: Vec<(FleetName, Effect)>) {
        // A greeting ends an order to leave that was carried out: one that comes now must come after it.
        for (fleet, target) in self.fleets.unwatched() {
            self.workers.greet(&target, &fleet);
        }
        for (fleet, effect) in effects {
            match effect {
                Effect::Assign(assignment) => {
                    info!(
                        fleet = %fleet,
                        cluster = %assignment.target,
                        commit = %assignment.release.revisions.control.commit,
                        release = %assignment.release.digest.short(),
                        generation = assignment.generation,
                        purpose = ?assignment.purpose,
                        "assigned"
                    );
                    self.workers.of(&assignment.target, &fleet).assign(*assignment);
                }
                Effect::Remove { target, fleet, generation, policy, approved } => {
                    info!(fleet = %fleet, cluster = %target, ?policy, "leaves the fleet");
                    let cluster = self.fleets.policy(&fleet).cluster;
                    self.workers.of(&target, &fleet).remove(&fleet, generation, policy, cluster, approved);
                }
                Effect::Suspend { target, suspend } => self.workers.of(&target, &fleet).suspend(suspend),
                Effect::Report(status) => {
                    info!(fleet = %fleet, commit = %status.revision.commit, state = ?status.state, "{}", status.description);
                }
                Effect::Hold { reason: reason @ FleetReason::Window { .. } } => {
                    info!(fleet = %fleet, "{reason}")
                }
                Effect::Hold { reason } => warn!(fleet = %fleet, "holds: {reason}"),
                Effect::WakeAt(at) => self.fleets.wake_at(&fleet, at),
            }
        }
    }

    /// Keeps the disk's cache within its limit; what clusters run, and would go back to, stays.
    fn sweep(&mut self) {
        if self.swept.elapsed() < SWEEP_EVERY {
            return;
        }
        self.swept = tokio::time::Instant::now();
        let (releases, kept) = (self.releases.clone(), self.fleets.kept_releases());
        tokio::task::spawn_blocking(move || releases.sweep(&kept));
    }

    fn publish(&mut self, at_once: bool) {
        if !self.changed || (!at_once && self.published.elapsed() < PUBLISH_EVERY) {
            return;
        }
        self.changed = false;
        self.published = tokio::time::Instant::now();
        let view = view::status(self);
        self.publisher.publish(view);
    }

    pub(super) fn not_ready(&self) -> &[NotReady] {
        &self.not_ready
    }

    pub(super) fn instance(&self) -> &fairlead_core::model::name::InstanceName {
        self.workers.instance()
    }
}

/// What was said of a commit, for the history of its fleet.
fn rollout((fleet, effect): &(FleetName, Effect), now: Timestamp) -> Option<Write> {
    let Effect::Report(status) = effect else { return None };
    Some(Write::Rollout(RolloutRecord {
        fleet: fleet.clone(),
        revision: status.revision.clone(),
        state: status.state.as_str().to_owned(),
        description: status.description.clone(),
        began: now,
        changed: now,
    }))
}

/// The facts that are part of a target's history.
fn outcome(fact: &FactBody) -> Option<String> {
    match fact {
        FactBody::Converged { .. } => Some("converged".to_owned()),
        FactBody::Failed { cause, .. } => Some(format!("failed: {cause}")),
        FactBody::Held { reason, .. } => Some(format!("held: {reason}")),
        FactBody::Unhealthy { cause, .. } => Some(format!("unhealthy: {cause}")),
        FactBody::Drift { objects, healed } => {
            let names: Vec<_> = objects.iter().take(3).map(ToString::to_string).collect();
            let more =
                if objects.len() > 3 { format!(" and {} more", objects.len() - 3) } else { String::new() };
            let what = if *healed { "drift put right" } else { "drift" };
            Some(format!("{what}: {}{more}", names.join(", ")))
        }
        FactBody::Contested { objects } => {
            let names: Vec<_> = objects.iter().take(3).map(ToString::to_string).collect();
            Some(format!("contested: {}", names.join(", ")))
        }
        FactBody::Kept { objects, .. } => {
            let first = objects.first()?;
            let more =
                if objects.len() > 1 { format!(" and {} more", objects.len() - 1) } else { String::new() };
            Some(format!("kept: {first}{more}"))
        }
        FactBody::BreakGlass { objects } => {
            let first = objects.first()?;
            let more =
                if objects.len() > 1 { format!(" and {} more", objects.len() - 1) } else { String::new() };
            Some(format!("break glass: {first}{more}"))
        }
        FactBody::Removed => Some("left the fleet".to_owned()),
        FactBody::Online { .. }
        | FactBody::Offline { .. }
        | FactBody::Progress { .. }
        | FactBody::Diagnosed { .. }
        | FactBody::Stalled { .. } => None,
    }
}

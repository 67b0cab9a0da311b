//! One fleet's share of a cluster: a task that takes orders, plans, executes, and then keeps things so.
//!
//! In: [`Orders`], news from watches, answers to its own requests. Out: requests, ledger writes, facts.
//! Guarantees: one owner of the ledger and of what is known; nothing is awaited but ledger writes, so that a newer
//! order is taken at once; requests in flight are let end before the next plan is made, so that none of them can
//! land after it.

mod blame;
mod claims;
mod deletion;
mod diagnose;
mod drift;
mod execute;
mod eye;
mod fetch;
mod finished;
mod glass;
mod jobs;
mod outcome;
mod pace;
mod prepare;
mod prune;
mod run;
mod say;
mod served;
mod siblings;
mod standby;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::blame::Streak;
use self::claims::Claims;
use self::deletion::Description;
use self::diagnose::Look;
use self::eye::{Change, Eye};
use self::fetch::{Expected, Prepared};
use self::jobs::Done;
use self::pace::Paces;
use self::prepare::Goal;
use self::run::{Health, Run};
use super::backoff::Backoff;
use super::claims::Known;
use super::discovery::Discovery;
use super::error::ApiError;
use super::ledger::{Ledger, LedgerDamage, Stored, WriteError, set_id};
use super::orders::{FleetOrders, Order, Orders};
use super::session::{Lost, Session, lost};
use super::text::chain;
use fairlead_core::model::assignment::{BreakGlass, FactBody, Hold, KeptObject, Progress};
use fairlead_core::model::name::FleetName;
use fairlead_core::model::object::{GroupKind, ObjectKey};

/// How long requests of an order that was overtaken may take to end.
const DRAIN: Duration = Duration::from_secs(5);
/// How often progress is said at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Why a fleet's task ended.
#[derive(Debug)]
pub enum FleetEnd {
    Lost(Lost),
    /// Someone else wrote the ledger: it is read again.
    Reread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No order, or an emergency stop.
    Idle,
    /// An order was taken; requests of the one before end.
    Begin,
    /// The release is got, and what the cluster serves.
    Fetching,
    /// The first lists are read.
    Observing,
    /// What no watch brings is read.
    Reading,
    Executing,
    /// Nothing can be done until something changes.
    Stopped,
}

/// What was said of the present generation: nothing is said twice.
#[derive(Debug, Default)]
struct Said {
    failed: Option<u64>,
    held: Option<(u64, Hold)>,
    stalled: bool,
    /// Why nothing can move before the cluster does.
    held_up: Option<String>,
    progress: Option<(Progress, Instant)>,
    /// The progress after whose standstill the cause was looked up.
    diagnosed: Option<Instant>,
    kept: Option<(u64, Vec<KeptObject>)>,
    /// What the present plan keeps, under which order.
    kept_by_plan: (u64, Vec<KeptObject>),
    /// Some of them are being deleted.
    lingers: bool,
    glass: Vec<BreakGlass>,
    /// Something may have moved since.
    moved: bool,
}

struct Fleet {
    cx: Arc<Session>,
    name: FleetName,
    set: Arc<str>,
    stored: Stored,
    eye: Eye,
    orders: watch::Receiver<Orders>,
    brake: watch::Receiver<bool>,
    /// An emergency stop stands, as far as was heard.
    stopped: bool,
    told: FleetOrders,
    /// Greetings that were answered.
    greeted: u32,
    phase: Phase,
    goal: Option<Goal>,
    run: Option<Box<Run>>,
    jobs: JoinSet<Done>,
    prep: Option<AbortOnDropHandle<Prepared>>,
    discovery: Option<Arc<Discovery>>,
    /// What of ours other fleets are to get.
    expected: Expected,
    /// Kinds that discovery does not name, and that may be served all the same.
    unsure: BTreeSet<GroupKind>,
    rediscovered: Option<Instant>,
    /// When it was last looked what the cluster serves.
    looked: Option<Instant>,
    /// When it is looked again, because an API group of ours did not answer.
    relook: Option<Instant>,
    /// What namespaces said of their end.
    descriptions: BTreeMap<ObjectKey, Description>,
    /// When the phase goes on by itself.
    wake: Option<Instant>,
    backoff: Backoff,
    /// Objects that are answered with trouble again and again.
    streaks: BTreeMap<ObjectKey, Streak>,
    /// Finds out whether the cluster takes writes.
    write_probe: Option<AbortOnDropHandle<()>>,
    /// Finds out whether the cluster answers, after a connection broke. No order ends it.
    probe: Option<AbortOnDropHandle<Result<(), ApiError>>>,
    /// Finds out why an object is not healthy. A newer order ends it.
    look: Option<Look>,
    claims: Claims,
    /// The inventory is not what the cluster's ledger says.
    dirty: bool,
    /// An intent was not written yet.
    unwritten: bool,
    said: Said,
    /// Since when a converged fleet is not healthy.
    unhealthy: Option<Instant>,
    verify_at: Instant,
    /// How often objects are healed; outlives plans.
    paces: Paces,
}

/// Works on one fleet's share until the session or its ledger is lost. What the ledger says was said after
/// `greeted` greetings.
pub async fn run(
    session: Arc<Session>,
    name: FleetName,
    ledger: Option<Result<Stored, LedgerDamage>>,
    orders: watch::Receiver<Orders>,
    greeted: u32,
) -> FleetEnd {
    let settings = &session.settings;
    let stored = match ledger {
        Some(Ok(stored)) => stored,
        Some(Err(damage)) => {
            // Nothing is done until a person has mended or removed it.
            tracing::error!(fleet = %name, error = %damage, "ledger can't be used");
            let order = orders.borrow().fleets.get(&name).and_then(|told| told.order.clone());
            let reason = Hold::LedgerDamaged { reason: chain(&damage) };
            if let Some(Order::Assign(order)) = order {
                let (generation, release) = (order.generation, order.release.digest);
                session.say(&name, FactBody::Held { generation, release, reason }).await;
            }
            tokio::time::sleep(settings.retry.1).await;
            return FleetEnd::Reread;
        }
        None => {
            let (instance, target) = (settings.instance.clone(), settings.target.clone());
            Stored::new(Ledger::new(instance, name.clone(), target, session.identity.clone()))
        }
    };
    let set: Arc<str> = Arc::from(set_id(&settings.instance, &name));
    let eye = Eye::new(session.api.clone(), Arc::clone(&set), &settings.manager());
    let verify_at = Instant::now() + verify_wait(settings.verify_every);
    let fleet = Fleet {
        backoff: Backoff::new(settings.retry),
        cx: Arc::clone(&session),
        name,
        set,
        stored,
        eye,
        orders,
        brake: settings.brake.watch(),
        stopped: false,
        told: FleetOrders { greetings: greeted, ..FleetOrders::default() },
        greeted,
        phase: Phase::Idle,
        goal: None,
        run: None,
        jobs: JoinSet::new(),
        prep: None,
        discovery: None,
        expected: Expected::new(),
        unsure: BTreeSet::new(),
        rediscovered: None,
        looked: None,
        relook: None,
        descriptions: BTreeMap::new(),
        wake: None,
        streaks: BTreeMap::new(),
        write_probe: None,
        probe: None,
        look: None,
        claims: Claims::default(),
        dirty: false,
        unwritten: false,
        said: Said::default(),
        unhealthy: None,
        verify_at,
        paces: Paces::new(settings.heal_pace, settings.contest_heals, settings.contest_window),
    };
    fleet.work().await
}

/// A tenth of jitter around the time between full checks.
fn verify_wait(every: Duration) -> Duration {
    every.mul_f64(0.9 + fastrand::f64() / 5.0)
}

impl Fleet {
    async fn work(mut self) -> FleetEnd {
        self.take_orders();
        loop {
            self.answer_greeting().await;
            if let Err(end) = self.advance().await {
                return end;
            }
            self.say_progress().await;
            self.mind_claims();
            self.diagnose();
            self.cx.set_doubts(&self.name, self.doubts());
            let wake = self.next_wake();
            let heard = tokio::select! {
                biased;
                changed = self.orders.changed() => match changed {
                    Ok(()) => Heard::Orders,
                    Err(_) => return FleetEnd::Reread,
                },
                Ok(()) = self.brake.changed() => Heard::Orders,
                Some(done) = self.jobs.join_next() => Heard::Done(done.ok().map(Box::new)),
                prepared = ended(&mut self.prep) => Heard::Prepared(prepared.map(Box::new)),
                probed = ended(&mut self.probe) => Heard::Probed(probed),
                found = Look::ended(&mut self.look) => Heard::Found(found),
                classes = ended(&mut self.claims.look) => Heard::Classes(classes),
                changes = self.eye.next() => Heard::Changes(changes),
                () = sleep_until(wake) => Heard::Time,
            };
            self.said.moved = true;
            if let Err(end) = self.hear(heard).await {
                return end;
            }
        }
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), FleetEnd> {
        match heard {
            Heard::Orders => self.take_orders(),
            // Nothing is known of what it did.
            Heard::Done(None) => return Err(FleetEnd::Reread),
            Heard::Done(done) => {
                let mut next = done.map(|done| *done);
                while let Some(done) = next {
                    self.take_done(done).await?;
                    next = self.jobs.try_join_next().and_then(Result::ok);
                }
            }
            Heard::Prepared(prepared) => {
                self.prep = None;
                match prepared {
                    Some(prepared) => self.take_prepared(*prepared).await?,
                    None => self.stop(),
                }
            }
            Heard::Probed(answer) => {
                self.probe = None;
                match answer {
                    Some(Err(error)) if error.is_unreachable() || error.is_unauthorized() => {
                        return Err(FleetEnd::Lost(lost(&error)));
                    }
                    // It answers, if only to refuse us the version.
                    _ => {}
                }
            }
            Heard::Found(found) => self.take_look(found).await,
            Heard::Classes(answer) => self.take_classes(answer),
            Heard::Changes(changes) => {
                for change in changes {
                    self.take_change(change).await?;
                }
            }
            Heard::Time => {
                if self.relook.is_some_and(|at| at <= Instant::now()) {
                    self.relook = None;
                    self.look_what_is_served().await;
                    self.mind_groups();
                }
                if self.wake.is_some_and(|at| at <= Instant::now()) {
                    self.wake = None;
                    if self.stands_by() || self.has_lost_heirs() {
                        self.wake = (!self.jobs.is_empty()).then(|| Instant::now() + DRAIN);
                        self.phase = Phase::Begin;
                    } else if matches!(self.phase, Phase::Stopped | Phase::Begin) {
                        self.phase = Phase::Begin;
                    }
                }
            }
        }
        Ok(())
    }

    /// Says what the cluster has to whoever was not told yet.
    async fn answer_greeting(&mut self) {
        if self.greeted != self.told.greetings {
            self.greeted = self.told.greetings;
            self.said.glass.clear();
            let ledger = self.stored.is_written().then(|| self.stored.ledger.summary());
            self.say(FactBody::Online { ledger: ledger.map(Box::new) }).await;
        }
    }

    /// Takes what this fleet is told, if it is news. What is under way for an older order is given up at once; what is
    /// under way at an emergency stop too, and is planned anew when that ends.
    fn take_orders(&mut self) {
        let told = self.orders.borrow_and_update().fleets.get(&self.name).cloned().unwrap_or_default();
        let stopped = *self.brake.borrow_and_update();
        if told == self.told && stopped == self.stopped {
            return;
        }
        let before = std::mem::replace(&mut self.told, told);
        let was_stopped = std::mem::replace(&mut self.stopped, stopped);
        let same = (&before.order, &before.adopt) == (&self.told.order, &self.told.adopt);
        if was_stopped == stopped && same && !(before.others != self.told.others && self.minds_others()) {
            return;
        }
        self.prep = None;
        self.look = None;
        self.reread_classes();
        self.goal = None;
        self.streaks.clear();
        self.backoff.reset();
        self.unhealthy = None;
        self.said.stalled = false;
        self.phase = if self.told.order.is_some() && !stopped { Phase::Begin } else { Phase::Idle };
        self.wake = (!self.jobs.is_empty()).then(|| Instant::now() + DRAIN);
    }

    /// Goes as far as it can without waiting.
    async fn advance(&mut self) -> Result<(), FleetEnd> {
        loop {
            let before = self.phase;
            match self.phase {
                Phase::Idle | Phase::Stopped | Phase::Fetching | Phase::Reading => {}
                Phase::Begin => self.begin().await,
                Phase::Observing => self.observe(),
                Phase::Executing => self.step().await?,
            }
            if self.phase == before {
                return Ok(());
            }
        }
    }

    /// Starts on an order, once the requests of the one before have ended, and while the cluster answers: what was
    /// last seen of one that does not is no ground for a plan.
    async fn begin(&mut self) {
        if self.probe.is_some() {
            return;
        }
        if !self.jobs.is_empty() {
            if self.wake.is_some_and(|at| at > Instant::now()) {
                return;
            }
            self.jobs.shutdown().await;
        }
        self.wake = None;
        if !self.look_who_is_here().await {
            return;
        }
        match self.make_goal() {
            Ok(goal) => {
                self.prep = Some(self.fetch(&goal));
                self.goal = Some(goal);
                self.phase = Phase::Fetching;
            }
            Err(Some(refused)) => self.hold(refused.0, refused.1).await,
            Err(None) => self.phase = Phase::Idle,
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let run = self.run.as_ref().filter(|_| self.phase == Phase::Executing);
        let items = run.and_then(|run| run.next_wake(Instant::now()));
        let converged = run.is_some_and(|run| run.converged);
        let progress = (run.is_some() && !converged).then(|| self.progress_due()).flatten();
        let unsaid = converged && run.is_some_and(|run| run.said_health == Some(Health::Healthy));
        let unhealthy = self.unhealthy.filter(|_| unsaid).map(|since| since + drift::UNHEALTHY_AFTER);
        let verify = converged.then_some(self.verify_at);
        let glass = run.and_then(|_| self.glass_wake());
        let unhealthy = unhealthy.filter(|_| self.look.is_none());
        let (claims, diagnosis) = (self.claims_wake(), self.diagnosis_due());
        let relook = self.relook.filter(|_| run.is_some());
        let times = [self.wake, items, progress, unhealthy, verify, glass, claims, diagnosis, relook];
        times.into_iter().chain([self.namespaces_due()]).flatten().min()
    }

    fn generation(&self) -> u64 {
        self.goal.as_ref().map_or(0, |goal| goal.assignment.generation)
    }

    /// Nothing is done until an order comes, or some time has passed: the cluster may have changed then.
    fn stop(&mut self) {
        self.settle_order();
        self.phase = Phase::Stopped;
        self.wake = Some(Instant::now() + self.cx.settings.retry.1);
    }

    /// A step of preparation failed: tried again later, or the session is over.
    async fn prepare_again(&mut self, error: &ApiError) -> Result<(), FleetEnd> {
        if error.is_unauthorized() {
            return Err(FleetEnd::Lost(lost(error)));
        }
        if error.is_unreachable() {
            self.probe();
        } else if !error.is_stopped() {
            self.say_stalled(chain(error)).await;
        }
        self.phase = Phase::Stopped;
        self.wake = Some(Instant::now() + self.backoff.next_wait());
        Ok(())
    }

    /// Writes the ledger. `Ok(false)`: it is to be tried again.
    async fn write_ledger(&mut self) -> Result<bool, FleetEnd> {
        let answer = self.cx.store.write(&mut self.stored).await;
        self.wrote_ledger(answer).await
    }

    async fn wrote_ledger(&mut self, answer: Result<(), WriteError>) -> Result<bool, FleetEnd> {
        match answer {
            Ok(()) => {
                (self.dirty, self.unwritten) = (false, false);
                Ok(true)
            }
            Err(WriteError::Overtaken) => Err(FleetEnd::Reread),
            Err(WriteError::Api(error)) => {
                self.prepare_again(&error).await?;
                Ok(false)
            }
            Err(WriteError::Encode(damage)) => {
                self.say_stalled(chain(&damage)).await;
                self.stop();
                Ok(false)
            }
        }
    }
}

/// What woke the task.
enum Heard {
    Orders,
    /// None: a request's task failed; its item is tried again by the next plan.
    Done(Option<Box<Done>>),
    /// None: the preparation failed as a task.
    Prepared(Option<Box<Prepared>>),
    /// Whether the cluster answers; None: the task failed.
    Probed(Option<Result<(), ApiError>>),
    /// Why an object is not healthy; None: the task failed.
    Found(Option<String>),
    /// What storage classes say of unbound claims; None: the task failed.
    Classes(Option<Result<Known, ApiError>>),
    Changes(Vec<Change>),
    Time,
}

/// The end of a task beside this one, if there is one. Safe to drop.
async fn ended<T>(task: &mut Option<AbortOnDropHandle<T>>) -> Option<T> {
    match task {
        Some(task) => task.await.ok(),
        None => std::future::pending().await,
    }
}

/// Runs a preparation beside the task; it ends when it is dropped.
fn beside(future: impl Future<Output = Prepared> + Send + 'static) -> AbortOnDropHandle<Prepared> {
    AbortOnDropHandle::new(tokio::spawn(future))
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

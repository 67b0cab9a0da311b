//! The worker of one cluster: keeps a session open, and a task for every fleet on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::coarse;
use super::connect::Connector;
use super::fleet::{self, FleetEnd};
use super::ledger::{LedgerDamage, Stored};
use super::live;
use super::orders::{LiveError, Orders, Question, ReleaseSource, WorkerHandle, WorkerSettings};
use super::session::{Ledgers, Lost, Session};
use super::text::chain;
use fairlead_core::model::assignment::{Fact, FactBody};
use fairlead_core::model::name::FleetName;

/// Starts the worker of one cluster. It ends when `cancel` is cancelled; its facts go to `facts`.
pub fn spawn(
    settings: WorkerSettings,
    connector: Arc<dyn Connector>,
    source: Arc<dyn ReleaseSource>,
    facts: mpsc::Sender<Fact>,
    cancel: CancellationToken,
) -> (WorkerHandle, JoinHandle<()>) {
    let (handle, orders, questions) = WorkerHandle::new(&settings.fleets);
    let worker = Worker { settings: Arc::new(settings), connector, source, facts, orders, questions };
    let task = tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = worker.run() => {}
        }
    });
    (handle, task)
}

struct Worker {
    settings: Arc<WorkerSettings>,
    connector: Arc<dyn Connector>,
    source: Arc<dyn ReleaseSource>,
    facts: mpsc::Sender<Fact>,
    orders: watch::Receiver<Orders>,
    questions: mpsc::Receiver<Question>,
}

/// Why a session ended.
enum End {
    Lost(Lost),
    /// Credentials changed, or a suspension ended: start anew from the ledgers.
    Restart,
    /// Nobody gives orders any more.
    Over,
}

impl Worker {
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.settings.retry);
        // What was last said about each fleet: the same trouble is said once.
        let mut said: BTreeMap<FleetName, String> = BTreeMap::new();
        let mut fresh_credentials = false;
        loop {
            let stamp = self.connector.stamp(&self.settings.target);
            match self.session(&mut backoff, &mut said, stamp).await {
                End::Over => return,
                End::Restart => {}
                End::Lost(Lost::Unauthorized) if !fresh_credentials => {
                    // They may have been rotated: read them again at once, but once only.
                    fresh_credentials = true;
                    continue;
                }
                End::Lost(lost) => {
                    let reason = match lost {
                        Lost::Offline(reason) => reason,
                        Lost::Unauthorized => "the cluster does not accept our credentials".to_owned(),
                    };
                    self.say_offline(&reason, &mut said).await;
                    if self.wait(backoff.next_wait(), stamp).await.is_break() {
                        return;
                    }
                }
            }
            fresh_credentials = false;
        }
    }

    async fn say_offline(&self, reason: &str, said: &mut BTreeMap<FleetName, String>) {
        // The same trouble again is no news: a target without a kubeconfig would fill the log.
        if said.values().all(|last| last != reason) {
            tracing::warn!(cluster = %self.settings.target, reason, "cluster is offline");
        } else {
            tracing::debug!(cluster = %self.settings.target, reason, "cluster is still offline");
        }
        let fleets: Vec<_> = self.orders.borrow().fleets.keys().cloned().collect();
        for fleet in fleets {
            if said.get(&fleet).is_some_and(|last| last == reason) {
                continue;
            }
            said.insert(fleet.clone(), reason.to_owned());
            self.say(&fleet, FactBody::Offline { reason: reason.to_owned() }).await;
        }
    }

    async fn say(&self, fleet: &FleetName, body: FactBody) {
        let fact = Fact { target: self.settings.target.clone(), fleet: fleet.clone(), body };
        let _ = self.facts.send(fact).await;
    }

    /// Waits before the next attempt; new credentials cut it short. Fleets that come meanwhile hear at the next.
    async fn wait(&mut self, wait: Duration, stamp: Option<u64>) -> std::ops::ControlFlow<()> {
        let until = tokio::time::Instant::now() + wait;
        let mut look = coarse::interval(self.settings.credentials_every);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return std::ops::ControlFlow::Continue(()),
                _ = look.tick() => {
                    if self.connector.stamp(&self.settings.target) != stamp {
                        return std::ops::ControlFlow::Continue(());
                    }
                }
                question = self.questions.recv() => match question {
                    Some(question) => {
                        question.refuse(LiveError::Offline("no connection".to_owned()));
                    }
                    None => return std::ops::ControlFlow::Break(()),
                },
            }
        }
    }

    /// Connects, says what is there, and lets a task for each fleet work until something ends it.
    async fn session(
        &mut self,
        backoff: &mut Backoff,
        said: &mut BTreeMap<FleetName, String>,
        stamp: Option<u64>,
    ) -> End {
        let opened = Session::open(
            Arc::clone(&self.settings),
            &*self.connector,
            Arc::clone(&self.source),
            self.facts.clone(),
        );
        let (session, ledgers) = match opened.await {
            Ok(opened) => opened,
            Err(lost) => return End::Lost(lost),
        };
        backoff.reset();
        said.clear();
        tracing::info!(cluster = %self.settings.target, identity = session.identity, "cluster is online");
        let mut fleets = Fleets {
            session: Arc::new(session),
            ledgers,
            online: BTreeMap::new(),
            running: BTreeSet::new(),
            tasks: JoinSet::new(),
            rereads: BTreeMap::new(),
            orders: self.orders.clone(),
        };
        fleets.say_ledgers().await;
        let mut look = coarse::interval(self.settings.credentials_every);
        let mut live_jobs = JoinSet::new();
        let was_suspended = self.orders.borrow_and_update().suspended;
        fleets.follow(was_suspended).await;
        loop {
            tokio::select! {
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return End::Over;
                    }
                    if self.orders.borrow_and_update().suspended != was_suspended {
                        return End::Restart;
                    }
                    fleets.follow(was_suspended).await;
                }
                Some(ended) = fleets.tasks.join_next() => {
                    if let Some(lost) = fleets.ended(ended).await {
                        return End::Lost(lost);
                    }
                }
                _ = look.tick() => {
                    if self.connector.stamp(&self.settings.target) != stamp {
                        tracing::info!(cluster = %self.settings.target, "credentials changed");
                        return End::Restart;
                    }
                }
                Some(question) = self.questions.recv() => {
                    live_jobs.spawn(live::answer(Arc::clone(&fleets.session), question));
                }
                Some(_) = live_jobs.join_next() => {}
            }
        }
    }
}

/// A fleet's task that ends sooner than this did not get far.
const SOON_ENDED: Duration = Duration::from_secs(30);

/// The fleets of a session.
struct Fleets {
    session: Arc<Session>,
    /// As read last; a task takes its own.
    ledgers: Ledgers,
    /// Fleets that the daemon was told about, and after how many greetings.
    online: BTreeMap<FleetName, u32>,
    running: BTreeSet<FleetName>,
    tasks: JoinSet<(FleetName, FleetEnd)>,
    /// Of fleets whose ledger was read again, how long that waits next, and when the last task began.
    rereads: BTreeMap<FleetName, (Backoff, Option<tokio::time::Instant>)>,
    orders: watch::Receiver<Orders>,
}

impl Fleets {
    /// Says what the cluster has, also of fleets that nobody asked about.
    async fn say_ledgers(&mut self) {
        let known: Vec<FleetName> = self.ledgers.values().flatten().map(|s| s.ledger.fleet.clone()).collect();
        for fleet in known {
            self.say_online(&fleet).await;
        }
        self.welcome().await;
    }

    /// Says of every fleet with orders, once, whether it has a ledger.
    async fn welcome(&mut self) {
        let asked: Vec<FleetName> = self.orders.borrow().fleets.keys().cloned().collect();
        for fleet in asked {
            self.say_online(&fleet).await;
        }
    }

    async fn say_online(&mut self, fleet: &FleetName) {
        let greetings = self.orders.borrow().fleets.get(fleet).map_or(0, |orders| orders.greetings);
        let told = self.online.insert(fleet.clone(), greetings);
        // A fleet's task knows its ledger better, and answers greetings itself.
        if told == Some(greetings) || self.running.contains(fleet) {
            return;
        }
        let body = match self.ledgers.get(fleet.as_str()) {
            Some(Ok(stored)) => FactBody::Online { ledger: Some(Box::new(stored.ledger.summary())) },
            Some(Err(damage)) => FactBody::Stalled { generation: 0, reason: chain(damage) },
            None => FactBody::Online { ledger: None },
        };
        self.session.say(fleet, body).await;
    }

    /// Takes the orders as they are now: greets every fleet, and starts a task for each that has an order and none
    /// yet.
    async fn follow(&mut self, suspended: bool) {
        self.welcome().await;
        if suspended {
            return;
        }
        let ordered: Vec<FleetName> = {
            let orders = self.orders.borrow();
            let ordered = orders.fleets.iter().filter(|(_, of_fleet)| of_fleet.order.is_some());
            ordered.map(|(fleet, _)| fleet.clone()).collect()
        };
        for fleet in ordered {
            if self.running.insert(fleet.clone()) {
                let ledger = self.ledgers.remove(fleet.as_str());
                self.spawn(fleet, ledger);
            }
        }
    }

    fn spawn(&mut self, fleet: FleetName, ledger: Option<Result<Stored, LedgerDamage>>) {
        let (session, orders) = (Arc::clone(&self.session), self.orders.clone());
        let greeted = self.online.get(&fleet).copied().unwrap_or_default();
        self.tasks.spawn(async move {
            let end = fleet::run(session, fleet.clone(), ledger, orders, greeted).await;
            (fleet, end)
        });
    }

    /// Reads a fleet's ledger again and goes on: at once, and later each time where its tasks end soon after they
    /// began, for a ledger that stays missing must not be looked for in a hot loop.
    fn reread(&mut self, fleet: FleetName) {
        let retry = self.session.settings.retry;
        let (backoff, began) =
            self.rereads.entry(fleet.clone()).or_insert_with(|| (Backoff::new(retry), None));
        let wait = match *began {
            Some(began) if began.elapsed() < SOON_ENDED => backoff.next_wait(),
            _ => {
                backoff.reset();
                Duration::ZERO
            }
        };
        *began = Some(tokio::time::Instant::now() + wait);
        let (session, orders) = (Arc::clone(&self.session), self.orders.clone());
        let greeted = self.online.get(&fleet).copied().unwrap_or_default();
        self.tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            let end = match session.store.read(&fleet).await {
                Ok(ledger) => fleet::run(session, fleet.clone(), ledger, orders, greeted).await,
                Err(error) => FleetEnd::Lost(super::session::lost(&error)),
            };
            (fleet, end)
        });
    }

    /// A fleet's task has ended: what that means for the session.
    async fn ended(&mut self, ended: Result<(FleetName, FleetEnd), tokio::task::JoinError>) -> Option<Lost> {
        let (fleet, end) = match ended {
            Ok(ended) => ended,
            Err(error) => return Some(Lost::Offline(format!("a task failed: {error}"))),
        };
        match end {
            FleetEnd::Lost(lost) => return Some(lost),
            FleetEnd::Reread => self.reread(fleet),
        }
        None
    }
}

//! Starts and wires everything; owns every task and channel.
//!
//! In: the settings. Out: clusters that are true to the repository, and an API that tells how they stand.
//! Guarantees: what is decided is saved before it is carried out; every task ends within 5 s of a signal;
//! nothing in memory is authoritative. Assumes that no other daemon uses the same state folder (a lock sees
//! to it) or, in the same clusters, the same instance name (the ledgers see to it). IO: all of it.
#![allow(clippy::disallowed_methods, reason = "this room owns the clock")]

mod clock;
mod dependencies;
mod effects;
mod emergency;
mod engine;
mod fleets;
mod forge;
mod hooks;
pub mod library;
mod logging;
mod orders;
mod pace;
pub mod plans;
mod pulls;
mod questions;
pub mod reader;
mod releases;
mod settings;
mod signals;
mod source;
mod teller;
mod view;
mod workers;

#[cfg(test)]
mod findings_tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use logging::{Format as LogLines, init as log_lines, init_file as log_to_file};
pub use pulls::{CHECK_COMMAND, answer_check};
pub use settings::{Settings, SettingsError};
pub use signals::cancel_on_signal;

use crate::forge::ForgeError;
use crate::repo::{Mirror, RefEvent, RepoError};
use crate::server::{Metrics, Publisher, RepositoryView, Server, ServerError, StatusView};
use crate::simulated::SimConnector;
use crate::store::{self, FleetRecord, Store, StoreError};
pub(crate) use fairlead_cluster::text::chain;
use fairlead_cluster::{Brake, Connector, FirstOf, KubeconfigFolder, RequestObserver};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::SourceName;
use fairlead_core::release::LayerCache;
use fairlead_core::release::render::{DiskCache, DiskError};
use fairlead_sim::{Clock, SimSettings};

use emergency::Emergency;
use engine::{Engine, Inputs, Parts};
use fleets::Fleets;
use forge::{Forge, Outlet, Said};
use library::Library;
use questions::Asked;
use reader::Reader;
use releases::Releases;
use settings::ClusterSource;
use source::{Kick, Observation};
use workers::Workers;

/// Facts that may wait for the engine before workers wait for it.
const FACTS: usize = 4096;
/// Bytes of rendered layers on disk, beside those of assigned and base releases.
const CACHE: u64 = 1 << 30;
/// How long tasks may take to end after a signal.
const STOP_WITHIN: Duration = Duration::from_millis(4500);

/// Why the daemon can't start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("the state folder {path} can't be used")]
    StateFolder { path: std::path::PathBuf, source: std::io::Error },
    #[error("the store can't be used")]
    Store(#[from] StoreError),
    #[error("the repository can't be followed")]
    Repository(#[from] RepoError),
    #[error("the cache of releases can't be used")]
    Cache(#[from] DiskError),
    #[error("the server can't start")]
    Server(#[from] ServerError),
    #[error("the forge can't be used")]
    Forge(#[from] ForgeError),
    #[error("signals can't be handled")]
    Signals(#[source] std::io::Error),
    #[error("the {task} ended by itself; what it knew is safe, start the daemon again")]
    TaskEnded { task: &'static str, source: Option<tokio::task::JoinError> },
}

/// Follows the repository until SIGTERM or SIGINT.
pub async fn run(settings: Settings) -> Result<(), DaemonError> {
    fairlead_private::keep_to_ourselves();
    let cancel = CancellationToken::new();
    cancel_on_signal(cancel.clone()).map_err(DaemonError::Signals)?;
    let Some(fleet) = simulated(&settings) else { return follow(settings, None, cancel).await };
    let clusters = fleet.clone();
    let simulation: Simulation =
        Box::new(|observer| Box::new(SimConnector::new(clusters).observed(observer)));
    let driver = tokio::spawn(async move { fleet.drive().await });
    let ended = follow(settings, Some(simulation), cancel).await;
    driver.abort();
    ended
}

/// The simulated clusters that the settings ask for.
fn simulated(settings: &Settings) -> Option<fairlead_sim::Fleet> {
    let asked = settings.clusters.iter().find_map(|source| match source {
        ClusterSource::Simulated(asked) => Some(asked),
        _ => None,
    })?;
    let behaviour = SimSettings { ready_after: asked.ready_after.get(), ..SimSettings::default() };
    Some(fairlead_sim::Fleet::new(behaviour, Clock::given(Timestamp::now)))
}

/// Makes the clusters behind the source `simulated`; its observer hears of every request.
pub type Simulation = Box<dyn FnOnce(RequestObserver) -> Box<dyn Connector> + Send>;

/// Follows the repository until cancelled, for a program around the daemon, which may bring simulated clusters
/// of its own.
pub async fn follow(
    settings: Settings,
    simulation: Option<Simulation>,
    cancel: CancellationToken,
) -> Result<(), DaemonError> {
    let store = open_store(&settings.state)?;
    let saved = Saved::read(&store, &settings)?;
    let (store, writer) = store.spawn()?;
    let wired = Wired::new(&settings, simulation, store, saved, &cancel).await?;
    let ended = wired.run(&settings, &cancel).await;
    let stopped = tokio::task::spawn_blocking(|| writer.stop()).await;
    if let Err(error) = stopped {
        tracing::error!(%error, "the store's writer did not end in order");
    }
    info!("stopped");
    ended
}

/// What is to run, with what goes between.
struct Wired {
    server: Server,
    engine: Engine,
    inputs: Inputs,
    emergency: Arc<Emergency>,
    mirror: Mirror,
    kick: Kick,
    observed: mpsc::Sender<(Observation, Duration)>,
    outlet: Outlet,
}

impl Wired {
    async fn new(
        settings: &Settings,
        simulation: Option<Simulation>,
        store: store::Handle,
        saved: Saved,
        cancel: &CancellationToken,
    ) -> Result<Self, DaemonError> {
        let mirror = Mirror::open(&settings.mirror()?, &settings.state.join("mirror.git"))?;
        let (library, releases) = content(settings, &mirror)?;
        let (url, branch) = (settings.repository.url.clone(), settings.repository.branch.clone());
        let repository = RepositoryView { url, branch, ..RepositoryView::default() };
        let empty = StatusView::empty(settings.instance.clone(), repository.clone());
        let (publisher, views) = Publisher::new(empty);
        let metrics = Arc::new(Metrics::new(views.clone()));
        let (facts, facts_in) = mpsc::channel(FACTS);
        let (observed, observations) = mpsc::channel(1);
        let (orders, orders_in) = mpsc::channel(64);
        let (read, readings) = mpsc::channel(1);
        let (ask, questions_in) = mpsc::channel(64);
        let kick = Kick::default();
        let forge = Forge::open(settings, saved.said, &store, &kick, &views, &metrics, mirror.history())?;

        let brake = Brake::default();
        let emergency = Arc::new(Emergency::open(&settings.state, brake.clone()));
        let connector = connector(settings, simulation, &metrics);
        let (instance, stop) = (settings.instance.clone(), cancel.child_token());
        let workers = Workers::new(instance, connector, releases.clone(), facts, brake, stop);
        let (instance, handles) = (&settings.instance, workers.handles());
        let asked =
            Asked::new(instance, library.clone(), store.clone(), handles, views.clone(), forge.desk, ask);
        let engine = Engine::new(Parts {
            fleets: Fleets::restore(saved.fleets),
            workers,
            kick: kick.clone(),
            store,
            reader: Arc::new(Reader::new(library, settings.repository.allow_rewrite)),
            releases,
            readings: read,
            read_timeout: settings.repository.read_timeout.get(),
            publisher,
            metrics: metrics.clone(),
            emergency: emergency.clone(),
            teller: forge.teller,
            repository,
            accepted: saved.accepted,
            remembered: saved.remembered,
        });
        let (questions, stop, webhooks) = (Arc::new(asked), emergency.clone(), forge.webhooks);
        let parts = crate::server::Parts { views, orders, questions, emergency: stop, metrics, webhooks };
        let server = Server::bind(settings.server_settings(), parts).await?;
        let stops = emergency.watch();
        let inputs = Inputs {
            observations,
            facts: facts_in,
            orders: orders_in,
            readings,
            stops,
            questions: questions_in,
        };
        Ok(Self { server, engine, inputs, emergency, mirror, kick, observed, outlet: forge.outlet })
    }

    /// Until cancelled, or until something ends that should not.
    async fn run(self, settings: &Settings, cancel: &CancellationToken) -> Result<(), DaemonError> {
        if let Some(address) = self.server.address() {
            info!(%address, socket = %settings.socket().display(), "fairlead {} is up", env!("CARGO_PKG_VERSION"));
        }
        let (local, poll) = (settings.local_repository(), settings.repository.poll.get());
        let Self { kick, mirror, observed, .. } = self;
        let mut tasks = Tasks::default();
        tasks.spawn("server", self.server.run(cancel.clone()));
        tasks.spawn("engine", self.engine.run(self.inputs, cancel.clone()));
        tasks.spawn("emergency stop", self.emergency.follow(cancel.clone()));
        tasks.spawn("watch on the repository", watch_refs(local, kick.clone(), cancel.clone()));
        tasks.spawn("fetching", source::follow(mirror, poll, kick, observed, cancel.clone()));
        self.outlet.start(&mut tasks, cancel);
        tasks.finish(cancel).await
    }
}

/// Opens the store, in a state folder that it makes if need be.
fn open_store(state: &std::path::Path) -> Result<Store, DaemonError> {
    fairlead_private::state_folder(state)
        .map_err(|source| DaemonError::StateFolder { path: state.to_owned(), source })?;
    let store = Store::open(state, Timestamp::now())?;
    if let Some(aside) = store.moved_aside() {
        warn!(file = %aside.display(), "the store was damaged and is set aside; accepted commits come from the ledgers");
    }
    Ok(store)
}

/// What is read in the mirror, and the releases that are made of it.
fn content(settings: &Settings, mirror: &Mirror) -> Result<(Arc<Library>, Arc<Releases>), DaemonError> {
    let disk = DiskCache::open(settings.state.join("cache"), CACHE)?;
    let layers = LayerCache::new(Some(Box::new(disk.clone())));
    let library = Arc::new(Library::new(Some(mirror.history()), settings.repository.folders.clone(), layers));
    let releases = Arc::new(Releases::new(library.clone(), disk));
    Ok((library, releases))
}

/// What the last run left behind.
struct Saved {
    fleets: Vec<FleetRecord>,
    accepted: Option<CommitId>,
    remembered: BTreeMap<String, CommitId>,
    said: Said,
}

impl Saved {
    fn read(store: &Store, settings: &Settings) -> Result<Self, StoreError> {
        let records = store.records();
        let ours = |source: &SourceName| *source == SourceName::control();
        let mut heads = records.heads()?.into_iter();
        let head = heads.find(|head| ours(&head.source) && head.branch == settings.repository.branch);
        let tags = records.tags()?.into_iter().filter(|tag| ours(&tag.source));
        Ok(Self {
            fleets: records.fleets()?,
            accepted: head.and_then(|head| head.accepted),
            remembered: tags.map(|tag| (tag.name, tag.commit)).collect(),
            said: Said::read(store)?,
        })
    }
}

/// What runs until a signal.
#[derive(Default)]
struct Tasks {
    running: JoinSet<()>,
    names: BTreeMap<tokio::task::Id, &'static str>,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits for a signal, or for the end of a task, which ends all and is an error: nobody told it to. Then for the
    /// rest, but not for ever.
    async fn finish(mut self, cancel: &CancellationToken) -> Result<(), DaemonError> {
        let first = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            ended = self.running.join_next_with_id() => ended,
        };
        let result = match first {
            Some(ended) if !cancel.is_cancelled() => {
                let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
                let task = self.names.get(&id).copied().unwrap_or("task");
                Err(DaemonError::TaskEnded { task, source: ended.err() })
            }
            _ => Ok(()),
        };
        cancel.cancel();
        let all = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, all).await.is_err() {
            warn!("some tasks did not end in time; they are cut off, and resume from the ledgers");
        }
        result
    }
}

fn connector(
    settings: &Settings,
    mut simulation: Option<Simulation>,
    metrics: &Arc<Metrics>,
) -> Arc<dyn Connector> {
    let metrics = metrics.clone();
    let observer: RequestObserver = Arc::new(move |verb, status| metrics.api_request(verb, status));
    let sources = settings.clusters.iter().filter_map(|source| match source {
        ClusterSource::Kubeconfigs(folder) => {
            let folder = KubeconfigFolder::new(&folder.directory, folder.trusted).observed(observer.clone());
            Some(Box::new(folder) as Box<dyn Connector>)
        }
        ClusterSource::Simulated(_) => Some(simulation.take()?(observer.clone())),
        // Refused when the settings are read.
        ClusterSource::Secrets(_) => None,
    });
    Arc::new(FirstOf(sources.collect()))
}

/// Fetches at once when a local repository's refs change. Where that can't be watched, polling does.
async fn watch_refs(repository: Option<std::path::PathBuf>, kick: Kick, cancel: CancellationToken) {
    let Some(repository) = repository else { return cancel.cancelled().await };
    let watched = crate::repo::watch_local(&repository, move |event| match event {
        RefEvent::Changed => kick.now(),
        RefEvent::Lost(reason) => warn!(reason, "changes of the repository may be missed; it is polled"),
    });
    let watch = match watched {
        Ok(watch) => watch,
        Err(error) => {
            warn!(error = chain(&error), "the repository's folder can't be watched; it is polled");
            return cancel.cancelled().await;
        }
    };
    cancel.cancelled().await;
    drop(watch);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(first: impl Future<Output = ()> + Send + 'static, cancel: &CancellationToken) -> Tasks {
        let (mut tasks, cancel) = (Tasks::default(), cancel.clone());
        tasks.spawn("fetching", first);
        tasks.spawn("engine", async move { cancel.cancelled().await });
        tasks
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_ends_the_daemon_with_an_error() {
        let cancel = CancellationToken::new();
        let panics = async { panic!("a fault") };
        let error = tasks(panics, &cancel).finish(&cancel).await.unwrap_err();
        assert!(chain(&error).starts_with("the fetching ended by itself"), "{}", chain(&error));
        assert!(cancel.is_cancelled(), "the others were told to stop");

        let cancel = CancellationToken::new();
        assert!(tasks(async {}, &cancel).finish(&cancel).await.is_err(), "without a panic too");

        let cancel = CancellationToken::new();
        let told = cancel.clone();
        let ends = async move { told.cancelled().await };
        let running = tasks(ends, &cancel);
        cancel.cancel();
        assert!(running.finish(&cancel).await.is_ok(), "a signal is no fault");
    }
}

//! The simulated clusters, in this process, as clients reach real ones; and what they were asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_sim::faults::{self, Faults, Verb};
use fairlead_sim::serve::Served;
use fairlead_sim::{Clock, Fleet, SimSettings};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{Context, Error, Result};

const LEDGERS: &str = "/namespaces/fairlead-system/";
/// No simulated latency, but pods are not ready at once.
const READY_AFTER: Duration = Duration::from_millis(50);

pub struct Simulation {
    pub kubeconfigs: TempDir,
    fleet: Fleet,
    faults: BTreeMap<String, Faults>,
    asked: Arc<Mutex<Asked>>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// What was asked since it was last forgotten.
#[derive(Default, Clone)]
pub struct Asked {
    pub verbs: BTreeMap<Verb, usize>,
    /// Requests that were refused.
    pub refused: usize,
    pub clusters: BTreeMap<String, OfCluster>,
}

#[derive(Default, Clone)]
pub struct OfCluster {
    pub applies: usize,
    /// When ledger writes were answered.
    pub ledger: Vec<Instant>,
    /// All else, but for watches: they end by themselves and are opened anew.
    pub others: usize,
}

impl Asked {
    fn note(&mut self, cluster: &str, verb: Verb, path: &str, status: StatusCode) {
        *self.verbs.entry(verb).or_default() += 1;
        self.refused += usize::from(!status.is_success());
        if !self.clusters.contains_key(cluster) {
            self.clusters.insert(cluster.to_owned(), OfCluster::default());
        }
        let Some(of) = self.clusters.get_mut(cluster) else { return };
        match verb {
            Verb::Create | Verb::Update if path.contains(LEDGERS) => of.ledger.push(Instant::now()),
            Verb::Apply => of.applies += 1,
            Verb::Watch => {}
            _ => of.others += 1,
        }
    }

    pub fn of(&self, verb: Verb) -> usize {
        self.verbs.get(&verb).copied().unwrap_or_default()
    }

    /// All but watches, which end by themselves and are opened anew.
    pub fn requests(&self) -> usize {
        self.verbs.iter().filter(|(verb, _)| **verb != Verb::Watch).map(|(_, count)| count).sum()
    }
}

impl Simulation {
    pub async fn start(names: &[String]) -> Result<Self> {
        let settings = SimSettings { ready_after: READY_AFTER, ..SimSettings::default() };
        let fleet = Fleet::new(settings, Clock::given(Timestamp::now));
        let kubeconfigs = tempfile::tempdir()?;
        let place = (([127, 0, 0, 1], 0).into(), kubeconfigs.path());
        let served = Served::start(fleet.clone(), names, &[], 0, place).await?;
        let faults = names.iter().filter_map(|name| Some((name.clone(), served.faults(name)?))).collect();
        let asked: Arc<Mutex<Asked>> = Arc::default();
        let noted = Arc::clone(&asked);
        let served = served.tapped(Arc::new(move |cluster, request, status| {
            let request = faults::Asked::of(request);
            lock(&noted).note(cluster, request.verb, &request.path, status);
        }));
        let cancel = CancellationToken::new();
        let task = tokio::spawn(served.run(cancel.clone()));
        Ok(Self { kubeconfigs, fleet, faults, asked, cancel, task })
    }

    pub fn faults(&self, name: &str) -> Result<&Faults> {
        self.faults.get(name).ok_or_else(|| Error::new(format!("there is no cluster {name}")))
    }

    pub fn forget_asked(&self) {
        *lock(&self.asked) = Asked::default();
    }

    pub fn asked(&self) -> Asked {
        lock(&self.asked).clone()
    }

    /// How many of these clusters had so many ledger writes.
    pub fn wrote(&self, names: &[String], writes: usize) -> usize {
        let asked = lock(&self.asked);
        let has = |name: &&String| asked.clusters.get(*name).is_some_and(|of| of.ledger.len() >= writes);
        names.iter().filter(has).count()
    }

    /// An object as a cluster has it.
    pub async fn object(&self, cluster: &str, path: &str) -> Result<Value> {
        let request = Request::get(path).header(http::header::ACCEPT, "application/json");
        let answer = self.fleet.cluster(cluster).handle(request.body(Bytes::new())?);
        let body = answer.into_body().collect().await.context("reading an object")?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        // It has nothing to say.
        let _ = self.task.await;
    }
}

fn lock(asked: &Mutex<Asked>) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

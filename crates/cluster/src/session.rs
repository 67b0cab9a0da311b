//! A cluster that answers: what all fleets on it share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::mpsc;

use super::api::{Api, Call, MAX_PAGE, METADATA_LIST, most_of};
use super::causes::Doubt;
use super::connect::Connector;
use super::discovery::{Discovery, escape};
use super::error::ApiError;
use super::ledger::{LedgerDamage, LedgerStore, Stored, set_id};
use super::orders::{ReleaseSource, WorkerSettings};
use super::text::chain;
use fairlead_core::model::assignment::{Fact, FactBody};
use fairlead_core::model::name::{FleetName, TargetName};
use fairlead_core::model::object::{GroupKind, ObjectKey};
use fairlead_core::plan::{Origin, Sibling};

/// Ledgers by the name of their fleet; one that can't be read as its damage.
pub type Ledgers = BTreeMap<String, Result<Stored, LedgerDamage>>;

/// Most definitions of one group that are looked at.
const MAX_CRDS_OF_A_GROUP: usize = 1_000;

/// Why there is no session, or why it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The cluster does not answer, or not as it should.
    Offline(String),
    /// Our credentials are not accepted any more.
    Unauthorized,
}

/// What all fleets on a connected cluster share.
pub struct Session {
    pub settings: Arc<WorkerSettings>,
    pub api: Api,
    pub store: LedgerStore,
    pub source: Arc<dyn ReleaseSource>,
    /// Uid of the namespace `kube-system`.
    pub identity: String,
    facts: mpsc::Sender<Fact>,
    discovery: tokio::sync::Mutex<Option<Arc<Discovery>>>,
    siblings: Mutex<BTreeMap<FleetName, Sibling>>,
    /// What is not healthy of each fleet.
    doubts: Mutex<BTreeMap<FleetName, Vec<Doubt>>>,
    /// The newest order of each fleet that is planned, or can't be.
    settled: Mutex<BTreeMap<FleetName, u64>>,
    /// A ledger of this cluster names another target.
    also: Mutex<Option<TargetName>>,
}

impl Session {
    /// Connects, reads the cluster's identity and, in one list, all ledgers of this instance.
    pub async fn open(
        settings: Arc<WorkerSettings>,
        connector: &dyn Connector,
        source: Arc<dyn ReleaseSource>,
        facts: mpsc::Sender<Fact>,
    ) -> Result<(Self, Ledgers), Lost> {
        let client =
            connector.connect(&settings.target).await.map_err(|error| Lost::Offline(chain(&error)))?;
        let api = Api::new(client, &settings.user_agent(), settings.brake.clone(), settings.memory.share());
        let store = LedgerStore::new(api.clone(), settings.instance.clone());
        let (identity, ledgers) = futures::future::try_join(read_identity(&api), store.list())
            .await
            .map_err(|error| lost(&error))?;
        let session = Self {
            settings,
            api,
            store,
            source,
            identity,
            facts,
            discovery: tokio::sync::Mutex::default(),
            siblings: Mutex::default(),
            doubts: Mutex::default(),
            settled: Mutex::default(),
            also: Mutex::default(),
        };
        session.note_names(&ledgers);
        for stored in ledgers.values().flatten() {
            session.set_sibling(stored, BTreeSet::new());
        }
        Ok((session, ledgers))
    }

    /// All ledgers as they are now.
    pub async fn read_ledgers(&self) -> Result<Ledgers, ApiError> {
        let ledgers = self.store.list().await?;
        self.note_names(&ledgers);
        Ok(ledgers)
    }

    /// Looks whether the cluster is known under another name too. One that was left says nothing any more.
    fn note_names(&self, ledgers: &Ledgers) {
        let stored = ledgers.values().flatten().map(|stored| &stored.ledger);
        let other = stored.filter(|l| !l.orphaned && l.identity == self.identity).map(|l| &l.target);
        let other = other.filter(|target| **target != self.settings.target).min().cloned();
        *self.also.lock().unwrap_or_else(PoisonError::into_inner) = other;
    }

    /// Another target that is this cluster too.
    pub fn also(&self) -> Option<TargetName> {
        self.also.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what is not healthy of a fleet, for whoever asks why.
    pub fn set_doubts(&self, fleet: &FleetName, doubts: Vec<Doubt>) {
        let mut all = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        if doubts.is_empty() {
            all.remove(fleet);
        } else {
            all.insert(fleet.clone(), doubts);
        }
    }

    pub fn doubts(&self, fleet: &FleetName) -> Vec<Doubt> {
        let all = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(fleet).cloned().unwrap_or_default()
    }

    /// Says that what an order of a fleet wants is known, as far as it can be.
    pub fn settle(&self, fleet: &FleetName, generation: u64) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(fleet.clone(), generation);
    }

    /// Whether what an order of a fleet wants is known.
    pub fn is_settled(&self, fleet: &FleetName, generation: u64) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(fleet).is_some_and(|settled| *settled >= generation)
    }

    /// Tells the daemon. A daemon that has gone takes no more facts.
    pub async fn say(&self, fleet: &FleetName, body: FactBody) {
        let fact = Fact { target: self.settings.target.clone(), fleet: fleet.clone(), body };
        let _ = self.facts.send(fact).await;
    }

    /// The kinds of the cluster, as last read.
    pub async fn discovery(&self) -> Result<Arc<Discovery>, ApiError> {
        let mut cached = self.discovery.lock().await;
        if let Some(found) = &*cached {
            return Ok(Arc::clone(found));
        }
        let found = Discovery::read(&self.api, &self.settings.discoveries).await?;
        *cached = Some(Arc::clone(&found));
        Ok(found)
    }

    /// Reads the kinds anew, unless someone did since `old` was read.
    pub async fn rediscover(&self, old: &Arc<Discovery>) -> Result<Arc<Discovery>, ApiError> {
        let mut cached = self.discovery.lock().await;
        match &*cached {
            Some(found) if !Arc::ptr_eq(found, old) => Ok(Arc::clone(found)),
            _ => {
                let found = Discovery::read(&self.api, &self.settings.discoveries).await?;
                *cached = Some(Arc::clone(&found));
                Ok(found)
            }
        }
    }

    /// Whether a kind that discovery does not name may be served all the same: discovery is told of kinds a moment
    /// later, at the start of a server too. What can't be read is not known.
    pub async fn may_still_be_served(&self, kind: &GroupKind) -> bool {
        const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let ending = format!(".{}", kind.group);
        let mut names = Vec::new();
        let take = |item: Value| {
            let name = item["metadata"]["name"].as_str().filter(|name| name.ends_with(&ending));
            let stays = item["metadata"]["deletionTimestamp"].is_null();
            names.extend(name.filter(|_| stays).map(str::to_owned));
            names.len() <= MAX_CRDS_OF_A_GROUP
        };
        match self.api.list(CRDS, METADATA_LIST, most_of(0), take).await {
            Ok(_) => {}
            Err(ApiError::Status(status)) if matches!(status.code, 403 | 404) => return false,
            Err(_) => return true,
        }
        for name in names {
            let crd = self.api.json(Call::get(format!("{CRDS}/{}", escape(&name))).most(MAX_PAGE)).await;
            let other = |crd: &Value| {
                let versions = crd["spec"]["versions"].as_array().into_iter().flatten();
                crd["spec"]["names"]["kind"] != kind.kind.as_str()
                    || !versions.into_iter().any(|version| version["served"] == true)
            };
            if !crd.as_ref().is_ok_and(other) && !crd.is_err_and(|error| error.is_gone()) {
                return true;
            }
        }
        false
    }

    /// Says what a fleet has here and what its release wants, for the others to see.
    pub fn set_sibling(&self, stored: &Stored, mut wants: BTreeSet<ObjectKey>) {
        let ledger = &stored.ledger;
        let objects = &ledger.inventory.objects;
        let adopted = objects.iter().filter(|(_, entry)| entry.origin == Origin::Adopted);
        let adopted = adopted.map(|(key, _)| key.clone()).collect();
        wants.extend(objects.keys().cloned());
        let sibling = Sibling { fleet: ledger.fleet.clone(), wants, adopted, left: ledger.orphaned };
        self.lock().insert(ledger.fleet.clone(), sibling);
    }

    /// The other fleets here, by their sets' ids.
    pub fn siblings_of(&self, fleet: &FleetName) -> BTreeMap<Arc<str>, Sibling> {
        let id = |other: &FleetName| Arc::from(set_id(&self.settings.instance, other));
        let siblings = self.lock();
        siblings.iter().filter(|(other, _)| *other != fleet).map(|(f, s)| (id(f), s.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<FleetName, Sibling>> {
        self.siblings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read_identity(api: &Api) -> Result<String, ApiError> {
    let namespace = api.json(Call::get("/api/v1/namespaces/kube-system")).await?;
    Ok(namespace["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

pub fn lost(error: &ApiError) -> Lost {
    if error.is_unauthorized() { Lost::Unauthorized } else { Lost::Offline(chain(error)) }
}

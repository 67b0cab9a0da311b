//! Fleets of simulated clusters, and what each consists of.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use super::answer;
use super::ask::Ask;
use super::body::Body;
use super::clock::{Clock, Due, Timers};
use super::control;
use super::crd::CustomKinds;
use super::kind::{Kind, all_built_in};
use super::object::{Key, Shared, time_text, uid_text};
use super::store::Store;
use super::watch::Watchers;

/// How simulated clusters behave.
#[derive(Debug, Clone)]
pub struct SimSettings {
    /// Whether workloads progress, namespaces end and dependents are collected. CRDs are served either way: in a real
    /// cluster that is the API server's own work.
    pub controllers: bool,
    /// From a workload's change until its pods are ready.
    pub ready_after: Duration,
    /// Nodes of each cluster.
    pub nodes: usize,
    /// Uids and generated names come from it and the cluster's name.
    pub seed: u64,
    /// Events that are kept for watches.
    pub log_limit: usize,
    /// How long they are kept.
    pub log_for: Duration,
    /// What `/version` says.
    pub version: String,
}

impl Default for SimSettings {
    fn default() -> Self {
        Self {
            controllers: true,
            ready_after: Duration::from_secs(2),
            nodes: 1,
            seed: 0,
            log_limit: 4_096,
            log_for: Duration::from_secs(300),
            version: "v1.37.2".to_owned(),
        }
    }
}

/// What all clusters of a fleet share.
pub(super) struct Common {
    pub settings: SimSettings,
    pub timers: Timers,
    pub bytes: Arc<Shared>,
    pub customs: CustomKinds,
}

/// Many simulated clusters with one clock.
#[derive(Clone)]
pub struct Fleet {
    common: Arc<Common>,
    clusters: Arc<Mutex<BTreeMap<String, Cluster>>>,
}

impl Fleet {
    pub fn new(settings: SimSettings, clock: Clock) -> Self {
        let common = Common {
            settings,
            timers: Timers::new(clock),
            bytes: Arc::default(),
            customs: CustomKinds::default(),
        };
        Self { common: Arc::new(common), clusters: Arc::default() }
    }

    /// The cluster of that name; made if there is none.
    pub fn cluster(&self, name: &str) -> Cluster {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = clusters.get(name) {
            return cluster.clone();
        }
        let cluster = Cluster::new(name, &self.common);
        clusters.insert(name.to_owned(), cluster.clone());
        cluster
    }

    pub fn names(&self) -> Vec<String> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub fn clock(&self) -> &Clock {
        &self.common.timers.clock
    }

    /// Moves a manual clock, and does what is due on the way, in order.
    pub fn advance(&self, by: Duration) {
        self.common.timers.advance(by);
    }

    /// Does what is due as time goes on. One of these is enough for all clusters.
    pub async fn drive(&self) {
        self.common.timers.drive().await;
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("settings", &self.common.settings).finish_non_exhaustive()
    }
}

/// One simulated cluster; clones are the same one.
#[derive(Clone)]
pub struct Cluster(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub name: String,
    pub common: Arc<Common>,
    state: Mutex<State>,
    me: Weak<Inner>,
}

/// What changes.
pub(super) struct State {
    pub store: Store,
    pub watchers: Watchers,
    /// Kinds of CRDs that are established, by resource.
    pub customs: BTreeMap<Arc<str>, Arc<Kind>>,
    pub work: control::Work,
    rng: fastrand::Rng,
    addresses: u32,
}

impl Cluster {
    fn new(name: &str, common: &Arc<Common>) -> Self {
        let mut hasher = DefaultHasher::new();
        (common.settings.seed, name).hash(&mut hasher);
        let store = Store::new(common.settings.log_limit, Arc::clone(&common.bytes));
        let state = State {
            store,
            watchers: Watchers::default(),
            customs: BTreeMap::new(),
            work: control::Work::default(),
            rng: fastrand::Rng::with_seed(hasher.finish()),
            addresses: 1,
        };
        let inner = Arc::new_cyclic(|me| Inner {
            name: name.to_owned(),
            common: Arc::clone(common),
            state: Mutex::new(state),
            me: me.clone(),
        });
        control::furnish(&inner, &mut inner.lock());
        Self(inner)
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Answers a request, at once.
    pub fn handle(&self, request: Request<Bytes>) -> Response<Body> {
        answer::answer(&self.0, &Ask::read(request))
    }

    /// Forgets all events, so that a watch from before must list anew.
    pub fn compact(&self) {
        let mut state = self.0.lock();
        state.store.tick();
        state.store.forget();
        state.watchers.wake_all();
    }

    /// Ends all watches without a word.
    pub fn close_watches(&self) {
        self.0.lock().watchers.close();
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cluster").field(&self.0.name).finish()
    }
}

impl tower::Service<Request<Bytes>> for Cluster {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        std::future::ready(Ok(self.handle(request)))
    }
}

impl Inner {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    pub fn settings(&self) -> &SimSettings {
        &self.common.settings
    }

    pub fn now_millis(&self) -> i64 {
        self.common.timers.clock.millis()
    }

    /// The time as objects have it.
    pub fn now_text(&self) -> String {
        time_text(self.now_millis().div_euclid(1_000))
    }

    pub fn later(&self, after: Duration, due: Due) {
        self.common.timers.add(after, self.weak(), due);
    }

    /// Does what is due.
    pub fn fire(&self, due: Due) {
        let mut state = self.lock();
        match due {
            Due::Controller { resource, key } => control::look(self, &mut state, &resource, &key),
            Due::Watch(number) => state.watchers.wake(number),
            Due::Compact => {
                let keep = i64::try_from(self.settings().log_for.as_millis()).unwrap_or(i64::MAX);
                if state.store.compact(self.now_millis() - keep) {
                    self.later(self.settings().log_for, Due::Compact);
                }
            }
        }
    }

    /// Writes an object and tells who needs to know. The value is complete but for its resourceVersion.
    pub fn put(&self, state: &mut State, kind: &Arc<Kind>, value: Value) -> Value {
        self.will_compact(state);
        let mut value = value;
        let new = state.store.put(&kind.resource, value.clone(), self.now_millis());
        value["metadata"]["resourceVersion"] = json!(new.version.to_string());
        state.watchers.tell(&kind.resource);
        control::changed(self, state, kind, &value);
        value
    }

    /// Removes an object; returns it as it was last.
    pub fn remove(&self, state: &mut State, kind: &Arc<Kind>, key: &Key) -> Option<Value> {
        self.will_compact(state);
        let last = state.store.remove(&kind.resource, key, self.now_millis())?;
        state.watchers.tell(&kind.resource);
        let value = last.value();
        control::removed(self, state, kind, &value);
        Some(value)
    }

    fn will_compact(&self, state: &State) {
        if !state.store.has_events() {
            self.later(self.settings().log_for, Due::Compact);
        }
    }
}

impl State {
    /// A kind by the place of its objects, as long as it is served.
    pub fn kind(&self, group: &str, plural: &str) -> Option<Arc<Kind>> {
        let of_place = |kind: &&Arc<Kind>| *kind.group == *group && *kind.plural == *plural;
        all_built_in().iter().find(of_place).or_else(|| self.customs.values().find(of_place)).cloned()
    }

    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        all_built_in().iter().chain(self.customs.values())
    }

    pub fn by_resource(&self, resource: &str) -> Option<Arc<Kind>> {
        self.kinds().find(|kind| *kind.resource == *resource).cloned()
    }

    pub fn new_uid(&mut self) -> String {
        // A random UUID has its version and variant in it.
        let random = self.rng.u128(..) & !(0xf << 76) & !(0x3 << 62);
        uid_text(random | (0x4 << 76) | (0x2 << 62))
    }

    /// What is added to a `generateName`.
    pub fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5).map(|_| char::from(LETTERS[self.rng.usize(..LETTERS.len())])).collect()
    }

    /// The next address of a service.
    pub fn address(&mut self) -> String {
        self.addresses += 1;
        let [_, b, c, d] = self.addresses.to_be_bytes();
        format!("10.{b}.{c}.{d}")
    }

    /// A namespace, if it is there.
    pub fn namespace(&self, name: &str) -> Option<Value> {
        self.store.get("namespaces", &Key::new("", name)).map(|object| object.value())
    }
}

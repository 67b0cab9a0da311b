//! The simulated clusters, served to a daemon in another process; hands on them; and a watch over what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_sim::faults::Faults;
use fairlead_sim::serve::Served;
use fairlead_sim::{Clock, Cluster, Fleet, SimSettings};
use futures::FutureExt as _;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::content::{Objects, essence};
use super::tap::Notes;

/// On everything that is ours.
const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// Where our objects are, and where foreign ones are put.
const LISTS: [&str; 4] = [
    "/api/v1/namespaces/infra/configmaps",
    "/api/v1/namespaces/shop/configmaps",
    "/apis/apps/v1/namespaces/shop/deployments",
    "/api/v1/namespaces",
];

pub struct Stage {
    fleet: Fleet,
    faults: BTreeMap<String, Faults>,
    notes: Arc<Mutex<Notes>>,
    /// How far the clusters' clock is from ours, in seconds.
    ahead: Arc<AtomicI64>,
    /// Objects of somebody else, whole, by cluster and path.
    foreign: BTreeMap<(String, String), Value>,
    cancel: CancellationToken,
    runtime: Option<Runtime>,
}

/// What is in a cluster.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub ours: Objects,
    /// Without our label, whole.
    pub others: Objects,
}

impl Stage {
    pub fn start(names: &[String], seed: u64, kubeconfigs: &Path) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ahead = Arc::new(AtomicI64::new(0));
        let offset = Arc::clone(&ahead);
        let now = move || {
            let (now, by) = (Timestamp::now(), SignedDuration::from_secs(offset.load(Ordering::SeqCst)));
            now.checked_add(by).unwrap_or(now)
        };
        let settings = SimSettings { ready_after: Duration::from_millis(80), seed, ..SimSettings::default() };
        let fleet = Fleet::new(settings, Clock::given(now));
        let notes = Arc::new(Mutex::new(Notes::default()));
        let (cancel, told) = (CancellationToken::new(), Arc::clone(&notes));
        let place = (([127, 0, 0, 1], 0).into(), kubeconfigs);
        let served = runtime.block_on(Served::start(fleet.clone(), names, &[], seed, place)).unwrap();
        let tap = move |cluster: &str, request: &Request<Bytes>, status: StatusCode| {
            lock(&told).hear(cluster, request, status);
        };
        let served = served.tapped(Arc::new(tap));
        let faults = names.iter().map(|name| (name.clone(), served.faults(name).unwrap())).collect();
        runtime.spawn(served.run(cancel.clone()));
        let runtime = Some(runtime);
        Self { fleet, faults, notes, ahead, foreign: BTreeMap::new(), cancel, runtime }
    }

    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.notes)
    }

    pub fn faults(&self, cluster: &str) -> &Faults {
        &self.faults[cluster]
    }

    /// Every fault ends, and dead clusters live again.
    pub fn calm(&self) {
        for faults in self.faults.values() {
            faults.clear();
            faults.set_dead(false);
        }
    }

    pub fn jump(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::SeqCst);
    }

    pub fn compact(&self, cluster: &str) {
        self.fleet.cluster(cluster).compact();
    }

    /// What is in the namespaces that we use.
    pub fn look(&self, cluster: &str) -> Found {
        let it = self.fleet.cluster(cluster);
        let mut found = Found::default();
        for list in LISTS {
            let (_, body) = ask(&it, Method::GET, list, None, "");
            for object in body["items"].as_array().into_iter().flatten() {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{list}/{name}");
                let labels = &object["metadata"]["labels"];
                if labels[PART_OF].is_string() {
                    found.ours.insert(path.clone(), essence(&path, object));
                } else if name != "kube-root-ca.crt" && list != "/api/v1/namespaces" {
                    found.others.insert(path, whole(object));
                }
            }
        }
        found
    }

    /// What others have in a cluster, as they wrote it.
    pub fn foreign(&self, cluster: &str) -> Objects {
        let of = self.foreign.iter().filter(|((name, _), _)| name == cluster);
        of.map(|((_, path), object)| (path.clone(), object.clone())).collect()
    }

    /// Somebody makes an object beside ours.
    pub fn settle_in(&mut self, cluster: &str, name: &str) -> bool {
        let it = self.fleet.cluster(cluster);
        let space = "/api/v1/namespaces/shop/configmaps";
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"by": "them"}});
        let (status, made) = ask(&it, Method::POST, space, Some(&map), "application/json");
        if status.is_success() {
            self.foreign.insert((cluster.to_owned(), format!("{space}/{name}")), whole(&made));
        }
        status.is_success()
    }

    /// Somebody changes one of our objects.
    pub fn meddle(&self, cluster: &str, path: &str, patch: &Value) -> bool {
        let uri = format!("{path}?fieldManager=somebody");
        let it = self.fleet.cluster(cluster);
        ask(&it, Method::PATCH, &uri, Some(patch), "application/merge-patch+json").0.is_success()
    }

    /// Somebody makes an object that a later commit has, with other values.
    pub fn claim(&mut self, cluster: &str, name: &str) -> bool {
        let space = "/api/v1/namespaces/shop/configmaps";
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": "theirs"}});
        let it = self.fleet.cluster(cluster);
        let uri = format!("{space}?fieldManager=somebody");
        let (status, made) = ask(&it, Method::POST, &uri, Some(&map), "application/json");
        if status.is_success() {
            self.foreign.insert((cluster.to_owned(), format!("{space}/{name}")), whole(&made));
        }
        status.is_success()
    }

    /// Another manager applies to an object, without force.
    pub fn apply_as(&self, cluster: &str, manager: &str, path: &str, object: &Value) -> bool {
        let uri = format!("{path}?fieldManager={manager}");
        let it = self.fleet.cluster(cluster);
        ask(&it, Method::PATCH, &uri, Some(object), "application/apply-patch+yaml").0.is_success()
    }

    /// What somebody made is not counted as theirs any more.
    pub fn forget_foreign(&mut self, cluster: &str, path: &str) {
        self.foreign.remove(&(cluster.to_owned(), path.to_owned()));
    }

    /// Somebody deletes one of our objects.
    pub fn delete(&self, cluster: &str, path: &str) -> bool {
        ask(&self.fleet.cluster(cluster), Method::DELETE, path, None, "").0.is_success()
    }

    /// Whether there is something at a path.
    pub fn has(&self, cluster: &str, path: &str) -> bool {
        ask(&self.fleet.cluster(cluster), Method::GET, path, None, "").0.is_success()
    }

    /// The ledgers' ConfigMaps of a cluster.
    pub fn ledgers(&self, cluster: &str) -> Vec<Value> {
        let it = self.fleet.cluster(cluster);
        let (_, body) = ask(&it, Method::GET, "/api/v1/namespaces/fairlead-system/configmaps", None, "");
        body["items"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// An object as lists have it, too.
fn whole(object: &Value) -> Value {
    json!({"metadata": object["metadata"], "data": object["data"]})
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks a cluster directly, past its faults.
fn ask(
    cluster: &Cluster,
    method: Method,
    uri: &str,
    body: Option<&Value>,
    kind: &str,
) -> (StatusCode, Value) {
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let request = Request::builder().method(method).uri(uri);
    let request = if kind.is_empty() { request } else { request.header("content-type", kind) };
    let answer = cluster.handle(request.body(bytes).unwrap());
    let status = answer.status();
    // What is no watch is there at once.
    let body = answer.into_body().collect().now_or_never().and_then(Result::ok);
    let body = body.and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    (status, body.unwrap_or_default())
}

/// Waits until nothing was written for a while; whether that came in time.
pub fn quiet(stage: &Stage, for_so_long: Duration, within: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < within {
        let since = stage.notes().last_write.map(|at| at.elapsed());
        if since.is_none_or(|since| since >= for_so_long) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Names of clusters, as sets of them are printed.
pub fn list(names: &BTreeSet<String>) -> String {
    let short: Vec<&str> = names.iter().map(|name| name.trim_start_matches("edge-")).collect();
    if short.len() > 12 { format!("{} clusters", short.len()) } else { short.join(",") }
}

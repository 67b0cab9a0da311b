//! What the daemon may do to the clusters, checked at each request.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::Value;

use super::content::essence;

const SYSTEM: &str = "/api/v1/namespaces/fairlead-system";

/// What an object may be made, by path: one of these values; none: it may be deleted.
pub type May = BTreeMap<String, Vec<Option<Value>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Apply,
    Delete,
    Ledger,
    Other,
}

/// A write of the daemon that took effect.
#[derive(Debug, Clone)]
pub struct Write {
    pub at: Instant,
    pub cluster: String,
    pub kind: Kind,
    pub path: String,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Notes {
    pub writes: Vec<Write>,
    pub last_write: Option<Instant>,
    /// Rules that were broken.
    pub wrong: Vec<String>,
    /// By cluster.
    pub may: BTreeMap<String, May>,
    /// Jobs that may be applied once on each cluster, by their paths, and where they were.
    pub once: BTreeMap<String, BTreeSet<String>>,
    /// Clusters that were written to since somebody looked.
    pub changed: BTreeSet<String>,
    /// The highest generation of each ledger, by cluster and name.
    generations: BTreeMap<(String, String), u64>,
}

impl Notes {
    /// Hears of a request that reached a cluster, and what became of it.
    pub fn hear(&mut self, cluster: &str, request: &Request<Bytes>, status: StatusCode) {
        if *request.method() == Method::GET {
            return;
        }
        self.changed.insert(cluster.to_owned());
        let agent = request.headers().get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let ours = agent.is_some_and(|agent| agent.starts_with("fairlead/"));
        let dry = request.uri().query().is_some_and(|query| query.contains("dryRun"));
        if !ours || dry || !status.is_success() {
            return;
        }
        let path = request.uri().path().to_owned();
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let kind = match *request.method() {
            _ if path.starts_with(SYSTEM) || body["metadata"]["name"] == "fairlead-system" => Kind::Ledger,
            Method::DELETE => Kind::Delete,
            Method::PATCH => {
                let kind = request.headers().get(http::header::CONTENT_TYPE);
                let applies = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/apply"));
                if applies { Kind::Apply } else { Kind::Other }
            }
            _ => Kind::Other,
        };
        match kind {
            Kind::Ledger => self.ledger(cluster, request.method(), &path, &body),
            Kind::Delete => self.object(cluster, &path, "deletes", None),
            Kind::Apply => self.object(cluster, &path, "applies", Some(essence(&path, &body))),
            // Who owns which fields of an object of ours: what an adoption and a co-owner take.
            Kind::Other if is_about_managers(&body) && self.is_ours(cluster, &path) => {}
            Kind::Other => self.wrong.push(format!("{cluster}: {} {path} {body}", request.method())),
        }
        let at = Instant::now();
        self.last_write = Some(at);
        self.writes.push(Write { at, cluster: cluster.to_owned(), kind, path });
    }

    fn is_ours(&self, cluster: &str, path: &str) -> bool {
        let may = self.may.get(cluster).and_then(|may| may.get(path));
        may.is_some_and(|may| may.iter().any(Option::is_some))
    }

    fn object(&mut self, cluster: &str, path: &str, does: &str, value: Option<Value>) {
        if let Some(ran) = self.once.get_mut(path) {
            if value.is_some() && !ran.insert(cluster.to_owned()) {
                self.wrong.push(format!("{cluster}: {path} is done, and runs again"));
            }
            return;
        }
        let may = self.may.get(cluster).and_then(|may| may.get(path));
        if !may.is_some_and(|may| may.contains(&value)) {
            let value = value.map(|value| format!(" as {value}")).unwrap_or_default();
            let may: Vec<String> = may
                .into_iter()
                .flatten()
                .map(|one| one.as_ref().map_or("gone".to_owned(), ToString::to_string))
                .collect();
            self.wrong
                .push(format!("{cluster}: it {does} {path}{value}, which may be: {}", may.join(" or ")));
        }
    }

    /// Generations only grow.
    fn ledger(&mut self, cluster: &str, method: &Method, path: &str, body: &Value) {
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if *method == Method::DELETE {
            self.generations
                .remove(&(cluster.to_owned(), path.rsplit('/').next().unwrap_or(path).to_owned()));
            return;
        }
        let Some(ledger) = read_ledger(body) else { return };
        let generation = ledger["generation"].as_u64().unwrap_or_default();
        let known = self.generations.entry((cluster.to_owned(), name.clone())).or_default();
        if generation < *known {
            let was = *known;
            self.wrong
                .push(format!("{cluster}: the ledger {name} went from generation {was} to {generation}"));
        }
        *known = generation.max(*known);
    }
}

/// Whether a merge patch changes nothing but who owns which fields.
fn is_about_managers(patch: &Value) -> bool {
    let names = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flat_map(|members| members.keys().cloned()).collect()
    };
    let known = ["managedFields", "resourceVersion", "uid"];
    names(patch) == ["metadata"]
        && names(&patch["metadata"]).iter().all(|name| known.contains(&name.as_str()))
}

/// What a ledger's ConfigMap holds.
pub fn read_ledger(map: &Value) -> Option<Value> {
    let packed = STANDARD.decode(map["binaryData"]["ledger.json.gz"].as_str()?).ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

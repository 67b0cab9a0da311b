//! Reads what tells why an object is not healthy: at most [`REQUESTS`] requests, within [`BUDGET`].

use std::time::Duration;

use serde_json::Value;

use super::pods::suspect;
use super::{Doubt, Evidence, told};
use crate::api::{Call, MAX_PAGE};
use crate::discovery::{Discovery, escape};
use crate::health::needs_whole;
use crate::session::Session;

/// The object, its pods, and events of the object, of one pod and of its claims.
const REQUESTS: usize = 5;
/// How long all of them may take together: whoever waits for the answer says what he has.
const BUDGET: Duration = Duration::from_secs(5);
/// Pods and events in one answer.
const PODS: usize = 100;
const EVENTS: usize = 100;

/// Looks up once why an object is not healthy. What can't be read is left out; what may not be read is said.
pub async fn look(session: &Session, discovery: &Discovery, doubt: &Doubt) -> String {
    let mut reader = Reader { session, left: REQUESTS, evidence: Evidence::default() };
    // What was read in time counts.
    let _ = tokio::time::timeout(BUDGET, reader.read(discovery, doubt)).await;
    told(doubt, &reader.evidence, session.api.server_time())
}

struct Reader<'a> {
    session: &'a Session,
    left: usize,
    evidence: Evidence,
}

impl Reader<'_> {
    async fn read(&mut self, discovery: &Discovery, doubt: &Doubt) {
        let key = &doubt.key;
        let kind = key.group_kind();
        if needs_whole(&kind)
            && let Some(resource) = discovery.find(&kind, &doubt.version)
        {
            let object = self.get(resource.object(key), "").await;
            self.evidence.object = object.unwrap_or_default();
            // Lists don't name it, and neither need an object.
            if self.evidence.object.is_object() {
                self.evidence.object["kind"] = kind.kind.clone().into();
            }
        }
        // Events of objects without a namespace are in this one.
        let namespace = key.namespace().unwrap_or("default").to_owned();
        self.read_pods(&namespace).await;
        if let Some(suspect) = suspect(&self.evidence.object, &self.evidence.pods) {
            if suspect.certain {
                return;
            }
            if suspect.wants_claims && !suspect.claims.is_empty() {
                let of_claims = self.events(&namespace, "involvedObject.kind=PersistentVolumeClaim").await;
                let ours = |event: &Value| {
                    let name = event.pointer("/involvedObject/name").and_then(Value::as_str);
                    name.is_some_and(|name| suspect.claims.iter().any(|claim| claim == name))
                };
                self.evidence.claim_events = of_claims.into_iter().filter(ours).collect();
            }
            if !suspect.is_object {
                self.evidence.pod_events =
                    self.events(&namespace, &format!("involvedObject.uid={}", suspect.uid)).await;
            }
        }
        let uid = self.evidence.object.pointer("/metadata/uid").and_then(Value::as_str);
        let fields = match uid {
            Some(uid) => format!("involvedObject.uid={uid}"),
            None => format!("involvedObject.kind={},involvedObject.name={}", key.kind(), key.name()),
        };
        self.evidence.events = self.events(&namespace, &fields).await;
    }

    /// The pods that the object's selector takes; a Pod is its own.
    async fn read_pods(&mut self, namespace: &str) {
        let object = &self.evidence.object;
        if object["kind"] == "Pod" {
            self.evidence.pods = vec![object.clone()];
            return;
        }
        let Some(selector) = selector(object) else { return };
        let namespace = escape(namespace);
        let path =
            format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}&limit={PODS}", escape(&selector));
        self.evidence.pods = items(self.get(path, "pods").await);
    }

    async fn events(&mut self, namespace: &str, fields: &str) -> Vec<Value> {
        let (namespace, fields) = (escape(namespace), escape(fields));
        let path = format!("/api/v1/namespaces/{namespace}/events?fieldSelector={fields}&limit={EVENTS}");
        items(self.get(path, "events").await)
    }

    /// One request, while the budget lasts. A refusal for want of rights is noted for `what`.
    async fn get(&mut self, path: String, what: &'static str) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        match self.session.api.json(Call::get(path).timeout(BUDGET).most(MAX_PAGE)).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                if error.is_forbidden() && !what.is_empty() && !self.evidence.forbidden.contains(&what) {
                    self.evidence.forbidden.push(what);
                }
                None
            }
        }
    }
}

fn items(list: Option<Value>) -> Vec<Value> {
    match list.map(|mut list| list["items"].take()) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// The label selector of a workload as a query says it. None: it has no pods.
pub(super) fn selector(object: &Value) -> Option<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let selector = object.pointer("/spec/selector")?;
    let mut terms = Vec::new();
    let mut equal = |labels: &Value| {
        for (key, value) in labels.as_object().into_iter().flatten() {
            terms.push(format!("{key}={}", value.as_str().unwrap_or_default()));
        }
    };
    match kind {
        "ReplicationController" => equal(selector),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => equal(&selector["matchLabels"]),
        _ => return None,
    }
    for term in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = term["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            term["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match term["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    // An empty selector would list every pod of the namespace.
    (!terms.is_empty()).then(|| terms.join(","))
}

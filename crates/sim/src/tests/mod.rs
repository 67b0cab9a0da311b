//! A simulated cluster, asked as any API server is.

mod apply;
mod objects;
mod watch;
mod work;

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{Body, Clock, Cluster, Fleet, SimSettings};

/// One cluster with a clock that a test moves.
pub struct World {
    pub fleet: Fleet,
    pub cluster: Cluster,
}

impl World {
    pub fn new() -> Self {
        Self::with(SimSettings::default())
    }

    pub fn with(settings: SimSettings) -> Self {
        let fleet = Fleet::new(settings, Clock::manual("2026-11-23T08:00:00Z".parse().unwrap()));
        let cluster = fleet.cluster("one");
        Self { fleet, cluster }
    }

    pub fn raw(&self, method: Method, path: &str, content_type: &str, body: String) -> Response<Body> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept", "application/json")
            .header("content-type", content_type)
            .header("user-agent", "tester/1.0");
        self.cluster.handle(request.body(Bytes::from(body)).unwrap())
    }

    /// The code and the body of an answer.
    pub fn ask(&self, method: Method, path: &str, content_type: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.raw(method, path, content_type, body);
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, "", &Value::Null)
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask(Method::POST, path, "application/json", body)
    }

    pub fn merge(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask(Method::PATCH, path, "application/merge-patch+json", body)
    }

    pub fn apply(&self, path: &str, manager: &str, body: &Value) -> (u16, Value) {
        let join = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{join}fieldManager={manager}");
        self.ask(Method::PATCH, &path, "application/apply-patch+yaml", body)
    }

    pub fn delete(&self, path: &str, options: &Value) -> (u16, Value) {
        self.ask(Method::DELETE, path, "application/json", options)
    }

    pub fn advance(&self, seconds: u64) {
        self.fleet.advance(Duration::from_secs(seconds));
    }
}

pub fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub fn map(name: &str) -> String {
    format!("{MAPS}/{name}")
}

/// The fields that a manager owns.
pub fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .filter(|entry| entry["manager"] == manager)
        .map(|entry| entry["fieldsV1"].clone())
        .next()
        .unwrap_or_default()
}

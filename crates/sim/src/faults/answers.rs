//! What a server in trouble answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::asked::{Asked, Verb};
use crate::FAIL;

fn status(code: u16, reason: &str, message: &str, details: Value) -> Response<Bytes> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code});
    whole(code, body.to_string())
}

fn whole(code: u16, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// 429, with `Retry-After` in whole seconds.
pub fn throttled(wait: Duration) -> Response<Bytes> {
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    let message = "too many requests, please try again later";
    let mut response = status(429, "TooManyRequests", message, json!({"retryAfterSeconds": seconds}));
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

/// What a proxy or a server that lost its store answers.
pub fn error(code: u16, why: Option<&str>) -> Response<Bytes> {
    let (reason, message) = match code {
        429 => ("TooManyRequests", "storage is (re)initializing"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "the server was unable to return a response in the time allotted"),
        _ => ("InternalError", "Internal error occurred: etcdserver: leader changed"),
    };
    status(code, reason, why.unwrap_or(message), json!({}))
}

/// 410, for what names a version: a watch hears it as an event, the next page of a list as its answer.
pub fn gone(asked: &Asked) -> Option<Response<Bytes>> {
    let message = "too old resource version: 1 (2)";
    let expired = || status(410, "Expired", message, json!({}));
    match asked.verb {
        Verb::Watch => {
            let body = String::from_utf8_lossy(expired().body()).into_owned();
            Some(whole(200, format!("{{\"type\":\"ERROR\",\"object\":{body}}}\n")))
        }
        Verb::List if asked.continues => Some(expired()),
        _ => None,
    }
}

fn details(asked: &Asked) -> Value {
    json!({"name": asked.name, "kind": asked.plural})
}

pub fn quota(asked: &Asked) -> Response<Bytes> {
    let Asked { plural, name, .. } = asked;
    let message = format!(
        "{plural} \"{name}\" is forbidden: exceeded quota: simulated, requested: count/{plural}=1, used: count/{plural}=0, limited: count/{plural}=0"
    );
    status(403, "Forbidden", &message, details(asked))
}

pub fn denied(asked: &Asked, why: Option<&str>) -> Response<Bytes> {
    let why = why.unwrap_or("not in this cluster");
    let message = format!("admission webhook \"policy.fault.example.com\" denied the request: {why}");
    status(403, "Forbidden", &message, details(asked))
}

pub fn webhook_down() -> Response<Bytes> {
    let why = "failed calling webhook \"policy.fault.example.com\": failed to call webhook: Post \
               \"https://127.0.0.1:1/validate?timeout=10s\": dial tcp 127.0.0.1:1: connect: connection refused";
    let causes = json!({"causes": [{"message": why}]});
    status(500, "InternalError", &format!("Internal error occurred: {why}"), causes)
}

/// What makes a workload fail that was just written.
pub fn fails(asked: &Asked, crash: bool) -> Option<Value> {
    if !asked.is_write() || asked.verb == Verb::Delete {
        return None;
    }
    let annotations = json!({"metadata": {"annotations": {FAIL: if crash { "crash" } else { "unready" }}}});
    match asked.plural.as_str() {
        "deployments" | "statefulsets" | "daemonsets" | "jobs" => {
            Some(json!({"spec": {"template": annotations}}))
        }
        "pods" => Some(annotations),
        _ => None,
    }
}

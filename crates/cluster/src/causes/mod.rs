//! Why an object is not healthy: its pods' own reasons and the newest events, looked up once for each failure or
//! question.
//!
//! In: an object that is not healthy, and what its status says. Out: one line with the first cause in front. What is
//! read and how much is in [`look`]; which of it is the cause is decided by plain functions over what was read.
//! Everything that is read is untrusted and leaves here cleaned and cut. No pod's log is read.

mod events;
mod look;
mod pods;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

pub use look::look;

use super::text::clean;
use fairlead_core::model::object::ObjectKey;

/// An object that is not healthy, and what its status says of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    pub key: ObjectKey,
    /// The API version by which it is read.
    pub version: String,
    pub reason: String,
}

/// What is read of a cluster for one doubt. What was not asked for is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    pub object: Value,
    /// The pods that the object selects.
    pub pods: Vec<Value>,
    /// Events of the pod that [`pods::suspect`] names, of its claims, and of the object.
    pub pod_events: Vec<Value>,
    pub claim_events: Vec<Value>,
    pub events: Vec<Value>,
    /// Resources that the credential may not list.
    pub forbidden: Vec<&'static str>,
}

/// The first cause, as far as the evidence tells it: what a container or a pod says of itself, then events of what the
/// pod waits for, then events of the object.
pub fn first_cause(evidence: &Evidence, now: Timestamp) -> Option<String> {
    let suspect = pods::suspect(&evidence.object, &evidence.pods);
    let name = |text: &str| match &suspect {
        Some(suspect) if !suspect.is_object => format!("pod {}: {text}", suspect.name),
        _ => text.to_owned(),
    };
    let certain = suspect.as_ref().filter(|suspect| suspect.certain).map(|suspect| name(&suspect.text));
    let of_claims = || events::newest(&evidence.claim_events, now).map(|event| name(&event.with_name()));
    let of_pod = || events::newest(&evidence.pod_events, now).map(|event| name(&event.text()));
    let of_object = || events::newest(&evidence.events, now).map(|event| event.text());
    let guess = || suspect.as_ref().map(|suspect| name(&suspect.text));
    certain.or_else(of_claims).or_else(of_pod).or_else(of_object).or_else(guess)
}

/// What is said of a doubt: the first cause, then what the status says, then what could not be seen.
pub fn told(doubt: &Doubt, evidence: &Evidence, now: Timestamp) -> String {
    let mut text = match first_cause(evidence, now) {
        Some(cause) if cause.contains(&doubt.reason) => cause,
        Some(cause) => format!("{cause} ({})", doubt.reason),
        None => doubt.reason.clone(),
    };
    if !evidence.forbidden.is_empty() {
        let _ = write!(
            text,
            "; the credential may not list {}, so no more is known",
            evidence.forbidden.join(" and ")
        );
        if let Some(namespace) = doubt.key.namespace() {
            let _ = write!(text, " (namespace {namespace})");
        }
    }
    clean(&text)
}

//! Whether an object does what its manifest asks for.
//!
//! In: an object as its API server gives it. Out: a [`Verdict`], and the object reduced to what decisions need.
//! Rules: kstatus of sigs.k8s.io/cli-utils for built-in kinds, standard conditions for all others; docs/health.md
//! lists them. Where the rules here differ from kstatus, the rule's comment says so. A verdict never speaks of an
//! older generation than the object's. Pure.

mod conditions;
mod gateway;
mod reduce;
mod volumes;
mod workloads;

use serde_json::Value;

use super::text::clean;
use fairlead_core::model::object::{GroupKind, is_built_in_group};

pub use reduce::{Observer, Reduced, units};

/// What an object says about itself. Reasons are for people, cleaned of what an API server may put into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    /// Not yet; may get there by itself.
    Progressing(String),
    /// Won't get there by itself.
    Failed(String),
    /// A deletionTimestamp is set.
    Terminating,
    /// A claim without a volume. Its storage class (none: the cluster's default) says whether it is to wait for a Pod,
    /// and is healthy meanwhile.
    Unbound(Option<Box<str>>),
}

/// On an object, with the value [`IGNORE`]: it is healthy as soon as it is there.
pub const HEALTH: &str = "fairlead.dev/health";
pub const IGNORE: &str = "ignore";

impl Verdict {
    pub(crate) fn progressing(reason: impl AsRef<str>) -> Self {
        Self::Progressing(clean(reason.as_ref()))
    }

    fn failed(reason: impl AsRef<str>) -> Self {
        Self::Failed(clean(reason.as_ref()))
    }
}

type Rule = fn(&Status<'_>) -> Verdict;

/// Kinds with a rule of their own.
const RULES: [(&str, &str, Rule); 22] = [
    ("apps", "Deployment", workloads::deployment),
    ("apps", "StatefulSet", workloads::stateful_set),
    ("apps", "DaemonSet", workloads::daemon_set),
    ("apps", "ReplicaSet", workloads::replica_set),
    ("", "ReplicationController", workloads::replica_set),
    ("", "Pod", workloads::pod),
    ("batch", "Job", workloads::job),
    ("", "Service", conditions::service),
    ("", "PersistentVolumeClaim", volumes::claim),
    ("", "PersistentVolume", volumes::volume),
    ("policy", "PodDisruptionBudget", conditions::observed),
    ("apiextensions.k8s.io", "CustomResourceDefinition", conditions::crd),
    ("apiregistration.k8s.io", "APIService", conditions::api_service),
    ("networking.k8s.io", "ServiceCIDR", conditions::standard),
    (GATEWAY, "GatewayClass", gateway::class),
    (GATEWAY, "Gateway", gateway::gateway),
    (GATEWAY, "HTTPRoute", gateway::route),
    (GATEWAY, "GRPCRoute", gateway::route),
    (GATEWAY, "TLSRoute", gateway::route),
    (GATEWAY, "TCPRoute", gateway::route),
    (GATEWAY, "UDPRoute", gateway::route),
    (GATEWAY, "BackendTLSPolicy", gateway::policy),
];

const GATEWAY: &str = "gateway.networking.k8s.io";

/// The kinds with a rule of their own, as `(group, kind)`.
pub fn kinds_with_a_rule() -> impl Iterator<Item = (&'static str, &'static str)> {
    RULES.iter().map(|(group, kind, _)| (*group, *kind))
}

fn rule(kind: &GroupKind) -> Option<Rule> {
    RULES.iter().find(|(group, name, _)| *group == kind.group && *name == kind.kind).map(|(_, _, rule)| *rule)
}

/// Whether objects of a kind are watched whole: those with a rule, and all that a CRD or an aggregated server
/// brings, for their conditions. The others are healthy once they are there; their metadata is enough.
pub fn needs_whole(kind: &GroupKind) -> bool {
    rule(kind).is_some() || !is_built_in_group(&kind.group)
}

/// Judges a whole object. Kinds for which [`needs_whole`] is false may be given by their metadata.
pub fn verdict(kind: &GroupKind, object: &Value) -> Verdict {
    if object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
        return Verdict::Terminating;
    }
    if object.pointer("/metadata/annotations").and_then(|all| all.get(HEALTH)?.as_str()) == Some(IGNORE) {
        return Verdict::Healthy;
    }
    let status = Status(object);
    match rule(kind) {
        Some(rule) => status.unobserved().unwrap_or_else(|| rule(&status)),
        None if is_built_in_group(&kind.group) => Verdict::Healthy,
        None => status.unobserved().unwrap_or_else(|| conditions::standard(&status)),
    }
}

/// Reads an object. What is missing or of another type than expected is as good as absent.
#[derive(Clone, Copy)]
struct Status<'a>(&'a Value);

impl<'a> Status<'a> {
    fn number(&self, pointer: &str) -> Option<i64> {
        self.0.pointer(pointer).and_then(Value::as_i64)
    }

    fn count(&self, pointer: &str) -> i64 {
        self.number(pointer).unwrap_or(0)
    }

    fn text(&self, pointer: &str) -> &'a str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn generation(&self) -> i64 {
        self.count("/metadata/generation")
    }

    /// A status that was written for an older generation says nothing.
    fn unobserved(&self) -> Option<Verdict> {
        let observed = self.number("/status/observedGeneration")?;
        let generation = self.generation();
        (observed < generation).then(|| self.behind(Some(observed)))
    }

    fn behind(&self, observed: Option<i64>) -> Verdict {
        let generation = self.generation();
        Verdict::progressing(match observed {
            Some(observed) => {
                format!("generation {generation} is not observed yet (status is of {observed})")
            }
            None => "its controller has not seen it yet".to_owned(),
        })
    }

    /// For kinds whose controller always writes `observedGeneration`.
    fn must_be_observed(&self) -> Option<Verdict> {
        let missing = self.number("/status/observedGeneration").is_none();
        missing.then(|| self.behind(None))
    }

    fn conditions(&self) -> impl Iterator<Item = Condition<'a>> + use<'a> {
        let list = self.0.pointer("/status/conditions").and_then(Value::as_array);
        list.into_iter().flatten().map(Condition)
    }

    fn condition(&self, name: &str) -> Option<Condition<'a>> {
        self.conditions().find(|c| c.text("type") == name)
    }

    /// When someone last wrote more than the status, by the field managers' times: RFC 3339 in UTC, to the second.
    fn written(&self) -> Option<&'a str> {
        let entries = self.0.pointer("/metadata/managedFields").and_then(Value::as_array);
        let others = entries.into_iter().flatten().filter(|entry| entry["subresource"] != "status");
        others.filter_map(|entry| entry["time"].as_str()).max()
    }

    fn condition_is(&self, name: &str, status: &str) -> Option<Condition<'a>> {
        self.condition(name).filter(|c| c.text("status") == status)
    }
}

#[derive(Clone, Copy)]
struct Condition<'a>(&'a Value);

impl<'a> Condition<'a> {
    fn text(&self, field: &str) -> &'a str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn is_older_than(&self, generation: i64) -> bool {
        self.0.get("observedGeneration").and_then(Value::as_i64).is_some_and(|of| of < generation)
    }

    /// `Ready is False: DatabaseDown: connection refused`, without what is empty.
    fn say(&self) -> String {
        let head = format!("{} is {}", self.text("type"), self.text("status"));
        let parts = [head.as_str(), self.text("reason"), self.text("message")];
        parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(": ")
    }
}

#[cfg(test)]
mod tests;

//! Workloads that progress, as statuses their controllers would write. Pure.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};

use super::FAIL;
use crate::cluster::SimSettings;
use crate::kind::Kind;

/// How far a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Of what its pods are made from.
    template: u64,
    replicas: i64,
    since: i64,
    /// How many changes of the template there were.
    revision: u32,
    /// Pods of an earlier template that still serve.
    old: i64,
}

/// What a look led to.
#[derive(Debug)]
pub struct Step {
    pub progress: Progress,
    /// When to look again.
    pub again: Option<i64>,
    /// The status, if it is another than there is.
    pub write: Option<Value>,
    pub annotation: Option<(&'static str, String)>,
    pub manager: &'static str,
}

struct Look<'a> {
    value: &'a Value,
    progress: Progress,
    /// Since when the pods of this template may be ready: no, not yet, yes.
    ready: bool,
    late: bool,
    fails: Option<&'a str>,
    nodes: i64,
}

fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What its controller does about an object now. None: nothing ever.
pub fn step(
    kind: &Kind,
    value: &Value,
    known: Option<Progress>,
    now: i64,
    settings: &SimSettings,
) -> Option<Step> {
    let rule: fn(&Look<'_>) -> Value = match (&*kind.group, &*kind.kind) {
        ("apps", "Deployment") => deployment,
        ("apps", "StatefulSet") => stateful_set,
        ("apps", "DaemonSet") => daemon_set,
        ("apps", "ReplicaSet") => replica_set,
        ("batch", "Job") => job,
        ("", "Pod") => pod,
        ("policy", "PodDisruptionBudget") => budget,
        ("apiregistration.k8s.io", "APIService") => api_service,
        _ => return None,
    };
    let of_pod = kind.is("", "Pod");
    let template = if of_pod { value.clone() } else { value["spec"]["template"].clone() };
    let replicas = number(value, "/spec/replicas").unwrap_or(1);
    let mut hasher = DefaultHasher::new();
    template["spec"].to_string().hash(&mut hasher);
    template["metadata"]["annotations"].to_string().hash(&mut hasher);
    template["metadata"]["labels"].to_string().hash(&mut hasher);
    let digest = if of_pod { 0 } else { hasher.finish() };
    let wait = i64::try_from(settings.ready_after.as_millis()).unwrap_or(i64::MAX);
    let fresh = Progress { template: digest, replicas, since: now, revision: 1, old: 0 };
    let progress = match known {
        Some(known) if known.template != digest => {
            let old = number(value, "/status/availableReplicas").unwrap_or_default();
            Progress { revision: known.revision + 1, old, ..fresh }
        }
        Some(known) if known.replicas < replicas => Progress { replicas, since: now, ..known },
        // The clock was set back. Controllers don't go by it: what was under way is over.
        Some(known) if known.since > now => Progress { replicas, since: now.saturating_sub(wait), ..known },
        Some(known) => Progress { replicas, ..known },
        None => fresh,
    };
    let fails = template.pointer("/metadata/annotations").and_then(|all| all.get(FAIL)?.as_str());
    let deadline = number(value, "/spec/progressDeadlineSeconds").unwrap_or(600).saturating_mul(1_000);
    let idle = replicas == 0;
    let look = Look {
        value,
        progress,
        ready: (fails.is_none() && now - progress.since >= wait) || idle,
        late: fails.is_some() && now - progress.since >= deadline,
        fails,
        nodes: i64::try_from(settings.nodes).unwrap_or_default(),
    };
    let mut status = rule(&look);
    if let Some(map) = status.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    let again = match look.fails {
        _ if look.ready || look.late => None,
        None => Some(progress.since.saturating_add(wait)),
        Some(_) if kind.is("apps", "Deployment") => Some(progress.since.saturating_add(deadline)),
        Some(_) => None,
    };
    let annotation = kind
        .is("apps", "Deployment")
        .then(|| ("deployment.kubernetes.io/revision", progress.revision.to_string()));
    let has = annotation.as_ref().is_none_or(|(name, text)| {
        value.pointer("/metadata/annotations").and_then(|all| all.get(name)?.as_str()) == Some(text)
    });
    let same = same_but_for_times(&status, &value["status"]);
    Some(Step {
        progress,
        again,
        write: (!same || !has).then_some(status),
        annotation,
        manager: match &*kind.kind {
            "Pod" => "kubelet",
            "APIService" => "kube-apiserver",
            _ => "kube-controller-manager",
        },
    })
}

const TIMES: [&str; 4] = ["lastTransitionTime", "lastUpdateTime", "lastProbeTime", "startedAt"];

fn same_but_for_times(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let kept = |(name, _): &(&String, &Value)| !TIMES.contains(&name.as_str());
            let (left, right) = (a.iter().filter(kept).count(), b.iter().filter(kept).count());
            left == right
                && a.iter()
                    .filter(kept)
                    .all(|(name, a)| b.get(name).is_some_and(|b| same_but_for_times(a, b)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_but_for_times(a, b))
        }
        _ => a == b,
    }
}

/// Dates the conditions of a status: those that were so before keep their time.
pub fn date(status: &mut Value, before: &Value, now: &str) {
    let old = before["conditions"].as_array().cloned().unwrap_or_default();
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let was =
            old.iter().find(|one| one["type"] == condition["type"] && one["status"] == condition["status"]);
        for field in TIMES {
            if condition.get(field).is_some() {
                let kept = was.map(|was| was[field].clone()).filter(Value::is_string);
                let moved =
                    field == "lastUpdateTime" && was.is_some_and(|was| was["reason"] != condition["reason"]);
                condition[field] = kept.filter(|_| !moved).unwrap_or_else(|| json!(now));
            }
        }
    }
    if status.get("startTime").is_some() {
        let kept = before.get("startTime").filter(|at| at.is_string()).cloned();
        status["startTime"] = kept.unwrap_or_else(|| json!(now));
    }
    if status.get("completionTime").is_some() {
        status["completionTime"] = json!(now);
    }
}

fn condition(kind: &str, status: bool, reason: &str, message: &str) -> Value {
    let status = if status { "True" } else { "False" };
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": ""});
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            condition[field] = json!(text);
        }
    }
    condition
}

/// Zero is written as nothing, as the server does.
fn count(n: i64) -> Value {
    if n == 0 { Value::Null } else { json!(n) }
}

fn generation(look: &Look<'_>) -> Value {
    look.value["metadata"]["generation"].clone()
}

/// The name of a replica set or of a revision.
fn revision_name(look: &Look<'_>) -> String {
    let short = look.progress.template & 0xffff_ffff;
    format!("{}-{short:08x}", text(look.value, "/metadata/name"))
}

fn deployment(look: &Look<'_>) -> Value {
    let (want, set) = (look.progress.replicas, revision_name(look));
    let (reason, message, progressing) = if look.ready {
        ("NewReplicaSetAvailable", format!("ReplicaSet {set:?} has successfully progressed."), true)
    } else if look.late {
        ("ProgressDeadlineExceeded", format!("ReplicaSet {set:?} has timed out progressing."), false)
    } else {
        ("ReplicaSetUpdated", format!("ReplicaSet {set:?} is progressing."), true)
    };
    let old = look.progress.old.min(want);
    let available = if look.ready { want } else { old };
    let enough = look.ready || (old > 0 && old >= want - want / 4);
    let available_condition = if enough {
        condition("Available", true, "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        let message = "Deployment does not have minimum availability.";
        condition("Available", false, "MinimumReplicasUnavailable", message)
    };
    let mut progressing = condition("Progressing", progressing, reason, &message);
    progressing["lastUpdateTime"] = json!("");
    let mut available_condition = available_condition;
    available_condition["lastUpdateTime"] = json!("");
    // One pod of the new kind beside the old ones, as in a rolling update.
    let (replicas, updated) = match (look.ready, old) {
        (true, _) | (false, 0) => (want, want),
        (false, old) => (old + 1, 1),
    };
    json!({
        "observedGeneration": generation(look),
        "replicas": count(replicas), "updatedReplicas": count(updated),
        "readyReplicas": count(available), "availableReplicas": count(available),
        "unavailableReplicas": count(replicas - available),
        "conditions": [available_condition, progressing],
    })
}

fn stateful_set(look: &Look<'_>) -> Value {
    let (want, revision) = (look.progress.replicas, revision_name(look));
    let ready = if look.ready { want } else { look.progress.old.min(want) };
    let updated = if look.ready || look.progress.old == 0 { want } else { 0 };
    let before = text(look.value, "/status/currentRevision");
    let current = if look.ready || before.is_empty() { revision.clone() } else { before.to_owned() };
    json!({
        "observedGeneration": generation(look), "collisionCount": 0,
        "replicas": want, "availableReplicas": ready, "readyReplicas": count(ready),
        "currentReplicas": count(if look.ready { want } else { want - updated }), "updatedReplicas": count(updated),
        "currentRevision": current, "updateRevision": revision,
    })
}

fn daemon_set(look: &Look<'_>) -> Value {
    let (want, ready) = (look.nodes, if look.ready { look.nodes } else { 0 });
    json!({
        "observedGeneration": generation(look), "numberMisscheduled": 0,
        "currentNumberScheduled": want, "desiredNumberScheduled": want, "updatedNumberScheduled": count(want),
        "numberReady": ready, "numberAvailable": count(ready), "numberUnavailable": count(want - ready),
    })
}

fn replica_set(look: &Look<'_>) -> Value {
    let want = look.progress.replicas;
    let ready = if look.ready { want } else { 0 };
    json!({
        "observedGeneration": generation(look), "replicas": want, "fullyLabeledReplicas": count(want),
        "readyReplicas": count(ready), "availableReplicas": count(ready),
    })
}

fn job(look: &Look<'_>) -> Value {
    let want =
        number(look.value, "/spec/completions").or(number(look.value, "/spec/parallelism")).unwrap_or(1);
    if look.value["spec"]["suspend"] == true {
        return json!({"conditions": [condition("Suspended", true, "JobSuspended", "Job suspended")]});
    }
    if look.fails.is_some() {
        let message = "Job has reached the specified backoff limit";
        return json!({"startTime": "", "failed": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {},
            "conditions": [condition("FailureTarget", true, "BackoffLimitExceeded", message),
                condition("Failed", true, "BackoffLimitExceeded", message)]});
    }
    if !look.ready {
        return json!({"startTime": "", "active": want, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}});
    }
    let message = "Reached expected number of succeeded pods";
    json!({"startTime": "", "completionTime": "", "succeeded": want, "ready": 0, "terminating": 0,
        "uncountedTerminatedPods": {},
        "conditions": [condition("SuccessCriteriaMet", true, "CompletionsReached", message),
            condition("Complete", true, "CompletionsReached", message)]})
}

fn pod(look: &Look<'_>) -> Value {
    let is_job = text(look.value, "/spec/restartPolicy") != "Always";
    let ready = look.ready;
    let waiting = match look.fails {
        Some("pull") => Some("ImagePullBackOff"),
        Some("unready") => None,
        Some(_) => Some("CrashLoopBackOff"),
        None if ready => None,
        None => Some("ContainerCreating"),
    };
    let phase = match (look.fails, ready) {
        (None, true) if is_job => "Succeeded",
        (None, false) | (Some("pull"), _) => "Pending",
        _ => "Running",
    };
    let containers = look.value.pointer("/spec/containers").and_then(Value::as_array);
    let statuses = containers.into_iter().flatten().map(|container| {
        let state = match waiting {
            Some(reason) => json!({"waiting": {"reason": reason}}),
            None if phase == "Succeeded" => json!({"terminated": {"exitCode": 0, "reason": "Completed",
                "startedAt": null, "finishedAt": null}}),
            None => json!({"running": {"startedAt": null}}),
        };
        json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": ready && !is_job,
            "restartCount": 0, "started": waiting.is_none(), "state": state, "lastState": {}})
    });
    let mut statuses: Vec<Value> = statuses.collect();
    statuses.sort_by_key(|status| status["name"].to_string());
    let condition = |kind: &str, is: bool| {
        let reason = if is { "" } else { "ContainersNotReady" };
        let mut condition = condition(kind, is, reason, "");
        condition["lastProbeTime"] = Value::Null;
        condition
    };
    json!({
        "phase": phase, "qosClass": look.value["status"]["qosClass"], "startTime": "",
        "conditions": [condition("Initialized", true), condition("Ready", ready && !is_job),
            condition("ContainersReady", ready && !is_job), condition("PodScheduled", true)],
        "containerStatuses": statuses,
    })
}

fn budget(look: &Look<'_>) -> Value {
    json!({"observedGeneration": generation(look), "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0,
        "expectedPods": 0, "conditions": [{"type": "DisruptionAllowed", "status": "False",
            "reason": "InsufficientPods", "message": "", "observedGeneration": generation(look),
            "lastTransitionTime": ""}]})
}

fn api_service(look: &Look<'_>) -> Value {
    if look.value["spec"]["service"].is_object() {
        let message = "the service is not there in a simulated cluster";
        return json!({"conditions": [condition("Available", false, "ServiceNotFound", message)]});
    }
    let message = "Local APIServices are always available";
    json!({"conditions": [condition("Available", true, "Local", message)]})
}

/// A node that is ready.
pub fn node(number: usize, now: &str) -> Value {
    let name = format!("node-{number}");
    let size = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {"capacity": size, "allocatable": size, "conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady",
             "message": "kubelet is posting ready status", "lastHeartbeatTime": now, "lastTransitionTime": now}]}})
}

//! Kinds that run pods.

use serde_json::Value;

use super::{Status, Verdict};

/// What stands for "no deadline" in a Deployment's `progressDeadlineSeconds`.
const NO_DEADLINE: i64 = i32::MAX as i64;

fn of(have: i64, want: i64, what: &str) -> Option<Verdict> {
    let replicas = if want == 1 { "replica" } else { "replicas" };
    (have < want).then(|| Verdict::progressing(format!("{have} of {want} {replicas} {what}")))
}

fn leaving(extra: i64) -> Option<Verdict> {
    let replicas = if extra == 1 { "replica" } else { "replicas" };
    (extra > 0).then(|| Verdict::progressing(format!("{extra} old {replicas} still running")))
}

/// The verdict of the first step that is not done.
fn first(steps: impl IntoIterator<Item = Option<Verdict>>) -> Verdict {
    steps.into_iter().flatten().next().unwrap_or(Verdict::Healthy)
}

pub(super) fn deployment(s: &Status<'_>) -> Verdict {
    if let Some(unseen) = s.must_be_observed() {
        return unseen;
    }
    let progressing = s.condition("Progressing");
    if let Some(c) = progressing.filter(|c| c.text("reason") == "ProgressDeadlineExceeded") {
        // When a change goes back to a replica set that is still there, the controller leaves the condition of the
        // time before in a status that it says to be of the new generation, until a pod moves.
        let is_old = s
            .written()
            .is_some_and(|at| !c.text("lastUpdateTime").is_empty() && c.text("lastUpdateTime") <= at);
        if !is_old {
            return Verdict::failed(deadline(s, c.text("message")));
        }
    }
    let want = s.number("/spec/replicas").unwrap_or(1);
    let (replicas, updated) = (s.count("/status/replicas"), s.count("/status/updatedReplicas"));
    let (ready, available) = (s.count("/status/readyReplicas"), s.count("/status/availableReplicas"));
    // Someone who pauses a Deployment asks for the old pods to stay: only those that run must be available.
    // kstatus would wait for ever.
    let paused = s.0.pointer("/spec/paused") == Some(&Value::Bool(true));
    let refused = s.condition_is("ReplicaFailure", "True").map(|c| Verdict::progressing(c.say()));
    let rolled = first([
        of(updated, want, "updated"),
        of(replicas, want, "created"),
        leaving(replicas - updated),
        of(available, updated, "available"),
        of(ready, want, "ready"),
    ]);
    if rolled != Verdict::Healthy && !paused {
        // Why replicas are missing says more than how many are.
        return refused.unwrap_or(rolled);
    }
    let has_deadline = s.number("/spec/progressDeadlineSeconds").unwrap_or(NO_DEADLINE) != NO_DEADLINE;
    let complete = progressing.is_some_and(|c| c.text("reason") == "NewReplicaSetAvailable");
    if has_deadline && !complete && !paused {
        return Verdict::progressing("its new replica set is not available yet");
    }
    match s.condition("Available") {
        Some(c) if c.text("status") != "True" => Verdict::progressing(c.say()),
        Some(_) => Verdict::Healthy,
        None => Verdict::progressing("is not available yet"),
    }
}

/// The controller's own words, with what is missing and why.
fn deadline(s: &Status<'_>, message: &str) -> String {
    let want = s.number("/spec/replicas").unwrap_or(1);
    let available = s.count("/status/availableReplicas");
    let mut reason =
        format!("progress deadline exceeded: {available} of {want} replicas available; {message}");
    if let Some(failure) = s.condition_is("ReplicaFailure", "True") {
        reason = format!("{reason}; {}", failure.text("message"));
    }
    reason
}

pub(super) fn stateful_set(s: &Status<'_>) -> Verdict {
    if let Some(unseen) = s.must_be_observed() {
        return unseen;
    }
    let want = s.number("/spec/replicas").unwrap_or(1);
    let (replicas, ready) = (s.count("/status/replicas"), s.count("/status/readyReplicas"));
    let updated = s.count("/status/updatedReplicas");
    let there = [
        of(replicas, want, "created"),
        of(ready, want, "ready"),
        s.number("/status/availableReplicas").and_then(|available| of(available, want, "available")),
        leaving(replicas - want),
    ];
    // Pods change when someone deletes them.
    if s.text("/spec/updateStrategy/type") == "OnDelete" {
        return first(there);
    }
    let partition = s.count("/spec/updateStrategy/rollingUpdate/partition");
    let rolled = if partition > 0 {
        of(updated, (want - partition).max(0), "updated")
    } else {
        of(updated, want, "updated").or_else(|| {
            let done = s.text("/status/currentRevision") == s.text("/status/updateRevision");
            (!done).then(|| Verdict::progressing("the last pods of the old revision are leaving"))
        })
    };
    first(there.into_iter().chain([rolled]))
}

pub(super) fn daemon_set(s: &Status<'_>) -> Verdict {
    if let Some(unseen) = s.must_be_observed() {
        return unseen;
    }
    let Some(want) = s.number("/status/desiredNumberScheduled") else {
        return Verdict::progressing("its pods are not counted yet");
    };
    let on_delete = s.text("/spec/updateStrategy/type") == "OnDelete";
    first([
        of(s.count("/status/currentNumberScheduled"), want, "scheduled"),
        of(s.count("/status/updatedNumberScheduled"), want, "updated").filter(|_| !on_delete),
        of(s.count("/status/numberAvailable"), want, "available"),
        of(s.count("/status/numberReady"), want, "ready"),
    ])
}

/// ReplicaSet and ReplicationController.
pub(super) fn replica_set(s: &Status<'_>) -> Verdict {
    if let Some(unseen) = s.must_be_observed() {
        return unseen;
    }
    let want = s.number("/spec/replicas").unwrap_or(1);
    let replicas = s.count("/status/replicas");
    let refused = s.condition_is("ReplicaFailure", "True").map(|c| Verdict::progressing(c.say()));
    let counted = first([
        of(s.count("/status/fullyLabeledReplicas"), want, "labelled"),
        of(s.count("/status/availableReplicas"), want, "available"),
        of(s.count("/status/readyReplicas"), want, "ready"),
        leaving(replicas - want),
    ]);
    if counted == Verdict::Healthy { counted } else { refused.unwrap_or(counted) }
}

/// A pod that can't be scheduled goes on waiting (a node may come); kstatus fails it after 15 s by its own clock.
pub(super) fn pod(s: &Status<'_>) -> Verdict {
    match s.text("/status/phase") {
        "Succeeded" => Verdict::Healthy,
        "Failed" => {
            let reasons = [s.text("/status/reason"), s.text("/status/message")];
            let why = reasons.iter().filter(|r| !r.is_empty()).copied().collect::<Vec<_>>().join(": ");
            Verdict::failed(if why.is_empty() { "its containers failed".to_owned() } else { why })
        }
        "Running" if s.condition_is("Ready", "True").is_some() => Verdict::Healthy,
        phase => match waiting(s) {
            Some((name, "CrashLoopBackOff")) if phase == "Running" => {
                Verdict::failed(format!("container {name} crashes again and again (CrashLoopBackOff)"))
            }
            Some((name, reason)) => Verdict::progressing(format!("container {name} waits: {reason}")),
            None => match s.condition_is("PodScheduled", "False") {
                Some(c) => Verdict::progressing(c.say()),
                None => Verdict::progressing(if phase == "Running" { "is not ready" } else { "is starting" }),
            },
        },
    }
}

/// The first container that waits for more than its start, and for what; one that crashes comes first.
fn waiting<'a>(s: &Status<'a>) -> Option<(&'a str, &'a str)> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let containers = lists.iter().filter_map(|list| s.0.pointer(list)?.as_array()).flatten();
    let all: Vec<_> = containers
        .filter_map(|c| {
            let reason = c.pointer("/state/waiting/reason")?.as_str()?;
            let usual = reason == "ContainerCreating" || reason == "PodInitializing";
            (!usual).then_some((c.get("name")?.as_str()?, reason))
        })
        .collect();
    all.iter().find(|(_, reason)| *reason == "CrashLoopBackOff").or(all.first()).copied()
}

/// A job is healthy when it is complete; kstatus is content once it has started, but what depends on a job depends
/// on its work.
pub(super) fn job(s: &Status<'_>) -> Verdict {
    // `FailureTarget` is the same, said while the last pods end.
    if let Some(c) = s.condition_is("Failed", "True").or_else(|| s.condition_is("FailureTarget", "True")) {
        return Verdict::failed(c.say());
    }
    let suspended = s.0.pointer("/spec/suspend") == Some(&Value::Bool(true));
    if suspended || s.condition_is("Complete", "True").is_some() {
        return Verdict::Healthy;
    }
    let want = s.number("/spec/completions").or(s.number("/spec/parallelism")).unwrap_or(1);
    let (done, failed) = (s.count("/status/succeeded"), s.count("/status/failed"));
    let mut reason = format!("{done} of {want} completions");
    if failed > 0 {
        reason.push_str(&format!(", {failed} failed pods"));
    }
    Verdict::progressing(reason)
}

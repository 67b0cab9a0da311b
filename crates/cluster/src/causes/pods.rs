//! Which pod of a workload fails, and what it says of that itself. Pure.

use serde_json::Value;

/// The pod that says most about why its workload is not healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    pub name: String,
    pub uid: String,
    /// Names of the claims that it mounts.
    pub claims: Vec<String>,
    pub text: String,
    /// Whether its own status tells the cause; else events may.
    pub certain: bool,
    /// Whether it may wait for its claims.
    pub wants_claims: bool,
    /// The object itself is the pod.
    pub is_object: bool,
}

/// How much a pod's state says; the last says most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    /// It is on its way out.
    Leaving,
    /// It has failed, and another has its place.
    Replaced,
    NotReady,
    Unplaced,
    Broken,
}

struct State {
    grade: Grade,
    text: String,
    certain: bool,
    wants_claims: bool,
}

impl State {
    fn new(grade: Grade, text: impl Into<String>, certain: bool) -> Self {
        Self { grade, text: text.into(), certain, wants_claims: false }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn condition<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    list(pod, "/status/conditions").find(|c| c["type"] == name)
}

/// `reason: message`, without what is empty.
fn join(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(": ")
}

/// The pod that says most: broken before unplaced before not ready; the newest of several. None if all are well.
pub fn suspect(object: &Value, pods: &[Value]) -> Option<Suspect> {
    let kind = text(object, "/kind");
    let uid = text(object, "/metadata/uid");
    // Deployments own their pods by replica sets, whose names nobody knows here.
    let ours = |pod: &&Value| {
        let owners: Vec<&Value> = list(pod, "/metadata/ownerReferences").collect();
        kind == "Pod" || kind == "Deployment" || owners.iter().any(|owner| owner["uid"] == uid)
    };
    let states = pods.iter().filter(ours).filter_map(|pod| Some((pod, state(pod, kind)?)));
    let worst = states.max_by_key(|(pod, state)| (state.grade, text(pod, "/metadata/creationTimestamp")));
    let (pod, mut state) = worst?;
    if is_in_the_way(object, pod) && state.grade > Grade::Leaving {
        state.text += "; it is of an older revision and the StatefulSet waits for it: delete the pod";
    }
    let claims = list(pod, "/spec/volumes").filter_map(|volume| {
        let named = volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str);
        let own = || {
            volume
                .get("ephemeral")
                .map(|_| format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name")))
        };
        named.map(str::to_owned).or_else(own)
    });
    Some(Suspect {
        name: text(pod, "/metadata/name").to_owned(),
        uid: text(pod, "/metadata/uid").to_owned(),
        claims: claims.collect(),
        text: state.text,
        certain: state.certain,
        wants_claims: state.wants_claims,
        is_object: kind == "Pod",
    })
}

/// A StatefulSet that changes its pods in order replaces none while one is not ready, be that one of the revision that
/// it goes away from ("forced rollback" in Kubernetes' page about StatefulSets).
fn is_in_the_way(set: &Value, pod: &Value) -> bool {
    let update = text(set, "/status/updateRevision");
    let revision = pod.pointer("/metadata/labels/controller-revision-hash").and_then(Value::as_str);
    let strategy = text(set, "/spec/updateStrategy/type");
    let partition = set.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64);
    text(set, "/kind") == "StatefulSet"
        && text(set, "/spec/podManagementPolicy") != "Parallel"
        && matches!(strategy, "" | "RollingUpdate")
        && partition.unwrap_or(0) == 0
        && !update.is_empty()
        && revision.is_some_and(|revision| revision != update)
}

/// What is wrong with a pod; None: nothing.
fn state(pod: &Value, owner: &str) -> Option<State> {
    let phase = text(pod, "/status/phase");
    if phase == "Succeeded" || (phase == "Running" && is_true(condition(pod, "Ready"))) {
        return None;
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
        let finalizers: Vec<&str> = list(pod, "/metadata/finalizers").filter_map(Value::as_str).collect();
        let held = if finalizers.is_empty() {
            String::new()
        } else {
            format!(", held by {}", finalizers.join(", "))
        };
        return Some(State::new(Grade::Leaving, format!("is being deleted{held}"), !finalizers.is_empty()));
    }
    if phase == "Failed" {
        // A Job's failed pods are its result; others are replaced, and stay only to be read.
        let grade = if matches!(owner, "Job" | "Pod") { Grade::Broken } else { Grade::Replaced };
        let why = join(&[text(pod, "/status/reason"), text(pod, "/status/message")]);
        let own = broken_container(pod).map(|state| state.text);
        let words =
            if why.is_empty() { own.unwrap_or_else(|| "its containers failed".to_owned()) } else { why };
        return Some(State::new(grade, words, true));
    }
    Some(unplaced(pod).or_else(|| broken_container(pod)).unwrap_or_else(|| not_ready(pod)))
}

fn is_true(condition: Option<&Value>) -> bool {
    condition.is_some_and(|c| c["status"] == "True")
}

fn unplaced(pod: &Value) -> Option<State> {
    let scheduled = condition(pod, "PodScheduled").filter(|c| c["status"] == "False")?;
    if scheduled["reason"] == "SchedulingGated" {
        let gates: Vec<&str> = list(pod, "/spec/schedulingGates").map(|gate| text(gate, "/name")).collect();
        return Some(State::new(
            Grade::Unplaced,
            format!("waits for its scheduling gates: {}", gates.join(", ")),
            true,
        ));
    }
    let message = text(scheduled, "/message");
    let claims = message.to_ascii_lowercase().contains("persistentvolumeclaim");
    let words = join(&["can't be scheduled", message]);
    Some(State { wants_claims: claims, ..State::new(Grade::Unplaced, words, !claims && !message.is_empty()) })
}

/// The first container that can't start, or that ended: those that run before the others come first.
fn broken_container(pod: &Value) -> Option<State> {
    let lists =
        [("/status/initContainerStatuses", "init container"), ("/status/containerStatuses", "container")];
    let all = lists.iter().flat_map(|(place, what)| list(pod, place).map(move |status| (status, *what)));
    all.filter_map(|(status, what)| {
        let name = format!("{what} {}", text(status, "/name"));
        let ended = status.pointer("/state/terminated").filter(|t| t["exitCode"] != 0);
        let reason = text(status, "/state/waiting/reason");
        let message = text(status, "/state/waiting/message");
        match reason {
            "" => ended.map(|t| State::new(Grade::Broken, format!("{name} ended with {}", ending(t)), true)),
            "ContainerCreating" | "PodInitializing" => None,
            "CrashLoopBackOff" => Some(crashes(status, &name)),
            // Without the registry's error, which older kubelets write into an event only.
            "ImagePullBackOff" if !message.contains(": ") => {
                Some(State::new(Grade::Broken, join(&[&name, reason, message]), false))
            }
            _ => Some(State::new(Grade::Broken, join(&[&name, reason, message]), true)),
        }
    })
    .next()
}

fn crashes(status: &Value, name: &str) -> State {
    let restarts = status["restartCount"].as_i64().unwrap_or_default();
    let last = status.pointer("/lastState/terminated").or_else(|| status.pointer("/state/terminated"));
    let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
    let words = match last {
        Some(last) => {
            format!("{name} crashes again and again (CrashLoopBackOff, restarted {times}): {}", ending(last))
        }
        None => format!("{name} crashes again and again (CrashLoopBackOff, restarted {times})"),
    };
    State::new(Grade::Broken, words, last.is_some())
}

/// How a container ended: its exit code, the reason where that says more, and its last message.
fn ending(terminated: &Value) -> String {
    let code = match (terminated["exitCode"].as_i64(), terminated["signal"].as_i64()) {
        (_, Some(signal)) if signal > 0 => format!("signal {signal}"),
        (Some(code), _) => format!("exit code {code}"),
        _ => "no exit code".to_owned(),
    };
    let head = match text(terminated, "/reason") {
        "" | "Error" | "Completed" => code,
        "OOMKilled" => format!("{code} (OOMKilled: it used more memory than its limit)"),
        reason => format!("{code} ({reason})"),
    };
    join(&[&head, text(terminated, "/message").trim()])
}

/// It was started, and does not serve yet.
fn not_ready(pod: &Value) -> State {
    let ready = condition(pod, "Ready");
    if let Some(gates) = ready.filter(|c| c["reason"] == "ReadinessGatesNotReady") {
        return State::new(Grade::NotReady, join(&["is not ready", text(gates, "/message")]), true);
    }
    let running = |status: &&Value| status.pointer("/state/running").is_some() && status["ready"] != true;
    if let Some(status) = list(pod, "/status/containerStatuses").find(running) {
        let name = text(status, "/name");
        let last =
            status.pointer("/lastState/terminated").map(|t| format!("; before, it ended with {}", ending(t)));
        let what =
            if status["started"] == false { "has not started up yet" } else { "runs and is not ready" };
        return State::new(
            Grade::NotReady,
            format!("container {name} {what}{}", last.unwrap_or_default()),
            false,
        );
    }
    let words = if text(pod, "/spec/nodeName").is_empty() { "waits for a node" } else { "is starting" };
    State { wants_claims: true, ..State::new(Grade::NotReady, words, false) }
}

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::look::selector;
use super::*;

const NOW: &str = "2026-11-23T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn deployment() -> Value {
    json!({"kind": "Deployment", "metadata": {"name": "web", "uid": "d-1"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}}})
}

fn pod(name: &str, status: Value) -> Value {
    json!({"metadata": {"name": name, "uid": format!("{name}-uid"), "creationTimestamp": "2026-11-23T11:00:00Z",
        "ownerReferences": [{"kind": "ReplicaSet", "uid": "rs-1", "controller": true}]},
        "spec": {"nodeName": "n1"}, "status": status})
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"phase": "Pending", "containerStatuses": [
        {"name": "app", "ready": false, "state": {"waiting": {"reason": reason, "message": message}}}]})
}

fn event(kind: &str, reason: &str, message: &str, minutes: i64) -> Value {
    let at = now() - SignedDuration::from_mins(minutes);
    json!({"type": kind, "reason": reason, "message": message, "lastTimestamp": at.to_string(),
        "involvedObject": {"name": "data-0"}})
}

fn cause(evidence: Evidence) -> String {
    first_cause(&evidence, now()).unwrap_or_else(|| "nothing".to_owned())
}

fn of(pods: Vec<Value>) -> String {
    cause(Evidence { object: deployment(), pods, ..Evidence::default() })
}

#[test]
fn a_container_says_why_it_does_not_run() {
    let crash = |last: Value| {
        json!({"phase": "Running", "containerStatuses": [{"name": "app", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": last}}]})
    };
    let pulls = "Back-off pulling image \"web:2\": ErrImagePull: not found";
    for (status, wanted) in [
        (waiting("ImagePullBackOff", pulls), &*format!("container app: ImagePullBackOff: {pulls}")),
        (waiting("InvalidImageName", "couldn't parse"), "container app: InvalidImageName: couldn't parse"),
        (
            waiting("CreateContainerConfigError", "secret \"db\" not found"),
            "container app: CreateContainerConfigError: secret \"db\" not found",
        ),
        (
            crash(json!({"exitCode": 1, "reason": "Error", "message": "no such table: users\n"})),
            "container app crashes again and again (CrashLoopBackOff, restarted 3 times): exit code 1: no such table: users",
        ),
        (
            crash(json!({"exitCode": 137, "reason": "OOMKilled"})),
            "(CrashLoopBackOff, restarted 3 times): exit code 137 (OOMKilled: it used more memory than its limit)",
        ),
        (
            crash(json!({"exitCode": 128, "reason": "StartError", "message": "exec: \"webb\": not found"})),
            "exit code 128 (StartError): exec: \"webb\": not found",
        ),
        (
            crash(json!({"exitCode": 0, "reason": "Completed"})),
            "crashes again and again (CrashLoopBackOff, restarted 3 times): exit code 0",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [
                {"name": "side", "ready": true, "state": {"running": {}}},
                {"name": "app", "ready": false, "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}]}),
            "container app ended with exit code 2",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "done", "state": {"terminated": {"exitCode": 0}}},
                {"name": "migrate", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"exitCode": 3}}}],
                "containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
            "init container migrate crashes again and again (CrashLoopBackOff, restarted once): exit code 3",
        ),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}]}),
            "can't be scheduled: 0/3 nodes are available: 3 Insufficient cpu.",
        ),
        (
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False",
                "reason": "ReadinessGatesNotReady", "message": "corresponding condition of pod readiness gate \"lb\" does not exist."}]}),
            "is not ready: corresponding condition of pod readiness gate \"lb\" does not exist.",
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}),
            "pod web-1: Evicted: low on disk",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [{"name": "app", "state": {"terminated": {"exitCode": 7}}}]}),
            "ended with exit code 7",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [{"name": "app", "ready": false, "started": false, "state": {"running": {}}}]}),
            "container app has not started up yet",
        ),
        (json!({"phase": "Succeeded"}), "nothing"),
        (json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}), "nothing"),
        (json!("nonsense"), "pod web-1: is starting"),
    ] {
        let told = of(vec![pod("web-1", status.clone())]);
        assert!(told.contains(wanted), "wanted '{wanted}', got '{told}' of {status}");
        assert!(wanted == "nothing" || told.starts_with("pod web-1: "), "{told}");
    }
}

#[test]
fn the_pod_that_says_most_is_named() {
    let fine =
        || pod("fine", json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}));
    let starting = || pod("starting", json!({"phase": "Pending"}));
    let evicted = || pod("evicted", json!({"phase": "Failed", "reason": "Evicted"}));
    let broken = || pod("broken", waiting("ErrImagePull", "not found"));
    let mut leaving = pod("leaving", waiting("ErrImagePull", "not found"));
    leaving["metadata"]["deletionTimestamp"] = json!(NOW);
    let mut newer = pod("newer", waiting("InvalidImageName", ""));
    newer["metadata"]["creationTimestamp"] = json!("2026-11-23T11:30:00Z");
    for (pods, wanted) in [
        (vec![fine(), starting(), evicted()], "pod starting: "),
        (vec![fine(), evicted()], "pod evicted: Evicted"),
        (vec![starting(), broken(), fine()], "pod broken: "),
        (vec![newer.clone(), broken()], "pod newer: container app: InvalidImageName"),
        (vec![leaving.clone(), starting()], "pod starting: "),
        (vec![leaving.clone()], "pod leaving: is being deleted"),
        (vec![fine()], "nothing"),
    ] {
        let told = of(pods);
        assert!(told.starts_with(wanted), "{told}, not {wanted}");
    }
    leaving["metadata"]["finalizers"] = json!(["example.com/drain"]);
    assert_eq!(of(vec![leaving]), "pod leaving: is being deleted, held by example.com/drain");

    // What another workload's selector takes by mistake says nothing of this one.
    let mut set = json!({"kind": "StatefulSet", "metadata": {"uid": "s-1"}, "spec": {}, "status": {"updateRevision": "web-2"}});
    let evidence =
        |set: &Value, pod: Value| Evidence { object: set.clone(), pods: vec![pod], ..Evidence::default() };
    assert_eq!(cause(evidence(&set, broken())), "nothing");
    let mut old = broken();
    old["metadata"]["ownerReferences"][0]["uid"] = json!("s-1");
    old["metadata"]["labels"] = json!({"controller-revision-hash": "web-1"});
    assert!(cause(evidence(&set, old.clone())).ends_with("the StatefulSet waits for it: delete the pod"));
    set["spec"]["podManagementPolicy"] = json!("Parallel");
    assert!(!cause(evidence(&set, old)).contains("delete the pod"));

    // A Job's failed pods are its result; a Pod is not named twice.
    let job = json!({"kind": "Job", "metadata": {"uid": "rs-1"}});
    let failed = pod(
        "load-1",
        json!({"phase": "Failed", "containerStatuses": [{"name": "app", "state": {"terminated": {"exitCode": 7}}}]}),
    );
    let told = cause(Evidence { object: job, pods: vec![starting(), failed], ..Evidence::default() });
    assert_eq!(told, "pod load-1: container app ended with exit code 7");
    let mut bare = broken();
    bare["kind"] = json!("Pod");
    let told = cause(Evidence { object: bare.clone(), pods: vec![bare], ..Evidence::default() });
    assert_eq!(told, "container app: ErrImagePull: not found");
}

#[test]
fn events_tell_what_a_status_does_not() {
    let starting = || vec![pod("web-0", json!({"phase": "Pending"}))];
    let mounts = || event("Warning", "FailedMount", "configmap \"web\" not found", 1);
    let quota = || event("Warning", "FailedCreate", "exceeded quota: pods=3", 2);
    let evidence =
        |pods: Vec<Value>, pod_events: Vec<Value>, claim_events: Vec<Value>, events: Vec<Value>| Evidence {
            object: deployment(),
            pods,
            pod_events,
            claim_events,
            events,
            forbidden: Vec::new(),
        };
    let ready =
        vec![pod("web-0", json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}))];
    let pulls = vec![pod("web-0", waiting("ImagePullBackOff", "Back-off pulling image \"web\""))];
    let not_ready = vec![pod(
        "web-0",
        json!({"phase": "Running", "containerStatuses": [
        {"name": "app", "ready": false, "started": true, "state": {"running": {}}}]}),
    )];
    let provisioning = event("Warning", "ProvisioningFailed", "storageclass \"x\" not found", 1);
    for (evidence, wanted) in [
        (
            evidence(starting(), vec![mounts()], vec![], vec![]),
            "pod web-0: FailedMount: configmap \"web\" not found",
        ),
        (
            evidence(starting(), vec![], vec![provisioning], vec![]),
            "pod web-0: claim data-0: ProvisioningFailed: storageclass \"x\" not found",
        ),
        (evidence(ready, vec![], vec![], vec![quota()]), "FailedCreate: exceeded quota: pods=3"),
        (evidence(vec![], vec![], vec![], vec![quota()]), "FailedCreate: exceeded quota: pods=3"),
        (evidence(starting(), vec![], vec![], vec![]), "pod web-0: is starting"),
        (
            evidence(
                pulls,
                vec![
                    event("Normal", "Pulling", "Pulling image", 0),
                    event("Warning", "BackOff", "Back-off pulling image", 0),
                    event("Warning", "Failed", "Error: ImagePullBackOff", 0),
                    event("Warning", "Failed", "Failed to pull image \"web\": not found", 3),
                ],
                vec![],
                vec![],
            ),
            "pod web-0: Failed: Failed to pull image \"web\": not found",
        ),
        (
            evidence(
                not_ready,
                vec![event("Warning", "Unhealthy", "Readiness probe failed: HTTP 503", 0)],
                vec![],
                vec![],
            ),
            "pod web-0: Unhealthy: Readiness probe failed: HTTP 503",
        ),
        // What is long over is not the cause.
        (
            evidence(starting(), vec![], vec![], vec![event("Warning", "FailedCreate", "quota", 45)]),
            "pod web-0: is starting",
        ),
        (evidence(vec![], vec![], vec![], vec![json!({"type": "Warning"}), json!(3)]), "nothing"),
    ] {
        assert_eq!(cause(evidence), wanted);
    }
    // Events of events.k8s.io keep their times elsewhere.
    let series = json!({"type": "Warning", "reason": "FailedScheduling", "message": "0/1 nodes", "lastTimestamp": null,
        "eventTime": "2026-11-23T10:00:00.000001Z", "series": {"lastObservedTime": "2026-11-23T11:59:59.500000Z"}});
    let told = events::newest(std::slice::from_ref(&series), now()).unwrap().text();
    assert_eq!(told, "FailedScheduling: 0/1 nodes");
    // A claim's events are ordinary ones, too.
    let claim = [
        event("Normal", "Provisioning", "External provisioner is provisioning", 0),
        event("Normal", "ExternalProvisioning", "Waiting for a volume to be created by 'csi.example'", 1),
    ];
    assert!(events::newest(&claim, now()).unwrap().text().starts_with("ExternalProvisioning"));
}

#[test]
fn what_is_said_is_one_clean_line_with_the_cause_in_front() {
    let key = ObjectKey::new("apps", "Deployment", "shop", "web");
    let doubt = |reason: &str| Doubt { key: key.clone(), version: "v1".into(), reason: reason.into() };
    let mut evidence = Evidence {
        object: deployment(),
        pods: vec![pod("web-1", waiting("ErrImagePull", "not\nfound\u{202e}"))],
        ..Evidence::default()
    };
    assert_eq!(
        told(&doubt("0 of 1 replica available"), &evidence, now()),
        "pod web-1: container app: ErrImagePull: not found (0 of 1 replica available)"
    );
    evidence.pods = vec![pod("web-1", waiting("ErrImagePull", &"x".repeat(5_000)))];
    assert!(told(&doubt("0 of 1 replica available"), &evidence, now()).chars().count() <= 601);
    let nothing = Evidence { forbidden: vec!["pods", "events"], ..Evidence::default() };
    assert_eq!(
        told(&doubt("0 of 1 replica available"), &nothing, now()),
        "0 of 1 replica available; the credential may not list pods and events, so no more is known (namespace shop)"
    );
    assert_eq!(told(&doubt("x"), &Evidence::default(), now()), "x");
}

#[test]
fn a_selector_is_what_the_workload_says() {
    let with = |kind: &str, selector: Value| json!({"kind": kind, "spec": {"selector": selector}});
    let expressions = json!({"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [
        {"key": "c", "operator": "In", "values": ["x", "y"]}, {"key": "d", "operator": "NotIn", "values": ["z"]},
        {"key": "e", "operator": "Exists"}, {"key": "f", "operator": "DoesNotExist"}]});
    for (object, wanted) in [
        (with("Deployment", json!({"matchLabels": {"app": "web"}})), Some("app=web")),
        (with("DaemonSet", expressions), Some("a=1,b=2,c in (x,y),d notin (z),e,!f")),
        (with("ReplicationController", json!({"app": "web"})), Some("app=web")),
        (with("Service", json!({"app": "web"})), None),
        (with("Deployment", json!({})), None),
        (with("Job", json!({"matchExpressions": [{"key": "a", "operator": "Sideways"}]})), None),
        (json!({}), None),
    ] {
        assert_eq!(selector(&object).as_deref(), wanted, "{object}");
    }
}

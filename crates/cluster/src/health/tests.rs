use serde_json::{Value, json};

use super::*;
use fairlead_core::model::fleet::IgnoredPath;

fn kind(group: &str, kind: &str) -> GroupKind {
    GroupKind { group: group.into(), kind: kind.into() }
}

fn merge(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut all = base.clone();
            for (name, value) in over {
                let merged = merge(base.get(name).unwrap_or(&Value::Null), value);
                all.insert(name.clone(), merged);
            }
            all.into()
        }
        _ => over.clone(),
    }
}

/// What is wanted of a verdict: `ok`, `terminating`, `... part of the reason` or `failed: part of the reason`.
fn check(kind: &GroupKind, object: &Value, wanted: &str) {
    let verdict = verdict(kind, object);
    let fits = match &verdict {
        Verdict::Healthy => wanted == "ok",
        Verdict::Terminating => wanted == "terminating",
        Verdict::Progressing(reason) => wanted.strip_prefix("... ").is_some_and(|part| reason.contains(part)),
        Verdict::Unbound(class) => {
            wanted.strip_prefix("unbound: ") == Some(class.as_deref().unwrap_or("default"))
        }
        Verdict::Failed(reason) => wanted.strip_prefix("failed: ").is_some_and(|part| reason.contains(part)),
    };
    assert!(fits, "{kind}: wanted '{wanted}', got {verdict:?} for {object}");
}

fn table(group: &str, name: &str, base: &Value, rows: &[(&str, Value)]) {
    for (wanted, over) in rows {
        check(&kind(group, name), &merge(base, over), wanted);
    }
}

fn condition(name: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": name, "status": status, "reason": reason, "message": message})
}

#[test]
fn deployments() {
    let complete = condition("Progressing", "True", "NewReplicaSetAvailable", "");
    let base = json!({
        "metadata": {"generation": 4},
        "spec": {"replicas": 3, "progressDeadlineSeconds": 600},
        "status": {"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3,
                   "availableReplicas": 3, "conditions": [complete, condition("Available", "True", "", "")]},
    });
    let quota = "exceeded quota: pods=3";
    table(
        "apps",
        "Deployment",
        &base,
        &[
            ("ok", json!({})),
            (
                "... generation 4 is not observed yet (status is of 3)",
                json!({"status": {"observedGeneration": 3}}),
            ),
            ("... not seen it", json!({"status": {"observedGeneration": null}})),
            ("... not seen it", json!({"status": null})),
            ("... 2 of 3 replicas updated", json!({"status": {"updatedReplicas": 2}})),
            ("... 1 of 3 replicas created", json!({"status": {"replicas": 1}})),
            ("... 1 old replica still running", json!({"status": {"replicas": 4}})),
            ("... 1 of 3 replicas available", json!({"status": {"availableReplicas": 1}})),
            ("... 0 of 3 replicas ready", json!({"status": {"readyReplicas": null}})),
            (
                "... 0 of 1 replica updated",
                json!({"spec": {"replicas": null}, "status": {"updatedReplicas": 0}}),
            ),
            (
                "failed: progress deadline exceeded: 1 of 3 replicas available; ReplicaSet web-1 has timed out; exceeded",
                json!({"status": {"availableReplicas": 1, "conditions": [
            condition("Progressing", "False", "ProgressDeadlineExceeded", "ReplicaSet web-1 has timed out"),
            condition("ReplicaFailure", "True", "FailedCreate", quota)]}}),
            ),
            (
                "... ReplicaFailure is True: FailedCreate: exceeded quota",
                json!({"status": {"updatedReplicas": 1,
            "conditions": [condition("ReplicaFailure", "True", "FailedCreate", quota)]}}),
            ),
            (
                "... new replica set is not available",
                json!({"status": {"conditions": [
            condition("Progressing", "True", "ReplicaSetUpdated", ""), condition("Available", "True", "", "")]}}),
            ),
            // Without a deadline the controller writes no Progressing condition.
            (
                "ok",
                json!({"spec": {"progressDeadlineSeconds": i32::MAX}, "status": {"conditions": [
            condition("Available", "True", "", "")]}}),
            ),
            (
                "... Available is False: MinimumReplicasUnavailable",
                json!({"status": {"conditions": [complete,
            condition("Available", "False", "MinimumReplicasUnavailable", "")]}}),
            ),
            ("... is not available yet", json!({"status": {"conditions": [complete]}})),
            (
                "ok",
                json!({"spec": {"replicas": 0}, "status": {"replicas": 0, "updatedReplicas": 0, "readyReplicas": 0,
            "availableReplicas": 0}}),
            ),
            (
                "ok",
                json!({"spec": {"paused": true}, "status": {"updatedReplicas": 0, "conditions": [
            condition("Progressing", "Unknown", "DeploymentPaused", ""), condition("Available", "True", "", "")]}}),
            ),
            ("terminating", json!({"metadata": {"deletionTimestamp": "2026-11-23T05:00:00Z"}})),
        ],
    );
}

#[test]
fn stateful_sets() {
    let base = json!({
        "metadata": {"generation": 2},
        "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
        "status": {"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "currentReplicas": 3,
                   "updatedReplicas": 3, "availableReplicas": 3, "currentRevision": "a", "updateRevision": "a"},
    });
    table(
        "apps",
        "StatefulSet",
        &base,
        &[
            ("ok", json!({})),
            ("... not seen it", json!({"status": {"observedGeneration": null}})),
            ("... 1 of 3 replicas created", json!({"status": {"replicas": 1}})),
            ("... 2 of 3 replicas ready", json!({"status": {"readyReplicas": 2}})),
            ("... 2 of 3 replicas available", json!({"status": {"availableReplicas": 2}})),
            ("ok", json!({"status": {"availableReplicas": null}})),
            ("... 2 old replicas still running", json!({"status": {"replicas": 5}})),
            ("... 1 of 3 replicas updated", json!({"status": {"updatedReplicas": 1, "updateRevision": "b"}})),
            ("... last pods of the old revision", json!({"status": {"updateRevision": "b"}})),
            (
                "ok",
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
                      "status": {"updatedReplicas": 1, "updateRevision": "b"}}),
            ),
            (
                "... 0 of 1 replica updated",
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
                      "status": {"updatedReplicas": 0, "updateRevision": "b"}}),
            ),
            (
                "ok",
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 9}}},
                      "status": {"updatedReplicas": 0, "updateRevision": "b"}}),
            ),
            (
                "ok",
                json!({"spec": {"updateStrategy": {"type": "OnDelete"}}, "status": {"updatedReplicas": 0}}),
            ),
        ],
    );
}

#[test]
fn daemon_sets() {
    let base = json!({
        "metadata": {"generation": 1},
        "status": {"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
                   "updatedNumberScheduled": 2, "numberAvailable": 2, "numberReady": 2},
    });
    table(
        "apps",
        "DaemonSet",
        &base,
        &[
            ("ok", json!({})),
            ("... not seen it", json!({"status": null})),
            ("... not counted", json!({"status": {"desiredNumberScheduled": null}})),
            ("... 1 of 2 replicas scheduled", json!({"status": {"currentNumberScheduled": 1}})),
            ("... 1 of 2 replicas updated", json!({"status": {"updatedNumberScheduled": 1}})),
            ("... 0 of 2 replicas available", json!({"status": {"numberAvailable": null}})),
            ("... 1 of 2 replicas ready", json!({"status": {"numberReady": 1}})),
            (
                "ok",
                json!({"spec": {"updateStrategy": {"type": "OnDelete"}}, "status": {"updatedNumberScheduled": 0}}),
            ),
            ("ok", json!({"status": {"desiredNumberScheduled": 0, "numberReady": 0, "numberAvailable": 0}})),
        ],
    );
}

#[test]
fn replica_sets_and_controllers() {
    let base = json!({
        "metadata": {"generation": 1}, "spec": {"replicas": 2},
        "status": {"observedGeneration": 1, "replicas": 2, "fullyLabeledReplicas": 2, "availableReplicas": 2,
                   "readyReplicas": 2},
    });
    for (group, name) in [("apps", "ReplicaSet"), ("", "ReplicationController")] {
        table(
            group,
            name,
            &base,
            &[
                ("ok", json!({})),
                ("... 1 of 2 replicas labelled", json!({"status": {"fullyLabeledReplicas": 1}})),
                ("... 1 of 2 replicas available", json!({"status": {"availableReplicas": 1}})),
                ("... 1 of 2 replicas ready", json!({"status": {"readyReplicas": 1}})),
                ("... 1 old replica", json!({"status": {"replicas": 3}})),
                (
                    "... FailedCreate: no",
                    json!({"status": {"readyReplicas": 1, "conditions": [
                condition("ReplicaFailure", "True", "FailedCreate", "no")]}}),
                ),
            ],
        );
    }
}

#[test]
fn pods() {
    let waits = |name: &str, reason: &str| json!({"name": name, "state": {"waiting": {"reason": reason}}});
    table(
        "",
        "Pod",
        &json!({}),
        &[
            ("ok", json!({"status": {"phase": "Succeeded"}})),
            (
                "ok",
                json!({"status": {"phase": "Running", "conditions": [condition("Ready", "True", "", "")]}}),
            ),
            ("... is not ready", json!({"status": {"phase": "Running"}})),
            (
                "... is starting",
                json!({"status": {"phase": "Pending", "containerStatuses": [
            waits("web", "ContainerCreating")]}}),
            ),
            (
                "... container web waits: ImagePullBackOff",
                json!({"status": {"phase": "Pending", "containerStatuses": [
            waits("side", "PodInitializing"), waits("web", "ImagePullBackOff")]}}),
            ),
            (
                "failed: container web crashes",
                json!({"status": {"phase": "Running", "containerStatuses": [
            waits("side", "ErrImagePull"), waits("web", "CrashLoopBackOff")]}}),
            ),
            (
                "... container init waits: CrashLoopBackOff",
                json!({"status": {"phase": "Pending",
            "initContainerStatuses": [waits("init", "CrashLoopBackOff")]}}),
            ),
            (
                "... Unschedulable: 0/3 nodes",
                json!({"status": {"phase": "Pending", "conditions": [
            condition("PodScheduled", "False", "Unschedulable", "0/3 nodes")]}}),
            ),
            (
                "failed: Evicted: disk",
                json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "disk"}}),
            ),
            ("failed: containers failed", json!({"status": {"phase": "Failed"}})),
        ],
    );
}

#[test]
fn jobs() {
    table(
        "batch",
        "Job",
        &json!({"spec": {"completions": 3}}),
        &[
            ("... 0 of 3 completions", json!({})),
            ("... 1 of 3 completions, 2 failed pods", json!({"status": {"succeeded": 1, "failed": 2}})),
            ("... 0 of 2 completions", json!({"spec": {"completions": null, "parallelism": 2}})),
            ("ok", json!({"status": {"conditions": [condition("Complete", "True", "", "")]}})),
            ("ok", json!({"spec": {"suspend": true}})),
            (
                "failed: BackoffLimitExceeded: too often",
                json!({"status": {"conditions": [
            condition("Failed", "True", "BackoffLimitExceeded", "too often")]}}),
            ),
            (
                "failed: FailureTarget is True: DeadlineExceeded",
                json!({"status": {"conditions": [condition("FailureTarget", "True", "DeadlineExceeded", "")]}}),
            ),
            (
                "... 0 of 3 completions",
                json!({"status": {"conditions": [condition("SuccessCriteriaMet", "True", "SuccessPolicy", "")]}}),
            ),
        ],
    );
    check(&kind("batch", "CronJob"), &json!({}), "ok");
}

#[test]
fn services_and_volumes() {
    table(
        "",
        "Service",
        &json!({}),
        &[
            ("ok", json!({"spec": {"type": "ClusterIP"}})),
            ("ok", json!({"spec": {"type": "ExternalName"}})),
            ("... no address", json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}})),
            (
                "... no address",
                json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": []}}}),
            ),
            (
                "ok",
                json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
            ),
        ],
    );
    table(
        "",
        "PersistentVolumeClaim",
        &json!({}),
        &[
            ("ok", json!({"status": {"phase": "Bound"}})),
            ("unbound: default", json!({"status": {"phase": "Pending"}})),
            ("unbound: default", json!({})),
            ("unbound: fast", json!({"spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}})),
            (
                "unbound: old",
                json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
                    "spec": {"storageClassName": "fast"}}),
            ),
            ("... only a volume without a class fits", json!({"spec": {"storageClassName": ""}})),
            (
                "... not bound to volume pv-1",
                json!({"spec": {"storageClassName": "fast", "volumeName": "pv-1"}}),
            ),
            (
                "... for node n1",
                json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}},
                    "spec": {"storageClassName": "fast"}}),
            ),
            (
                "... ControllerResizeError is True: quota",
                json!({"status": {"phase": "Bound", "conditions": [
                    condition("ControllerResizeError", "True", "", "quota")]}}),
            ),
            ("terminating", json!({"metadata": {"deletionTimestamp": "2026-11-23T05:00:00Z"}})),
            ("failed: lost", json!({"status": {"phase": "Lost"}})),
        ],
    );
    table(
        "",
        "PersistentVolume",
        &json!({}),
        &[
            ("ok", json!({"status": {"phase": "Available"}})),
            ("failed: reclaiming failed: busy", json!({"status": {"phase": "Failed", "message": "busy"}})),
        ],
    );
    table(
        "policy",
        "PodDisruptionBudget",
        &json!({"metadata": {"generation": 1}}),
        &[
            ("... not seen", json!({})),
            ("ok", json!({"status": {"observedGeneration": 1, "currentHealthy": 0, "desiredHealthy": 1}})),
        ],
    );
}

#[test]
fn kinds_that_extend_the_api() {
    let accepted = condition("NamesAccepted", "True", "", "");
    table(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &json!({}),
        &[
            ("... being installed", json!({})),
            (
                "... being installed",
                json!({"status": {"conditions": [accepted,
            condition("Established", "False", "Installing", "")]}}),
            ),
            ("ok", json!({"status": {"conditions": [accepted, condition("Established", "True", "", "")]}})),
            (
                "failed: MultipleNamesConflict",
                json!({"status": {"conditions": [
            condition("NamesAccepted", "False", "MultipleNamesConflict", "taken")]}}),
            ),
            (
                "failed: NotAccepted",
                json!({"status": {"conditions": [accepted,
            condition("Established", "False", "NotAccepted", "")]}}),
            ),
        ],
    );
    table(
        "apiregistration.k8s.io",
        "APIService",
        &json!({}),
        &[
            ("ok", json!({"status": {"conditions": [condition("Available", "True", "", "")]}})),
            ("... has not been tried", json!({"status": null})),
            (
                "... MissingEndpoints",
                json!({"status": {"conditions": [
            condition("Available", "False", "MissingEndpoints", "")]}}),
            ),
        ],
    );
}

#[test]
fn all_others_speak_in_standard_conditions() {
    let with = |conditions: Value| json!({"status": {"conditions": conditions}});
    table(
        "example.com",
        "Database",
        &json!({"metadata": {"generation": 2}}),
        &[
            ("ok", json!({})),
            ("ok", with(json!([condition("Degraded", "True", "", "")]))),
            (
                "ok",
                with(json!([condition("Ready", "True", "", ""), condition("Available", "False", "", "")])),
            ),
            ("ok", with(json!([condition("Available", "True", "", "")]))),
            (
                "... Ready is False: Down: connection refused",
                with(json!([condition("Ready", "False", "Down", "connection\nrefused\u{202e}")])),
            ),
            ("... Ready is Unknown", with(json!([condition("Ready", "Unknown", "", "")]))),
            ("... Available is False", with(json!([condition("Available", "False", "", "")]))),
            (
                "failed: Stalled is True: BadSpec",
                with(json!([
                    condition("Ready", "False", "", ""),
                    condition("Stalled", "True", "BadSpec", "")
                ])),
            ),
            (
                "... Reconciling is True",
                with(json!([condition("Reconciling", "True", "", ""), condition("Ready", "True", "", "")])),
            ),
            (
                "... generation 2 is not observed",
                json!({"status": {"observedGeneration": 1, "conditions": [
            condition("Stalled", "True", "", "")]}}),
            ),
            (
                "... Ready is False",
                with(json!([condition("Ready", "False", "", ""),
            {"type": "Stalled", "status": "True", "observedGeneration": 1}])),
            ),
            (
                "... Ready is not of generation 2",
                with(json!([
            {"type": "Ready", "status": "True", "observedGeneration": 1}])),
            ),
            ("ok", with(json!("nonsense"))),
            ("terminating", json!({"metadata": {"deletionTimestamp": "2026-11-23T05:00:00Z"}})),
        ],
    );
    // A kind of the server itself without a rule is healthy once it is there.
    check(
        &kind("", "ConfigMap"),
        &json!({"status": {"conditions": [condition("Ready", "False", "", "")]}}),
        "ok",
    );
}

#[test]
fn gateways_and_routes() {
    let with =
        |conditions: Value| json!({"metadata": {"generation": 2}, "status": {"conditions": conditions}});
    let old = json!({"type": "Programmed", "status": "True", "observedGeneration": 1});
    let group = "gateway.networking.k8s.io";
    for (name, object, wanted) in [
        ("GatewayClass", json!({}), "ok"),
        ("GatewayClass", with(json!([condition("Accepted", "Unknown", "Pending", "")])), "ok"),
        (
            "GatewayClass",
            with(json!([condition("Accepted", "False", "InvalidParameters", "no")])),
            "... InvalidParameters: no",
        ),
        ("Gateway", json!({}), "... no controller"),
        ("Gateway", with(json!([condition("Programmed", "True", "", "")])), "ok"),
        (
            "Gateway",
            with(json!([condition("Programmed", "Unknown", "Pending", "Waiting for controller")])),
            "... Waiting for controller",
        ),
        (
            "Gateway",
            with(json!([condition("Programmed", "False", "AddressNotAssigned", "")])),
            "... AddressNotAssigned",
        ),
        (
            "Gateway",
            with(json!([
                condition("Accepted", "False", "Invalid", ""),
                condition("Programmed", "True", "", "")
            ])),
            "... Accepted is False: Invalid",
        ),
        ("Gateway", with(json!([old])), "... not of the newest generation"),
        ("ReferenceGrant", json!({}), "ok"),
        ("BackendTLSPolicy", json!({}), "ok"),
    ] {
        check(&kind(group, name), &object, wanted);
    }
    let parents = |conditions: Value| {
        json!({"metadata": {"generation": 2}, "spec": {"parentRefs": [{"name": "main"}]},
        "status": {"parents": [{"parentRef": {"name": "main"}, "conditions": conditions}]}})
    };
    for name in ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"] {
        for (object, wanted) in [
            (json!({}), "ok"),
            (json!({"spec": {"parentRefs": [{"name": "main"}]}}), "... no gateway has taken it yet"),
            (
                parents(json!([
                    condition("Accepted", "True", "", ""),
                    condition("ResolvedRefs", "True", "", "")
                ])),
                "ok",
            ),
            (
                parents(json!([condition("Accepted", "False", "NoMatchingParent", "")])),
                "... main: Accepted is False: NoMatchingParent",
            ),
            (
                parents(json!([
                    condition("Accepted", "True", "", ""),
                    condition("ResolvedRefs", "False", "BackendNotFound", "")
                ])),
                "... BackendNotFound",
            ),
            (
                parents(json!([{"type": "Accepted", "status": "True", "observedGeneration": 1}])),
                "... main has not looked",
            ),
        ] {
            check(&kind(group, name), &object, wanted);
        }
    }
}

#[test]
fn any_object_may_be_left_out_of_health() {
    let ignored = |value: &str, more: Value| {
        merge(&json!({"metadata": {"annotations": {"fairlead.dev/health": value}}}), &more)
    };
    check(&kind("", "Service"), &ignored("ignore", json!({"spec": {"type": "LoadBalancer"}})), "ok");
    check(&kind("", "PersistentVolumeClaim"), &ignored("ignore", json!({})), "ok");
    check(
        &kind("batch", "Job"),
        &ignored("ignore", json!({"status": {"conditions": [condition("Failed", "True", "", "")]}})),
        "ok",
    );
    check(
        &kind("example.com", "Database"),
        &ignored("ignore", json!({"status": {"conditions": [condition("Ready", "False", "", "")]}})),
        "ok",
    );
    check(
        &kind("", "Service"),
        &ignored("Ignore", json!({"spec": {"type": "LoadBalancer"}})),
        "... no address",
    );
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-11-23T05:00:00Z"}});
    check(&kind("", "Service"), &ignored("ignore", leaving), "terminating");
}

#[test]
fn an_old_deadline_says_nothing_of_a_newer_change() {
    let with = |written: &str, exceeded: &str| {
        json!({
        "metadata": {"generation": 3, "managedFields": [
            {"manager": "fairlead-default", "operation": "Apply", "time": written},
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": "2026-11-23T12:09:00Z"}]},
        "spec": {"replicas": 1, "progressDeadlineSeconds": 60},
        "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": exceeded}]}})
    };
    let deployment = kind("apps", "Deployment");
    check(
        &deployment,
        &with("2026-11-23T12:00:00Z", "2026-11-23T12:01:00Z"),
        "failed: progress deadline exceeded",
    );
    check(&deployment, &with("2026-11-23T12:02:00Z", "2026-11-23T12:01:00Z"), "... 1 old replica");
}

#[test]
fn kinds_with_a_rule_are_watched_whole() {
    let whole = [
        ("apps", "Deployment"),
        ("", "Pod"),
        ("example.com", "Database"),
        ("gateway.networking.k8s.io", "Gateway"),
    ];
    for (group, name) in whole {
        assert!(needs_whole(&kind(group, name)), "{group} {name}");
    }
    let metadata = [
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "Namespace"),
        ("batch", "CronJob"),
        ("rbac.authorization.k8s.io", "Role"),
        ("networking.k8s.io", "Ingress"),
        ("autoscaling", "HorizontalPodAutoscaler"),
    ];
    for (group, name) in metadata {
        assert!(!needs_whole(&kind(group, name)), "{group} {name}");
    }
}

#[test]
fn objects_are_reduced_on_arrival() {
    let digest = "ab".repeat(32);
    let object = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "42", "generation": 3,
            "creationTimestamp": "2026-11-23T05:00:00Z",
            "labels": {"applyset.kubernetes.io/part-of": "applyset-x-v1"},
            "annotations": {"fairlead.dev/digest": digest, "fairlead.dev/prune": "allow", "fairlead.dev/replace": "no"},
            "managedFields": [
                {"manager": "fairlead-default", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
                {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            ]},
        "spec": {"replicas": 3}, "status": {"observedGeneration": 2},
    });
    let ignore = |kind: &str, path: &str| IgnoredPath {
        kind: Some(kind.into()),
        group: None,
        name: None,
        path: path.into(),
    };
    let ignored = [ignore("Deployment", "/spec/replicas"), ignore("StatefulSet", "/spec/paused")];
    let observer = Observer { manager: "fairlead-default", set: None, ignored: &ignored };
    let reduced = observer.reduce(&kind("apps", "Deployment"), &object).unwrap();
    assert_eq!(reduced.key.to_string(), "Deployment shop/web");
    assert_eq!(
        reduced.verdict,
        Verdict::Progressing("generation 3 is not observed yet (status is of 2)".into())
    );
    let seen = reduced.object;
    assert_eq!((&*seen.uid, &*seen.resource_version, seen.generation), ("u-1", "42", Some(3)));
    assert_eq!(seen.created.unwrap().to_string(), "2026-11-23T05:00:00Z");
    assert_eq!(seen.digest.unwrap().to_string(), digest);
    assert_eq!(seen.part_of.as_deref(), Some("applyset-x-v1"));
    assert_eq!(seen.managers.iter().map(|m| &**m).collect::<Vec<_>>(), ["hpa"]);
    assert_eq!(seen.yielded, ["/spec/replicas"]);
    assert!(seen.fields.is_some() && seen.prune_allowed && !seen.replace_allowed && !seen.terminating);

    let mut held = object.clone();
    for (until, expected) in [("2026-11-23T18:00:00+01:00", Some("2026-11-23T17:00:00Z")), ("tomorrow", None)]
    {
        held["metadata"]["annotations"] = json!({"fairlead.dev/hold-until": until});
        let edit = json!({"f:metadata": {"f:annotations": {"f:fairlead.dev/hold-until": {}}}});
        held["metadata"]["managedFields"][1] =
            json!({"manager": "kubectl-edit", "operation": "Update", "fieldsV1": edit});
        let glass = observer.reduce(&kind("apps", "Deployment"), &held).unwrap().object.glass.unwrap();
        assert_eq!(glass.until.map(|until| until.to_string()).as_deref(), expected);
        assert_eq!(glass.by, ["kubectl-edit"]);
    }

    let bare = json!({"metadata": {"name": "a", "uid": "u", "labels": null, "annotations": {"fairlead.dev/digest": "x"}}});
    let seen = observer.reduce(&kind("", "ConfigMap"), &bare).unwrap();
    assert_eq!((seen.key.namespace(), seen.object.digest, seen.object.fields), (None, None, None));
    for broken in
        [json!({}), json!({"metadata": {"name": "a"}}), json!({"metadata": {"uid": "a"}}), json!([])]
    {
        assert_eq!(observer.reduce(&kind("", "ConfigMap"), &broken), None);
    }
}

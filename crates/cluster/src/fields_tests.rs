use serde_json::{Value, json};

use super::*;

const US: &str = "fairlead-default";

/// A Deployment as an API server gives it: ours, scaled by an autoscaler, touched by the controller.
fn deployment() -> Value {
    json!({
        "metadata": {"name": "web", "managedFields": [
            {"manager": US, "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-11-23T05:00:00Z",
             "fieldsType": "FieldsV1", "fieldsV1": {
                "f:metadata": {"f:annotations": {"f:fairlead.dev/digest": {}},
                               "f:labels": {"f:applyset.kubernetes.io/part-of": {}}},
                "f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:containers": {
                    "k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}, "f:ports": {
                        "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}}},
            {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "autoscaling/v1",
             "subresource": "scale", "time": "2026-11-23T05:01:00Z", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "apps/v1",
             "subresource": "status", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:deployment.kubernetes.io/revision": {}}},
                          "f:status": {"f:conditions": {".": {}, "k:{\"type\":\"Available\"}": {".": {}}}}}},
            {"manager": "kubectl-set", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
             "fieldsV1": {
                "f:metadata": {"f:finalizers": {".": {}, "v:\"example.com/guard\"": {}}},
                "f:spec": {"f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
                "f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"sidecar\"}": {".": {}, "f:name": {}, "f:resources": {}},
                "k:{\"name\":\"web\"}": {"f:env": {".": {}, "k:{\"name\":\"A\"}": {".": {}, "f:value": {}}},
                    "f:ports": {"k:{\"containerPort\":443,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}}}}}}}},
            {"manager": US, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:spec": {"f:paused": {}}}},
        ]},
        "spec": {"template": {"spec": {"containers": [
            {"name": "sidecar", "resources": {"limits": {"cpu": "1"}}},
            {"name": "web", "image": "a", "env": [{"name": "A", "value": "1"}],
             "ports": [{"containerPort": 80}, {"containerPort": 443, "name": "tls"}]},
        ]}}}
    })
}

#[test]
fn our_entry_is_the_applied_one_on_the_object_itself() {
    let object = deployment();
    assert_eq!(our_entry(&object, US).unwrap()["time"], "2026-11-23T05:00:00Z");
    assert_eq!(our_entry(&object, "fairlead-other"), None);
    assert_eq!(our_entry(&json!({"metadata": {}}), US), None);
    assert_eq!(our_digest(&json!({"metadata": {"managedFields": "nonsense"}}), US), None);
    assert_eq!(other_managers(&object, US), ["fairlead-default", "kube-controller-manager", "kubectl-set"]);
}

#[test]
fn the_digest_sees_fields_and_not_the_time() {
    let first = deployment();
    let digest = our_digest(&first, US).unwrap();
    let mut later = first.clone();
    later["metadata"]["managedFields"][0]["time"] = json!("2026-11-24T00:00:00Z");
    later["metadata"]["managedFields"][3]["manager"] = json!("kubectl-edit");
    assert_eq!(our_digest(&later, US), Some(digest));
    let changes: [fn(&mut Value); 4] = [
        |entry| drop(entry["fieldsV1"]["f:spec"].as_object_mut().unwrap().remove("f:selector")),
        |entry| entry["fieldsV1"]["f:spec"]["f:minReadySeconds"] = json!({}),
        |entry| entry["apiVersion"] = json!("apps/v2"),
        |entry| {
            // The same names, nested otherwise.
            let spec = entry["fieldsV1"]["f:spec"].as_object_mut().unwrap();
            let selector = spec.remove("f:selector").unwrap();
            spec["f:template"]["f:selector"] = selector;
        },
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut object = first.clone();
        change(&mut object["metadata"]["managedFields"][0]);
        assert_ne!(our_digest(&object, US), Some(digest), "change {index}");
    }
}

#[test]
fn owners_of_a_field_are_found_through_lists() {
    let object = deployment();
    let table: &[(&str, &[&str])] = &[
        ("/spec/replicas", &["kube-controller-manager"]),
        ("/spec", &["fairlead-default", "kube-controller-manager", "kubectl-set"]),
        ("/spec/paused", &[US]), // by update, under our name: not our entry
        ("/spec/selector", &[]), // ours alone
        ("/spec/selector/matchLabels/app", &[]),
        ("/metadata/annotations", &["kube-controller-manager"]),
        ("/metadata/annotations/deployment.kubernetes.io~1revision", &["kube-controller-manager"]),
        ("/metadata/annotations/fairlead.dev~1digest", &[]),
        ("/spec/template/spec/containers/[name=web]/image", &[]),
        ("/spec/template/spec/containers/[name=web]/env", &["kubectl-set"]),
        ("/spec/template/spec/containers/*/env/*/value", &["kubectl-set"]),
        ("/spec/template/spec/containers/*/ports/[containerPort=443]/name", &["kubectl-set"]),
        ("/spec/template/spec/containers/*/ports/[containerPort=80]/name", &[]),
        // A leaf is owned with all that is in it.
        ("/spec/template/spec/containers/[name=sidecar]/resources/limits/cpu", &["kubectl-set"]),
        ("/spec/template/spec/containers/[name=none]/image", &[]),
        ("/nothing", &[]),
        ("spec/replicas", &[]),
        ("", &[]),
    ];
    for (pattern, expected) in table {
        assert_eq!(owners(&object, US, pattern), *expected, "{pattern}");
    }
}

#[test]
fn our_own_fields_are_told_as_pointers() {
    assert_eq!(
        our_paths(&deployment(), US),
        [
            "/metadata/annotations/fairlead.dev~1digest",
            "/metadata/labels/applyset.kubernetes.io~1part-of",
            "/spec/selector",
            "/spec/template/spec/containers/1/image",
            "/spec/template/spec/containers/1/name",
            "/spec/template/spec/containers/1/ports/0/containerPort",
        ]
    );
}

#[test]
fn what_is_yielded_is_no_more_than_what_others_own() {
    let object = deployment();
    let yields = |patterns: &[&str]| yielded(&object, US, patterns.iter().copied());
    let web = r#"/spec/template/spec/containers/k:{"name":"web"}"#;
    assert_eq!(yields(&["/spec/replicas", "/spec/selector"]), ["/spec/replicas"]);
    assert_eq!(
        yields(&["/metadata/annotations"]),
        ["/metadata/annotations/deployment.kubernetes.io~1revision"]
    );
    assert_eq!(
        yields(&["/spec/strategy", "/spec/strategy/rollingUpdate/maxSurge"]),
        ["/spec/strategy/rollingUpdate/maxSurge"]
    );
    // A merge key is never left out: without it an item is none. `A` is theirs as a whole.
    assert_eq!(
        yields(&["/spec/template/spec/containers/[name=web]"]),
        [
            format!(r#"{web}/env/k:{{"name":"A"}}/value"#),
            format!(r#"{web}/ports/k:{{"containerPort":443,"protocol":"TCP"}}/name"#),
        ]
    );
    assert_eq!(
        yields(&["/spec/template/spec/containers/[name=sidecar]"]),
        [r#"/spec/template/spec/containers/k:{"name":"sidecar"}"#]
    );
    assert_eq!(
        yields(&["/spec/template/spec/containers/[name=web]/env/*"]),
        [format!(r#"{web}/env/k:{{"name":"A"}}"#)]
    );
    // Which item an index means is not known without Git's list: any may be.
    assert_eq!(
        yields(&["/spec/template/spec/containers/0/resources/limits"]),
        [r#"/spec/template/spec/containers/k:{"name":"sidecar"}/resources"#]
    );
    assert_eq!(yields(&["/metadata/finalizers/0"]), [r#"/metadata/finalizers/v:"example.com~1guard""#]);
    assert!(yields(&[]).is_empty());
}

#[test]
fn an_empty_map_of_others_is_no_claim_to_what_we_have_in_it() {
    let object = |ours: Value| {
        json!({"metadata": {"managedFields": [
            {"manager": US, "operation": "Apply", "fieldsV1": {"f:spec": {"f:emptyDir": ours}}},
            {"manager": "x", "operation": "Update", "fieldsV1": {"f:spec": {"f:emptyDir": {}}}},
        ]}})
    };
    let yields = |object: Value| yielded(&object, US, ["/spec/emptyDir/sizeLimit"]);
    assert!(yields(object(json!({"f:sizeLimit": {}}))).is_empty());
    assert_eq!(yields(object(json!({}))), ["/spec/emptyDir"], "atomic: it is theirs as a whole");
}

#[test]
fn co_ownership_is_of_fields_and_not_through_subresources() {
    let object = |theirs: Value, subresource: &str| {
        json!({"metadata": {"managedFields": [
            {"manager": US, "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}, "f:l": {"k:{\"name\":\"x\"}": {".": {}, "f:i": {}}}}},
            {"manager": "x", "operation": "Update", "subresource": subresource, "fieldsV1": theirs},
        ]}})
    };
    for (theirs, subresource, expected) in [
        (json!({"f:data": {".": {}, "f:a": {}}}), "", true),
        (json!({"f:data": {".": {}, "f:b": {}}}), "", false),
        (json!({"f:data": {}}), "", false),
        (json!({"f:data": {"f:a": {}}}), "status", false),
        (json!({"f:l": {"k:{\"name\":\"x\"}": {".": {}}}}), "", false),
        (json!({"f:l": {"k:{\"name\":\"x\"}": {".": {}, "f:i": {}}}}), "", true),
    ] {
        assert_eq!(is_shared(&object(theirs.clone(), subresource), US), expected, "{theirs} {subresource}");
    }
    assert!(!is_shared(&json!({}), US));
}

#[test]
fn a_refused_apply_names_managers_and_fields() {
    let status = json!({
        "kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409,
        "message": "Apply failed with 3 conflicts: ...",
        "details": {"name": "web", "kind": "deployments", "causes": [
            {"reason": "FieldManagerConflict", "field": ".spec.replicas",
             "message": "conflict with \"kube-controller-manager\" with subresource \"scale\" using autoscaling/v1"},
            {"reason": "FieldManagerConflict", "field": ".spec.template.spec.containers[name=\"web\"].image",
             "message": "conflict with \"kubectl \\\"x\\\"\\u001b[31m\" using apps/v1 at 2026-11-23T05:00:00Z"},
            {"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": "conflict with \"helm\""},
            {"reason": "FieldValueInvalid", "field": ".spec", "message": "conflict with \"nobody\""},
        ]},
    });
    let found = conflicts(&status);
    assert_eq!(found.len(), 3);
    let (managers, fields) = managers_and_fields(&found);
    assert_eq!(managers, ["helm", "kube-controller-manager", "kubectl \"x\"u001b[31m"]);
    assert_eq!(fields, [".spec.replicas", ".spec.template.spec.containers[name=\"web\"].image"]);
    let modified = json!({"kind": "Status", "reason": "Conflict", "code": 409,
        "message": "Operation cannot be fulfilled: the object has been modified", "details": {}});
    assert!(conflicts(&modified).is_empty());
    assert!(conflicts(&Value::Null).is_empty());
}

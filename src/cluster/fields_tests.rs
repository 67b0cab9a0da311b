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
fn owners_of_a_pointer_are_found_through_lists() {
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
        ("/spec/template/spec/containers/1/image", &[]),
        ("/spec/template/spec/containers/1/env", &["kubectl-set"]),
        ("/spec/template/spec/containers/1/env/0/value", &["kubectl-set"]),
        // A key's default may be missing in the shape; a leaf is owned with all that is in it.
        ("/spec/template/spec/containers/1/ports/1/name", &["kubectl-set"]),
        ("/spec/template/spec/containers/1/ports/0/name", &[]),
        ("/spec/template/spec/containers/0/resources/limits/cpu", &["kubectl-set"]),
        ("/spec/template/spec/containers/7/image", &[]),
        ("/nothing", &[]),
        ("spec/replicas", &[]),
        ("", &[]),
    ];
    for (pointer, expected) in table {
        assert_eq!(owners(&object, US, pointer, &object), *expected, "{pointer}");
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
fn indices_count_in_the_shape() {
    let object = deployment();
    // In our manifest `web` is the only container: the injected sidecar is not there.
    let manifest =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "A"}]}]}}}});
    let pointer = "/spec/template/spec/containers/0/env/0/value";
    assert_eq!(owners(&object, US, pointer, &manifest), ["kubectl-set"]);
    assert!(owners(&object, US, pointer, &object).is_empty());
    assert!(owners(&object, US, pointer, &Value::Null).is_empty());
}

#[test]
fn what_is_yielded_is_no_more_than_what_others_own() {
    let object = deployment();
    let yields = |pointers: &[&str]| yielded(&object, US, pointers.iter().copied(), &object);
    assert_eq!(yields(&["/spec/replicas", "/spec/selector"]), ["/spec/replicas"]);
    assert_eq!(
        yields(&["/metadata/annotations"]),
        ["/metadata/annotations/deployment.kubernetes.io~1revision"]
    );
    assert_eq!(
        yields(&["/spec/strategy", "/spec/strategy/rollingUpdate/maxSurge"]),
        ["/spec/strategy/rollingUpdate/maxSurge"]
    );
    assert_eq!(
        yields(&["/spec/template/spec/containers/1"]),
        ["/spec/template/spec/containers/1/env/0/value", "/spec/template/spec/containers/1/ports/1/name"]
    );
    assert!(yields(&[]).is_empty());
}

#[test]
fn a_body_is_sent_without_what_is_yielded() {
    let body = br#"{"metadata":{"annotations":{"a/b":"1","c":"2"}},"spec":{"list":[0,1,2,3,4,5,6,7,8,9,10],"replicas":3}}"#;
    let without = |pointers: &[&str]| {
        let pointers: Vec<String> = pointers.iter().map(|p| (*p).to_owned()).collect();
        String::from_utf8(body_without(body, &pointers).unwrap()).unwrap()
    };
    assert_eq!(without(&[]).as_bytes(), body);
    assert_eq!(
        without(&["/spec/replicas", "/metadata/annotations/a~1b", "/spec/none/deeper", "/spec/list/99"]),
        r#"{"metadata":{"annotations":{"c":"2"}},"spec":{"list":[0,1,2,3,4,5,6,7,8,9,10]}}"#
    );
    assert_eq!(
        without(&["/metadata", "/spec/list/2", "/spec/list/10", "/spec/list/9"]),
        r#"{"spec":{"list":[0,1,3,4,5,6,7,8],"replicas":3}}"#
    );
    assert!(body_without(b"{", &["/a".to_owned()]).is_err());
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

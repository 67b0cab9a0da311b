//! What is added to an object before it is sent, and what is left out. Pure.

use serde_json::{Value, json};

use super::ledger::{FLEET_LABEL, INSTANCE_LABEL, PART_OF};
use fairlead_core::model::field_path;
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::ReleaseObject;
use fairlead_core::plan::leave_to_controllers;
use fairlead_core::plan::offline::fold_string_data;

/// Annotation that names the bytes of an object before stamping.
pub const DIGEST: &str = "fairlead.dev/digest";

/// The body of an apply: the object, a member of `set`, with its digest, in the namespace that it really has,
/// without what controllers own and the fields at the paths `leave_out`.
pub fn body(
    object: &ReleaseObject,
    key: &ObjectKey,
    set: &str,
    leave_out: &[String],
) -> serde_json::Result<Value> {
    let mut body: Value = serde_json::from_slice(&object.bytes)?;
    // Sent as `stringData`, our entry would not have the field in which others change the value.
    fold_string_data(&mut body);
    leave_to_controllers(&mut body);
    field_path::remove(&mut body, leave_out);
    if !body.is_object() {
        body = json!({});
    }
    let metadata = map_in(&mut body, "metadata");
    metadata["name"] = json!(key.name());
    if let Some(namespace) = key.namespace() {
        metadata["namespace"] = json!(namespace);
    }
    for field in ["labels", "annotations"] {
        // Refused when the object was read; nothing of another set may come through here all the same.
        if let Some(map) = map_in(metadata, field).as_object_mut() {
            map.retain(|key, _| !is_of_a_set(key));
        }
    }
    map_in(metadata, "labels")[PART_OF] = json!(set);
    map_in(metadata, "annotations")[DIGEST] = json!(object.digest);
    Ok(body)
}

/// Whether a label or annotation says to which set an object belongs, or that it is one.
fn is_of_a_set(key: &str) -> bool {
    key.starts_with("applyset.kubernetes.io/") || key == FLEET_LABEL || key == INSTANCE_LABEL
}

/// The map in a field; what is no map is replaced, as the server would refuse it.
fn map_in<'a>(map: &'a mut Value, field: &str) -> &'a mut Value {
    let inner = &mut map[field];
    if !inner.is_object() {
        *inner = json!({});
    }
    inner
}

/// Whether everything that was sent is in the live object. What the server or others added is no difference; a
/// null that was sent stands for nothing there.
pub fn covers(live: &Value, sent: &Value) -> bool {
    match (live, sent) {
        (Value::Object(live), Value::Object(sent)) => sent.iter().all(|(name, value)| match live.get(name) {
            Some(has) => covers(has, value),
            None => is_empty(value),
        }),
        (Value::Array(live), Value::Array(sent)) => {
            live.len() == sent.len() && live.iter().zip(sent).all(|(live, sent)| covers(live, sent))
        }
        (Value::Number(live), Value::Number(sent)) => live == sent || live.as_f64() == sent.as_f64(),
        _ => live == sent,
    }
}

/// Empty maps, lists and nulls are not kept by the server.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::model::diagnostic::Place;
    use fairlead_core::model::digest::ObjectDigest;

    fn object(value: &Value) -> (ReleaseObject, ObjectKey) {
        let key = ObjectKey::new("apps", "Deployment", "default", "web");
        let bytes = value.to_string().into_bytes();
        let object = ReleaseObject {
            key: key.with_namespace(None),
            version: "v1".into(),
            digest: ObjectDigest::of([bytes.as_slice()]),
            bytes: bytes.into(),
            place: Place::default(),
        };
        (object, key)
    }

    #[test]
    fn objects_are_stamped_and_ignored_fields_left_out() {
        let (object, key) = object(&json!({
            "metadata": {
                "name": "web", "annotations": null,
                "labels": {"app": "web", PART_OF: "another", "applyset.kubernetes.io/id": "another"},
            },
            "spec": {"replicas": 3, "list": [{"name": "a", "x": 1}, {"name": "b", "x": 1}]},
        }));
        let left_out = ["/spec/replicas".into(), r#"/spec/list/k:{"name":"b"}/x"#.into()];
        let body = body(&object, &key, "set", &left_out).unwrap();
        let expected = json!({
            "metadata": {"name": "web", "namespace": "default",
                "labels": {"app": "web", PART_OF: "set"},
                "annotations": {DIGEST: object.digest.to_string()}},
            "spec": {"list": [{"name": "a", "x": 1}, {"name": "b"}]},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_others_added_is_no_difference() {
        let live = json!({"a": {"b": 1, "c": [{"x": 1, "default": true}]}, "d": "e"});
        for same in [json!({"a": {"b": 1.0}}), json!({"a": {"c": [{"x": 1}]}}), json!({"n": null, "m": {}})] {
            assert!(covers(&live, &same), "{same}");
        }
        for other in [json!({"a": {"b": 2}}), json!({"a": {"c": []}}), json!({"z": 1}), json!({"d": null})] {
            assert!(!covers(&live, &other), "{other}");
        }
    }
}

//! Taking an object over in full: what the managers before us own becomes ours, in `metadata.managedFields`.
//!
//! Without that, a field that an old manager had set to the value that Git gives it has two owners, and stays in the
//! cluster when Git drops it. As kubectl's own upgrade to server-side apply does (`csaupgrade` in client-go), the
//! old manager's entry is merged into ours. Pure.

use serde_json::{Map, Value, json};

use super::fields::{names_item, our_entry};
use crate::model::object::ObjectKey;

type Set = Map<String, Value>;

/// How much of an old manager's entry becomes ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it: what Git does not have goes with the next apply.
    All,
    /// The fields that Git has. The others stay where they are, with their owner.
    Shared,
}

impl Extent {
    /// Of some kinds a field that was set once, be it by a default, can't be taken out again.
    pub fn of(key: &ObjectKey) -> Self {
        let sealed = ["PersistentVolumeClaim", "PersistentVolume", "Pod"];
        if sealed.iter().any(|kind| key.is("", kind)) { Self::Shared } else { Self::All }
    }
}

/// What others need to let go of an object, and to find what it belongs to; never taken from them.
const THEIRS: [&str; 2] = ["f:finalizers", "f:ownerReferences"];

/// The managed fields of `live` after `manager` took over from every manager that sets a field of `body`, which is
/// what will be applied. None: there is no such manager. Subresources, and what was set through another version of
/// the kind, are left alone.
pub fn take_over(live: &Value, manager: &str, body: &Value, extent: Extent) -> Option<Vec<Value>> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let mut ours = our_entry(live, manager).cloned().unwrap_or_else(|| {
        let entry = json!({"manager": manager, "operation": "Apply", "apiVersion": body["apiVersion"],
            "fieldsType": "FieldsV1", "fieldsV1": {}});
        entry.as_object().cloned().unwrap_or_default()
    });
    let mut set = ours.get("fieldsV1").and_then(Value::as_object).cloned().unwrap_or_default();
    let (mut rest, mut taken) = (Vec::new(), false);
    for entry in entries {
        if entry["manager"] == manager && entry["operation"] == "Apply" && entry["subresource"].is_null() {
            continue;
        }
        let theirs = entry["fieldsV1"].as_object().filter(|_| {
            entry["apiVersion"] == body["apiVersion"]
                && entry["subresource"].as_str().is_none_or(str::is_empty)
        });
        let Some(theirs) = theirs.filter(|theirs| overlaps(theirs, body)) else {
            rest.push(entry.clone());
            continue;
        };
        taken = true;
        let (moved, left) = match extent {
            Extent::All => without_theirs(theirs),
            Extent::Shared => split(theirs, body),
        };
        merge(&mut set, moved);
        if !left.is_empty() {
            let mut entry = entry.clone();
            entry["fieldsV1"] = Value::Object(left);
            rest.push(entry);
        }
        if let Some(time) = entry.get("time") {
            ours.insert("time".to_owned(), time.clone());
        }
    }
    ours.insert("fieldsV1".to_owned(), Value::Object(set));
    rest.push(Value::Object(ours));
    taken.then_some(rest)
}

/// The value of `body` that a path element stands for.
fn child<'a>(body: &'a Value, element: &str) -> Option<&'a Value> {
    match element.strip_prefix("f:") {
        Some(field) => body.get(field),
        None => {
            let mut items = body.as_array()?.iter().enumerate();
            items.find(|(index, item)| names_item(element, *index, item)).map(|(_, item)| item)
        }
    }
}

/// Whether a field of the set has a value in `body`. That a map or a list is there (`.`) is nobody's field.
fn overlaps(set: &Set, body: &Value) -> bool {
    set.iter().any(|(element, below)| match (child(body, element), below.as_object()) {
        (Some(value), Some(below)) => below.is_empty() || overlaps(below, value),
        _ => false,
    })
}

/// What has a value in `body`, and what has not.
fn split(set: &Set, body: &Value) -> (Set, Set) {
    let (mut moved, mut left) = (Set::new(), Set::new());
    for (element, below) in set.iter().filter(|(element, _)| *element != ".") {
        let Some(value) = child(body, element) else {
            left.insert(element.clone(), below.clone());
            continue;
        };
        let empty = Set::new();
        let below = below.as_object().unwrap_or(&empty);
        if below.is_empty() {
            moved.insert(element.clone(), json!({}));
            continue;
        }
        let (inner_moved, inner_left) = split(below, value);
        for (part, whole) in [(inner_moved, &mut moved), (inner_left, &mut left)] {
            if !part.is_empty() {
                whole.insert(element.clone(), Value::Object(part));
            }
        }
    }
    // Who owns an item of a map or a list also owns that it is there.
    for part in [&mut moved, &mut left] {
        if set.contains_key(".") && !part.is_empty() {
            part.insert(".".to_owned(), json!({}));
        }
    }
    (moved, left)
}

fn without_theirs(set: &Set) -> (Set, Set) {
    let (mut moved, mut left) = (set.clone(), Set::new());
    if let Some(metadata) = moved.get_mut("f:metadata").and_then(Value::as_object_mut) {
        let kept: Set = THEIRS.iter().filter_map(|name| metadata.remove_entry(*name)).collect();
        if !kept.is_empty() {
            left.insert("f:metadata".to_owned(), Value::Object(kept));
        }
    }
    (moved, left)
}

fn merge(into: &mut Set, from: Set) {
    for (element, below) in from {
        match (into.get_mut(&element).and_then(Value::as_object_mut), below) {
            (Some(known), Value::Object(below)) => merge(known, below),
            (_, below) => {
                into.insert(element, below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(entries: Value) -> Value {
        json!({"metadata": {"managedFields": entries}})
    }

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": "2026-01-01T00:00:00Z", "fieldsV1": fields})
    }

    fn body() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"a": "b"}},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "main", "image": "i"}]}}}})
    }

    fn of<'a>(entries: &'a [Value], manager: &str) -> Option<&'a Value> {
        entries.iter().find(|entry| entry["manager"] == manager).map(|entry| &entry["fieldsV1"])
    }

    #[test]
    fn whoever_sets_a_field_of_ours_is_followed_in_full() {
        let container = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"main\"}": {".": {}, "f:image": {}, "f:env": {}}}}}}});
        let object = live(json!([
            entry("kubectl", "Update", container.clone()),
            entry("label-bot", "Update", json!({"f:metadata": {"f:annotations": {".": {}, "f:cost": {}}}})),
            {"manager": "hpa", "operation": "Update", "apiVersion": "apps/v1", "subresource": "scale",
                "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            entry("fairlead", "Apply", json!({"f:metadata": {"f:labels": {"f:a": {}}}})),
        ]));
        let entries = take_over(&object, "fairlead", &body(), Extent::All).unwrap();
        assert_eq!(of(&entries, "kubectl"), None);
        assert!(of(&entries, "label-bot").is_some() && of(&entries, "hpa").is_some());
        let mut all = container;
        all["f:metadata"] = json!({"f:labels": {"f:a": {}}});
        assert_eq!(of(&entries, "fairlead"), Some(&all));
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn the_first_take_over_makes_an_entry_and_leaves_finalizers_to_their_owner() {
        let fields =
            json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"x\"": {}}, "f:labels": {"f:a": {}}}});
        let object = live(json!([entry("operator", "Apply", fields)]));
        let entries = take_over(&object, "fairlead", &body(), Extent::All).unwrap();
        let left = json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"x\"": {}}}});
        assert_eq!(of(&entries, "operator"), Some(&left));
        let ours = entries.iter().find(|entry| entry["manager"] == "fairlead").unwrap();
        assert_eq!(ours["fieldsV1"], json!({"f:metadata": {"f:labels": {"f:a": {}}}}));
        assert_eq!((&ours["operation"], &ours["apiVersion"]), (&json!("Apply"), &json!("apps/v1")));
    }

    #[test]
    fn what_is_shared_alone_can_be_taken() {
        let fields = json!({"f:spec": {".": {}, "f:replicas": {}, "f:paused": {}}});
        let object = live(json!([entry("kubectl", "Update", fields)]));
        let entries = take_over(&object, "fairlead", &body(), Extent::Shared).unwrap();
        assert_eq!(of(&entries, "kubectl"), Some(&json!({"f:spec": {".": {}, "f:paused": {}}})));
        assert_eq!(of(&entries, "fairlead"), Some(&json!({"f:spec": {".": {}, "f:replicas": {}}})));
    }

    #[test]
    fn nobody_is_followed_who_shares_nothing() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}}}, "f:spec": {"f:paused": {}}});
        let mut old = entry("kubectl", "Update", json!({"f:spec": {"f:replicas": {}}}));
        old["apiVersion"] = json!("extensions/v1beta1");
        let object = live(json!([entry("bot", "Update", fields), old]));
        assert_eq!(take_over(&object, "fairlead", &body(), Extent::All), None);
        assert_eq!(take_over(&json!({}), "fairlead", &body(), Extent::All), None);
    }
}

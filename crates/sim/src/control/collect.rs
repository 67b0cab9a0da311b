//! What goes with something else: what is in a namespace, and what is owned.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{is_deleting, look_at, text};
use crate::cluster::{Inner, State};
use crate::delete::by_controller;
use crate::kind::Kind;
use crate::object::Key;
use crate::rules;
use std::time::Duration;

/// Writes an object without what held it; it goes, if nobody else does.
pub fn remove_finalizer(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, live: &Value, name: &str) {
    let mut value = live.clone();
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        list.retain(|one| one != name);
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    }
    write_or_remove(cluster, state, kind, value);
}

fn write_or_remove(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, value: Value) {
    let key = Key::new(text(&value, "/metadata/namespace"), text(&value, "/metadata/name"));
    if is_deleting(&value) && rules::is_free(kind, &value) {
        cluster.remove(state, kind, &key);
    } else {
        cluster.put(state, kind, value);
    }
}

/// Deletes what is in a namespace that is to go; then lets it go.
pub fn empty_namespace(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, mut value: Value) {
    let name = text(&value, "/metadata/name").to_owned();
    let kinds: Vec<Arc<Kind>> = state.kinds().filter(|kind| kind.namespaced).cloned().collect();
    let mut left = Vec::new();
    for kind in &kinds {
        let inside = |key: &Key| *key.namespace == *name;
        let keys: Vec<Key> =
            state.store.all(&kind.resource).map(|object| object.key.clone()).filter(inside).collect();
        for key in &keys {
            let deleting = state.store.get(&kind.resource, key).is_some_and(|o| is_deleting(&o.value()));
            if !deleting {
                by_controller(cluster, state, kind, key);
            }
        }
        let count = state.store.all(&kind.resource).filter(|object| inside(&object.key)).count();
        if count > 0 {
            left.push(format!("{} has {count} resource instances", kind.resource));
        }
    }
    let has_finalizers = value.pointer("/spec/finalizers").is_some();
    if left.is_empty() && has_finalizers {
        value["spec"] = json!({});
        return write_or_remove(cluster, state, kind, value);
    }
    if !left.is_empty() {
        let message = format!("Some resources are remaining: {}", left.join(", "));
        let said = value.pointer("/status/conditions/0/message").and_then(Value::as_str);
        if said != Some(&message) {
            value["status"]["conditions"] = json!([{"type": "NamespaceContentRemaining", "status": "True",
                "reason": "SomeResourcesRemain", "message": message, "lastTransitionTime": cluster.now_text()}]);
            cluster.put(state, kind, value);
        }
    }
}

fn owners(value: &Value) -> impl Iterator<Item = &Value> {
    value.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
}

/// Objects that an owner has, with their kinds.
fn dependents(state: &State, uid: &str) -> Vec<(Arc<Kind>, Value)> {
    let mut found = Vec::new();
    for kind in state.kinds() {
        let owned = state.store.all(&kind.resource).filter(|object| object.is_owned);
        for value in owned.map(|object| object.value()) {
            if owners(&value).any(|owner| owner["uid"] == uid) {
                found.push((Arc::clone(kind), value));
            }
        }
    }
    found
}

fn key_of(value: &Value) -> Key {
    Key::new(text(value, "/metadata/namespace"), text(value, "/metadata/name"))
}

/// An owner has gone: what it owned alone goes too.
pub fn owner_gone(cluster: &Inner, state: &mut State, owner: &Value) {
    let uid = text(owner, "/metadata/uid").to_owned();
    for (kind, value) in dependents(state, &uid) {
        if owners(&value).count() == 1 {
            by_controller(cluster, state, &kind, &key_of(&value));
        }
    }
    // Its owner may wait for it.
    for above in owners(owner) {
        let (group, _) = fairlead_core::model::object::split_api_version(text(above, "/apiVersion"));
        let found = state.kinds().find(|kind| kind.is(group, text(above, "/kind"))).cloned();
        if let Some(kind) = found {
            let namespace = if kind.namespaced { text(owner, "/metadata/namespace") } else { "" };
            look_at(cluster, &kind, Key::new(namespace, text(above, "/name")), Duration::ZERO);
        }
    }
}

/// Something is to go that may own others.
pub fn look_at_dependents(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, value: Value) {
    let finalizers =
        value.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let uid = text(&value, "/metadata/uid").to_owned();
    if finalizers.iter().any(|one| one == "orphan") {
        for (kind, mut dependent) in dependents(state, &uid) {
            if let Some(metadata) = dependent.get_mut("metadata").and_then(Value::as_object_mut)
                && let Some(list) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut)
            {
                list.retain(|owner| owner["uid"] != uid.as_str());
                if list.is_empty() {
                    metadata.remove("ownerReferences");
                }
            }
            cluster.put(state, &kind, dependent);
        }
        remove_finalizer(cluster, state, kind, &value, "orphan");
    } else if finalizers.iter().any(|one| one == "foregroundDeletion") {
        for (kind, dependent) in dependents(state, &uid) {
            if !is_deleting(&dependent) {
                by_controller(cluster, state, &kind, &key_of(&dependent));
            }
        }
        if dependents(state, &uid).is_empty() {
            remove_finalizer(cluster, state, kind, &value, "foregroundDeletion");
        }
    }
}

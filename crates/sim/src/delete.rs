//! Deletion.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::answer::{Answer, Target, json_answer};
use super::ask::Ask;
use super::cluster::{Inner, State};
use super::kind::Kind;
use super::object::Key;
use super::read::{View, show};
use super::refuse::Refusal;
use super::{crd, rules};

/// Kinds of which a deletion returns the object and not that it was done.
const RETURNED: [&str; 9] = [
    "Namespace",
    "Pod",
    "Service",
    "ServiceAccount",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ResourceQuota",
    "StorageClass",
    "CSIDriver",
];

/// What a delete asks for.
#[derive(Debug, Default)]
struct Options {
    uid: Option<String>,
    version: Option<String>,
    policy: String,
    dry_run: bool,
}

impl Options {
    fn read(ask: &Ask) -> Result<Self, Refusal> {
        let body: Value = if ask.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&ask.body)
                .map_err(|error| Refusal::bad_request(format!("error decoding JSON: {error}")))?
        };
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        // With a body, what the query says does not count.
        let in_body = !ask.body.is_empty();
        let query = if in_body { "" } else { ask.query("propagationPolicy") };
        let policy = text("/propagationPolicy").unwrap_or_else(|| query.to_owned());
        let orphan = body["orphanDependents"] == true;
        Ok(Self {
            uid: text("/preconditions/uid"),
            version: text("/preconditions/resourceVersion"),
            policy: if orphan { "Orphan".to_owned() } else { policy },
            dry_run: (ask.is_dry_run() && !in_body)
                || body["dryRun"].as_array().is_some_and(|list| !list.is_empty()),
        })
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn delete(cluster: &Arc<Inner>, state: &mut State, ask: &Ask, target: &Target, name: &str) -> Answer {
    let options = Options::read(ask)?;
    let kind = &target.kind;
    let key = Key::new(target.namespace(), name);
    let found = state.store.get(&kind.resource, &key).cloned();
    let live = found.ok_or_else(|| Refusal::not_found(kind, name))?.value();
    check(kind, name, &live, &options)?;
    if kind.is("", "Namespace")
        && !text(&live, "/metadata/deletionTimestamp").is_empty()
        && !rules::is_free(kind, &live)
    {
        let why = "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace will automatically be purged by the system.";
        return Err(Refusal::conflict(kind, name, why));
    }
    let (gone, value) = mark(cluster, state, kind, live, &options);
    let returned = !gone || (!kind.is_custom && RETURNED.contains(&&*kind.kind));
    if returned {
        return Ok(json_answer(200, &show(ask, kind, target.version(), value)));
    }
    let mut details = json!({"name": name, "kind": kind.plural, "uid": text(&value, "/metadata/uid")});
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    Ok(json_answer(200, &status))
}

fn check(kind: &Kind, name: &str, live: &Value, options: &Options) -> Result<(), Refusal> {
    let fields = [("uid", "UID", &options.uid), ("resourceVersion", "ResourceVersion", &options.version)];
    for (field, word, wanted) in fields {
        let is = text(live, &format!("/metadata/{field}"));
        let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != is) else { continue };
        // Two kinds look at it themselves, with words of their own.
        let own = match &*kind.kind {
            "Namespace" if kind.group.is_empty() => Some("Precondition"),
            "CustomResourceDefinition" => Some("precondition"),
            _ => None,
        };
        if let Some(begin) = own {
            let why =
                format!("{begin} failed: {word} in precondition: {wanted}, {word} in object meta: {is}");
            return Err(Refusal::conflict(kind, name, &why));
        }
        let how = if field == "uid" { "deleted and then recreated" } else { "modified" };
        let why = format!(
            "the {word} in the precondition ({wanted}) does not match the {word} in record ({is}). The object might have been {how}"
        );
        return Err(Refusal::precondition(kind, name, &why));
    }
    Ok(())
}

/// Deletes an object, or marks it as to be deleted where someone holds it. Says whether it is gone.
fn mark(
    cluster: &Inner,
    state: &mut State,
    kind: &Arc<Kind>,
    live: Value,
    options: &Options,
) -> (bool, Value) {
    let key = Key::new(text(&live, "/metadata/namespace"), text(&live, "/metadata/name"));
    let mut value = live.clone();
    let first = text(&live, "/metadata/deletionTimestamp").is_empty();
    match options.policy.as_str() {
        "Foreground" => set_policy(&mut value, Some("foregroundDeletion")),
        "Orphan" => set_policy(&mut value, Some("orphan")),
        "Background" => set_policy(&mut value, None),
        _ => {}
    }
    if first && kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        add_finalizer(&mut value, crd::FINALIZER);
        crd::set_condition(&mut value, &cluster.now_text(), crd::pending());
    }
    if rules::is_free(kind, &value) {
        if options.dry_run {
            return (true, value);
        }
        let last = cluster.remove(state, kind, &key);
        return (true, last.unwrap_or(value));
    }
    if first {
        set_deleted(cluster, kind, &mut value);
    }
    if !options.dry_run && value != live {
        value = cluster.put(state, kind, value);
    }
    (false, value)
}

/// Has dependents treated in one way and in no other.
fn set_policy(value: &mut Value, finalizer: Option<&str>) {
    if let Some(metadata) = value["metadata"].as_object_mut()
        && let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut)
    {
        list.retain(|one| one != "orphan" && one != "foregroundDeletion");
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    }
    if let Some(finalizer) = finalizer {
        add_finalizer(value, finalizer);
    }
}

fn add_finalizer(value: &mut Value, name: &str) {
    let list = &mut value["metadata"]["finalizers"];
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|one| one == name)
    {
        list.push(json!(name));
    }
}

fn set_deleted(cluster: &Inner, kind: &Kind, value: &mut Value) {
    let now = cluster.now_text();
    let is_namespace = kind.is("", "Namespace");
    if is_namespace {
        value["status"]["phase"] = json!("Terminating");
    }
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.insert("deletionTimestamp".to_owned(), json!(now));
    if !is_namespace && !kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
        bump(metadata);
    }
}

fn bump(metadata: &mut Map<String, Value>) {
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
        metadata.insert("generation".to_owned(), json!(generation + 1));
    }
}

/// Deletes an object as a controller does.
pub fn by_controller(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, key: &Key) {
    if let Some(live) = state.store.get(&kind.resource, key).map(|object| object.value()) {
        mark(cluster, state, kind, live, &Options::default());
    }
}

/// Deletes all objects of a kind in a namespace that fit.
pub fn delete_all(cluster: &Arc<Inner>, state: &mut State, ask: &Ask, target: &Target) -> Answer {
    let options = Options::read(ask)?;
    let view = View::new(ask, target, cluster.now_millis().div_euclid(1_000))?;
    let kind = &target.kind;
    let all = state.store.all(&kind.resource).filter(|object| view.has_place_for(object));
    let all: Vec<Value> = all.map(|object| object.value()).filter(|value| view.fits(value)).collect();
    let mut items = Vec::new();
    for live in all {
        let (_, value) = mark(cluster, state, kind, live, &options);
        items.push(view.present(value));
    }
    let list = json!({"kind": kind.list_kind, "apiVersion": kind.api_version(target.version()),
        "metadata": {"resourceVersion": state.store.version().to_string()}, "items": items});
    Ok(json_answer(200, &list))
}

//! What controllers, scheduler and kubelets do in a real cluster, as looks at one object at a time.

mod collect;
mod roles;
mod workloads;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::Target;
use super::clock::Due;
use super::cluster::{Inner, State};
use super::crd;
use super::kind::{Kind, built_in};
use super::object::Key;
use super::write::{self, Intent};
use workloads::Progress;

/// On a pod, or on the template of a workload: it does not become ready. Values: `crash`, `pull`, `unready`.
pub const FAIL: &str = "sim.fairlead.dev/fail";

/// What controllers remember.
#[derive(Debug, Default)]
pub struct Work {
    progress: BTreeMap<(Arc<str>, Key), Progress>,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn is_deleting(value: &Value) -> bool {
    !text(value, "/metadata/deletionTimestamp").is_empty()
}

/// What a new cluster has.
pub fn furnish(cluster: &Inner, state: &mut State) {
    let namespaces = ["kube-system", "default", "kube-public", "kube-node-lease"];
    for name in namespaces {
        let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        furnish_one(cluster, state, "Namespace", "", value);
    }
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes",
        "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]}});
    furnish_one(cluster, state, "Service", "default", service);
    for number in 1..=cluster.settings().nodes {
        furnish_one(cluster, state, "Node", "", workloads::node(number, &cluster.now_text()));
    }
}

fn furnish_one(cluster: &Inner, state: &mut State, kind: &str, namespace: &str, value: Value) {
    let Some(kind) = built_in("", kind) else { return };
    let manager = if kind.is("", "Node") { "kubelet" } else { "kube-apiserver" };
    let target = Target::of(kind, namespace, text(&value, "/metadata/name"));
    // What is built in is valid.
    let _ = write::make(cluster, state, &target, value, &Intent::by(manager));
}

/// Whether a controller has something to do with objects of a kind.
fn is_watched(kind: &Kind) -> bool {
    matches!(
        (&*kind.group, &*kind.kind),
        ("apps", _)
            | ("batch", "Job")
            | ("", "Pod" | "Namespace")
            | ("rbac.authorization.k8s.io", "ClusterRole")
            | ("policy", "PodDisruptionBudget")
            | ("apiregistration.k8s.io", "APIService")
    )
}

/// An object was written.
pub fn changed(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, value: &Value) {
    let is_crd = kind.is("apiextensions.k8s.io", "CustomResourceDefinition");
    let mine = is_crd || (cluster.settings().controllers && (is_watched(kind) || is_deleting(value)));
    if is_crd && is_established(value) && !is_deleting(value) {
        serve(cluster, state, value);
    }
    if mine {
        let key = Key::new(text(value, "/metadata/namespace"), text(value, "/metadata/name"));
        look_at(cluster, kind, key, Duration::ZERO);
    }
}

fn look_at(cluster: &Inner, kind: &Arc<Kind>, key: Key, after: Duration) {
    cluster.later(after, Due::Controller { resource: Arc::clone(&kind.resource), key });
}

/// An object has gone.
pub fn removed(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, value: &Value) {
    let key = Key::new(text(value, "/metadata/namespace"), text(value, "/metadata/name"));
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        let resource: Arc<str> = text(value, "/metadata/name").into();
        state.customs.remove(&resource);
        state.watchers.close_kind(&resource);
    }
    if kind.is_custom
        && let Some(crds) = built_in("apiextensions.k8s.io", "CustomResourceDefinition")
    {
        look_at(cluster, crds, Key::new("", &kind.resource), Duration::ZERO);
    }
    if !cluster.settings().controllers {
        return;
    }
    if let Some(namespaces) = built_in("", "Namespace").filter(|_| kind.namespaced) {
        look_at(cluster, namespaces, Key::new("", &key.namespace), Duration::ZERO);
    }
    state.work.progress.remove(&(Arc::clone(&kind.resource), key));
    if kind.is("rbac.authorization.k8s.io", "ClusterRole") {
        roles::gather(cluster, state);
    }
    collect::owner_gone(cluster, state, value);
}

/// Looks at an object and does what is to be done.
pub fn look(cluster: &Inner, state: &mut State, resource: &Arc<str>, key: &Key) {
    let Some(kind) = state.by_resource(resource) else { return };
    let Some(value) = state.store.get(resource, key).map(|object| object.value()) else { return };
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        return look_at_crd(cluster, state, &kind, value);
    }
    if kind.is("", "Namespace") {
        if is_deleting(&value) {
            collect::empty_namespace(cluster, state, &kind, value);
        }
        return;
    }
    if is_deleting(&value) && kind.is("", "PersistentVolumeClaim") {
        return collect::remove_finalizer(cluster, state, &kind, &value, "kubernetes.io/pvc-protection");
    }
    if is_deleting(&value) && kind.is("", "PersistentVolume") {
        return collect::remove_finalizer(cluster, state, &kind, &value, "kubernetes.io/pv-protection");
    }
    if is_deleting(&value) {
        return collect::look_at_dependents(cluster, state, &kind, value);
    }
    if kind.is("rbac.authorization.k8s.io", "ClusterRole") {
        return roles::gather(cluster, state);
    }
    if kind.is("batch", "Job") && end_of_life(cluster, state, &kind, key, &value) {
        return;
    }
    let id = (Arc::clone(resource), key.clone());
    let known = state.work.progress.remove(&id);
    let now = cluster.now_millis();
    let Some(step) = workloads::step(&kind, &value, known, now, cluster.settings()) else { return };
    state.work.progress.insert(id, step.progress);
    if let Some(again) = step.again {
        let after = Duration::from_millis((again - now).max(1).unsigned_abs());
        look_at(cluster, &kind, key.clone(), after);
    }
    if let Some(mut status) = step.write {
        workloads::date(&mut status, &value["status"], &cluster.now_text());
        let mut new = value.clone();
        new["status"] = status;
        if let Some((name, text)) = step.annotation {
            new["metadata"]["annotations"][name] = json!(text);
        }
        write_status(cluster, state, &kind, value, new, step.manager);
    }
}

/// Deletes a Job that has been finished for as long as its `ttlSecondsAfterFinished` says; whether it did.
fn end_of_life(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, key: &Key, job: &Value) -> bool {
    let Some(ttl) = job.pointer("/spec/ttlSecondsAfterFinished").and_then(Value::as_i64) else {
        return false;
    };
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    let finished = conditions.into_iter().flatten().find(|condition| {
        matches!(condition["type"].as_str(), Some("Complete" | "Failed")) && condition["status"] == "True"
    });
    let at = finished.and_then(|condition| condition["lastTransitionTime"].as_str()?.parse().ok());
    let Some(at) = at.map(jiff::Timestamp::as_millisecond) else { return false };
    let left = at.saturating_add(ttl.saturating_mul(1_000)).saturating_sub(cluster.now_millis());
    if left > 0 {
        look_at(cluster, kind, key.clone(), Duration::from_millis(left.unsigned_abs()));
        return false;
    }
    super::delete::by_controller(cluster, state, kind, key);
    true
}

fn write_status(
    cluster: &Inner,
    state: &mut State,
    kind: &Arc<Kind>,
    live: Value,
    new: Value,
    manager: &str,
) {
    let (namespace, name) = (text(&live, "/metadata/namespace"), text(&live, "/metadata/name"));
    let target = Target::of(kind, namespace, name).status();
    // It is what a controller would write; a refusal would come again and again.
    let _ = write::update(cluster, state, &target, live, new, &Intent::by(manager));
}

fn is_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == "Established" && one["status"] == "True")
}

/// Serves the kind of a CRD from now on.
fn serve(cluster: &Inner, state: &mut State, crd: &Value) {
    let kind = cluster.common.customs.of(&crd["spec"]);
    state.customs.insert(Arc::clone(&kind.resource), kind);
}

fn look_at_crd(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, value: Value) {
    let now = cluster.now_text();
    if !is_deleting(&value) {
        let mut new = value.clone();
        if crd::establish(&mut new, &now) {
            write_status(cluster, state, kind, value, new, "kube-apiserver");
        }
        return;
    }
    let mut new = value.clone();
    if crd::set_condition(&mut new, &now, crd::in_progress()) {
        write_status(cluster, state, kind, value, new, "kube-apiserver");
        return;
    }
    let resource: Arc<str> = text(&value, "/metadata/name").into();
    if let Some(custom) = state.by_resource(&resource) {
        let keys: Vec<Key> = state.store.all(&resource).map(|object| object.key.clone()).collect();
        for key in &keys {
            super::delete::by_controller(cluster, state, &custom, key);
        }
        if state.store.all(&resource).next().is_some() {
            return;
        }
    }
    collect::remove_finalizer(cluster, state, kind, &value, crd::FINALIZER);
}

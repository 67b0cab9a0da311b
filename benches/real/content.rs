//! What the fleet consists of.

use serde_json::{Value, json};

use crate::harness::{Context, Result};

pub const TARGET: &str = "edge-001";
/// In the release that is applied.
pub const CONFIG_MAPS: usize = 1_000;
pub const DEPLOYMENTS: usize = 200;

pub const TARGET_FILE: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: ClusterTarget
metadata: {name: edge-001}
";
pub const FLEET_FILE: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: Fleet
metadata: {name: bench}
spec:
  clusters: {}
  profiles: [{name: app}]
  rollout: {progressDeadline: 10m}
";
pub const PROFILE_FILE: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: ClusterProfile
metadata: {name: app}
spec:
  version: 1.0.0
  layers:
  - {name: app, type: addon, manifests: {path: app}}
";

pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// About 500 bytes as JSON.
pub fn config_map(namespace: &str, number: usize, value: &str) -> Value {
    let text = "every object says something about itself, at some length. ".repeat(5);
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": format!("settings-{number:05}"),
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "bench"},
        },
        "data": {"text": text, "value": value},
    })
}

pub fn deployment(namespace: &str, number: usize) -> Value {
    let name = format!("web-{number:05}");
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "main",
                    "image": "registry.example.com/shop/web:1.2.3",
                    "args": ["--level=info"],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }]},
            },
        },
    })
}

/// The objects of the release that is applied, but for its namespace.
pub fn release(namespace: &str) -> Vec<Value> {
    let maps = (0..CONFIG_MAPS).map(|number| config_map(namespace, number, "first"));
    maps.chain((0..DEPLOYMENTS).map(|number| deployment(namespace, number))).collect()
}

pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The file of an object in the repository.
pub fn file(object: &Value) -> String {
    format!("profiles/app/app/{}.yaml", name(object))
}

/// An object as people write it.
pub fn yaml(object: &Value) -> Result<String> {
    serde_norway::to_string(object).context("writing YAML")
}

//! The subresource `scale`: how many replicas a workload has, whatever its kind.

use serde_json::{Value, json};

/// Where a kind keeps what its scale says, as JSON pointers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    pub replicas: String,
    pub status_replicas: String,
    pub selector: String,
}

impl ScalePaths {
    /// Of a built-in kind.
    pub fn built_in(group: &str, kind: &str) -> Option<Self> {
        let scales = group == "apps" && ["Deployment", "ReplicaSet", "StatefulSet"].contains(&kind);
        scales.then(|| Self {
            replicas: "/spec/replicas".into(),
            status_replicas: "/status/replicas".into(),
            selector: "/spec/selector".into(),
        })
    }

    /// Of a version of a CRD.
    pub fn custom(version: &Value) -> Option<Self> {
        let scale = version.pointer("/subresources/scale")?;
        let path = |field: &str| scale[field].as_str().unwrap_or_default().replace('.', "/");
        Some(Self {
            replicas: path("specReplicasPath"),
            status_replicas: path("statusReplicasPath"),
            selector: path("labelSelectorPath"),
        })
    }
}

/// An object's scale.
pub fn of(paths: &ScalePaths, object: &Value) -> Value {
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(&paths.replicas)}, "status": {"replicas": number(&paths.status_replicas)}});
    let selector = match object.pointer(&paths.selector) {
        Some(Value::String(text)) => text.clone(),
        Some(selector) => selector_text(selector),
        None => String::new(),
    };
    if !selector.is_empty() {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// An object with the replicas that a scale asks for.
pub fn apply(paths: &ScalePaths, object: &Value, scale: &Value) -> Value {
    let mut object = object.clone();
    let wanted = scale.pointer("/spec/replicas").cloned().unwrap_or_else(|| json!(0));
    if let Some((parent, field)) = paths.replicas.rsplit_once('/')
        && let Some(Value::Object(map)) = object.pointer_mut(parent)
    {
        map.insert(field.to_owned(), wanted);
    }
    if let Some(version) = scale.pointer("/metadata/resourceVersion").filter(|v| v.is_string()) {
        object["metadata"]["resourceVersion"] = version.clone();
    }
    object
}

/// A label selector as queries write it.
pub fn selector_text(selector: &Value) -> String {
    let mut terms: Vec<String> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        terms.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for term in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = term["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            term["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match term["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

//! A release as people read it.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::model::release::{Release, ReleaseObject};

/// The objects of a release as one YAML stream, each with its layer and where it is written. The same bytes
/// on every machine. `reveal` prints what is sent; else the values of Secrets are left out.
///
/// # Errors
/// Says which object can't be read back; one that was rendered here can.
pub fn to_yaml(release: &Release, reveal: bool) -> Result<String, String> {
    let mut out = String::new();
    for (layer, object) in release.objects() {
        let mut value: Value = serde_json::from_slice(&object.bytes)
            .map_err(|error| format!("{} of the layer {} can't be read: {error}", object.key, layer.id))?;
        if !reveal {
            redact(&mut value, object);
        }
        let yaml = serde_norway::to_string(&in_reading_order(value))
            .map_err(|error| format!("{} of the layer {} can't be written: {error}", object.key, layer.id))?;
        // Writing to a String can't fail.
        let _ = write!(out, "---\n# {}: {}\n{yaml}", layer.id, object.place);
    }
    Ok(out)
}

/// Values of Secrets, and the copy of them that kubectl leaves in an annotation.
fn redact(value: &mut Value, object: &ReleaseObject) {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    if !object.key.is("", "Secret") {
        return;
    }
    for field in ["data", "stringData"] {
        match value.get_mut(field) {
            Some(Value::Object(entries)) => {
                entries.values_mut().for_each(|entry| *entry = "(redacted)".into())
            }
            Some(Value::Null) | None => {}
            Some(other) => *other = "(redacted)".into(),
        }
    }
    if let Some(copy) = value.pointer_mut("/metadata/annotations").and_then(|a| a.get_mut(LAST_APPLIED)) {
        *copy = "(redacted)".into();
    }
}

/// `apiVersion`, `kind` and `metadata` first, as everyone writes them.
fn in_reading_order(value: Value) -> serde_norway::Value {
    let Value::Object(mut map) = value else { return sorted(value) };
    let mut out = serde_norway::Mapping::new();
    for key in ["apiVersion", "kind"] {
        if let Some(value) = map.remove(key) {
            out.insert(key.into(), sorted(value));
        }
    }
    if let Some(Value::Object(mut metadata)) = map.remove("metadata") {
        let mut first = serde_norway::Mapping::new();
        for key in ["name", "namespace"] {
            if let Some(value) = metadata.remove(key) {
                first.insert(key.into(), sorted(value));
            }
        }
        first.extend(entries(metadata));
        out.insert("metadata".into(), first.into());
    }
    out.extend(entries(map));
    out.into()
}

fn sorted(value: Value) -> serde_norway::Value {
    match value {
        Value::Object(map) => serde_norway::Value::Mapping(entries(map).collect()),
        Value::Array(items) => items.into_iter().map(sorted).collect::<Vec<_>>().into(),
        Value::Null => serde_norway::Value::Null,
        Value::Bool(flag) => flag.into(),
        Value::String(text) => text.into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => n.into(),
            (None, Some(n)) => n.into(),
            (None, None) => number.as_f64().unwrap_or_default().into(),
        },
    }
}

fn entries(map: Map<String, Value>) -> impl Iterator<Item = (serde_norway::Value, serde_norway::Value)> {
    let mut entries: Vec<_> = map.into_iter().collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries.into_iter().map(|(key, value)| (key.into(), sorted(value)))
}

//! What of an object may be shown.
//!
//! [`Shown`] is the only form in which objects reach a diff or a page, and it can't be made without redaction.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// What stands for a secret value.
const REDACTED: &str = "(redacted)";
/// What stands for one that differs from the other side's. No digest: a short value could be guessed from it.
const CHANGED: &str = "(redacted, changed)";

/// Annotations in which tools keep a copy of the whole object, of any kind.
const COPIES: [&str; 4] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "banzaicloud.com/last-applied",
    "kapp.k14s.io/original",
    "objectset.rio.cattle.io/applied",
];

/// Of a Secret, all that is shown in clear. Everything else is redacted, misspelt fields too.
const SECRET_CLEAR: [&str; 5] = ["apiVersion", "kind", "metadata", "type", "immutable"];
const SECRET_METADATA_CLEAR: [&str; 6] =
    ["name", "namespace", "labels", "generateName", "finalizers", "ownerReferences"];

/// An object without what must not be seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown(Value);

impl Shown {
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The two sides of a diff; a secret value that differs is marked on the side of `new`. `kind` is what the caller
    /// knows the objects to be: items of lists don't say it themselves.
    pub fn pair(kind: &str, old: Option<&Value>, new: Option<&Value>) -> (Option<Shown>, Option<Shown>) {
        let secret = is_secret(kind) || [old, new].into_iter().flatten().any(says_secret);
        let show = |value: &Value, other: Option<&Value>, is_new: bool| {
            let mut value = value.clone();
            redact(&mut value, other, secret, is_new);
            Shown(value)
        };
        (old.map(|value| show(value, new, false)), new.map(|value| show(value, old, true)))
    }
}

/// `Secret` of any group, and lists of them.
fn is_secret(kind: &str) -> bool {
    kind == "Secret" || kind == "SecretList"
}

fn says_secret(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str).is_some_and(is_secret)
}

fn redact(value: &mut Value, other: Option<&Value>, secret: bool, is_new: bool) {
    let Value::Object(map) = value else {
        if secret {
            *value = REDACTED.into();
        }
        return;
    };
    let hide = Hide { is_new };
    let other = other.and_then(Value::as_object);
    if secret {
        hide.all_but(&SECRET_CLEAR, map, other);
    }
    let other = other.and_then(|o| o.get("metadata")).and_then(Value::as_object);
    match map.get_mut("metadata") {
        Some(Value::Object(metadata)) if secret => hide.all_but(&SECRET_METADATA_CLEAR, metadata, other),
        Some(Value::Object(metadata)) => {
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                let other = other.and_then(|o| o.get("annotations")).and_then(Value::as_object);
                let copies = annotations.iter_mut().filter(|(name, _)| COPIES.contains(&name.as_str()));
                copies.for_each(|(name, value)| hide.leaf(value, other.and_then(|o| o.get(name))));
            }
        }
        Some(metadata) if secret => *metadata = REDACTED.into(),
        _ => {}
    }
}

struct Hide {
    is_new: bool,
}

impl Hide {
    fn all_but(&self, clear: &[&str], map: &mut Map<String, Value>, other: Option<&Map<String, Value>>) {
        for (name, value) in map.iter_mut().filter(|(name, _)| !clear.contains(&name.as_str())) {
            self.entries(value, other.and_then(|o| o.get(name)));
        }
    }

    /// Names of entries are shown, their values are not.
    fn entries(&self, value: &mut Value, other: Option<&Value>) {
        match value {
            Value::Object(map) => {
                let other = other.and_then(Value::as_object);
                map.iter_mut().for_each(|(name, value)| self.leaf(value, other.and_then(|o| o.get(name))));
            }
            Value::Null => {}
            value => self.leaf(value, other),
        }
    }

    fn leaf(&self, value: &mut Value, other: Option<&Value>) {
        let changed = self.is_new && other.is_some_and(|other| other != value);
        *value = if changed { CHANGED } else { REDACTED }.into();
    }
}

/// Foreign text about an object, e.g. an API server's refusal, without the secret values of that object. Values
/// that are too short to be found without tearing the text apart cost the text as a whole.
pub fn scrub(text: &str, kind: &str, object: &Value) -> String {
    if !is_secret(kind) && !says_secret(object) {
        return text.to_owned();
    }
    let mut values = Vec::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        if !SECRET_CLEAR.contains(&name.as_str()) {
            strings(value, &mut values);
        }
    }
    if let Some(annotations) = object.pointer("/metadata/annotations") {
        strings(annotations, &mut values);
    }
    let decoded: Vec<String> = values
        .iter()
        .filter_map(|value| STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok()))
        .collect();
    let encoded: Vec<String> = values.iter().map(|value| STANDARD.encode(value)).collect();
    values.extend(decoded);
    values.extend(encoded);
    values.retain(|value| !value.is_empty());
    // The longest first: a value may be part of another.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut text = text.to_owned();
    for value in values {
        if value.len() < 4 && text.contains(&value) {
            return REDACTED.to_owned();
        }
        text = text.replace(&value, REDACTED);
        // Go quotes what it prints.
        let quoted = value.escape_debug().to_string();
        text = text.replace(&quoted, REDACTED);
    }
    text
}

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(map) => map.values().for_each(|item| strings(item, found)),
        Value::Number(number) => found.push(number.to_string()),
        Value::Null | Value::Bool(_) => {}
    }
}

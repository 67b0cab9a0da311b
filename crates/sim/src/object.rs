//! Objects as they are kept: what differs between clusters apart, the rest as bytes that equal objects share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Namespace (empty: none) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl Key {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// One object.
#[derive(Debug)]
pub struct Object {
    pub key: Key,
    pub version: u64,
    uid: u128,
    created: i64,
    /// 0: the kind has none.
    generation: i64,
    /// The times of the managers' entries, in their order.
    times: Box<[i64]>,
    /// Everything else, as JSON.
    rest: Arc<[u8]>,
    /// Whether another object may own it.
    pub is_owned: bool,
}

const NO_TIME: i64 = i64::MIN;

/// Bytes that many objects have, each once.
#[derive(Debug, Default)]
pub struct Shared(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_digest: HashMap<[u8; 32], Weak<[u8]>>,
    /// When to look for what nobody has any more.
    sweep_at: usize,
}

impl Shared {
    fn keep(&self, bytes: &[u8]) -> Arc<[u8]> {
        let digest = *blake3::hash(bytes).as_bytes();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = known.by_digest.get(&digest).and_then(Weak::upgrade) {
            return there;
        }
        if known.by_digest.len() >= known.sweep_at {
            known.by_digest.retain(|_, bytes| bytes.strong_count() > 0);
            known.by_digest.shrink_to_fit();
            known.sweep_at = (known.by_digest.len() * 2).max(1_024);
        }
        let bytes: Arc<[u8]> = bytes.into();
        known.by_digest.insert(digest, Arc::downgrade(&bytes));
        bytes
    }
}

pub fn uid_text(uid: u128) -> String {
    let hex = format!("{uid:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn uid_number(text: &str) -> u128 {
    u128::from_str_radix(&text.replace('-', ""), 16).unwrap_or_default()
}

/// Times as objects have them: whole seconds.
pub fn time_text(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

fn seconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

impl Object {
    /// Takes an object apart; `version` is its new resourceVersion.
    pub fn new(mut value: Value, version: u64, shared: &Shared) -> Self {
        let mut taken = Map::new();
        let mut times = Vec::new();
        let mut is_owned = false;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation"] {
                taken.extend(metadata.remove_entry(name));
            }
            is_owned = metadata.contains_key("ownerReferences");
            for entry in metadata.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten()
            {
                let time = entry.as_object_mut().and_then(|entry| entry.remove("time"));
                times.push(time.as_ref().and_then(Value::as_str).and_then(seconds).unwrap_or(NO_TIME));
            }
        }
        let text = |name: &str| taken.get(name).and_then(Value::as_str).unwrap_or_default();
        let rest = serde_json::to_vec(&value).unwrap_or_default();
        Self {
            key: Key::new(text("namespace"), text("name")),
            version,
            uid: uid_number(text("uid")),
            created: seconds(text("creationTimestamp")).unwrap_or_default(),
            generation: taken.get("generation").and_then(Value::as_i64).unwrap_or_default(),
            times: times.into(),
            rest: shared.keep(&rest),
            is_owned,
        }
    }

    /// The same as of a later version.
    pub fn at(&self, version: u64) -> Self {
        Self {
            key: self.key.clone(),
            version,
            times: self.times.clone(),
            rest: Arc::clone(&self.rest),
            ..*self
        }
    }

    /// The whole object, put together again.
    pub fn value(&self) -> Value {
        let mut value: Value = serde_json::from_slice(&self.rest).unwrap_or_default();
        let Some(object) = value.as_object_mut() else { return value };
        let metadata = object.entry("metadata").or_insert_with(|| json!({}));
        let Some(metadata) = metadata.as_object_mut() else { return value };
        metadata.insert("name".into(), json!(self.key.name));
        if !self.key.namespace.is_empty() {
            metadata.insert("namespace".into(), json!(self.key.namespace));
        }
        metadata.insert("uid".into(), json!(uid_text(self.uid)));
        metadata.insert("resourceVersion".into(), json!(self.version.to_string()));
        metadata.insert("creationTimestamp".into(), json!(time_text(self.created)));
        if self.generation > 0 {
            metadata.insert("generation".into(), json!(self.generation));
        }
        let entries = metadata.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten();
        for (entry, time) in entries.zip(&self.times) {
            if *time != NO_TIME {
                entry["time"] = json!(time_text(*time));
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_back_whole_and_equal_ones_share_their_bytes() {
        let shared = Shared::default();
        let object = |name: &str, uid: u128| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "metadata": {
                "name": name, "namespace": "default", "uid": uid_text(uid), "resourceVersion": "7",
                "creationTimestamp": "2026-11-23T08:00:00Z", "managedFields": [
                    {"manager": "m", "time": "2026-11-23T08:00:01Z", "fieldsV1": {}}, {"manager": "n"}]}})
        };
        let one = Object::new(object("one", 1), 7, &shared);
        let two = Object::new(object("two", u128::MAX), 7, &shared);
        assert_eq!(one.value(), object("one", 1));
        assert_eq!(two.value(), object("two", u128::MAX));
        assert!(Arc::ptr_eq(&one.rest, &two.rest));
        assert_eq!(one.at(8).value()["metadata"]["resourceVersion"], "8");
    }
}

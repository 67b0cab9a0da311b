//! Who owns which field of an object: `metadata.managedFields`.
//!
//! Entries hold names, not values: maps of `f:<field>`, `k:{<keys of a list item>}`, `v:<value of a set>`,
//! `i:<index>`, and `.` for the item itself; a field that ends in an empty map is owned as a whole. Source:
//! `fieldsV1` of sigs.k8s.io/structured-merge-diff and apimachinery's `ManagedFieldsEntry`. Pure.

use serde_json::{Map, Value};

use super::text::clean;
use crate::model::digest::FieldsDigest;

type Object = Map<String, Value>;

fn entries(object: &Value) -> impl Iterator<Item = &Object> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_object)
}

fn text<'a>(entry: &'a Object, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn is_ours(entry: &Object, manager: &str) -> bool {
    let applied = text(entry, "operation") == "Apply" && text(entry, "subresource").is_empty();
    applied && text(entry, "manager") == manager
}

/// Our entry: written by server-side apply under the name `manager`, on the object itself.
pub fn our_entry<'a>(object: &'a Value, manager: &str) -> Option<&'a Map<String, Value>> {
    entries(object).find(|entry| is_ours(entry, manager))
}

/// The digest of our entry without its time. Equal digests: nobody else changed or removed a field of ours.
pub fn our_digest(object: &Value, manager: &str) -> Option<FieldsDigest> {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in our_entry(object, manager)?.iter().filter(|(name, _)| *name != "time") {
        hash_text(&mut hasher, name);
        hash(&mut hasher, value);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Some(FieldsDigest::from_bytes(digest))
}

fn hash_text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}

/// Each kind of value begins with a byte of its own, and everything carries its length.
fn hash(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Object(map) => {
            hasher.update(b"{").update(&(map.len() as u64).to_le_bytes());
            for (name, value) in map {
                hash_text(hasher, name);
                hash(hasher, value);
            }
        }
        Value::Array(items) => {
            hasher.update(b"[").update(&(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| hash(hasher, item));
        }
        scalar => {
            hasher.update(b"s");
            hash_text(hasher, &scalar.to_string());
        }
    }
}

/// Names of the other managers, sorted, each once; foreign text, cleaned.
pub fn other_managers(object: &Value, manager: &str) -> Vec<String> {
    let others = entries(object).filter(|entry| !is_ours(entry, manager));
    let mut names: Vec<String> = others.map(|entry| clean(text(entry, "manager"))).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Which other managers own the field at a JSON pointer, or anything below it. `shape` is the object whose lists
/// the pointer's indices count in: our manifest, or the live object. Without the list that an index needs, nobody
/// is found.
pub fn owners(object: &Value, manager: &str, pointer: &str, shape: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for entry in entries(object).filter(|entry| !is_ours(entry, manager)) {
        if !owned(entry, pointer, shape).is_empty() {
            names.push(clean(text(entry, "manager")));
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// Those of the ignored `pointers` that another manager owns, as the fields to leave out of what we send: the
/// pointer itself where it is owned as a whole, else what is owned below it. Sorted, each once.
pub fn yielded<'a>(
    object: &Value,
    manager: &str,
    pointers: impl IntoIterator<Item = &'a str>,
    shape: &Value,
) -> Vec<String> {
    let mut fields = Vec::new();
    for pointer in pointers {
        for entry in entries(object).filter(|entry| !is_ours(entry, manager)) {
            fields.extend(owned(entry, pointer, shape));
        }
    }
    fields.sort_unstable();
    fields.dedup();
    fields
}

fn owned(entry: &Object, pointer: &str, shape: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let Some(mut set) = entry.get("fieldsV1").and_then(Value::as_object) else { return found };
    if !pointer.starts_with('/') {
        return found;
    }
    let mut shape = Some(shape);
    for raw in pointer.split('/').skip(1) {
        let token = raw.replace("~1", "/").replace("~0", "~");
        let Some(step) = step(set, &token, shape) else { return found };
        let Some(below) = set.get(&step).and_then(Value::as_object) else { return found };
        shape = shape.and_then(|value| child(value, &token));
        set = below;
        if set.is_empty() {
            // A leaf: this field is owned with all that is in it.
            found.push(pointer.to_owned());
            return found;
        }
    }
    if set.contains_key(".") && set.len() == 1 {
        found.push(pointer.to_owned());
        return found;
    }
    leaves(set, pointer, shape, &mut found);
    found
}

fn child<'a>(value: &'a Value, token: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(token),
        Value::Array(items) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => None,
    }
}

/// The name in a field set under which the child `token` of the value `shape` stands.
fn step(set: &Object, token: &str, shape: Option<&Value>) -> Option<String> {
    let field = format!("f:{token}");
    if set.contains_key(&field) {
        return Some(field);
    }
    let index: usize = token.parse().ok()?;
    let item = shape?.as_array()?.get(index)?;
    set.keys().find(|name| names_item(name, index, item)).cloned()
}

/// Whether a path element of a field set (`k:`, `v:`, `i:`) stands for this item of a list.
pub(super) fn names_item(element: &str, index: usize, item: &Value) -> bool {
    let Some((kind, rest)) = element.split_once(':') else { return false };
    match kind {
        "i" => rest.parse() == Ok(index),
        "v" => serde_json::from_str::<Value>(rest).is_ok_and(|value| value == *item),
        "k" => match serde_json::from_str::<Value>(rest) {
            Ok(Value::Object(keys)) => keys.iter().all(|(name, value)| key_fits(item, name, value)),
            _ => false,
        },
        _ => false,
    }
}

/// A key that has a default (a port's `protocol: TCP`) may be left out of a manifest.
fn key_fits(item: &Value, name: &str, value: &Value) -> bool {
    match item.get(name) {
        Some(has) => has == value,
        None => name == "protocol" && value == "TCP",
    }
}

/// The fields owned below a pointer, as pointers.
fn leaves(set: &Object, pointer: &str, shape: Option<&Value>, found: &mut Vec<String>) {
    for (element, below) in set {
        let Some(token) = token_of(element, shape) else { continue };
        let path = format!("{pointer}/{}", token.replace('~', "~0").replace('/', "~1"));
        match below.as_object().filter(|below| below.keys().any(|name| name != ".")) {
            Some(below) => leaves(below, &path, shape.and_then(|value| child(value, &token)), found),
            None => found.push(path),
        }
    }
}

/// The token of a JSON pointer for a path element; None for `.`, and for an item that `shape` does not have.
fn token_of(element: &str, shape: Option<&Value>) -> Option<String> {
    if let Some(field) = element.strip_prefix("f:") {
        return Some(field.to_owned());
    }
    let items = shape?.as_array()?;
    let index = items.iter().enumerate().position(|(index, item)| names_item(element, index, item))?;
    Some(index.to_string())
}

/// The fields that our entry owns, as JSON pointers into `object` (whose lists tell the indices). What stands in a
/// list that `object` does not have is left out.
pub fn our_paths(object: &Value, manager: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(set) = our_entry(object, manager).and_then(|entry| entry.get("fieldsV1")?.as_object()) {
        leaves(set, "", Some(object), &mut found);
    }
    found.sort_unstable();
    found
}

/// One field of an apply that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldConflict {
    /// Cleaned.
    pub manager: String,
    /// As the server writes it, e.g. `.spec.template.spec.containers[name="web"].image`; cleaned.
    pub field: String,
}

/// The fields and managers of an apply that was answered 409. `status` is the answer's `Status`; empty: it is no
/// conflict of field managers (but of resourceVersion or uid).
pub fn conflicts(status: &Value) -> Vec<FieldConflict> {
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let causes = causes.into_iter().flatten();
    let conflicts = causes.filter(|cause| cause["reason"] == "FieldManagerConflict");
    conflicts
        .map(|cause| {
            let part = |name: &str| cause.get(name).and_then(Value::as_str).unwrap_or_default();
            FieldConflict { manager: clean(&quoted(part("message"))), field: clean(part("field")) }
        })
        .collect()
}

/// The managers and fields of conflicts, each once, in order: what a hold names.
pub fn managers_and_fields(conflicts: &[FieldConflict]) -> (Vec<String>, Vec<String>) {
    let sorted = |pick: fn(&FieldConflict) -> &String| {
        let all: std::collections::BTreeSet<_> = conflicts.iter().map(pick).cloned().collect();
        all.into_iter().collect()
    };
    (sorted(|c| &c.manager), sorted(|c| &c.field))
}

/// The first quoted name in `conflict with "kubectl" using apps/v1`; the message itself if there is none. Go quotes
/// it (`%q`): a backslash stands before quotes and backslashes.
fn quoted(message: &str) -> String {
    let Some((_, rest)) = message.split_once('"') else { return message.to_owned() };
    let mut name = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => name.extend(chars.next()),
            c => name.push(c),
        }
    }
    name
}

/// Why an object's bytes are no JSON; they are our own, so this is a fault of Fairlead or of its cache.
#[derive(Debug, thiserror::Error)]
#[error("an object of the release is not JSON")]
pub struct NotJson(#[from] serde_json::Error);

/// The object without the fields at `pointers` (see [`yielded`]). Pointers to what it does not have are passed
/// over; without pointers the bytes come back as they are.
pub fn body_without(bytes: &[u8], pointers: &[String]) -> Result<Vec<u8>, NotJson> {
    if pointers.is_empty() {
        return Ok(bytes.to_vec());
    }
    let mut object: Value = serde_json::from_slice(bytes)?;
    let mut paths: Vec<Vec<String>> = pointers.iter().map(|pointer| tokens(pointer)).collect();
    // From the last item of a list to the first, so that indices stay right.
    paths.sort_unstable_by(|a, b| order(b, a));
    for path in paths {
        remove(&mut object, &path);
    }
    Ok(serde_json::to_vec(&object)?)
}

fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|raw| raw.replace("~1", "/").replace("~0", "~")).collect()
}

/// By token, numbers as numbers.
fn order(a: &[String], b: &[String]) -> std::cmp::Ordering {
    let key = |path: &[String]| -> Vec<(Option<usize>, String)> {
        path.iter().map(|token| (token.parse().ok(), token.clone())).collect()
    };
    key(a).cmp(&key(b))
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = value;
    for token in parents {
        let next = match at {
            Value::Object(map) => map.get_mut(token),
            Value::Array(items) => token.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            _ => None,
        };
        let Some(next) = next else { return };
        at = next;
    }
    match at {
        Value::Object(map) => {
            map.remove(last);
        }
        Value::Array(items) => {
            if let Some(index) = last.parse::<usize>().ok().filter(|index| *index < items.len()) {
                items.remove(index);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;

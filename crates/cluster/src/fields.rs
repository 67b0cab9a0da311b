//! Who owns which field of an object: `metadata.managedFields`.
//!
//! Entries hold names, not values: maps of `f:<field>`, `k:{<keys of a list item>}`, `v:<value of a set>`,
//! `i:<index>`, and `.` for the item itself; a field that ends in an empty map is owned as a whole. Source:
//! `fieldsV1` of sigs.k8s.io/structured-merge-diff and apimachinery's `ManagedFieldsEntry`. Pure.

use serde_json::{Map, Value};

use super::text::clean;
use fairlead_core::model::digest::FieldsDigest;
use fairlead_core::model::field_path::{self, names_item};

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

/// Which other managers own the field that a pattern names, or anything in it.
pub fn owners(object: &Value, manager: &str, pattern: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in entries(object).filter(|entry| !is_ours(entry, manager)) {
        if !owned(entry, pattern, None).is_empty() {
            names.push(clean(text(entry, "manager")));
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// What other managers own of the fields that the ignored `patterns` can name, as paths (see
/// [`field_path`]): which of them are named is told by the list in Git that an index counts in. Sorted, each once.
pub fn yielded<'a>(
    object: &Value,
    manager: &str,
    patterns: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let mut fields = Vec::new();
    for pattern in patterns {
        let ours = our_entry(object, manager).and_then(set_of);
        for entry in entries(object).filter(|entry| !is_ours(entry, manager)) {
            fields.extend(owned(entry, pattern, ours));
        }
    }
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// Whether another manager owns a field that our entry owns too, other than through a subresource.
pub fn is_shared(object: &Value, manager: &str) -> bool {
    let Some(ours) = our_entry(object, manager).and_then(set_of) else { return false };
    let others =
        entries(object).filter(|entry| !is_ours(entry, manager) && text(entry, "subresource").is_empty());
    others.filter_map(set_of).any(|theirs| overlap(ours, theirs))
}

fn overlap(ours: &Object, theirs: &Object) -> bool {
    theirs.iter().filter(|(element, _)| *element != ".").any(|(element, theirs)| {
        match (ours.get(element).and_then(Value::as_object), theirs.as_object()) {
            (Some(ours), Some(theirs)) => (ours.is_empty() && theirs.is_empty()) || overlap(ours, theirs),
            _ => false,
        }
    })
}

/// The fields of an entry.
fn set_of(entry: &Object) -> Option<&Object> {
    entry.get("fieldsV1").and_then(Value::as_object)
}

fn owned(entry: &Object, pattern: &str, ours: Option<&Object>) -> Vec<String> {
    let mut found = Vec::new();
    if let (Some(set), Some(pattern)) = (set_of(entry), field_path::tokens(pattern)) {
        owned_below(set, &pattern, "", ours, &[], &mut found);
    }
    found
}

/// Collects what `set`, the fields at `path`, owns of what the rest of a pattern can name. `keys` are the merge keys of
/// the item that `path` names: without them it would be no item.
fn owned_below(
    set: &Object,
    pattern: &[String],
    path: &str,
    ours: Option<&Object>,
    keys: &[String],
    found: &mut Vec<String>,
) {
    for (element, below) in set.iter().filter(|(element, _)| *element != ".") {
        let (Some(below), token) = (below.as_object(), field_path::token_of(element)) else { continue };
        let rest = match pattern.split_first() {
            Some((wanted, rest)) if field_path::fits(wanted, token, Err(())) => Some(rest),
            Some(_) => continue,
            None => None,
        };
        if element.strip_prefix("f:").is_some_and(|field| keys.iter().any(|key| key == field)) {
            continue;
        }
        let path = format!("{path}/{}", field_path::escape(token));
        let ours = ours.and_then(|ours| ours.get(element)).and_then(Value::as_object);
        let owns_more = |set: &Object| set.keys().any(|name| name != ".");
        if !owns_more(below) {
            // A leaf is owned with all that is in it, unless we own something in it alone: then it was an empty map.
            // That a map or an item is there (`.`) is no field.
            let inside = rest.is_some_and(|rest| !rest.is_empty()) && ours.is_some_and(owns_more);
            if below.is_empty() && !inside {
                found.push(path);
            }
            continue;
        }
        let named = rest.is_some_and(<[String]>::is_empty);
        let item_keys: Vec<String> =
            field_path::keys(element).into_iter().flatten().map(|(name, _)| name).collect();
        if named && !item_keys.is_empty() && below.contains_key(".") {
            found.push(path);
            continue;
        }
        owned_below(below, rest.unwrap_or_default(), &path, ours, &item_keys, found);
    }
}

fn child<'a>(value: &'a Value, token: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(token),
        Value::Array(items) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => None,
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

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;

//! Paths of fields in objects: those that people write for ignored fields, and those that `managedFields` name.
//!
//! A *path* is a JSON pointer (RFC 6901) that names an item of a list as `managedFields` does, by its merge keys
//! (`k:{"name":"web"}`), its value (`v:"x"`) or its index (`i:0`): it means the same field in whatever order or number
//! the items stand. A *pattern* is what `drift.ignore` holds: a JSON pointer whose token for an item is an index into
//! the list in Git, some of the item's merge keys (`[name=web]`, `[containerPort=80,protocol=TCP]`), or `*` for all
//! items. Source of the elements: `fieldpath` of sigs.k8s.io/structured-merge-diff. Pure.

use serde_json::{Map, Value};

/// The tokens of a JSON pointer, unescaped; None for what is no pointer to a part of a document.
pub fn tokens(pointer: &str) -> Option<Vec<String>> {
    let rest = pointer.strip_prefix('/')?;
    Some(rest.split('/').map(|raw| raw.replace("~1", "/").replace("~0", "~")).collect())
}

/// A token as it stands in a pointer.
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// The token of a path for an element of a field set (`f:spec`, `k:{...}`, `v:...`, `i:...`). A field whose name looks
/// like an element keeps its `f:`.
pub fn token_of(element: &str) -> &str {
    match element.strip_prefix("f:") {
        Some(field) if !looks_like_element(field) => field,
        _ => element,
    }
}

fn looks_like_element(token: &str) -> bool {
    ["f:", "k:", "v:", "i:"].iter().any(|kind| token.starts_with(kind))
}

/// The name of the field that a path's token stands for; None: it stands for an item of a list.
fn field_of(token: &str) -> Option<&str> {
    match token.strip_prefix("f:") {
        Some(field) => Some(field),
        None if looks_like_element(token) => None,
        None => Some(token),
    }
}

/// Whether an element of a field set (`k:`, `v:`, `i:`) stands for this item of a list.
pub fn names_item(element: &str, index: usize, item: &Value) -> bool {
    let Some((kind, rest)) = element.split_once(':') else { return false };
    match kind {
        "i" => rest.parse() == Ok(index),
        "v" => serde_json::from_str::<Value>(rest).is_ok_and(|value| value == *item),
        "k" => keys(element).is_some_and(|keys| keys_fit(item, &keys)),
        _ => false,
    }
}

/// The merge keys of an element `k:{...}`.
pub fn keys(element: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(element.strip_prefix("k:")?) {
        Ok(Value::Object(keys)) => Some(keys),
        _ => None,
    }
}

/// A key that has a default may be left out of a manifest, but not all of them: a port's `protocol` is TCP then; what
/// other defaults are (of custom resources) is not known, so any value may be meant.
fn keys_fit(item: &Value, keys: &Map<String, Value>) -> bool {
    let fits = |(name, value): (&String, &Value)| match item.get(name) {
        Some(has) => has == value,
        None => name != "protocol" || value == "TCP",
    };
    item.is_object() && keys.keys().any(|name| item.get(name).is_some()) && keys.iter().all(fits)
}

/// Whether a token of a pattern can stand for a token of a path. `items`: the list in Git that an index counts in;
/// `Err`: not known, so any item may be meant.
pub fn fits(wanted: &str, token: &str, items: Result<Option<&Value>, ()>) -> bool {
    if let Some(field) = field_of(token) {
        return wanted == field;
    }
    if wanted == "*" || wanted == token {
        return true;
    }
    if let Some(pairs) = wanted.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return keys(token).is_some_and(|keys| pairs.split(',').all(|pair| has_key(&keys, pair)));
    }
    let Ok(index) = wanted.parse::<usize>() else { return false };
    match items {
        Err(()) => true,
        Ok(items) => {
            let item = items.and_then(Value::as_array).and_then(|items| items.get(index));
            item.is_some_and(|item| names_item(token, index, item))
        }
    }
}

fn has_key(keys: &Map<String, Value>, pair: &str) -> bool {
    let Some((name, wanted)) = pair.split_once('=') else { return false };
    match keys.get(name.trim()) {
        Some(Value::String(has)) => has == wanted.trim(),
        Some(has) => serde_json::from_str::<Value>(wanted.trim()).is_ok_and(|wanted| wanted == *has),
        None => false,
    }
}

/// Whether a pattern names the field at a path, or one that holds it, in an object of which `manifest` is what Git
/// has. Where the path ends first it names a field that is owned as a whole, with what the pattern names in it.
pub fn names(pattern: &[String], path: &[String], manifest: &Value) -> bool {
    let mut at = Some(manifest);
    for (wanted, token) in pattern.iter().zip(path) {
        if !fits(wanted, token, Ok(at)) {
            return false;
        }
        at = at.and_then(|value| child(value, token));
    }
    true
}

/// The value that a path's token stands for.
pub fn child<'a>(value: &'a Value, token: &str) -> Option<&'a Value> {
    match (value, field_of(token)) {
        (Value::Object(map), Some(field)) => map.get(field),
        (Value::Array(items), None) => {
            let mut items = items.iter().enumerate();
            items.find(|(index, item)| names_item(token, *index, item)).map(|(_, item)| item)
        }
        _ => None,
    }
}

/// Removes the fields at `paths`. Items of lists are found by what they are, so the order of removals is of no
/// consequence; what the object does not have is passed over. Of an item that stands twice, both are meant.
pub fn remove(object: &mut Value, paths: &[String]) {
    let mut paths: Vec<Vec<String>> = paths.iter().filter_map(|path| tokens(path)).collect();
    // By index, the last first: that alone counts in what is left.
    paths.sort_unstable_by(|a, b| order(b).cmp(&order(a)));
    for path in paths {
        remove_one(object, &path);
    }
}

fn order(path: &[String]) -> Vec<(Option<usize>, &str)> {
    path.iter().map(|token| (token.strip_prefix("i:").and_then(|i| i.parse().ok()), token.as_str())).collect()
}

fn remove_one(value: &mut Value, path: &[String]) {
    let Some((token, below)) = path.split_first() else { return };
    match (value, field_of(token)) {
        (Value::Object(map), Some(field)) => {
            if below.is_empty() {
                map.remove(field);
            } else if let Some(inner) = map.get_mut(field) {
                remove_one(inner, below);
            }
        }
        (Value::Array(items), None) => {
            for index in (0..items.len()).rev() {
                if !items.get(index).is_some_and(|item| names_item(token, index, item)) {
                    continue;
                }
                if below.is_empty() {
                    items.remove(index);
                } else if let Some(item) = items.get_mut(index) {
                    remove_one(item, below);
                }
            }
        }
        _ => {}
    }
}

/// A path as the server writes it in a conflict: `.spec.template.spec.containers[name="web"].image`.
pub fn for_people(path: &str) -> String {
    let mut text = String::new();
    for token in tokens(path).unwrap_or_default() {
        match (field_of(&token), keys(&token)) {
            (Some(field), _) => {
                text.push('.');
                text.push_str(field);
            }
            (None, Some(keys)) => {
                let pairs: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                text.push_str(&format!("[{}]", pairs.join(",")));
            }
            (None, None) => text.push_str(&format!("[{}]", token.get(2..).unwrap_or_default())),
        }
    }
    text
}

#[cfg(test)]
#[path = "field_path_tests.rs"]
mod tests;

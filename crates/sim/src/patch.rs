//! Merge patches (RFC 7386) and JSON patches (RFC 6902).

use serde_json::{Map, Value};

use super::refuse::Refusal;

pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            map.remove(name);
        } else {
            merge(map.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Removes fields that are null, at any depth.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

pub fn json_patch(object: &Value, patch: &[u8]) -> Result<Value, Refusal> {
    let operations: Vec<Value> = serde_json::from_slice(patch)
        .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
    let mut value = object.clone();
    for operation in &operations {
        let text = |name: &str| operation[name].as_str().unwrap_or_default();
        let (path, from) = (text("path"), text("from"));
        let failed = |why: &str| {
            let message =
                format!("the server rejected our request due to an error in our request: {path}: {why}");
            Refusal { details: Some(serde_json::json!({})), ..Refusal::new(422, "Invalid", message) }
        };
        let done = match text("op") {
            "add" => add(&mut value, path, operation["value"].clone()),
            "remove" => take(&mut value, path).map(drop),
            // The server's own library sets what was not there.
            "replace" if value.pointer(path).is_none() => add(&mut value, path, operation["value"].clone()),
            "replace" => value.pointer_mut(path).map(|there| *there = operation["value"].clone()),
            "test" => {
                let is = value.pointer(path).unwrap_or(&Value::Null);
                if *is != operation["value"] {
                    return Err(failed("testing value failed"));
                }
                Some(())
            }
            "copy" => value.pointer(from).cloned().and_then(|there| add(&mut value, path, there)),
            "move" => take(&mut value, from).and_then(|there| add(&mut value, path, there)),
            _ => return Err(failed("unexpected kind of operation")),
        };
        done.ok_or_else(|| failed("doc is missing path"))?;
    }
    Ok(value)
}

fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(value: &mut Value, path: &str, new: Value) -> Option<()> {
    if path.is_empty() {
        *value = new;
        return Some(());
    }
    let (parent, last) = split(path)?;
    match value.pointer_mut(parent)? {
        Value::Object(map) => drop(map.insert(last, new)),
        Value::Array(items) if last == "-" => items.push(new),
        Value::Array(items) => {
            let index: usize = last.parse().ok().filter(|index| *index <= items.len())?;
            items.insert(index, new);
        }
        _ => return None,
    }
    Some(())
}

fn take(value: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = split(path)?;
    match value.pointer_mut(parent)? {
        Value::Object(map) => map.remove(&last),
        Value::Array(items) => {
            let index: usize = last.parse().ok().filter(|index| *index < items.len())?;
            Some(items.remove(index))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_patch() {
        let mut value = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut value, &json!({"a": {"b": null, "x": {"y": null}}, "d": [2]}));
        assert_eq!(value, json!({"a": {"c": 2, "x": {}}, "d": [2]}));
        let patch = json!([{"op": "add", "path": "/d/-", "value": 3}, {"op": "move", "from": "/a/c", "path": "/e~1f"},
            {"op": "test", "path": "/d/0", "value": 2}, {"op": "remove", "path": "/d/0"}]);
        let patched = json_patch(&value, patch.to_string().as_bytes());
        assert_eq!(patched, Ok(json!({"a": {"x": {}}, "d": [3], "e/f": 2})));
        let missing = json!([{"op": "remove", "path": "/nothing"}]).to_string();
        assert_eq!(json_patch(&value, missing.as_bytes()).unwrap_err().code, 422);
    }
}

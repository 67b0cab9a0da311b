//! Strategic merge patches: what kubectl sends for built-in kinds.
//!
//! Lists are merged by the first of the keys that server-side apply knows for them, which is the key that the
//! server's types name for such patches.

use serde_json::{Map, Value};

use super::patch::drop_nulls;
use super::schema::{ListHow, Schema, Type, TypeId};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";
/// Lists that server-side apply replaces and a strategic patch merges.
const MERGED: [(&str, &str); 1] = [("taints", "key")];

/// Merges a patch into an object of a type.
pub fn merge(schema: &Schema, ty: TypeId, value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        value.clone_from(patch);
        return;
    };
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            *value = cleaned(&Value::Object(patch.clone()));
            return;
        }
        Some("delete") => {
            *value = Value::Object(Map::new());
            return;
        }
        _ => {}
    }
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Some(map) = value.as_object_mut() else { return };
    if let Some(kept) = patch.get(RETAIN).and_then(Value::as_array) {
        map.retain(|name, _| kept.iter().any(|one| one == name.as_str()));
    }
    for (name, items) in patch.iter().filter_map(|(name, items)| Some((name.strip_prefix(DELETE)?, items))) {
        if let (Some(Value::Array(list)), Some(gone)) = (map.get_mut(name), items.as_array()) {
            list.retain(|item| !gone.contains(item));
        }
    }
    for (name, new) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        if new.is_null() {
            map.remove(name);
            continue;
        }
        let field = schema.field(ty, name).unwrap_or(TypeId::MAX);
        match (new, map.get_mut(name)) {
            (Value::Object(_), Some(old @ Value::Object(_))) => merge(schema, field, old, new),
            (Value::Object(_), _) => {
                let mut made = Value::Object(Map::new());
                merge(schema, field, &mut made, new);
                map.insert(name.clone(), made);
            }
            (Value::Array(items), old) => {
                let before = old.and_then(|old| old.as_array_mut().map(std::mem::take)).unwrap_or_default();
                map.insert(name.clone(), Value::Array(merge_list(schema, field, name, before, items)));
            }
            _ => drop(map.insert(name.clone(), new.clone())),
        }
    }
    for (name, order) in patch.iter().filter_map(|(name, order)| Some((name.strip_prefix(ORDER)?, order))) {
        let field = schema.field(ty, name).unwrap_or(TypeId::MAX);
        if let (Some(Value::Array(list)), Some(order)) = (map.get_mut(name), order.as_array()) {
            put_in_order(list, order, merge_key(schema, field, name).as_deref());
        }
    }
}

/// The key by which items of a list are merged; None: they are no maps, or the list is replaced.
fn merge_key(schema: &Schema, ty: TypeId, name: &str) -> Option<String> {
    match schema.get(ty) {
        Type::List(list) => match &list.how {
            ListHow::Keys(keys) => keys.first().map(ToString::to_string),
            ListHow::Atomic | ListHow::Set => {
                MERGED.iter().find(|(one, _)| *one == name).map(|(_, key)| (*key).to_owned())
            }
        },
        _ => None,
    }
}

fn merge_list(schema: &Schema, ty: TypeId, name: &str, before: Vec<Value>, items: &[Value]) -> Vec<Value> {
    let Type::List(list) = schema.get(ty) else { return items.iter().map(cleaned).collect() };
    let replaces = items.iter().any(|item| item[DIRECTIVE] == "replace");
    let rest = items.iter().filter(|item| item[DIRECTIVE] != "replace");
    if replaces {
        return rest.map(cleaned).collect();
    }
    let Some(key) = merge_key(schema, ty, name) else {
        if list.how != ListHow::Set {
            return items.iter().map(cleaned).collect();
        }
        let mut all = before;
        for item in items {
            if !all.contains(item) {
                all.push(item.clone());
            }
        }
        return all;
    };
    let mut all = before;
    for item in items {
        let at = all.iter().position(|old| old.get(&key) == item.get(&key));
        match (item[DIRECTIVE] == "delete", at) {
            (true, Some(at)) => drop(all.remove(at)),
            (true, None) => {}
            (false, Some(at)) => merge(schema, list.items, &mut all[at], item),
            (false, None) => {
                let mut made = Value::Object(Map::new());
                merge(schema, list.items, &mut made, item);
                all.push(made);
            }
        }
    }
    all
}

/// Puts the items that an order names into that order, in the places that they have together.
fn put_in_order(list: &mut [Value], order: &[Value], key: Option<&str>) {
    let place = |item: &Value| {
        let same = |one: &&Value| match key {
            Some(key) => one.get(key) == item.get(key),
            None => *one == item,
        };
        order.iter().enumerate().find(|(_, one)| same(one)).map(|(at, _)| at)
    };
    let mut named: Vec<(usize, Value)> =
        list.iter().filter_map(|item| Some((place(item)?, item.clone()))).collect();
    named.sort_by_key(|(at, _)| *at);
    let mut named = named.into_iter().map(|(_, item)| item);
    for item in list.iter_mut() {
        if place(item).is_some()
            && let Some(next) = named.next()
        {
            *item = next;
        }
    }
}

/// What a patch brings where nothing was: without its directives, and without what it only takes away.
fn cleaned(value: &Value) -> Value {
    let mut value = value.clone();
    strip(&mut value);
    drop_nulls(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, _| !name.starts_with('$'));
            map.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kind::built_in;
    use super::*;

    #[test]
    fn lists_are_merged_by_their_keys() {
        let kind = built_in("apps", "Deployment").unwrap();
        let version = &kind.versions[0];
        let patch = |value: Value, patch: Value| {
            let mut value = value;
            merge(&version.schema, version.root, &mut value, &patch);
            value
        };
        let with = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let two = || with(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]));
        for (change, wanted) in [
            (
                with(json!([{"name": "b", "image": "2"}])),
                with(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}])),
            ),
            (with(json!([{"name": "a", "$patch": "delete"}])), with(json!([{"name": "b", "image": "1"}]))),
            (with(json!([{"name": "c"}, {"$patch": "replace"}])), with(json!([{"name": "c"}]))),
            (
                json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                    "containers": [{"name": "a", "image": null}]}}}}),
                with(json!([{"name": "b", "image": "1"}, {"name": "a"}])),
            ),
        ] {
            assert_eq!(patch(two(), change.clone()), wanted, "{change}");
        }
        let metadata = json!({"metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]}});
        let change = json!({"metadata": {"labels": {"a": null, "c": "3"}, "finalizers": ["z"], "$deleteFromPrimitiveList/finalizers": ["x"]}});
        let wanted = json!({"metadata": {"labels": {"b": "2", "c": "3"}, "finalizers": ["y", "z"]}});
        assert_eq!(patch(metadata, change), wanted);
        let strategy =
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let change = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(patch(strategy, change), json!({"spec": {"strategy": {"type": "Recreate"}}}));
    }
}

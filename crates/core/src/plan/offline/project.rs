//! A live object reduced to what a manifest says, so that defaults and other people's fields don't show.

use serde_json::{Map, Value};

/// Names by which items of lists are told apart, in the order in which they are tried; a list of objects that all
/// have different values for one of them is matched by it. Source: `x-kubernetes-list-map-keys` of built-in kinds.
const LIST_KEYS: [&[&str]; 10] = [
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["mountPath"],
    &["devicePath"],
    &["name"],
    &["topologyKey", "whenUnsatisfiable"],
    &["type"],
    &["ip"],
    &["key"],
    &["uid"],
];

/// Fields below which numbers with units stand, which a server writes in its own way (`1000m` as `1`).
const QUANTITIES: [&str; 8] =
    ["limits", "requests", "capacity", "hard", "sizeLimit", "storage", "default", "overhead"];

/// Whether a live object has everything that a manifest says, whatever else it has.
pub fn covers(desired: &Value, live: &Value) -> bool {
    let desired = comparable(desired);
    project(&desired, live, &[]) == desired
}

/// A manifest in the form in which a server keeps it: a Secret's `stringData` is part of its `data`, and what is
/// null is not there.
pub(super) fn comparable(desired: &Value) -> Value {
    let mut desired = desired.clone();
    fold_string_data(&mut desired);
    drop_nulls(&mut desired);
    desired
}

/// Moves a Secret's `stringData` into its `data`, as a server does. It must be sent so: `managedFields` would keep
/// `stringData` as ours and not the `data` that it became, and nobody would see a foreign write to that.
pub fn fold_string_data(manifest: &mut Value) {
    use base64::Engine;
    if manifest["kind"] != "Secret" || manifest["apiVersion"] != "v1" {
        return;
    }
    let Some(object) = manifest.as_object_mut() else { return };
    let Some(Value::Object(strings)) = object.get("stringData").cloned() else { return };
    let data = object.entry("data").or_insert_with(|| Map::new().into());
    if data.is_null() {
        *data = Map::new().into();
    }
    // What is no text, or no map, is left for the server to refuse.
    let (Value::Object(data), true) = (data, strings.values().all(Value::is_string)) else { return };
    let encode =
        |value: &Value| base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
    data.extend(strings.iter().map(|(name, value)| (name.clone(), encode(value).into())));
    object.remove("stringData");
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The part of `live` that `desired` speaks of, with what stands at the pointers `owned` (fields that our apply
/// would remove). Where both sides mean the same, in the words of `desired`.
pub(super) fn project(desired: &Value, live: &Value, owned: &[String]) -> Value {
    let mut live = live.clone();
    // Items of lists don't say what they are, and a server may give an object in another version than asked for.
    for name in ["apiVersion", "kind"] {
        if let (Some(value), Some(live)) = (desired.get(name), live.as_object_mut()) {
            live.insert(name.to_owned(), value.clone());
        }
    }
    at(desired, &live, &Path { owned, pointer: String::new(), quantity: false })
}

struct Path<'a> {
    owned: &'a [String],
    /// In the live object.
    pointer: String,
    quantity: bool,
}

impl Path<'_> {
    fn down(&self, token: &str) -> Path<'_> {
        Path {
            owned: self.owned,
            pointer: format!("{}/{}", self.pointer, token.replace('~', "~0").replace('/', "~1")),
            quantity: self.quantity || QUANTITIES.contains(&token),
        }
    }

    /// Whether we own this field or something below it.
    fn is_owned(&self) -> bool {
        let below = |owned: &String| {
            owned.strip_prefix(&self.pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.owned.iter().any(below)
    }
}

fn at(desired: &Value, live: &Value, path: &Path<'_>) -> Value {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => object(desired, live, path),
        (Value::Array(desired), Value::Array(live)) => list(desired, live, path),
        (desired, live) if same_scalar(desired, live, path.quantity) => desired.clone(),
        (_, live) => live.clone(),
    }
}

fn object(desired: &Map<String, Value>, live: &Map<String, Value>, path: &Path<'_>) -> Value {
    let mut out = Map::new();
    for (name, wanted) in desired {
        match live.get(name) {
            Some(has) => drop(out.insert(name.clone(), at(wanted, has, &path.down(name)))),
            // A server does not keep what is empty.
            None if is_empty(wanted) => drop(out.insert(name.clone(), wanted.clone())),
            None => {}
        }
    }
    for (name, has) in live.iter().filter(|(name, _)| !desired.contains_key(*name)) {
        let below = path.down(name);
        if below.is_owned() {
            out.insert(name.clone(), only_owned(has, &below));
        }
    }
    out.into()
}

/// Of a field that the manifest does not have, what we own.
fn only_owned(live: &Value, path: &Path<'_>) -> Value {
    match live {
        Value::Object(map) if !path.owned.contains(&path.pointer) => {
            let below = map.iter().filter(|(name, _)| path.down(name).is_owned());
            Value::Object(
                below.map(|(name, value)| (name.clone(), only_owned(value, &path.down(name)))).collect(),
            )
        }
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
    }
}

fn list(desired: &[Value], live: &[Value], path: &Path<'_>) -> Value {
    let Some(keys) = list_keys(desired) else { return atomic(desired, live, path) };
    let mut taken = vec![false; live.len()];
    let mut out = Vec::new();
    for wanted in desired {
        let found = live.iter().position(|item| keys.iter().all(|key| same_key(wanted, item, key)));
        if let Some(index) = found {
            taken[index] = true;
            out.push(at(wanted, &live[index], &path.down(&index.to_string())));
        }
    }
    for (index, item) in live.iter().enumerate().filter(|(index, _)| !taken[*index]) {
        if path.down(&index.to_string()).is_owned() {
            out.push(item.clone());
        }
    }
    out.into()
}

/// A list without keys is one value: of equal length its items are compared one by one, else it is shown as it is.
fn atomic(desired: &[Value], live: &[Value], path: &Path<'_>) -> Value {
    if desired.len() != live.len() {
        return live.to_vec().into();
    }
    let items = desired.iter().zip(live).enumerate();
    items.map(|(index, (wanted, has))| at(wanted, has, &path.down(&index.to_string()))).collect()
}

fn list_keys(items: &[Value]) -> Option<&'static [&'static str]> {
    let unique = |keys: &&&[&str]| {
        let mut seen: Vec<Vec<Option<&Value>>> = Vec::new();
        items.iter().all(|item| {
            let values: Vec<_> = keys.iter().map(|key| item.get(key)).collect();
            let fresh = item.get(keys[0]).is_some() && !seen.contains(&values);
            seen.push(values);
            fresh
        })
    };
    if items.is_empty() { None } else { LIST_KEYS.iter().find(unique).copied() }
}

/// A key that the manifest leaves out has the server's default.
fn same_key(wanted: &Value, has: &Value, key: &str) -> bool {
    wanted.get(key).is_none_or(|value| has.get(key) == Some(value))
}

fn same_scalar(desired: &Value, live: &Value, quantity: bool) -> bool {
    if desired == live {
        return true;
    }
    if !quantity {
        return false;
    }
    match (amount(desired), amount(live)) {
        (Some(a), Some(b)) => (a - b).abs() <= a.abs().max(b.abs()) * 1e-12,
        _ => false,
    }
}

/// A Kubernetes quantity as a number. Source: `resource.Quantity`'s suffixes.
fn amount(value: &Value) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let text = match value {
        Value::Number(number) => return number.as_f64(),
        Value::String(text) => text,
        _ => return None,
    };
    let suffix = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (number, factor) = suffix.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n * factor)
}

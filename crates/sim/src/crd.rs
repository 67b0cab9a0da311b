//! Kinds that come with a CustomResourceDefinition: their schemas, and how they begin and end to be served.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use super::discover::rank;
use super::kind::{Kind, Version, resource_name};
use super::refuse::{Invalid, Refusal};
use super::scale::ScalePaths;
use super::schema::{Field, ListHow, ListType, MapType, Scalar, Schema, Type, TypeId, Zero, metadata_types};

/// Holds a CRD until its instances are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The rules of one version of a custom kind.
pub struct Rules {
    schema: Value,
    validator: Option<Validator>,
    /// `additionalPrinterColumns`.
    columns: Vec<Value>,
}

impl Rules {
    pub fn columns(&self) -> &[Value] {
        &self.columns
    }

    pub fn open_schema(&self) -> &Value {
        &self.schema
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Custom kinds by the digest of their CRD's spec: clusters with the same CRD share them.
#[derive(Default)]
pub struct CustomKinds(Mutex<HashMap<[u8; 32], Arc<Kind>>>);

impl CustomKinds {
    pub fn of(&self, spec: &Value) -> Arc<Kind> {
        let digest = *blake3::hash(spec.to_string().as_bytes()).as_bytes();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(digest).or_insert_with(|| Arc::new(kind(spec))))
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn kind(spec: &Value) -> Kind {
    let (group, plural) = (text(spec, "/group"), text(spec, "/names/plural"));
    let mut versions: Vec<Version> = spec["versions"].as_array().into_iter().flatten().map(version).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(rank(&version.name)));
    let names = |field: &str| {
        let names = spec["names"][field].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(Box::from).collect()
    };
    Kind {
        resource: resource_name(group, plural).into(),
        group: group.into(),
        kind: text(spec, "/names/kind").into(),
        list_kind: text(spec, "/names/listKind").into(),
        plural: plural.into(),
        singular: text(spec, "/names/singular").into(),
        short_names: names("shortNames"),
        categories: names("categories"),
        namespaced: text(spec, "/scope") == "Namespaced",
        is_custom: true,
        versions,
    }
}

fn version(spec: &Value) -> Version {
    let open = &spec["schema"]["openAPIV3Schema"];
    let (mut schema, metadata) = metadata_types();
    let root = add(&mut schema, open);
    let root = with_metadata(&mut schema, root, metadata);
    let validator = jsonschema::options().with_draft(Draft::Draft4).build(&plain(open)).ok();
    Version {
        name: text(spec, "/name").into(),
        served: spec["served"] == true,
        status: spec["subresources"]["status"].is_object(),
        schema: Arc::new(schema),
        root,
        scale: ScalePaths::custom(spec),
        rules: Some(Arc::new(Rules {
            schema: open.clone(),
            validator,
            columns: spec["additionalPrinterColumns"].as_array().cloned().unwrap_or_default(),
        })),
    }
}

/// Every object has these fields, whatever its schema says.
fn with_metadata(schema: &mut Schema, root: TypeId, metadata: TypeId) -> TypeId {
    let mut map = schema.map(root).cloned().unwrap_or_default();
    let word = schema.add(Type::Scalar(Scalar::Text));
    for (name, ty) in [("apiVersion", word), ("kind", word), ("metadata", metadata)] {
        map.fields.insert(name.into(), Field { ty, zero: Zero::Keep, default: None });
    }
    schema.add(Type::Map(map))
}

/// The type that a schema describes.
fn add(schema: &mut Schema, open: &Value) -> TypeId {
    if open["x-kubernetes-int-or-string"] == true {
        return schema.add(Type::Scalar(Scalar::IntOrText));
    }
    let ty = match text(open, "/type") {
        "object" => map(schema, open),
        "array" => {
            let items = add(schema, &open["items"]);
            let keys = || open["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            let how = match text(open, "/x-kubernetes-list-type") {
                "set" => ListHow::Set,
                "map" => ListHow::Keys(keys().filter_map(Value::as_str).map(Box::from).collect()),
                _ => ListHow::Atomic,
            };
            Type::List(ListType { items, how })
        }
        "string" => Type::Scalar(Scalar::Text),
        "integer" => Type::Scalar(Scalar::Integer),
        "number" => Type::Scalar(Scalar::Number),
        "boolean" => Type::Scalar(Scalar::Boolean),
        _ => Type::Any,
    };
    schema.add(ty)
}

fn map(schema: &mut Schema, open: &Value) -> Type {
    let mut map = MapType { atomic: text(open, "/x-kubernetes-map-type") == "atomic", ..MapType::default() };
    for (name, open) in open["properties"].as_object().into_iter().flatten() {
        let ty = add(schema, open);
        let default = open.get("default").cloned();
        map.fields.insert(name.as_str().into(), Field { ty, zero: Zero::Keep, default });
    }
    let others = &open["additionalProperties"];
    if others.is_object() {
        map.others = Some(add(schema, others));
    } else if others == true || keeps_unknown(open) {
        map.others = Some(schema.add(Type::Any));
    }
    if open["x-kubernetes-embedded-resource"] == true {
        map.others = Some(schema.add(Type::Any));
    }
    if map.fields.is_empty() && map.others.is_none() && open.get("properties").is_none() {
        Type::Any
    } else {
        Type::Map(map)
    }
}

fn keeps_unknown(open: &Value) -> bool {
    open["x-kubernetes-preserve-unknown-fields"] == true
}

/// A schema without Kubernetes' own words.
fn plain(open: &Value) -> Value {
    let Value::Object(map) = open else { return open.clone() };
    if open["x-kubernetes-int-or-string"] == true {
        return json!({"type": ["integer", "string"]});
    }
    let mut out = Map::new();
    for (name, value) in map.iter().filter(|(name, _)| !name.starts_with("x-kubernetes-")) {
        let value = match name.as_str() {
            "properties" | "patternProperties" => {
                let all = value.as_object().into_iter().flatten();
                Value::Object(all.map(|(name, value)| (name.clone(), plain(value))).collect())
            }
            "items" | "additionalProperties" | "not" => plain(value),
            "allOf" | "anyOf" | "oneOf" => value.as_array().into_iter().flatten().map(plain).collect(),
            "nullable" | "default" | "example" | "description" | "title" | "externalDocs" => continue,
            "type" if open["nullable"] == true => json!([value, "null"]),
            // Formats of Go's, which are no others' business.
            "format" => continue,
            _ => value.clone(),
        };
        out.insert(name.clone(), value);
    }
    Value::Object(out)
}

/// An instance as the server keeps it: without unknown fields, with defaults; or what is wrong with it.
pub fn read(kind: &Kind, version: &Version, mut value: Value) -> Result<Value, Refusal> {
    let Some(rules) = &version.rules else { return Ok(value) };
    let head: Vec<(String, Value)> = ["apiVersion", "kind", "metadata"]
        .into_iter()
        .filter_map(|name| value.as_object_mut()?.remove_entry(name))
        .collect();
    prune(&rules.schema, &mut value);
    fill(&rules.schema, &mut value);
    let wrong: Vec<Invalid> = rules
        .validator
        .iter()
        .flat_map(|validator| {
            validator
                .iter_errors(&value)
                .map(|error| {
                    let place = error.instance_path().to_string();
                    let field = place.trim_start_matches('/').replace('/', ".");
                    Invalid::value(field, error.instance(), &error.to_string())
                })
                .collect::<Vec<_>>()
        })
        .collect();
    if let Some(map) = value.as_object_mut() {
        map.extend(head);
        let metadata = map.remove("metadata").unwrap_or_else(|| json!({}));
        let table = super::schema::built_ins();
        let metadata =
            super::codec::normalise(&table.schema, table.metadata, metadata).map_err(Refusal::bad_request)?;
        map.insert("metadata".to_owned(), metadata);
    }
    if !wrong.is_empty() {
        return Err(Refusal::invalid(kind, text(&value, "/metadata/name"), &wrong));
    }
    Ok(value)
}

fn prune(open: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let properties = open["properties"].as_object();
            let others = &open["additionalProperties"];
            if !keeps_unknown(open)
                && !others.is_object()
                && others != true
                && open["x-kubernetes-embedded-resource"] != true
            {
                map.retain(|name, _| properties.is_some_and(|known| known.contains_key(name)));
            }
            for (name, value) in map {
                match properties.and_then(|known| known.get(name)) {
                    Some(open) => prune(open, value),
                    None if others.is_object() => prune(others, value),
                    None => {}
                }
            }
        }
        Value::Array(items) if open["items"].is_object() => {
            items.iter_mut().for_each(|item| prune(&open["items"], item));
        }
        _ => {}
    }
}

fn fill(open: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let properties = open["properties"].as_object();
            for (name, open) in properties.into_iter().flatten() {
                let missing = map.get(name).is_none_or(|there| there.is_null() && open["nullable"] != true);
                if let Some(default) = open.get("default").filter(|_| missing) {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map {
                match properties.and_then(|known| known.get(name)) {
                    Some(open) => fill(open, value),
                    None => fill(&open["additionalProperties"], value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(&open["items"], item)),
        _ => {}
    }
}

/// A condition but for its time.
pub struct Condition {
    pub kind: &'static str,
    pub status: &'static str,
    pub reason: &'static str,
    pub message: &'static str,
}

/// Instances of a CRD that is deleted are deleted first.
pub fn pending() -> Condition {
    Condition {
        kind: "Terminating",
        status: "True",
        reason: "InstanceDeletionPending",
        message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    }
}

/// They are being deleted.
pub fn in_progress() -> Condition {
    Condition {
        reason: "InstanceDeletionInProgress",
        message: "CustomResource deletion is in progress",
        ..pending()
    }
}

/// Sets a condition; says whether that changed anything. Its time is that of the last change of the status.
pub fn set_condition(object: &mut Value, now: &str, condition: Condition) -> bool {
    let conditions = &mut object["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else { return false };
    let new = json!({"type": condition.kind, "status": condition.status, "reason": condition.reason,
        "message": condition.message, "lastTransitionTime": now});
    match list.iter_mut().find(|one| one["type"] == condition.kind) {
        Some(old) if old["status"] == condition.status && old["reason"] == condition.reason => return false,
        Some(old) => {
            let since =
                if old["status"] == condition.status { old["lastTransitionTime"].take() } else { json!(now) };
            *old = new;
            old["lastTransitionTime"] = since;
        }
        None => list.push(new),
    }
    true
}

/// Accepts the names of a CRD, and then establishes it: two writes, as of a real server. Says whether this was one.
pub fn establish(object: &mut Value, now: &str) -> bool {
    let accepted = Condition {
        kind: "NamesAccepted",
        status: "True",
        reason: "NoConflicts",
        message: "no conflicts found",
    };
    let established = Condition {
        kind: "Established",
        status: "True",
        reason: "InitialNamesAccepted",
        message: "the initial names have been accepted",
    };
    let names = object["spec"]["names"].clone();
    let renamed = object["status"]["acceptedNames"] != names;
    object["status"]["acceptedNames"] = names;
    if !(set_condition(object, now, accepted) || renamed) {
        return set_condition(object, now, established);
    }
    let conditions = object["status"]["conditions"].as_array();
    if !conditions.into_iter().flatten().any(|one| one["type"] == established.kind) {
        set_condition(object, now, Condition { status: "False", reason: "Installing", ..established });
    }
    true
}

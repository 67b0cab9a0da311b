//! What a cluster says of its kinds' fields: OpenAPI 3, as far as kubectl reads it (`explain`, validation before an
//! apply). Descriptions are not known here, so none are made up.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::cluster::State;
use super::kind::{Kind, Version};
use super::schema::{ListHow, Scalar, Schema, Type, TypeId, built_ins};

/// `api/v1` or `apis/<group>/<version>`, as the paths of documents are written.
fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `/openapi/v3`: where the documents are.
pub fn index(state: &State) -> Value {
    let mut paths = Map::new();
    for kind in state.kinds() {
        for version in kind.versions.iter().filter(|version| version.served) {
            let path = path_of(&kind.group, &version.name);
            let url = format!("/openapi/v3/{path}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({ "paths": paths })
}

/// The document of one group and version. None: nothing is served there.
pub fn document(state: &State, group: &str, version: &str, about: &str) -> Option<Value> {
    let mut paths = Map::new();
    let mut schemas = Schemas::default();
    for kind in state.kinds().filter(|kind| *kind.group == *group) {
        let Some(served) = kind.versions.iter().find(|v| *v.name == *version && v.served) else { continue };
        schemas.add_kind(kind, served);
        add_paths(&mut paths, kind, served);
    }
    if paths.is_empty() {
        return None;
    }
    Some(json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": about},
        "paths": paths, "components": {"schemas": schemas.made}}))
}

fn gvk(kind: &Kind, version: &Version) -> Value {
    json!({"group": kind.group, "version": version.name, "kind": kind.kind})
}

fn add_paths(paths: &mut Map<String, Value>, kind: &Kind, version: &Version) {
    let root = path_of(&kind.group, &version.name);
    let plural = &kind.plural;
    let collection = match kind.namespaced {
        true => format!("/{root}/namespaces/{{namespace}}/{plural}"),
        false => format!("/{root}/{plural}"),
    };
    let query = |name: &str, ty: &str| json!({"name": name, "in": "query", "schema": {"type": ty, "uniqueItems": true}});
    let written =
        [query("dryRun", "string"), query("fieldManager", "string"), query("fieldValidation", "string")];
    let operation = |action: &str, parameters: Vec<Value>| {
        json!({"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(kind, version), "parameters": parameters,
            "responses": {"200": {"description": "OK"}}})
    };
    let patch = written.iter().cloned().chain([query("force", "boolean")]).collect();
    let one = json!({"get": operation("get", vec![]), "put": operation("put", written.to_vec()),
        "patch": operation("patch", patch), "delete": operation("delete", vec![])});
    let all = json!({"get": operation("list", vec![]), "post": operation("post", written.to_vec())});
    paths.insert(format!("{collection}/{{name}}"), one);
    paths.insert(collection, all);
    if kind.namespaced {
        paths.insert(format!("/{root}/{plural}"), json!({"get": operation("list", vec![])}));
    }
}

/// Schemas by the names that documents give them.
#[derive(Default)]
struct Schemas {
    made: BTreeMap<String, Value>,
    begun: BTreeSet<TypeId>,
}

impl Schemas {
    fn add_kind(&mut self, kind: &Kind, version: &Version) {
        let what = json!([gvk(kind, version)]);
        if let Some(open) = version.open_schema() {
            let mut root = open.clone();
            for (field, ty) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
                root["properties"][field] = json!({"type": ty});
            }
            root["type"] = json!("object");
            root["x-kubernetes-group-version-kind"] = what;
            let reversed: Vec<&str> = kind.group.split('.').rev().collect();
            self.made.insert(format!("{}.{}.{}", reversed.join("."), version.name, kind.kind), root);
            return;
        }
        let name = self.reference(&version.schema, version.root);
        if let Some(root) = name.and_then(|name| self.made.get_mut(&name)) {
            root["x-kubernetes-group-version-kind"] = what;
        }
    }

    /// The name of a type's schema, which is made if it is new. None: the type has no name.
    fn reference(&mut self, schema: &Schema, ty: TypeId) -> Option<String> {
        let name = format!("io.k8s.api.{}", built_ins().type_name(ty)?);
        if self.begun.insert(ty) {
            let made = self.own(schema, ty);
            self.made.insert(name.clone(), made);
        }
        Some(name)
    }

    fn of(&mut self, schema: &Schema, ty: TypeId) -> Value {
        match self.reference(schema, ty) {
            Some(name) => json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]}),
            None => self.own(schema, ty),
        }
    }

    fn own(&mut self, schema: &Schema, ty: TypeId) -> Value {
        match schema.get(ty) {
            Type::Any => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            Type::Scalar(scalar) => scalar_schema(*scalar),
            Type::List(list) => {
                let mut made = json!({"type": "array", "items": self.of(schema, list.items)});
                match &list.how {
                    ListHow::Atomic => made["x-kubernetes-list-type"] = json!("atomic"),
                    ListHow::Set => made["x-kubernetes-list-type"] = json!("set"),
                    ListHow::Keys(keys) => {
                        made["x-kubernetes-list-type"] = json!("map");
                        made["x-kubernetes-list-map-keys"] = json!(keys);
                    }
                }
                made
            }
            Type::Map(map) => {
                let mut made = json!({"type": "object"});
                if let Some(others) = map.others {
                    made["additionalProperties"] = self.of(schema, others);
                }
                for (name, field) in &map.fields {
                    made["properties"][&**name] = self.of(schema, field.ty);
                }
                made
            }
        }
    }
}

fn scalar_schema(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Text => json!({"type": "string"}),
        Scalar::Integer => json!({"type": "integer", "format": "int64"}),
        Scalar::Boolean => json!({"type": "boolean"}),
        Scalar::Number => json!({"type": "number", "format": "double"}),
        Scalar::Bytes => json!({"type": "string", "format": "byte"}),
        Scalar::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Scalar::IntOrText => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Scalar::Time | Scalar::MicroTime => json!({"type": "string", "format": "date-time"}),
    }
}

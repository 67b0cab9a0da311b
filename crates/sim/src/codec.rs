//! Objects of built-in kinds as the server keeps them after it has read them into its own types: unknown fields
//! and empty values go, fields that are always there come, quantities are put in their shortest form.

use serde_json::{Map, Value, json};

use super::quantity;
use super::schema::{ListType, MapType, Scalar, Schema, Type, TypeId, Zero};

/// Reads an object of a type; an error says what can't be read.
pub fn normalise(schema: &Schema, ty: TypeId, value: Value) -> Result<Value, String> {
    let mut path = String::new();
    Ok(read(schema, ty, value, &mut path)?.unwrap_or_else(|| Value::Object(Map::new())))
}

/// None: nothing that is kept.
fn read(schema: &Schema, ty: TypeId, value: Value, path: &mut String) -> Result<Option<Value>, String> {
    if value.is_null() {
        return Ok(None);
    }
    match (schema.get(ty), value) {
        (Type::Any, value) => Ok(Some(value)),
        (Type::Map(map), Value::Object(fields)) if map.strict => strict(schema, map, fields, path).map(Some),
        (Type::Map(map), Value::Object(fields)) => {
            let mut out = Map::new();
            for (name, value) in fields {
                let length = push(path, &name);
                let value = match map.others {
                    Some(ty) if value.is_null() => Some(zero(schema, ty)),
                    Some(ty) => read(schema, ty, value, path)?,
                    None => Some(value),
                };
                path.truncate(length);
                out.extend(value.map(|value| (name, value)));
            }
            Ok((!out.is_empty()).then_some(Value::Object(out)))
        }
        (Type::List(ListType { items, .. }), Value::Array(list)) => {
            let mut out = Vec::with_capacity(list.len());
            for item in list {
                out.push(read(schema, *items, item, path)?.unwrap_or_else(|| zero(schema, *items)));
            }
            Ok((!out.is_empty()).then_some(Value::Array(out)))
        }
        (Type::Scalar(kind), value) => scalar(*kind, value, path).map(Some),
        (_, other) => Err(misfit(&other, path)),
    }
}

fn push(path: &mut String, name: &str) -> usize {
    let length = path.len();
    path.push('.');
    path.push_str(name);
    length
}

fn misfit(value: &Value, path: &str) -> String {
    let what = match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) | Value::Null => "object",
    };
    format!("json: cannot unmarshal {what} into Go struct field {}", path.trim_start_matches('.'))
}

fn strict(
    schema: &Schema,
    map: &MapType,
    mut fields: Map<String, Value>,
    path: &mut String,
) -> Result<Value, String> {
    let mut out = Map::new();
    for (name, field) in &map.fields {
        let length = push(path, name);
        let value = match fields.remove(&**name) {
            Some(value) => read(schema, field.ty, value, path)?,
            None => None,
        };
        path.truncate(length);
        let value = match (value, field.zero) {
            (None, Zero::Always) => zero(schema, field.ty),
            (None, _) => continue,
            (Some(value), Zero::Drop) if is_zero(&value) => continue,
            (Some(value), _) => value,
        };
        out.insert(name.to_string(), value);
    }
    Ok(Value::Object(out))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// What a field is that nobody set.
fn zero(schema: &Schema, ty: TypeId) -> Value {
    match schema.get(ty) {
        Type::Map(map) if map.strict => {
            let always = map.fields.iter().filter(|(_, field)| field.zero == Zero::Always);
            Value::Object(always.map(|(name, field)| (name.to_string(), zero(schema, field.ty))).collect())
        }
        Type::Scalar(Scalar::Text) => json!(""),
        Type::Scalar(Scalar::Integer | Scalar::Number | Scalar::IntOrText) => json!(0),
        Type::Scalar(Scalar::Boolean) => json!(false),
        Type::Scalar(Scalar::Quantity) => json!("0"),
        _ => Value::Null,
    }
}

fn scalar(kind: Scalar, value: Value, path: &str) -> Result<Value, String> {
    let fits = match kind {
        Scalar::Text | Scalar::Time | Scalar::MicroTime => value.is_string(),
        Scalar::Bytes => return bytes(value, path),
        Scalar::Integer => value.is_i64() || value.is_u64(),
        Scalar::Number => value.is_number(),
        Scalar::Boolean => value.is_boolean(),
        Scalar::IntOrText => value.is_string() || value.is_i64(),
        Scalar::Quantity => {
            let text = match &value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                other => return Err(misfit(other, path)),
            };
            return quantity::canonical(&text).map(Value::String).ok_or_else(|| {
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".into()
            });
        }
    };
    if fits { Ok(value) } else { Err(misfit(&value, path)) }
}

fn bytes(value: Value, path: &str) -> Result<Value, String> {
    use base64::Engine as _;
    let Value::String(text) = &value else { return Err(misfit(&value, path)) };
    match base64::engine::general_purpose::STANDARD.decode(text) {
        Ok(_) => Ok(value),
        Err(_) => Err("illegal base64 data at input byte 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::built_ins;

    fn kept(kind: &str, value: Value) -> Result<Value, String> {
        let table = built_ins();
        let root = table.kinds.iter().find(|one| one.kind == kind).map(|one| one.root).unwrap();
        normalise(&table.schema, root, value)
    }

    #[test]
    fn empty_values_go_and_what_is_always_there_comes() {
        let pod = json!({"metadata": {"name": "a", "labels": {}}, "nonsense": 1, "spec": {"nodeName": "",
            "containers": [{"name": "main", "env": [], "args": null,
                "resources": {"limits": {"cpu": "1000m"}, "requests": {"cpu": 0.5}}}],
            "volumes": [{"name": "tmp", "emptyDir": {}}]}});
        let expected = json!({"metadata": {"name": "a"}, "status": {}, "spec": {
            "containers": [{"name": "main", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}}],
            "volumes": [{"name": "tmp", "emptyDir": {}}]}});
        assert_eq!(kept("Pod", pod), Ok(expected));
        assert_eq!(kept("Role", json!({"rules": []})), Ok(json!({"metadata": {}, "rules": null})));
        let zero = json!({"metadata": {}, "spec": {"replicas": 0, "selector": null}});
        assert_eq!(kept("Deployment", zero).map(|d| d["spec"]["replicas"].clone()), Ok(json!(0)));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(kept("Deployment", json!({"spec": {"replicas": "3"}})).is_err());
        assert!(kept("ConfigMap", json!({"data": {"a": 1}})).is_err());
        assert!(kept("Secret", json!({"data": {"a": "no base64!"}})).is_err());
        assert!(kept("Pod", json!({"spec": {"containers": {}}})).is_err());
    }
}

//! Types of fields: what a manifest may say, and how two writers of one object are merged.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

/// A type of a schema.
pub type TypeId = u32;

#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Scalar(Scalar),
    Map(MapType),
    List(ListType),
    /// No rules: maps are merged, lists are replaced.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    Text,
    Integer,
    Boolean,
    Number,
    Bytes,
    Quantity,
    IntOrText,
    Time,
    MicroTime,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct MapType {
    pub fields: BTreeMap<Box<str>, Field>,
    /// What fields that are not named have; None: there are none.
    pub others: Option<TypeId>,
    /// Owned and replaced as a whole.
    pub atomic: bool,
    /// A struct of the server's, which fills in fields that must be there.
    pub strict: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ListType {
    pub items: TypeId,
    pub how: ListHow,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListHow {
    Atomic,
    Set,
    Keys(Box<[Box<str>]>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub ty: TypeId,
    pub zero: Zero,
    pub default: Option<Value>,
}

/// What the server does with a field that is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zero {
    /// A zero is a value like others; an empty list or map of texts is left out.
    Keep,
    Drop,
    /// The field is there even if nobody sets it.
    Always,
}

/// The types of one or more kinds.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    types: Vec<Type>,
}

impl Schema {
    /// An unknown id has no rules.
    pub fn get(&self, id: TypeId) -> &Type {
        self.types.get(id as usize).unwrap_or(&Type::Any)
    }

    pub fn map(&self, id: TypeId) -> Option<&MapType> {
        match self.get(id) {
            Type::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn add(&mut self, ty: Type) -> TypeId {
        self.types.push(ty);
        TypeId::try_from(self.types.len() - 1).unwrap_or(TypeId::MAX)
    }

    /// The type of a field; one that the type does not have has no rules.
    pub fn field(&self, id: TypeId, name: &str) -> Option<TypeId> {
        let map = self.map(id)?;
        map.fields.get(name).map(|field| field.ty).or(map.others)
    }
}

/// A kind that every simulated cluster serves.
#[derive(Debug, Clone)]
pub struct BuiltIn {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
    /// Has the subresource `status`.
    pub status: bool,
    pub root: TypeId,
}

/// The built-in kinds with their types.
pub struct BuiltIns {
    pub kinds: Vec<BuiltIn>,
    pub schema: Arc<Schema>,
    /// The type of `metadata`.
    pub metadata: TypeId,
    names: BTreeMap<TypeId, &'static str>,
}

impl BuiltIns {
    /// The name of a struct's type, if it is one of this table.
    pub fn type_name(&self, ty: TypeId) -> Option<&'static str> {
        self.names.get(&ty).copied()
    }
}

static TABLE: &str = include_str!("kinds.txt");

/// Read once for all clusters.
pub fn built_ins() -> &'static BuiltIns {
    static READ: LazyLock<BuiltIns> = LazyLock::new(read_table);
    &READ
}

/// The types of `metadata` alone, to which those of a custom resource are added.
pub fn metadata_types() -> (Schema, TypeId) {
    let mut reader = Reader::default();
    for line in TABLE.lines() {
        let wanted = ["type ObjectMeta", "type OwnerReference", "type ManagedFieldsEntry"];
        if wanted.iter().any(|prefix| line.starts_with(prefix)) {
            reader.declare(line);
        }
    }
    reader.define_all();
    let id = reader.names.get("ObjectMeta").copied().unwrap_or_default();
    (reader.schema, id)
}

fn read_table() -> BuiltIns {
    let mut reader = Reader::default();
    TABLE.lines().filter(|line| line.starts_with("type ")).for_each(|line| reader.declare(line));
    reader.define_all();
    let kinds = TABLE.lines().filter_map(|line| {
        let words: Vec<&'static str> = line.strip_prefix("kind ")?.split(' ').collect();
        let [api_version, kind, plural, scope, rest @ ..] = words.as_slice() else { return None };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Some(BuiltIn {
            group,
            version,
            kind,
            plural,
            namespaced: *scope == "namespaced",
            status: rest.contains(&"status"),
            root: *reader.names.get(kind)?,
        })
    });
    let kinds = kinds.collect();
    let metadata = reader.names.get("ObjectMeta").copied().unwrap_or_default();
    let all = reader.names.iter().chain(&reader.atomic);
    let names = all.map(|(name, id)| (*id, *name)).collect();
    BuiltIns { kinds, schema: Arc::new(reader.schema), metadata, names }
}

/// Reads the lines of the table. Types name each other, so all are declared before any is defined.
#[derive(Default)]
struct Reader {
    schema: Schema,
    names: BTreeMap<&'static str, TypeId>,
    atomic: BTreeMap<&'static str, TypeId>,
    lines: Vec<(TypeId, &'static str, bool)>,
    made: BTreeMap<String, TypeId>,
}

impl Reader {
    fn declare(&mut self, line: &'static str) {
        let Some((name, fields)) = line.strip_prefix("type ").and_then(|l| l.split_once(':')) else { return };
        let name_is_atomic = name.ends_with('!');
        let name = name.trim_end_matches('!');
        let id = self.schema.add(Type::Any);
        self.names.insert(name, id);
        self.lines.push((id, fields.trim(), name_is_atomic));
        let id = self.schema.add(Type::Any);
        self.atomic.insert(name, id);
        self.lines.push((id, fields.trim(), true));
    }

    fn define_all(&mut self) {
        for (id, fields, atomic) in std::mem::take(&mut self.lines) {
            let mut map = MapType { atomic, strict: true, ..MapType::default() };
            for field in split(fields, ',') {
                let Some((name, ty)) = field.trim().split_once(' ') else { continue };
                let (name, zero) = match name.chars().last() {
                    Some('?') => (&name[..name.len() - 1], Zero::Drop),
                    Some('+') => (&name[..name.len() - 1], Zero::Always),
                    _ => (name, Zero::Keep),
                };
                let (ty, default) = match ty.split_once('=') {
                    Some((ty, default)) => (ty, Some(Value::from(default))),
                    None => (ty, None),
                };
                let ty = self.ty(ty);
                map.fields.insert(name.into(), Field { ty, zero, default });
            }
            self.schema.types[id as usize] = Type::Map(map);
        }
    }

    fn ty(&mut self, text: &'static str) -> TypeId {
        if let Some(name) = text.strip_suffix('!').filter(|name| !name.starts_with('(')) {
            return self.atomic.get(name).copied().unwrap_or(TypeId::MAX);
        }
        if let Some(id) = self.names.get(text).or_else(|| self.made.get(text)) {
            return *id;
        }
        let list = |items, how| Type::List(ListType { items, how });
        let inside = |from: usize| &text[from..text.len() - 1];
        let made = match text.as_bytes().first() {
            Some(b'[') => list(self.ty(inside(1)), ListHow::Atomic),
            Some(b'<') => list(self.ty(inside(1)), ListHow::Set),
            Some(b'{') => {
                let (keys, items) = inside(1).split_once(':').unwrap_or_default();
                list(self.ty(items), ListHow::Keys(keys.split(',').map(Box::from).collect()))
            }
            Some(b'(') => {
                let atomic = text.ends_with('!');
                let items = text.trim_end_matches('!');
                let others = Some(self.ty(&items[1..items.len() - 1]));
                Type::Map(MapType { others, atomic, ..MapType::default() })
            }
            _ => scalar(text).map_or(Type::Any, Type::Scalar),
        };
        let id = self.schema.add(made);
        self.made.insert(text.to_owned(), id);
        id
    }
}

fn scalar(text: &str) -> Option<Scalar> {
    Some(match text {
        "s" => Scalar::Text,
        "i" => Scalar::Integer,
        "b" => Scalar::Boolean,
        "n" => Scalar::Number,
        "y" => Scalar::Bytes,
        "q" => Scalar::Quantity,
        "x" => Scalar::IntOrText,
        "t" => Scalar::Time,
        "u" => Scalar::MicroTime,
        _ => return None,
    })
}

/// Splits at a separator that is in no bracket.
fn split(text: &'static str, separator: char) -> Vec<&'static str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' | '<' | '(' => depth += 1,
            '}' | ']' | '>' | ')' => depth -= 1,
            _ if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Schema {
    /// The path element of an item of a list that is a set or has keys.
    pub fn element(&self, list: &ListType, item: &Value) -> Result<Box<str>, String> {
        match &list.how {
            ListHow::Atomic => Err("invalid indexing of non-associative list".into()),
            ListHow::Set => match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".into())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".into())
                }
                value => Ok(format!("v:{value}").into()),
            },
            ListHow::Keys(keys) => {
                let Value::Object(map) = item else {
                    let what = if item.is_null() { "a null element" } else { "non-map elements" };
                    return Err(format!("associative list with keys may not have {what}"));
                };
                let found: Map<String, Value> = keys
                    .iter()
                    .filter_map(|key| {
                        let default = || self.map(list.items)?.fields.get(key)?.default.clone();
                        Some((key.to_string(), map.get(&**key).cloned().or_else(default)?))
                    })
                    .collect();
                if found.is_empty() {
                    return Err(format!(
                        "associative list with keys has an element that omits all key fields {keys:?} (and doesn't have default values for any key fields)"
                    ));
                }
                Ok(format!("k:{}", Value::Object(found)).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_of_the_table_is_read() {
        let table = built_ins();
        assert_eq!(table.kinds.len(), TABLE.lines().filter(|line| line.starts_with("kind ")).count());
        let schema = &table.schema;
        for kind in &table.kinds {
            assert!(schema.field(kind.root, "metadata") == Some(table.metadata), "{}", kind.kind);
        }
        // No name that means nothing: all that is read as "anything" is written so.
        let any = schema.types.iter().filter(|ty| **ty == Type::Any).count();
        assert_eq!(any, 1);
    }

    #[test]
    fn items_are_named_by_their_keys() {
        let table = built_ins();
        let schema = &table.schema;
        let service = table.kinds.iter().find(|kind| kind.kind == "Service").map(|kind| kind.root);
        let ports = service
            .and_then(|root| schema.field(schema.field(root, "spec")?, "ports"))
            .map(|id| schema.get(id));
        let Some(Type::List(ports)) = ports else { panic!("{ports:?}") };
        let element = |item: Value| schema.element(ports, &item);
        assert_eq!(element(json!({"port": 80})).as_deref(), Ok("k:{\"port\":80,\"protocol\":\"TCP\"}"));
        assert_eq!(element(json!({"protocol": "UDP"})).as_deref(), Ok("k:{\"protocol\":\"UDP\"}"));
        assert!(element(json!("x")).is_err());
    }
}

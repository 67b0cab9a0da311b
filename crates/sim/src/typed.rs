//! Objects by their types: which fields they have, how two are merged and compared. The rules are those of
//! sigs.k8s.io/structured-merge-diff.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fields::{Element, FieldSet, display_element, field};
use super::schema::{ListHow, ListType, MapType, Scalar, Schema, Type, TypeId};

/// A schema, and the type in it that an object has.
#[derive(Clone, Copy)]
pub struct Typed<'a> {
    pub schema: &'a Schema,
    pub root: TypeId,
}

/// How one object differs from another.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    pub added: FieldSet,
    pub removed: FieldSet,
    pub modified: FieldSet,
}

impl Changes {
    /// What one writer set: what was added or has another value.
    pub fn set(&self) -> FieldSet {
        self.added.clone().union(&self.modified)
    }

    pub fn without(self, ignored: &FieldSet) -> Self {
        Self {
            added: self.added.without(ignored),
            removed: self.removed.without(ignored),
            modified: self.modified.without(ignored),
        }
    }
}

/// What a value of a type is, with rules for values of no type.
enum Shape<'a> {
    Leaf,
    Map(&'a MapType),
    List(&'a ListType),
    AnyMap,
}

fn shape<'a>(schema: &'a Schema, ty: TypeId, value: &Value) -> Shape<'a> {
    match schema.get(ty) {
        Type::Map(map) if !map.atomic => Shape::Map(map),
        Type::List(list) if list.how != ListHow::Atomic => Shape::List(list),
        Type::Any if value.is_object() => Shape::AnyMap,
        _ => Shape::Leaf,
    }
}

const ANY: TypeId = TypeId::MAX;

fn field_type(map: &MapType, name: &str) -> TypeId {
    map.fields.get(name).map(|field| field.ty).or(map.others).unwrap_or(ANY)
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        _ => false,
    }
}

impl Typed<'_> {
    /// What is wrong with an object: unknown fields, other types than expected, items with equal keys.
    pub fn validate(&self, value: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        self.check(self.root, value, &mut String::new(), &mut errors);
        errors
    }

    fn check(&self, ty: TypeId, value: &Value, path: &mut String, errors: &mut Vec<String>) {
        if value.is_null() {
            return;
        }
        let length = path.len();
        match (self.schema.get(ty), value) {
            (Type::Any, _) => {}
            (Type::Map(map), Value::Object(fields)) => {
                for (name, value) in fields {
                    path.push('.');
                    path.push_str(name);
                    match map.fields.get(name.as_str()).map(|field| field.ty).or(map.others) {
                        Some(ty) => self.check(ty, value, path, errors),
                        None => errors.push(format!("{path}: field not declared in schema")),
                    }
                    path.truncate(length);
                }
            }
            (Type::Map(_), other) => errors.push(format!("{path}: expected map, got &{{{}}}", plain(other))),
            (Type::List(list), Value::Array(items)) => {
                let mut seen = BTreeSet::new();
                for (index, item) in items.iter().enumerate() {
                    let mut element: Element = format!("i:{index}").into();
                    if list.how != ListHow::Atomic {
                        match self.schema.element(list, item) {
                            Ok(found) => element = found,
                            Err(error) => {
                                errors.push(format!("{path}: element {index}: {error}"));
                                return;
                            }
                        }
                        if !seen.insert(element.clone()) {
                            let what = display_element(&element);
                            errors.push(format!("{path}: duplicate entries for key {what}"));
                        }
                    }
                    path.push_str(&display_element(&element));
                    self.check(list.items, item, path, errors);
                    path.truncate(length);
                }
            }
            (Type::List(_), other) => {
                errors.push(format!("{path}: expected list, got &{{{}}}", plain(other)))
            }
            (Type::Scalar(scalar), value) => {
                if let Some(wanted) = misfit(*scalar, value) {
                    errors.push(format!(
                        "{path}: expected {wanted}, got &value.valueUnstructured{{Value:{value}}}"
                    ));
                }
            }
        }
    }

    /// The fields that an object has.
    pub fn fields(&self, value: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        self.collect(self.root, value, &mut Vec::new(), &mut set);
        set
    }

    fn collect(&self, ty: TypeId, value: &Value, path: &mut Vec<Element>, set: &mut FieldSet) {
        let mut named =
            |this: &Self, name: &str, value: &Value, ty: TypeId, always: bool, path: &mut Vec<Element>| {
                path.push(field(name));
                this.collect(ty, value, path, set);
                if always || value.is_null() || value.as_object().is_some_and(Map::is_empty) {
                    set.insert(path);
                }
                path.pop();
            };
        match (shape(self.schema, ty, value), value) {
            (Shape::Map(map), Value::Object(fields)) => {
                for (name, value) in fields {
                    let always = !map.fields.contains_key(name.as_str());
                    named(self, name, value, field_type(map, name), always, path);
                }
            }
            (Shape::AnyMap, Value::Object(fields)) => {
                fields.iter().for_each(|(name, value)| named(self, name, value, ANY, true, path));
            }
            (Shape::Map(_) | Shape::List(_), Value::Null) => {}
            (Shape::List(list), Value::Array(items)) => {
                let elements: Vec<_> =
                    items.iter().map(|item| self.schema.element(list, item).ok()).collect();
                for (item, element) in items.iter().zip(&elements) {
                    let Some(element) = element else { continue };
                    path.push(element.clone());
                    let twice = elements.iter().filter(|other| other.as_ref() == Some(element)).count() > 1;
                    if !twice {
                        self.collect(list.items, item, path, set);
                    }
                    set.insert(path);
                    path.pop();
                }
            }
            _ => set.insert(path),
        }
    }

    /// Makes members of all named fields that have something below them.
    pub fn with_parents(&self, set: &FieldSet) -> FieldSet {
        let schema = self.schema;
        set.with_parents(Some(self.root), &|ty, element| {
            let Some(ty) = ty else { return (false, None) };
            match (schema.get(ty), element.strip_prefix("f:")) {
                (Type::Map(map), Some(name)) => {
                    let named = map.fields.get(name);
                    (named.is_some(), named.map(|field| field.ty).or(map.others))
                }
                (Type::List(list), None) => (false, Some(list.items)),
                _ => (false, None),
            }
        })
    }

    /// What is in `new` and not in `old`, and so on.
    pub fn compare(&self, old: &Value, new: &Value) -> Changes {
        let mut changes = Changes::default();
        self.differ(self.root, Some(old), Some(new), &mut Vec::new(), &mut changes);
        changes
    }

    fn differ(
        &self,
        ty: TypeId,
        old: Option<&Value>,
        new: Option<&Value>,
        path: &mut Vec<Element>,
        changes: &mut Changes,
    ) {
        let is_leaf = match (old, new) {
            (None, None) => return,
            (old, new) if is_empty(old) && is_empty(new) => true,
            (old, new) => match old.or(new).map(|value| shape(self.schema, ty, value)) {
                Some(Shape::Map(map)) => {
                    self.differ_maps(Some(map), old, new, path, changes);
                    false
                }
                // Of another kind than before: replaced as a whole.
                Some(Shape::AnyMap) if old.zip(new).is_none_or(|(a, b)| a.is_object() == b.is_object()) => {
                    self.differ_maps(None, old, new, path, changes);
                    false
                }
                Some(Shape::List(list)) => {
                    self.differ_lists(list, old, new, path, changes);
                    false
                }
                _ => true,
            },
        };
        match (old, new) {
            (None, _) => changes.added.insert(path),
            (_, None) => changes.removed.insert(path),
            (Some(old), Some(new)) if is_leaf && !same(old, new) => changes.modified.insert(path),
            _ => {}
        }
    }

    fn differ_maps(
        &self,
        map: Option<&MapType>,
        old: Option<&Value>,
        new: Option<&Value>,
        path: &mut Vec<Element>,
        changes: &mut Changes,
    ) {
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        let names: BTreeSet<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
        for name in names {
            let ty = map.map_or(ANY, |map| field_type(map, name));
            let (was, is) = (old.and_then(|map| map.get(name)), new.and_then(|map| map.get(name)));
            path.push(field(name));
            self.differ(ty, was, is, path, changes);
            path.pop();
        }
    }

    fn differ_lists(
        &self,
        list: &ListType,
        old: Option<&Value>,
        new: Option<&Value>,
        path: &mut Vec<Element>,
        changes: &mut Changes,
    ) {
        let (old, new) = (self.index(list, old), self.index(list, new));
        let elements: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
        for element in elements {
            let (was, is) = (old.get(element), new.get(element));
            path.push(element.clone());
            let many = |items: Option<&Vec<&Value>>| items.is_some_and(|items| items.len() > 1);
            let first =
                |items: Option<&'_ Vec<&'_ Value>>| items.and_then(|items| items.first().copied().cloned());
            match (many(was), many(is)) {
                (false, false) => {
                    self.differ(list.items, first(was).as_ref(), first(is).as_ref(), path, changes);
                }
                (true, true) if was != is => changes.modified.insert(path),
                (true, true) => {}
                (true, false) => {
                    self.differ(list.items, None, first(is).as_ref(), path, changes);
                    changes.removed.insert(path);
                }
                (false, true) => {
                    self.differ(list.items, first(was).as_ref(), None, path, changes);
                    changes.added.insert(path);
                }
            }
            path.pop();
        }
    }

    /// Items of a list by their names; several have one name in lists that nobody checked.
    fn index<'v>(&self, list: &ListType, value: Option<&'v Value>) -> BTreeMap<Element, Vec<&'v Value>> {
        let mut found: BTreeMap<Element, Vec<&Value>> = BTreeMap::new();
        for item in value.and_then(Value::as_array).into_iter().flatten() {
            if let Ok(element) = self.schema.element(list, item) {
                found.entry(element).or_default().push(item);
            }
        }
        found
    }

    /// `live` with what `config` says.
    pub fn merge(&self, live: &Value, config: &Value) -> Value {
        self.merged(self.root, Some(live), Some(config)).unwrap_or(Value::Null)
    }

    fn merged(&self, ty: TypeId, old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
        if is_empty(old) && is_empty(new) {
            return new.or(old).cloned();
        }
        let either = new.filter(|value| !value.is_null()).or(old)?;
        match shape(self.schema, ty, either) {
            Shape::Map(map) => self.merged_maps(Some(map), old, new),
            Shape::AnyMap => self.merged_maps(None, old, new),
            Shape::List(list) => self.merged_lists(list, old, new),
            Shape::Leaf => new.or(old).cloned(),
        }
    }

    fn merged_maps(&self, map: Option<&MapType>, old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
        let mut out = old.and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, value) in new.and_then(Value::as_object).into_iter().flatten() {
            let ty = map.map_or(ANY, |map| field_type(map, name));
            let before = out.remove(name);
            if let Some(value) = self.merged(ty, before.as_ref(), Some(value)) {
                out.insert(name.clone(), value);
            }
        }
        (!out.is_empty()).then_some(Value::Object(out))
    }

    /// Items of both, in the order of `new` where it says one, else in that of `old`.
    fn merged_lists(&self, list: &ListType, old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
        let items = |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let named = |items: Vec<Value>| -> Vec<(Element, Value)> {
            items
                .into_iter()
                .filter_map(|item| Some((self.schema.element(list, &item).ok()?, item)))
                .collect()
        };
        let (old, new) = (named(items(old)), named(items(new)));
        let find = |all: &[(Element, Value)], element: &Element| {
            all.iter().find(|(other, _)| other == element).map(|(_, item)| item.clone())
        };
        let in_new: BTreeSet<&Element> = new.iter().map(|(element, _)| element).collect();
        let in_old: BTreeSet<&Element> = old.iter().map(|(element, _)| element).collect();
        let mut shared = new.iter().map(|(element, _)| element).filter(|e| in_old.contains(e)).peekable();
        let mut merged: BTreeSet<&Element> = BTreeSet::new();
        let mut out = Vec::new();
        let (mut o, mut n) = (0, 0);
        while o < old.len() || n < new.len() {
            if let (Some((left, _)), Some((right, item))) = (old.get(o), new.get(n)) {
                if left == right {
                    merged.insert(right);
                    out.extend(self.merged(list.items, find(&old, left).as_ref(), Some(item)));
                    (o, n) = (o + 1, n + 1);
                    shared.next();
                    continue;
                }
                if in_new.contains(left) && shared.peek().is_some_and(|next| *next != left) {
                    o += 1;
                    continue;
                }
            }
            if let Some((left, item)) = old.get(o) {
                if !in_new.contains(left) {
                    out.push(item.clone());
                    o += 1;
                    continue;
                }
                if merged.contains(left) {
                    o += 1;
                }
            }
            if let Some((right, item)) = new.get(n) {
                merged.insert(right);
                out.extend(self.merged(list.items, find(&old, right).as_ref(), Some(item)));
                n += 1;
                if shared.peek() == Some(&right) {
                    shared.next();
                }
            }
        }
        (!out.is_empty()).then_some(Value::Array(out))
    }

    /// An object without the members of a set. What becomes empty by it is null.
    pub fn remove(&self, value: &Value, set: &FieldSet) -> Value {
        self.removed(self.root, value, set).unwrap_or_else(|| Value::Object(Map::new()))
    }

    fn removed(&self, ty: TypeId, value: &Value, set: &FieldSet) -> Option<Value> {
        let item = |ty: TypeId, element: &str, value: &Value| match set.below(element) {
            _ if set.has(element) => None,
            Some(inner) => self.removed(ty, value, inner),
            None => Some(value.clone()),
        };
        // A field whose content went is null: it was not removed itself.
        let below = |ty: TypeId, element: &str, value: &Value| match item(ty, element, value) {
            None if !set.has(element) => Some(Value::Null),
            other => other,
        };
        match (shape(self.schema, ty, value), value) {
            (Shape::Leaf, _) if matches!(self.schema.get(ty), Type::Scalar(_)) => Some(value.clone()),
            (Shape::Leaf, Value::Object(_) | Value::Array(_)) => None,
            (Shape::Map(map), Value::Object(fields)) => {
                let left = fields.iter().filter_map(|(name, value)| {
                    Some((name.clone(), below(field_type(map, name), &field(name), value)?))
                });
                let left: Map<String, Value> = left.collect();
                (!left.is_empty()).then_some(Value::Object(left))
            }
            (Shape::AnyMap, Value::Object(fields)) => {
                let left = fields
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), below(ANY, &field(name), value)?)));
                let left: Map<String, Value> = left.collect();
                (!left.is_empty()).then_some(Value::Object(left))
            }
            (Shape::List(list), Value::Array(items)) => {
                let left = items.iter().filter_map(|one| match self.schema.element(list, one) {
                    Ok(element) => item(list.items, &element, one),
                    Err(_) => Some(one.clone()),
                });
                let left: Vec<Value> = left.collect();
                (!left.is_empty()).then_some(Value::Array(left))
            }
            _ => Some(value.clone()),
        }
    }
}

/// Whether two values are the same to a reader: 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What was expected, if a value does not fit.
fn misfit(scalar: Scalar, value: &Value) -> Option<&'static str> {
    let (fits, wanted) = match scalar {
        Scalar::Text | Scalar::Bytes | Scalar::Time | Scalar::MicroTime => (value.is_string(), "string"),
        Scalar::Integer | Scalar::Number => (value.is_number(), "numeric (int or float)"),
        Scalar::Boolean => (value.is_boolean(), "boolean"),
        Scalar::Quantity | Scalar::IntOrText => (value.is_string() || value.is_number(), "any scalar"),
    };
    (!fits).then_some(wanted)
}

#[cfg(test)]
#[path = "typed_tests.rs"]
mod tests;

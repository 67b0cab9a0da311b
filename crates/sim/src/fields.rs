//! Sets of fields, as `managedFields` hold them.
//!
//! A path element is kept as the text it has there: `f:<field>`, `k:{<keys>}`, `v:<value>`, `i:<index>`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One element of a path.
pub type Element = Box<str>;

/// A set of paths. A path's parents are members only if they were put in themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet(BTreeMap<Element, Node>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    below: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

pub fn field(name: &str) -> Element {
    format!("f:{name}").into()
}

impl FieldSet {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of the whole object is no field.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut set = self;
        for element in parents {
            set = &mut set.0.entry(element.clone()).or_default().below;
        }
        set.0.entry(last.clone()).or_default().member = true;
    }

    pub fn insert_fields(&mut self, names: &[&str]) {
        let path: Vec<Element> = names.iter().map(|name| field(name)).collect();
        self.insert(&path);
    }

    pub fn has(&self, element: &str) -> bool {
        self.0.get(element).is_some_and(|node| node.member)
    }

    pub fn below(&self, element: &str) -> Option<&Self> {
        self.0.get(element).map(|node| &node.below).filter(|set| !set.is_empty())
    }

    pub fn union(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    fn add(&mut self, other: &Self) {
        for (element, theirs) in &other.0 {
            let ours = self.0.entry(element.clone()).or_default();
            ours.member |= theirs.member;
            ours.below.add(&theirs.below);
        }
    }

    pub fn intersection(&self, other: &Self) -> Self {
        let both = self.0.iter().filter_map(|(element, ours)| {
            let theirs = other.0.get(element)?;
            let node =
                Node { member: ours.member && theirs.member, below: ours.below.intersection(&theirs.below) };
            (!node.is_empty()).then(|| (element.clone(), node))
        });
        Self(both.collect())
    }

    pub fn difference(&self, other: &Self) -> Self {
        let left = self.0.iter().filter_map(|(element, ours)| {
            let Some(theirs) = other.0.get(element) else { return Some((element.clone(), ours.clone())) };
            let node =
                Node { member: ours.member && !theirs.member, below: ours.below.difference(&theirs.below) };
            (!node.is_empty()).then(|| (element.clone(), node))
        });
        Self(left.collect())
    }

    /// Without the members of `other`, and all that is below them.
    pub fn without(&self, other: &Self) -> Self {
        let left = self.0.iter().filter_map(|(element, ours)| {
            let Some(theirs) = other.0.get(element) else { return Some((element.clone(), ours.clone())) };
            if theirs.member {
                return None;
            }
            let node = Node { member: ours.member, below: ours.below.without(&theirs.below) };
            (!node.is_empty()).then(|| (element.clone(), node))
        });
        Self(left.collect())
    }

    /// Makes members of elements that have something below them, where `step` says so. `step` also says what stands
    /// for the place below an element.
    pub fn with_parents<T: Copy>(&self, place: T, step: &dyn Fn(T, &str) -> (bool, T)) -> Self {
        let nodes = self.0.iter().map(|(element, node)| {
            let (is_named, place) = step(place, element);
            let member = node.member || (is_named && !node.below.is_empty());
            (element.clone(), Node { member, below: node.below.with_parents(place, step) })
        });
        Self(nodes.collect())
    }

    /// Every member, parents first.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut all = Vec::new();
        self.collect(&mut Vec::new(), &mut all);
        all
    }

    fn collect(&self, path: &mut Vec<Element>, all: &mut Vec<Vec<Element>>) {
        for (element, _) in self.0.iter().filter(|(_, node)| node.member) {
            path.push(element.clone());
            all.push(path.clone());
            path.pop();
        }
        for (element, node) in self.0.iter().filter(|(_, node)| !node.below.is_empty()) {
            path.push(element.clone());
            node.below.collect(path, all);
            path.pop();
        }
    }

    /// As `fieldsV1`.
    pub fn to_value(&self) -> Value {
        Value::Object(self.to_map())
    }

    fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        for (element, node) in &self.0 {
            let mut below = node.below.to_map();
            if node.member && !below.is_empty() {
                below.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(element.to_string(), Value::Object(below));
        }
        map
    }

    pub fn from_value(value: &Value) -> Self {
        let Value::Object(map) = value else { return Self::default() };
        let nodes = map.iter().filter(|(element, _)| *element != ".").map(|(element, below)| {
            let inner = below.as_object();
            let leaf = inner.is_none_or(Map::is_empty);
            let member = leaf || inner.is_some_and(|below| below.contains_key("."));
            (Element::from(element.as_str()), Node { member, below: Self::from_value(below) })
        });
        Self(nodes.collect())
    }
}

/// A path as conflicts name it: `.spec.containers[name="main"].image`.
pub fn display(path: &[Element]) -> String {
    path.iter().map(|element| display_element(element)).collect()
}

pub fn display_element(element: &str) -> String {
    let (kind, rest) = element.split_once(':').unwrap_or(("", element));
    match kind {
        "f" => format!(".{rest}"),
        "v" => format!("[={rest}]"),
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => format!("[{rest}]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_are_read_and_written_as_fields_v1() {
        let value =
            json!({"f:a": {}, "f:b": {".": {}, "k:{\"name\":\"x\"}": {"f:c": {}}}, "f:d": {"f:e": {}}});
        let set = FieldSet::from_value(&value);
        assert_eq!(set.to_value(), value);
        let paths: Vec<String> = set.paths().iter().map(|path| display(path)).collect();
        assert_eq!(paths, [".a", ".b", ".b[name=\"x\"].c", ".d.e"]);
    }

    #[test]
    fn sets_are_combined() {
        let set = |value: Value| FieldSet::from_value(&value);
        let both = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
        let some = set(json!({"f:a": {"f:b": {}}, "f:x": {}}));
        assert_eq!(both.intersection(&some), set(json!({"f:a": {"f:b": {}}})));
        assert_eq!(both.difference(&some), set(json!({"f:a": {".": {}, "f:c": {}}, "f:d": {}})));
        assert_eq!(some.clone().union(&both).difference(&both), set(json!({"f:x": {}})));
        let whole = set(json!({"f:a": {}}));
        assert_eq!(both.without(&whole), set(json!({"f:d": {}})));
    }
}

//! Label selectors and field selectors of queries.

use serde_json::Value;

use super::kind::Kind;

/// All requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    In(Vec<String>),
    /// Missing labels satisfy it.
    NotIn(Vec<String>),
    Exists,
    Missing,
}

impl Selector {
    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts =
            split(text).into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
        parts.map(|part| requirement(&part)).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the labels of an object fit.
    pub fn fits(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.0.iter().all(|one| one.rule.fits(labels.and_then(|labels| labels.get(&one.key)?.as_str())))
    }

    /// A field selector apart: what it says of the place of an object, and of its other fields.
    pub fn split_fields(self) -> (Self, Self) {
        let of_place = |one: &Requirement| matches!(one.key.as_str(), "metadata.name" | "metadata.namespace");
        let (place, others) = self.0.into_iter().partition(of_place);
        (Self(place), Self(others))
    }

    /// A field that objects of a kind can't be selected by.
    pub fn unknown_field(&self, kind: &Kind) -> Option<&str> {
        let of_kind = FIELDS.iter().find(|(group, name, _)| kind.is(group, name));
        let known = of_kind.map_or(&[][..], |(.., fields)| *fields);
        self.0.iter().map(|one| one.key.as_str()).find(|key| !known.contains(key))
    }

    /// Whether the values of fields fit.
    pub fn fits_values(&self, object: &Value) -> bool {
        self.0.iter().all(|one| one.rule.fits(Some(&field(object, &one.key))))
    }

    /// Whether name and namespace fit a field selector.
    pub fn fits_fields(&self, namespace: &str, name: &str) -> bool {
        self.0
            .iter()
            .all(|one| one.rule.fits(Some(if one.key == "metadata.name" { name } else { namespace })))
    }
}

/// Fields by which objects can be selected, besides name and namespace.
const FIELDS: &[(&str, &str, &[&str])] = &[
    (
        "",
        "Event",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    (
        "",
        "Pod",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    ("", "Secret", &["type"]),
    ("", "Namespace", &["status.phase"]),
    ("", "Node", &["spec.unschedulable"]),
    ("", "Service", &["spec.clusterIP", "spec.type"]),
    ("apps", "ReplicaSet", &["status.replicas"]),
    ("batch", "Job", &["status.successful"]),
];

/// The value of a field, as a text.
fn field(object: &Value, key: &str) -> String {
    let pointer = match key {
        "source" => "/source/component".to_owned(),
        "status.successful" => "/status/succeeded".to_owned(),
        key => format!("/{}", key.replace('.', "/")),
    };
    match (object.pointer(&pointer), key) {
        (Some(Value::String(text)), _) => text.clone(),
        (Some(value), _) => value.to_string(),
        (None, "spec.unschedulable" | "spec.hostNetwork") => "false".to_owned(),
        (None, "status.replicas" | "status.successful") => "0".to_owned(),
        (None, _) => String::new(),
    }
}

impl Rule {
    fn fits(&self, value: Option<&str>) -> bool {
        match self {
            Self::In(allowed) => value.is_some_and(|value| allowed.iter().any(|one| one == value)),
            Self::NotIn(refused) => value.is_none_or(|value| refused.iter().all(|one| one != value)),
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
        }
    }
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let done = |key: &str, rule| Ok(Requirement { key: key.trim().to_owned(), rule });
    let list = |text: &str| {
        let inner = text.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let inner = inner.ok_or_else(|| format!("unable to parse requirement: {text}"))?;
        Ok::<_, String>(inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
    };
    if let Some((key, values)) = text.split_once(" notin ") {
        return done(key, Rule::NotIn(list(values)?));
    }
    if let Some((key, values)) = text.split_once(" in ") {
        return done(key, Rule::In(list(values)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return done(key, Rule::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return done(key, Rule::In(vec![value.trim().to_owned()]));
    }
    match text.strip_prefix('!') {
        Some(key) => done(key, Rule::Missing),
        None if text.contains(char::is_whitespace) => Err(format!("unable to parse requirement: {text}")),
        None => done(text, Rule::Exists),
    }
}

/// At commas that are in no parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_select() {
        let object = json!({"metadata": {"labels": {"a": "b", "c": "d"}}});
        for (text, fits) in [
            ("", true),
            ("a=b", true),
            ("a==b,c=d", true),
            ("a!=b", false),
            ("x!=y", true),
            ("a in (x, b)", true),
            ("a notin (x,b),c", false),
            ("!x,c", true),
            ("!a", false),
            ("x", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().fits(&object), fits, "{text}");
        }
        assert!(Selector::parse("a b").is_err() && Selector::parse("a in b").is_err());
    }
}

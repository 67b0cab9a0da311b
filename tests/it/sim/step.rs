//! Sequences of requests, as data: what a file of recorded requests holds, and what a seed makes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The namespace of the sequence, different on every cluster; in paths, bodies and names.
pub const NS: &str = "{ns}";

/// One step of a sequence. In its texts, `{ns}` is the sequence's namespace, and `{{id:/pointer}}` a value from
/// the answer to an earlier step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A request, whose answer is compared.
    Send(Send),
    /// Opens a watch.
    Watch {
        id: String,
        path: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        accept: String,
    },
    /// Compares the events of a watch since it was opened, or last collected.
    Collect { id: String },
    /// Asks until a value of the answer is as said on both clusters; the answer is compared then. `null` is for
    /// what must be absent; the pointer `code` is the status code.
    Await { path: String, until: BTreeMap<String, Value> },
}

/// One request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Send {
    /// By which later steps refer to the answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub method: String,
    pub path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub accept: String,
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

impl Send {
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET".into(), path: path.into(), ..Self::default() }
    }

    pub fn body(method: &str, path: impl Into<String>, content_type: &str, body: Value) -> Self {
        let (method, content_type) = (method.to_owned(), content_type.to_owned());
        Self { method, path: path.into(), content_type, body, ..Self::default() }
    }

    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self::body("POST", path, "application/json", body)
    }

    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }
}

impl Step {
    /// The request's line, by which listed differences name it.
    pub fn title(&self) -> String {
        match self {
            Self::Send(send) => format!("{} {}", send.method, send.path),
            Self::Watch { path, .. } => format!("WATCH {path}"),
            Self::Collect { id } => format!("EVENTS of {id}"),
            Self::Await { path, .. } => format!("AWAIT {path}"),
        }
    }
}

impl fmt::Display for Step {
    /// As in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Reads a file of steps, one a line.
pub fn read(text: &str) -> Vec<Step> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The answers of one cluster, and the namespace there.
pub struct Context {
    pub namespace: String,
    pub answers: BTreeMap<String, Value>,
}

impl Context {
    /// A text with its placeholders filled. What refers to an answer that was not given becomes `1`: that is a
    /// resourceVersion, and a name, that nothing has.
    pub fn fill(&self, text: &str) -> String {
        let text = text.replace(NS, &self.namespace);
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((reference, tail)) = after.split_once("}}") else { break };
            out.push_str(before);
            out.push_str(&self.look_up(reference));
            rest = tail;
        }
        out.push_str(rest);
        out
    }

    fn look_up(&self, reference: &str) -> String {
        let (id, pointer) = reference.split_once(':').unwrap_or((reference, ""));
        match self.answers.get(id).and_then(|answer| answer.pointer(pointer)) {
            Some(Value::String(text)) => text.clone(),
            Some(other) if !other.is_null() => other.to_string(),
            _ => "1".to_owned(),
        }
    }

    pub fn fill_value(&self, value: &Value) -> Value {
        map_strings(value, &|text| self.fill(text))
    }

    /// The other way: the namespace's name as its placeholder, in all texts.
    pub fn generalise(&self, value: &Value) -> Value {
        map_strings(value, &|text| text.replace(&self.namespace, NS))
    }
}

/// A value with every text in it, keys too, put through `change`.
pub fn map_strings(value: &Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => items.iter().map(|item| map_strings(item, change)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (change(key), map_strings(value, change))).collect()
        }
        other => other.clone(),
    }
}

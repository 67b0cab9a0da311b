//! The syntax of labels, annotations and selectors, as the API server checks it (apimachinery's
//! `validation.IsQualifiedName`, `IsValidLabelValue`).

use serde_json::Value;

use super::explain::shorten;
use super::read::entry;
use super::yaml::{Doc, Places};
use crate::model::diagnostic::Diagnostic;
use crate::model::labels::{LabelOperator, LabelSelector};

const KEY: &str = "a label key: 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or \
                   digit, after a DNS name and '/' if it has a prefix";
const VALUE: &str =
    "at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";

fn is_name(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
}

fn is_subdomain(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |l: &str| edge(l.as_bytes().first()) && edge(l.as_bytes().last()) && l.bytes().all(inner);
    text.len() <= 253 && text.split('.').all(label)
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

fn is_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

fn bad_key(places: &Places, pointer: &str, key: &str, what: &str) -> Diagnostic {
    let message = format!("'{}' is not a {what} key", shorten(key));
    Diagnostic::error(places.key(pointer), "label-syntax", message).expected(KEY)
}

fn bad_value(places: &Places, pointer: &str, value: &str) -> Diagnostic {
    let message = format!("'{}' is not a label value", shorten(value));
    Diagnostic::error(places.value(pointer), "label-syntax", message).expected(VALUE)
}

/// A document's own labels and annotations.
pub(super) fn metadata(doc: &Doc) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let map = |pointer: &str| doc.value.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    for (key, value) in map("/metadata/labels") {
        let pointer = entry("/metadata/labels", key);
        if !is_key(key) {
            findings.push(bad_key(&doc.places, &pointer, key, "label"));
        }
        if let Some(value) = value.as_str().filter(|v| !is_value(v)) {
            findings.push(bad_value(&doc.places, &pointer, value));
        }
    }
    for (key, _) in map("/metadata/annotations") {
        // The API server looks at annotation keys in lower case.
        if !is_key(&key.to_ascii_lowercase()) {
            findings.push(bad_key(&doc.places, &entry("/metadata/annotations", key), key, "annotation"));
        }
    }
    findings
}

/// A label selector at `pointer`.
pub(super) fn selector(selector: &LabelSelector, places: &Places, pointer: &str) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (key, value) in &selector.match_labels {
        let pointer = entry(&format!("{pointer}/matchLabels"), key);
        if !is_key(key) {
            findings.push(bad_key(places, &pointer, key, "label"));
        }
        if !is_value(value) {
            findings.push(bad_value(places, &pointer, value));
        }
    }
    for (n, term) in selector.match_expressions.iter().enumerate() {
        let pointer = format!("{pointer}/matchExpressions/{n}");
        if !is_key(&term.key) {
            let message = format!("'{}' is not a label key", shorten(&term.key));
            let place = places.value(&format!("{pointer}/key"));
            findings.push(Diagnostic::error(place, "label-syntax", message).expected(KEY));
        }
        for (n, value) in term.values.iter().enumerate().filter(|(_, v)| !is_value(v)) {
            findings.push(bad_value(places, &format!("{pointer}/values/{n}"), value));
        }
        let values = matches!(term.operator, LabelOperator::In | LabelOperator::NotIn);
        if values == term.values.is_empty() {
            let wanted = if values { "at least one value" } else { "no values" };
            let message = format!("{:?} takes {wanted}", term.operator);
            findings.push(Diagnostic::error(
                places.key(&format!("{pointer}/values")),
                "label-selector",
                message,
            ));
        }
    }
    findings
}

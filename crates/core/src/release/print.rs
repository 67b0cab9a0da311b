//! A release as people read it.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::model::object::ObjectKey;
use crate::model::release::Release;

/// The objects of a release as one YAML stream, each with its layer and where it is written. The same bytes
/// on every machine. `reveal` prints what is sent; else the values of Secrets are left out.
///
/// # Errors
/// Says which object can't be read back; one that was rendered here can.
pub fn to_yaml(release: &Release, reveal: bool) -> Result<String, String> {
    let mut out = String::new();
    for (layer, object) in release.objects() {
        let mut value: Value = serde_json::from_slice(&object.bytes)
            .map_err(|error| format!("{} of the layer {} can't be read: {error}", object.key, layer.id))?;
        if !reveal {
            redact(&object.key, &mut value);
        }
        // A file's name may hold anything.
        let place: String =
            object.place.to_string().chars().map(|c| if is_printable(c) { c } else { '?' }).collect();
        // Writing to a String can't fail.
        let _ = write!(out, "---\n# {}: {place}\n{}", layer.id, object_to_yaml(&value));
    }
    Ok(out)
}

/// Takes out the values of a Secret, and the copy of them that kubectl leaves in an annotation.
pub fn redact(key: &ObjectKey, object: &mut Value) {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    if !key.is("", "Secret") {
        return;
    }
    for field in ["data", "stringData"] {
        match object.get_mut(field) {
            Some(Value::Object(entries)) => {
                entries.values_mut().for_each(|entry| *entry = "(redacted)".into())
            }
            Some(Value::Null) | None => {}
            Some(other) => *other = "(redacted)".into(),
        }
    }
    if let Some(copy) = object.pointer_mut("/metadata/annotations").and_then(|a| a.get_mut(LAST_APPLIED)) {
        *copy = "(redacted)".into();
    }
}

/// A value as YAML that means the same to kubectl (YAML 1.1) and to YAML 1.2: texts that either would take
/// for something else are quoted. An object's `apiVersion`, `kind`, `metadata` and name come first, all else
/// is sorted.
///
/// The common crates write for YAML 1.2 only: `yes` without quotes, which kubectl reads as true.
pub fn object_to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => {
            entries(map, &["apiVersion", "kind", "metadata"], 0, &mut out)
        }
        Value::Array(list) if !list.is_empty() => items(list, 0, &mut out),
        other => scalar(other, 0, &mut out),
    }
    out
}

fn entries(map: &Map<String, Value>, first: &[&str], indent: usize, out: &mut String) {
    let rank = |key: &str| first.iter().position(|name| *name == key).unwrap_or(first.len());
    let mut sorted: Vec<_> = map.iter().collect();
    sorted.sort_by(|a, b| rank(a.0).cmp(&rank(b.0)).then_with(|| a.0.cmp(b.0)));
    for (n, (key, value)) in sorted.into_iter().enumerate() {
        // The first entry of an item of a list stands on the item's line.
        if n > 0 || !out.ends_with("- ") {
            pad(indent, out);
        }
        out.push_str(&single_line(key));
        out.push(':');
        let metadata = indent == 0 && key == "metadata";
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                let first: &[&str] = if metadata { &["name", "namespace"] } else { &[] };
                entries(inner, first, indent + 1, out);
            }
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                items(inner, indent, out);
            }
            other => {
                out.push(' ');
                scalar(other, indent + 1, out);
            }
        }
    }
}

fn items(list: &[Value], indent: usize, out: &mut String) {
    for (n, item) in list.iter().enumerate() {
        if n > 0 || !out.ends_with("- ") {
            pad(indent, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => entries(inner, &[], indent + 1, out),
            Value::Array(inner) if !inner.is_empty() => items(inner, indent + 1, out),
            other => scalar(other, indent + 1, out),
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", indent));
}

/// A scalar or an empty collection, and the end of its line. `indent` is that of the lines of a block.
fn scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(text) if is_block(text) && indent > 0 => return block(text, indent, out),
        Value::String(text) => out.push_str(&single_line(text)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        // JSON's null, booleans and canonical numbers mean the same in YAML.
        other => out.push_str(&String::from_utf8_lossy(&super::canonical_bytes(other))),
    }
    out.push('\n');
}

fn block(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    if !text.ends_with('\n') {
        out.push('-');
    } else if text.ends_with("\n\n") {
        out.push('+');
    }
    out.push('\n');
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            pad(indent, out);
        }
        out.push_str(line);
        out.push('\n');
    }
}

/// Whether a text of several lines can stand as a literal block: it has no sign that needs an escape, and its
/// first line shows the indentation.
fn is_block(text: &str) -> bool {
    let lines = text.strip_suffix('\n').unwrap_or(text);
    text.contains('\n')
        && !lines.starts_with([' ', '\t', '\n'])
        && !lines.is_empty()
        && text.chars().all(|c| c == '\n' || c == '\t' || is_printable(c))
        && lines.split('\n').all(|line| !line.ends_with([' ', '\t']))
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn single_line(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    if text.chars().all(is_printable) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_printable(c) => out.push(c),
            // All that is not printable lies below U+10000.
            c => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Whether a text without quotes is that text in every YAML. Narrower than need be.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let inner = |c: char| c.is_ascii_alphanumeric() || " ._/@+-=,()".contains(c) || (c == ':');
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '(')
        && text.chars().all(inner)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

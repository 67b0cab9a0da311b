//! Documents that their schema refuses, made fit to be looked at further.
//!
//! What is wrong is taken out, and where something must be a stand-in is put: then everything else that is wrong with
//! the document is found at once, too. Nothing mended is ever used.

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::explain;
use super::schema::DocumentSchema;
use crate::model::diagnostic::Diagnostic;

/// What stand-ins are called.
const STAND_IN: &str = "fairlead-stand-in";
/// How often a document is looked at anew.
const MAX_ROUNDS: usize = 30;
/// Largest document that is mended, in values: beyond it looking so often would take its time.
const MAX_VALUES: usize = 5_000;

/// Whether a finding is about nothing that anybody wrote.
pub fn is_about_stand_in(finding: &Diagnostic) -> bool {
    finding.message.contains(STAND_IN)
}

/// Takes out what the schema refuses, and puts in what it asks for. The JSON pointers of what was taken out.
pub(super) fn mend(schema: &DocumentSchema, value: &mut Value) -> Vec<String> {
    let mut taken_out = Vec::new();
    let Some(validator) = &schema.validator else { return taken_out };
    if count(value) > MAX_VALUES {
        return taken_out;
    }
    for round in 0..MAX_ROUNDS {
        let problems = explain::problems(validator, &schema.schema, value);
        if problems.is_empty() {
            break;
        }
        for (n, problem) in problems.iter().enumerate().take(MAX_ROUNDS) {
            let at = problem.pointer.as_str();
            let there = value.pointer(at).is_some();
            match (problem.code, there) {
                ("missing-key", false) => {
                    if let Some(stand_in) = stand_in(validator, value, at, round * MAX_ROUNDS + n) {
                        put(value, at, stand_in);
                    }
                }
                (_, true) if is_item(value, at) => {
                    if let Some(stand_in) = stand_in(validator, value, at, round * MAX_ROUNDS + n) {
                        put(value, at, stand_in);
                    }
                    taken_out.push(at.to_owned());
                }
                (_, true) => {
                    remove(value, at);
                    taken_out.push(at.to_owned());
                }
                (_, false) => {}
            }
        }
    }
    taken_out
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>() + 1,
        Value::Object(map) => map.values().map(count).sum::<usize>() + 1,
        _ => 1,
    }
}

fn parent(pointer: &str) -> Option<(&str, String)> {
    let (parent, key) = pointer.rsplit_once('/')?;
    Some((parent, key.replace("~1", "/").replace("~0", "~")))
}

fn is_item(value: &Value, pointer: &str) -> bool {
    parent(pointer).and_then(|(parent, _)| value.pointer(parent)).is_some_and(Value::is_array)
}

fn remove(value: &mut Value, pointer: &str) {
    match parent(pointer) {
        None => *value = Value::Object(Map::new()),
        Some((parent, key)) => {
            if let Some(Value::Object(parent)) = value.pointer_mut(parent) {
                parent.remove(&key);
            }
        }
    }
}

fn put(value: &mut Value, pointer: &str, new: Value) {
    let Some((parent, key)) = parent(pointer) else { return };
    match value.pointer_mut(parent) {
        Some(Value::Object(parent)) => drop(parent.insert(key, new)),
        Some(Value::Array(items)) => {
            if let Some(item) = key.parse().ok().and_then(|n: usize| items.get_mut(n)) {
                *item = new;
            }
        }
        _ => {}
    }
}

/// The first of some values that the schema takes there, whatever it may want inside.
fn stand_in(validator: &Validator, value: &Value, pointer: &str, n: usize) -> Option<Value> {
    let mut candidates = vec![
        json!(format!("{STAND_IN}-{n}")),
        // Selects nothing.
        json!({"matchLabels": {STAND_IN: "x"}}),
        json!({}),
        json!([]),
        json!([{"name": STAND_IN}]),
        json!("0.0.0"),
        json!(1),
        json!(true),
        json!("1m"),
        json!("* * * * *"),
        json!("0000000000000000000000000000000000000000"),
        json!("/x"),
        json!("1%"),
    ];
    let mut trial = value.clone();
    let mut next = 0;
    while let Some(candidate) = candidates.get(next).cloned() {
        next += 1;
        put(&mut trial, pointer, candidate.clone());
        let mut fits = true;
        for error in validator.iter_errors(&trial).filter(|e| concerns(e, pointer)) {
            match error.kind() {
                Kind::Required { .. } => continue,
                Kind::Enum { options } => {
                    candidates.extend(options.as_array().and_then(|o| o.first()).cloned())
                }
                Kind::Constant { expected_value } => candidates.push(Value::clone(expected_value)),
                _ => {}
            }
            fits = false;
        }
        if fits {
            return Some(candidate);
        }
        if next > 20 {
            break;
        }
    }
    None
}

/// Whether an error is about the value at a pointer as such.
fn concerns(error: &ValidationError<'_>, pointer: &str) -> bool {
    let at = error.instance_path().as_str();
    at == pointer || at.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/'))
}

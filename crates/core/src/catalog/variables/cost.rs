//! How many schemas one value is held against: a schema can name itself, or double at every step.

use std::collections::HashMap;

use serde_json::Value;

use super::super::yaml::token;
use super::references::{LIST, MAP, ONE};
use super::schema::Schemas;

/// Most schemas that one value may be held against.
const MAX_SCHEMAS: usize = 10_000;
/// Longest chain of schemas for one value.
const MAX_CHAIN: usize = 200;

/// Keywords whose schemas look at the same value; those of [`MAP`] and [`LIST`] are told apart by name.
const SAME: [&str; 9] = ["allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then", "$ref"];

/// What is too much about a schema.
#[derive(Debug, Clone, Copy)]
pub(super) enum TooMuch {
    Itself,
    Many,
}

impl TooMuch {
    pub(super) fn message(self) -> &'static str {
        match self {
            TooMuch::Itself => "the schema refers to itself for the same value, without end",
            TooMuch::Many => "one value would be held against too many schemas",
        }
    }
}

/// Schemas looked at: none while one is being counted.
type Seen = HashMap<*const Value, Option<usize>>;

/// The JSON pointer, in the profile's schema, below which too much is asked.
///
/// If nothing is: the most schemas that a value is held against.
pub(super) fn check(schemas: &Schemas) -> Result<usize, (String, TooMuch)> {
    let mut seen = Seen::new();
    let mut most = 1;
    // A file's schema has no place in the profile.
    let files = schemas.files.iter().map(|file| file.as_ref().map(|f| &f.schema));
    for (number, document) in [Some(&schemas.root)].into_iter().chain(files).enumerate() {
        let Some(document) = document else { continue };
        let mut open = vec![(String::new(), document)];
        while let Some((at, schema)) = open.pop() {
            match count(schemas, number, schema, 0, &mut seen) {
                Ok(schemas) => most = most.max(schemas),
                Err(why) => return Err((if number == 0 { at } else { String::new() }, why)),
            }
            open.extend(inner(schema).map(|(key, schema)| (format!("{at}/{key}"), schema)));
        }
    }
    Ok(most)
}

/// The schemas in a schema, with their pointers from it.
fn inner(schema: &Value) -> impl Iterator<Item = (String, &Value)> {
    let keywords = schema.as_object().into_iter().flatten();
    keywords.flat_map(|(key, value)| -> Vec<(String, &Value)> {
        match (key.as_str(), value) {
            (one, value) if ONE.contains(&one) => vec![(key.clone(), value)],
            (list, Value::Array(items)) if LIST.contains(&list) => {
                items.iter().enumerate().map(|(n, item)| (format!("{key}/{n}"), item)).collect()
            }
            (map, Value::Object(items)) if MAP.contains(&map) => {
                items.iter().map(|(name, item)| (format!("{key}/{}", token(name)), item)).collect()
            }
            _ => Vec::new(),
        }
    })
}

/// How many schemas a value is held against by this one.
fn count(
    schemas: &Schemas,
    number: usize,
    schema: &Value,
    chain: usize,
    seen: &mut Seen,
) -> Result<usize, TooMuch> {
    match seen.get(&std::ptr::from_ref(schema)) {
        Some(Some(known)) => return Ok(*known),
        Some(None) => return Err(TooMuch::Itself),
        None if chain > MAX_CHAIN => return Err(TooMuch::Many),
        None => {}
    }
    seen.insert(std::ptr::from_ref(schema), None);
    let mut total = 1usize;
    let referred = schema.get("$ref").and_then(Value::as_str).and_then(|r| schemas.follow(number, r));
    let same = inner(schema).filter(|(at, _)| SAME.contains(&at.split('/').next().unwrap_or_default()));
    for (number, schema) in same.map(|(_, schema)| (number, schema)).chain(referred) {
        total = total.saturating_add(count(schemas, number, schema, chain + 1, seen)?);
    }
    if total > MAX_SCHEMAS {
        return Err(TooMuch::Many);
    }
    seen.insert(std::ptr::from_ref(schema), Some(total));
    Ok(total)
}

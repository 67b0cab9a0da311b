//! Lists of objects.

use serde_json::{Map, Value};

use crate::catalog::yaml::Places;
use crate::model::diagnostic::Diagnostic;
use crate::model::object::split_api_version;

use super::template::Finding;

/// Deepest nesting of lists of objects in lists of objects.
const MAX_LISTS: usize = 4;

/// Takes lists of objects apart, as kubectl does: an item of a `ConfigMapList` need not say what it is.
pub(super) fn expand(
    value: Value,
    within: String,
    places: &Places,
    out: &mut Vec<(Value, String)>,
    depth: usize,
) -> Vec<Finding> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some(items) = value.get("items").filter(|_| kind.ends_with("List")) else {
        out.push((value, within));
        return Vec::new();
    };
    let wrong = |code: &str, message: &str| {
        let place = places.value(&format!("{within}/items"));
        vec![Finding::from(Diagnostic::error(place, code, message))]
    };
    if items.is_string() {
        return wrong("wrong-type", "the items of a list must be written out, not given by an expression");
    }
    if !items.is_array() && !items.is_null() {
        return wrong("wrong-type", "the items of a list must be a list");
    }
    if depth >= MAX_LISTS {
        return wrong("lists-too-deep", "lists of objects stand too deep in each other");
    }
    let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty()).map(str::to_owned);
    let api_version = value.get("apiVersion").cloned();
    let Value::Object(mut list) = value else { return Vec::new() };
    let Some(Value::Array(items)) = list.remove("items") else { return Vec::new() };
    let mut findings = Vec::new();
    for (n, mut item) in items.into_iter().enumerate() {
        if let (Some(kind), Some(api_version), Value::Object(item)) = (&item_kind, &api_version, &mut item) {
            inherit(item, api_version, kind);
        }
        findings.extend(expand(item, format!("{within}/items/{n}"), places, out, depth + 1));
    }
    findings
}

fn inherit(item: &mut Map<String, Value>, api_version: &Value, kind: &str) {
    let has_version = api_version.as_str().is_some_and(|text| !split_api_version(text).1.is_empty());
    if has_version && !item.contains_key("apiVersion") && !item.contains_key("kind") {
        item.insert("apiVersion".to_owned(), api_version.clone());
        item.insert("kind".to_owned(), kind.into());
    }
}

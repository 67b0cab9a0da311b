//! Which ignored fields are left to others.

use serde_json::Value;

use crate::model::field_path::{names, tokens};
use crate::model::fleet::IgnoredPath;
use crate::model::object::ObjectKey;
use crate::model::release::ReleaseObject;
use crate::plan::offline::fold_string_data;

/// Of the fields that others own and that ignored patterns can name, those that they do name: an index counts in the
/// list that Git has.
pub fn yields(
    owned: &[String],
    object: &ReleaseObject,
    key: &ObjectKey,
    ignored: &[IgnoredPath],
) -> Vec<String> {
    if owned.is_empty() {
        return Vec::new();
    }
    let patterns = ignored.iter().filter(|ignored| ignored.applies_to(key));
    let patterns: Vec<Vec<String>> = patterns.filter_map(|ignored| tokens(&ignored.pattern(key))).collect();
    let counts = patterns.iter().flatten().any(|token| token.parse::<usize>().is_ok());
    let mut manifest = Value::Null;
    if counts {
        manifest = serde_json::from_slice(&object.bytes).unwrap_or_default();
        fold_string_data(&mut manifest);
    }
    let named = |path: &&String| {
        tokens(path).is_some_and(|path| patterns.iter().any(|pattern| names(pattern, &path, &manifest)))
    };
    owned.iter().filter(named).cloned().collect()
}

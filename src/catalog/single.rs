//! A file of its own kind, such as the daemon's settings, read with the care that a repository's documents get.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::read::against;
use super::schema;
use super::yaml::{self, Dialect};
use crate::model::diagnostic::{Diagnostic, Place};

/// Reads a file that holds one document of type `T`.
///
/// # Errors
/// Everything that is wrong, each with its place: an unknown key with the one that was probably meant.
pub fn read_single<T: DeserializeOwned + JsonSchema>(file: &str, bytes: &[u8]) -> Result<T, Vec<Diagnostic>> {
    let parsed = yaml::parse(file, bytes, Dialect::Fairlead);
    if !parsed.diagnostics.is_empty() {
        return Err(parsed.diagnostics);
    }
    let mut docs = parsed.docs;
    let (Some(doc), None) = (docs.pop(), docs.pop()) else {
        return Err(vec![Diagnostic::error(
            Place::file(file),
            "one-document",
            "exactly one document belongs here",
        )]);
    };
    let (findings, _) = against(&schema::of_type::<T>(), &doc);
    if !findings.is_empty() {
        return Err(findings);
    }
    serde_json::from_value(doc.value)
        .map_err(|error| vec![Diagnostic::error(doc.places.value(""), "invalid-document", error.to_string())])
}

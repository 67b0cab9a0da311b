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
    let mut findings = parsed.diagnostics;
    let count = parsed.docs.len() + parsed.broken.len();
    if count > 1 || (count == 0 && findings.is_empty()) {
        let message = "exactly one document belongs here";
        findings.push(Diagnostic::error(Place::file(file), "one-document", message));
    }
    let schema = schema::of_type::<T>();
    let broken: Vec<Place> = findings.iter().map(|finding| finding.place.clone()).collect();
    for doc in parsed.docs.iter().chain(&parsed.broken) {
        let found = against(&schema, doc).into_iter();
        findings.extend(found.filter(|finding| !broken.contains(&finding.place)));
    }
    let Some(doc) = parsed.docs.into_iter().next() else { return Err(findings) };
    if !findings.is_empty() {
        return Err(findings);
    }
    serde_json::from_value(doc.value)
        .map_err(|error| vec![Diagnostic::error(doc.places.value(""), "invalid-document", error.to_string())])
}

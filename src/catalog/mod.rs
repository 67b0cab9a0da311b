//! A tree's files to validated documents, or every diagnostic at once.
//!
//! In: a [`Tree`](crate::model::tree::Tree). Out: documents with their places, and diagnostics (file, line,
//! column, what was expected, a hint). Guarantees: one bad document hides no other and stops nobody who
//! doesn't use it; what can't be read is an error, never "not there". Pure.

pub mod yaml;

#[cfg(test)]
mod tests;

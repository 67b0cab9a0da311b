//! The words of the design as types.
//!
//! In: nothing. Out: types that every other room speaks in. Guarantees: a value of a name or digest
//! type is valid; no type here does IO, reads a clock or logs. Assumes nothing.

pub mod assignment;
pub mod budget;
pub mod diagnostic;
pub mod digest;
pub mod field_path;
pub mod fleet;
pub mod labels;
pub mod name;
pub mod object;
pub mod profile;
pub mod range;
pub mod release;
pub mod revision;
pub mod schedule;
pub mod suggest;
pub mod target;
pub mod tree;
pub mod units;

/// The `apiVersion` of every document of a fleet repository.
pub const API_VERSION: &str = "fairlead.dev/v1alpha1";

//! Layers and releases on disk.
//!
//! In: rendered layers, by the digest of what they were rendered from, and releases by theirs. Out: the same
//! bytes, or nothing. Guarantees: what comes back is what was put in (checksummed; a damaged file counts as
//! missing and is written anew); a file is whole or not there, whenever the process ends; releases that are
//! pinned are never dropped. Assumes that no other process writes to the folder.
#![allow(clippy::disallowed_methods, reason = "an IO room")]

mod codec;
mod disk;

pub use disk::{DiskCache, DiskError, Swept};

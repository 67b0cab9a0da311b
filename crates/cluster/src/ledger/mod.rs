//! The record kept in each target cluster for each (instance, fleet).
//!
//! In: what the executor did. Out: what a restarted worker resumes from. Guarantees: a record is replaced as a
//! whole or not at all, never by a writer that had not read the one before; one that can't be read in full is an
//! error, never an empty one. Assumes that `fairlead-system` is ours.

mod encode;
mod store;
mod types;

pub use encode::LedgerDamage;
#[cfg(test)]
pub(super) use encode::{MAX_UNPACKED, decode, encode};
pub(super) use store::{LedgerStore, Stored, WriteError};
pub use types::{Converged, Ledger, set_id};
pub(super) use types::{FLEET_LABEL, INSTANCE_LABEL, PART_OF};

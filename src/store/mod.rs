//! What survives a restart and is in neither Git nor a ledger.
//!
//! In: [`Write`]s, in groups that stand or fall together. Out: the records, read through [`Records`].
//!
//! Guarantees: an answered write survives `kill -9` and loss of power (WAL with `synchronous=FULL`: writes are
//! decisions and rare, and those that arrive together share one `fsync`, so the stricter setting costs one disk
//! flush a decision; `NORMAL` would be enough for `kill -9`, but could forget an approval or a report that a person
//! was told of). A group of writes is seen whole or not at all, in the order of sending. A full disk is
//! [`StoreError::DiskFull`], and what was there stays. A damaged file is moved aside, never deleted, and the store
//! starts empty: accepted commits then come from the ledgers, waves start anew, approvals are asked again. A file of a
//! newer schema is refused and not touched. One process a state folder.
//!
//! Assumes: a local file system with working locks and `fsync`. Callers hand over no secret: there is no
//! record that has a place for one, and texts (outcomes, reasons, payloads) come in already redacted.

mod error;
mod handle;
mod open;
mod read;
mod record;
mod schema;
mod write;

pub use error::StoreError;
pub use handle::{Handle, Writer};
pub use open::Store;
pub use read::Records;
pub use record::{
    AuditEntry, FleetRecord, Head, HistoryEvent, KnownLedger, MAX_AUDIT_ENTRIES, MAX_HISTORY_EVENTS,
    MAX_ROLLOUTS, MAX_SAID, Report, RolloutRecord, SaidRecord, Tag, Write,
};

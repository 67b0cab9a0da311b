//! The records, and the writes that change them. Times are kept to the microsecond.

use jiff::Timestamp;

use fairlead_core::model::digest::{CommitId, ReleaseDigest};
use fairlead_core::model::name::{FleetName, SourceName, TargetName};
use fairlead_core::model::revision::{ProfileRevision, Revision};

/// Events kept for each (target, fleet); older ones go.
pub const MAX_HISTORY_EVENTS: u32 = 100;

/// Rollouts kept for each fleet; older ones go.
pub const MAX_ROLLOUTS: u32 = 100;

/// Entries of the audit kept; older ones go. About 20 MB.
pub const MAX_AUDIT_ENTRIES: u32 = 100_000;

/// Of what was said so much is remembered; older goes, and may be said again.
pub const MAX_SAID: u32 = 5_000;

/// The state of a fleet's rollout, quarantine included, in the rollout room's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetRecord {
    pub fleet: FleetName,
    /// Which shape `state` has; counted by the rollout room, so that it can read older ones.
    pub format: u32,
    /// JSON.
    pub state: Vec<u8>,
}

/// Where a branch of a source stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub source: SourceName,
    /// Name of the branch, without `refs/heads/`.
    pub branch: String,
    /// Last commit seen.
    pub observed: Option<CommitId>,
    /// Last commit that was taken over: a fast-forward of the one before, or accepted by a person.
    pub accepted: Option<CommitId>,
    /// Why `observed` is not taken over.
    pub hold: Option<String>,
}

/// A tag as it was first seen; one that moved holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    pub source: SourceName,
    pub name: String,
    pub commit: CommitId,
}

/// A ledger that was seen in a cluster, so that a missing one is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLedger {
    pub target: TargetName,
    pub fleet: FleetName,
    pub generation: u64,
    /// The cluster's identity: uid of its namespace `kube-system`.
    pub identity: String,
}

/// A report on its way to a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Grows with every report, a replacing one too: an answer about an older one can't remove a newer.
    pub id: i64,
    pub kind: String,
    pub key: String,
    pub payload: Vec<u8>,
    pub attempts: u32,
    pub next_at: Timestamp,
}

/// What was last said under a key, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidRecord {
    pub key: String,
    pub payload: Vec<u8>,
    pub at: Timestamp,
}

/// Who did what, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: Timestamp,
    pub who: String,
    /// The way in, e.g. `socket` or `token`.
    pub via: String,
    /// The command, e.g. `accept`.
    pub what: String,
    /// What it was done to, e.g. `fleet/retail`.
    pub subject: String,
    pub why: String,
    /// What became of it: the answer, or why it was refused.
    pub outcome: String,
}

/// One line of `fairlead rollout history <fleet>`: a commit, and what was said of it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutRecord {
    pub fleet: FleetName,
    /// The control commit, or the one of a profile that moved alone.
    pub revision: Revision,
    /// Stable, e.g. `success`.
    pub state: String,
    pub description: String,
    pub began: Timestamp,
    pub changed: Timestamp,
}

/// One line of `fairlead history <target>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEvent {
    pub at: Timestamp,
    pub target: TargetName,
    pub fleet: FleetName,
    pub release: ReleaseDigest,
    /// The control commit of the assignment.
    pub control: CommitId,
    /// Of each of its profiles, by name.
    pub profiles: Vec<ProfileRevision>,
    pub outcome: String,
}

/// One change. Groups of them are written in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Puts or replaces a fleet's state.
    Fleet(FleetRecord),
    /// Removes a fleet's state and its rollouts.
    ForgetFleet(FleetName),
    /// Puts or replaces a head.
    Head(Head),
    /// Puts a tag, or moves it (after a person accepted that).
    Tag(Tag),
    /// Forgets a tag that is gone from its source.
    ForgetTag {
        source: SourceName,
        name: String,
    },
    /// Puts or replaces a known ledger.
    Ledger(KnownLedger),
    ForgetLedger {
        target: TargetName,
        fleet: FleetName,
    },
    /// Puts a report, and remembers it as said; an older one of this (kind, key) that was not sent yet is replaced,
    /// its attempts forgotten.
    Report {
        kind: String,
        key: String,
        payload: Vec<u8>,
        next_at: Timestamp,
    },
    /// The report was delivered. Nothing happens if a newer one took its place.
    ReportSent {
        id: i64,
    },
    /// The report could not be delivered: counts an attempt. Nothing happens if a newer one took its place.
    ReportFailed {
        id: i64,
        next_at: Timestamp,
    },
    Audit(AuditEntry),
    /// Puts a rollout, or what is new about it; `began` stays what it was. Keeps the newest [`MAX_ROLLOUTS`].
    Rollout(RolloutRecord),
    /// Adds an event; keeps the newest [`MAX_HISTORY_EVENTS`] of its (target, fleet).
    Event(HistoryEvent),
}

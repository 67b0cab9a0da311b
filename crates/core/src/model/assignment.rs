//! Orders to a cluster, and the facts that come back.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::digest::ReleaseDigest;
use super::fleet::{DriftSpec, PruneSpec};
use super::name::{FleetName, TargetName};
use super::object::ObjectKey;
use super::release::{LayerId, ReleaseRef};
use super::units::Span;

/// Why a cluster is given a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Purpose {
    /// A commit changed its release.
    Change,
    /// The release is in the cluster's own history of good ones.
    Revert,
    /// A rollout failed: back to the base.
    Return,
    /// It was offline, suspended or new, and takes the accepted release.
    CatchUp,
    /// The target is pinned.
    Pin,
}

impl Purpose {
    /// Going back deletes what came since, outside the deletion budget.
    pub fn goes_back(self) -> bool {
        matches!(self, Purpose::Revert | Purpose::Return)
    }
}

/// The order to one target. Small: the objects are got from a release source by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    pub target: TargetName,
    pub fleet: FleetName,
    /// Grows with every order to this (target, fleet); a ledger refuses a smaller one than it holds.
    pub generation: u64,
    pub release: ReleaseRef,
    pub purpose: Purpose,
    /// Written to the ledger with the intent: where a return goes.
    pub base: Option<ReleaseRef>,
    /// Written to the ledger with the intent: releases that failed here and were undone.
    pub quarantined: Vec<ReleaseDigest>,
    /// Whether a person allowed deletions beyond the budget and of protected kinds for this release.
    pub deletions_approved: bool,
    /// Whether a person let this release take over objects that were there before.
    #[serde(default)]
    pub adopt: bool,
    pub policy: ClusterPolicy,
}

/// What of the fleet's document concerns a cluster's worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPolicy {
    pub drift: DriftSpec,
    pub prune: PruneSpec,
    /// After how long without progress the fleet gives up: the worker looks up the cause before. None: it does not.
    #[serde(default)]
    pub progress_deadline: Option<Span>,
}

/// What a ledger says, reduced to what decisions need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerSummary {
    pub generation: u64,
    /// The last intent.
    pub assigned: Option<ReleaseRef>,
    /// The last result: what the cluster converged at, if that is what is assigned.
    pub converged: Option<ReleaseRef>,
    pub base: Option<ReleaseRef>,
    /// The last ten converged releases that baked, newest first.
    pub history: Vec<ReleaseRef>,
    pub quarantined: Vec<ReleaseDigest>,
    /// Number of objects in the inventory.
    pub objects: usize,
}

/// What a worker saw, about one (target, fleet).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub target: TargetName,
    pub fleet: FleetName,
    pub body: FactBody,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FactBody {
    /// The cluster answers, and this is its ledger (none: it has none for this fleet).
    Online { ledger: Option<Box<LedgerSummary>> },
    /// The cluster can't be reached; text from outside, already cleaned.
    Offline { reason: String },
    /// Something moved: the progress clock starts anew.
    Progress { generation: u64, progress: Progress },
    /// The cluster's own trouble (5xx, 429, an admission webhook that can't be called): the clock stops.
    Stalled { generation: u64, reason: String },
    /// Every object is as it should be, healthy, pruned, and the ledger says so.
    Converged { generation: u64, release: ReleaseDigest },
    /// Why an object that is waited for is not healthy, looked up just before the progress deadline. No progress.
    Diagnosed { generation: u64, object: ObjectKey, message: String },
    /// This release can't work here. Said once for each generation.
    Failed { generation: u64, release: ReleaseDigest, cause: Cause },
    /// Work waits for a person.
    Held { generation: u64, release: ReleaseDigest, reason: Hold },
    /// Converged before, not healthy now.
    Unhealthy { generation: u64, release: ReleaseDigest, cause: Cause },
    /// Someone else changed these, and they were put right (or only reported, by policy).
    Drift { objects: Vec<ObjectKey>, healed: bool },
    /// Two writers fight over these.
    Contested { objects: Vec<ObjectKey> },
    /// The release dropped these and they stay all the same. Said before `Converged`, again where it changed.
    Kept { generation: u64, objects: Vec<KeptObject> },
    /// All objects that people keep from being healed, whenever that changes.
    BreakGlass { objects: Vec<BreakGlass> },
    /// The target has left the fleet and its ledger says so (or is gone).
    Removed,
}

/// How far an assignment has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    pub applied: usize,
    pub total: usize,
    /// What is not healthy yet, and why; the first few.
    pub waiting: Vec<Waiting>,
    /// What of it waits for a person; the first few. The progress deadline is paused while there is such.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// The first of it that waits for the cluster to get over a problem of its own. The progress deadline is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    pub layer: LayerId,
    pub object: ObjectKey,
    pub reason: String,
}

impl Progress {
    /// The hold on an object, if it is among those that are named.
    pub fn holds_object(&self, object: &ObjectKey) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.object() == Some(object))
    }
}

/// An object that stays though the release dropped it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptObject {
    pub object: ObjectKey,
    pub reason: String,
    /// Whether an approval lets it go: its kind is protected.
    pub approvable: bool,
    /// Its deletion was asked for, or waits for one that was: `reason` says what that waits for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
}

impl std::fmt::Display for KeptObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.deleting {
            return write!(f, "{} is still being deleted ({})", self.object, self.reason);
        }
        write!(f, "{}: {}", self.object, self.reason)
    }
}

/// An object that a person keeps from being healed, with the annotation `fairlead.dev/hold-until`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakGlass {
    pub object: ObjectKey,
    /// None: what the annotation says is no time, so it holds nothing.
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Names of the field managers that own the annotation.
    pub by: Vec<String>,
}

impl std::fmt::Display for BreakGlass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = if self.by.is_empty() { "someone".to_owned() } else { self.by.join(", ") };
        match self.until {
            Some(until) => write!(f, "{} is not healed until {until}, by {by}", self.object),
            None => write!(
                f,
                "{}: fairlead.dev/hold-until, by {by}, is no time such as 2030-01-31T18:00:00Z and holds nothing",
                self.object
            ),
        }
    }
}

/// Why a release can't work in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum Cause {
    #[error("{object} was refused: {message}")]
    Refused { object: ObjectKey, message: String },
    #[error(
        "{object}: a field that can't be changed; allow with the annotation fairlead.dev/replace: allow ({message})"
    )]
    Immutable { object: ObjectKey, message: String },
    #[error("{object}: the cluster knows no kind {kind}", kind = .object.group_kind())]
    UnknownKind { object: ObjectKey },
    #[error("{object}: {message}")]
    Unhealthy { object: ObjectKey, message: String },
    #[error("no progress for {seconds} s; waiting for {waiting}")]
    NoProgress { seconds: u64, waiting: String },
    #[error("release not available: {message}")]
    ReleaseMissing { message: String },
}

/// What work in a cluster waits for a person for. No deadline runs meanwhile; the worker looks again by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum Hold {
    #[error("{object} was there before and {} fields of it ({})", own(.managers), named(.fields))]
    Conflict { object: ObjectKey, managers: Vec<String>, fields: Vec<String> },
    #[error("would delete {count} of {of} objects, more than the {budget} that prune.maxDeletions allows{}", such_as(.objects))]
    DeletionBudget { count: usize, of: usize, budget: usize, objects: Vec<ObjectKey> },
    #[error("the release is empty and would delete all {of} objects")]
    EmptyRelease { of: usize },
    #[error("{object} is managed by another set ({owner})")]
    ForeignOwner { object: ObjectKey, owner: String },
    #[error("this cluster is {found}, the ledger was written in {recorded}")]
    IdentityChanged { found: String, recorded: String },
    #[error("the cluster is also the target {other}")]
    SameCluster { other: TargetName },
    #[error("another writer is at generation {found}")]
    StaleWriter { found: u64 },
    /// The release can't become healthy with it, and it is not put right.
    #[error("{object} is not healthy and is not healed until {until} (fairlead.dev/hold-until, by {})", named(.by))]
    BreakGlass {
        object: ObjectKey,
        #[schemars(with = "String")]
        until: Timestamp,
        by: Vec<String>,
    },
    #[error("the ledger in this cluster can't be used: {reason}")]
    LedgerDamaged { reason: String },
    /// An API server does not take an object, for a reason that somebody has to change in the cluster.
    #[error("{object}: {message}")]
    Answered { object: ObjectKey, message: String, advice: String },
}

impl Hold {
    /// What a person has to do; the rest follows by itself.
    pub fn remedy(&self, target: &TargetName, fleet: &FleetName) -> String {
        match self {
            Self::Conflict { .. } => format!("run 'fairlead adopt {target}' to take it over"),
            Self::DeletionBudget { .. } => format!("run 'fairlead approve {fleet}' to allow it"),
            Self::EmptyRelease { .. } => "mend the commit, or set prune.allowEmpty".to_owned(),
            Self::ForeignOwner { .. } => "remove it from that set".to_owned(),
            Self::IdentityChanged { .. } => "correct the kubeconfig".to_owned(),
            Self::SameCluster { .. } => "remove one of the two kubeconfigs".to_owned(),
            Self::StaleWriter { .. } => "stop the other daemon of this instance, or rename it".to_owned(),
            Self::BreakGlass { .. } => "remove the annotation to have it healed now".to_owned(),
            Self::Answered { advice, .. } => advice.clone(),
            Self::LedgerDamaged { .. } => "restore or delete its ConfigMap in fairlead-system".to_owned(),
        }
    }

    /// The object that it is about, if it is about one.
    pub fn object(&self) -> Option<&ObjectKey> {
        match self {
            Self::Conflict { object, .. }
            | Self::ForeignOwner { object, .. }
            | Self::BreakGlass { object, .. }
            | Self::Answered { object, .. } => Some(object),
            _ => None,
        }
    }

    /// Whether an approval ends it.
    pub fn is_approvable(&self) -> bool {
        matches!(self, Self::DeletionBudget { .. } | Self::EmptyRelease { .. })
    }
}

/// So many names stand in a text.
const NAMED: usize = 3;

fn named(names: &[String]) -> String {
    let text = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match (names.len(), names.len().saturating_sub(NAMED)) {
        (0, _) => "someone".to_owned(),
        (_, 0) => text,
        (_, more) => format!("{text} and {more} more"),
    }
}

fn own(managers: &[String]) -> String {
    format!("{} {}", named(managers), if managers.len() == 1 { "owns" } else { "own" })
}

fn such_as(objects: &[ObjectKey]) -> String {
    objects.first().map(|first| format!(", such as {first}")).unwrap_or_default()
}

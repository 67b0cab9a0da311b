//! What is said about a fleet, derived from its state.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reason::{FleetReason, Reason};
use super::state::FleetState;
use crate::model::digest::CommitId;
use crate::model::name::{FleetName, TargetName};
use crate::model::release::ReleaseRef;
use crate::model::revision::Revision;

/// Longest description of a commit status, in characters: what the strictest forge takes.
pub const MAX_DESCRIPTION: usize = 140;

/// A fleet, as a person or a page wants to see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetReport {
    pub fleet: FleetName,
    /// Seen in Git.
    pub observed: Option<CommitId>,
    /// Its rollout completed on the fleet.
    pub accepted: Option<CommitId>,
    pub rollout: RolloutState,
    /// By name.
    pub targets: Vec<TargetReport>,
    /// Of the head first, then of commits that ended lately, newest first.
    pub statuses: Vec<CommitStatus>,
}

/// How far the head has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum RolloutState {
    /// No commit has been seen.
    Idle,
    /// The head is accepted.
    Converged,
    Rolling {
        converged: usize,
        affected: usize,
    },
    Holding {
        reason: FleetReason,
    },
    /// The rollout failed, and clusters are on their way back.
    Returning {
        left: usize,
        cause: String,
        to: Option<CommitId>,
    },
    /// The rollout failed, and every cluster that could is back.
    Failed {
        cause: String,
        to: Option<CommitId>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TargetStatus {
    Converged,
    /// At work on its assignment.
    Progressing,
    /// Its turn has not come.
    Waiting,
    /// Waits for a person.
    Held,
    Unhealthy,
    Failed,
    Returning,
    Quarantined,
    Offline,
    Suspended,
    Leaving,
}

/// One cluster of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetReport {
    pub target: TargetName,
    /// What the head wants; none if that is not known.
    pub wanted: Option<ReleaseRef>,
    pub assigned: Option<ReleaseRef>,
    /// What it last converged at.
    pub converged: Option<ReleaseRef>,
    pub base: Option<ReleaseRef>,
    pub status: TargetStatus,
    pub reason: Reason,
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CommitState {
    Pending,
    Success,
    Failure,
    /// It ended before it completed, because a newer commit took over: neither good nor bad.
    Superseded,
}

/// What a forge shows beside a commit. The text is stable: without times, equal while nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitStatus {
    /// The control commit if it moved; else the commit of a profile that did.
    pub revision: Revision,
    pub state: CommitState,
    /// At most 140 characters.
    pub description: String,
}

/// The fleet as it is. O(targets).
pub fn report(state: &FleetState) -> FleetReport {
    let (targets, statuses) = (Vec::new(), Vec::new());
    let fleet = state.fleet().clone();
    FleetReport { fleet, observed: None, accepted: None, rollout: RolloutState::Idle, targets, statuses }
}

/// One cluster of the fleet as it is.
pub fn explain(_state: &FleetState, _target: &TargetName) -> Option<TargetReport> {
    None
}

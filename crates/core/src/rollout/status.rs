//! What is said of a fleet, its targets and a commit.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reason::{FleetReason, Reason};
use super::standing::WaveReport;
use crate::model::digest::CommitId;
use crate::model::name::{FleetName, TargetName, WaveName};
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
    /// In order, while a change is on its way.
    pub waves: Vec<WaveReport>,
    /// When windows open next for someone who waits for that.
    #[schemars(with = "Option<String>")]
    pub next_window: Option<Timestamp>,
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
    /// The head is accepted, and not every cluster runs what it should, healthy, or not every one is known to.
    Degraded {
        converged: usize,
        of: usize,
        /// How many are not so, and why the first is not.
        cause: String,
    },
    /// The rollout failed, and every cluster that could is back.
    Failed {
        cause: String,
        to: Option<CommitId>,
    },
}

/// How a target stands in a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TargetStatus {
    /// Runs what it is assigned, and is healthy.
    Converged,
    /// Is being brought to what it is assigned.
    Progressing,
    /// Its turn has not come.
    Waiting,
    /// The cluster's own trouble stops the work.
    Stalled,
    /// Waits for a person.
    Held,
    /// Converged before, not healthy now.
    Unhealthy,
    /// The release failed here.
    Failed,
    /// Is going back to its base.
    Returning,
    /// What the head wants failed here or elsewhere and is not tried again.
    Quarantined,
    /// Can't be reached.
    Offline,
    /// Suspended in Git.
    Suspended,
    /// Is leaving the fleet.
    Leaving,
    /// Not heard of yet.
    Unknown,
}

impl TargetStatus {
    /// As in JSON and in metrics' labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Progressing => "progressing",
            Self::Waiting => "waiting",
            Self::Stalled => "stalled",
            Self::Held => "held",
            Self::Unhealthy => "unhealthy",
            Self::Failed => "failed",
            Self::Returning => "returning",
            Self::Quarantined => "quarantined",
            Self::Offline => "offline",
            Self::Suspended => "suspended",
            Self::Leaving => "leaving",
            Self::Unknown => "unknown",
        }
    }
}

/// One cluster of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetReport {
    pub target: TargetName,
    /// Its wave, in a fleet that has several.
    pub wave: Option<WaveName>,
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

impl CommitState {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Superseded => "superseded",
        }
    }
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

/// A text on one line, cut at a word to so many characters.
pub(super) fn shorten(text: &str, longest: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= longest {
        return line;
    }
    let mut rest = line.char_indices().skip(longest.saturating_sub(1));
    let end = rest.next().map_or(line.len(), |(end, _)| end);
    let cut = &line[..end];
    // At the end of a word, unless that would lose most of the text.
    let whole = if line[end..].starts_with(' ') { end } else { cut.rfind(' ').unwrap_or(end) };
    let cut = if whole * 2 > end { &cut[..whole] } else { cut };
    format!("{}…", cut.trim_end_matches([' ', ',', ';', ':', '(']))
}

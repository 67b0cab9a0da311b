//! What people tell the daemon to do, and what the daemon is asked beyond its view.

use std::fmt;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::view::{AuditView, CauseView, HistoryView, ProfilesView, PullView, RolloutView};
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::{FleetName, TargetName, WaveName};

/// What to do. Carried out by the daemon, which answers when it is decided and stored, not when clusters have
/// followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Let in revisions that are held: rewritten history, a moved tag, a commit off the branch.
    Accept {
        fleet: FleetName,
        /// The control commit that the person saw; another head by now is a [`Refusal::Conflict`].
        commit: Option<CommitId>,
    },
    /// Allow what waits for an approval: deletions, targets that leave, waves. Of one wave, or all.
    Approve {
        fleet: FleetName,
        wave: Option<WaveName>,
    },
    /// Lift the quarantine and try again.
    Retry {
        fleet: FleetName,
    },
    /// Assign nothing more until resumed; healing goes on.
    Pause {
        fleet: FleetName,
    },
    Resume {
        fleet: FleetName,
    },
    /// Take over objects that others own, in one fleet of the target or all.
    Adopt {
        target: TargetName,
        fleet: Option<FleetName>,
    },
    /// Release all objects and remove the ledger, in one fleet of the target or all.
    Leave {
        target: TargetName,
        fleet: Option<FleetName>,
    },
    /// Fetch now.
    Sync,
    /// Stop every write to every cluster. Done by [`Emergency`] before it is an order: the daemon only notes it.
    Stop,
    /// End an emergency stop. Done by [`Emergency`] once the daemon has noted it.
    ResumeAll,
}

/// The way in that a caller took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// The Unix socket; the name is the peer's user.
    Socket,
    /// A token; the name is the token's.
    Token,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub via: Via,
}

/// A command on its way to the daemon.
#[derive(Debug)]
pub struct Order {
    pub command: Command,
    pub caller: Caller,
    /// Why; never empty. Goes into the audit.
    pub reason: String,
    /// The caller may have gone; the command counts all the same.
    pub answer: oneshot::Sender<Result<Done, Refusal>>,
}

/// Where orders go.
pub type Orders = mpsc::Sender<Order>;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// For people, e.g. `fleet retail: commit 4f2c91a accepted`.
    pub message: String,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such fleet, target or commit (404).
    #[error("{0}")]
    NotFound(String),
    /// It makes no sense (422).
    #[error("{0}")]
    Invalid(String),
    /// The state is not one in which that can be done (409).
    #[error("{0}")]
    Conflict(String),
    /// Not now; try again (503).
    #[error("{0}")]
    Unavailable(String),
    /// The daemon's own trouble (500).
    #[error("{0}")]
    Internal(String),
}

/// What `/api/v1/plan` is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanQuestion {
    /// A commit, branch or tag; none: what is accepted.
    pub from: Option<String>,
    /// A commit, branch or tag; none: the head.
    pub to: Option<String>,
    /// Compare with what the clusters really have; `from` does not count then.
    pub live: bool,
}

/// What the daemon is asked that is not in its view.
pub trait Questions: Send + Sync + 'static {
    /// The plan as a JSON document, redacted.
    fn plan(&self, question: PlanQuestion) -> BoxFuture<'_, Result<serde_json::Value, Refusal>>;
    /// A target's events, newest first. A target that nobody knows has none.
    fn history(&self, target: TargetName, limit: u32) -> BoxFuture<'_, Result<Vec<HistoryView>, Refusal>>;
    /// Why a target's objects of a fleet are not healthy, looked up now; what can't be asked gives none.
    fn causes(&self, fleet: FleetName, target: TargetName) -> BoxFuture<'_, Vec<CauseView>>;
    /// Which commits of its profiles a target runs and should run; of one that nobody knows there are none.
    fn profiles(&self, fleet: FleetName, target: TargetName) -> BoxFuture<'_, Result<ProfilesView, Refusal>>;
    /// A fleet's rollouts, newest first.
    fn rollouts(&self, fleet: FleetName, limit: u32) -> BoxFuture<'_, Result<Vec<RolloutView>, Refusal>>;
    /// Who did what, newest first; to one subject ([`Command::subject`]), or all.
    fn audit(&self, subject: Option<String>, limit: u32) -> BoxFuture<'_, Result<Vec<AuditView>, Refusal>>;
    /// What is wrong in a commit, by place.
    fn findings(&self, commit: String) -> BoxFuture<'_, Result<Vec<Diagnostic>, Refusal>>;
    /// A pull request, looked at anew.
    fn pull(&self, number: u64) -> BoxFuture<'_, Result<PullView, Refusal>>;
}

/// The emergency stop. It does not go the way of orders, which waits while the store does.
pub trait Emergency: Send + Sync + 'static {
    /// Stops every write at once. Gives what to say, once the requests that were on their way have ended, or were
    /// waited for long enough.
    fn stop(&self, caller: Caller, reason: String) -> BoxFuture<'_, String>;
    /// Ends it.
    fn resume(&self) -> Result<String, Refusal>;
}

impl Command {
    /// For the audit.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Accept { .. } => "accept",
            Self::Approve { .. } => "approve",
            Self::Retry { .. } => "retry",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } | Self::ResumeAll => "resume",
            Self::Stop => "stop",
            Self::Adopt { .. } => "adopt",
            Self::Leave { .. } => "leave",
            Self::Sync => "sync",
        }
    }

    /// For the audit: `fleet/retail`, `target/edge-001`, `repository`.
    pub fn subject(&self) -> String {
        match self {
            Self::Approve { fleet, wave: Some(wave) } => format!("wave/{wave} of fleet/{fleet}"),
            Self::Accept { fleet, .. }
            | Self::Approve { fleet, .. }
            | Self::Retry { fleet }
            | Self::Pause { fleet }
            | Self::Resume { fleet } => {
                format!("fleet/{fleet}")
            }
            Self::Adopt { target, fleet: None } | Self::Leave { target, fleet: None } => {
                format!("target/{target}")
            }
            Self::Adopt { target, fleet: Some(fleet) } | Self::Leave { target, fleet: Some(fleet) } => {
                format!("target/{target} of fleet/{fleet}")
            }
            Self::Sync => "repository".to_owned(),
            Self::Stop | Self::ResumeAll => "all clusters".to_owned(),
        }
    }
}

impl Via {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.via.as_str())
    }
}

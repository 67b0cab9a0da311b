//! What the state machine is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::intent::Intent;
use crate::model::assignment::Fact;
use crate::model::digest::CommitId;
use crate::model::name::{FleetName, TargetName, WaveName};

/// One event of one fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The head moved, or what it resolves to, or the renderers. Ends a hold of revisions. The same intent
    /// again changes nothing else.
    CommitObserved(Box<Intent>),
    /// Nothing of this fleet could be read at this head: assignments stay, the commit has failed.
    CommitInvalid { commit: CommitId, summary: String },
    /// The new head, or a revision that it names, may not be used; nothing moves until a person accepts it,
    /// or another head may be used: then a commit comes.
    RevisionHeld { commit: CommitId, reason: RevisionHold },
    /// A worker saw something.
    Fact(Box<Fact>),
    /// Another fleet that must have converged on this target first has not (its name), or all have (none).
    Dependency { target: TargetName, unmet: Option<FleetName> },
    /// A person allows what waits for an approval: deletions, dropped targets; of one wave, or of all.
    Approved { by: Person, wave: Option<WaveName> },
    /// A person lets a target's release take over the objects that were there before. It outlives a restart.
    Adopted { target: TargetName, by: Person },
    /// Quarantined releases are tried again.
    Retry { by: Person },
    /// No change starts until `Resumed`; healing and returns go on.
    Paused { by: Person },
    /// Takes back `Paused`, and goes on with a rollout that paused because of failures.
    Resumed { by: Person },
    /// The time of a [`WakeAt`](super::Effect::WakeAt) has come.
    Tick,
}

impl From<Fact> for Event {
    fn from(fact: Fact) -> Self {
        Event::Fact(Box::new(fact))
    }
}

/// Who said something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    pub who: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Why a revision may not be used until a person accepts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum RevisionHold {
    #[error("history was rewritten: {to} does not descend from {from}", from = .from.short(), to = .to.short())]
    NonFastForward { from: CommitId, to: CommitId },
    #[error("tag {tag} moved from {from} to {to}", from = .from.short(), to = .to.short())]
    TagMoved { tag: String, from: CommitId, to: CommitId },
    #[error("tag {tag} (commit {commit}) is gone from the repository, and {instead}", commit = .commit.short())]
    TagVanished { tag: String, commit: CommitId, instead: String },
    #[error("commit {commit} is reached by neither the control branch nor an allowed tag", commit = .commit.short())]
    Unreachable { commit: CommitId },
    #[error("commit {commit} was accepted but is not there: bring it by a tag, or by a branch that a profile follows", commit = .commit.short())]
    Missing { commit: CommitId },
}

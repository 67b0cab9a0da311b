//! What the state machine orders.

use jiff::Timestamp;

use super::reason::FleetReason;
use super::status::CommitStatus;
use crate::model::assignment::Assignment;
use crate::model::fleet::OnRemoval;
use crate::model::name::{FleetName, TargetName};

/// An order to the daemon. Carrying one out twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// To the target's worker. With the generation that the worker already has, only policy and base count.
    Assign(Box<Assignment>),
    /// The target has left the fleet. Answered by the fact `Removed`; an `Assign` with a greater generation
    /// takes it back. `approved`: a person allowed deletions beyond the budget.
    Remove { target: TargetName, fleet: FleetName, generation: u64, policy: OnRemoval, approved: bool },
    /// Stop everything for this cluster, healing too; or take it up again.
    Suspend { target: TargetName, suspend: bool },
    /// A commit's status changed (not sent again while it stays the same, but for [`resume`](super::resume)).
    Report(CommitStatus),
    /// The fleet began to hold, for another reason than before. Also in the report; here to be told to people.
    Hold { reason: FleetReason },
    /// Send a `Tick` then. Replaces the wake-up before.
    WakeAt(Timestamp),
}

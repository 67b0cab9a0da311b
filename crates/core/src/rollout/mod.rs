//! The state machine over a fleet: who runs what, who gets a change when, and what happens when it hurts.
//!
//! In: one [`Event`] at a time (a commit's [`Intent`], a worker's fact, a person's word, a tick) and the time.
//! Out: [`Effect`]s, orders that the daemon carries out after it has saved the [`FleetState`].
//!
//! Guarantees: [`step`] is a function of state, event and time. Every order can be derived again from the
//! state ([`resume`]), so that effects lost in a crash are no loss. Generations of a target only grow.
//! Every cluster that is not converged has a reason, and an event or a wake-up that it waits for.
//!
//! Assumes: events of one fleet come one at a time; commits come in the order in which the branch moved; a
//! worker says after a restart again what it knows (so a state that missed the last facts catches up, and
//! only steps that had effects must be saved before anything else happens); a worker that is given the
//! generation which it already has takes its policy and base from it and does nothing else.
//!
//! Where things are: `step` takes events in, `plan` compares a commit with what is, `waves` says who is in which
//! wave and how far each is, `lanes` keeps who waits by wave and time zone with their `windows`, `admit` starts who
//! may, `bake` follows a cluster from convergence to proof, `approval` takes a person's word, `failure` has budgets,
//! returns and quarantine, `removal` has targets that leave, `recover` reads ledgers, `report`, `explain` and
//! `reason` say it to people. `tally` counts along.

mod admit;
mod approval;
mod bake;
mod book;
mod effect;
mod event;
mod explain;
mod failure;
mod intent;
mod lanes;
mod plan;
mod reason;
mod recover;
mod removal;
mod report;
mod standing;
mod state;
mod step;
mod tally;
mod target;
mod waves;
mod windows;

pub use effect::Effect;
pub use event::{Event, Person, RevisionHold};
pub use intent::{FleetPolicy, Intent, TargetIntent};
pub use reason::{Absent, FleetReason, Reason};
pub use report::{
    CommitState, CommitStatus, FleetReport, MAX_DESCRIPTION, RolloutState, TargetReport, TargetStatus,
    explain, report,
};
pub use standing::{WaveReport, WaveStanding};
pub use state::FleetState;
pub use step::{resume, step};
pub use windows::{Opening, opening};

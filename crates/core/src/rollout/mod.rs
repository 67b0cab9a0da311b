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
//! Where things are: `state` is what must survive of a fleet, with an index that is kept with each change; `decide`
//! changes it and gives orders; `report` says how it stands, and changes nothing. Each may use those before it, and
//! none after. `step` takes an event through all three.

mod decide;
mod effect;
mod event;
mod intent;
mod reason;
mod report;
mod standing;
mod state;
mod status;
mod step;
mod windows;

pub use effect::Effect;
pub use event::{Event, Person, RevisionHold};
pub use intent::{FleetPolicy, Intent, TargetIntent};
pub use reason::{Absent, FleetReason, Reason};
pub use report::{explain, report};
pub use standing::{WaveReport, WaveStanding};
pub use state::FleetState;
pub use status::{
    CommitState, CommitStatus, FleetReport, MAX_DESCRIPTION, RolloutState, TargetReport, TargetStatus,
};
pub use step::{resume, step};
pub use windows::{Opening, opening};

//! Takes one event in.

use jiff::Timestamp;

use super::effect::Effect;
use super::event::Event;
use super::state::FleetState;

/// Takes one event in. The state must be saved before the effects are carried out.
pub fn step(_state: &mut FleetState, _event: Event, _now: Timestamp) -> Vec<Effect> {
    Vec::new()
}

/// After a restart: every order that stands, every status, and the next wake-up. Progress clocks stood
/// while nobody listened.
pub fn resume(_state: &mut FleetState, _now: Timestamp) -> Vec<Effect> {
    Vec::new()
}

//! The state machine over a fleet.

//! Workers against a real API server.

mod answers;
mod apply;
mod causes;
mod drift;
mod faults;
mod fields;
mod health;
mod holds;
mod layers;
mod prune;
mod recordings;
pub mod world;

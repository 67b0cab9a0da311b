//! Workers against a real API server.

mod apply;
mod drift;
mod faults;
mod holds;
mod layers;
pub mod world;

//! Workers against a real API server.

mod apply;
mod drift;
mod faults;
mod layers;
mod world;

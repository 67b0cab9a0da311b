//! Workers against a real API server.

mod apply;
mod drift;
mod world;

//! Everything that needs more than one room, or something real: servers, processes, repositories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod cluster;
mod control_plane;
mod harness;
mod release_cache;
mod rollout_properties;
mod scenarios;
mod server;
mod store;

//! Everything that needs more than one room, or something real: servers, processes, repositories.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and looks at the clock"
)]

mod architecture;
mod clones;
mod cluster;
mod completion;
mod control_plane;
mod demo;
mod deploy;
mod docs;
mod e2e;
mod facts;
mod forge;
mod harness;
#[path = "../soak/mod.rs"]
mod marathon;
mod objects;
mod release_cache;
mod rollout_properties;
mod scenarios;
mod server;
mod sim;
mod soak;
mod store;
mod walkthrough;
mod world;

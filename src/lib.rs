//! Fairlead keeps a fleet of Kubernetes clusters true to the cluster profiles in a Git repository.
//!
//! The way of a commit: `repo` fetches it, `catalog` validates its documents, `release` compiles what each
//! target should run, `rollout` decides who gets it when, `cluster` brings it there and says what happened.

// The rooms. Plain comments: with an outer doc comment, links in a room's own header would be looked up here.

// Commands and printing.
pub mod cli;
// Starts and wires everything; owns every task and channel.
pub mod daemon;
// Webhooks in, statuses and comments out.
pub mod forge;
// How many files a process may have open.
mod files;
// Locks on files that one process may hold.
mod lock;
// Mirror, fetch, trees, history.
pub mod repo;
// HTTP: API, metrics, health.
pub mod server;
// Simulated clusters for workers in this process.
pub mod simulated;
// What survives a restart and is in neither Git nor a ledger.
pub mod store;

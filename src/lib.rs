//! Fairlead keeps a fleet of Kubernetes clusters true to the cluster profiles in a Git repository.
//!
//! The way of a commit: `repo` fetches it, `catalog` validates its documents, `release` compiles what each
//! target should run, `rollout` decides who gets it when, `cluster` brings it there and says what happened.

// The rooms. Plain comments: with an outer doc comment, links in a room's own header would be looked up here.

// The words of the design as types.
pub mod model;

// A tree's files to validated documents, or every diagnostic at once.
pub mod catalog;
// Commands and printing.
pub mod cli;
// One worker a cluster: connect, observe, apply, prune, health, ledger, heal.
pub mod cluster;
// Starts and wires everything; owns every task and channel.
pub mod daemon;
// Webhooks in, statuses and comments out.
pub mod forge;
// How many files a process may have open.
mod files;
// Locks on files that one process may hold.
mod lock;
// How connections to other machines are made.
pub mod net;
// A release and what a cluster has to a plan.
pub mod plan;
// Documents, commits and a target to a release.
pub mod release;
// Mirror, fetch, trees, history.
pub mod repo;
// The state machine over a fleet.
pub mod rollout;
// HTTP: API, metrics, health.
pub mod server;
// Simulated clusters that speak the Kubernetes API.
pub mod sim;
// What survives a restart and is in neither Git nor a ledger.
pub mod store;

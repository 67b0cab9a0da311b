//! One worker a cluster: connect, observe, apply, prune, health, ledger, heal.

pub mod fields;
pub mod health;
pub mod text;

//! A release and what a cluster has, or two releases, to a plan.
//!
//! In: a [`Release`](crate::model::release::Release), what the cluster has ([`Observed`]), what its ledger
//! remembers ([`Inventory`]), the [`Assignment`](crate::model::assignment::Assignment). Out: a [`LivePlan`],
//! a finished document: executing it takes no further decision. Guarantees: every object of the release and of
//! the inventory stands in exactly one place of the plan; nothing is deleted that is not in the inventory, seen
//! under our own label, and dropped by the release; a kind that could not be read is never taken as empty.
//! Assumes that `Observed` was read after the ledger. Pure.

pub mod controllers;
mod immutable;
mod live;
mod live_rules;
pub mod notes;
pub mod offline;
mod redact;
mod yaml;

pub use controllers::leave_to_controllers;
pub use immutable::immutable_changes;
pub use live::{
    Action, Context, Deletion, HoldUntil, Inventory, InventoryEntry, Judgement, Kept, KeptWhy, LivePlan,
    Observed, ObservedObject, Origin, PlannedLayer, Precondition, Scope, Served, Sibling, Stay, Verb, Wanted,
    Why, applied, crds_leaving, judge, leave, live, may_unblock, resolve_key, was_there_before, yields,
};
pub use redact::scrub;
pub use yaml::diff;

#[cfg(test)]
mod tests;

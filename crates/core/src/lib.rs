//! What Fairlead decides, as plain functions over data: no async runtime, no HTTP, no Git, no database, which the
//! dependencies of this crate prove.

// The rooms. Plain comments: with an outer doc comment, links in a room's own header would be looked up here.

// The words of the design as types.
pub mod model;
// A tree's files to validated documents, or every diagnostic at once.
pub mod catalog;
// A release and what a cluster has to a plan.
pub mod plan;
// Documents, commits and a target to a release.
pub mod release;
// The state machine over a fleet.
pub mod rollout;

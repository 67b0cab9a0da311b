//! What follows from an event: who gets what, when, and what happens when it fails.

pub mod admit;
pub mod approval;
pub mod bake;
pub mod commit;
pub mod facts;
pub mod failure;
pub mod orders;
pub mod people;
pub mod recover;
pub mod removal;
pub mod waves;
pub mod windows;

//! Documents, commits and a target to a release.
//!
//! In: a fleet, a target and the profiles it runs, each with the tree of its commit. Out: a [`Release`]
//! (model), or every diagnostic at once with the place of what is wrong. Guarantees: equal inputs give equal
//! bytes and digests on every machine and at every time; a release is whole or an error, and what can't be
//! read is an error, never a smaller release; a value stays in the place where its expression stands; work
//! and memory are bounded whatever the content is; no message holds the value of a variable. Assumes that
//! the documents are valid (`catalog`). Pure, but for `render`, which keeps layers on disk.
//!
//! [`Release`]: crate::model::release::Release

mod cache;
mod canonical;
mod compile;
mod environment;
mod evaluate;
mod expression;
mod layer;
mod layers;
mod lists;
mod locate;
mod manifests;
mod object;
mod print;
pub mod render;
mod scan;
mod shape;
mod template;
mod text_fields;

pub use cache::{LayerCache, LayerStore};
pub use canonical::{canonical_bytes, layer_digest, object_digest, release_digest};
pub use compile::{ProfileAt, Request, collisions, compile, explore, lint};
pub use expression::References;
pub use manifests::RENDERER;
pub use object::ANNOTATIONS;
pub use print::{object_to_yaml, redact, to_yaml};

#[cfg(test)]
mod tests;

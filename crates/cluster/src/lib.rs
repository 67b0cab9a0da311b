//! One worker a cluster: connect, observe, apply, prune, health, ledger, heal.
//!
//! In: [`Assignment`](fairlead_core::model::assignment::Assignment)s and the like, by a [`WorkerHandle`]; releases from a
//! [`ReleaseSource`]; connections from a [`Connector`]. Out: [`Fact`](fairlead_core::model::assignment::Fact)s.
//! Guarantees: an order never blocks its giver, and the newest one pre-empts at once; nothing in memory is needed
//! after a crash; an object that is as it should be costs no request; nothing is deleted that does not carry our
//! own label, and only in the version that was looked at. Assumes one worker a target and instance; a second one
//! is stopped by the ledger's version.
#![allow(clippy::disallowed_methods, reason = "this room talks to clusters; it needs the clock")]

pub mod answers;
pub mod fields;
pub mod health;
pub mod text;

mod api;
mod backoff;
mod brake;
mod causes;
mod claims;
mod clock;
mod coarse;
mod connect;
mod credentials;
mod discovery;
mod error;
mod fleet;
mod lanes;
mod ledger;
mod limit;
mod live;
mod memory;
mod observe;
mod orders;
mod read;
mod session;
mod stamp;
mod take_over;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

pub use brake::Brake;
pub use connect::{Connector, FirstOf, KubeconfigFolder};
pub use credentials::ConnectError;
pub use discovery::Discoveries;
pub use ledger::{Converged, Ledger, LedgerDamage, set_id};
pub use memory::Memory;
pub use observe::ObserveLayer;
pub use observe::RequestObserver;
pub use orders::{
    Ailment, LiveError, LiveView, Other, ReleaseMissing, ReleaseSource, WorkerHandle, WorkerSettings,
};
pub use worker::spawn;

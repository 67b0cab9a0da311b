//! Webhooks in; commit statuses and the plan of a pull request out, through a durable outbox.
//!
//! In: deliveries of a forge (headers and raw bytes), and what the daemon wants said of a commit or a pull
//! request. Out: hints that something changed, records for the store's outbox, requests to the forge's API.
//!
//! Guarantees: nothing of a delivery is parsed before its signature, over the raw bytes and compared in constant
//! time, is known to be good; what is said is saved before it is sent, and sent again until the forge has it or
//! says that it never will; of each (commit, context) only the newest is sent, and only when it differs from what
//! was sent last; a forge that is down, slow or short of patience delays nothing but its own reports. No secret
//! stands in an error, a log line or the store.
//!
//! Assumes: a delivery is a hint, never the truth: content comes from Git. Texts come in redacted.
//!
//! A new forge is one file beside `kinds/gitea.rs`, `kinds/github.rs` and `kinds/gitlab.rs` that implements
//! `api::Forge`, and its name in the list in `kinds/mod.rs`. No other file knows one forge from another; a test holds
//! the room to that.
#![allow(clippy::disallowed_methods, reason = "an IO room: looks at the clock")]

mod address;
mod api;
mod budget;
mod client;
mod comment;
mod credential;
mod error;
mod findings;
mod hook;
mod http;
mod kinds;
mod reports;
mod secret;
mod sender;
mod settings;
mod status;
mod webhook;

pub use api::{HookGuide, NewPull, Pull};
pub use client::Client;
pub use comment::CommentRecord;
pub use error::ForgeError;
pub use findings::FindingsRecord;
pub use hook::{HookAdvice, Put};
pub use kinds::ForgeKind;
pub use reports::Reports;
pub use sender::Sender;
pub use settings::{ForgeSettings, GitHubApp};
pub use status::Status;
pub use webhook::{Hint, Receiver, Refused, Watched};

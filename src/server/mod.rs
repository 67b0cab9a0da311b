//! HTTP: API, webhooks, metrics, health.
//!
//! In: requests over TCP and over a Unix socket; the daemon's view. Out: the view as JSON and as events; [`Order`]s to
//! the daemon, each with the name of a person.
//!
//! Guarantees: on loopback whoever is on the machine may read, and nobody changes anything without a token or the
//! socket; on any other address everything but `/healthz`, `/openapi.json`, the bare answer of `/readyz` and
//! webhooks (which are signed) needs a token, and without a token file the server does not start. A web page that a user of this machine visits can't use
//! it (the Host header is checked against DNS rebinding; commands are JSON, which needs CORS's leave, which is never
//! given). A webhook's body is bounded before anything looks at it, and answered before anything is done about it. A
//! peer that is slow, silent or takes no answer is cut off; a new connection always finds a place, whatever those without
//! a token do; the number of open event streams is bounded; nobody waits on a slow reader. Every route is in the document
//! at `/openapi.json`. Ends in under 5 s when told to, event streams open or not.
//!
//! Assumes: a private state folder. TCP is not encrypted: beyond loopback, put a TLS proxy in front of it.
#![allow(clippy::disallowed_methods, reason = "an IO room: looks at the clock")]

mod access;
mod api;
mod command;
mod commands;
mod events;
mod listen;
mod metrics;
mod openapi;
mod pages;
mod patience;
mod places;
mod problem;
mod settings;
mod tokens;
mod view;
mod webhooks;

pub use api::{Parts, ReadyView};
pub use command::{Caller, Command, Done, Emergency, Order, Orders, PlanQuestion, Questions, Refusal, Via};
pub use commands::{AcceptBody, ApproveBody, ReasonBody, TargetBody};
pub use listen::{Server, ServerError};
pub use metrics::{FetchResult, Metrics};
pub use problem::Problem;
pub use settings::{DEFAULT_LISTEN, Settings};
pub use tokens::TokenFileError;
pub use view::{
    AuditView, CauseView, ExplainFleet, ExplainView, FailureView, FleetStatus, FleetView, HistoryView, Need,
    NotReady, ProfilesView, Publisher, PullView, ReleaseView, RepositoryView, RolloutView, StatusView,
    StopView, TargetView, Views,
};
pub use webhooks::{Delivery, Webhooks};

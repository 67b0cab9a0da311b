//! A real Gitea, as the tests have it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared with the tests, which may fail loudly"
)]

#[path = "../../tests/it/forge/gitea.rs"]
pub mod gitea;
#[path = "../../tests/it/forge/http.rs"]
pub mod http;

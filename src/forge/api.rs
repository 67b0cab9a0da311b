//! What a forge must be able to do: the one trait that a new forge implements. Only shapes, no IO.

use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::Value;

use super::status::Status;
use crate::model::digest::CommitId;

/// A request to a forge's API.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub method: Method,
    /// Below the API's address, with a leading slash.
    pub path: String,
    pub body: Option<Value>,
}

impl Call {
    pub fn get(path: String) -> Self {
        Self { method: Method::GET, path, body: None }
    }

    pub fn send(method: Method, path: String, body: Value) -> Self {
        Self { method, path, body: Some(body) }
    }
}

/// An answer of a forge's API.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the forge says is wrong, for people.
    pub fn message(&self) -> String {
        let text = match &self.body["message"] {
            Value::String(text) => text.clone(),
            Value::Null => self.body["error"].as_str().unwrap_or_default().to_owned(),
            other => other.to_string(),
        };
        format!("HTTP {} {text}", self.status).trim_end().to_owned()
    }
}

/// What an answer to a write means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// The forge will not take this, however often it is sent.
    Never(String),
    /// Not now. `everything`: it is no use to send anything else before.
    Later {
        after: Option<Duration>,
        everything: bool,
        reason: String,
    },
}

/// A pull request, or a merge request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    pub number: u64,
    pub head: CommitId,
    /// The branch that it asks to be merged into.
    pub base: String,
    pub open: bool,
    /// The commit on the base branch, once it is merged.
    pub merged: Option<CommitId>,
}

/// A comment on a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    pub id: u64,
    pub author: String,
    pub body: String,
}

/// A pull request to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPull {
    pub head: String,
    pub base: String,
    pub title: String,
    pub body: String,
}

/// The shapes of one forge's API. Everything that differs between forges is in here.
pub trait Api: Send + Sync + 'static {
    /// The API's address, of a forge whose pages are at `https://<authority>`.
    fn base(&self, authority: &str) -> String;
    /// Name and value of the header that carries the token.
    fn authorization(&self, token: &str) -> (&'static str, String);
    /// Headers that every request has.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// Between two writes.
    fn spacing(&self) -> Duration {
        Duration::ZERO
    }
    /// Longest comment, in characters.
    fn max_comment(&self) -> usize {
        65_536
    }
    /// The ref under which a pull request's head can be fetched from the repository that it asks.
    fn pull_ref(&self, number: u64) -> String;

    fn set_status(&self, status: &Status) -> Call;
    /// What an answer to a write means where this forge has words of its own; none: what HTTP says.
    fn judge(&self, reply: &Reply) -> Option<Verdict>;

    fn open_pulls(&self, page: u32) -> Call;
    fn pull(&self, number: u64) -> Call;
    fn read_pull(&self, value: &Value) -> Option<Pull>;
    fn new_pull(&self, pull: &NewPull) -> Call;

    /// Asks who the credential is; none: it is nobody who could ask, and a comment's marker alone tells whose it is.
    fn myself(&self) -> Option<Call>;
    fn read_myself(&self, value: &Value) -> Option<String>;
    fn comments(&self, pull: u64, page: u32) -> Call;
    fn read_comment(&self, value: &Value) -> Option<Comment>;
    fn add_comment(&self, pull: u64, body: &str) -> Call;
    fn edit_comment(&self, pull: u64, comment: u64, body: &str) -> Call;

    fn add_webhook(&self, url: &str, secret: &str) -> Call;
}

/// A path's segment out of a text that may hold anything.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

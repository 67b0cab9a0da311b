//! What a forge must be able to do: the one trait that a new forge implements. Only shapes, no IO: how deliveries are
//! signed and read, and which requests say what.

use std::borrow::Cow;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use percent_encoding::percent_decode;
use serde_json::Value;

use super::ForgeError;
use super::findings::FindingsRecord;
use super::status::Status;
use fairlead_core::model::digest::CommitId;

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
    /// What was asked: the method, and the URL without its query.
    pub asked: String,
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the forge says is wrong.
    pub fn said(&self) -> String {
        let text = match &self.body["message"] {
            Value::String(text) => text.clone(),
            Value::Null => self.body["error"].as_str().unwrap_or_default().to_owned(),
            other => other.to_string(),
        };
        format!("HTTP {} {}", self.status, clean(&text)).trim_end().to_owned()
    }

    /// The same for people: with what was asked and, where the settings may be wrong, what to look at.
    pub fn message(&self) -> String {
        let look = match self.status {
            300..=399 => "; it redirects, which is not followed: is forge.url right?",
            401 => "; is the token whole, and not expired?",
            403 => "; may the token do this?",
            404 => "; are forge.url and forge.repository right, and may the token see it?",
            _ => "",
        };
        format!("{}: {}{look}", self.asked, self.said())
    }

    pub(super) fn refused(&self) -> ForgeError {
        ForgeError::Refused { status: self.status, message: self.message() }
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
    /// Who opened it; empty where the forge does not say.
    pub author: String,
    /// The branch that it is on, maybe of a fork.
    pub branch: String,
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

/// A webhook as the forge should have it.
pub struct NewHook<'h> {
    pub url: &'h str,
    pub secret: &'h str,
}

/// A webhook that the forge has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub id: String,
    pub url: String,
}

/// Where a person adds a webhook, and what there is to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookGuide {
    /// The page, below the repository's.
    pub page: &'static str,
    /// What to click there.
    pub clicks: &'static str,
    /// The field that takes the secret.
    pub secret: &'static str,
    /// The content type, where it can be chosen.
    pub content_type: Option<&'static str>,
    pub events: &'static str,
    /// What a token needs that may create webhooks.
    pub rights: &'static str,
}

/// A delivery of a webhook, of which nothing is known to be true yet.
#[derive(Clone, Copy)]
pub struct Delivery<'d> {
    pub headers: &'d HeaderMap,
    /// As it came over the wire.
    pub body: &'d [u8],
    pub now: Timestamp,
}

impl Delivery<'_> {
    /// The body; of a form (`application/x-www-form-urlencoded`) its field `payload`.
    pub fn json(&self) -> Cow<'_, [u8]> {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Cow::Borrowed(self.body);
        }
        let fields = self.body.split(|byte| *byte == b'&');
        let payload = fields.filter_map(|field| field.strip_prefix(b"payload=")).next();
        let spaced: Vec<u8> =
            payload.unwrap_or_default().iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        Cow::Owned(percent_decode(&spaced).collect())
    }
}

/// The repository that a delivery is about, as it names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// `owner/name`
    pub name: Option<String>,
    /// Its addresses, under whatever host and scheme.
    pub addresses: Vec<String>,
}

impl Named {
    pub fn new<const N: usize>(name: Option<String>, addresses: [Option<String>; N]) -> Self {
        Self { name, addresses: addresses.into_iter().flatten().collect() }
    }
}

/// What a delivery says, whatever the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Push {
        repository: Named,
        reference: String,
        after: Option<String>,
    },
    Pull {
        repository: Named,
        number: u64,
    },
    /// Something that concerns nobody here; its body is not even read.
    Other,
}

/// One forge: everything that differs between forges. It knows no address and keeps nothing; `repository` is
/// `owner/name`, as the settings have it.
pub trait Forge: Send + Sync + 'static {
    // --- What it sends.

    /// Whether a delivery is signed with the secret. Must compare in constant time, and parse nothing of the body.
    fn is_signed(&self, secret: &str, delivery: Delivery<'_>) -> bool;
    /// The headers that number deliveries; the same again when one is sent again.
    fn numbers(&self) -> &'static [&'static str];
    /// Reads a delivery whose signature is good.
    ///
    /// # Errors
    /// What is malformed, for the sender's log.
    fn read(&self, delivery: Delivery<'_>) -> Result<Event, String>;
    fn hook_guide(&self) -> HookGuide;

    // --- How it is asked.

    /// The host of its pages, of one that Git is reached at under another name.
    fn pages_host<'h>(&self, host: &'h str) -> &'h str {
        host
    }
    /// Parts of a repository's name, where it is always the same: what stands before them in an address is where the
    /// forge is on its host.
    fn name_parts(&self) -> Option<usize> {
        Some(2)
    }
    /// The API's address, of a forge whose pages are at `pages`, e.g. `https://example.com/gitea`.
    fn base(&self, pages: &str) -> String;
    /// What [`Self::base`] adds, at most.
    fn base_path(&self) -> &'static str;
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
    /// The items of a list's page.
    fn items<'v>(&self, page: &'v Value) -> Option<&'v Vec<Value>> {
        page.as_array()
    }

    // --- Commits.

    fn set_status(&self, repository: &str, status: &Status) -> Call;
    /// What an answer to a write means where this forge has words of its own; none: what HTTP says.
    fn judge(&self, _: &Reply) -> Option<Verdict> {
        None
    }
    /// Findings at their lines, where the forge takes them from such a credential; none: the comment alone has them.
    fn annotate(&self, _repository: &str, _findings: &FindingsRecord, _app: bool) -> Option<Call> {
        None
    }

    // --- Pull requests.

    /// The ref under which a pull request's head can be fetched from the repository that it asks.
    fn pull_ref(&self, pull: &Pull) -> String;
    fn open_pulls(&self, repository: &str, page: u32) -> Call;
    fn pull(&self, repository: &str, number: u64) -> Call;
    fn read_pull(&self, value: &Value) -> Option<Pull>;
    fn new_pull(&self, repository: &str, pull: &NewPull) -> Call;
    /// The address of a pull request's page.
    fn read_link(&self, value: &Value) -> Option<String>;

    // --- Comments.

    /// Longest comment, in characters.
    fn max_comment(&self) -> usize {
        65_536
    }
    /// Asks who the credential is.
    fn myself(&self) -> Call {
        Call::get("/user".to_owned())
    }
    fn read_myself(&self, value: &Value) -> Option<String>;
    fn comments(&self, repository: &str, pull: u64, page: u32) -> Call;
    fn read_comment(&self, value: &Value) -> Option<Comment>;
    fn add_comment(&self, repository: &str, pull: u64, body: &str) -> Call;
    fn edit_comment(&self, repository: &str, pull: u64, comment: u64, body: &str) -> Call;

    // --- Webhooks.

    fn hooks(&self, repository: &str, page: u32) -> Call;
    fn read_hook(&self, value: &Value) -> Option<Hook>;
    /// Makes a webhook, or changes the one that is there.
    fn set_hook(&self, repository: &str, known: Option<&str>, hook: &NewHook<'_>) -> Call;
}

/// A forge's words on one line, not too long.
fn clean(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

/// A path's segment out of a text that may hold anything.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

//! What an API server's answers mean for the work at hand.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::answers::{Class, Rule, Verb, Verdict, classify};
use super::fields::{FieldConflict, conflicts};
use super::read;
use super::text::{chain, clean};
use fairlead_core::model::object::ObjectKey;

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request, or its answer, did not get through; whether it took effect is unknown.
    #[error("cannot reach the API server")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("{0}")]
    Status(Box<Status>),
    #[error("an answer that can't be read")]
    Decode(#[source] serde_json::Error),
    #[error("an answer larger than {}", size(*.0))]
    TooLarge(usize),
    #[error("a list of more than {0} items, or one without an end")]
    TooMany(usize),
    #[error("not a valid request")]
    Request(#[from] http::Error),
    /// Not sent: an emergency stop stands.
    #[error("every write is stopped")]
    Stopped,
}

/// A limit in words.
fn size(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{bytes} bytes") } else { format!("{} MiB", bytes >> 20) }
}

/// A refusal as the API server words it (`meta/v1 Status`). Its texts are untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.line())]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// What the request was.
    pub verb: Verb,
    /// Whether the body was a `Status`, and not the text or page of something else.
    pub is_status: bool,
    pub reason: String,
    pub message: String,
    /// What `details` names: the kind of the thing that is missing or refused.
    pub details_kind: String,
    pub causes: Vec<StatusCause>,
    pub conflicts: Vec<FieldConflict>,
    /// From the header `Retry-After`, or `details.retryAfterSeconds`.
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusCause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawStatus {
    kind: String,
    reason: Option<String>,
    message: Option<String>,
    details: Option<RawDetails>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawDetails {
    kind: Option<String>,
    #[serde(deserialize_with = "first_causes")]
    causes: Vec<StatusCause>,
    retry_after_seconds: Option<u64>,
}

/// Causes of a refusal that are read.
const MAX_CAUSES: usize = 1_000;

fn first_causes<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<StatusCause>, D::Error> {
    read::first(reader, MAX_CAUSES)
}

impl Status {
    /// Reads the body of an answer that is not a success; one that is no `Status` (a proxy's page) is taken as
    /// text.
    pub fn read(code: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        match serde_json::from_slice::<RawStatus>(body) {
            Ok(raw) if raw.kind == "Status" => {
                let details = raw.details.unwrap_or_default();
                let causes = details.causes;
                Self {
                    code,
                    verb: Verb::default(),
                    is_status: true,
                    reason: raw.reason.unwrap_or_default(),
                    message: raw.message.unwrap_or_default(),
                    details_kind: details.kind.unwrap_or_default(),
                    conflicts: conflicts(&serde_json::json!({"details": {"causes": causes}})),
                    causes,
                    retry_after: retry_after
                        .or(details.retry_after_seconds.filter(|s| *s > 0).map(Duration::from_secs)),
                }
            }
            _ => {
                let message = String::from_utf8_lossy(&body[..body.len().min(2_048)]).into_owned();
                Self { code, message, retry_after, ..Self::default() }
            }
        }
    }

    pub(super) fn says(&self, words: &str) -> bool {
        self.message.contains(words) || self.causes.iter().any(|c| c.message.contains(words))
    }

    pub(super) fn has_cause(&self, reason: &str) -> bool {
        self.causes.iter().any(|c| c.reason == reason)
    }
}

/// What a failed request means for the object that it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// It does not exist, or something that it refers to.
    NotFound,
    /// The server has no such resource: discovery is out of date, or a CRD is not established yet.
    NoSuchResource,
    /// Its namespace does not exist.
    NamespaceMissing,
    /// Its namespace is being deleted.
    NamespaceTerminating,
    /// Others own fields that we want to set.
    Conflict(Vec<FieldConflict>),
    /// It is not the version that we meant any more; or it exists already.
    Stale,
    /// A resourceVersion that the server has forgotten.
    Expired,
    /// The server will not take this object, however often it is asked.
    Refused(String),
    /// A field that can't be changed.
    Immutable(String),
    /// A person has to change something in the cluster: what the server says, and what to do.
    NotAllowed(String, &'static str),
    /// The cluster's own trouble.
    Stalled { reason: String, retry_after: Option<Duration> },
    /// The connection's trouble.
    Unreachable(String),
    /// Our credentials are not accepted.
    Unauthorized,
    /// It was not sent, because of an emergency stop.
    Stopped,
}

impl ApiError {
    /// What this means for `object`, which the request was about.
    pub fn meaning(&self, object: &ObjectKey) -> Meaning {
        match self {
            Self::Transport(_) | Self::Timeout(_) => Meaning::Unreachable(chain(self)),
            Self::Stopped => Meaning::Stopped,
            Self::Decode(_) | Self::TooLarge(_) | Self::TooMany(_) => {
                Meaning::Stalled { reason: chain(self), retry_after: None }
            }
            Self::Request(_) => Meaning::Refused(chain(self)),
            Self::Status(status) => status.meaning(object),
        }
    }

    fn is(&self, classes: &[Class]) -> bool {
        matches!(self, Self::Status(status) if classes.contains(&status.rule().class))
    }

    pub fn is_not_found(&self) -> bool {
        use Class::{NamespaceMissing, NoSuchResource, NotFound};
        self.is(&[NotFound, NoSuchResource, NamespaceMissing])
    }

    /// Whether the object does not exist. A server that does not know the resource in this version says nothing of
    /// the object, and what is refused at admission with this code does not, either.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Status(status) if status.code == 404)
            && self.is(&[Class::NotFound, Class::NamespaceMissing])
    }

    /// Whether the server does not know the resource, as when a version is not served any more.
    pub fn is_no_such_resource(&self) -> bool {
        self.is(&[Class::NoSuchResource])
    }

    /// Whether an object can't be made because the definition of its kind is being deleted.
    pub fn of_terminating_kind(&self) -> bool {
        self.is(&[Class::KindTerminating])
    }

    /// Whether another object may have to change before this one can be written.
    pub fn at_admission(&self) -> bool {
        matches!(self, Self::Status(status) if status.rule().at_admission)
    }

    pub fn is_forbidden(&self) -> bool {
        matches!(self, ApiError::Status(status) if status.code == 403)
    }

    pub fn is_conflict(&self) -> bool {
        self.is(&[Class::Stale, Class::FieldConflict])
    }

    /// Whether the version that was asked for is forgotten.
    pub fn is_expired(&self) -> bool {
        self.is(&[Class::Expired])
    }

    /// Whether the connection itself is in doubt.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Transport(_) | Self::Timeout(_))
    }

    /// Whether it was not sent, because of an emergency stop.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }

    pub fn is_unauthorized(&self) -> bool {
        self.is(&[Class::Unauthorized])
    }

    /// Whether the server as a whole asks to slow down, and for how long.
    pub fn throttled(&self) -> Option<Option<Duration>> {
        match self {
            Self::Status(status) if status.rule().class == Class::Throttled => Some(status.retry_after),
            _ => None,
        }
    }

    /// What the server says of `object`.
    pub fn describe(&self, object: &ObjectKey) -> String {
        match self {
            Self::Status(status) => status.describe(object),
            other => chain(other),
        }
    }

    /// What it means when one object is answered so again and again while others are written, and what a person
    /// can do then.
    pub fn repeated(&self) -> (Verdict, &'static str) {
        match self {
            Self::Status(status) => (status.rule().repeated, status.rule().advice),
            Self::Decode(_) | Self::TooLarge(_) | Self::TooMany(_) => {
                (Verdict::Person, "look at what serves this kind")
            }
            _ => (Verdict::Again, ""),
        }
    }
}

impl Status {
    /// The verb of the request that was answered so.
    #[must_use]
    pub fn to(mut self, verb: Verb) -> Self {
        self.verb = verb;
        self
    }

    pub fn rule(&self) -> &'static Rule {
        classify(self)
    }

    fn meaning(&self, object: &ObjectKey) -> Meaning {
        let rule = self.rule();
        match rule.class {
            Class::Refused => Meaning::Refused(self.describe(object)),
            Class::Immutable => Meaning::Immutable(self.describe(object)),
            Class::FieldConflict => Meaning::Conflict(self.conflicts.clone()),
            Class::NotAllowed => Meaning::NotAllowed(self.describe(object), rule.advice),
            // A Namespace that is not there is no namespace that an object lacks.
            Class::NamespaceMissing if object.is("", "Namespace") => Meaning::NotFound,
            Class::NamespaceMissing => Meaning::NamespaceMissing,
            Class::NamespaceTerminating => Meaning::NamespaceTerminating,
            Class::NotFound => Meaning::NotFound,
            Class::NoSuchResource => Meaning::NoSuchResource,
            Class::Stale => Meaning::Stale,
            Class::Expired => Meaning::Expired,
            Class::Unauthorized => Meaning::Unauthorized,
            Class::Throttled | Class::Trouble | Class::KindTerminating => {
                Meaning::Stalled { reason: self.describe(object), retry_after: self.retry_after }
            }
        }
    }

    /// Code, reason and message in one line.
    fn line(&self) -> String {
        let reason = if self.reason.is_empty() { String::new() } else { format!(" {}", clean(&self.reason)) };
        format!("{}{reason}: {}", self.code, clean(&self.words()))
    }

    /// The message without what repeats the object, and without what is no text for people.
    fn words(&self) -> String {
        without_go(&self.raw_words())
    }

    fn raw_words(&self) -> String {
        if !self.is_status && self.message.trim_start().starts_with('<') {
            let title = between(&self.message, "<title>", "</title>").unwrap_or("no title");
            return format!("a web page was answered ({}: {title})", self.code);
        }
        let message = without_prefix(&self.message);
        if message.is_empty() { format!("{} {}", self.code, self.reason) } else { message.to_owned() }
    }

    /// The refusal in words. An answer about a Secret may repeat its values: then only the fields and, of a
    /// webhook's refusal, its name are said.
    pub fn describe(&self, object: &ObjectKey) -> String {
        if !object.is("", "Secret") {
            return clean(&self.words());
        }
        if let Some(webhook) = webhook_name(&self.message) {
            let what = if self.rule().class == Class::Trouble { "can't be called" } else { "denied it" };
            return format!("admission webhook {webhook} {what} (its words are not shown for a Secret)");
        }
        let causes = self.causes.iter().map(|cause| cause.field.as_str());
        let fields: Vec<_> =
            causes.chain(typed_paths(&self.message)).map(field_path).filter(|f| !f.is_empty()).collect();
        let reason = if self.reason.is_empty() { "refused".to_owned() } else { clean(&self.reason) };
        if fields.is_empty() {
            format!("{reason} ({})", self.code)
        } else {
            format!("{reason} ({}) at {}", self.code, fields.join(", "))
        }
    }
}

/// The name in `admission webhook "x" denied the request: ...`; nothing but a DNS name passes.
fn webhook_name(message: &str) -> Option<&str> {
    let name = message.split_once("webhook \"")?.1.split('"').next()?;
    let dns = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    (!name.is_empty() && name.len() <= 253 && name.bytes().all(dns)).then_some(name)
}

/// `failed to create typed patch object (<namespace>/<name>; <version>, Kind=<kind>): <what>` as just what: the
/// object is named beside it.
fn without_prefix(message: &str) -> &str {
    let typed = message.strip_prefix("failed to create typed ");
    let what = typed.and_then(|rest| rest.split_once("): ")).map(|(_, what)| what.trim());
    what.map_or(message, |what| what.strip_prefix("errors:").map_or(what, str::trim))
}

/// How Go prints a value that it has no words for, and the end of it: the value is what stands between.
const GO_VALUES: [(&str, char); 2] = [("&value.valueUnstructured{Value:", '}'), ("&{", '}')];
/// Longest value that is repeated, in characters.
const MAX_VALUE: usize = 60;

/// A message in which values stand as values, not as Go prints the types that hold them.
fn without_go(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    loop {
        let found = GO_VALUES.iter().filter_map(|(start, end)| Some((rest.find(start)?, *start, *end)));
        let Some((at, start, end)) = found.min_by_key(|(at, ..)| *at) else { break };
        let inside = &rest[at + start.len()..];
        let Some(length) = closed(inside, end) else { break };
        out.push_str(&rest[..at]);
        let value = inside[..length].trim();
        out.extend(value.chars().take(MAX_VALUE));
        if value.chars().count() > MAX_VALUE {
            out.push('…');
        }
        rest = &inside[length + end.len_utf8()..];
    }
    out + rest
}

/// How far it is to the bracket that closes one that is open already.
fn closed(text: &str, end: char) -> Option<usize> {
    let mut open = 1_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            _ if c == end => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

/// The paths of fields in a message of the server's types: each line begins with one.
fn typed_paths(message: &str) -> impl Iterator<Item = &str> {
    let lines = without_prefix(message).lines().map(str::trim);
    lines.filter_map(|line| line.split_once(": ").map(|(path, _)| path).filter(|path| path.starts_with('.')))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inner, _)| inner)
}

/// A field's path without what could be a value: only characters of paths, and not too long.
fn field_path(field: &str) -> String {
    let path = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '[' | ']' | '-' | '_' | '/');
    field.chars().take_while(path).take(120).collect()
}

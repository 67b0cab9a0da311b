//! What an API server's answers mean for the work at hand.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::fields::{FieldConflict, conflicts};
use super::text::{chain, clean};
use crate::model::object::ObjectKey;

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
    #[error("an answer larger than {0} bytes")]
    TooLarge(usize),
    #[error("not a valid request")]
    Request(#[from] http::Error),
    /// Not sent: an emergency stop stands.
    #[error("every write is stopped")]
    Stopped,
}

/// A refusal as the API server words it (`meta/v1 Status`). Its texts are untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{} {}: {}", .code, clean(.reason), clean(.message))]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    pub reason: String,
    pub message: String,
    /// What `details` names: the kind of the thing that is missing or refused.
    pub details_kind: String,
    pub causes: Vec<StatusCause>,
    pub conflicts: Vec<FieldConflict>,
    /// From the header `Retry-After`, or `details.retryAfterSeconds`.
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
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
    causes: Option<Vec<StatusCause>>,
    retry_after_seconds: Option<u64>,
}

impl Status {
    /// Reads the body of an answer that is not a success; one that is no `Status` (a proxy's page) is taken as
    /// text.
    pub fn read(code: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        match RawStatus::deserialize(&value) {
            Ok(raw) if raw.kind == "Status" => {
                let details = raw.details.unwrap_or_default();
                Self {
                    code,
                    reason: raw.reason.unwrap_or_default(),
                    message: raw.message.unwrap_or_default(),
                    details_kind: details.kind.unwrap_or_default(),
                    causes: details.causes.unwrap_or_default(),
                    conflicts: conflicts(&value),
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

    fn says(&self, words: &str) -> bool {
        self.message.contains(words) || self.causes.iter().any(|c| c.message.contains(words))
    }

    fn has_cause(&self, reason: &str) -> bool {
        self.causes.iter().any(|c| c.reason == reason)
    }
}

/// What a failed request means for the object that it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// It does not exist.
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
    /// The cluster's own trouble.
    Stalled { reason: String, retry_after: Option<Duration> },
    /// The connection's trouble.
    Unreachable(String),
    /// Our credentials are not accepted.
    Unauthorized,
    /// It was not sent, because of an emergency stop.
    Stopped,
}

/// What the API server's validation says about fields that can't change; there is no reason code for it.
const IMMUTABLE: [&str; 5] = [
    "immutable",
    "may not change once set",
    "updates to statefulset spec for fields other than",
    "cannot change roleRef",
    "may not be changed",
];

/// Words of failures of an admission or conversion webhook's *call*, not of its verdict.
const WEBHOOK_CALL: [&str; 3] =
    ["failed calling webhook", "failed to call webhook", "conversion webhook for"];

/// Words of an object that can't be decoded. A server answers an apply of such a one with 500 and no reason.
const UNDECODABLE: [&str; 6] = [
    "illegal base64",
    "cannot unmarshal",
    "error decoding",
    "unable to decode",
    "unable to convert",
    "decoding error",
];

impl ApiError {
    /// What this means for `object`, which the request was about.
    pub fn meaning(&self, object: &ObjectKey) -> Meaning {
        match self {
            Self::Transport(_) | Self::Timeout(_) => Meaning::Unreachable(chain(self)),
            Self::Stopped => Meaning::Stopped,
            Self::Decode(_) | Self::TooLarge(_) => {
                Meaning::Stalled { reason: chain(self), retry_after: None }
            }
            Self::Request(_) => Meaning::Refused(chain(self)),
            Self::Status(status) => status.meaning(object),
        }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status(status) if status.code == 404)
    }

    pub fn is_forbidden(&self) -> bool {
        matches!(self, ApiError::Status(status) if status.code == 403)
    }

    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Status(status) if status.code == 409)
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
        matches!(self, Self::Status(status) if status.code == 401)
    }

    /// Whether the server asks to slow down, and for how long.
    pub fn throttled(&self) -> Option<Option<Duration>> {
        match self {
            Self::Status(status) if status.code == 429 => Some(status.retry_after),
            _ => None,
        }
    }
}

impl Status {
    fn meaning(&self, object: &ObjectKey) -> Meaning {
        if WEBHOOK_CALL.iter().any(|words| self.says(words)) {
            return self.stalled(object);
        }
        match self.code {
            401 => Meaning::Unauthorized,
            500 if UNDECODABLE.iter().any(|words| self.says(words)) => {
                Meaning::Refused(self.describe(object))
            }
            404 if self.details_kind == "namespaces" && !object.is("", "Namespace") => {
                Meaning::NamespaceMissing
            }
            404 if self.reason == "NotFound" && !self.details_kind.is_empty() => Meaning::NotFound,
            404 => Meaning::NoSuchResource,
            403 if self.has_cause("NamespaceTerminating") || self.says("because it is being terminated") => {
                Meaning::NamespaceTerminating
            }
            409 if !self.conflicts.is_empty() => Meaning::Conflict(self.conflicts.clone()),
            409 => Meaning::Stale,
            410 => Meaning::Expired,
            408 | 429 | 500.. => self.stalled(object),
            422 if IMMUTABLE.iter().any(|words| self.says(words)) => {
                Meaning::Immutable(self.describe(object))
            }
            _ => Meaning::Refused(self.describe(object)),
        }
    }

    fn stalled(&self, object: &ObjectKey) -> Meaning {
        Meaning::Stalled { reason: self.describe(object), retry_after: self.retry_after }
    }

    /// The refusal in words. An answer about a Secret may repeat its values: then only the fields and, of a
    /// webhook's refusal, its name are said.
    pub fn describe(&self, object: &ObjectKey) -> String {
        if !object.is("", "Secret") {
            return clean(&self.message);
        }
        if let Some(webhook) = webhook_name(&self.message) {
            return format!("admission webhook {webhook} denied it (its words are not shown for a Secret)");
        }
        let fields: Vec<_> =
            self.causes.iter().map(|c| field_path(&c.field)).filter(|f| !f.is_empty()).collect();
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

/// A field's path without what could be a value: only characters of paths, and not too long.
fn field_path(field: &str) -> String {
    let path = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '[' | ']' | '-' | '_' | '/');
    field.chars().take_while(path).take(120).collect()
}

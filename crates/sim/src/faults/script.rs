//! Faults as a file says them.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::asked::{Asked, Verb};
use fairlead_core::catalog;
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::units::Span;

/// A file of faults.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    pub rules: Vec<Rule>,
}

/// Which requests a fault strikes, and how.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    pub fault: Fault,
    /// Names of clusters; `*` stands for any text. Default: all.
    #[serde(default)]
    pub clusters: Vec<String>,
    /// Default: all that the fault can strike.
    #[serde(default)]
    pub verbs: Vec<Verb>,
    /// The request's path without its query; `*` stands for any text. Default: all.
    #[serde(default)]
    pub path: Option<String>,
    /// So many requests pass before it begins.
    #[serde(default)]
    pub skip: u32,
    /// At most so often. Default: always.
    #[serde(default)]
    pub times: Option<u32>,
    /// Of the requests that it could strike, so many in a hundred. Default: 100.
    #[serde(default = "always")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: u8,
    /// Since the cluster was made.
    #[serde(default)]
    pub from: Option<Wait>,
    #[serde(default)]
    pub until: Option<Wait>,
    /// The delay; what `Retry-After` says; how long a watch lives; when the foreign writer writes.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// Of `error`. Default: 503.
    #[serde(default)]
    #[schemars(range(min = 400, max = 599))]
    pub code: Option<u16>,
    /// Of `admission` and `error`.
    #[serde(default)]
    pub message: Option<String>,
    /// Of `foreignWriter`: the name of its field manager.
    #[serde(default)]
    pub manager: Option<String>,
    /// Of `foreignWriter`: its merge patch.
    #[serde(default)]
    pub patch: Option<Value>,
}

fn always() -> u8 {
    100
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// Requests take between half of `wait` and all of it longer. For a slow cluster: 2s.
    Latency,
    /// 429 with `Retry-After`.
    Throttle,
    /// An answer of the 4xx or 5xx, whose `code` is given.
    Error,
    /// A write takes effect, and its answer is lost.
    LostReply,
    /// Never an answer, on a connection that stays open.
    HalfOpen,
    /// No connection.
    Dead,
    /// A watch ends after `wait`, as if its time were over.
    CloseWatch,
    /// A watch says nothing more after `wait`, and does not end.
    SilentWatch,
    /// A watch's connection breaks after `wait`.
    BreakWatch,
    /// 410: the version is forgotten.
    Gone,
    /// A write is refused by a quota.
    Quota,
    /// A write is refused by an admission webhook.
    Admission,
    /// A write fails, for an admission webhook can't be called.
    WebhookDown,
    /// Workloads that are written never become ready.
    NeverReady,
    /// The containers of workloads that are written crash.
    CrashLoop,
    /// Another writer answers every write with its own.
    ForeignWriter,
    /// One of those that pass by themselves, at random.
    Any,
}

impl Fault {
    pub(super) fn any(verb: Verb, rng: &mut fastrand::Rng) -> Self {
        let of_watches = [Self::CloseWatch, Self::BreakWatch, Self::Gone, Self::Error];
        let of_reads = [Self::Latency, Self::Throttle, Self::Error, Self::Dead];
        let of_writes =
            [Self::Latency, Self::Throttle, Self::Error, Self::LostReply, Self::Dead, Self::WebhookDown];
        let among: &[Self] = match verb {
            Verb::Watch => &of_watches,
            Verb::Get | Verb::List => &of_reads,
            _ => &of_writes,
        };
        among.get(rng.usize(..among.len())).copied().unwrap_or(Self::Latency)
    }
}

/// A duration: `200ms`, or as everywhere else `30s`, `5m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Wait(Duration);

impl Wait {
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub const fn get(self) -> Duration {
        self.0
    }
}

impl std::str::FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let millis =
            text.strip_suffix("ms").and_then(|number| number.parse().ok()).map(Duration::from_millis);
        let span = || text.parse::<Span>().ok().map(Span::get);
        let invalid = || format!("'{text}' is not a duration: write 200ms, 30s, 5m or 1h30m");
        millis.or_else(span).map(Self).ok_or_else(invalid)
    }
}

impl TryFrom<String> for Wait {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Wait> for String {
    fn from(wait: Wait) -> String {
        if wait.0.subsec_millis() == 0 {
            Span::from_secs(wait.0.as_secs()).to_string()
        } else {
            format!("{}ms", wait.0.as_millis())
        }
    }
}

impl JsonSchema for Wait {
    fn schema_name() -> Cow<'static, str> {
        "Wait".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^([0-9]+ms|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$"})
    }
}

/// Why a script can't be used: every mistake with its place.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ScriptError(pub Vec<Diagnostic>);

impl Script {
    /// Reads the content of a file.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, ScriptError> {
        catalog::read_single(file, bytes).map_err(ScriptError)
    }
}

impl Rule {
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            clusters: Vec::new(),
            verbs: Vec::new(),
            path: None,
            skip: 0,
            times: None,
            percent: 100,
            from: None,
            until: None,
            wait: None,
            code: None,
            message: None,
            manager: None,
            patch: None,
        }
    }

    pub(super) fn is_about(&self, cluster: &str) -> bool {
        self.clusters.is_empty() || self.clusters.iter().any(|pattern| matches(pattern, cluster))
    }

    pub(super) fn meets(&self, asked: &Asked, elapsed: Duration) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&asked.verb))
            && self.path.as_deref().is_none_or(|pattern| matches(pattern, &asked.path))
            && self.from.is_none_or(|from| elapsed >= from.get())
            && self.until.is_none_or(|until| elapsed < until.get())
    }
}

/// Whether a text is as a pattern, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    let Some((next, _)) = tail.split_once('*') else { return rest.ends_with(tail) };
    // The first place where the next piece stands leaves the most for what follows.
    rest.find(next).is_some_and(|at| matches(tail, &rest[at..]))
}

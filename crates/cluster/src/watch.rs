//! One list and watch for each kind in use: what happens to our objects.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::api::{Api, Call, LIST_TIMEOUT, METADATA_LIST, METADATA_ONLY};
use super::backoff::{Backoff, jitter};
use super::discovery::{Resource, escape};
use super::error::{ApiError, Status};
use super::health::{Observer, Reduced, needs_whole};
use fairlead_core::model::fleet::IgnoredPath;
use fairlead_core::model::object::{GroupKind, ObjectKey};

/// Objects in one page of a list: of metadata, and whole.
const PAGE: (usize, usize) = (2_000, 1_000);
/// How long the server is asked to keep a watch open; jittered.
const WATCH_FOR: Duration = Duration::from_secs(540);
/// How much later than asked a watch may end before it counts as dead.
const WATCH_GRACE: Duration = Duration::from_secs(30);
/// How long a watch may be silent: servers send a bookmark about every minute.
const SILENCE: Duration = Duration::from_secs(150);
/// What stood shorter than this is not taken up again at once: a server that ends every watch must not be asked in
/// a hot loop.
const STEADY: Duration = Duration::from_secs(10);
/// First and longest wait before something is asked again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Failures in a row after which a watch starts over with a list.
const PATIENCE: u32 = 3;

/// What a watch brings.
#[derive(Debug)]
pub enum News {
    /// All of a kind, as of a version: what is not in it is not there under our label.
    Listed {
        kind: GroupKind,
        found: Vec<Reduced>,
        version: u64,
    },
    Seen(Box<Reduced>),
    /// Gone, or our label was taken off it.
    Gone {
        key: ObjectKey,
        version: u64,
        /// It was a Job that had completed.
        finished: bool,
    },
    /// The kind can't be read: what there is of it is unknown. The watch goes on trying.
    Unread {
        kind: GroupKind,
        error: ApiError,
    },
    /// The server does not know the kind as it is watched: not in this version, or not any more. The watch goes on
    /// trying.
    NotServed {
        kind: GroupKind,
    },
    /// The connection may be gone. The watch goes on trying.
    Broken {
        error: ApiError,
    },
    /// The server asks to be left alone for a while. The watch goes on trying.
    Throttled {
        error: ApiError,
    },
}

/// What to watch.
#[derive(Debug, Clone)]
pub struct Watch {
    pub api: Api,
    pub resource: Resource,
    /// The id of our set.
    pub set: Arc<str>,
    pub manager: Arc<str>,
    pub ignored: Arc<[IgnoredPath]>,
}

/// Why a watch must start over with a list.
enum Stop {
    Relist,
    /// Nobody listens any more.
    Over,
    Failed(ApiError),
}

impl Watch {
    /// Lists and watches until nobody listens any more.
    pub async fn run(self, news: mpsc::Sender<News>) {
        let mut backoff = Backoff::new(AGAIN);
        loop {
            let started = Instant::now();
            let stop = match self.list(&news).await {
                Ok(version) => self.follow(version, &news).await,
                Err(stop) => stop,
            };
            if started.elapsed() >= STEADY {
                backoff.reset();
            }
            let item = match stop {
                Stop::Over => return,
                Stop::Relist => None,
                Stop::Failed(error) => Some(self.failed(error).await),
            };
            if let Some(item) = item
                && news.send(item).await.is_err()
            {
                return;
            }
            tokio::time::sleep(backoff.next_wait()).await;
            self.api.pause().await;
        }
    }

    /// What a failure is about: the connection, the server, or this kind alone.
    async fn failed(&self, error: ApiError) -> News {
        let kind = self.resource.group_kind();
        let whole = error.is_unauthorized() || error.throttled().is_some();
        if error.is_unreachable() {
            News::Broken { error }
        } else if whole && self.answers_others().await {
            News::Unread { kind, error }
        } else if error.throttled().is_some() {
            News::Throttled { error }
        } else if whole {
            News::Broken { error }
        } else if error.is_no_such_resource() {
            News::NotServed { kind: self.resource.group_kind() }
        } else {
            News::Unread { kind, error }
        }
    }

    /// Whether the server takes our credentials and has time for us, if we ask for something else.
    async fn answers_others(&self) -> bool {
        let call = Call::get("/api/v1/namespaces/kube-system").accept(METADATA_ONLY);
        self.api.call_once(call).await.is_ok()
    }

    fn whole(&self) -> bool {
        needs_whole(&self.resource.group_kind())
    }

    fn path(&self, query: &str) -> String {
        let selector = escape(&format!("{}={}", super::ledger::PART_OF, self.set));
        format!("{}?labelSelector={selector}&{query}", self.resource.all())
    }

    fn reduce(&self, object: &Value) -> Option<Reduced> {
        let observer = Observer { manager: &self.manager, set: Some(&self.set), ignored: &self.ignored };
        observer.reduce(&self.resource.group_kind(), object)
    }

    async fn list(&self, news: &mpsc::Sender<News>) -> Result<String, Stop> {
        let (accept, limit) =
            if self.whole() { ("application/json", PAGE.1) } else { (METADATA_LIST, PAGE.0) };
        let mut found = Vec::new();
        let mut token = String::new();
        let version = loop {
            let mut query = format!("limit={limit}");
            if !token.is_empty() {
                query.push_str("&continue=");
                query.push_str(&escape(&token));
            }
            let call = Call::get(self.path(&query)).accept(accept).timeout(LIST_TIMEOUT);
            let page = match self.api.json(call).await {
                Ok(page) => page,
                // The list's version is gone: begin again.
                Err(ApiError::Status(status)) if status.code == 410 && !token.is_empty() => {
                    return Err(Stop::Relist);
                }
                Err(error) => return Err(Stop::Failed(error)),
            };
            found.extend(page["items"].as_array().into_iter().flatten().filter_map(|item| self.reduce(item)));
            token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break page["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
            }
        };
        let listed =
            News::Listed { kind: self.resource.group_kind(), found, version: version_number(&version) };
        news.send(listed).await.map_err(|_| Stop::Over)?;
        Ok(version)
    }

    /// Watches from a version on; a stream that ends is taken up where it ended.
    async fn follow(&self, mut version: String, news: &mpsc::Sender<News>) -> Stop {
        let mut backoff = Backoff::new(AGAIN);
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let ended = self.stream(&mut version, news).await;
            if started.elapsed() >= STEADY {
                backoff.reset();
            }
            match ended {
                Ok(()) if started.elapsed() >= STEADY => {
                    failures = 0;
                    continue;
                }
                Ok(()) => failures = 0,
                Err(Stop::Failed(error)) if error.throttled().is_some() => self.api.pause().await,
                Err(Stop::Failed(error)) if error.is_unreachable() && failures < PATIENCE => {
                    failures += 1;
                    if news.send(News::Broken { error }).await.is_err() {
                        return Stop::Over;
                    }
                }
                Err(stop) => return stop,
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    async fn stream(&self, version: &mut String, news: &mpsc::Sender<News>) -> Result<(), Stop> {
        let asked = jitter(WATCH_FOR);
        let query = format!(
            "watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            escape(version),
            asked.as_secs()
        );
        let accept = if self.whole() { "application/json" } else { METADATA_ONLY };
        let call = Call::get(self.path(&query)).accept(accept);
        let lines = self.api.lines(call).await.map_err(|error| match error {
            ApiError::Status(status) if status.code == 410 => Stop::Relist,
            error => Stop::Failed(error),
        })?;
        let mut lines = std::pin::pin!(lines);
        let end = Instant::now() + asked + WATCH_GRACE;
        loop {
            let until = end.min(Instant::now() + SILENCE);
            // A stream that neither speaks nor ends is as good as gone: take it up anew.
            let Ok(line) = tokio::time::timeout_at(until, lines.next()).await else { return Ok(()) };
            let Some(line) = line else { return Ok(()) };
            let event: Value = serde_json::from_slice(&line.map_err(Stop::Failed)?)
                .map_err(|error| Stop::Failed(ApiError::Decode(error)))?;
            self.event(&event, version, news).await?;
        }
    }

    async fn event(
        &self,
        event: &Value,
        version: &mut String,
        news: &mpsc::Sender<News>,
    ) -> Result<(), Stop> {
        let object = &event["object"];
        let kind = event["type"].as_str().unwrap_or_default();
        if kind == "ERROR" {
            let code = object["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
            if code == 410 {
                return Err(Stop::Relist);
            }
            let status = Status::read(code, None, object.to_string().as_bytes());
            return Err(Stop::Failed(ApiError::Status(Box::new(status))));
        }
        if let Some(at) = object["metadata"]["resourceVersion"].as_str() {
            at.clone_into(version);
        }
        // Bookmarks are nearly all that an idle fleet hears, and tell nothing more than the version.
        if !matches!(kind, "ADDED" | "MODIFIED" | "DELETED") {
            return Ok(());
        }
        let Some(reduced) = self.reduce(object) else { return Ok(()) };
        let item = match kind {
            "DELETED" => News::Gone {
                key: reduced.key,
                version: version_number(version),
                finished: reduced.object.finished,
            },
            _ => News::Seen(Box::new(reduced)),
        };
        news.send(item).await.map_err(|_| Stop::Over)
    }
}

/// Versions of the built-in storage are numbers that grow over all objects; others can't be compared and are 0.
pub fn version_number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

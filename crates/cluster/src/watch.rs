//! One list and watch for each kind in use: what happens to our objects.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::api::{Api, Call, METADATA_LIST, METADATA_ONLY, usable};
use super::backoff::{Backoff, jitter};
use super::discovery::{Resource, escape};
use super::error::{ApiError, Status};
use super::health::{Observer, Reduced, needs_whole};
use super::memory::{Room, Taken};
use super::read;
use fairlead_core::model::fleet::IgnoredPath;
use fairlead_core::model::object::{GroupKind, ObjectKey};

/// Bytes of events that are read at once, and then in a second: nobody's objects change faster for long.
const BURST: usize = 64 << 20;
const RATE: usize = 8 << 20;
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
        /// The server went back to an older state: versions that were seen before say nothing any more.
        went_back: bool,
        /// The room that it takes until it is heard.
        _room: Taken,
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
    /// What lists may bring.
    pub room: Arc<Room>,
}

/// How much of a watch may be read now.
struct Pace {
    left: usize,
    since: Instant,
}

impl Pace {
    fn new(since: Instant) -> Self {
        Self { left: BURST, since }
    }

    /// Waits until so many bytes may be worked on.
    async fn take(&mut self, bytes: usize) {
        let second = Duration::from_secs(1);
        if self.left < bytes {
            tokio::time::sleep_until(self.since + second).await;
        }
        let seconds = usize::try_from(self.since.elapsed().as_secs()).unwrap_or(usize::MAX);
        if seconds > 0 {
            self.left = self.left.saturating_add(RATE.saturating_mul(seconds)).min(BURST);
            self.since = Instant::now();
        }
        self.left = self.left.saturating_sub(bytes);
    }
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
        let mut newest = 0;
        loop {
            let started = Instant::now();
            let stop = match self.list(newest, &news).await {
                Ok(mut version) => {
                    newest = version_number(&version);
                    let stop = self.follow(&mut version, &news).await;
                    newest = newest.max(version_number(&version));
                    stop
                }
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

    /// Lists the kind; `newest` is the newest version that was heard before.
    async fn list(&self, newest: u64, news: &mpsc::Sender<News>) -> Result<String, Stop> {
        let accept = if self.whole() { "application/json" } else { METADATA_LIST };
        let selector = escape(&format!("{}={}", super::ledger::PART_OF, self.set));
        let path = format!("{}?labelSelector={selector}", self.resource.all());
        let (mut found, mut room) = (Vec::new(), self.room.begin());
        let take = |item: Value| {
            let Some(reduced) = self.reduce(&item) else { return true };
            let fits = room.take(reduced.units());
            found.push(reduced);
            fits
        };
        let version = match self.api.list(&path, accept, self.room.most(), take).await {
            Ok(version) => version,
            // The list's version is gone: begin again.
            Err(error) if error.is_expired() => return Err(Stop::Relist),
            Err(error) => return Err(Stop::Failed(error)),
        };
        let number = version_number(&version);
        let went_back = 0 < number && number < newest;
        let kind = self.resource.group_kind();
        if went_back {
            tracing::warn!(%kind, number, newest, "the API server went back to an older version");
        }
        let listed = News::Listed { kind, found, version: number, went_back, _room: room };
        news.send(listed).await.map_err(|_| Stop::Over)?;
        Ok(version)
    }

    /// Watches from a version on; a stream that ends is taken up where it ended.
    async fn follow(&self, version: &mut String, news: &mpsc::Sender<News>) -> Stop {
        let mut backoff = Backoff::new(AGAIN);
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let ended = self.stream(version, news).await;
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
        let mut pace = Pace::new(Instant::now());
        loop {
            let until = end.min(Instant::now() + SILENCE);
            // A stream that neither speaks nor ends is as good as gone: take it up anew.
            let Ok(line) = tokio::time::timeout_at(until, lines.next()).await else { return Ok(()) };
            let Some(line) = line else { return Ok(()) };
            let line = line.map_err(Stop::Failed)?;
            pace.take(line.bytes.len()).await;
            let event = read::tree(&line.bytes, read::MAX_TREE);
            let event = event.map_err(|error| Stop::Failed(ApiError::Decode(error)))?;
            // Whoever waits for its memory must not wait for whoever hears the news.
            drop(line);
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
            *version = usable(at.to_owned()).map_err(Stop::Failed)?;
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

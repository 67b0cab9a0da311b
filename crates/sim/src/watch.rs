//! Watches: no task, no timer of their own; a write wakes those that it is about.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::clock::Due;
use super::cluster::{Inner, State};
use super::object::Object;
use super::read::View;
use super::refuse::Refusal;
use super::store::{Event, Forgotten};

/// How often a watch says how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Events in one piece of a body.
const AT_ONCE: usize = 200;

/// The open watches of a cluster.
#[derive(Debug, Default)]
pub struct Watchers {
    open: BTreeMap<u64, Watcher>,
    next: u64,
}

#[derive(Debug)]
struct Watcher {
    resource: Arc<str>,
    waker: Option<Waker>,
    closed: bool,
}

impl Watchers {
    fn add(&mut self, resource: &Arc<str>) -> u64 {
        self.next += 1;
        self.open.insert(self.next, Watcher { resource: Arc::clone(resource), waker: None, closed: false });
        self.next
    }

    /// Something happened to a kind.
    pub fn tell(&mut self, resource: &str) {
        for watcher in self.open.values_mut().filter(|watcher| *watcher.resource == *resource) {
            watcher.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    pub fn wake(&mut self, number: u64) {
        if let Some(watcher) = self.open.get_mut(&number) {
            watcher.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    pub fn wake_all(&mut self) {
        self.open.values_mut().filter_map(|watcher| watcher.waker.take()).for_each(Waker::wake);
    }

    /// Ends all.
    pub fn close(&mut self) {
        self.open.values_mut().for_each(|watcher| watcher.closed = true);
        self.wake_all();
    }

    /// Ends those of a kind that is not served any more.
    pub fn close_kind(&mut self, resource: &str) {
        self.open.values_mut().filter(|w| *w.resource == *resource).for_each(|w| w.closed = true);
        self.tell(resource);
    }
}

/// One watch: the body of its answer.
pub struct Watch {
    cluster: Arc<Inner>,
    number: u64,
    view: View,
    /// The version that was told last.
    position: u64,
    /// What is told first.
    first: VecDeque<Bytes>,
    bookmarks: bool,
    bookmark_at: i64,
    end_at: i64,
    over: bool,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("number", &self.number).finish_non_exhaustive()
    }
}

/// From where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// From what there is now, told as added.
    Now,
    Version(u64),
}

/// What is asked of a watch.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub from: From,
    pub bookmarks: bool,
    /// What there is now is told first, and a bookmark says that it was all.
    pub initial: bool,
    pub timeout: Duration,
}

impl Watch {
    pub fn open(cluster: &Arc<Inner>, state: &mut State, view: View, terms: Terms) -> Self {
        let resource = &view.kind.resource;
        let mut first = VecDeque::new();
        let mut over = false;
        let mut position = state.store.version();
        if terms.from == From::Now || terms.initial {
            let all = state.store.all(resource).filter(|object| view.has_place_for(object));
            let values = all.map(|object| object.value()).filter(|value| view.fits(value));
            first.extend(values.map(|value| line("ADDED", &view.present(value))));
            if terms.initial {
                first.push_back(bookmark(&view, position, true));
            }
        } else if let From::Version(version) = terms.from {
            position = version;
            if !state.store.knows(resource, version) {
                first.push_back(error(&Refusal::too_old(version, state.store.oldest(resource) + 1)));
                over = true;
            }
        }
        let number = state.watchers.add(resource);
        let now = cluster.now_millis();
        let after = |wait: Duration| now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        let watch = Self {
            cluster: Arc::clone(cluster),
            number,
            position,
            first,
            bookmarks: terms.bookmarks,
            bookmark_at: after(BOOKMARK_EVERY),
            end_at: after(terms.timeout),
            over,
            view,
        };
        cluster.later(BOOKMARK_EVERY.min(terms.timeout), Due::Watch(number));
        watch
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(bytes) = self.first.pop_front() {
            return Poll::Ready(Some(bytes));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let cluster = Arc::clone(&self.cluster);
        let mut state = cluster.lock();
        if state.watchers.open.get(&self.number).is_none_or(|watcher| watcher.closed) {
            return Poll::Ready(None);
        }
        self.view.now = cluster.now_millis().div_euclid(1_000);
        match self.news(&state) {
            Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Some(bytes.into())),
            Ok(_) => {}
            Err(Forgotten) => {
                self.over = true;
                let oldest = state.store.oldest(&self.view.kind.resource);
                return Poll::Ready(Some(error(&Refusal::too_old(self.position, oldest + 1))));
            }
        }
        let now = cluster.now_millis();
        if now >= self.end_at {
            self.over = true;
            return Poll::Ready(None);
        }
        let every = i64::try_from(BOOKMARK_EVERY.as_millis()).unwrap_or_default();
        // One that is further away was set by a clock that was set back since.
        if now >= self.bookmark_at || self.bookmark_at - now > every {
            self.bookmark_at = now + every;
            let left = Duration::from_millis((self.end_at - now).unsigned_abs());
            cluster.later(BOOKMARK_EVERY.min(left), Due::Watch(self.number));
            self.position = state.store.version();
            if self.bookmarks {
                return Poll::Ready(Some(bookmark(&self.view, self.position, false)));
            }
        }
        if let Some(watcher) = state.watchers.open.get_mut(&self.number) {
            watcher.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// What happened since, as lines.
    fn news(&mut self, state: &State) -> Result<Vec<u8>, Forgotten> {
        let mut out = Vec::new();
        for event in state.store.since(&self.view.kind.resource, self.position)?.take(AT_ONCE) {
            if let Some(bytes) = self.view.event(event) {
                out.extend_from_slice(&bytes);
            }
            self.position = event.version;
        }
        Ok(out)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cluster.lock().watchers.open.remove(&self.number);
    }
}

impl View {
    /// An event as those see it who look through this view.
    fn event(&self, event: &Event) -> Option<Bytes> {
        let fits = |object: &Option<Arc<Object>>| {
            let object = object.as_ref().filter(|object| self.has_place_for(object))?;
            Some(object.value()).filter(|value| self.fits(value))
        };
        let new = fits(&event.new);
        let had = || {
            if !self.selects() { event.old.is_some() } else { fits(&event.old).is_some() }
        };
        match new {
            Some(new) => {
                let what = if had() { "MODIFIED" } else { "ADDED" };
                Some(line(what, &self.present(new)))
            }
            None => {
                // Gone, or out of sight: told as it was, at the version of the change.
                let mut old = fits(&event.old)?;
                old["metadata"]["resourceVersion"] = json!(event.version.to_string());
                Some(line("DELETED", &self.present(old)))
            }
        }
    }
}

fn line(what: &str, object: &Value) -> Bytes {
    let mut line = format!("{{\"type\":\"{what}\",\"object\":{object}}}");
    line.push('\n');
    line.into()
}

fn error(refusal: &Refusal) -> Bytes {
    line("ERROR", &refusal.to_value())
}

fn bookmark(view: &View, version: u64, initial: bool) -> Bytes {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if initial {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let (kind, api_version) = view.names();
    let mut mark = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
    if kind == "Table" {
        mark["columnDefinitions"] = json!([]);
        mark["rows"] = json!([]);
    }
    line("BOOKMARK", &mark)
}

//! What is known about a fleet's objects in the cluster, from watches and from our own writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::finished::is_job;
use crate::api::{Api, most_of};
use crate::discovery::Resource;
use crate::error::ApiError;
use crate::health::{Reduced, Verdict, needs_whole, units};
use crate::memory::Room;
use crate::text::chain;
use crate::watch::{News, Watch, version_number};
use fairlead_core::model::fleet::IgnoredPath;
use fairlead_core::model::object::{GroupKind, ObjectKey};
use fairlead_core::plan::{HoldUntil, ObservedObject};

/// One object as last seen.
#[derive(Debug, Clone)]
pub struct Seen {
    pub object: ObservedObject,
    pub verdict: Verdict,
}

impl Seen {
    fn units(&self, key: &ObjectKey) -> usize {
        units(key, &self.object, &self.verdict)
    }
}

/// How long a kind is left alone of which a server sent more than may be kept.
const AFTER_TOO_MANY: Duration = Duration::from_secs(300);

/// What changed.
#[derive(Debug)]
pub enum Change {
    /// Look at this object again.
    Object(ObjectKey),
    /// Our watch no longer sees it: it is gone, or was stripped of our label.
    Vanished(ObjectKey),
    /// It is known now that a kind can't be read.
    Unread,
    /// All of a kind is known now; `was_unread`: for the first time since it could not be read.
    Listed { kind: GroupKind, was_unread: bool },
    /// A kind is not served as it is watched.
    NotServed,
    /// The connection may be gone.
    Broken(ApiError),
    /// The server asks to be left alone for a while.
    Throttled(ApiError),
}

/// Watches, and what they saw.
pub struct Eye {
    api: Api,
    set: Arc<str>,
    manager: Arc<str>,
    ignored: Arc<[IgnoredPath]>,
    /// What may be kept, and what lists may bring.
    room: Arc<Room>,
    /// What is kept, in units of the room.
    kept: usize,
    /// A kind went over what may be kept since the news before.
    overran: bool,
    seen: BTreeMap<ObjectKey, Seen>,
    /// Of what was seen, those that a person keeps from being healed until some time.
    glass: BTreeSet<ObjectKey>,
    /// Of what was seen, claims without a volume.
    unbound: BTreeSet<ObjectKey>,
    /// Jobs whose end was seen, and whether they had completed.
    ended: BTreeMap<ObjectKey, bool>,
    listed: BTreeSet<GroupKind>,
    /// Kinds of which nothing is known, and why.
    unread: BTreeMap<GroupKind, String>,
    watches: BTreeMap<GroupKind, (Resource, AbortHandle)>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
}

impl Eye {
    pub fn new(api: Api, set: Arc<str>, manager: &str) -> Self {
        let (sender, news) = mpsc::channel(1_024);
        Self {
            api,
            set,
            manager: Arc::from(manager),
            ignored: Arc::from([]),
            room: Room::new(most_of(0)),
            kept: 0,
            overran: false,
            seen: BTreeMap::new(),
            glass: BTreeSet::new(),
            unbound: BTreeSet::new(),
            ended: BTreeMap::new(),
            listed: BTreeSet::new(),
            unread: BTreeMap::new(),
            watches: BTreeMap::new(),
            tasks: JoinSet::new(),
            sender,
            news,
        }
    }

    /// Watches just these kinds, with these ignored paths. Watches that go on are left alone.
    /// `known` objects are ours or are to be.
    pub fn look_at(&mut self, resources: Vec<Resource>, ignored: &[IgnoredPath], known: usize) {
        self.room.set_most(most_of(known));
        if *self.ignored != *ignored {
            // What was seen was reduced by other rules.
            self.close();
            self.ignored = Arc::from(ignored);
        }
        let wanted: BTreeSet<GroupKind> = resources.iter().map(Resource::group_kind).collect();
        let over: Vec<GroupKind> =
            self.watches.keys().filter(|kind| !wanted.contains(kind)).cloned().collect();
        for kind in over {
            self.stop(&kind);
        }
        for resource in resources {
            self.add(resource);
        }
    }

    /// Watches one more kind.
    pub fn add(&mut self, resource: Resource) {
        let kind = resource.group_kind();
        if !resource.watchable {
            self.unread.insert(kind, "it can't be listed and watched".to_owned());
            return;
        }
        if self.watches.contains_key(&kind) {
            return;
        }
        let handle = self.watch(resource.clone(), Duration::ZERO);
        self.watches.insert(kind, (resource, handle));
    }

    fn watch(&mut self, resource: Resource, wait: Duration) -> AbortHandle {
        let watch = Watch {
            api: self.api.clone(),
            resource,
            set: Arc::clone(&self.set),
            manager: Arc::clone(&self.manager),
            ignored: Arc::clone(&self.ignored),
            room: Arc::clone(&self.room),
        };
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            watch.run(sender).await;
        })
    }

    /// How the kinds are reached that are watched.
    pub fn resources(&self) -> Vec<Resource> {
        self.watches.values().map(|(resource, _)| resource.clone()).collect()
    }

    /// Watches a kind in another version. What was seen of it stands until it is listed there.
    pub fn replace(&mut self, resource: Resource) {
        let kind = resource.group_kind();
        if let Some((_, handle)) = self.watches.remove(&kind) {
            handle.abort();
        }
        self.listed.remove(&kind);
        self.add(resource);
    }

    /// Ends the watch of a kind that the cluster does not serve any more: its objects went with it.
    pub fn end(&mut self, kind: &GroupKind) {
        self.stop(kind);
    }

    /// Whether all of a kind is known.
    pub fn is_listed(&self, kind: &GroupKind) -> bool {
        self.listed.contains(kind) && !self.is_unread(kind)
    }

    fn stop(&mut self, kind: &GroupKind) {
        if let Some((_, handle)) = self.watches.remove(kind) {
            handle.abort();
        }
        self.listed.remove(kind);
        self.unread.remove(kind);
        self.seen.retain(|key, _| !key.is(&kind.group, &kind.kind));
        self.kept = self.seen.iter().map(|(key, seen)| seen.units(key)).sum();
        self.glass.retain(|key| !key.is(&kind.group, &kind.kind));
        self.unbound.retain(|key| !key.is(&kind.group, &kind.kind));
    }

    /// Stops all watches and forgets what they saw.
    pub fn close(&mut self) {
        self.tasks.abort_all();
        self.tasks = JoinSet::new();
        self.watches.clear();
        self.listed.clear();
        self.unread.clear();
        self.seen.clear();
        self.kept = 0;
        self.glass.clear();
        self.unbound.clear();
        // What old watches still had to say is not heard.
        (self.sender, self.news) = mpsc::channel(1_024);
    }

    /// Whether every kind has been listed, or is known not to be readable.
    pub fn is_complete(&self) -> bool {
        self.watches.keys().all(|kind| self.listed.contains(kind) || self.is_unread(kind))
    }

    /// Kinds of which nothing is known, and why.
    pub fn unread(&self) -> &BTreeMap<GroupKind, String> {
        &self.unread
    }

    /// Of these, what was to be watched.
    pub fn unseen(&self) -> impl Iterator<Item = (&GroupKind, &str)> {
        let watched = self.unread.iter().filter(|(kind, _)| self.watches.contains_key(kind));
        watched.map(|(kind, reason)| (kind, reason.as_str()))
    }

    pub fn is_unread(&self, kind: &GroupKind) -> bool {
        self.unread.contains_key(kind)
    }

    pub fn watches(&self, kind: &GroupKind) -> bool {
        self.watches.contains_key(kind)
    }

    pub fn get(&self, key: &ObjectKey) -> Option<&Seen> {
        self.seen.get(key)
    }

    pub fn objects(&self) -> BTreeMap<ObjectKey, ObservedObject> {
        self.seen.iter().map(|(key, seen)| (key.clone(), seen.object.clone())).collect()
    }

    /// Waits for the next news. Safe to drop.
    pub async fn next(&mut self) -> Vec<Change> {
        match self.news.recv().await {
            Some(first) => self.take(first),
            // Cannot be: a sender of it is ours.
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, first: News) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut next = Some(first);
        while let Some(news) = next {
            self.hear(news, &mut changes);
            if std::mem::take(&mut self.overran) {
                changes.push(Change::Unread);
            }
            next = self.news.try_recv().ok();
        }
        while self.tasks.try_join_next().is_some() {}
        changes
    }

    fn hear(&mut self, news: News, changes: &mut Vec<Change>) {
        match news {
            News::Listed { kind, found, version, went_back, _room } => {
                self.list(&kind, found, version, went_back, changes);
            }
            News::Seen(reduced) => {
                if self.note(*reduced.clone()) {
                    changes.push(Change::Object(reduced.key));
                }
            }
            News::Gone { key, version, finished } => {
                let newer = |seen: &Seen| version_of(seen) > version && version > 0;
                if !self.seen.get(&key).is_some_and(newer) {
                    if is_job(&key) && self.ended.len() < self.room.most() {
                        self.ended.insert(key.clone(), finished);
                    }
                    self.forget(&key);
                    changes.push(Change::Vanished(key));
                }
            }
            News::Unread { kind, error } => {
                let reason = chain(&error);
                if self.unread.get(&kind) != Some(&reason) {
                    tracing::warn!(%kind, reason, "objects of a kind can't be read");
                }
                self.unread.insert(kind, reason);
                changes.push(Change::Unread);
            }
            News::NotServed { kind } => {
                tracing::warn!(%kind, "is not served as it is watched");
                changes.push(Change::NotServed);
            }
            News::Broken { error } => changes.push(Change::Broken(error)),
            News::Throttled { error } => changes.push(Change::Throttled(error)),
        }
    }

    fn list(
        &mut self,
        kind: &GroupKind,
        found: Vec<Reduced>,
        version: u64,
        went_back: bool,
        changes: &mut Vec<Change>,
    ) {
        let there: BTreeSet<&ObjectKey> = found.iter().map(|reduced| &reduced.key).collect();
        // What we wrote after the list was made is not missing from it.
        let missing = |(key, seen): &(&ObjectKey, &Seen)| {
            key.is(&kind.group, &kind.kind)
                && !there.contains(key)
                && (version == 0 || went_back || version_of(seen) <= version)
        };
        let vanished: Vec<ObjectKey> = self.seen.iter().filter(missing).map(|(key, _)| key.clone()).collect();
        for key in vanished {
            if self.seen.get(&key).is_some_and(|seen| seen.object.finished) {
                self.ended.insert(key.clone(), true);
            }
            self.forget(&key);
            changes.push(Change::Vanished(key));
        }
        let was_unread = self.unread.remove(kind).is_some();
        for reduced in found {
            let key = reduced.key.clone();
            if went_back {
                self.forget(&key);
            }
            if self.note(reduced) {
                changes.push(Change::Object(key));
            }
        }
        if !self.is_unread(kind) {
            self.listed.insert(kind.clone());
            changes.push(Change::Listed { kind: kind.clone(), was_unread });
        }
    }

    /// Takes what a watch or a read brought, unless something newer is known. Whether it was news.
    pub fn note(&mut self, reduced: Reduced) -> bool {
        let seen = Seen { object: reduced.object, verdict: reduced.verdict };
        match self.seen.get(&reduced.key) {
            Some(known) if version_of(known) > version_of(&seen) && version_of(&seen) > 0 => false,
            Some(known) if known.object == seen.object && known.verdict == seen.verdict => false,
            _ => self.keep_if_it_fits(reduced.key, seen),
        }
    }

    /// Takes the answer to a write of ours, which tells only about metadata: a status is not known before a watch
    /// brings it.
    pub fn wrote(&mut self, mut reduced: Reduced) {
        let kind = reduced.key.group_kind();
        if let Some(known) = self.seen.get(&reduced.key) {
            let (known, new) = (known.object.resource_version.clone(), &reduced.object.resource_version);
            if known == *new || version_number(&known) > version_number(new) {
                return;
            }
        }
        if reduced.verdict != Verdict::Terminating {
            let told = needs_whole(&kind) && self.watches.contains_key(&kind) && !self.is_unread(&kind);
            reduced.verdict = if told {
                Verdict::Progressing("its status is not known yet".to_owned())
            } else {
                Verdict::Healthy
            };
        }
        self.keep(reduced.key, Seen { object: reduced.object, verdict: reduced.verdict });
    }

    /// What is beyond the bound is not kept: a server that invents objects with our label gets no memory for them. Of
    /// that kind not all is known then; it is listed again after a while.
    fn keep_if_it_fits(&mut self, key: ObjectKey, seen: Seen) -> bool {
        let most = self.room.most();
        let (before, now) = (self.seen.get(&key).map_or(0, |seen| seen.units(&key)), seen.units(&key));
        if now <= before || self.kept.saturating_sub(before).saturating_add(now) <= most {
            self.keep(key, seen);
            return true;
        }
        let kind = key.group_kind();
        if !self.unread.contains_key(&kind) {
            let reason = chain(&ApiError::TooMany(most));
            tracing::warn!(%kind, reason, "objects of a kind can't be read");
            self.unread.insert(kind.clone(), reason);
            self.overran = true;
            if let Some((resource, handle)) = self.watches.get(&kind) {
                handle.abort();
                let resource = resource.clone();
                let handle = self.watch(resource.clone(), AFTER_TOO_MANY);
                self.watches.insert(kind, (resource, handle));
            }
        }
        false
    }

    fn keep(&mut self, key: ObjectKey, seen: Seen) {
        self.ended.remove(&key);
        if seen.object.glass.is_some() {
            self.glass.insert(key.clone());
        } else {
            self.glass.remove(&key);
        }
        if matches!(seen.verdict, Verdict::Unbound(_)) {
            self.unbound.insert(key.clone());
        } else {
            self.unbound.remove(&key);
        }
        self.kept += seen.units(&key);
        if let Some(before) = self.seen.insert(key.clone(), seen) {
            self.kept -= before.units(&key);
        }
    }

    /// Whether a Job that is gone had completed, if its end was seen.
    pub fn ended(&self, key: &ObjectKey) -> Option<bool> {
        self.ended.get(key).copied()
    }

    /// Takes a read that found nothing.
    pub fn forget(&mut self, key: &ObjectKey) {
        if let Some(seen) = self.seen.remove(key) {
            self.kept -= seen.units(key);
        }
        self.glass.remove(key);
        self.unbound.remove(key);
    }

    /// Claims without a volume, with their storage classes.
    pub fn unbound(&self) -> impl Iterator<Item = (&ObjectKey, Option<&str>)> {
        self.unbound.iter().filter_map(|key| match &self.seen.get(key)?.verdict {
            Verdict::Unbound(class) => Some((key, class.as_deref())),
            _ => None,
        })
    }

    /// What people say with the annotation `fairlead.dev/hold-until`, of every object that has it.
    pub fn glass(&self) -> impl Iterator<Item = (&ObjectKey, &HoldUntil)> {
        self.glass.iter().filter_map(|key| Some((key, self.seen.get(key)?.object.glass.as_deref()?)))
    }
}

fn version_of(seen: &Seen) -> u64 {
    version_number(&seen.object.resource_version)
}

#[cfg(test)]
#[path = "eye_tests.rs"]
mod tests;

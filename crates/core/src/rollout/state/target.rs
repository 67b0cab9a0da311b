//! What is known about one cluster of a fleet.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::assignment::{KeptObject, Purpose};
use crate::model::digest::CommitId;
use crate::model::name::{FleetName, TargetName};
use crate::model::schedule::TimeZoneName;
use crate::rollout::state::interner::{History, ReleaseId};
use crate::rollout::status::shorten;

/// A time in milliseconds since 1970: what state keeps of a `Timestamp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(i64);

impl UnixMillis {
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
    /// Moved on by the time from `start` to `end`.
    pub fn shifted(self, start: UnixMillis, end: UnixMillis) -> Self {
        Self(self.0.saturating_add(end.0.saturating_sub(start.0).max(0)))
    }
}

impl From<Timestamp> for UnixMillis {
    fn from(time: Timestamp) -> Self {
        Self(time.as_millisecond())
    }
}

impl From<UnixMillis> for Timestamp {
    fn from(time: UnixMillis) -> Self {
        Timestamp::from_millisecond(time.0).unwrap_or(Timestamp::MAX)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One cluster of the fleet. Keys are short because there may be thousands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    #[serde(rename = "n")]
    pub name: TargetName,
    /// What the head wants; none: the head does not have this target (or it is not known whether it has).
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Want>,
    /// What the accepted commit wants here.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<ReleaseId>,
    /// The newest accepted release at which it converged.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub base: Option<ReleaseId>,
    /// What it converged at last.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub converged: Option<ReleaseId>,
    /// The last one used.
    #[serde(rename = "g", default, skip_serializing_if = "is_default")]
    pub generation: u64,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    #[serde(rename = "l", default, skip_serializing_if = "is_default")]
    pub link: Link,
    /// Part of the present rollout: what it should do depends on the fleet, and its failure counts.
    #[serde(rename = "m", default, skip_serializing_if = "is_default")]
    pub member: bool,
    /// A commit was accepted without it: it catches up alone.
    #[serde(rename = "d", default, skip_serializing_if = "is_default")]
    pub behind: bool,
    #[serde(rename = "s", default, skip_serializing_if = "is_default")]
    pub suspend: bool,
    #[serde(rename = "p", default, skip_serializing_if = "is_default")]
    pub pinned: bool,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
    /// It failed with what the head wants, or with what it should have caught up to.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<Pair>,
    #[serde(rename = "h", default, skip_serializing_if = "History::is_empty")]
    pub history: History,
    /// Index of its wave.
    #[serde(rename = "v", default, skip_serializing_if = "is_default")]
    pub wave: u16,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
    /// Another fleet that must converge on it first.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub unmet: Option<FleetName>,
    /// What stays in the cluster though the ordered release dropped it.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// The release whose deletions a person approved.
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<ReleaseId>,
    /// The first wave whose label selector takes it.
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    pub select: Option<u16>,
    /// The release that a person let start here when its wave's turn comes.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<ReleaseId>,
    /// The release that a person let take over objects that were there before.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub adopts: Option<ReleaseId>,
}

/// Objects that stay though the release dropped them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    #[serde(rename = "n")]
    pub count: u32,
    /// The first, and why.
    #[serde(rename = "f")]
    pub first: String,
    /// Whether an approval lets some of them go.
    #[serde(rename = "a", default, skip_serializing_if = "is_default")]
    pub approvable: bool,
    /// How many more only wait to be gone, and the first of them.
    #[serde(rename = "d", default, skip_serializing_if = "is_default")]
    pub deleting: u32,
    #[serde(rename = "l", default, skip_serializing_if = "is_default")]
    pub first_deleting: String,
}

impl Kept {
    pub fn of(objects: &[KeptObject]) -> Option<Self> {
        let first_deleting = objects.iter().find(|object| object.deleting);
        let mut stay = objects.iter().filter(|object| !object.deleting).peekable();
        if stay.peek().is_none() && first_deleting.is_none() {
            return None;
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let deleting = count(objects.iter().filter(|object| object.deleting).count());
        let approvable = objects.iter().any(|object| object.approvable);
        let first = stay.clone().find(|object| object.approvable == approvable);
        let told = |object: &KeptObject| format!("{} ({})", object.object, object.reason);
        Some(Self {
            count: count(stay.by_ref().count()),
            first: first.map(|first| shorten(&first.to_string(), 200)).unwrap_or_default(),
            approvable,
            deleting,
            first_deleting: first_deleting.map(|first| shorten(&told(first), 200)).unwrap_or_default(),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Want {
    Release(ReleaseId),
    /// The diagnostic that holds it where it is.
    Invalid(String),
    /// It is new, and its definition does not fit the accepted profiles, with which a new one starts: it waits until
    /// others are accepted.
    NotYet {
        not_yet: String,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// Never heard of.
    #[default]
    Unknown,
    #[serde(rename = "on")]
    Online,
    #[serde(rename = "off")]
    Offline { since: UnixMillis, reason: String },
    /// `fairlead leave` took everything away; a retry takes it up again.
    #[serde(rename = "left")]
    Left { since: UnixMillis },
}

/// The assignment that stands, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    #[serde(rename = "r")]
    pub release: ReleaseId,
    #[serde(rename = "p")]
    pub purpose: Purpose,
    #[serde(rename = "s")]
    pub phase: Phase,
    /// The cluster was not healthy before; its failure says nothing about the release.
    #[serde(rename = "i", default, skip_serializing_if = "is_default")]
    pub was_unhealthy: bool,
    /// How often a return was tried again.
    #[serde(rename = "t", default, skip_serializing_if = "is_default")]
    pub retries: u8,
    /// Nobody remembers giving it: a ledger told of it after the store was lost.
    #[serde(rename = "l", default, skip_serializing_if = "is_default")]
    pub found: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    #[serde(rename = "w")]
    Working {
        /// The progress clock's start.
        #[serde(rename = "i")]
        idle: UnixMillis,
        /// Objects applied, and of how many.
        #[serde(rename = "n", default, skip_serializing_if = "is_default")]
        applied: (u32, u32),
        #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
        waiting: Option<String>,
    },
    /// The cluster's own trouble. `given_up`: for so long that the fleet goes on as if it were offline.
    #[serde(rename = "s")]
    Stalled { since: UnixMillis, reason: String, given_up: bool },
    /// Waits for a person; `deletions`: for an approval. No clock runs.
    #[serde(rename = "h")]
    Held {
        since: UnixMillis,
        reason: String,
        /// What the person has to do; empty in what an older version saved.
        #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
        remedy: String,
        deletions: bool,
    },
    #[serde(rename = "c")]
    Converged {
        #[serde(rename = "i")]
        since: UnixMillis,
        /// Not healthy since then.
        #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
        unhealthy: Option<(UnixMillis, String)>,
        /// It bakes: healthy since then, but for the time for which nobody could see it. None: it has baked.
        #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
        bake: Option<UnixMillis>,
    },
    #[serde(rename = "f")]
    Failed {
        since: UnixMillis,
        cause: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<UnixMillis>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// The commit that no longer has it.
    pub commit: CommitId,
    /// Its worker has been told.
    pub ordered: bool,
    pub since: UnixMillis,
    /// Why its worker waits for a person: it would delete more than the budget allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// A person allowed that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub approved: bool,
}

impl Leaving {
    pub fn new(commit: CommitId, since: UnixMillis) -> Self {
        Self { commit, ordered: false, since, held: None, approved: false }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub release: ReleaseId,
    pub cause: String,
    pub at: UnixMillis,
    /// Does not count against the commit: ailing before, not part of the rollout, or forgiven by a person.
    #[serde(default, skip_serializing_if = "is_default")]
    pub excused: bool,
}

/// A release that is quarantined here, and by which group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair(pub ReleaseId, pub u32);

impl Target {
    pub fn new(name: TargetName) -> Self {
        Self {
            name,
            wanted: None,
            accepted: None,
            base: None,
            converged: None,
            generation: 0,
            order: None,
            link: Link::Unknown,
            member: false,
            behind: false,
            suspend: false,
            pinned: false,
            leaving: None,
            failure: None,
            quarantine: Vec::new(),
            history: History::default(),
            wave: 0,
            time_zone: None,
            unmet: None,
            kept: None,
            approved: None,
            select: None,
            cleared: None,
            adopts: None,
        }
    }

    pub fn wanted(&self) -> Option<ReleaseId> {
        match self.wanted {
            Some(Want::Release(release)) => Some(release),
            _ => None,
        }
    }

    pub fn ordered(&self) -> Option<ReleaseId> {
        self.order.as_ref().map(|order| order.release)
    }

    /// Told to leave; nothing else is ordered of it.
    pub fn gone(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.ordered)
    }

    pub fn can_start(&self) -> bool {
        self.link == Link::Online && !self.suspend && !self.gone() && self.unmet.is_none()
    }

    pub fn offline(&self) -> bool {
        matches!(self.link, Link::Offline { .. } | Link::Left { .. })
    }

    /// What had no chance to move, because the target was suspended, gets the whole deadline again.
    pub fn restart_clocks(&mut self, now: UnixMillis) {
        match self.order.as_mut().map(|order| &mut order.phase) {
            Some(Phase::Working { idle: since, .. } | Phase::Stalled { since, .. }) => *since = now,
            Some(
                Phase::Converged { unhealthy: Some((since, _)), .. }
                | Phase::Converged { bake: Some(since), .. },
            ) => {
                *since = now;
            }
            _ => {}
        }
    }

    pub fn releases_mut(&mut self) -> impl Iterator<Item = &mut ReleaseId> {
        let wanted = match &mut self.wanted {
            Some(Want::Release(release)) => Some(release),
            _ => None,
        };
        let single = [self.accepted.as_mut(), self.base.as_mut(), self.converged.as_mut(), wanted];
        let order = self.order.as_mut().map(|order| &mut order.release);
        let failure = self.failure.as_mut().map(|failure| &mut failure.release);
        let pairs = self.quarantine.iter_mut().map(|pair| &mut pair.0);
        let people =
            [self.approved.as_mut(), self.cleared.as_mut(), self.adopts.as_mut()].into_iter().flatten();
        single.into_iter().flatten().chain(order).chain(failure).chain(people).chain(pairs)
    }
}

impl Order {
    pub fn new(release: ReleaseId, purpose: Purpose, now: UnixMillis) -> Self {
        let phase = Phase::Working { idle: now, applied: (0, 0), waiting: None };
        Self { release, purpose, phase, was_unhealthy: false, retries: 0, found: false }
    }

    pub fn converged(&self) -> bool {
        matches!(self.phase, Phase::Converged { .. })
    }

    /// Converged, and for as long as it had to be healthy before it counts.
    pub fn baked(&self) -> bool {
        matches!(self.phase, Phase::Converged { bake: None, .. })
    }

    pub fn failed(&self) -> bool {
        matches!(self.phase, Phase::Failed { .. })
    }

    /// Waits for a person.
    pub fn held(&self) -> bool {
        matches!(self.phase, Phase::Held { .. })
    }

    /// Neither converged nor failed.
    pub fn at_work(&self) -> bool {
        !self.converged() && !self.failed()
    }
}

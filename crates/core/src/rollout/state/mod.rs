//! All that must survive about one fleet, and the index over it.

pub mod index;
pub mod interner;
pub mod said;
pub mod target;
pub mod waves;
pub mod window_queues;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::window_queues::Calendar;
use crate::model::digest::{CommitId, InputDigest};
use crate::model::name::{FleetName, ProfileName, TargetName};
use crate::model::release::ReleaseRef;
use crate::model::revision::{Revision, Revisions};
use crate::rollout::event::{Person, RevisionHold};
use crate::rollout::intent::FleetPolicy;
use crate::rollout::reason::FleetReason;
use crate::rollout::state::index::Index;
use crate::rollout::state::interner::{Interner, ReleaseId, RevisionsId};
use crate::rollout::state::target::{Phase, Target, UnixMillis, Want};
use crate::rollout::status::CommitStatus;

/// One fleet's state. Saved as one JSON document, under 2 MB for 5,000 clusters.
#[derive(Debug, Clone)]
pub struct FleetState {
    pub(in crate::rollout) record: Record,
    /// Counts and queues, derived from the record.
    pub(in crate::rollout) index: Index,
    /// What was looked up of windows; says nothing that could not be looked up again.
    pub(in crate::rollout) calendar: Calendar,
}

impl PartialEq for FleetState {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record && self.index == other.index
    }
}

impl Eq for FleetState {}

/// What of the state is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub fleet: FleetName,
    /// Time of the last step: progress clocks stand while nobody listens.
    pub clock: UnixMillis,
    #[serde(rename = "book")]
    pub interner: Interner,
    pub head: Option<Head>,
    /// The head could not be read: what is below is of the commit before.
    pub invalid: Option<Invalid>,
    /// Revisions of the accepted commit.
    pub accepted: Option<RevisionsId>,
    /// Nothing was accepted since this state began: what ledgers say counts.
    pub recovering: bool,
    pub revision_hold: Option<(CommitId, RevisionHold)>,
    pub paused: Option<Person>,
    /// Targets whose leaving a person approved.
    pub may_leave: BTreeSet<TargetName>,
    /// Quarantines, by their numbers.
    pub groups: BTreeMap<u32, Group>,
    pub next_group: u32,
    /// Sorted by name.
    pub targets: Vec<Target>,
    /// What was last said of each commit, newest first.
    pub said: Vec<CommitStatus>,
    pub told_hold: Option<FleetReason>,
    pub told_wake: Option<UnixMillis>,
}

/// The last commit that could be read, and its rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub revisions: RevisionsId,
    pub renderers: InputDigest,
    pub policy: FleetPolicy,
    pub unknown: bool,
    /// Grows with every retry.
    pub attempt: u32,
    pub cause: ChangeCause,
    /// Which commits bear the status.
    pub subjects: Vec<Revision>,
    pub run: Run,
    /// Targets that this commit added to a fleet that had accepted something.
    pub joined: usize,
    /// Waves that a person let pass though the documents of their clusters are invalid.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waived: BTreeSet<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeCause {
    Commit,
    /// Only what a profile's revision resolves to.
    Profiles,
    /// Nothing in Git.
    Renderers,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Run {
    Rolling,
    /// More than `maxFailures` failed, and the policy is to ask.
    Paused(Defeat),
    /// More than `maxFailures` failed: everything goes back.
    Failed(Defeat),
    Accepted {
        affected: usize,
    },
}

/// How a rollout failed, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defeat {
    pub failed: usize,
    pub affected: usize,
    /// The cluster that failed first by name, and why.
    pub cause: String,
    pub back_to: Option<CommitId>,
}

/// One quarantine: pairs that stand or fall together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The commit whose releases these are.
    pub commit: CommitId,
    pub cause: String,
    /// The clusters that failed. A commit that changes the release of one of them ends the quarantine.
    pub failed: BTreeSet<TargetName>,
    /// A whole rollout's, or a single cluster's that returned alone.
    pub whole: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    pub commit: CommitId,
    pub summary: String,
}

impl FleetState {
    /// Whether nothing moves because a revision may not be used.
    pub fn holds_revision(&self) -> bool {
        self.record.revision_hold.is_some()
    }

    pub fn new(fleet: FleetName) -> Self {
        let record = Record {
            fleet,
            clock: UnixMillis::default(),
            interner: Interner::default(),
            head: None,
            invalid: None,
            accepted: None,
            recovering: true,
            revision_hold: None,
            paused: None,
            may_leave: BTreeSet::new(),
            groups: BTreeMap::new(),
            next_group: 1,
            targets: Vec::new(),
            said: Vec::new(),
            told_hold: None,
            told_wake: None,
        };
        let index = Index::of(&record);
        Self { record, index, calendar: Calendar::default() }
    }

    pub fn fleet(&self) -> &FleetName {
        &self.record.fleet
    }

    /// Every target that the fleet has a word on, those that are leaving too.
    pub fn targets(&self) -> impl Iterator<Item = &TargetName> {
        self.record.targets.iter().map(|target| &target.name)
    }

    /// The policy of the newest commit that could be read.
    pub fn policy(&self) -> FleetPolicy {
        self.record.head.as_ref().map(|head| head.policy.clone()).unwrap_or_default()
    }

    /// The newest accepted commit.
    pub fn accepted(&self) -> Option<CommitId> {
        self.record.accepted_commit()
    }

    /// The fleet that a target of this one waits for.
    pub fn unmet(&self, target: &TargetName) -> Option<&FleetName> {
        self.record.targets.get(self.record.find(target)?)?.unmet.as_ref()
    }

    /// Whether a fleet that waits for this one may go on at a target: it runs what the head wants, is healthy and has
    /// baked, or does not belong to this fleet.
    pub fn converged_on(&self, target: &TargetName) -> bool {
        let Some(head) = &self.record.head else { return false };
        // The head could not be read: what it wants is not known.
        let known = self.record.invalid.is_none() && self.record.revision_hold.is_none();
        let Some(target) = self.record.find(target).and_then(|index| self.record.targets.get(index)) else {
            return !head.unknown;
        };
        if target.leaving.is_some() {
            return true;
        }
        let on_wanted = target.wanted().is_some() && self.record.same(target.ordered(), target.wanted());
        let order = target.order.as_ref().filter(|_| on_wanted && known);
        order.is_some_and(|order| matches!(order.phase, Phase::Converged { unhealthy: None, bake: None, .. }))
    }

    /// Whether a new target holds because it does not fit what is accepted: once something else is, it may.
    pub fn holds_newcomers(&self) -> bool {
        self.record.targets.iter().any(|target| matches!(target.wanted, Some(Want::NotYet { .. })))
    }

    /// What the newest commit that could be read wants of a target, as far as it has it; within, none where it holds a
    /// mistake.
    pub fn wanted(&self, target: &TargetName) -> Option<Option<ReleaseRef>> {
        let target = self.record.targets.get(self.record.find(target)?)?;
        target.wanted.as_ref()?;
        Some(target.wanted().map(|release| self.record.interner.full(release)))
    }

    /// Whether the fleet's newest or accepted commit takes a profile at this commit.
    pub fn takes(&self, profile: &ProfileName, commit: CommitId) -> bool {
        let newest = self.record.head.as_ref().map(|head| head.revisions);
        let takes = |revs: RevisionsId| {
            self.record.interner.revisions(revs).profiles.get(profile).map(|revision| revision.commit)
                == Some(commit)
        };
        newest.into_iter().chain(self.record.accepted).any(takes)
    }

    /// For a target that the accepted commit does not know: the accepted revisions, whose profiles its
    /// first release is to be compiled with (its own definition comes from the head).
    pub fn entry_revisions(&self, target: &TargetName) -> Option<Revisions> {
        let known = self.record.find(target).and_then(|index| self.record.targets.get(index));
        let new = known.is_none_or(|target| target.accepted.is_none() && target.order.is_none());
        self.record
            .accepted
            .filter(|_| new && !self.record.recovering)
            .map(|revs| self.record.interner.revisions(revs).clone())
    }

    /// Releases whose bytes must be kept: what is assigned, accepted, or a base.
    pub fn kept_releases(&self) -> Vec<(TargetName, ReleaseRef)> {
        let of = |target: &Target| {
            let mut kept: Vec<ReleaseId> =
                [target.ordered(), target.accepted, target.base].into_iter().flatten().collect();
            kept.sort_unstable();
            kept.dedup();
            kept
        };
        let full = |target: &Target, release| (target.name.clone(), self.record.interner.full(release));
        self.record
            .targets
            .iter()
            .flat_map(|t| of(t).into_iter().map(move |release| full(t, release)))
            .collect()
    }

    /// Changes one target and keeps the index true.
    pub fn change<T>(&mut self, index: usize, edit: impl FnOnce(&mut Target) -> T) -> Option<T> {
        let target = self.record.targets.get(index)?;
        let class = self.index.class(target, &self.record);
        self.index.remove(index, &class);
        let result = self.record.targets.get_mut(index).map(edit);
        if let Some(target) = self.record.targets.get(index) {
            let class = self.index.class(target, &self.record);
            self.index.add(index, &class);
        }
        result
    }

    /// After changes to many targets, or to what all depend on.
    pub fn recount(&mut self) {
        self.index = Index::of(&self.record);
    }
}

impl Record {
    pub fn find(&self, target: &TargetName) -> Option<usize> {
        self.targets.binary_search_by(|known| known.name.cmp(target)).ok()
    }

    pub fn same(&self, a: Option<ReleaseId>, b: Option<ReleaseId>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => self.interner.same(a, b),
            (None, None) => true,
            _ => false,
        }
    }

    pub fn commit_of(&self, revs: RevisionsId) -> CommitId {
        self.interner.revisions(revs).control.commit
    }

    pub fn head_commit(&self) -> Option<CommitId> {
        self.head.as_ref().map(|head| self.commit_of(head.revisions))
    }

    /// The commit that people know the head's change by: the one that bears the status.
    pub fn subject(&self) -> Option<CommitId> {
        self.head.as_ref()?.subjects.first().map(|revision| revision.commit)
    }

    pub fn accepted_commit(&self) -> Option<CommitId> {
        self.accepted.map(|revs| self.commit_of(revs))
    }

    /// The quarantine that a release is in at this target: that of a whole rollout, if there is one.
    pub fn quarantine_of(&self, target: &Target, release: ReleaseId) -> Option<&Group> {
        let pairs = target.quarantine.iter().filter(|pair| self.interner.same(pair.0, release));
        let groups = pairs.filter_map(|pair| self.groups.get(&pair.1));
        groups.reduce(|first, next| if next.whole && !first.whole { next } else { first })
    }

    pub fn rolling(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.run == Run::Rolling)
    }

    /// Whether numbers and order are sound, as far as the code relies on it.
    fn check(&self) -> Result<(), String> {
        let named = self.head.as_ref().map(|head| head.revisions).into_iter().chain(self.accepted);
        if named.into_iter().any(|revs| !self.interner.holds_revs(revs)) {
            return Err("the state names revisions that it does not hold".to_owned());
        }
        for target in &self.targets {
            if target.clone().releases_mut().any(|release| !self.interner.holds(*release)) {
                return Err(format!("target {} names a release that the state does not hold", target.name));
            }
        }
        let sorted = self.targets.is_sorted_by(|a, b| a.name < b.name);
        sorted.then_some(()).ok_or_else(|| "targets are not sorted, or one stands there twice".to_owned())
    }
}

impl Serialize for FleetState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.record.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FleetState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = Record::deserialize(deserializer)?;
        record.check().map_err(D::Error::custom)?;
        let index = Index::of(&record);
        Ok(Self { record, index, calendar: Calendar::default() })
    }
}

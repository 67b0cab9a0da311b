//! What leaves: deleted, released, forgotten or kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::assignment::Hold;
use crate::model::fleet::OnRemoval;
use crate::model::name::ProfileName;
use crate::model::object::ObjectKey;
use crate::model::release::{LayerId, Release, ReleaseObject};

use super::blockers::{api_group, is_api_service, is_blocker};
use super::judge::was_there_before;
use super::order::{crd_group, is_crd, is_namespace, prune_rank};
use super::precondition;
use super::types::{
    Action, Context, InventoryEntry, Kept, KeptWhy, LivePlan, Observed, ObservedObject, Origin, Served, Verb,
    Why,
};
use crate::plan::live_rules::{is_protected, superseded_by};

/// How many objects a hold names.
const NAMED: usize = 50;

#[derive(Debug, Default)]
pub(super) struct Pruning {
    /// Deletions before everything else.
    pub first: Vec<Action>,
    pub stages: Vec<Vec<Action>>,
    pub kept: Vec<Kept>,
    pub hold: Option<Hold>,
    pub left: usize,
}

type WantedKeys<'a> = BTreeMap<ObjectKey, &'a ReleaseObject>;

/// The CRDs of the inventory that `release` no longer has: the caller counts their foreign instances.
pub fn crds_leaving(release: &Release, ctx: &Context<'_>) -> Vec<ObjectKey> {
    let wanted: BTreeSet<&str> =
        release.objects().filter(|(_, o)| is_crd(&o.key)).map(|(_, o)| o.key.name()).collect();
    let crds = ctx.inventory.objects.keys().filter(|key| is_crd(key));
    crds.filter(|key| !wanted.contains(key.name())).cloned().collect()
}

/// Plans how a cluster is left by its fleet: every object released, or deleted within the budget.
pub fn leave(on_removal: OnRemoval, observed: &Observed, ctx: &Context<'_>) -> LivePlan {
    let nothing = WantedKeys::new();
    let mut leaving = Leaving::new(observed, ctx, &nothing, Some(on_removal));
    leaving.all();
    let pruning = leaving.finish(&BTreeSet::new());
    LivePlan {
        release: None,
        layers: Vec::new(),
        unblock: pruning.first,
        prune: pruning.stages,
        kept: pruning.kept,
        hold: pruning.hold,
        fail: None,
        deletions_left: pruning.left,
    }
}

pub(super) fn plan(
    release: &Release,
    wanted: &WantedKeys<'_>,
    observed: &Observed,
    ctx: &Context<'_>,
) -> Pruning {
    let mut leaving = Leaving::new(observed, ctx, wanted, None);
    leaving.all();
    leaving.finish(&empty_profiles(release))
}

/// Profiles that stand in the release without a single object.
fn empty_profiles(release: &Release) -> BTreeSet<ProfileName> {
    let has = |profile: &ProfileName| {
        release.layers.iter().any(|l| &l.id.profile == profile && !l.content.objects.is_empty())
    };
    release.layers.iter().map(|l| &l.id.profile).filter(|p| !has(p)).cloned().collect()
}

/// Whether someone else made an object under the name of ours, and copied our label: it is not the one that was
/// applied, and we set no field of it.
fn is_copy(entry: &InventoryEntry, seen: &ObservedObject) -> bool {
    seen.fields.is_none() && entry.uid.as_ref().is_some_and(|uid| *uid != seen.uid)
}

/// What becomes of one object.
enum Fate {
    Do(Verb, Why),
    /// A deletion that counts against the budget.
    Count(Why),
    Keep(KeptWhy),
}

struct Leaving<'a> {
    observed: &'a Observed,
    ctx: &'a Context<'a>,
    wanted: &'a WantedKeys<'a>,
    /// The target leaves its fleet: what becomes of the objects.
    removal: Option<OnRemoval>,
    actions: Vec<(LayerId, Action)>,
    kept: Vec<Kept>,
    counted: Vec<(ObjectKey, ProfileName)>,
}

impl<'a> Leaving<'a> {
    fn new(
        observed: &'a Observed,
        ctx: &'a Context<'a>,
        wanted: &'a WantedKeys<'a>,
        removal: Option<OnRemoval>,
    ) -> Self {
        Self { observed, ctx, wanted, removal, actions: Vec::new(), kept: Vec::new(), counted: Vec::new() }
    }

    fn all(&mut self) {
        let inventory = self.ctx.inventory;
        for (key, entry) in inventory.objects.iter().filter(|(key, _)| !self.wanted.contains_key(*key)) {
            let seen = self.observed.objects.get(key);
            let (verb, why) = match self.fate(key, entry, seen) {
                Fate::Do(verb, why) => (verb, why),
                Fate::Count(why) => {
                    self.counted.push((key.clone(), entry.layer.profile.clone()));
                    (Verb::Delete, why)
                }
                Fate::Keep(why) => {
                    self.kept.push(Kept { key: key.clone(), why });
                    continue;
                }
            };
            let precondition = seen.filter(|_| verb == Verb::Delete).map(precondition);
            let action = Action {
                key: key.clone(),
                version: entry.version.clone(),
                verb,
                why,
                force: false,
                object: None,
                served: Served::Yes,
                leave_out: Vec::new(),
                may_replace: false,
                unblocks: false,
                precondition,
                origin: None,
            };
            self.actions.push((entry.layer.clone(), action));
        }
    }

    fn fate(&self, key: &ObjectKey, entry: &InventoryEntry, seen: Option<&ObservedObject>) -> Fate {
        let Some(seen) = seen else {
            let unread = self.observed.unread.contains(&key.group_kind());
            return if unread { Fate::Keep(KeptWhy::Unread) } else { Fate::Do(Verb::Forget, Why::NotOurs) };
        };
        if seen.part_of.as_deref() != Some(self.ctx.set) {
            return Fate::Do(Verb::Forget, self.whose(seen));
        }
        // An inventory can name them only by mistake, or by somebody's hand: they are never content.
        if key.is_own_record() {
            return Fate::Do(Verb::Forget, Why::NotOurs);
        }
        if is_copy(entry, seen) {
            return Fate::Do(Verb::Forget, Why::Copied);
        }
        if let Some(sibling) = self.ctx.siblings.values().find(|s| s.claims(key)) {
            return Fate::Keep(KeptWhy::HandOver { to: sibling.fleet.clone() });
        }
        if seen.terminating {
            return Fate::Do(Verb::AwaitGone, Why::Terminating);
        }
        if self.removal == Some(OnRemoval::Orphan) {
            return Fate::Do(Verb::Release, Why::Leaves);
        }
        if self.there_before(entry, seen) {
            return Fate::Do(Verb::Release, Why::Adopted);
        }
        self.deletion(key, entry, seen)
    }

    fn whose(&self, seen: &ObservedObject) -> Why {
        let Some(set) = &seen.part_of else { return Why::NotOurs };
        match self.ctx.siblings.get(set) {
            Some(sibling) => Why::HandedOver { to: sibling.fleet.clone() },
            None => Why::ForeignOwner { owner: set.to_string() },
        }
    }

    fn goes_back(&self) -> bool {
        self.ctx.assignment.purpose.goes_back()
    }

    fn there_before(&self, entry: &InventoryEntry, seen: &ObservedObject) -> bool {
        match entry.origin {
            Origin::Adopted => true,
            Origin::Taken => self.goes_back(),
            Origin::Created { .. } => false,
            Origin::Intended { at, .. } => was_there_before(seen.created, at),
        }
    }

    /// Going back deletes what this ledger created since, outside the budget.
    fn created_since(&self, entry: &InventoryEntry) -> bool {
        let (Origin::Created { generation } | Origin::Intended { generation, .. }) = entry.origin else {
            return false;
        };
        self.goes_back() && self.ctx.back_to.is_some_and(|since| generation > since)
    }

    fn deletion(&self, key: &ObjectKey, entry: &InventoryEntry, seen: &ObservedObject) -> Fate {
        if let Some(why) = self.still_needed(key) {
            return Fate::Keep(why);
        }
        let since = self.created_since(entry);
        let protected = is_protected(key, &self.ctx.assignment.policy.prune.protect);
        if protected && !seen.prune_allowed && !self.ctx.assignment.deletions_approved {
            let kind = key.kind().to_owned();
            return Fate::Keep(if since {
                KeptWhy::ProtectedGoingBack { kind }
            } else {
                KeptWhy::Protected { kind }
            });
        }
        match superseded_by(key, self.wanted.keys()) {
            _ if since => Fate::Do(Verb::Delete, Why::CreatedSince),
            Some(by) => Fate::Do(Verb::Delete, Why::Superseded { by }),
            None => Fate::Count(if self.removal.is_some() { Why::Leaves } else { Why::Dropped }),
        }
    }

    fn still_needed(&self, key: &ObjectKey) -> Option<KeptWhy> {
        if is_namespace(key) {
            let by = self.wanted.keys().find(|k| k.namespace() == Some(key.name()))?;
            return Some(KeptWhy::StillUsed { by: by.clone() });
        }
        if !is_crd(key) {
            return None;
        }
        if let Some(by) = self.wanted.keys().find(|k| !k.group().is_empty() && k.group() == crd_group(key)) {
            return Some(KeptWhy::StillUsed { by: by.clone() });
        }
        match self.observed.foreign_instances.get(key) {
            None => Some(KeptWhy::InstancesUnknown),
            Some(0) => None,
            Some(count) => Some(KeptWhy::ForeignInstances { count: *count }),
        }
    }

    fn finish(mut self, empty_profiles: &BTreeSet<ProfileName>) -> Pruning {
        let hold = self.hold(empty_profiles);
        let of = self.ctx.inventory.objects.len();
        let budget = self.ctx.assignment.policy.prune.budget(of);
        let approved = self.ctx.assignment.deletions_approved;
        let left = if approved { of } else { budget.saturating_sub(self.counted.len()) };
        let first = self.first();
        let stages = self.stages();
        Pruning { first, stages, kept: self.kept, hold, left }
    }

    fn hold(&self, empty_profiles: &BTreeSet<ProfileName>) -> Option<Hold> {
        let assignment = self.ctx.assignment;
        let nothing = self.removal.is_none() && self.wanted.is_empty();
        let empty = |profile: &ProfileName| nothing || empty_profiles.contains(profile);
        let from_empty = self.counted.iter().filter(|(_, profile)| empty(profile)).count();
        if from_empty > 0 && !assignment.policy.prune.allow_empty {
            return Some(Hold::EmptyRelease { of: from_empty });
        }
        let of = self.ctx.inventory.objects.len();
        let (count, budget) = (self.counted.len(), assignment.policy.prune.budget(of));
        let objects = || self.counted.iter().take(NAMED).map(|(key, _)| key.clone()).collect();
        let over = count > budget && !assignment.deletions_approved;
        over.then(|| Hold::DeletionBudget { count, of, budget, objects: objects() })
    }

    /// What can keep others from being written goes before everything else. An APIService must stay until the objects
    /// that can be seen through it are gone.
    fn first(&mut self) -> Vec<Action> {
        let seen = &self.observed.objects;
        let serves = |service: &ObjectKey| {
            let mut leaving = self.ctx.inventory.objects.keys().filter(|key| !self.wanted.contains_key(*key));
            leaving.any(|key| key.group() == api_group(service) && seen.contains_key(key))
        };
        let goes = |action: &Action| {
            action.verb == Verb::Delete
                && is_blocker(&action.key)
                && !(is_api_service(&action.key) && serves(&action.key))
        };
        let (first, rest) = self.actions.drain(..).partition(|(_, action)| goes(action));
        self.actions = rest;
        let first: Vec<(LayerId, Action)> = first;
        first.into_iter().map(|(_, action)| action).collect()
    }

    /// The reverse order of applying; custom resources first, CRDs and namespaces last.
    fn stages(&mut self) -> Vec<Vec<Action>> {
        let order = &self.ctx.inventory.layers;
        // Layers that nothing is known about go first: they came last.
        let place = |layer: &LayerId| order.iter().position(|l| l == layer).unwrap_or(usize::MAX);
        let mut staged: BTreeMap<(u8, std::cmp::Reverse<usize>), Vec<Action>> = BTreeMap::new();
        for (layer, action) in self.actions.drain(..) {
            let stage = (prune_rank(&action.key), std::cmp::Reverse(place(&layer)));
            staged.entry(stage).or_default().push(action);
        }
        staged.into_values().collect()
    }
}

//! From an order to a plan, and to the intent in the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::task::AbortOnDropHandle;

use super::fetch::{Extra, FetchError, Fetched, Prepared, brought_by, expect, fetch, is_crd, read_extra};
use super::jobs::Hand;
use super::run::Run;
use super::siblings::LOOK_FOR_HEIRS;
use super::{Fleet, FleetEnd, Phase, beside};
use crate::discovery::{Discovery, Resource};
use crate::ledger::WriteError;
use crate::orders::Order;
use fairlead_core::model::assignment::{Assignment, Cause, ClusterPolicy, Hold, Purpose};
use fairlead_core::model::digest::{CommitId, ReleaseDigest};
use fairlead_core::model::fleet::OnRemoval;
use fairlead_core::model::object::{GroupKind, ObjectKey};
use fairlead_core::model::release::{LayerId, Release, ReleaseRef};
use fairlead_core::model::revision::{Revision, Revisions};
use fairlead_core::plan::{
    self, Action, Context, InventoryEntry, KeptWhy, LivePlan, Observed, Origin, Sibling, Verb,
};

/// What an order comes down to.
#[derive(Debug, Clone)]
pub struct Goal {
    /// For a removal, one that names the release that is there.
    pub assignment: Arc<Assignment>,
    pub release: Option<Arc<Release>>,
    pub removal: Option<OnRemoval>,
}

impl Fleet {
    /// The goal of the present order; why it may not be worked on; or nothing.
    pub(super) fn make_goal(&self) -> Result<Goal, Option<Box<(u64, Hold)>>> {
        let goal = match self.told.order.as_ref().ok_or(None)? {
            Order::Assign(assignment) => {
                Goal { assignment: Arc::clone(assignment), release: None, removal: None }
            }
            Order::Remove { generation, on_removal, policy, approved } => {
                let assignment = self.farewell(*generation, policy, *approved);
                Goal { assignment: Arc::new(assignment), release: None, removal: Some(*on_removal) }
            }
            Order::Leave => {
                let generation = self.stored.ledger.generation;
                let assignment = self.farewell(generation, &ClusterPolicy::default(), true);
                Goal { assignment: Arc::new(assignment), release: None, removal: None }
            }
        };
        let generation = goal.assignment.generation;
        match self.guard(generation) {
            Some(hold) => Err(Some(Box::new((generation, hold)))),
            None => Ok(goal),
        }
    }

    /// Whether the order is [`Order::Leave`]: everything is released, the ledger goes.
    pub(super) fn leaves(&self) -> bool {
        matches!(self.told.order, Some(Order::Leave))
    }

    fn guard(&self, generation: u64) -> Option<Hold> {
        let ledger = &self.stored.ledger;
        if matches!(self.told.order, Some(Order::Assign(_)))
            && let Some(other) = self.cx.also()
        {
            return Some(Hold::SameCluster { other });
        }
        if !self.stored.is_written() {
            return None;
        }
        if ledger.identity != self.cx.identity {
            let (found, recorded) = (self.cx.identity.clone(), ledger.identity.clone());
            return Some(Hold::IdentityChanged { found, recorded });
        }
        if ledger.target != self.cx.settings.target && !ledger.orphaned {
            return Some(Hold::SameCluster { other: ledger.target.clone() });
        }
        (generation < ledger.generation).then_some(Hold::StaleWriter { found: ledger.generation })
    }

    fn farewell(&self, generation: u64, policy: &ClusterPolicy, approved: bool) -> Assignment {
        let ledger = &self.stored.ledger;
        Assignment {
            target: ledger.target.clone(),
            fleet: ledger.fleet.clone(),
            generation,
            release: ledger.assigned.clone().unwrap_or_else(nothing),
            purpose: Purpose::Change,
            base: None,
            quarantined: Vec::new(),
            deletions_approved: approved,
            adopt: false,
            policy: policy.clone(),
        }
    }

    pub(super) fn release_digest(&self) -> ReleaseDigest {
        match (&self.goal, &self.told.order) {
            (Some(goal), _) => goal.assignment.release.digest,
            (None, Some(Order::Assign(assignment))) => assignment.release.digest,
            _ => nothing().digest,
        }
    }

    /// Gets the release, and what the cluster serves.
    pub(super) fn fetch(&self, goal: &Goal) -> AbortOnDropHandle<Prepared> {
        let (cx, set, assignment) =
            (Arc::clone(&self.cx), Arc::clone(&self.set), Arc::clone(&goal.assignment));
        let wanted = matches!(self.told.order, Some(Order::Assign(_)));
        let inventory: BTreeSet<GroupKind> =
            self.stored.ledger.inventory.objects.keys().map(ObjectKey::group_kind).collect();
        let crds: Vec<ObjectKey> =
            self.stored.ledger.inventory.objects.keys().filter(|key| is_crd(key)).cloned().collect();
        // The store knew of a ledger that is not there.
        let lost = !self.stored.is_written() && (assignment.base.is_some() || assignment.generation > 1);
        let others = Arc::clone(&self.told.others);
        let ours = if others.is_empty() { BTreeSet::new() } else { self.inventory_keys() };
        beside(async move {
            let mut fetched =
                fetch(&cx, &set, wanted.then_some(&*assignment), (&inventory, &crds), lost).await;
            if let Ok(found) = &mut fetched
                && let Err(error) = expect(&cx, &assignment, &others, &ours, found).await
            {
                fetched = Err(error);
            }
            Prepared::Fetched(fetched)
        })
    }

    pub(super) async fn take_prepared(&mut self, prepared: Prepared) -> Result<(), FleetEnd> {
        match prepared {
            Prepared::Fetched(Ok(fetched)) => self.look(fetched),
            Prepared::Fetched(Err(FetchError::Missing(missing))) if missing.temporary => {
                self.say_stalled(missing.message).await;
                self.phase = Phase::Stopped;
                self.wake = Some(tokio::time::Instant::now() + self.backoff.next_wait());
            }
            Prepared::Fetched(Err(FetchError::Missing(missing))) => {
                self.say_failed(Cause::ReleaseMissing { message: missing.message }).await;
                self.stop();
            }
            Prepared::Read(Err(error)) if error.is_no_such_resource() => {
                // What was known of the kinds is out of date.
                self.look_what_is_served().await;
                self.phase = Phase::Stopped;
                self.wake = Some(tokio::time::Instant::now() + self.backoff.next_wait());
            }
            Prepared::Fetched(Err(FetchError::Api(error))) | Prepared::Read(Err(error)) => {
                self.prepare_again(&error).await?;
            }
            Prepared::Read(Ok(extra)) => self.make_plan(extra).await?,
            Prepared::Applied(releases) => self.heal_only(&releases),
        }
        Ok(())
    }

    /// Starts to watch every kind in use; the first lists are what is observed.
    fn look(&mut self, fetched: Fetched) {
        let Fetched { release, discovery, unsure, recovered, expected } = fetched;
        (self.expected, self.unsure) = (expected, unsure);
        let Some(goal) = &mut self.goal else { return };
        if let Some(recovered) = recovered {
            tracing::warn!(fleet = %self.name, objects = recovered.len(), "the ledger is missing; every kind was listed");
            self.stored.ledger.inventory.objects.extend(recovered);
        }
        goal.release = release;
        let wanted = goal.release.iter().flat_map(|release| release.kinds());
        let had = self.stored.ledger.inventory.objects.iter();
        let had = had.map(|(key, entry)| (key.group_kind(), entry.version.as_str()));
        let kinds: BTreeMap<GroupKind, &str> = had.chain(wanted).collect();
        let resources = kinds.iter().filter_map(|(kind, version)| discovery.find(kind, version)).cloned();
        let resources: Vec<Resource> = resources.collect();
        let known = self.stored.ledger.inventory.objects.len()
            + goal.release.as_ref().map_or(0, |release| release.objects().count());
        self.eye.look_at(resources, &goal.assignment.policy.drift.ignore, known);
        self.discovery = Some(discovery);
        self.phase = Phase::Observing;
    }

    /// Once the first lists are there, reads what they can't tell.
    pub(super) fn observe(&mut self) {
        if !self.eye.is_complete() {
            return;
        }
        let (Some(goal), Some(discovery)) = (&self.goal, &self.discovery) else { return };
        let siblings = self.cx.siblings_of(&self.name);
        let theirs = |key: &ObjectKey| siblings.values().any(|s| s.wants.contains(key));
        let resolve = |key: &ObjectKey, version: &str| {
            let resource = discovery.find(&key.group_kind(), version)?;
            Some((resource.clone(), plan::resolve_key(key, resource.scope)))
        };
        // Only they bring what our own watches don't see.
        let release = goal.release.iter().filter(|_| !siblings.is_empty());
        let wanted = release.flat_map(|r| r.objects());
        let wanted = wanted.filter_map(|(_, object)| resolve(&object.key, &object.version));
        let reads: Vec<_> = wanted.filter(|(_, key)| self.eye.get(key).is_none() && theirs(key)).collect();
        let counts = self.crds_to_count(goal, discovery, &siblings);
        let (hand, known) = (self.hand(), self.inventory_keys());
        self.prep =
            Some(beside(async move { Prepared::Read(read_extra(&hand, reads, counts, &known).await) }));
        self.phase = Phase::Reading;
    }

    /// The kinds of CRDs that leave.
    fn crds_to_count(
        &self,
        goal: &Goal,
        discovery: &Discovery,
        siblings: &BTreeMap<Arc<str>, Sibling>,
    ) -> Vec<(ObjectKey, Resource)> {
        let adopt = BTreeSet::new();
        let ctx = self.context(&goal.assignment, siblings, None, &adopt);
        let leaving = match &goal.release {
            Some(release) => plan::crds_leaving(release, &ctx),
            None => {
                let keys = ctx.inventory.objects.keys();
                keys.filter(|key| is_crd(key)).cloned().collect()
            }
        };
        let resource = |crd: &ObjectKey| brought_by(discovery, crd).cloned();
        leaving.into_iter().filter_map(|crd| Some((crd.clone(), resource(&crd)?))).collect()
    }

    pub(super) fn hand(&self) -> Hand {
        let ignored = self.goal.iter().flat_map(|goal| goal.assignment.policy.drift.ignore.iter().cloned());
        Hand { session: Arc::clone(&self.cx), set: Arc::clone(&self.set), ignored: ignored.collect() }
    }

    pub(super) fn context<'a>(
        &'a self,
        assignment: &'a Assignment,
        siblings: &'a BTreeMap<Arc<str>, Sibling>,
        back_to: Option<u64>,
        adopt: &'a BTreeSet<ObjectKey>,
    ) -> Context<'a> {
        let inventory = &self.stored.ledger.inventory;
        let now = Timestamp::now();
        Context { assignment, inventory, set: &self.set, siblings, back_to, adopt, now }
    }

    /// What a person lets us take over, by the names that objects really have.
    fn adoptable(&self, goal: &Goal, discovery: &Discovery) -> BTreeSet<ObjectKey> {
        let (release, adopts) = (goal.release.as_deref(), goal.assignment.adopt);
        let mut keys = self.told.adopt.clone();
        if adopts {
            let objects = release.into_iter().flat_map(Release::objects);
            keys.extend(objects.filter_map(|(_, object)| {
                let resource = discovery.find(&object.key.group_kind(), &object.version)?;
                Some(plan::resolve_key(&object.key, resource.scope))
            }));
        }
        keys
    }

    async fn make_plan(&mut self, extra: Extra) -> Result<(), FleetEnd> {
        let (Some(goal), Some(discovery)) = (self.goal.clone(), self.discovery.clone()) else {
            return Ok(());
        };
        if let Some(release) = &goal.release {
            self.note_jobs(release);
        }
        let siblings = self.siblings();
        let adopt = self.adoptable(&goal, &discovery);
        let back_to = self.stored.ledger.back_to(&goal.assignment.release.digest);
        let mut objects = self.eye.objects();
        objects.extend(extra.seen.into_iter().map(|reduced| (reduced.key, reduced.object)));
        let observed = Observed {
            objects,
            kinds: discovery.scopes(),
            unread: self.unread_kinds(goal.release.as_deref(), &discovery),
            foreign_instances: extra.foreign,
        };
        let ctx = self.context(&goal.assignment, &siblings, back_to, &adopt);
        let plan = match (&goal.release, goal.removal) {
            (Some(release), None) => plan::live(release, &observed, &ctx),
            (_, Some(on_removal)) => plan::leave(on_removal, &observed, &ctx),
            (None, None) => plan::leave(OnRemoval::Orphan, &observed, &ctx),
        };
        let generation = goal.assignment.generation;
        if let Some(cause) = plan.fail {
            self.say_failed(cause).await;
            self.stand_by();
            return Ok(());
        }
        if let Some(hold) = plan.hold {
            self.say_held(generation, hold).await;
            self.stand_by();
            return Ok(());
        }
        if goal.removal == Some(OnRemoval::Orphan) {
            return self.orphan(generation).await;
        }
        let preliminary = match self.write_intent(&goal, &plan).await? {
            Intent::Written => false,
            Intent::Blocked => true,
            Intent::Later => return Ok(()),
        };
        self.execute(goal, plan, siblings, adopt, back_to);
        if let Some(run) = self.run.as_mut().filter(|_| preliminary) {
            run.preliminary = true;
            run.jump();
            return Ok(());
        }
        let kept = self.run.as_ref().map(|run| run.kept.clone()).unwrap_or_default();
        self.say_kept(generation, &kept, Vec::new()).await;
        self.pace_plan().await;
        for item in 0..self.run.as_ref().map_or(0, |run| run.items.len()) {
            self.judge_health(item).await;
        }
        Ok(())
    }

    /// What a plan heals is healed at its pace, too: plans are made again and again.
    async fn pace_plan(&mut self) {
        let heals = |(number, item): (usize, &super::run::Item)| {
            let recreates = item.action.verb == Verb::Recreate;
            (recreates || item.action.verb == Verb::Heal)
                .then(|| (number, item.action.key.clone(), recreates))
        };
        let items =
            self.run.as_ref().map(|run| run.items.iter().enumerate().filter_map(heals).collect::<Vec<_>>());
        for (item, key, recreates) in items.unwrap_or_default() {
            let wait = self.paces.step(&key, tokio::time::Instant::now());
            self.count_heal(item, &key).await;
            self.heal_after(item, &key, wait, recreates);
        }
    }

    /// Kinds of which nothing is known: they can't be listed, or their group does not answer.
    pub(super) fn unread_kinds(
        &self,
        release: Option<&Release>,
        discovery: &Discovery,
    ) -> BTreeSet<GroupKind> {
        let mut unread: BTreeSet<GroupKind> = self.eye.unread().keys().cloned().collect();
        unread.extend(self.unsure.iter().cloned());
        let wanted = release.into_iter().flat_map(Release::kinds).map(|(kind, _)| kind);
        let had = self.stored.ledger.inventory.objects.keys().map(ObjectKey::group_kind);
        unread.extend(wanted.chain(had).filter(|kind| discovery.is_unknown(&kind.group)));
        unread
    }

    fn execute(
        &mut self,
        goal: Goal,
        plan: LivePlan,
        siblings: BTreeMap<Arc<str>, Sibling>,
        adopt: BTreeSet<ObjectKey>,
        back_to: Option<u64>,
    ) {
        let heirs = plan.kept.iter().filter(|kept| matches!(kept.why, KeptWhy::HandOver { .. }));
        let hands_over: Vec<ObjectKey> = heirs.map(|kept| kept.key.clone()).collect();
        if !hands_over.is_empty() {
            self.wake = Some(tokio::time::Instant::now() + LOOK_FOR_HEIRS);
        }
        let mut run = Run::new(goal.assignment, goal.release, plan);
        run.take_up(&self.stored.ledger.inventory);
        run.hands_over = hands_over;
        run.siblings = siblings;
        run.adopt = adopt;
        run.back_to = back_to;
        self.settle_order();
        self.said.progress = None;
        self.run = Some(Box::new(run));
        self.refresh_health();
        self.mind_groups();
        self.phase = Phase::Executing;
    }

    /// Records what is about to be done, before anything of it is.
    async fn write_intent(&mut self, goal: &Goal, plan: &LivePlan) -> Result<Intent, FleetEnd> {
        let Some(release) = &goal.release else { return Ok(Intent::Written) };
        let assignment = &goal.assignment;
        let ledger = &self.stored.ledger;
        let new = plan.layers.iter().flat_map(|layer| layer.actions.iter().map(move |a| (&layer.id, a)));
        let new = new.filter(|(_, action)| {
            action.verb != Verb::Held && !ledger.inventory.objects.contains_key(&action.key)
        });
        let new: Vec<(LayerId, ObjectKey, String)> =
            new.map(|(layer, a)| (layer.clone(), a.key.clone(), a.version.clone())).collect();
        let resumed = ledger.generation == assignment.generation
            && ledger.assigned.as_ref().is_some_and(|a| a.digest == assignment.release.digest);
        let wants: BTreeSet<ObjectKey> =
            plan.layers.iter().flat_map(|l| &l.actions).map(|a| a.key.clone()).collect();
        let known = resumed || ledger.is_converged_at(&assignment.release.digest);
        if self.stored.is_written() && known && new.is_empty() && !self.unwritten {
            self.cx.set_sibling(&self.stored, wants);
            return Ok(Intent::Written);
        }
        let at = self.cx.api.server_time();
        let ledger = &mut self.stored.ledger;
        ledger.intend(assignment, at);
        let origin = Origin::Intended { at, generation: assignment.generation };
        for (layer, key, version) in new {
            let entry = InventoryEntry {
                version,
                uid: None,
                layer,
                applied: None,
                fields: None,
                origin,
                left_out: Vec::new(),
                stays: Vec::new(),
                finished: false,
            };
            ledger.inventory.objects.insert(key, entry);
        }
        let order = release.layers.iter().map(|layer| layer.id.clone());
        reorder(&mut ledger.inventory.layers, order.collect());
        self.cx.set_sibling(&self.stored, wants);
        self.unwritten = true;
        let refused = match self.cx.store.write(&mut self.stored).await {
            Err(WriteError::Api(error)) if error.at_admission() && may_unblock(plan) => error,
            other => {
                let written = self.wrote_ledger(other).await?;
                return Ok(if written { Intent::Written } else { Intent::Later });
            }
        };
        // What the ledger knows already may be changed and deleted before it grows, as long as it is ours.
        match self.cx.store.is_current(&self.stored).await {
            Ok(true) => {
                let target = &self.cx.settings.target;
                tracing::warn!(cluster = %target, fleet = %self.name, error = %refused, "the ledger can't be written; what may hinder that goes first");
                Ok(Intent::Blocked)
            }
            Ok(false) => Err(FleetEnd::Reread),
            Err(error) => {
                self.prepare_again(&error).await?;
                Ok(Intent::Later)
            }
        }
    }
}

/// How the writing of an intent ended.
enum Intent {
    Written,
    /// It is tried again.
    Later,
    /// It was refused by something that the plan may take away.
    Blocked,
}

/// Whether a plan holds something that may end a refusal at admission, and that the ledger knows.
fn may_unblock(plan: &LivePlan) -> bool {
    let changes =
        |action: &Action| matches!(action.verb, Verb::Update | Verb::Heal) && plan::may_unblock(&action.key);
    !plan.unblock.is_empty() || plan.layers.iter().flat_map(|layer| &layer.actions).any(changes)
}

/// The release's layers in their order; what it dropped keeps its place behind them until it is pruned.
pub(super) fn reorder(layers: &mut Vec<LayerId>, order: Vec<LayerId>) {
    let dropped: Vec<LayerId> = layers.drain(..).filter(|layer| !order.contains(layer)).collect();
    *layers = order.into_iter().chain(dropped).collect();
}

/// Stands for a release where there is none.
fn nothing() -> ReleaseRef {
    let control = Revision::control(CommitId::from_bytes([0; 20]));
    let revisions = Revisions { control, profiles: BTreeMap::new() };
    ReleaseRef { digest: ReleaseDigest::from_bytes([0; 32]), revisions }
}

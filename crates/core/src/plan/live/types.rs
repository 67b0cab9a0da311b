//! What a live plan is made from, and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::assignment::{Assignment, Cause, Hold};
use crate::model::digest::{FieldsDigest, ObjectDigest, ReleaseDigest};
use crate::model::field_path::for_people;
use crate::model::name::FleetName;
use crate::model::object::{GroupKind, ObjectKey};
use crate::model::release::LayerId;

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// What a cluster has, as far as decisions need it. Keys are resolved (see [`resolve_key`](super::resolve_key)).
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// What was seen under the label of our set or of a sibling, and whatever else the reader happened to see.
    /// An object that is not in here is *not seen under our label*: gone, stripped, or someone else's.
    pub objects: BTreeMap<ObjectKey, ObservedObject>,
    /// The kinds that the cluster serves.
    pub kinds: BTreeMap<GroupKind, Scope>,
    /// Kinds that are served but could not be read, and kinds of groups whose discovery failed: unknown, never
    /// empty.
    pub unread: BTreeSet<GroupKind>,
    /// For each CRD of [`crds_leaving`](super::crds_leaving): how many of its instances are not in our inventory.
    /// A CRD that is missing here was not counted, and stays.
    pub foreign_instances: BTreeMap<ObjectKey, usize>,
}

/// One object of the cluster, reduced on arrival.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedObject {
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    /// None for kinds without generations.
    pub generation: Option<i64>,
    /// creationTimestamp; the server writes whole seconds.
    pub created: Option<Timestamp>,
    /// The annotation `fairlead.dev/digest`; None when absent or not a digest.
    pub digest: Option<ObjectDigest>,
    /// The label `applyset.kubernetes.io/part-of`.
    pub part_of: Option<Arc<str>>,
    /// Digest of our own `managedFields` entry; None: we have none.
    pub fields: Option<FieldsDigest>,
    /// Names of the other field managers, sorted, each once.
    pub managers: Box<[Arc<str>]>,
    /// What other managers own of the fields that the policy's ignored patterns can name, as paths (see
    /// [`field_path`](crate::model::field_path)).
    pub yielded: Vec<String>,
    /// The annotation `fairlead.dev/prune` is `allow`.
    pub prune_allowed: bool,
    /// The annotation `fairlead.dev/replace` is `allow`.
    pub replace_allowed: bool,
    /// A deletionTimestamp is set.
    pub terminating: bool,
    /// Another manager owns a field that our entry owns too.
    pub shared: bool,
    /// A Job that has completed and that its time to live will remove.
    pub finished: bool,
    /// What is said of that; boxed, for few objects are being deleted.
    pub deletion: Option<Box<Deletion>>,
    /// The annotation `fairlead.dev/hold-until`; boxed, for few objects have it.
    pub glass: Option<Box<HoldUntil>>,
}

/// What an object that is being deleted says of it. Texts are cleaned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// deletionTimestamp: when it was asked for, and a grace period later.
    pub since: Option<Timestamp>,
    /// Who must be done with it first.
    pub finalizers: Vec<String>,
}

impl fmt::Display for Deletion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.map(|since| format!("since {since}"));
        let finalizers =
            (!self.finalizers.is_empty()).then(|| format!("finalizers: {}", self.finalizers.join(", ")));
        let parts: Vec<String> = finalizers.into_iter().chain(since).collect();
        f.write_str(&parts.join(", "))
    }
}

/// What the annotation `fairlead.dev/hold-until` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldUntil {
    /// None: no time.
    pub until: Option<Timestamp>,
    /// Names of the managers that own the annotation, sorted.
    pub by: Vec<String>,
}

impl HoldUntil {
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// What the ledger remembers about the objects of one (instance, fleet).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    pub objects: BTreeMap<ObjectKey, InventoryEntry>,
    /// Layers in the order in which they were last applied; layers that the release dropped are pruned in the
    /// reverse of it.
    pub layers: Vec<LayerId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryEntry {
    /// Version in which it was last applied, e.g. `v1`.
    pub version: String,
    /// None until a result was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Box<str>>,
    pub layer: LayerId,
    /// Digest of what the last *result* says was applied; None between intent and result of the first apply.
    /// The intent of a change leaves it as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<ObjectDigest>,
    /// Digest of our `managedFields` entry after that apply; None: lost in a crash, costs one comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<FieldsDigest>,
    pub origin: Origin,
    /// Paths of ignored fields that the last apply left out because another manager owned them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Fields that Git dropped and that stay, because others own them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stay>,
    /// A Job that completed as it was applied last, and that its time to live removes: it is not made again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
}

/// A field that stays in the cluster though Git dropped it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stay {
    /// See [`field_path`](crate::model::field_path).
    pub path: String,
    /// Names of the field managers that own it.
    pub managers: Vec<String>,
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, managers) = (for_people(&self.path), self.managers.join(", "));
        write!(f, "the field {path} stays though Git dropped it, because {managers} owns it too")
    }
}

/// How an object came to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "how")]
pub enum Origin {
    /// The intent was written, the outcome is not recorded yet. Settled by [`was_there_before`](super::was_there_before).
    Intended { at: Timestamp, generation: u64 },
    /// By this ledger, under the assignment of this generation.
    Created { generation: u64 },
    /// It was there before and is shared with its other owners: released, never deleted, when it leaves.
    Adopted,
    /// It was there before and was taken over by force (`fairlead adopt`, `adopt: true`): ours in full, but going
    /// back releases it instead of deleting it.
    Taken,
}

/// Another ledger of this instance in the same cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    pub fleet: FleetName,
    /// Keys that its inventory lists or its assigned release wants: never pruned by us, as long as it has not left.
    pub wants: BTreeSet<ObjectKey>,
    /// Keys that it had adopted: they stay adopted when they come over.
    pub adopted: BTreeSet<ObjectKey>,
    /// The target has left this fleet: what it left behind is for whoever takes it.
    pub left: bool,
}

impl Sibling {
    /// Whether an object is, or will be, its own.
    pub fn claims(&self, key: &ObjectKey) -> bool {
        !self.left && self.wants.contains(key)
    }
}

/// What decisions need beside the release and the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Purpose, generation, approval of deletions, policy.
    pub assignment: &'a Assignment,
    pub inventory: &'a Inventory,
    /// Our ApplySet id, the value of the part-of label.
    pub set: &'a str,
    /// By ApplySet id.
    pub siblings: &'a BTreeMap<Arc<str>, Sibling>,
    /// When going back: the generation under which the cluster last converged at that release. What was created
    /// under a later one is deleted outside the budget. None: nothing is outside the budget.
    pub back_to: Option<u64>,
    /// Objects that a person let us take over (`fairlead adopt`).
    pub adopt: &'a BTreeSet<ObjectKey>,
    /// For what a person holds until some time.
    pub now: Timestamp,
}

/// What is done to one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// Apply; nothing of ours is known to be there. The answer's creationTimestamp tells whether something was.
    Create,
    /// Apply what changed.
    Update,
    /// Proved as it should be: no request.
    Unchanged,
    /// The proof was lost: fetch once and compare; if it differs, apply by force (`force`), else only say so.
    Compare,
    /// Apply to an object that was there before and belongs to no set.
    Adopt,
    /// Apply to an object of a sibling ledger: it changes hands, its uid stays.
    TakeOver { from: FleetName },
    /// Apply, because someone else changed or removed it.
    Heal,
    /// Someone else changed or removed it, and the policy is only to say so.
    Report,
    /// Delete with preconditions, wait until it is gone, apply.
    Replace,
    /// It is being deleted by someone: wait until it is gone, apply.
    Recreate,
    /// Delete with preconditions, wait until it is gone, drop it from the inventory.
    Delete,
    /// It is being deleted already: wait until it is gone, drop it from the inventory.
    AwaitGone,
    /// Give it up: remove our label, annotation and field ownership, drop it from the inventory.
    Release,
    /// Drop it from the inventory; no request.
    Forget,
    /// Nothing, until a person decides: see the plan's `hold`.
    Held,
}

impl Verb {
    /// Whether it sends an apply whatever the cluster answers to anything before.
    pub fn applies(&self) -> bool {
        use Verb::*;
        matches!(self, Create | Update | Adopt | TakeOver { .. } | Heal | Replace | Recreate)
    }
}

/// Why that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    #[error("new in the release")]
    New,
    #[error("the release changes it")]
    Changed,
    #[error("as it should be")]
    Same,
    #[error("an apply was under way when the record was lost")]
    Unrecorded,
    #[error("the record of its fields was lost")]
    ProofLost,
    #[error("was there before; other owners: {}", list(.managers))]
    ThereBefore { managers: Vec<String> },
    #[error("moves here from fleet {from}")]
    Moves { from: FleetName },
    #[error("someone else changed it")]
    Drifted,
    #[error("someone else changed it and keeps it from being healed until {until}: {by}")]
    BreakGlass {
        #[schemars(with = "String")]
        until: Timestamp,
        by: String,
    },
    #[error("someone else removed it or its label")]
    Missing,
    #[error("it completed and its time to live removed it")]
    Finished,
    #[error("another manager owns ignored paths: {}", list(.paths))]
    Yields { paths: Vec<String> },
    #[error("no other manager owns ignored paths any more: {}", list(.paths))]
    TakesBack { paths: Vec<String> },
    #[error("a field that can't be changed, and fairlead.dev/replace allows a new object")]
    Immutable,
    #[error("is being deleted")]
    Terminating,
    #[error("objects of its kind could not be read")]
    Unread,
    #[error("the release dropped it")]
    Dropped,
    #[error("going back: created since")]
    CreatedSince,
    #[error("replaced by {by}")]
    Superseded { by: String },
    #[error("was there before Fairlead")]
    Adopted,
    #[error("the target leaves the fleet")]
    Leaves,
    #[error("is gone, or no longer carries our label")]
    NotOurs,
    #[error("is another object, with a copy of our label")]
    Copied,
    #[error("now belongs to fleet {to}")]
    HandedOver { to: FleetName },
    #[error("is managed by another set ({owner})")]
    ForeignOwner { owner: String },
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// What must still hold for a delete to be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Precondition {
    pub uid: Box<str>,
    pub resource_version: Box<str>,
}

/// Whether the cluster serves the kind of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Served {
    Yes,
    /// Not yet; a CRD of this release brings it.
    By(ObjectKey),
    /// Not, and no CRD of this release brings it: once everything that its layer waits for is healthy, the
    /// release fails with `UnknownKind`.
    No,
}

/// One thing to do to one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// With the namespace that the object really has.
    pub key: ObjectKey,
    /// Version within the group: of the release, or for what leaves, of the inventory.
    pub version: String,
    pub verb: Verb,
    pub why: Why,
    /// Whether conflicts with other managers are forced.
    pub force: bool,
    /// Index into the objects of the layer in the release; None for what leaves.
    pub object: Option<usize>,
    pub served: Served,
    /// Paths of ignored fields to leave out of what is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leave_out: Vec<String>,
    /// Whether a refusal as immutable may be answered by delete and create (`fairlead.dev/replace: allow`), as
    /// long as [`LivePlan::deletions_left`] lasts.
    pub may_replace: bool,
    /// A change of an object that can block others, and will not any more: it goes before everything else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unblocks: bool,
    /// For what deletes or may replace: as observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precondition: Option<Precondition>,
    /// How the ledger remembers it once this is done; None: not known before the answer is there (see
    /// [`was_there_before`](super::was_there_before)), or nothing remains.
    #[serde(skip)]
    pub origin: Option<Origin>,
}

/// One layer of the release and what is done to its objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedLayer {
    pub id: LayerId,
    pub depends_on: Vec<LayerId>,
    /// The layers, of those that it depends on directly or through others, that this assignment changes: they
    /// must be healthy before it starts.
    pub waits: Vec<LayerId>,
    /// Whether this assignment changes the layer.
    pub changes: bool,
    /// In parallel inside a rank: first namespaces and CRDs, then the rest (`steps`).
    pub actions: Vec<Action>,
    /// How many of `actions`, from the start, are the first rank.
    pub first: usize,
}

/// An object of the inventory that stays in the cluster and in the inventory though the release dropped it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    pub key: ObjectKey,
    pub why: KeptWhy,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum KeptWhy {
    #[error("{kind} is a protected kind: needs an approval or the annotation fairlead.dev/prune: allow")]
    Protected { kind: String },
    #[error("going back leaves protected kinds ({kind})")]
    ProtectedGoingBack { kind: String },
    #[error("fleet {to} takes it over")]
    HandOver { to: FleetName },
    #[error("{by} still needs it")]
    StillUsed { by: ObjectKey },
    #[error("it still has {count} objects that are not ours")]
    ForeignInstances { count: usize },
    #[error("it is not known whether it still has objects that are not ours")]
    InstancesUnknown,
    #[error("objects of its kind could not be read")]
    Unread,
}

impl KeptWhy {
    /// Whether an approval lets it go.
    pub fn is_protected(&self) -> bool {
        matches!(self, KeptWhy::Protected { .. } | KeptWhy::ProtectedGoingBack { .. })
    }
}

/// What is done to one cluster for one assignment: a finished document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LivePlan {
    /// None when the target leaves the fleet.
    pub release: Option<ReleaseDigest>,
    /// As in the release, in its order.
    pub layers: Vec<PlannedLayer>,
    /// Deletions that go before everything else: of objects that can keep others from being written.
    pub unblock: Vec<Action>,
    /// After every layer is healthy: stages, each gone before the next begins; within one in parallel.
    pub prune: Vec<Vec<Action>>,
    pub kept: Vec<Kept>,
    /// Set: nothing of the plan may be executed until a person decides.
    pub hold: Option<Hold>,
    /// Set: the release can't work in this cluster, nothing of the plan may be executed.
    pub fail: Option<Cause>,
    /// How many more deletions (by replacing) the budget allows.
    pub deletions_left: usize,
}

impl LivePlan {
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        let applied = self.layers.iter().flat_map(|layer| &layer.actions);
        self.unblock.iter().chain(applied).chain(self.prune.iter().flatten())
    }

    /// Whether executing it sends no request.
    pub fn is_noop(&self) -> bool {
        self.actions().all(|a| matches!(a.verb, Verb::Unchanged | Verb::Report | Verb::Forget | Verb::Held))
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Unchanged => "unchanged",
            Verb::Compare => "compare",
            Verb::Adopt => "adopt",
            Verb::TakeOver { .. } => "take over",
            Verb::Heal => "heal",
            Verb::Report => "report",
            Verb::Replace => "replace",
            Verb::Recreate => "recreate",
            Verb::Delete => "delete",
            Verb::AwaitGone => "await gone",
            Verb::Release => "release",
            Verb::Forget => "forget",
            Verb::Held => "held",
        })
    }
}

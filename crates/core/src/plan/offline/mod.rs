//! What a change does to a fleet: release against release, or release against live objects, in one document.

pub mod comment;
mod compare;
mod group;
mod live;
mod markdown;
pub mod print;
mod project;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::notes::Note;
use std::collections::BTreeMap;

use crate::model::diagnostic::Place;
use crate::model::name::{FleetName, TargetName};
use crate::model::object::ObjectKey;
use crate::model::release::LayerId;

pub use compare::{Rules, compare};
pub use live::against;
pub use markdown::foreign;
pub use project::{covers, fold_string_data};

/// What a change does to every target, equal changes grouped. Secret values are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetPlan {
    /// Largest group first.
    pub groups: Vec<Group>,
    /// Targets for which nothing changes.
    pub unchanged: Vec<Member>,
    /// Targets for which no plan could be made, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unplanned: Vec<Unplanned>,
    /// What could not be read, so that whom it concerns is not known either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Unread>,
}

/// One target of one fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub fleet: FleetName,
    pub target: TargetName,
}

/// Targets of one fleet for which the change is the same. Where it differs by the target's own name alone,
/// `${{ cluster.name }}` stands for that in the diffs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    pub fleet: FleetName,
    /// In the order of their names; at least one.
    pub targets: Vec<TargetName>,
    #[serde(flatten)]
    pub change: Change,
}

/// A change, without whom it concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub membership: Membership,
    /// Only layers in which something changes, in the order of applying.
    pub layers: Vec<LayerChange>,
    /// Most severe first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// Whether the target stays in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Membership {
    Stays,
    /// New in the fleet; its objects are listed without diffs.
    Joins,
    /// Leaves the fleet; its objects are listed without diffs.
    Leaves,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LayerChange {
    pub layer: LayerId,
    pub objects: Vec<ObjectChange>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    pub object: ObjectKey,
    pub what: What,
    /// In a live plan, and for what needs a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Where the new version is written in the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Unified diff of the object as YAML, secrets redacted; empty where nothing in it differs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub diff: String,
}

/// What becomes of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum What {
    Added,
    Changed,
    /// To another layer; the object in the cluster stays the same one.
    Moved {
        from: LayerId,
    },
    Removed,
    /// Live: someone else changed it; it is put right.
    Healed,
    /// Live: someone else changed it; it is only said.
    Drifted,
    /// Live: was there before, or belonged to another fleet.
    TakenOver,
    /// Live: deleted and created again.
    Replaced,
    /// Live: given up, not deleted.
    Released,
    /// Live: left the release, stays in the cluster.
    Kept,
    /// Live: is gone already, or no longer ours.
    Forgotten,
    /// Live: waits for a person.
    Held,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unplanned {
    pub fleet: FleetName,
    pub target: TargetName,
    pub reason: String,
}

/// A document, file or folder that could not be read, of which no target is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unread {
    /// E.g. `fleet retail` or `fleets/retail.yaml`.
    pub what: String,
    pub reason: String,
    /// If it concerns this target alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
}

impl Change {
    pub fn is_empty(&self) -> bool {
        self.membership == Membership::Stays && self.layers.is_empty() && self.notes.is_empty()
    }

    fn objects(&self) -> impl Iterator<Item = &ObjectChange> {
        self.layers.iter().flat_map(|layer| &layer.objects)
    }
}

impl FleetPlan {
    /// Groups equal changes, and those that differ by the target's own name alone.
    pub fn of(changes: impl IntoIterator<Item = (Member, Change)>) -> Self {
        let (empty, changes): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, c)| c.is_empty());
        let unchanged = empty.into_iter().map(|(member, _)| member).collect();
        let mut plan =
            Self { groups: group::group(changes), unchanged, unplanned: Vec::new(), unread: Vec::new() };
        plan.sort();
        plan
    }

    /// Fleets by name; in each the change with most targets first, then by the first target's name.
    fn sort(&mut self) {
        self.groups.sort_by(|a, b| {
            let key = |g: &Group| (std::cmp::Reverse(g.targets.len()), g.targets.first().cloned());
            (&a.fleet, key(a)).cmp(&(&b.fleet, key(b)))
        });
        self.unchanged.sort_unstable();
        self.unplanned.sort_unstable();
        self.unread.sort_unstable();
    }

    pub fn unread(mut self, more: impl IntoIterator<Item = Unread>) -> Self {
        self.unread.extend(more);
        self.sort();
        self
    }

    /// Whether something of what was asked about is not known.
    pub fn is_partial(&self) -> bool {
        !self.unplanned.is_empty() || !self.unread.is_empty()
    }

    /// Targets without a plan, those with the same reason together.
    fn unplanned_groups(&self) -> BTreeMap<(&FleetName, &str), Vec<TargetName>> {
        let mut groups: BTreeMap<_, Vec<TargetName>> = BTreeMap::new();
        for entry in &self.unplanned {
            groups.entry((&entry.fleet, entry.reason.as_str())).or_default().push(entry.target.clone());
        }
        groups
    }

    pub fn unplanned(mut self, more: impl IntoIterator<Item = Unplanned>) -> Self {
        self.unplanned.extend(more);
        self.sort();
        self
    }

    /// Keeps only these targets; all of them if the list is empty.
    pub fn keep_targets(&mut self, targets: &[TargetName]) {
        if targets.is_empty() {
            return;
        }
        for group in &mut self.groups {
            group.targets.retain(|target| targets.contains(target));
        }
        self.groups.retain(|group| !group.targets.is_empty());
        self.unchanged.retain(|member| targets.contains(&member.target));
        self.unplanned.retain(|entry| targets.contains(&entry.target));
        self.unread.retain(|entry| entry.target.as_ref().is_none_or(|target| targets.contains(target)));
        self.sort();
    }

    /// Whether nothing changes anywhere, and all could be read.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && !self.is_partial()
    }
}

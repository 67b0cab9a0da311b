//! Release against release.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::{Change, FleetPlan, LayerChange, Member, Membership, ObjectChange, What};
use crate::model::digest::ObjectDigest;
use crate::model::fleet::{OnRemoval, PruneSpec};
use crate::model::name::{FleetName, TargetName};
use crate::model::object::ObjectKey;
use crate::model::release::{LayerId, Release, ReleaseLayer, ReleaseObject};
use crate::plan::immutable::immutable_changes;
use crate::plan::notes::{Note, NoteKind};
use crate::plan::{live_rules, yaml};

/// What of a fleet's document decides what a change does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    pub prune: PruneSpec,
    pub on_removal: OnRemoval,
}

/// What `to` changes against `from`, for every (fleet, target) of either. A fleet without rules has the default ones.
pub fn compare<'a>(
    from: impl IntoIterator<Item = &'a Release>,
    to: impl IntoIterator<Item = &'a Release>,
    rules: &BTreeMap<FleetName, Rules>,
) -> FleetPlan {
    let mut pairs: BTreeMap<(&FleetName, &TargetName), Sides<'_>> = BTreeMap::new();
    for release in from {
        pairs.entry((&release.fleet, &release.target)).or_default().old = Some(release);
    }
    for release in to {
        pairs.entry((&release.fleet, &release.target)).or_default().new = Some(release);
    }
    let default = Rules::default();
    let mut differ = Differ::default();
    let mut changes = Vec::with_capacity(pairs.len());
    for ((fleet, target), sides) in pairs {
        let rules = rules.get(fleet).unwrap_or(&default);
        let member = Member { fleet: fleet.clone(), target: target.clone() };
        changes.push((member, sides.change(rules, &mut differ)));
    }
    FleetPlan::of(changes)
}

#[derive(Default, Clone, Copy)]
struct Sides<'a> {
    old: Option<&'a Release>,
    new: Option<&'a Release>,
}

type Place<'a> = (&'a ReleaseLayer, &'a ReleaseObject);

impl<'a> Sides<'a> {
    fn change(self, rules: &Rules, differ: &mut Differ) -> Change {
        let membership = match (self.old, self.new) {
            (None, _) => Membership::Joins,
            (_, None) => Membership::Leaves,
            _ => Membership::Stays,
        };
        let (old, new) = (self.objects(self.old, self.new), self.objects(self.new, self.old));
        let mut layers: BTreeMap<LayerId, Vec<ObjectChange>> = BTreeMap::new();
        let mut notes = Vec::new();
        let mut removed = Vec::new();
        let shows = membership == Membership::Stays;
        for (key, (layer, object)) in &new {
            if let Some(change) = differ.change(old.get(key), layer, object, shows, &mut notes) {
                layers.entry(layer.id.clone()).or_default().push(change);
            }
        }
        for (key, (layer, object)) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
            removed.push((*key).clone());
            let diff = if shows { differ.diff(Some(object), None) } else { Arc::from("") };
            layers.entry(layer.id.clone()).or_default().push(ObjectChange {
                object: (*key).clone(),
                what: What::Removed,
                why: None,
                place: None,
                diff: diff.to_string(),
            });
        }
        notes.extend(self.deletion_notes(&removed, rules));
        notes.sort();
        Change { membership, layers: self.in_order(layers), notes: notes.into_iter().collect() }
    }

    /// The objects of layers that the other side does not have just so, by a key that takes a missing namespace for
    /// `default`: the two are one object to a cluster.
    fn objects(
        self,
        side: Option<&'a Release>,
        other: Option<&'a Release>,
    ) -> BTreeMap<ObjectKey, Place<'a>> {
        let same = |layer: &ReleaseLayer| {
            let mut others = other.into_iter().flat_map(|o| &o.layers);
            others.any(|o| o.id == layer.id && o.content.digest == layer.content.digest)
        };
        let layers = side.into_iter().flat_map(|side| &side.layers).filter(|layer| !same(layer));
        let objects =
            layers.flat_map(|layer| layer.content.objects.iter().map(move |object| (layer, object)));
        objects.map(|(layer, object)| (without_default(&object.key), (layer, object))).collect()
    }

    /// In the order of applying: that of the new release, then what only the old one has.
    fn in_order(self, mut layers: BTreeMap<LayerId, Vec<ObjectChange>>) -> Vec<LayerChange> {
        let order = [self.new, self.old].into_iter().flatten().flat_map(|release| &release.layers);
        let mut out = Vec::with_capacity(layers.len());
        for layer in order {
            if let Some(mut objects) = layers.remove(&layer.id) {
                objects.sort_by(|a, b| a.object.cmp(&b.object));
                out.push(LayerChange { layer: layer.id.clone(), objects });
            }
        }
        out
    }

    fn deletion_notes(self, removed: &[ObjectKey], rules: &Rules) -> Vec<Note> {
        let of = self.old.map_or(0, |old| old.objects().count());
        if self.new.is_none() {
            let deletes = rules.on_removal == OnRemoval::Delete;
            return vec![Note::new(NoteKind::Leaves { of, deletes })];
        }
        let mut notes = Vec::new();
        if of > 0 && self.new.is_some_and(|new| new.objects().next().is_none()) {
            notes.push(NoteKind::LosesEverything { of, allowed: rules.prune.allow_empty });
        }
        let mut count = 0;
        let new_keys: Vec<&ObjectKey> =
            self.new.into_iter().flat_map(|new| new.objects()).map(|(_, object)| &object.key).collect();
        for object in removed {
            if live_rules::is_protected(object, &rules.prune.protect) {
                notes.push(NoteKind::Protected { object: object.clone() });
                continue;
            }
            notes.extend(NoteKind::deletes(object));
            count += usize::from(live_rules::superseded_by(object, new_keys.iter().copied()).is_none());
        }
        let budget = rules.prune.budget(of);
        if count > budget {
            notes.push(NoteKind::Budget { count, of, budget });
        }
        notes.into_iter().map(Note::new).collect()
    }
}

fn without_default(key: &ObjectKey) -> ObjectKey {
    key.with_namespace(key.namespace().filter(|namespace| *namespace != "default"))
}

/// Diffs of objects, each made once however many targets share it.
#[derive(Default)]
struct Differ {
    diffs: HashMap<(Option<ObjectDigest>, Option<ObjectDigest>), Arc<str>>,
}

impl Differ {
    fn change(
        &mut self,
        old: Option<&Place<'_>>,
        layer: &ReleaseLayer,
        new: &ReleaseObject,
        shows: bool,
        notes: &mut Vec<Note>,
    ) -> Option<ObjectChange> {
        let what = match old {
            None => What::Added,
            Some((from, _)) if from.id != layer.id => What::Moved { from: from.id.clone() },
            Some((_, old)) if old.digest == new.digest => return None,
            Some(_) => What::Changed,
        };
        let old = old.map(|(_, object)| *object);
        if let Some(old) = old.filter(|old| old.digest != new.digest) {
            notes.extend(immutable_note(&parse(old), &parse(new), &new.key));
        }
        let diff = if shows { self.diff(old, Some(new)) } else { Arc::from("") };
        let (object, place) = (without_default(&new.key), Some(new.place.clone()));
        Some(ObjectChange { object, what, why: None, place, diff: diff.to_string() })
    }

    fn diff(&mut self, old: Option<&ReleaseObject>, new: Option<&ReleaseObject>) -> Arc<str> {
        let key = (old.map(|o| o.digest), new.map(|o| o.digest));
        let kind = new.or(old).map_or("", |object| object.key.kind());
        let make = || yaml::diff(kind, old.map(parse).as_ref(), new.map(parse).as_ref()).into();
        Arc::clone(self.diffs.entry(key).or_insert_with(make))
    }
}

/// Objects of a release are JSON that Fairlead wrote; should one not be, its diff is empty.
fn parse(object: &ReleaseObject) -> Value {
    serde_json::from_slice(&object.bytes).unwrap_or(Value::Null)
}

/// A change of immutable fields, and whether the object may be replaced for it.
pub(super) fn immutable_note(old: &Value, new: &Value, key: &ObjectKey) -> Option<Note> {
    let fields = immutable_changes(key, old, new);
    if fields.is_empty() {
        return None;
    }
    let object = key.clone();
    let allowed = live_rules::allows_replace(new);
    Some(Note::new(if allowed {
        NoteKind::Replaces { object, fields }
    } else {
        NoteKind::Immutable { object, fields }
    }))
}

//! Release against live objects: a live plan with what its actions change.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::immutable_note;
use super::project::{comparable, project};
use super::{Change, LayerChange, Membership, ObjectChange, What};
use crate::model::field_path;
use crate::model::object::ObjectKey;
use crate::model::release::{LayerId, Release, ReleaseObject};
use crate::plan::notes::{Note, NoteKind};
use crate::plan::{Action, Inventory, Kept, LivePlan, Verb, leave_to_controllers, yaml};

/// What executing `plan` changes in a cluster, for people. Only fields that the release says, or that we own and
/// would remove, are compared; what is equal in the end is left out.
///
/// `live`: the objects as the server has them, those of the plan at least. `owned`: the JSON pointers that our
/// `managedFields` entry owns in a live object.
pub fn against(
    release: &Release,
    plan: &LivePlan,
    inventory: &Inventory,
    live: &BTreeMap<ObjectKey, Value>,
    owned: impl Fn(&Value) -> Vec<String>,
) -> Change {
    let mut notes = Vec::new();
    let mut layers = Vec::new();
    for (planned, layer) in plan.layers.iter().zip(&release.layers) {
        let mut objects = Vec::new();
        for action in &planned.actions {
            let Some(object) = action.object.and_then(|index| layer.content.objects.get(index)) else {
                continue;
            };
            let has = live.get(&action.key);
            let owned = has.map(&owned).unwrap_or_default();
            if let Some(change) = applied(action, object, has, &owned, &mut notes) {
                objects.push(change);
            }
        }
        layers.push((layer.id.clone(), objects));
    }
    let layer_of = |key: &ObjectKey| inventory.objects.get(key).map(|entry| entry.layer.clone());
    let leaving = plan.unblock.iter().chain(plan.prune.iter().flatten());
    let leaving = leaving.map(|action| (layer_of(&action.key), left(action, live, &mut notes)));
    let leaving: Vec<_> = leaving.collect();
    let kept = plan.kept.iter().map(|kept| (layer_of(&kept.key), stays(kept)));
    for (id, change) in leaving.into_iter().chain(kept) {
        put(&mut layers, id, change);
    }
    layers.retain(|(_, objects)| !objects.is_empty());
    let of = inventory.objects.len();
    let layers = layers.into_iter().map(|(layer, objects)| LayerChange { layer, objects }).collect();
    let hold = plan.hold.as_ref().map(|hold| NoteKind::Holds { reason: hold.to_string() });
    let fail = plan.fail.as_ref().map(|cause| NoteKind::Fails { reason: cause.to_string() });
    notes.extend(hold.into_iter().chain(fail).map(Note::new));
    notes.sort();
    let membership = if of == 0 && plan.release.is_some() { Membership::Joins } else { Membership::Stays };
    Change { membership, layers, notes }
}

fn put(layers: &mut Vec<(LayerId, Vec<ObjectChange>)>, id: Option<LayerId>, change: ObjectChange) {
    let Some(id) = id else { return };
    match layers.iter_mut().find(|(layer, _)| *layer == id) {
        Some((_, objects)) => objects.push(change),
        None => layers.push((id, vec![change])),
    }
}

fn applied(
    action: &Action,
    object: &ReleaseObject,
    live: Option<&Value>,
    owned: &[String],
    notes: &mut Vec<Note>,
) -> Option<ObjectChange> {
    let mut desired = comparable(&serde_json::from_slice(&object.bytes).ok()?);
    // What others own is not sent, so it is not part of what is wanted.
    leave_to_controllers(&mut desired);
    field_path::remove(&mut desired, &action.leave_out);
    let has = live.map(|live| without_stamps(project(&desired, live, owned)));
    let what = match &action.verb {
        Verb::Unchanged => return None,
        Verb::Heal | Verb::Compare => What::Healed,
        Verb::Report => What::Drifted,
        Verb::Held => What::Held,
        Verb::Adopt | Verb::TakeOver { .. } => What::TakenOver,
        Verb::Replace | Verb::Recreate => What::Replaced,
        _ if has.is_none() => What::Added,
        _ => What::Changed,
    };
    let diff = yaml::diff(action.key.kind(), has.as_ref(), Some(&desired));
    if action.verb == Verb::Compare && diff.is_empty() {
        return None;
    }
    if let (Some(live), Verb::Update) = (live, &action.verb) {
        notes.extend(immutable_note(live, &desired, &action.key));
    }
    let (key, place) = (action.key.clone(), Some(object.place.clone()));
    Some(ObjectChange { object: key, what, why: Some(action.why.to_string()), place, diff })
}

/// What we add to every object is no news to anyone.
fn without_stamps(mut live: Value) -> Value {
    let stamps = [
        ("/metadata/annotations", "annotations", "fairlead.dev/digest"),
        ("/metadata/labels", "labels", "applyset.kubernetes.io/part-of"),
    ];
    for (pointer, map, name) in stamps {
        let Some(Value::Object(entries)) = live.pointer_mut(pointer) else { continue };
        entries.remove(name);
        if entries.is_empty()
            && let Some(metadata) = live.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove(map);
        }
    }
    live
}

fn left(action: &Action, live: &BTreeMap<ObjectKey, Value>, notes: &mut Vec<Note>) -> ObjectChange {
    let what = match &action.verb {
        Verb::Release => What::Released,
        Verb::Forget => What::Forgotten,
        _ => What::Removed,
    };
    let mut diff = String::new();
    if what == What::Removed {
        notes.extend(NoteKind::deletes(&action.key).map(Note::new));
        let mut object = live.get(&action.key).cloned();
        if let Some(Value::Object(map)) = &mut object {
            map.remove("status");
            if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.retain(|name, _| {
                    matches!(name.as_str(), "name" | "namespace" | "labels" | "annotations")
                });
            }
        }
        diff = object
            .map(|object| yaml::diff(action.key.kind(), Some(&without_stamps(object)), None))
            .unwrap_or_default();
    }
    ObjectChange { object: action.key.clone(), what, why: Some(action.why.to_string()), place: None, diff }
}

fn stays(kept: &Kept) -> ObjectChange {
    let why = Some(kept.why.to_string());
    ObjectChange { object: kept.key.clone(), what: What::Kept, why, place: None, diff: String::new() }
}

//! A release against what one cluster has.

mod applied;
mod blockers;
mod judge;
mod order;
mod prune;
mod resolve;
mod types;
mod yields;

use std::collections::BTreeMap;

use crate::model::assignment::{Cause, Hold};
use crate::model::object::ObjectKey;
use crate::model::release::{LayerId, Release, ReleaseLayer, ReleaseObject};

pub use applied::applied;
pub use blockers::may_unblock;
pub use judge::{Judgement, Wanted, judge, was_there_before};
pub use prune::{crds_leaving, leave};
pub use resolve::resolve_key;
pub use types::{
    Action, Context, Deletion, HoldUntil, Inventory, InventoryEntry, Kept, KeptWhy, LivePlan, Observed,
    ObservedObject, Origin, PlannedLayer, Precondition, Scope, Served, Sibling, Stay, Verb, Why,
};

pub use yields::yields;

use resolve::{Resolved, Resolver};

/// Plans what brings a cluster from what it has to `release`.
///
/// Expected: `observed` was read after the ledger that `ctx.inventory` comes from; `ctx.assignment` orders
/// `release`.
pub fn live(release: &Release, observed: &Observed, ctx: &Context<'_>) -> LivePlan {
    let resolver = Resolver::new(release, observed);
    let mut wanted: BTreeMap<ObjectKey, &ReleaseObject> = BTreeMap::new();
    let mut fail = None;
    let mut layers = Vec::with_capacity(release.layers.len());
    for layer in &release.layers {
        let mut actions = Vec::with_capacity(layer.content.objects.len());
        for (index, object) in layer.content.objects.iter().enumerate() {
            let resolved = resolver.resolve(&object.key);
            // Refused when it was read; what a cluster makes of a name is known only here.
            if resolved.key.is_own_record() {
                fail.get_or_insert_with(|| own_record(&resolved.key, object));
                continue;
            }
            if let Some(first) = wanted.insert(resolved.key.clone(), object) {
                fail.get_or_insert_with(|| stands_twice(&resolved.key, first, object));
            } else {
                actions.push(action(layer, index, object, resolved, observed, ctx));
            }
        }
        layers.push(planned(layer, actions, ctx));
    }
    set_waits(&mut layers);
    let pruning = prune::plan(release, &wanted, observed, ctx);
    let foreign = layers.iter().flat_map(|l| &l.actions).find_map(foreign_owner);
    LivePlan {
        release: Some(release.digest),
        layers,
        unblock: pruning.first,
        prune: pruning.stages,
        kept: pruning.kept,
        hold: foreign.or(pruning.hold),
        fail,
        deletions_left: pruning.left,
    }
}

fn action(
    layer: &ReleaseLayer,
    index: usize,
    object: &ReleaseObject,
    resolved: Resolved,
    observed: &Observed,
    ctx: &Context<'_>,
) -> Action {
    let key = resolved.key;
    let seen = observed.objects.get(&key);
    let owned = seen.map(|seen| seen.yielded.as_slice()).unwrap_or_default();
    let leave_out = yields(owned, object, &key, &ctx.assignment.policy.drift.ignore);
    let wanted = Wanted {
        digest: object.digest,
        adopt: layer.adopt || ctx.adopt.contains(&key),
        unread: observed.unread.contains(&key.group_kind()),
        yields: &leave_out,
    };
    let judgement = judge(&key, &wanted, seen, ctx);
    let replace = judge::may_replace(object, seen);
    let precondition = seen.filter(|_| replace).map(precondition);
    let recorded = ctx.inventory.objects.get(&key).is_some_and(|entry| entry.applied.is_some());
    let unblocks = recorded && judgement.verb == Verb::Update && blockers::blocks_no_more(object);
    Action {
        version: object.version.clone(),
        verb: judgement.verb,
        why: judgement.why,
        force: judgement.force,
        object: Some(index),
        served: resolved.served,
        leave_out,
        may_replace: replace,
        unblocks,
        precondition,
        origin: judgement.origin,
        key,
    }
}

fn precondition(seen: &ObservedObject) -> Precondition {
    Precondition { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() }
}

fn stands_twice(key: &ObjectKey, first: &ReleaseObject, second: &ReleaseObject) -> Cause {
    let message = format!("stands twice in the release: {} and {}; remove one", first.place, second.place);
    Cause::Refused { object: key.clone(), message }
}

fn own_record(key: &ObjectKey, object: &ReleaseObject) -> Cause {
    let message = format!("is where Fairlead keeps its own records; remove it at {}", object.place);
    Cause::Refused { object: key.clone(), message }
}

fn foreign_owner(action: &Action) -> Option<Hold> {
    match &action.why {
        Why::ForeignOwner { owner } => {
            Some(Hold::ForeignOwner { object: action.key.clone(), owner: owner.clone() })
        }
        _ => None,
    }
}

fn planned(layer: &ReleaseLayer, mut actions: Vec<Action>, ctx: &Context<'_>) -> PlannedLayer {
    actions.sort_by_key(|a| order::apply_rank(&a.key));
    let first = actions.iter().take_while(|a| order::apply_rank(&a.key) == 0).count();
    let digests = |a: &Action| a.object.and_then(|i| layer.content.objects.get(i)).map(|o| o.digest);
    let changes = actions.iter().any(|a| {
        let recorded = ctx.inventory.objects.get(&a.key).and_then(|entry| entry.applied);
        a.verb.applies() || recorded != digests(a)
    });
    PlannedLayer {
        id: layer.id.clone(),
        depends_on: layer.depends_on.clone(),
        waits: Vec::new(),
        changes,
        actions,
        first,
    }
}

/// Layers come after those that they depend on, so one pass closes over dependencies.
fn set_waits(layers: &mut [PlannedLayer]) {
    let mut below: BTreeMap<LayerId, Vec<LayerId>> = BTreeMap::new();
    let changing: Vec<LayerId> = layers.iter().filter(|l| l.changes).map(|l| l.id.clone()).collect();
    for layer in layers {
        let mut all: Vec<LayerId> = Vec::new();
        for dependency in &layer.depends_on {
            let through = below.get(dependency).into_iter().flatten();
            for id in through.chain([dependency]) {
                if !all.contains(id) {
                    all.push(id.clone());
                }
            }
        }
        layer.waits = all.iter().filter(|id| changing.contains(id)).cloned().collect();
        below.insert(layer.id.clone(), all);
    }
}

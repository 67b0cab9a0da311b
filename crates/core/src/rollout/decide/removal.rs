//! Targets that leave the fleet.

use super::{admit, windows};
use crate::model::fleet::OnRemoval;
use crate::rollout::effect::Effect;
use crate::rollout::reason::FleetReason;
use crate::rollout::state::index::Index;
use crate::rollout::state::target::{Link, Target, UnixMillis};
use crate::rollout::state::{FleetState, Record, Run};

/// A commit that drops more than half of a fleet's targets, or all of them, holds until a person approves
/// just these.
pub fn gate(record: &Record, counts: &Index) -> Option<FleetReason> {
    let head = record.head.as_ref().filter(|head| !head.unknown)?;
    if counts.leaving.is_empty() {
        return None;
    }
    let (count, of) = (counts.leaving.len(), record.targets.iter().filter(|target| !target.gone()).count());
    if count * 2 <= of || (count == of && head.policy.cluster.prune.allow_empty) {
        return None;
    }
    let leaving = counts.leaving.iter().filter_map(|index| record.targets.get(*index));
    if leaving.into_iter().all(|target| record.may_leave.contains(&target.name)) {
        return None;
    }
    Some(if count == of { FleetReason::EmptyFleet { of } } else { FleetReason::MassRemoval { count, of } })
}

/// A person approves that those leave which the head drops, and that those who do delete what they must.
pub fn approve(state: &mut FleetState, effects: &mut Vec<Effect>) {
    for index in 0..state.record.targets.len() {
        let leaving = state.record.targets.get(index).and_then(|target| target.leaving.as_ref());
        if leaving.is_none_or(|leaving| !leaving.ordered || leaving.held.is_none()) {
            continue;
        }
        state.change(index, |target| {
            target.generation += 1;
            if let Some(leaving) = &mut target.leaving {
                (leaving.held, leaving.approved) = (None, true);
            }
        });
        effects.extend(state.record.targets.get(index).and_then(|target| removal(&state.record, target)));
    }
    let leaving = state.index.leaving.iter().filter_map(|index| state.record.targets.get(*index));
    let names: Vec<_> = leaving.map(|target| target.name.clone()).collect();
    state.record.may_leave.extend(names);
}

/// Sends those away that an accepted commit dropped; never while it is not known who is there.
pub fn order(state: &mut FleetState, effects: &mut Vec<Effect>) {
    let Some(head) = &state.record.head else { return };
    let accepted = matches!(head.run, Run::Accepted { .. });
    if state.index.leaving.is_empty()
        || head.unknown
        || !accepted
        || admit::gate(&state.record, &state.index).is_some()
    {
        return;
    }
    // Nothing of this fleet ever was where no order went.
    let known = |target: &Target| target.leaving.is_none() || target.order.is_some() || target.generation > 0;
    if !state.record.targets.iter().all(known) {
        state.record.targets.retain(known);
        state.recount();
    }
    for index in state.index.leaving.clone() {
        if !windows::may_leave(state, index) {
            continue;
        }
        state.change(index, |target| {
            target.generation += 1;
            if let Some(leaving) = &mut target.leaving {
                leaving.ordered = true;
            }
        });
        effects.extend(state.record.targets.get(index).and_then(|target| removal(&state.record, target)));
    }
}

/// The order to leave that stands for a target.
pub fn removal(record: &Record, target: &Target) -> Option<Effect> {
    let policy = record.head.as_ref().map_or(OnRemoval::default(), |head| head.policy.on_removal);
    let (fleet, generation) = (record.fleet.clone(), target.generation);
    let approved = target.leaving.as_ref().is_some_and(|leaving| leaving.approved);
    let name = target.name.clone();
    target.gone().then_some(Effect::Remove { target: name, fleet, generation, policy, approved })
}

/// A worker that was told to take everything out waits for a person.
pub fn held(state: &mut FleetState, index: usize, generation: u64, reason: &str) {
    let Some(target) = state.record.targets.get(index).filter(|target| target.gone()) else { return };
    if target.generation == generation {
        state.change(index, |target| {
            if let Some(leaving) = &mut target.leaving {
                leaving.held = Some(reason.to_owned());
            }
        });
    }
}

/// A worker says that everything of the fleet was taken out of its cluster.
pub fn removed(state: &mut FleetState, index: usize, now: UnixMillis) {
    let Some(target) = state.record.targets.get_mut(index) else { return };
    if target.gone() {
        state.record.targets.remove(index);
    } else {
        let (name, generation) = (target.name.clone(), target.generation);
        let (wanted, accepted, behind) = (target.wanted.clone(), target.accepted, target.accepted.is_some());
        let (suspend, pinned, leaving) = (target.suspend, target.pinned, target.leaving.clone());
        let (wave, select, unmet) = (target.wave, target.select, target.unmet.clone());
        let (time_zone, quarantine) = (target.time_zone.clone(), target.quarantine.clone());
        let link = Link::Left { since: now };
        let kept =
            Target { generation, wanted, accepted, behind, suspend, pinned, leaving, ..Target::new(name) };
        *target = Target { link, wave, select, unmet, time_zone, quarantine, ..kept };
    }
    state.recount();
}

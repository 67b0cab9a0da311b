//! Who may start now, and when a commit is accepted.

use super::{removal, waves, windows};
use crate::model::assignment::{Assignment, Purpose};
use crate::rollout::effect::Effect;
use crate::rollout::reason::FleetReason;
use crate::rollout::state::index::{Index, WaveCounts};
use crate::rollout::state::interner::ReleaseId;
use crate::rollout::state::target::{Order, Phase, Target, UnixMillis};
use crate::rollout::state::waves::limit;
use crate::rollout::state::{FleetState, Record, Run};

/// Why no change may start in this fleet, if so.
pub fn gate(record: &Record, counts: &Index) -> Option<FleetReason> {
    if let Some((_, hold)) = &record.revision_hold {
        return Some(FleetReason::Revision { hold: hold.clone() });
    }
    if let Some(by) = &record.paused {
        return Some(FleetReason::Paused { by: by.clone() });
    }
    let head = record.head.as_ref()?;
    if let Run::Paused(defeat) = &head.run {
        let (failed, affected, cause) = (defeat.failed, defeat.affected, defeat.cause.clone());
        return Some(FleetReason::Failures { failed, affected, cause });
    }
    removal::gate(record, counts)
}

/// Starts what may start: pins, and what is known to be good, at once; a change in the order of the waves.
pub fn start(state: &mut FleetState, now: UnixMillis, effects: &mut Vec<Effect>) {
    if gate(&state.record, &state.index).is_some() {
        return;
    }
    while let Some(index) = windows::next(state, None, false, |queue| &queue.pins) {
        start_wanted(state, index, Purpose::Pin, now, effects);
    }
    let any = windows::reverts_any_time(&state.record);
    let waves = state.index.waves.len();
    for wave in 0..waves {
        while let Some(index) = windows::next(state, Some(wave), any, |queue| &queue.reverts) {
            start_wanted(state, index, Purpose::Revert, now, effects);
        }
    }
    for wave in 0..=waves::frontier(state).unwrap_or(waves) {
        start_wave(state, wave, now, effects);
    }
    for wave in 0..waves {
        catch_up(state, wave, now, effects);
    }
}

fn start_wave(state: &mut FleetState, wave: usize, now: UnixMillis, effects: &mut Vec<Effect>) {
    let Some(counts) = state.index.waves.get(wave) else { return };
    let room = limit(&state.record, wave, counts.affected);
    let free = |state: &FleetState, at_work: fn(&WaveCounts) -> usize| {
        state.index.waves.get(wave).is_some_and(|counts| at_work(counts) < room)
    };
    while free(state, |counts| counts.changing_to_wanted)
        && let Some(index) = windows::next(state, Some(wave), false, |queue| &queue.swaps)
    {
        start_wanted(state, index, Purpose::Change, now, effects);
    }
    while free(state, |counts| counts.changing)
        && let Some(index) = windows::next(state, Some(wave), false, |queue| &queue.turns)
    {
        start_wanted(state, index, Purpose::Change, now, effects);
    }
}

/// A rollout of its own: windows count, approvals and the order of waves don't.
fn catch_up(state: &mut FleetState, wave: usize, now: UnixMillis, effects: &mut Vec<Effect>) {
    let Some(counts) = state.index.waves.get(wave) else { return };
    let room = limit(&state.record, wave, counts.behind);
    while state.index.waves.get(wave).is_some_and(|counts| counts.catching_up < room)
        && let Some(index) = windows::next(state, Some(wave), false, |queue| &queue.catch_ups)
    {
        match state.record.targets.get(index).and_then(|target| target.accepted) {
            Some(accepted) => assign(state, index, accepted, Purpose::CatchUp, now, effects),
            None => break,
        }
    }
}

fn start_wanted(
    state: &mut FleetState,
    index: usize,
    purpose: Purpose,
    now: UnixMillis,
    effects: &mut Vec<Effect>,
) {
    if let Some(wanted) = state.record.targets.get(index).and_then(Target::wanted) {
        assign(state, index, wanted, purpose, now, effects);
    }
}

/// Gives a target a release, with a new generation.
pub fn assign(
    state: &mut FleetState,
    index: usize,
    release: ReleaseId,
    purpose: Purpose,
    now: UnixMillis,
    effects: &mut Vec<Effect>,
) {
    state.change(index, |target| {
        let unhealthy = target.order.as_ref().is_some_and(|order| match order.phase {
            Phase::Converged { ref unhealthy, .. } => unhealthy.is_some(),
            _ => order.was_unhealthy,
        });
        target.generation += 1;
        // Its next plan says anew what stays.
        target.kept = None;
        target.order = Some(Order { was_unhealthy: unhealthy, ..Order::new(release, purpose, now) });
    });
    let target = state.record.targets.get(index);
    effects.extend(
        target.and_then(|target| assignment(&state.record, target)).map(Box::new).map(Effect::Assign),
    );
}

/// A target's standing order in full.
pub fn assignment(record: &Record, target: &Target) -> Option<Assignment> {
    let order = target.order.as_ref()?;
    Some(Assignment {
        target: target.name.clone(),
        fleet: record.fleet.clone(),
        generation: target.generation,
        release: record.interner.full(order.release),
        purpose: order.purpose,
        base: target.base.map(|base| record.interner.full(base)),
        quarantined: target.quarantine.iter().map(|pair| record.interner.digest(pair.0)).collect(),
        deletions_approved: record.same(target.approved, Some(order.release)) && target.approved.is_some(),
        adopt: target.adopts.is_some() && record.same(target.adopts, Some(order.release)),
        policy: record.head.as_ref().map(|head| head.policy.cluster.clone()).unwrap_or_default(),
    })
}

/// Accepts the head if its rollout is complete: every wave is passed. Whether it did.
pub fn accept(state: &mut FleetState) -> bool {
    let counts = &state.index;
    let complete = state.record.rolling() && waves::frontier(state).is_none() && !useless(state);
    if !complete || gate(&state.record, counts).is_some() {
        return false;
    }
    let affected = counts.all.affected;
    let Record { head, targets, accepted, recovering, interner, .. } = &mut state.record;
    let Some(head) = head else { return false };
    *accepted = Some(head.revisions);
    *recovering = false;
    head.run = Run::Accepted { affected };
    for target in targets.iter_mut() {
        settle(target, |a, b| interner.same(a, b));
    }
    state.recount();
    true
}

/// What acceptance means for one target.
fn settle(target: &mut Target, same: impl Fn(ReleaseId, ReleaseId) -> bool) {
    let member = std::mem::take(&mut target.member);
    target.cleared = None;
    let Some(wanted) = target.wanted() else { return };
    let failed = match target.failure.as_mut().filter(|failure| same(failure.release, wanted)) {
        Some(failure) => {
            failure.excused = true;
            true
        }
        None => false,
    };
    let at = target.order.as_ref().filter(|order| same(order.release, wanted) && order.baked());
    if at.is_some() {
        // It runs what is accepted: a verdict on anything older says nothing any more.
        target.failure.take_if(|failure| !same(failure.release, wanted));
        (target.accepted, target.base, target.behind) = (Some(wanted), Some(wanted), false);
    } else if member && !failed {
        (target.accepted, target.behind) = (Some(wanted), true);
    }
}

/// Whether the head holds a mistake for every target that follows it: nobody runs it. What is pinned runs another commit.
pub fn useless(state: &FleetState) -> bool {
    let invalid = |index: usize| state.index.invalid.contains(&index);
    let targets = state.record.targets.iter().enumerate();
    let mut follow = targets.filter(|(_, target)| target.leaving.is_none() && !target.pinned).peekable();
    follow.peek().is_some() && follow.all(|(index, _)| invalid(index))
}

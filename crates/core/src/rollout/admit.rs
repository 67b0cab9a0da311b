//! Who may start now, and when a commit is accepted.

use super::book::Rel;
use super::effect::Effect;
use super::reason::FleetReason;
use super::state::{FleetState, Record, Run};
use super::tally::{Tally, WaveTally};
use super::target::{Moment, Order, Phase, Target};
use super::{lanes, removal, waves};
use crate::model::assignment::{Assignment, Purpose};

/// Why no change may start in this fleet, if so.
pub(super) fn gate(r: &Record, tally: &Tally) -> Option<FleetReason> {
    if let Some((_, hold)) = &r.revision_hold {
        return Some(FleetReason::Revision { hold: hold.clone() });
    }
    if let Some(by) = &r.paused {
        return Some(FleetReason::Paused { by: by.clone() });
    }
    let head = r.head.as_ref()?;
    if let Run::Paused(defeat) = &head.run {
        let (failed, affected, cause) = (defeat.failed, defeat.affected, defeat.cause.clone());
        return Some(FleetReason::Failures { failed, affected, cause });
    }
    removal::gate(r, tally)
}

/// Starts what may start: pins, and what is known to be good, at once; a change in the order of the waves.
pub(super) fn start(state: &mut FleetState, now: Moment, effects: &mut Vec<Effect>) {
    if gate(&state.r, &state.tally).is_some() {
        return;
    }
    while let Some(index) = lanes::next(state, None, false, |lane| &lane.pins) {
        start_wanted(state, index, Purpose::Pin, now, effects);
    }
    let any = lanes::reverts_any_time(&state.r);
    let waves = state.tally.waves.len();
    for wave in 0..waves {
        while let Some(index) = lanes::next(state, Some(wave), any, |lane| &lane.reverts) {
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

fn start_wave(state: &mut FleetState, wave: usize, now: Moment, effects: &mut Vec<Effect>) {
    let Some(tally) = state.tally.waves.get(wave) else { return };
    let room = waves::limit(&state.r, wave, tally.affected);
    let free = |state: &FleetState, at_work: fn(&WaveTally) -> usize| {
        state.tally.waves.get(wave).is_some_and(|tally| at_work(tally) < room)
    };
    while free(state, |tally| tally.changing_to_wanted)
        && let Some(index) = lanes::next(state, Some(wave), false, |lane| &lane.swaps)
    {
        start_wanted(state, index, Purpose::Change, now, effects);
    }
    while free(state, |tally| tally.changing)
        && let Some(index) = lanes::next(state, Some(wave), false, |lane| &lane.turns)
    {
        start_wanted(state, index, Purpose::Change, now, effects);
    }
}

/// A rollout of its own: windows count, approvals and the order of waves don't.
fn catch_up(state: &mut FleetState, wave: usize, now: Moment, effects: &mut Vec<Effect>) {
    let Some(tally) = state.tally.waves.get(wave) else { return };
    let room = waves::limit(&state.r, wave, tally.behind);
    while state.tally.waves.get(wave).is_some_and(|tally| tally.catching_up < room)
        && let Some(index) = lanes::next(state, Some(wave), false, |lane| &lane.catch_ups)
    {
        match state.r.targets.get(index).and_then(|target| target.accepted) {
            Some(accepted) => assign(state, index, accepted, Purpose::CatchUp, now, effects),
            None => break,
        }
    }
}

fn start_wanted(
    state: &mut FleetState,
    index: usize,
    purpose: Purpose,
    now: Moment,
    effects: &mut Vec<Effect>,
) {
    if let Some(wanted) = state.r.targets.get(index).and_then(Target::wanted) {
        assign(state, index, wanted, purpose, now, effects);
    }
}

/// Gives a target a release, with a new generation.
pub(super) fn assign(
    state: &mut FleetState,
    index: usize,
    release: Rel,
    purpose: Purpose,
    now: Moment,
    effects: &mut Vec<Effect>,
) {
    state.change(index, |target| {
        let ill = target.order.as_ref().is_some_and(|order| match order.phase {
            Phase::Converged { ref ill, .. } => ill.is_some(),
            _ => order.ailing,
        });
        target.generation += 1;
        // Its next plan says anew what stays.
        target.kept = None;
        target.order = Some(Order { ailing: ill, ..Order::new(release, purpose, now) });
    });
    let target = state.r.targets.get(index);
    effects.extend(target.and_then(|target| assignment(&state.r, target)).map(Box::new).map(Effect::Assign));
}

/// A target's standing order in full.
pub(super) fn assignment(r: &Record, target: &Target) -> Option<Assignment> {
    let order = target.order.as_ref()?;
    Some(Assignment {
        target: target.name.clone(),
        fleet: r.fleet.clone(),
        generation: target.generation,
        release: r.book.full(order.release),
        purpose: order.purpose,
        base: target.base.map(|base| r.book.full(base)),
        quarantined: target.quarantine.iter().map(|pair| r.book.digest(pair.0)).collect(),
        deletions_approved: r.same(target.approved, Some(order.release)) && target.approved.is_some(),
        adopt: target.adopts.is_some() && r.same(target.adopts, Some(order.release)),
        policy: r.head.as_ref().map(|head| head.policy.cluster.clone()).unwrap_or_default(),
    })
}

/// Accepts the head if its rollout is complete: every wave is passed. Whether it did.
pub(super) fn accept(state: &mut FleetState) -> bool {
    let tally = &state.tally;
    let complete = state.r.rolling() && waves::frontier(state).is_none() && !super::report::useless(state);
    if !complete || gate(&state.r, tally).is_some() {
        return false;
    }
    let affected = tally.all.affected;
    let Record { head, targets, accepted, recovering, book, .. } = &mut state.r;
    let Some(head) = head else { return false };
    *accepted = Some(head.revisions);
    *recovering = false;
    head.run = Run::Accepted { affected };
    for target in targets.iter_mut() {
        settle(target, |a, b| book.same(a, b));
    }
    state.recount();
    true
}

/// What acceptance means for one target.
fn settle(target: &mut Target, same: impl Fn(Rel, Rel) -> bool) {
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

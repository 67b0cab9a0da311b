//! Who may start now, and when a commit is accepted. Waves, windows, bake times and approvals grow here.

use super::book::Rel;
use super::effect::Effect;
use super::reason::FleetReason;
use super::removal;
use super::state::{FleetState, Record, Run};
use super::tally::Tally;
use super::target::{Moment, Order, Phase, Target};
use crate::model::assignment::{Assignment, Purpose};
use crate::model::units::Amount;

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

/// No wave is passed in which no cluster has converged, however many were skipped.
pub(super) fn none_converged(state: &FleetState) -> Option<FleetReason> {
    let tally = &state.tally;
    let stuck = state.r.rolling() && tally.blocking == 0 && tally.affected > 0 && tally.converged == 0;
    let (affected, stalled) = (tally.affected, tally.stalled);
    stuck.then(|| FleetReason::NoneConverged { away: tally.away.saturating_sub(stalled), stalled, affected })
}

/// How many clusters may be at work at a time, of `whole`. Never less than one: nothing would ever move.
pub(super) fn limit(r: &Record, whole: usize) -> usize {
    let wave = r.head.as_ref().and_then(|head| head.policy.rollout.waves.first());
    let amount = wave.and_then(|wave| wave.max_concurrency).unwrap_or(Amount::Percent(100));
    amount.ceil_of(whole).max(1)
}

/// Starts what may start.
pub(super) fn start(state: &mut FleetState, now: Moment, effects: &mut Vec<Effect>) {
    if gate(&state.r, &state.tally).is_some() {
        return;
    }
    while let Some(index) = state.tally.pins.first().copied() {
        start_wanted(state, index, Purpose::Pin, now, effects);
    }
    while let Some(index) = state.tally.reverts.first().copied() {
        start_wanted(state, index, Purpose::Revert, now, effects);
    }
    let room = limit(&state.r, state.tally.affected);
    while let Some((_, index)) = state.tally.swaps.first().copied()
        && state.tally.changing_to_wanted < room
    {
        start_wanted(state, index, Purpose::Change, now, effects);
    }
    while let Some((_, index)) = state.tally.turns.first().copied()
        && state.tally.changing < room
    {
        start_wanted(state, index, Purpose::Change, now, effects);
    }
    let room = limit(&state.r, state.tally.behind);
    while let Some(index) = state.tally.catch_ups.first().copied()
        && state.tally.catching_up < room
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
        policy: r.head.as_ref().map(|head| head.policy.cluster.clone()).unwrap_or_default(),
    })
}

/// Accepts the head if its rollout is complete. Whether it did.
pub(super) fn accept(state: &mut FleetState) -> bool {
    let tally = &state.tally;
    let complete = state.r.rolling()
        && tally.blocking == 0
        && tally.quarantined == 0
        && (tally.affected == 0 || tally.converged > 0)
        && !super::report::useless(state);
    if !complete || gate(&state.r, tally).is_some() {
        return false;
    }
    let affected = tally.affected;
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
    let Some(wanted) = target.wanted() else { return };
    let failed = match target.failure.as_mut().filter(|failure| same(failure.release, wanted)) {
        Some(failure) => {
            failure.excused = true;
            true
        }
        None => false,
    };
    let at = target.order.as_ref().filter(|order| same(order.release, wanted) && order.converged());
    if at.is_some() {
        // It runs what is accepted: a verdict on anything older says nothing any more.
        target.failure.take_if(|failure| !same(failure.release, wanted));
        (target.accepted, target.base, target.behind) = (Some(wanted), Some(wanted), false);
    } else if member && !failed {
        (target.accepted, target.behind) = (Some(wanted), true);
    }
}

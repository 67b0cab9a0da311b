//! What a person's approval allows: a wave, deletions, targets that leave.

use super::effect::Effect;
use super::state::{FleetState, Record};
use super::target::{Moment, Order, Phase, Target};
use super::{admit, removal, waves};
use crate::model::name::{TargetName, WaveName};

/// Allows what waits now; of a wave, if one is named, and then also before its turn.
pub(super) fn approve(
    state: &mut FleetState,
    wave: Option<&WaveName>,
    now: Moment,
    effects: &mut Vec<Effect>,
) {
    let number = wave.and_then(|name| waves::named(&state.r, name));
    if wave.is_some() && number.is_none() {
        return;
    }
    // What waits now: what only begins to wait once the rest is allowed was not seen yet.
    let front = waves::awaits_approval(state).then(|| waves::frontier(state)).flatten();
    if number.is_none() {
        removal::approve(state, effects);
    }
    let of = |target: &Target| number.is_none_or(|number| usize::from(target.wave) == number);
    let indices = 0..state.r.targets.len();
    let held = |index: &usize| {
        state.r.targets.get(*index).is_some_and(|target| of(target) && deletes(&state.r, target))
    };
    let waiting: Vec<usize> = indices.filter(held).collect();
    if !waiting.is_empty() {
        // The others would delete the same things: who allows it for one does not have to say it again.
        for target in state.r.targets.iter_mut().filter(|target| target.member && of(target)) {
            target.approved = target.wanted();
        }
    }
    for index in waiting {
        state.change(index, |target| target.approved = target.ordered());
        if let Some(order) = state.r.targets.get(index).and_then(|target| target.order.clone()) {
            admit::assign(state, index, order.release, order.purpose, now, effects);
        }
    }
    if let Some(wave) = number.filter(|_| state.r.rolling()).or(front) {
        waves::approve(state, wave);
    }
}

/// Lets what a target runs, or is being brought to, take over objects that were there before. The order stays the
/// same, so its worker goes on with it.
pub(super) fn adopt(state: &mut FleetState, target: &TargetName, effects: &mut Vec<Effect>) {
    let Some(index) = state.r.find(target) else { return };
    state.change(index, |target| target.adopts = target.ordered().or(target.wanted()));
    let target = state.r.targets.get(index).filter(|target| !target.gone());
    let order = target.and_then(|target| admit::assignment(&state.r, target));
    effects.extend(order.map(Box::new).map(Effect::Assign));
}

/// Whether a target's order waits for a word on deletions.
fn deletes(r: &Record, target: &Target) -> bool {
    let held = matches!(target.order, Some(Order { phase: Phase::Held { deletions: true, .. }, .. }));
    // Protected kinds: nothing waited for them, and they may go now.
    let keeps = target.kept.as_ref().is_some_and(|kept| kept.approvable);
    // A release that was superseded while it waited is not taken up again.
    let mut current = [target.wanted(), target.accepted].into_iter().flatten();
    (held || keeps) && current.any(|release| r.same(target.ordered(), Some(release)))
}

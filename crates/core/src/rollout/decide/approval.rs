//! What a person's approval allows: a wave, deletions, targets that leave.

use super::{admit, removal, waves};
use crate::model::name::{TargetName, WaveName};
use crate::rollout::effect::Effect;
use crate::rollout::state::target::{Order, Phase, Target, UnixMillis};
use crate::rollout::state::waves::named;
use crate::rollout::state::{FleetState, Record};

/// Allows what waits now; of a wave, if one is named, and then also before its turn.
pub fn approve(state: &mut FleetState, wave: Option<&WaveName>, now: UnixMillis, effects: &mut Vec<Effect>) {
    let number = wave.and_then(|name| named(&state.record, name));
    if wave.is_some() && number.is_none() {
        return;
    }
    // What waits now: what only begins to wait once the rest is allowed was not seen yet.
    let front = waves::awaits_approval(state).then(|| waves::frontier(state)).flatten();
    if number.is_none() {
        removal::approve(state, effects);
    }
    let of = |target: &Target| number.is_none_or(|number| usize::from(target.wave) == number);
    let indices = 0..state.record.targets.len();
    let held = |index: &usize| {
        state.record.targets.get(*index).is_some_and(|target| of(target) && deletes(&state.record, target))
    };
    let waiting: Vec<usize> = indices.filter(held).collect();
    if !waiting.is_empty() {
        // The others would delete the same things: who allows it for one does not have to say it again.
        for target in state.record.targets.iter_mut().filter(|target| target.member && of(target)) {
            target.approved = target.wanted();
        }
    }
    for index in waiting {
        state.change(index, |target| target.approved = target.ordered());
        if let Some(order) = state.record.targets.get(index).and_then(|target| target.order.clone()) {
            admit::assign(state, index, order.release, order.purpose, now, effects);
        }
    }
    if let Some(wave) = number.filter(|_| state.record.rolling()).or(front) {
        waves::approve(state, wave);
    }
}

/// Lets what a target runs, or is being brought to, take over objects that were there before. The order stays the
/// same, so its worker goes on with it.
pub fn adopt(state: &mut FleetState, target: &TargetName, effects: &mut Vec<Effect>) {
    let Some(index) = state.record.find(target) else { return };
    state.change(index, |target| target.adopts = target.ordered().or(target.wanted()));
    let target = state.record.targets.get(index).filter(|target| !target.gone());
    let order = target.and_then(|target| admit::assignment(&state.record, target));
    effects.extend(order.map(Box::new).map(Effect::Assign));
}

/// Whether a target's order waits for a word on deletions.
fn deletes(record: &Record, target: &Target) -> bool {
    let held = matches!(target.order, Some(Order { phase: Phase::Held { deletions: true, .. }, .. }));
    // Protected kinds: nothing waited for them, and they may go now.
    let keeps = target.kept.as_ref().is_some_and(|kept| kept.approvable);
    // A release that was superseded while it waited is not taken up again.
    let mut current = [target.wanted(), target.accepted].into_iter().flatten();
    (held || keeps) && current.any(|release| record.same(target.ordered(), Some(release)))
}

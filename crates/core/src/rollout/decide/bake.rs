//! From convergence to proof: a release counts on a cluster once it was healthy there for its wave's
//! `minSuccessTime`.

use crate::rollout::effect::Effect;
use crate::rollout::state::waves::bake_time;
use std::time::Duration;

use super::failure;
use crate::model::assignment::Purpose;
use crate::rollout::state::target::{Order, Phase, Target, UnixMillis};
use crate::rollout::state::{FleetState, Record, Run};

/// How long a cluster that vanished without a word may take to be found out.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

/// Whether an order must bake: what goes through the waves or catches up must, and only once on each cluster.
fn bakes(record: &Record, target: &Target, order: &Order) -> bool {
    matches!(order.purpose, Purpose::Change | Purpose::CatchUp)
        && !order.baked()
        && !target.history.has(record.interner.digest(order.release))
        && bake_time(record, target.wave).is_some()
}

/// The standing order is done.
pub fn converged(state: &mut FleetState, index: usize, now: UnixMillis) {
    let Some(target) = state.record.targets.get(index) else { return };
    let Some(order) = &target.order else { return };
    let (release, bakes) = (order.release, bakes(&state.record, target, order));
    let failed = target.failure.as_ref().map(|failure| failure.release);
    let healed = failed.is_some_and(|failed| state.record.interner.same(failed, release));
    state.change(index, |target| {
        if let Some(order) = &mut target.order {
            let (since, bake) = match order.phase {
                // Said once more; a relapse begins the bake time anew.
                Phase::Converged { since, unhealthy: None, bake } => (since, bake),
                Phase::Converged { since, .. } => (since, bakes.then_some(now)),
                _ => (now, bakes.then_some(now)),
            };
            (order.phase, order.was_unhealthy, order.retries) =
                (Phase::Converged { since, unhealthy: None, bake }, false, 0);
        }
        target.converged = Some(release);
    });
    if healed {
        failure::healed(state, index);
    }
    if state.record.targets.get(index).and_then(|target| target.order.as_ref()).is_some_and(Order::baked) {
        proven(state, index);
    }
}

/// Its bake time is over.
pub fn baked(state: &mut FleetState, index: usize) {
    state.change(index, |target| {
        if let Some(Order { phase: Phase::Converged { bake, .. }, .. }) = &mut target.order {
            *bake = None;
        }
    });
    proven(state, index);
}

/// After a restart, bake times go on; but none ends before the workers have had time to say how the clusters are.
pub fn take_up(record: &mut Record, now: UnixMillis) {
    let mut targets = std::mem::take(&mut record.targets);
    for target in &mut targets {
        let span = bake_time(record, target.wave).unwrap_or_default();
        if let Some(Order { phase: Phase::Converged { bake: Some(start), .. }, .. }) = &mut target.order {
            *start = start.shifted(start.plus(span), now.plus(HEARD_WITHIN));
        }
    }
    record.targets = targets;
}

/// The release is good here: a return may go to it once it is accepted, and a revert to it need not bake again.
fn proven(state: &mut FleetState, index: usize) {
    let Some(target) = state.record.targets.get(index) else { return };
    let Some((release, purpose)) = target.order.as_ref().map(|order| (order.release, order.purpose)) else {
        return;
    };
    let done = state.record.head.as_ref().is_some_and(|head| matches!(head.run, Run::Accepted { .. }));
    let as_wanted = done && state.record.same(Some(release), target.wanted());
    let accepted = purpose == Purpose::Pin || as_wanted || state.record.same(Some(release), target.accepted);
    let digest = state.record.interner.digest(release);
    state.change(index, |target| {
        target.history.add(digest);
        if accepted {
            (target.accepted, target.base, target.behind) = (Some(release), Some(release), false);
        }
    });
}

/// A cluster that converged is not healthy any more. Within the bake time that is a failure; later it may recover
/// until the progress deadline.
pub fn unhealthy(
    state: &mut FleetState,
    index: usize,
    cause: &str,
    now: UnixMillis,
    effects: &mut Vec<Effect>,
) {
    let Some(target) = state.record.targets.get(index) else { return };
    // It had converged, and was held or stalled since: a person, or the cluster, had a hand in it.
    if let Some(order) = &target.order
        && matches!(order.phase, Phase::Held { .. } | Phase::Stalled { .. })
        && state.record.same(target.converged, Some(order.release))
    {
        let bake = bakes(&state.record, target, order).then_some(now);
        let phase = Phase::Converged { since: now, unhealthy: Some((now, cause.to_owned())), bake };
        state.change(index, |target| target.order.as_mut().map(|order| order.phase = phase));
        return;
    }
    let Some(Order { phase: Phase::Converged { unhealthy: None, bake, .. }, release, .. }) = &target.order
    else {
        return;
    };
    let on = |release: Option<_>, goal| state.record.same(release, goal);
    let release = Some(*release);
    let on_trial =
        target.member && on(release, target.wanted()) || target.behind && on(release, target.accepted);
    if bake.is_some() && on_trial {
        let cause = format!("not healthy in its bake time: {cause}");
        return failure::failed(state, index, &cause, now, effects);
    }
    state.change(index, |target| {
        if let Some(Order { phase: Phase::Converged { unhealthy, .. }, .. }) = &mut target.order {
            *unhealthy = Some((now, cause.to_owned()));
        }
    });
}

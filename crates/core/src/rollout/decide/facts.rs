//! What a worker says of its cluster, and what is due when it says nothing.

use super::{bake, failure, recover, removal};
use crate::model::assignment::{Cause, Fact, FactBody, Hold, Progress};
use crate::model::digest::ReleaseDigest;
use crate::rollout::effect::Effect;
use crate::rollout::state::FleetState;
use crate::rollout::state::target::{Kept, Link, Order, Phase, UnixMillis};
use crate::rollout::status::shorten;

/// Longest text kept of what a cluster waits for, in characters; there may be thousands.
const WAITING: usize = 80;
/// Longest text kept of why a cluster is held, stalled or offline.
const REASON: usize = 300;

pub fn come_due(state: &mut FleetState, index: usize, now: UnixMillis, effects: &mut Vec<Effect>) {
    let span = state.record.head.as_ref().map(|head| head.policy.rollout.progress_deadline.get());
    let seconds = span.unwrap_or_default().as_secs();
    let Some(target) = state.record.targets.get(index) else { return };
    match target.order.as_ref().map(|order| &order.phase) {
        Some(Phase::Working { waiting, .. }) => {
            let waiting = waiting.clone().unwrap_or_else(|| "the first object".to_owned());
            let cause = Cause::NoProgress { seconds, waiting }.to_string();
            failure::failed(state, index, &cause, now, effects);
        }
        Some(Phase::Converged { unhealthy: Some((_, cause)), .. }) => {
            let cause = format!("not healthy for {seconds} s: {cause}");
            failure::failed(state, index, &cause, now, effects);
        }
        Some(Phase::Converged { .. }) => bake::baked(state, index),
        Some(Phase::Failed { .. }) => failure::retry_return(state, index, now, effects),
        _ => {
            state.change(index, |target| {
                if let Some(Order { phase: Phase::Stalled { given_up, .. }, .. }) = &mut target.order {
                    *given_up = true;
                }
            });
        }
    }
}

/// A fact counts only for the generation, and the release, that it was made on.
pub fn take(state: &mut FleetState, fact: Fact, now: UnixMillis, effects: &mut Vec<Effect>) {
    let Some(index) = state.record.find(&fact.target) else { return };
    match fact.body {
        FactBody::Online { ledger } => recover::online(state, index, ledger, now, effects),
        FactBody::Offline { reason } => offline(state, index, &reason, now),
        FactBody::Removed => removal::removed(state, index, now),
        FactBody::Diagnosed { generation, object, message } => {
            on_phase(state, index, generation, None, |phase| {
                if let Phase::Working { waiting, .. } = phase {
                    *waiting = Some(shorten(&format!("{object}: {message}"), REASON));
                }
            });
        }
        FactBody::Progress { generation, progress } => {
            let said =
                progress.holds.first().map(|hold| HoldText::new(hold, progress.holds.len(), state, index));
            on_phase(state, index, generation, None, |phase| match said.flatten() {
                Some(said) => held(phase, said, now),
                None => working(phase, &progress, now),
            });
        }
        // What waits for a person waits for them whatever else there is.
        FactBody::Stalled { generation, reason } => on_phase(state, index, generation, None, |phase| {
            if let Phase::Stalled { reason: said, .. } = phase {
                *said = shorten(&reason, REASON);
            } else if let Phase::Working { .. } | Phase::Converged { .. } = phase {
                *phase = stalled(&reason, now);
            }
        }),
        FactBody::Held { generation, release, reason } => {
            let Some(said) = HoldText::new(&reason, 1, state, index) else { return };
            removal::held(state, index, generation, &said.reason);
            on_phase(state, index, generation, Some(release), |phase| held(phase, said, now));
        }
        FactBody::Unhealthy { generation, release, cause } => {
            if is_current(state, index, generation, Some(release)) {
                bake::unhealthy(state, index, &shorten(&cause.to_string(), REASON), now, effects);
            }
        }
        FactBody::Converged { generation, release } => {
            if is_current(state, index, generation, Some(release)) {
                bake::converged(state, index, now);
            }
        }
        FactBody::Failed { generation, release, cause } => {
            if is_current(state, index, generation, Some(release)) {
                failure::failed(state, index, &cause.to_string(), now, effects);
            }
        }
        FactBody::Kept { generation, objects } => {
            let leaves =
                state.record.targets.get(index).is_some_and(|t| t.gone() && t.generation == generation);
            if leaves || is_current(state, index, generation, None) {
                state.change(index, |target| target.kept = Kept::of(&objects));
            }
        }
        FactBody::Drift { .. } | FactBody::Contested { .. } | FactBody::BreakGlass { .. } => {}
    }
}

fn is_current(state: &FleetState, index: usize, generation: u64, release: Option<ReleaseDigest>) -> bool {
    let Some(target) = state.record.targets.get(index).filter(|target| !target.gone()) else { return false };
    let ordered = target.ordered().map(|ordered| state.record.interner.digest(ordered));
    target.generation == generation && ordered.is_some() && (release.is_none() || release == ordered)
}

fn on_phase(
    state: &mut FleetState,
    index: usize,
    generation: u64,
    release: Option<ReleaseDigest>,
    edit: impl FnOnce(&mut Phase),
) {
    if is_current(state, index, generation, release) {
        state.change(index, |target| target.order.as_mut().map(|order| edit(&mut order.phase)));
    }
}

fn working(phase: &mut Phase, progress: &Progress, now: UnixMillis) {
    if let Phase::Converged { .. } | Phase::Failed { .. } = phase {
        return;
    }
    if let Some(reason) = &progress.stalled {
        if !matches!(phase, Phase::Stalled { .. }) {
            *phase = stalled(reason, now);
        }
        return;
    }
    let first = progress.waiting.first().map(|what| format!("{}: {}", what.object, what.reason));
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let applied = (number(progress.applied), number(progress.total));
    *phase = Phase::Working { idle: now, applied, waiting: first.map(|text| shorten(&text, WAITING)) };
}

fn stalled(reason: &str, now: UnixMillis) -> Phase {
    Phase::Stalled { since: now, reason: shorten(reason, REASON), given_up: false }
}

/// A hold in the words of one target.
struct HoldText {
    reason: String,
    remedy: String,
    deletions: bool,
}

impl HoldText {
    /// The first hold of `count`.
    fn new(hold: &Hold, count: usize, state: &FleetState, index: usize) -> Option<Self> {
        let target = &state.record.targets.get(index)?.name;
        let more = if count > 1 { format!("; and {} more", count - 1) } else { String::new() };
        let room = REASON.saturating_sub(more.chars().count());
        let reason = format!("{}{more}", shorten(&hold.to_string(), room));
        let remedy = hold.remedy(target, &state.record.fleet);
        Some(Self { reason, remedy, deletions: hold.is_approvable() })
    }
}

fn held(phase: &mut Phase, said: HoldText, now: UnixMillis) {
    if let Phase::Failed { .. } = phase {
        return;
    }
    let since = match phase {
        Phase::Held { since, .. } => *since,
        _ => now,
    };
    let HoldText { reason, remedy, deletions } = said;
    *phase = Phase::Held { since, reason, remedy, deletions };
}

fn offline(state: &mut FleetState, index: usize, reason: &str, now: UnixMillis) {
    state.change(index, |target| {
        let since = match target.link {
            Link::Offline { since, .. } => since,
            // What a person took out stays out, whoever answers or not.
            Link::Left { .. } => return,
            Link::Unknown | Link::Online => now,
        };
        target.link = Link::Offline { since, reason: shorten(reason, REASON) };
    });
}

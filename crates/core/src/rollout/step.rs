//! Takes one event in, and lets everything happen that it makes possible.

use jiff::Timestamp;

use super::decide::{admit, approval, bake, commit, facts, failure, orders, people, removal, windows};
use super::effect::Effect;
use super::event::Event;
use super::report;
use super::state::said::said;
use super::state::target::{Phase, UnixMillis};
use super::state::{FleetState, Invalid};
use super::status::{CommitState, CommitStatus};
use crate::model::revision::Revision;

/// Takes one event in. The state must be saved before the effects are carried out.
pub fn step(state: &mut FleetState, event: Event, now: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    let now = UnixMillis::from(now).max(state.record.clock);
    state.record.clock = now;
    match event {
        Event::CommitObserved(intent) => commit::observe(state, *intent, now, &mut effects),
        Event::CommitInvalid { commit, summary } => {
            let description = format!("can't be read, assignments stay: {summary}");
            let revision = Revision::control(commit);
            said(
                &mut state.record,
                CommitStatus { revision, state: CommitState::Failure, description },
                &mut effects,
            );
            (state.record.invalid, state.record.revision_hold) = (Some(Invalid { commit, summary }), None);
        }
        Event::RevisionHeld { commit, reason } => state.record.revision_hold = Some((commit, reason)),
        Event::Fact(fact) => facts::take(state, *fact, now, &mut effects),
        Event::Dependency { target, unmet } => {
            if let Some(index) = state.record.find(&target) {
                state.change(index, |target| target.unmet = unmet);
            }
        }
        Event::Approved { wave, .. } => approval::approve(state, wave.as_ref(), now, &mut effects),
        Event::Adopted { target, .. } => approval::adopt(state, &target, &mut effects),
        Event::Retry { .. } => people::retry(state),
        Event::Paused { by } => people::pause(state, by),
        Event::Resumed { .. } => {
            state.record.paused = None;
            failure::go_on(state, now, &mut effects);
        }
        Event::Tick => {}
    }
    follow_up(state, now, &mut effects);
    effects
}

/// After a restart: every order that stands, every status, and the next wake-up. Progress clocks stood
/// while nobody listened.
pub fn resume(state: &mut FleetState, now: Timestamp) -> Vec<Effect> {
    let now = UnixMillis::from(now).max(state.record.clock);
    let since = std::mem::replace(&mut state.record.clock, now);
    for target in &mut state.record.targets {
        match target.order.as_mut().map(|order| &mut order.phase) {
            Some(Phase::Working { idle, .. }) => *idle = idle.shifted(since, now),
            Some(
                Phase::Stalled { since: start, .. } | Phase::Converged { unhealthy: Some((start, _)), .. },
            ) => {
                *start = start.shifted(since, now);
            }
            _ => {}
        }
    }
    bake::take_up(&mut state.record, now);
    state.record.told_wake = None;
    state.recount();
    let mut effects = orders::standing_orders(&state.record);
    effects.extend(state.record.said.iter().cloned().map(Effect::Report));
    effects.extend(state.record.told_hold.clone().map(|reason| Effect::Hold { reason }));
    follow_up(state, now, &mut effects);
    effects
}

/// Everything that is due or has become possible, then what must be said.
fn follow_up(state: &mut FleetState, now: UnixMillis, effects: &mut Vec<Effect>) {
    while let Some((_, index)) = state.index.deadlines.first().copied().filter(|(at, _)| *at <= now) {
        facts::come_due(state, index, now, effects);
    }
    loop {
        failure::judge(state, now, effects);
        admit::start(state, now, effects);
        if !admit::accept(state) {
            break;
        }
    }
    removal::order(state, effects);
    report::tell(state, effects);
    let hold = report::hold(state);
    if state.record.told_hold != hold {
        state.record.told_hold.clone_from(&hold);
        effects.extend(hold.map(|reason| Effect::Hold { reason }));
    }
    let deadline = state.index.deadlines.first().map(|(at, _)| *at);
    let next = deadline.into_iter().chain(windows::next_turn(state)).min();
    let told = state.record.told_wake.filter(|told| *told > now);
    if let Some(next) = next.filter(|next| told.is_none_or(|told| *next < told)) {
        state.record.told_wake = Some(next);
        effects.push(Effect::WakeAt(next.into()));
    }
}

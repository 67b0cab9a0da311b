//! Takes one event in, and lets everything happen that it makes possible.

use jiff::Timestamp;

use super::effect::Effect;
use super::event::{Event, Person};
use super::report::{CommitState, CommitStatus, said};
use super::state::{FleetState, Invalid, Record, Run};
use super::target::{Kept, Link, Moment, Order, Phase};
use super::{admit, approval, bake, failure, lanes, plan, recover, removal, report};
use crate::model::assignment::{Cause, Fact, FactBody, Hold, Progress};
use crate::model::digest::ReleaseDigest;
use crate::model::revision::Revision;

/// Longest text kept of what a cluster waits for, in characters; there may be thousands.
const WAITING: usize = 80;
/// Longest text kept of why a cluster is held, stalled or offline.
const REASON: usize = 300;

/// Takes one event in. The state must be saved before the effects are carried out.
pub fn step(state: &mut FleetState, event: Event, now: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    let now = Moment::from(now).max(state.r.clock);
    state.r.clock = now;
    match event {
        Event::CommitObserved(intent) => plan::observe(state, *intent, now, &mut effects),
        Event::CommitInvalid { commit, summary } => {
            let description = format!("can't be read, assignments stay: {summary}");
            let revision = Revision::control(commit);
            said(
                &mut state.r,
                CommitStatus { revision, state: CommitState::Failure, description },
                &mut effects,
            );
            (state.r.invalid, state.r.revision_hold) = (Some(Invalid { commit, summary }), None);
        }
        Event::RevisionHeld { commit, reason } => state.r.revision_hold = Some((commit, reason)),
        Event::Fact(fact) => take_fact(state, *fact, now, &mut effects),
        Event::Dependency { target, unmet } => {
            if let Some(index) = state.r.find(&target) {
                state.change(index, |target| target.unmet = unmet);
            }
        }
        Event::Approved { wave, .. } => approval::approve(state, wave.as_ref(), now, &mut effects),
        Event::Adopted { target, .. } => approval::adopt(state, &target, &mut effects),
        Event::Retry { .. } => retry(state),
        Event::Paused { by } => pause(state, by),
        Event::Resumed { .. } => {
            state.r.paused = None;
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
    let now = Moment::from(now).max(state.r.clock);
    let since = std::mem::replace(&mut state.r.clock, now);
    for target in &mut state.r.targets {
        match target.order.as_mut().map(|order| &mut order.phase) {
            Some(Phase::Working { idle, .. }) => *idle = idle.shifted(since, now),
            Some(Phase::Stalled { since: start, .. } | Phase::Converged { ill: Some((start, _)), .. }) => {
                *start = start.shifted(since, now);
            }
            _ => {}
        }
    }
    bake::take_up(&mut state.r, now);
    state.r.told_wake = None;
    state.recount();
    let mut effects = standing_orders(&state.r);
    effects.extend(state.r.said.iter().cloned().map(Effect::Report));
    effects.extend(state.r.told_hold.clone().map(|reason| Effect::Hold { reason }));
    follow_up(state, now, &mut effects);
    effects
}

/// Every order that stands.
pub(super) fn standing_orders(r: &Record) -> Vec<Effect> {
    let mut orders = Vec::with_capacity(r.targets.len());
    for target in &r.targets {
        if target.suspend {
            orders.push(Effect::Suspend { target: target.name.clone(), suspend: true });
        }
        if target.gone() {
            orders.extend(removal::removal(r, target));
        } else {
            orders.extend(admit::assignment(r, target).map(Box::new).map(Effect::Assign));
        }
    }
    orders
}

/// Everything that is due or has become possible, then what must be said.
fn follow_up(state: &mut FleetState, now: Moment, effects: &mut Vec<Effect>) {
    while let Some((_, index)) = state.tally.deadlines.first().copied().filter(|(at, _)| *at <= now) {
        come_due(state, index, now, effects);
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
    if state.r.told_hold != hold {
        state.r.told_hold.clone_from(&hold);
        effects.extend(hold.map(|reason| Effect::Hold { reason }));
    }
    let deadline = state.tally.deadlines.first().map(|(at, _)| *at);
    let next = deadline.into_iter().chain(lanes::next_turn(state)).min();
    let told = state.r.told_wake.filter(|told| *told > now);
    if let Some(next) = next.filter(|next| told.is_none_or(|told| *next < told)) {
        state.r.told_wake = Some(next);
        effects.push(Effect::WakeAt(next.into()));
    }
}

fn come_due(state: &mut FleetState, index: usize, now: Moment, effects: &mut Vec<Effect>) {
    let span = state.r.head.as_ref().map(|head| head.policy.rollout.progress_deadline.get());
    let seconds = span.unwrap_or_default().as_secs();
    let Some(target) = state.r.targets.get(index) else { return };
    match target.order.as_ref().map(|order| &order.phase) {
        Some(Phase::Working { waiting, .. }) => {
            let waiting = waiting.clone().unwrap_or_else(|| "the first object".to_owned());
            let cause = Cause::NoProgress { seconds, waiting }.to_string();
            failure::failed(state, index, &cause, now, effects);
        }
        Some(Phase::Converged { ill: Some((_, cause)), .. }) => {
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
fn take_fact(state: &mut FleetState, fact: Fact, now: Moment, effects: &mut Vec<Effect>) {
    let Some(index) = state.r.find(&fact.target) else { return };
    match fact.body {
        FactBody::Online { ledger } => recover::online(state, index, ledger, now, effects),
        FactBody::Offline { reason } => offline(state, index, &reason, now),
        FactBody::Removed => removal::removed(state, index, now),
        FactBody::Diagnosed { generation, object, message } => {
            on_phase(state, index, generation, None, |phase| {
                if let Phase::Working { waiting, .. } = phase {
                    *waiting = Some(failure::shorten(&format!("{object}: {message}"), REASON));
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
                *said = failure::shorten(&reason, REASON);
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
                bake::unhealthy(state, index, &failure::shorten(&cause.to_string(), REASON), now, effects);
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
            let leaves = state.r.targets.get(index).is_some_and(|t| t.gone() && t.generation == generation);
            if leaves || is_current(state, index, generation, None) {
                state.change(index, |target| target.kept = Kept::of(&objects));
            }
        }
        FactBody::Drift { .. } | FactBody::Contested { .. } | FactBody::BreakGlass { .. } => {}
    }
}

fn is_current(state: &FleetState, index: usize, generation: u64, release: Option<ReleaseDigest>) -> bool {
    let Some(target) = state.r.targets.get(index).filter(|target| !target.gone()) else { return false };
    let ordered = target.ordered().map(|ordered| state.r.book.digest(ordered));
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

fn working(phase: &mut Phase, progress: &Progress, now: Moment) {
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
    *phase =
        Phase::Working { idle: now, applied, waiting: first.map(|text| failure::shorten(&text, WAITING)) };
}

fn stalled(reason: &str, now: Moment) -> Phase {
    Phase::Stalled { since: now, reason: failure::shorten(reason, REASON), given_up: false }
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
        let target = &state.r.targets.get(index)?.name;
        let more = if count > 1 { format!("; and {} more", count - 1) } else { String::new() };
        let room = REASON.saturating_sub(more.chars().count());
        let reason = format!("{}{more}", failure::shorten(&hold.to_string(), room));
        let remedy = hold.remedy(target, &state.r.fleet);
        Some(Self { reason, remedy, deletions: hold.is_approvable() })
    }
}

fn held(phase: &mut Phase, said: HoldText, now: Moment) {
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

fn offline(state: &mut FleetState, index: usize, reason: &str, now: Moment) {
    state.change(index, |target| {
        let since = match target.link {
            Link::Offline { since, .. } => since,
            // What a person took out stays out, whoever answers or not.
            Link::Left { .. } => return,
            Link::Unknown | Link::Online => now,
        };
        target.link = Link::Offline { since, reason: failure::shorten(reason, REASON) };
    });
}

fn retry(state: &mut FleetState) {
    let mut again = failure::forgive_all(&mut state.r);
    for target in &mut state.r.targets {
        if let Link::Left { .. } = target.link {
            target.link = Link::Online;
            again = true;
        }
    }
    if again && let Some(head) = &mut state.r.head {
        head.attempt += 1;
        if let Run::Accepted { .. } = head.run {
            plan::leave_behind(&mut state.r);
        } else {
            head.run = Run::Rolling;
            plan::choose_members(&mut state.r, true);
        }
    }
    state.recount();
}

fn pause(state: &mut FleetState, by: Person) {
    state.r.paused.get_or_insert(by);
}

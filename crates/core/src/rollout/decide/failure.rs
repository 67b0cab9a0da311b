//! Failure budgets, rollback, quarantine.

use crate::rollout::status::shorten;
use std::collections::BTreeSet;
use std::time::Duration;

use super::admit::assign;
use crate::model::assignment::Purpose;
use crate::model::digest::CommitId;
use crate::model::fleet::OnFailure;
use crate::model::units::Amount;
use crate::rollout::effect::Effect;
use crate::rollout::state::index::WaveCounts;
use crate::rollout::state::interner::ReleaseId;
use crate::rollout::state::target::{Failure, Pair, Phase, Target, UnixMillis};
use crate::rollout::state::{Defeat, FleetState, Group, Record, Run};

/// Longest text kept of a cause, in characters.
const CAUSE: usize = 400;
/// A return that failed is tried again after this long, doubled each time ...
const FIRST_RETRY: Duration = Duration::from_secs(60);
/// ... up to 2^6 times as long: about an hour.
const MAX_DOUBLINGS: u8 = 6;

/// The standing order of a target has failed. Said once for each generation.
pub fn failed(state: &mut FleetState, index: usize, cause: &str, now: UnixMillis, effects: &mut Vec<Effect>) {
    let Some(target) = state.record.targets.get(index) else { return };
    let Some(order) = target.order.as_ref().filter(|order| !order.failed()) else { return };
    let (release, purpose, was_unhealthy) = (order.release, order.purpose, order.was_unhealthy);
    let counts = target.member && state.record.same(Some(release), target.wanted());
    let caught_up = target.behind && state.record.same(Some(release), target.accepted);
    let digest = state.record.interner.digest(release);
    let cause = shorten(cause, CAUSE);
    let going_back = purpose == Purpose::Return;
    state.change(index, |target| {
        if let Some(order) = &mut target.order {
            let retry = FIRST_RETRY * (1 << order.retries.min(MAX_DOUBLINGS));
            let retry_at = going_back.then(|| now.plus(retry));
            order.phase = Phase::Failed { since: now, cause: cause.clone(), retry_at };
        }
        if !going_back {
            target.history.remove(digest);
        }
        if counts || purpose == Purpose::Pin || caught_up {
            target.failure = Some(Failure { release, cause, at: now, excused: !counts || was_unhealthy });
        }
    });
    if going_back {
        return;
    }
    if !counts {
        if purpose == Purpose::Pin || caught_up {
            return_alone(state, index, now, effects);
        }
    } else if was_unhealthy || within_budget(state) {
        return_alone(state, index, now, effects);
    }
}

/// Whether no more clusters failed than a rollout bears: a number is of all, a percentage of each wave.
fn within_budget(state: &FleetState) -> bool {
    let Some(policy) = state.record.head.as_ref().map(|head| &head.policy.rollout) else { return false };
    let bears = |wave: &WaveCounts| wave.failed <= policy.max_failures.floor_of(wave.affected);
    match (policy.on_failure, policy.max_failures) {
        (OnFailure::Continue, _) => true,
        (_, Amount::Count(_)) => bears(&state.index.all),
        (_, Amount::Percent(_)) => state.index.waves.iter().all(bears),
    }
}

/// Ends or pauses the rollout if it failed; whether it did.
pub fn judge(state: &mut FleetState, now: UnixMillis, effects: &mut Vec<Effect>) -> bool {
    if !state.record.rolling() || state.index.failed.is_empty() {
        return false;
    }
    // A wave in which everybody who tried it failed is never passed, however many failures are allowed.
    let all_failed =
        |wave: &WaveCounts| wave.failed > 0 && wave.blocking == 0 && wave.done == 0 && wave.away == 0;
    let nobody = state.index.waves.iter().any(all_failed);
    if within_budget(state) && !nobody {
        return false;
    }
    let pauses =
        state.record.head.as_ref().is_some_and(|head| head.policy.rollout.on_failure == OnFailure::Pause);
    let defeat = defeat(state);
    if pauses {
        set_run(state, Run::Paused(defeat));
    } else {
        give_up(state, defeat, now, effects);
    }
    true
}

fn defeat(state: &FleetState) -> Defeat {
    let first = state.index.failed.first().and_then(|index| state.record.targets.get(*index));
    let cause = first.and_then(|target| Some((target, target.failure.as_ref()?)));
    let cause = cause.map(|(target, failure)| format!("{} {}", target.name, failure.cause));
    Defeat {
        failed: state.index.failed.len(),
        affected: state.index.all.affected,
        cause: cause.unwrap_or_default(),
        back_to: state.record.accepted_commit(),
    }
}

pub fn set_run(state: &mut FleetState, run: Run) {
    if let Some(head) = &mut state.record.head {
        head.run = run;
    }
    state.recount();
}

/// Everything that this rollout, or one that it superseded, reached goes back to its base, and what it
/// wanted is quarantined.
fn give_up(state: &mut FleetState, defeat: Defeat, now: UnixMillis, effects: &mut Vec<Effect>) {
    let names = state.index.failed.iter().filter_map(|index| state.record.targets.get(*index));
    let failed: BTreeSet<_> = names.map(|target| target.name.clone()).collect();
    if let Some(commit) = state.record.subject() {
        let group = add_group(&mut state.record, commit, &defeat.cause, failed, true);
        let interner = &state.record.interner;
        for target in state.record.targets.iter_mut().filter(|target| target.member) {
            let good = |release: ReleaseId| target.base.is_some_and(|base| interner.same(base, release));
            if let Some(wanted) = target.wanted().filter(|wanted| !good(*wanted)) {
                target.quarantine.push(Pair(wanted, group));
            }
        }
    }
    set_run(state, Run::Failed(defeat));
    for index in 0..state.record.targets.len() {
        if state.record.targets.get(index).is_some_and(|target| belongs_back(&state.record, target)) {
            go_back(state, index, now, effects);
        }
    }
    state.record.targets.iter_mut().for_each(|target| target.member = false);
    state.recount();
}

/// Whether a failed rollout takes this target back: pins, and clusters that catch up, have their own ways.
fn belongs_back(record: &Record, target: &Target) -> bool {
    let own_way = |purpose| matches!(purpose, Purpose::Pin | Purpose::CatchUp);
    target.order.as_ref().is_some_and(|order| {
        let elsewhere = target.base.is_some() && !record.same(Some(order.release), target.base);
        // Its ledger hears of its base with the next intent only, so after a lost store its base may be older than
        // the good release at which it stands. That this commit reached it is sure only if it is at what that wants.
        let reached = !order.found || record.same(target.wanted(), Some(order.release));
        elsewhere && reached && !target.gone() && !target.pinned && !own_way(order.purpose)
    })
}

fn go_back(state: &mut FleetState, index: usize, now: UnixMillis, effects: &mut Vec<Effect>) {
    if let Some(base) = state.record.targets.get(index).and_then(|target| target.base) {
        assign(state, index, base, Purpose::Return, now, effects);
    }
}

/// One cluster goes back, the others go on; what it failed with is quarantined here.
pub fn return_alone(state: &mut FleetState, index: usize, now: UnixMillis, effects: &mut Vec<Effect>) {
    let Some(target) = state.record.targets.get(index) else { return };
    let Some(failure) = target.failure.clone() else { return };
    let name = target.name.clone();
    let elsewhere = target.base.is_some() && !state.record.same(target.ordered(), target.base);
    let good = target.base.is_some_and(|base| state.record.interner.same(base, failure.release));
    let commit = state.record.subject().filter(|_| !good);
    if let Some(commit) = commit {
        let cause = format!("{name} {}", failure.cause);
        let group = add_group(&mut state.record, commit, &cause, BTreeSet::from([name]), false);
        state.change(index, |target| target.quarantine.push(Pair(failure.release, group)));
    }
    if elsewhere {
        go_back(state, index, now, effects);
    }
}

fn add_group(
    record: &mut Record,
    commit: CommitId,
    cause: &str,
    failed: BTreeSet<crate::model::name::TargetName>,
    whole: bool,
) -> u32 {
    let number = record.next_group;
    record.next_group += 1;
    record.groups.insert(number, Group { commit, cause: cause.to_owned(), failed, whole });
    number
}

/// Takes up a return again, with a new generation.
pub fn retry_return(state: &mut FleetState, index: usize, now: UnixMillis, effects: &mut Vec<Effect>) {
    let Some(order) = state.record.targets.get(index).and_then(|target| target.order.clone()) else { return };
    assign(state, index, order.release, Purpose::Return, now, effects);
    state.change(index, |target| {
        if let Some(new) = &mut target.order {
            new.retries = order.retries.saturating_add(1);
        }
    });
}

/// Ends each quarantine of which a failed cluster now gets another release, or is no longer there.
pub fn lift_changed(record: &mut Record) {
    let changed = |number: u32, group: &Group| {
        group.failed.iter().any(|name| {
            let target = record.find(name).and_then(|index| record.targets.get(index));
            target.is_none_or(|target| target.leaving.is_some() || gets_another(record, target, number))
        })
    };
    let over = record.groups.iter().filter(|(number, group)| changed(**number, group));
    let over: BTreeSet<u32> = over.map(|(number, _)| *number).collect();
    lift(record, &over);
}

/// What failed is neither what the head wants nor what the target is to catch up to.
fn gets_another(record: &Record, target: &Target, group: u32) -> bool {
    let pair = target.quarantine.iter().find(|pair| pair.1 == group).map(|pair| pair.0);
    // A known good release that failed is not quarantined, but it failed all the same.
    let failed = pair.or(target.failure.as_ref().map(|failure| failure.release));
    let Some(release) = failed else { return true };
    let Some(wanted) = target.wanted() else { return false };
    let catches_up_to_it = target.behind && record.same(target.accepted, Some(release));
    !(record.interner.same(wanted, release) || catches_up_to_it)
}

fn lift(record: &mut Record, groups: &BTreeSet<u32>) {
    if groups.is_empty() {
        return;
    }
    let Record { groups: all, targets, interner, .. } = record;
    for target in targets.iter_mut() {
        let lifted = |pair: &Pair| groups.contains(&pair.1);
        let over: Vec<Pair> = target.quarantine.iter().copied().filter(lifted).collect();
        let failed = target.failure.as_ref().map(|failure| failure.release);
        if failed.is_some_and(|failed| over.iter().any(|pair| interner.same(pair.0, failed))) {
            target.failure = None;
        }
        target.quarantine.retain(|pair| !lifted(pair));
    }
    all.retain(|number, _| !groups.contains(number));
}

/// It works after all: the verdict on this release falls, and its quarantine on this cluster alone.
pub fn healed(state: &mut FleetState, index: usize) {
    let Some(target) = state.record.targets.get_mut(index) else { return };
    target.failure = None;
    let Some(works) = target.ordered() else { return };
    let alone = |number: &u32| state.record.groups.get(number).is_some_and(|group| !group.whole);
    let pairs = target.quarantine.iter().filter(|pair| state.record.interner.same(pair.0, works));
    let alone: BTreeSet<u32> = pairs.map(|pair| pair.1).filter(alone).collect();
    lift(&mut state.record, &alone);
    state.recount();
}

/// A person wants what failed to be tried again. Whether anything had.
pub fn forgive_all(record: &mut Record) -> bool {
    let all: BTreeSet<u32> = record.groups.keys().copied().collect();
    lift(record, &all);
    let mut forgiven = !all.is_empty();
    for target in &mut record.targets {
        forgiven |= target.failure.take().is_some();
        if let Some(order) = target.order.as_mut().filter(|order| order.purpose == Purpose::Return)
            && let Phase::Failed { retry_at: Some(at), .. } = &mut order.phase
        {
            *at = UnixMillis::default();
            forgiven = true;
        }
    }
    forgiven
}

/// A rollout that paused because of failures goes on; who failed goes back alone and counts no more.
pub fn go_on(state: &mut FleetState, now: UnixMillis, effects: &mut Vec<Effect>) {
    if !matches!(state.record.head.as_ref().map(|head| &head.run), Some(Run::Paused(_))) {
        return;
    }
    let failed: Vec<usize> = state.index.failed.iter().copied().collect();
    set_run(state, Run::Rolling);
    for index in failed {
        state.change(index, |target| {
            if let Some(failure) = &mut target.failure {
                failure.excused = true;
            }
        });
        return_alone(state, index, now, effects);
    }
}

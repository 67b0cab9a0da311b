//! What ledgers say, against what the store says.

use crate::rollout::state::waves::bake_time;
use std::collections::{BTreeMap, BTreeSet};

use super::admit::{assign, assignment};
use super::commit;
use crate::model::assignment::{LedgerSummary, Purpose};
use crate::model::release::ReleaseRef;
use crate::rollout::effect::Effect;
use crate::rollout::state::interner::{History, RevisionsId};
use crate::rollout::state::target::{Link, Order, Pair, Phase, Target, UnixMillis};
use crate::rollout::state::{FleetState, Group, Record};

/// A cluster answers, and this is its ledger.
pub fn online(
    state: &mut FleetState,
    index: usize,
    ledger: Option<Box<LedgerSummary>>,
    now: UnixMillis,
    effects: &mut Vec<Effect>,
) {
    state.change(index, |target| {
        if let Link::Offline { since, .. } = target.link {
            resume_clock(target, since, now);
        }
        // What a person took out stays out until a person says otherwise.
        if !matches!(target.link, Link::Left { .. }) {
            target.link = Link::Online;
        }
    });
    let Some(target) = state.record.targets.get(index) else { return };
    match ledger {
        Some(ledger)
            if ledger.generation > target.generation || (target.order.is_none() && !target.gone()) =>
        {
            read(state, index, *ledger, now);
            // Nobody has told its worker, which would not even heal.
            let target = state.record.targets.get(index).filter(|target| !target.gone());
            let order = target.and_then(|target| assignment(&state.record, target));
            effects.extend(order.map(Box::new).map(Effect::Assign));
        }
        Some(ledger) => catch_word(state, index, &ledger, now),
        None => {
            let converged = target.order.as_ref().filter(|order| order.converged() && !target.gone());
            if let Some(release) = converged.map(|order| order.release) {
                state.change(index, |target| target.history = History::default());
                assign(state, index, release, Purpose::CatchUp, now, effects);
            }
        }
    }
}

/// The progress clock, and the one of the bake time, stood from `since` until now.
pub fn resume_clock(target: &mut Target, since: UnixMillis, now: UnixMillis) {
    let phase = target.order.as_mut().map(|order| &mut order.phase);
    if let Some(Phase::Working { idle: start, .. } | Phase::Converged { bake: Some(start), .. }) = phase {
        *start = start.shifted(since.max(*start), now);
    }
}

/// The result of the standing order was written, and the fact that says so was lost.
fn catch_word(state: &mut FleetState, index: usize, ledger: &LedgerSummary, now: UnixMillis) {
    let Some(target) =
        state.record.targets.get(index).filter(|target| target.generation == ledger.generation)
    else {
        return;
    };
    let Some(release) = target.ordered() else { return };
    let digest = state.record.interner.digest(release);
    let working = target.order.as_ref().is_some_and(Order::at_work);
    if working && ledger.converged.as_ref().is_some_and(|converged| converged.digest == digest) {
        super::bake::converged(state, index, now);
    }
}

/// The ledger knows more than the state: the store was lost, or is older.
fn read(state: &mut FleetState, index: usize, ledger: LedgerSummary, now: UnixMillis) {
    let record = &mut state.record;
    let Some(target) = record.targets.get(index) else { return };
    let (gone, first, wave) = (target.gone(), target.order.is_none(), target.wave);
    if gone || (first && !record.recovering) {
        // A target that comes back takes up its ledger: the inventory counts, the base is void.
        state.change(index, |target| target.generation = target.generation.max(ledger.generation));
        return;
    }
    let recovering = record.recovering;
    let converged = ledger.converged.as_ref().map(|release| record.interner.release(release));
    let order = ledger.assigned.as_ref().map(|release| {
        let release = record.interner.release(release);
        let mut order = Order { found: recovering, ..Order::new(release, Purpose::Change, now) };
        if record.same(converged, Some(release)) {
            // What the history does not have may not have baked yet.
            let proven = ledger.history.iter().any(|good| good.digest == record.interner.digest(release));
            let bakes = !proven && bake_time(record, wave).is_some();
            order.phase = Phase::Converged { since: now, unhealthy: None, bake: bakes.then_some(now) };
        }
        order
    });
    let base = good_base(&ledger).map(|release| record.interner.release(release));
    let bad = quarantine(record, index, &ledger);
    state.change(index, |target| {
        target.generation = target.generation.max(ledger.generation);
        (target.order, target.converged) = (order.or(target.order.take()), converged.or(target.converged));
        target.base = base.or(target.base);
        target.history = History::of(&ledger.history);
        target.quarantine.extend(bad);
        if recovering {
            target.accepted = target.base;
        }
    });
    if recovering {
        state.record.accepted = proven(&state.record);
        believe(state);
    }
    let target = state.record.targets.get(index);
    let member =
        target.is_some_and(|target| state.record.rolling() && commit::is_member(&state.record, target));
    state.change(index, |target| target.member = member);
}

/// A ledger gets to know its base with the next intent: what converged and baked since is as good.
fn good_base(ledger: &LedgerSummary) -> Option<&ReleaseRef> {
    let converged = ledger.converged.as_ref();
    converged
        .filter(|release| ledger.history.iter().any(|good| good.digest == release.digest))
        .or(ledger.base.as_ref())
}

/// What the ledger says is quarantined and the head wants all the same.
fn quarantine(record: &mut Record, index: usize, ledger: &LedgerSummary) -> Option<Pair> {
    let target = record.targets.get(index)?;
    let wanted = target.wanted()?;
    let known = record.quarantine_of(target, wanted).is_some();
    if known || !ledger.quarantined.contains(&record.interner.digest(wanted)) {
        return None;
    }
    let (name, commit) = (target.name.clone(), record.commit_of(record.interner.revs_of(wanted)));
    let cause = format!("{name} failed with it before (its ledger says)");
    let number = record.next_group;
    record.next_group += 1;
    record.groups.insert(number, Group { commit, cause, failed: [name].into(), whole: true });
    Some(Pair(wanted, number))
}

/// Who converged at the commit that the others' bases prove accepted has its base there too, though its own ledger
/// would hear of it with the next intent only.
fn believe(state: &mut FleetState) {
    let Some(accepted) = state.record.accepted else { return };
    let Record { targets, interner, .. } = &mut state.record;
    let mut news = false;
    for target in targets.iter_mut() {
        let Some(converged) = target.converged.filter(|release| interner.revs_of(*release) == accepted)
        else {
            continue;
        };
        if !target.base.is_some_and(|base| interner.same(base, converged)) {
            (target.base, target.accepted, news) = (Some(converged), Some(converged), true);
        }
    }
    if news {
        state.recount();
    }
}

/// What most clusters prove to be accepted. A base is; so is what a cluster converged at, where another has it as its
/// base: its own ledger would hear of that with the next intent only. A pin's base says nothing of the fleet.
fn proven(record: &Record) -> Option<RevisionsId> {
    let revs = |release| record.interner.revs_of(release);
    let bases = record.targets.iter().filter(|target| !target.pinned).filter_map(|target| target.base);
    let accepted: BTreeSet<RevisionsId> = bases.map(revs).collect();
    let mut votes: BTreeMap<RevisionsId, usize> = BTreeMap::new();
    for target in record.targets.iter().filter(|target| !target.pinned) {
        let at = target.converged.map(revs).filter(|at| accepted.contains(at));
        if let Some(vote) = at.or(target.base.map(revs)) {
            *votes.entry(vote).or_default() += 1;
        }
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(revs, _)| revs)
}

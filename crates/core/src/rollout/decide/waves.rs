//! Who is in which wave, and when the next one may start.

use super::admit;
use crate::rollout::state::target::Target;
use crate::rollout::state::waves::{count, declared, number, rest};
use crate::rollout::state::{FleetState, Head, Record};

/// Gives every target its wave: the first that takes it. A wave with a number or a percentage takes of those that
/// the change affects, the quarantined ones among them (else a commit would get other canaries for the same bytes);
/// first those that can be reached, by name. `kept`: who keeps the wave that it has.
pub fn place(record: &mut Record, affected: &[bool], kept: &[bool]) {
    let waves = declared(record).to_vec();
    let last = rest(&waves);
    let whole = affected.iter().filter(|affected| **affected).count();
    let mut free: Vec<bool> = affected.iter().zip(kept).map(|(affected, kept)| *affected && !kept).collect();
    for (target, _) in record.targets.iter_mut().zip(kept).filter(|(_, kept)| !**kept) {
        target.wave = target.select.unwrap_or(number(last)).min(number(last));
    }
    for (at, wave) in waves.iter().enumerate().take(last) {
        let quota = match (wave.count, wave.percent) {
            (Some(count), _) => count as usize,
            (None, Some(percent)) => percent.ceil_of(whole),
            (None, None) => continue,
        };
        let there = record.targets.iter().zip(affected.iter().zip(kept));
        let there =
            there.filter(|(target, (affected, kept))| **affected && **kept && usize::from(target.wave) == at);
        let mut left = quota.saturating_sub(there.count());
        // A cluster that an earlier wave's selector takes is not left.
        let open = |target: &Target| target.select.is_none_or(|select| usize::from(select) > at);
        for reachable in [true, false] {
            let candidates =
                record.targets.iter_mut().zip(&mut free).filter(|(target, free)| **free && open(target));
            let candidates =
                candidates.filter(|(target, _)| (target.offline() || target.suspend) != reachable);
            for (target, free) in candidates.take(left) {
                (target.wave, *free) = (number(at), false);
                left -= 1;
            }
        }
    }
}

/// Whether what comes after a wave may start: all that must have converged and baked have, no cluster of it is held
/// by a quarantine, and some cluster has tried it, however many were skipped.
pub fn passed(state: &FleetState, number: usize) -> bool {
    let Some(wave) = state.index.waves.get(number) else { return true };
    let tried = if wave.affected == 0 { !lacks_documents(state, number) } else { wave.done > 0 };
    wave.blocking == 0 && wave.quarantined == 0 && tried
}

/// Whether nobody of a wave can try the change because the documents of its clusters are invalid: unknown is not
/// unaffected. It matters where something behind it would go on, and until a person lets it.
pub fn lacks_documents(state: &FleetState, number: usize) -> bool {
    let waves = &state.index.waves;
    let unknown = waves.get(number).is_some_and(|wave| wave.affected == 0 && wave.unknown > 0);
    let behind = waves.iter().skip(number + 1).any(|wave| wave.blocking > 0);
    let waived = |head: &Head| u16::try_from(number).is_ok_and(|number| head.waived.contains(&number));
    unknown && behind && !state.record.head.as_ref().is_some_and(waived)
}

/// The first wave that is not passed; none: all are.
pub fn frontier(state: &FleetState) -> Option<usize> {
    (0..state.index.waves.len()).find(|wave| !passed(state, *wave))
}

/// Whether nothing moves any more, because the wave whose turn it is holds what a failed rollout left in quarantine.
pub fn quarantined(state: &FleetState) -> bool {
    let front = frontier(state).and_then(|front| state.index.waves.get(front));
    front.is_some_and(|wave| wave.blocking == 0 && wave.quarantined > 0)
}

/// Approves the change for the clusters of a wave as it is now.
pub fn approve(state: &mut FleetState, wave: usize) {
    for target in
        state.record.targets.iter_mut().filter(|target| usize::from(target.wave) == wave && target.member)
    {
        target.cleared = target.wanted();
    }
    if let Some(head) = &mut state.record.head
        && state.index.waves.get(wave).is_some_and(|wave| wave.affected == 0 && wave.unknown > 0)
    {
        head.waived.insert(number(wave));
    }
    state.recount();
}

/// Those that join a wave after it was approved need no approval of their own.
pub fn wave_through(record: &mut Record) {
    let cleared = |record: &Record, target: &Target| {
        target.cleared.is_some() && record.same(target.cleared, target.wanted())
    };
    let approved: Vec<bool> = (0..count(record))
        .map(|wave| {
            record.targets.iter().any(|t| t.member && usize::from(t.wave) == wave && cleared(record, t))
        })
        .collect();
    let joins = |target: &Target| target.member && target.base.is_none() && target.cleared.is_none();
    for target in record.targets.iter_mut().filter(|target| joins(target)) {
        if approved.get(usize::from(target.wave)) == Some(&true) {
            target.cleared = target.wanted();
        }
    }
}

/// Of the fleet as a whole: whether a wave waits for an approval whose turn has come.
pub fn awaits_approval(state: &FleetState) -> bool {
    let front = frontier(state)
        .filter(|_| state.record.rolling() && admit::gate(&state.record, &state.index).is_none());
    let lacks = |front: usize| {
        let wave = state.index.waves.get(front);
        wave.is_some_and(|wave| wave.unapproved > 0) || lacks_documents(state, front)
    };
    front.is_some_and(lacks)
}

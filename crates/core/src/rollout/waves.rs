//! The waves of a fleet: who is in which, and how far each one is.

use super::standing::{WaveReport, WaveStanding};
use super::state::{FleetState, Head, Record};
use super::tally::WaveTally;
use super::target::{Link, Moment, Phase, Target, Want};
use super::{admit, lanes};
use crate::model::fleet::{Approval, Wave};
use crate::model::labels::Labels;
use crate::model::name::WaveName;
use crate::model::units::Amount;

/// The waves of the newest commit's policy, as they are written.
pub(super) fn declared(r: &Record) -> &[Wave] {
    r.head.as_ref().map(|head| head.policy.rollout.waves.as_slice()).unwrap_or_default()
}

/// The wave of what is left: the first that takes all, else one after the declared ones.
fn rest(waves: &[Wave]) -> usize {
    waves.iter().position(Wave::takes_the_rest).unwrap_or(waves.len())
}

/// How many waves there are, with the one of what is left; at least one.
pub(super) fn count(r: &Record) -> usize {
    let waves = declared(r);
    waves.len().max(rest(waves) + 1)
}

/// The first wave whose label selector takes a target.
pub(super) fn select(r: &Record, labels: &Labels) -> Option<u16> {
    let fits = |wave: &Wave| wave.clusters.as_ref().is_some_and(|clusters| clusters.matches(labels));
    declared(r).iter().position(fits).and_then(|wave| u16::try_from(wave).ok())
}

/// What people call a wave.
pub(super) fn name(r: &Record, wave: usize) -> WaveName {
    declared(r).get(wave).map_or_else(WaveName::rest, |wave| wave.name.clone())
}

/// The same where there are several; the only wave of a fleet need not be named.
pub(super) fn title(r: &Record, wave: usize) -> Option<WaveName> {
    (count(r) > 1).then(|| name(r, wave))
}

/// The number of the wave with this name.
pub(super) fn named(r: &Record, wanted: &WaveName) -> Option<usize> {
    (0..count(r)).find(|wave| name(r, *wave) == *wanted)
}

/// Whether the change of a target waits for a person's word; a release that is known to be good does not.
pub(super) fn lacks_approval(r: &Record, target: &Target) -> bool {
    let wave = declared(r).get(usize::from(target.wave));
    let required = wave.is_some_and(|wave| wave.approval == Some(Approval::Required));
    let Some(wanted) = target.wanted().filter(|_| required) else { return false };
    let cleared = target.cleared.is_some_and(|cleared| r.book.same(cleared, wanted));
    !cleared && !target.history.has(r.book.digest(wanted))
}

/// How long a cluster of a wave must stay healthy before it counts; none: it counts at once.
pub(super) fn bake_time(r: &Record, wave: u16) -> Option<std::time::Duration> {
    let span = declared(r).get(usize::from(wave))?.min_success_time?.get();
    (!span.is_zero()).then_some(span)
}

/// Gives every target its wave: the first that takes it. A wave with a number or a percentage takes of those that
/// the change affects, the quarantined ones among them (else a commit would get other canaries for the same bytes);
/// first those that can be reached, by name. `kept`: who keeps the wave that it has.
pub(super) fn place(r: &mut Record, affected: &[bool], kept: &[bool]) {
    let waves = declared(r).to_vec();
    let last = rest(&waves);
    let whole = affected.iter().filter(|affected| **affected).count();
    let mut free: Vec<bool> = affected.iter().zip(kept).map(|(affected, kept)| *affected && !kept).collect();
    for (target, _) in r.targets.iter_mut().zip(kept).filter(|(_, kept)| !**kept) {
        target.wave = target.select.unwrap_or(number(last)).min(number(last));
    }
    for (at, wave) in waves.iter().enumerate().take(last) {
        let quota = match (wave.count, wave.percent) {
            (Some(count), _) => count as usize,
            (None, Some(percent)) => percent.ceil_of(whole),
            (None, None) => continue,
        };
        let there = r.targets.iter().zip(affected.iter().zip(kept));
        let there =
            there.filter(|(target, (affected, kept))| **affected && **kept && usize::from(target.wave) == at);
        let mut left = quota.saturating_sub(there.count());
        // A cluster that an earlier wave's selector takes is not left.
        let open = |target: &Target| target.select.is_none_or(|select| usize::from(select) > at);
        for reachable in [true, false] {
            let candidates =
                r.targets.iter_mut().zip(&mut free).filter(|(target, free)| **free && open(target));
            let candidates =
                candidates.filter(|(target, _)| (target.offline() || target.suspend) != reachable);
            for (target, free) in candidates.take(left) {
                (target.wave, *free) = (number(at), false);
                left -= 1;
            }
        }
    }
}

fn number(wave: usize) -> u16 {
    u16::try_from(wave).unwrap_or(u16::MAX)
}

/// Whether what comes after a wave may start: all that must have converged and baked have, no cluster of it is held
/// by a quarantine, and some cluster has tried it, however many were skipped.
pub(super) fn passed(state: &FleetState, number: usize) -> bool {
    let Some(wave) = state.tally.waves.get(number) else { return true };
    let tried = if wave.affected == 0 { !lacks_documents(state, number) } else { wave.done > 0 };
    wave.blocking == 0 && wave.quarantined == 0 && tried
}

/// Whether nobody of a wave can try the change because the documents of its clusters are invalid: unknown is not
/// unaffected. It matters where something behind it would go on, and until a person lets it.
fn lacks_documents(state: &FleetState, number: usize) -> bool {
    let waves = &state.tally.waves;
    let unknown = waves.get(number).is_some_and(|wave| wave.affected == 0 && wave.unknown > 0);
    let behind = waves.iter().skip(number + 1).any(|wave| wave.blocking > 0);
    let waived = |head: &Head| u16::try_from(number).is_ok_and(|number| head.waived.contains(&number));
    unknown && behind && !state.r.head.as_ref().is_some_and(waived)
}

/// The first wave that is not passed; none: all are.
pub(super) fn frontier(state: &FleetState) -> Option<usize> {
    (0..state.tally.waves.len()).find(|wave| !passed(state, *wave))
}

/// How many clusters of a wave may be at work at a time, of `whole`. Never less than one: nothing would ever move.
pub(super) fn limit(r: &Record, wave: usize, whole: usize) -> usize {
    let amount = declared(r).get(wave).and_then(|wave| wave.max_concurrency);
    amount.unwrap_or(Amount::Percent(100)).ceil_of(whole).max(1)
}

/// How each wave stands while a change is on its way. O(targets) where one bakes.
pub(super) fn report(state: &FleetState) -> Vec<WaveReport> {
    if state.tally.all.affected == 0 && state.tally.all.quarantined == 0 {
        // Nothing waits for a wave whose clusters have invalid documents, either.
        return Vec::new();
    }
    let front = frontier(state);
    let one = |(number, wave): (usize, &WaveTally)| WaveReport {
        name: name(&state.r, number),
        affected: wave.affected + wave.quarantined,
        converged: wave.converged,
        baked: wave.done,
        at_work: wave.changing,
        limit: limit(&state.r, number, wave.affected),
        failed: wave.failed,
        away: wave.away,
        standing: standing(state, front, number),
    };
    state.tally.waves.iter().enumerate().map(one).collect()
}

/// How one wave stands, with the times.
pub(super) fn standing(state: &FleetState, front: Option<usize>, number: usize) -> WaveStanding {
    match briefly(state, front, number) {
        WaveStanding::Baking { .. } => {
            WaveStanding::Baking { until: baked_at(state, number).map(Into::into) }
        }
        other => other,
    }
}

/// The same without the end of a bake time, which would have to be looked for.
pub(super) fn briefly(state: &FleetState, front: Option<usize>, number: usize) -> WaveStanding {
    let Some(wave) = state.tally.waves.get(number) else { return WaveStanding::Unaffected };
    let (converged, affected) = (wave.converged, wave.affected);
    if wave.affected == 0 && wave.quarantined == 0 && !lacks_documents(state, number) {
        return WaveStanding::Unaffected;
    }
    if passed(state, number) {
        return WaveStanding::Passed;
    }
    if front.is_some_and(|front| front < number) {
        return WaveStanding::Ahead;
    }
    if wave.blocking == 0 {
        return match wave.quarantined {
            0 if affected == 0 => WaveStanding::Invalid { clusters: wave.unknown },
            0 => WaveStanding::NoneConverged { absent: wave.absent(), affected },
            clusters => WaveStanding::Quarantined { clusters },
        };
    }
    if wave.baking == wave.blocking {
        return WaveStanding::Baking { until: None };
    }
    if wave.held > 0 && wave.moving == 0 && wave.baking == 0 {
        return WaveStanding::Held { clusters: wave.held, converged, affected };
    }
    let closed = lanes::closed(state, number);
    match (wave.unapproved, closed.count) {
        (clusters @ 1.., closed) if clusters + closed == wave.blocking => WaveStanding::Approval { clusters },
        (0, clusters @ 1..) if clusters == wave.blocking => {
            WaveStanding::Window { opens: closed.opens, zone: closed.zone }
        }
        _ => WaveStanding::Rolling { converged, affected },
    }
}

/// When the last cluster of a wave that bakes will have baked.
fn baked_at(state: &FleetState, wave: usize) -> Option<Moment> {
    let bakes = |index: usize| {
        state.r.targets.get(index).is_some_and(|target| {
            let baking = target.order.as_ref().map(|order| &order.phase);
            let baking = matches!(baking, Some(Phase::Converged { ill: None, bake: Some(_), .. }));
            target.member && usize::from(target.wave) == wave && baking
        })
    };
    state.tally.deadlines.iter().rev().find(|(_, index)| bakes(*index)).map(|(at, _)| *at)
}

/// Whether nothing moves any more, because the wave whose turn it is holds what a failed rollout left in quarantine.
pub(super) fn quarantined(state: &FleetState) -> bool {
    let front = frontier(state).and_then(|front| state.tally.waves.get(front));
    front.is_some_and(|wave| wave.blocking == 0 && wave.quarantined > 0)
}

/// Why the wave whose turn it is does not move, if that is not the clusters' work.
pub(super) fn hold(state: &FleetState) -> Option<super::FleetReason> {
    let front = frontier(state).filter(|_| state.r.rolling())?;
    let wave = title(&state.r, front);
    match briefly(state, Some(front), front) {
        WaveStanding::NoneConverged { absent, affected } => {
            let first = first_absent(state, front);
            Some(super::FleetReason::NoneConverged { absent, affected, wave, first })
        }
        WaveStanding::Approval { clusters } => Some(super::FleetReason::Approval { wave, clusters }),
        WaveStanding::Window { opens, zone } => Some(super::FleetReason::Window { wave, opens, zone }),
        WaveStanding::Held { clusters, .. } => held(state, front, wave, clusters),
        WaveStanding::Invalid { clusters } => invalid(state, front, wave, clusters),
        _ => None,
    }
}

/// The first member of a wave that nobody waits for, and why.
fn first_absent(state: &FleetState, number: usize) -> Option<String> {
    let members = state
        .r
        .targets
        .iter()
        .filter(|target| target.member && lanes::wave_of(target, state.tally.waves.len()) == number);
    members.into_iter().find_map(|target| {
        let phase = target.order.as_ref().map(|order| &order.phase);
        let why = match (&target.link, phase) {
            _ if target.suspend => return Some(format!("{} is suspended", target.name)),
            (Link::Offline { reason, .. }, _) => reason,
            (Link::Left { .. }, _) => return Some(format!("{} was detached", target.name)),
            (_, Some(Phase::Stalled { reason, .. })) => reason,
            _ => return None,
        };
        Some(format!("{}: {why}", target.name))
    })
}

/// The hold of the first cluster of a wave that waits for a person.
fn held(
    state: &FleetState,
    number: usize,
    wave: Option<WaveName>,
    clusters: usize,
) -> Option<super::FleetReason> {
    let held = state.tally.held.iter().filter_map(|index| state.r.targets.get(*index));
    let mut held =
        held.filter(|target| target.member && lanes::wave_of(target, state.tally.waves.len()) == number);
    let target = held.next()?;
    match target.order.as_ref().map(|order| &order.phase) {
        Some(Phase::Held { reason, remedy, .. }) => {
            let (target, reason, remedy) = (target.name.clone(), reason.clone(), remedy.clone());
            Some(super::FleetReason::Held { wave, clusters, target, reason, remedy })
        }
        _ => None,
    }
}

fn invalid(
    state: &FleetState,
    number: usize,
    wave: Option<WaveName>,
    clusters: usize,
) -> Option<super::FleetReason> {
    let unknown = |target: &&Target| {
        !matches!(target.wanted, Some(Want::Release(_)))
            && lanes::wave_of(target, state.tally.waves.len()) == number
            && target.leaving.is_none()
    };
    let target = state.r.targets.iter().find(unknown)?;
    let diagnostic = match &target.wanted {
        Some(Want::Invalid(diagnostic)) => diagnostic.clone(),
        _ => "its document can't be read".to_owned(),
    };
    let (fleet, target) = (state.r.fleet.clone(), target.name.clone());
    Some(super::FleetReason::Invalid { wave, clusters, target, diagnostic, fleet })
}

/// Approves the change for the clusters of a wave as it is now.
pub(super) fn approve(state: &mut FleetState, wave: usize) {
    for target in
        state.r.targets.iter_mut().filter(|target| usize::from(target.wave) == wave && target.member)
    {
        target.cleared = target.wanted();
    }
    if let Some(head) = &mut state.r.head
        && state.tally.waves.get(wave).is_some_and(|wave| wave.affected == 0 && wave.unknown > 0)
    {
        head.waived.insert(number(wave));
    }
    state.recount();
}

/// Those that join a wave after it was approved need no approval of their own.
pub(super) fn wave_through(r: &mut Record) {
    let cleared =
        |r: &Record, target: &Target| target.cleared.is_some() && r.same(target.cleared, target.wanted());
    let approved: Vec<bool> = (0..count(r))
        .map(|wave| r.targets.iter().any(|t| t.member && usize::from(t.wave) == wave && cleared(r, t)))
        .collect();
    let joins = |target: &Target| target.member && target.base.is_none() && target.cleared.is_none();
    for target in r.targets.iter_mut().filter(|target| joins(target)) {
        if approved.get(usize::from(target.wave)) == Some(&true) {
            target.cleared = target.wanted();
        }
    }
}

/// Of the fleet as a whole: whether a wave waits for an approval whose turn has come.
pub(super) fn awaits_approval(state: &FleetState) -> bool {
    let front =
        frontier(state).filter(|_| state.r.rolling() && admit::gate(&state.r, &state.tally).is_none());
    let lacks = |front: usize| {
        let wave = state.tally.waves.get(front);
        wave.is_some_and(|wave| wave.unapproved > 0) || lacks_documents(state, front)
    };
    front.is_some_and(lacks)
}

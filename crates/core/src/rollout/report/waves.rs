//! How each wave stands, and why the one whose turn it is does not move.

use crate::model::name::WaveName;
use crate::rollout::decide::waves::{frontier, lacks_documents, passed};
use crate::rollout::decide::windows;
use crate::rollout::reason::FleetReason;
use crate::rollout::standing::{WaveReport, WaveStanding};
use crate::rollout::state::FleetState;
use crate::rollout::state::index::WaveCounts;
use crate::rollout::state::target::{Link, Phase, Target, UnixMillis, Want};
use crate::rollout::state::waves::{limit, name, title, wave_of};

/// How each wave stands while a change is on its way. O(targets) where one bakes.
pub fn report(state: &FleetState) -> Vec<WaveReport> {
    if state.index.all.affected == 0 && state.index.all.quarantined == 0 {
        // Nothing waits for a wave whose clusters have invalid documents, either.
        return Vec::new();
    }
    let front = frontier(state);
    let one = |(number, wave): (usize, &WaveCounts)| WaveReport {
        name: name(&state.record, number),
        affected: wave.affected + wave.quarantined,
        converged: wave.converged,
        baked: wave.done,
        at_work: wave.changing,
        limit: limit(&state.record, number, wave.affected),
        failed: wave.failed,
        away: wave.away,
        standing: standing(state, front, number),
    };
    state.index.waves.iter().enumerate().map(one).collect()
}

/// How one wave stands, with the times.
pub fn standing(state: &FleetState, front: Option<usize>, number: usize) -> WaveStanding {
    match briefly(state, front, number) {
        WaveStanding::Baking { .. } => {
            WaveStanding::Baking { until: baked_at(state, number).map(Into::into) }
        }
        other => other,
    }
}

/// The same without the end of a bake time, which would have to be looked for.
pub fn briefly(state: &FleetState, front: Option<usize>, number: usize) -> WaveStanding {
    let Some(wave) = state.index.waves.get(number) else { return WaveStanding::Unaffected };
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
    let closed = windows::closed(state, number);
    match (wave.unapproved, closed.count) {
        (clusters @ 1.., closed) if clusters + closed == wave.blocking => WaveStanding::Approval { clusters },
        (0, clusters @ 1..) if clusters == wave.blocking => {
            WaveStanding::Window { opens: closed.opens, zone: closed.zone }
        }
        _ => WaveStanding::Rolling { converged, affected },
    }
}

/// When the last cluster of a wave that bakes will have baked.
fn baked_at(state: &FleetState, wave: usize) -> Option<UnixMillis> {
    let bakes = |index: usize| {
        state.record.targets.get(index).is_some_and(|target| {
            let baking = target.order.as_ref().map(|order| &order.phase);
            let baking = matches!(baking, Some(Phase::Converged { unhealthy: None, bake: Some(_), .. }));
            target.member && usize::from(target.wave) == wave && baking
        })
    };
    state.index.deadlines.iter().rev().find(|(_, index)| bakes(*index)).map(|(at, _)| *at)
}

/// Why the wave whose turn it is does not move, if that is not the clusters' work.
pub fn hold(state: &FleetState) -> Option<FleetReason> {
    let front = frontier(state).filter(|_| state.record.rolling())?;
    let wave = title(&state.record, front);
    match briefly(state, Some(front), front) {
        WaveStanding::NoneConverged { absent, affected } => {
            let first = first_absent(state, front);
            Some(FleetReason::NoneConverged { absent, affected, wave, first })
        }
        WaveStanding::Approval { clusters } => Some(FleetReason::Approval { wave, clusters }),
        WaveStanding::Window { opens, zone } => Some(FleetReason::Window { wave, opens, zone }),
        WaveStanding::Held { clusters, .. } => held(state, front, wave, clusters),
        WaveStanding::Invalid { clusters } => invalid(state, front, wave, clusters),
        _ => None,
    }
}

/// The first member of a wave that nobody waits for, and why.
fn first_absent(state: &FleetState, number: usize) -> Option<String> {
    let members = state
        .record
        .targets
        .iter()
        .filter(|target| target.member && wave_of(target, state.index.waves.len()) == number);
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
fn held(state: &FleetState, number: usize, wave: Option<WaveName>, clusters: usize) -> Option<FleetReason> {
    let held = state.index.held.iter().filter_map(|index| state.record.targets.get(*index));
    let mut held = held.filter(|target| target.member && wave_of(target, state.index.waves.len()) == number);
    let target = held.next()?;
    match target.order.as_ref().map(|order| &order.phase) {
        Some(Phase::Held { reason, remedy, .. }) => {
            let (target, reason, remedy) = (target.name.clone(), reason.clone(), remedy.clone());
            Some(FleetReason::Held { wave, clusters, target, reason, remedy })
        }
        _ => None,
    }
}

fn invalid(
    state: &FleetState,
    number: usize,
    wave: Option<WaveName>,
    clusters: usize,
) -> Option<FleetReason> {
    let unknown = |target: &&Target| {
        !matches!(target.wanted, Some(Want::Release(_)))
            && wave_of(target, state.index.waves.len()) == number
            && target.leaving.is_none()
    };
    let target = state.record.targets.iter().find(unknown)?;
    let diagnostic = match &target.wanted {
        Some(Want::Invalid(diagnostic)) => diagnostic.clone(),
        _ => "its document can't be read".to_owned(),
    };
    let (fleet, target) = (state.record.fleet.clone(), target.name.clone());
    Some(FleetReason::Invalid { wave, clusters, target, diagnostic, fleet })
}

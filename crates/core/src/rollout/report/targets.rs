//! Why one cluster is where it is.

use super::waves;
use crate::model::assignment::Purpose;
use crate::model::digest::CommitId;
use crate::rollout::decide::waves::frontier;
use crate::rollout::decide::{admit, windows};
use crate::rollout::reason::{FleetReason, Reason};
use crate::rollout::standing::WaveStanding;
use crate::rollout::state::interner::ReleaseId;
use crate::rollout::state::target::{Link, Order, Phase, Target, UnixMillis, Want};
use crate::rollout::state::waves::{bake_time, lacks_approval, limit, name, title, wave_of};
use crate::rollout::state::{FleetState, Record, Run};
use crate::rollout::status::{TargetReport, TargetStatus};

type Why = (TargetStatus, Reason, Option<UnixMillis>);

/// What is the same for all targets.
struct Fleet<'a> {
    state: &'a FleetState,
    /// The wave whose turn it is, and how it stands.
    front: Option<(usize, WaveStanding)>,
    hold: Option<FleetReason>,
}

impl<'a> Fleet<'a> {
    fn of(state: &'a FleetState) -> Self {
        let front = frontier(state);
        let front = front.map(|front| (front, waves::standing(state, Some(front), front)));
        Self { state, front, hold: super::hold(state) }
    }
}

/// The report on every target.
pub fn all(state: &FleetState) -> Vec<TargetReport> {
    let fleet = Fleet::of(state);
    (0..state.record.targets.len()).filter_map(|index| one(&fleet, index)).collect()
}

/// The report on one target.
pub fn target(state: &FleetState, index: usize) -> Option<TargetReport> {
    one(&Fleet::of(state), index)
}

fn one(fleet: &Fleet<'_>, index: usize) -> Option<TargetReport> {
    let state = fleet.state;
    let target = state.record.targets.get(index)?;
    let (status, reason, since) = why(fleet, target, index);
    let full = |release: Option<_>| release.map(|release| state.record.interner.full(release));
    Some(TargetReport {
        target: target.name.clone(),
        wave: title(&state.record, wave_of(target, state.index.waves.len())),
        wanted: full(target.wanted()),
        assigned: full(target.ordered()),
        converged: full(target.converged),
        base: full(target.base),
        status,
        reason,
        since: since.map(Into::into),
    })
}

fn why(fleet: &Fleet<'_>, target: &Target, index: usize) -> Why {
    let state = fleet.state;
    if let Some(leaving) = target.leaving.as_ref().filter(|leaving| leaving.ordered) {
        let reason = match leaving.held.clone() {
            Some(reason) => {
                let remedy = format!("run 'fairlead approve {}' to allow it", state.record.fleet);
                Reason::Held { reason, remedy }
            }
            None => {
                let kept = target.kept.as_ref().map(|kept| (kept.deleting, kept.first_deleting.clone()));
                let (deleting, first_deleting) = kept.unwrap_or_default();
                Reason::Removing { deleting, first_deleting }
            }
        };
        return (TargetStatus::Leaving, reason, Some(leaving.since));
    }
    if target.suspend {
        return (TargetStatus::Suspended, Reason::Suspended, None);
    }
    match &target.link {
        Link::Left { since } => return (TargetStatus::Held, Reason::Left, Some(*since)),
        Link::Offline { since, reason } => {
            return (TargetStatus::Offline, Reason::Offline { reason: reason.clone() }, Some(*since));
        }
        Link::Unknown | Link::Online => {}
    }
    let order = target.order.as_ref();
    order
        .and_then(|order| at_work(&state.record, target, order))
        .unwrap_or_else(|| at_rest(fleet, target, index))
}

/// What the standing order says, if that is the answer.
fn at_work(record: &Record, target: &Target, order: &Order) -> Option<Why> {
    let release = order.release;
    let going_back = order.purpose == Purpose::Return;
    Some(match &order.phase {
        Phase::Working { idle, .. } if going_back => {
            let failure = target.failure.as_ref().map(|failure| failure.cause.clone());
            let group = || target.quarantine.last().and_then(|pair| record.groups.get(&pair.1));
            let cause = failure.or_else(|| Some(group()?.cause.clone())).unwrap_or_default();
            let to = record.commit_of(record.interner.revs_of(release));
            (TargetStatus::Returning, Reason::Returning { to, cause }, Some(*idle))
        }
        Phase::Working { idle, applied, waiting } => {
            let (applied, total) = (applied.0 as usize, applied.1 as usize);
            let reason = Reason::Applying { applied, total, waiting: waiting.clone() };
            (TargetStatus::Progressing, reason, Some(*idle))
        }
        Phase::Stalled { since, reason, .. } => {
            (TargetStatus::Stalled, Reason::Stalled { reason: reason.clone() }, Some(*since))
        }
        Phase::Held { since, reason, remedy, .. } => {
            let (reason, remedy) = (reason.clone(), remedy.clone());
            (TargetStatus::Held, Reason::Held { reason, remedy }, Some(*since))
        }
        Phase::Converged { unhealthy: Some((since, cause)), .. } => {
            (TargetStatus::Unhealthy, Reason::Unhealthy { cause: cause.clone() }, Some(*since))
        }
        Phase::Failed { since, cause, retry_at: Some(at) } => {
            let reason = Reason::ReturnFailed { cause: cause.clone(), at: (*at).into() };
            (TargetStatus::Failed, reason, Some(*since))
        }
        Phase::Failed { since, cause, .. } if record.same(target.wanted(), Some(release)) => {
            let cause = cause.clone();
            let reason =
                if target.base.is_none() { Reason::NoBase { cause } } else { Reason::Failed { cause } };
            (TargetStatus::Failed, reason, Some(*since))
        }
        Phase::Failed { .. } | Phase::Converged { .. } => return None,
    })
}

/// Nothing is going on; why?
fn at_rest(fleet: &Fleet<'_>, target: &Target, index: usize) -> Why {
    let (state, record) = (fleet.state, &fleet.state.record);
    let since = target.order.as_ref().and_then(|order| match order.phase {
        Phase::Converged { since, .. } | Phase::Failed { since, .. } => Some(since),
        _ => None,
    });
    let waiting = |reason| (TargetStatus::Waiting, reason, since);
    if let Some(leaving) = &target.leaving {
        let reason = leaves(fleet, leaving.commit, index);
        return (TargetStatus::Leaving, reason, Some(leaving.since));
    }
    let wanted = match &target.wanted {
        None => return (TargetStatus::Held, Reason::Unreadable, since),
        Some(Want::Invalid(diagnostic)) => {
            return (TargetStatus::Held, Reason::Invalid { diagnostic: diagnostic.clone() }, since);
        }
        Some(Want::NotYet { not_yet }) => return waiting(Reason::NotYet { diagnostic: not_yet.clone() }),
        Some(Want::Release(release)) => *release,
    };
    if let Some(reason) = quarantined(record, target, wanted) {
        return (TargetStatus::Quarantined, reason, since);
    }
    if record.same(target.ordered(), Some(wanted)) && target.order.as_ref().is_some_and(Order::converged) {
        return (TargetStatus::Converged, converged(record, target, wanted), since);
    }
    if let Some(failure) =
        target.failure.as_ref().filter(|failure| record.interner.same(failure.release, wanted))
    {
        return (TargetStatus::Failed, Reason::Failed { cause: failure.cause.clone() }, since);
    }
    if target.link == Link::Unknown {
        return (TargetStatus::Unknown, Reason::NotHeard, since);
    }
    if let Some(fleet) = target.unmet.clone() {
        return waiting(Reason::DependsOn { fleet });
    }
    if let Some(reason) = turn(fleet, target, index) {
        return waiting(reason);
    }
    if let Some(Order { phase: Phase::Failed { cause, .. }, .. }) = &target.order
        && !record.rolling()
    {
        return (TargetStatus::Failed, Reason::Failed { cause: cause.clone() }, since);
    }
    match record.groups.values().rev().find(|group| group.whole) {
        Some(group) if state.index.all.quarantined > 0 => {
            let (release, cause) = (group.commit, group.cause.clone());
            waiting(Reason::QuarantinedElsewhere { release, cause })
        }
        _ => waiting(Reason::Acceptance),
    }
}

/// It will leave; when?
fn leaves(fleet: &Fleet<'_>, commit: CommitId, index: usize) -> Reason {
    let accepted =
        fleet.state.record.head.as_ref().is_some_and(|head| matches!(head.run, Run::Accepted { .. }));
    match &fleet.hold {
        Some(reason) if accepted => Reason::Fleet { reason: reason.clone() },
        _ => match windows::closed_for(fleet.state, index, None).filter(|_| accepted) {
            Some((opens, zone)) => Reason::Window { opens, zone },
            None => Reason::Leaving { commit },
        },
    }
}

fn quarantined(record: &Record, target: &Target, wanted: ReleaseId) -> Option<Reason> {
    let group = record.quarantine_of(target, wanted)?;
    // Its own name need not be said beside it.
    let own = group.cause.strip_prefix(target.name.as_str()).and_then(|rest| rest.strip_prefix(' '));
    let (release, cause) = (group.commit, own.unwrap_or(&group.cause).to_owned());
    Some(match record.same(target.ordered(), Some(wanted)) {
        true => Reason::KeptQuarantined { release, cause },
        false => Reason::Quarantined { release, cause },
    })
}

fn converged(record: &Record, target: &Target, wanted: ReleaseId) -> Reason {
    if let Some(kept) = &target.kept {
        let (count, first, approvable) = (kept.count, kept.first.clone(), kept.approvable);
        let (deleting, first_deleting) = (kept.deleting, kept.first_deleting.clone());
        return Reason::ConvergedKept { count, first, approvable, deleting, first_deleting };
    }
    let phase = target.order.as_ref().map(|order| &order.phase);
    if let Some(Phase::Converged { bake: Some(start), .. }) = phase {
        let until = start.plus(bake_time(record, target.wave).unwrap_or_default());
        return Reason::Baking { until: until.into() };
    }
    if record.same(target.accepted, Some(wanted)) { Reason::Converged } else { Reason::ConvergedAhead }
}

/// What keeps a target from its change, its catching up, or its pin: the nearest first.
fn turn(fleet: &Fleet<'_>, target: &Target, index: usize) -> Option<Reason> {
    let (state, record) = (fleet.state, &fleet.state.record);
    let wave = wave_of(target, state.index.waves.len());
    let (changes, behind) =
        (target.member && record.rolling(), target.behind && !record.same(target.ordered(), target.accepted));
    let held = fleet.hold.clone().map(|reason| Reason::Fleet { reason });
    if !(changes || behind || target.pinned) {
        return held;
    }
    if let Some(reason) = admit::gate(record, &state.index) {
        return Some(Reason::Fleet { reason });
    }
    let known_good =
        changes && target.wanted().is_some_and(|wanted| target.history.has(record.interner.digest(wanted)));
    if changes
        && !known_good
        && let Some((ahead, standing)) = fleet.front.as_ref().filter(|(front, _)| *front < wave)
    {
        return Some(Reason::Wave { ahead: name(record, *ahead), standing: standing.clone() });
    }
    if changes && !known_good && lacks_approval(record, target) {
        return Some(Reason::Approval { wave: title(record, wave) });
    }
    let exempt = known_good && windows::reverts_any_time(record);
    let windows = windows::closed_for(state, index, (!target.pinned).then_some(wave));
    if let Some((opens, zone)) = windows.filter(|_| !exempt) {
        return Some(Reason::Window { opens, zone });
    }
    let counts = state.index.waves.get(wave)?;
    let (at_work, whole) = match changes {
        true => (counts.changing, counts.affected),
        false if behind => (counts.catching_up, counts.behind),
        false => return held,
    };
    let limit = limit(record, wave, whole);
    Some(Reason::Turn { in_flight: at_work, limit, wave: title(record, wave) })
}

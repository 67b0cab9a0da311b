//! Why one cluster is where it is.

use super::reason::Reason;
use super::report::{TargetReport, TargetStatus};
use super::state::{FleetState, Record};
use super::target::{Link, Moment, Order, Phase, Target, Want};
use super::{admit, report};
use crate::model::assignment::Purpose;

type Why = (TargetStatus, Reason, Option<Moment>);

/// The report on one target.
pub(super) fn target(state: &FleetState, index: usize) -> Option<TargetReport> {
    let target = state.r.targets.get(index)?;
    let (status, reason, since) = why(state, target);
    let full = |release: Option<_>| release.map(|release| state.r.book.full(release));
    Some(TargetReport {
        target: target.name.clone(),
        wanted: full(target.wanted()),
        assigned: full(target.ordered()),
        converged: full(target.converged),
        base: full(target.base),
        status,
        reason,
        since: since.map(Into::into),
    })
}

fn why(state: &FleetState, target: &Target) -> Why {
    if let Some(leaving) = target.leaving.as_ref().filter(|leaving| leaving.ordered) {
        let reason = match leaving.held.clone() {
            Some(reason) => Reason::Held { reason: format!("{reason}; 'fairlead approve' allows it") },
            None => Reason::Removing,
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
    order.and_then(|order| at_work(&state.r, target, order)).unwrap_or_else(|| at_rest(state, target))
}

/// What the standing order says, if that is the answer.
fn at_work(r: &Record, target: &Target, order: &Order) -> Option<Why> {
    let release = order.release;
    let going_back = order.purpose == Purpose::Return;
    Some(match &order.phase {
        Phase::Working { idle, .. } if going_back => {
            let failure = target.failure.as_ref().map(|failure| failure.cause.clone());
            let group = || target.quarantine.last().and_then(|pair| r.groups.get(&pair.1));
            let cause = failure.or_else(|| Some(group()?.cause.clone())).unwrap_or_default();
            let to = r.commit_of(r.book.revs_of(release));
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
        Phase::Held { since, reason, .. } => {
            (TargetStatus::Held, Reason::Held { reason: reason.clone() }, Some(*since))
        }
        Phase::Converged { ill: Some((since, cause)), .. } => {
            (TargetStatus::Unhealthy, Reason::Unhealthy { cause: cause.clone() }, Some(*since))
        }
        Phase::Failed { since, cause, retry_at: Some(at) } => {
            let reason = Reason::ReturnFailed { cause: cause.clone(), at: (*at).into() };
            (TargetStatus::Failed, reason, Some(*since))
        }
        Phase::Failed { since, cause, .. } if r.same(target.wanted(), Some(release)) => {
            let cause = cause.clone();
            let reason =
                if target.base.is_none() { Reason::NoBase { cause } } else { Reason::Failed { cause } };
            (TargetStatus::Failed, reason, Some(*since))
        }
        Phase::Failed { .. } | Phase::Converged { .. } => return None,
    })
}

/// Nothing is going on; why?
fn at_rest(state: &FleetState, target: &Target) -> Why {
    let r = &state.r;
    let since = target.order.as_ref().and_then(|order| match order.phase {
        Phase::Converged { since, .. } | Phase::Failed { since, .. } => Some(since),
        _ => None,
    });
    let waiting = |reason| (TargetStatus::Waiting, reason, since);
    if let Some(leaving) = &target.leaving {
        let commit = leaving.commit;
        return (TargetStatus::Leaving, Reason::Leaving { commit }, Some(leaving.since));
    }
    let wanted = match &target.wanted {
        None => return (TargetStatus::Held, Reason::Unreadable, since),
        Some(Want::Invalid(diagnostic)) => {
            return (TargetStatus::Held, Reason::Invalid { diagnostic: diagnostic.clone() }, since);
        }
        Some(Want::NotYet { not_yet }) => return waiting(Reason::NotYet { diagnostic: not_yet.clone() }),
        Some(Want::Release(release)) => *release,
    };
    if let Some(group) = r.quarantine_of(target, wanted) {
        // Its own name need not be said beside it.
        let own = group.cause.strip_prefix(target.name.as_str()).and_then(|rest| rest.strip_prefix(' '));
        let (release, cause) = (group.commit, own.unwrap_or(&group.cause).to_owned());
        if r.same(target.ordered(), Some(wanted)) {
            return (TargetStatus::Quarantined, Reason::KeptQuarantined { release, cause }, since);
        }
        return (TargetStatus::Quarantined, Reason::Quarantined { release, cause }, since);
    }
    if r.same(target.ordered(), Some(wanted)) && target.order.as_ref().is_some_and(Order::converged) {
        let accepted = r.same(target.accepted, Some(wanted));
        let reason = match &target.kept {
            Some(kept) => {
                let (count, first, approvable) = (kept.count, kept.first.clone(), kept.approvable);
                Reason::ConvergedKept { count, first, approvable }
            }
            None if accepted => Reason::Converged,
            None => Reason::ConvergedAhead,
        };
        return (TargetStatus::Converged, reason, since);
    }
    if let Some(failure) = target.failure.as_ref().filter(|failure| r.book.same(failure.release, wanted)) {
        return (TargetStatus::Failed, Reason::Failed { cause: failure.cause.clone() }, since);
    }
    if target.link == Link::Unknown {
        return (TargetStatus::Unknown, Reason::NotHeard, since);
    }
    if let Some(fleet) = target.unmet.clone() {
        return waiting(Reason::DependsOn { fleet });
    }
    if let Some(reason) = report::hold(state) {
        return waiting(Reason::Fleet { reason });
    }
    if target.member && r.rolling() {
        let (in_flight, limit) = (state.tally.changing, admit::limit(r, state.tally.affected));
        return waiting(Reason::Turn { in_flight, limit });
    }
    if target.behind && !r.same(target.ordered(), target.accepted) {
        let (in_flight, limit) = (state.tally.catching_up, admit::limit(r, state.tally.behind));
        return waiting(Reason::Turn { in_flight, limit });
    }
    if let Some(Order { phase: Phase::Failed { cause, .. }, .. }) = &target.order
        && !r.rolling()
    {
        return (TargetStatus::Failed, Reason::Failed { cause: cause.clone() }, since);
    }
    match r.groups.values().rev().find(|group| group.whole) {
        Some(group) if state.tally.quarantined > 0 => {
            let (release, cause) = (group.commit, group.cause.clone());
            waiting(Reason::QuarantinedElsewhere { release, cause })
        }
        _ => waiting(Reason::Acceptance),
    }
}

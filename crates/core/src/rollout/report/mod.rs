//! What is said about a fleet, derived from its state.

mod targets;
mod waves;

use crate::model::digest::CommitId;
use crate::model::name::TargetName;
use crate::rollout::decide::admit::{self, useless};
use crate::rollout::decide::waves::{frontier, quarantined};
use crate::rollout::decide::windows;
use crate::rollout::effect::Effect;
use crate::rollout::reason::{FleetReason, Reason, still_deleted};
use crate::rollout::standing::WaveStanding;
use crate::rollout::state::said::said;
use crate::rollout::state::target::{Phase, Want};
use crate::rollout::state::waves::name;
use crate::rollout::state::{ChangeCause, FleetState, Head, Record, Run};
use crate::rollout::status::{
    CommitState, CommitStatus, FleetReport, MAX_DESCRIPTION, RolloutState, TargetReport, TargetStatus,
    shorten,
};

/// The fleet as it is. O(targets).
pub fn report(state: &FleetState) -> FleetReport {
    let record = &state.record;
    let targets = targets::all(state);
    let observed = record.invalid.as_ref().map(|invalid| invalid.commit).or_else(|| record.head_commit());
    FleetReport {
        fleet: record.fleet.clone(),
        observed,
        accepted: record.accepted_commit(),
        rollout: rollout(state, &targets),
        waves: waves::report(state),
        next_window: windows::next_opening(state),
        targets,
        statuses: record.said.clone(),
    }
}

/// One cluster of the fleet as it is.
pub fn explain(state: &FleetState, target: &TargetName) -> Option<TargetReport> {
    targets::target(state, state.record.find(target)?)
}

/// Why the fleet as a whole does not move, if so.
pub fn hold(state: &FleetState) -> Option<FleetReason> {
    admit::gate(&state.record, &state.index).or_else(|| waves::hold(state))
}

fn rollout(state: &FleetState, targets: &[TargetReport]) -> RolloutState {
    let Some(head) = &state.record.head else { return RolloutState::Idle };
    if let Some(reason) = hold(state) {
        return RolloutState::Holding { reason };
    }
    let (affected, converged) = (state.index.all.affected, state.index.all.converged);
    let undone = |cause: String, to: Option<CommitId>| match state.index.returning {
        0 => RolloutState::Failed { cause, to },
        left => RolloutState::Returning { left, cause, to },
    };
    let nothing_new = |cause: String, to: Option<CommitId>| RolloutState::Failed { cause, to };
    if let (Some(invalid), Run::Accepted { .. }) = (&state.record.invalid, &head.run) {
        return nothing_new(invalid.summary.clone(), state.record.accepted_commit());
    }
    match &head.run {
        Run::Accepted { .. } | Run::Rolling if useless(state) => {
            nothing_new(trouble(state).unwrap_or_default(), state.record.accepted_commit())
        }
        Run::Accepted { .. } => at_rest(targets),
        Run::Failed(defeat) => undone(defeat.cause.clone(), defeat.back_to),
        Run::Rolling if quarantined(state) => {
            undone(quarantine_cause(&state.record).unwrap_or_default(), state.record.accepted_commit())
        }
        Run::Rolling | Run::Paused(_) => RolloutState::Rolling { converged, affected },
    }
}

/// How a fleet stands whose head is accepted: as its clusters do. What is worst counts, and nothing that isn't known to
/// be as it should is said to be.
fn at_rest(targets: &[TargetReport]) -> RolloutState {
    let with = |status: TargetStatus| targets.iter().filter(move |target| target.status == status);
    let mut held = targets.iter().filter_map(|target| match &target.reason {
        Reason::Held { reason, remedy } => Some((target.target.clone(), reason.clone(), remedy.clone())),
        _ => None,
    });
    if let Some((target, reason, remedy)) = held.next() {
        let clusters = 1 + held.count();
        let reason = FleetReason::Held { wave: None, clusters, target, reason, remedy };
        return RolloutState::Holding { reason };
    }
    if let Some(TargetReport { reason: Reason::Returning { to, cause }, .. }) =
        with(TargetStatus::Returning).next()
    {
        let left = with(TargetStatus::Returning).count();
        return RolloutState::Returning { left, cause: cause.clone(), to: Some(*to) };
    }
    let of = targets.len();
    let converged = with(TargetStatus::Converged).count();
    let worst = WORST.iter().find_map(|status| Some((*status, with(*status).next()?)));
    if let Some((status, first)) = worst {
        let count = with(status).count();
        // The status need not be said twice.
        let reason = first.reason.to_string();
        let prefixes = ["offline: ", "not healthy: ", "failed: ", "blocked by "];
        let cause = prefixes.iter().find_map(|prefix| reason.strip_prefix(prefix)).unwrap_or(&reason);
        let cause = format!("{count} {}: {}: {cause}", status.as_str(), first.target);
        return RolloutState::Degraded { converged, of, cause };
    }
    let suspended = with(TargetStatus::Suspended).count();
    match of - converged - suspended {
        0 => RolloutState::Converged,
        _ => RolloutState::Rolling { converged, affected: of },
    }
}

/// What a cluster of an accepted commit must not be, the worst first.
const WORST: [TargetStatus; 7] = [
    TargetStatus::Failed,
    TargetStatus::Unhealthy,
    TargetStatus::Stalled,
    TargetStatus::Held,
    TargetStatus::Quarantined,
    TargetStatus::Offline,
    TargetStatus::Unknown,
];

/// Says how far the head is.
pub fn tell(state: &mut FleetState, effects: &mut Vec<Effect>) {
    let Some(head) = &state.record.head else { return };
    let (status, description) = describe(state, head);
    let known = |known: &CommitStatus| known.state == status && known.description == description;
    for revision in head.subjects.clone() {
        if !state.record.said.iter().any(|said| said.revision == revision && known(said)) {
            let description = description.clone();
            said(&mut state.record, CommitStatus { revision, state: status, description }, effects);
        }
    }
}

fn describe(state: &FleetState, head: &Head) -> (CommitState, String) {
    let counts = &state.index;
    let prefix = match head.cause {
        ChangeCause::Renderers => "new renderers: ",
        ChangeCause::Commit | ChangeCause::Profiles => "",
    };
    let (status, text, tail) = match &head.run {
        Run::Failed(defeat) => {
            let back = defeat
                .back_to
                .map_or("; nothing to go back to".to_owned(), |to| format!("; back to {}", to.short()));
            let text = format!("{} of {} failed: {}", defeat.failed, defeat.affected, defeat.cause);
            (CommitState::Failure, text, back)
        }
        Run::Paused(defeat) => {
            let text = format!("{} of {} failed: {}", defeat.failed, defeat.affected, defeat.cause);
            (CommitState::Failure, text, "; paused".to_owned())
        }
        Run::Rolling => rolling(state),
        Run::Accepted { affected } => accepted(state, affected + head.joined),
    };
    let room = MAX_DESCRIPTION.saturating_sub(prefix.chars().count() + tail.chars().count());
    let description = format!("{prefix}{}{tail}", shorten(&text, room));
    debug_assert!(description.chars().count() <= MAX_DESCRIPTION, "{counts:?}");
    (status, description)
}

/// What a cluster or the repository has against this commit, said as soon as it is known.
fn trouble(state: &FleetState) -> Option<String> {
    let counts = &state.index;
    let bad = counts.bad.first().and_then(|index| state.record.targets.get(*index)).map(|target| {
        let cause = target.failure.as_ref().map(|failure| format!("{} {}", target.name, failure.cause));
        let cause =
            cause.or_else(|| Some(state.record.quarantine_of(target, target.wanted()?)?.cause.clone()));
        format!("{} failed: {}", counts.bad.len(), cause.unwrap_or_default())
    });
    let invalid = counts.invalid.first().and_then(|index| state.record.targets.get(*index)).map(|target| {
        let Some(Want::Invalid(diagnostic)) = &target.wanted else { return String::new() };
        format!("{} held: {} {diagnostic}", counts.invalid.len(), target.name)
    });
    invalid.or(bad)
}

fn rolling(state: &FleetState) -> (CommitState, String, String) {
    let counts = &state.index;
    if counts.all.quarantined > 0 {
        let cause = quarantine_cause(&state.record).unwrap_or_default();
        let text = format!("quarantined on {}: {cause}", counts.all.quarantined);
        return (CommitState::Failure, text, String::new());
    }
    let progress = format!("{} of {} converged", counts.all.converged, counts.all.affected);
    let hold = hold(state);
    if let Some(FleetReason::Invalid { .. }) = &hold {
        let (text, tail) = hold.map(split_hold).unwrap_or_default();
        return (CommitState::Failure, text, tail);
    }
    if let Some(trouble) = trouble(state) {
        return (CommitState::Failure, format!("{progress}, {trouble}"), String::new());
    }
    if let Some(reason) = hold {
        let (text, tail) = split_hold(reason);
        return (CommitState::Pending, text, tail);
    }
    let held = counts.held.first().and_then(|index| state.record.targets.get(*index)).map(|target| {
        let reason = target.order.as_ref().map(|order| match &order.phase {
            Phase::Held { reason, .. } => reason.as_str(),
            _ => "",
        });
        format!("; {} held: {} {}", counts.held.len(), target.name, reason.unwrap_or_default())
    });
    let absent = counts.all.absent().to_string();
    let absent = if absent.is_empty() { absent } else { format!(", {absent}") };
    (
        CommitState::Pending,
        format!("{progress}{absent}{}{}", in_wave(state), held.unwrap_or_default()),
        String::new(),
    )
}

/// A hold in words that may be cut, and what must be left of them: what a person has to do.
fn split_hold(reason: FleetReason) -> (String, String) {
    match reason {
        FleetReason::Held { wave, clusters, target, reason, remedy } if !remedy.is_empty() => {
            let text = FleetReason::Held { wave, clusters, target, reason, remedy: String::new() };
            (text.to_string(), format!("; {remedy}"))
        }
        FleetReason::Invalid { ref fleet, .. } => {
            let whole = reason.to_string();
            let text = whole.split_once("; mend them").map_or(whole.as_str(), |(text, _)| text);
            (text.to_owned(), format!("; mend them or 'fairlead approve {fleet}'"))
        }
        other => (other.to_string(), String::new()),
    }
}

/// Where the rollout is, in a fleet of several waves; without times.
fn in_wave(state: &FleetState) -> String {
    let front = frontier(state);
    let several = state.index.waves.iter().filter(|wave| wave.affected > 0).count() > 1;
    match front.filter(|_| several).map(|front| (front, waves::briefly(state, Some(front), front))) {
        Some((front, WaveStanding::Rolling { converged, affected })) => {
            format!("; wave {}: {converged} of {affected}", name(&state.record, front))
        }
        Some((front, standing @ WaveStanding::Baking { .. })) => {
            format!("; wave {}: {standing}", name(&state.record, front))
        }
        _ if state.index.all.baking > 0 => format!(", {} of them bake", state.index.all.baking),
        _ => String::new(),
    }
}

fn accepted(state: &FleetState, affected: usize) -> (CommitState, String, String) {
    let counts = &state.index;
    let trouble = trouble(state);
    let missing = counts.all.behind + counts.bad.len();
    let mut text = match affected {
        0 => "no cluster affected".to_owned(),
        _ => format!("{} of {affected} converged", affected.saturating_sub(missing)),
    };
    if counts.all.behind > 0 {
        text.push_str(&format!(", {} to catch up", counts.all.behind));
    }
    if counts.pinning > 0 {
        text.push_str(&format!(", {} on the way to a pin", counts.pinning));
    }
    if !counts.leaving.is_empty() {
        text.push_str(&format!(", {} to leave", counts.leaving.len()));
    }
    if let Some(target) = counts.lingers.first().and_then(|index| state.record.targets.get(*index))
        && let Some(kept) = &target.kept
    {
        let all: usize = counts.lingers.len();
        let more = if all > 1 { format!(" and {} more clusters", all - 1) } else { String::new() };
        let told = still_deleted(kept.deleting, &kept.first_deleting);
        text.push_str(&format!("; on {}{more} {told}", target.name));
    }
    let new_ones = state.record.head.as_ref().is_some_and(|head| head.joined > 0) && counts.all.behind > 0;
    match trouble {
        Some(trouble) => (CommitState::Failure, format!("{text}, {trouble}"), String::new()),
        None if new_ones || counts.pinning > 0 => (CommitState::Pending, text, String::new()),
        None => (CommitState::Success, text, String::new()),
    }
}

fn quarantine_cause(record: &Record) -> Option<String> {
    let group = record.groups.values().rev().find(|group| group.whole)?;
    Some(format!("{} (since {})", group.cause, group.commit.short()))
}

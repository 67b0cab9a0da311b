//! What is said about a fleet, derived from its state.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::effect::Effect;
use super::failure::shorten;
use super::reason::{FleetReason, Reason};
use super::standing::{WaveReport, WaveStanding};
use super::state::{ChangeCause, FleetState, Head, Record, Run};
use super::target::{Phase, Want};
use super::{admit, lanes, waves};
use crate::model::digest::CommitId;
use crate::model::name::{FleetName, TargetName, WaveName};
use crate::model::release::ReleaseRef;
use crate::model::revision::Revision;

/// Longest description of a commit status, in characters: what the strictest forge takes.
pub const MAX_DESCRIPTION: usize = 140;
/// So many commits' statuses are remembered.
const REMEMBERED: usize = 10;

/// A fleet, as a person or a page wants to see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetReport {
    pub fleet: FleetName,
    /// Seen in Git.
    pub observed: Option<CommitId>,
    /// Its rollout completed on the fleet.
    pub accepted: Option<CommitId>,
    pub rollout: RolloutState,
    /// In order, while a change is on its way.
    pub waves: Vec<WaveReport>,
    /// When windows open next for someone who waits for that.
    #[schemars(with = "Option<String>")]
    pub next_window: Option<Timestamp>,
    /// By name.
    pub targets: Vec<TargetReport>,
    /// Of the head first, then of commits that ended lately, newest first.
    pub statuses: Vec<CommitStatus>,
}

/// How far the head has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum RolloutState {
    /// No commit has been seen.
    Idle,
    /// The head is accepted.
    Converged,
    Rolling {
        converged: usize,
        affected: usize,
    },
    Holding {
        reason: FleetReason,
    },
    /// The rollout failed, and clusters are on their way back.
    Returning {
        left: usize,
        cause: String,
        to: Option<CommitId>,
    },
    /// The head is accepted, and not every cluster runs what it should, healthy, or not every one is known to.
    Degraded {
        converged: usize,
        of: usize,
        /// How many are not so, and why the first is not.
        cause: String,
    },
    /// The rollout failed, and every cluster that could is back.
    Failed {
        cause: String,
        to: Option<CommitId>,
    },
}

/// How a target stands in a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TargetStatus {
    /// Runs what it is assigned, and is healthy.
    Converged,
    /// Is being brought to what it is assigned.
    Progressing,
    /// Its turn has not come.
    Waiting,
    /// The cluster's own trouble stops the work.
    Stalled,
    /// Waits for a person.
    Held,
    /// Converged before, not healthy now.
    Unhealthy,
    /// The release failed here.
    Failed,
    /// Is going back to its base.
    Returning,
    /// What the head wants failed here or elsewhere and is not tried again.
    Quarantined,
    /// Can't be reached.
    Offline,
    /// Suspended in Git.
    Suspended,
    /// Is leaving the fleet.
    Leaving,
    /// Not heard of yet.
    Unknown,
}

impl TargetStatus {
    /// As in JSON and in metrics' labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Progressing => "progressing",
            Self::Waiting => "waiting",
            Self::Stalled => "stalled",
            Self::Held => "held",
            Self::Unhealthy => "unhealthy",
            Self::Failed => "failed",
            Self::Returning => "returning",
            Self::Quarantined => "quarantined",
            Self::Offline => "offline",
            Self::Suspended => "suspended",
            Self::Leaving => "leaving",
            Self::Unknown => "unknown",
        }
    }
}

/// One cluster of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetReport {
    pub target: TargetName,
    /// Its wave, in a fleet that has several.
    pub wave: Option<WaveName>,
    /// What the head wants; none if that is not known.
    pub wanted: Option<ReleaseRef>,
    pub assigned: Option<ReleaseRef>,
    /// What it last converged at.
    pub converged: Option<ReleaseRef>,
    pub base: Option<ReleaseRef>,
    pub status: TargetStatus,
    pub reason: Reason,
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CommitState {
    Pending,
    Success,
    Failure,
    /// It ended before it completed, because a newer commit took over: neither good nor bad.
    Superseded,
}

impl CommitState {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Superseded => "superseded",
        }
    }
}

/// What a forge shows beside a commit. The text is stable: without times, equal while nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitStatus {
    /// The control commit if it moved; else the commit of a profile that did.
    pub revision: Revision,
    pub state: CommitState,
    /// At most 140 characters.
    pub description: String,
}

/// The fleet as it is. O(targets).
pub fn report(state: &FleetState) -> FleetReport {
    let r = &state.r;
    let targets = super::explain::all(state);
    let observed = r.invalid.as_ref().map(|invalid| invalid.commit).or_else(|| r.head_commit());
    FleetReport {
        fleet: r.fleet.clone(),
        observed,
        accepted: r.accepted_commit(),
        rollout: rollout(state, &targets),
        waves: waves::report(state),
        next_window: lanes::next_opening(state),
        targets,
        statuses: r.said.clone(),
    }
}

/// One cluster of the fleet as it is.
pub fn explain(state: &FleetState, target: &TargetName) -> Option<TargetReport> {
    super::explain::target(state, state.r.find(target)?)
}

/// Why the fleet as a whole does not move, if so.
pub(super) fn hold(state: &FleetState) -> Option<FleetReason> {
    admit::gate(&state.r, &state.tally).or_else(|| waves::hold(state))
}

fn rollout(state: &FleetState, targets: &[TargetReport]) -> RolloutState {
    let Some(head) = &state.r.head else { return RolloutState::Idle };
    if let Some(reason) = hold(state) {
        return RolloutState::Holding { reason };
    }
    let (affected, converged) = (state.tally.all.affected, state.tally.all.converged);
    let undone = |cause: String, to: Option<CommitId>| match state.tally.returning {
        0 => RolloutState::Failed { cause, to },
        left => RolloutState::Returning { left, cause, to },
    };
    let nothing_new = |cause: String, to: Option<CommitId>| RolloutState::Failed { cause, to };
    if let (Some(invalid), Run::Accepted { .. }) = (&state.r.invalid, &head.run) {
        return nothing_new(invalid.summary.clone(), state.r.accepted_commit());
    }
    match &head.run {
        Run::Accepted { .. } | Run::Rolling if useless(state) => {
            nothing_new(trouble(state).unwrap_or_default(), state.r.accepted_commit())
        }
        Run::Accepted { .. } => at_rest(targets),
        Run::Failed(defeat) => undone(defeat.cause.clone(), defeat.back_to),
        Run::Rolling if waves::quarantined(state) => {
            undone(quarantine_cause(&state.r).unwrap_or_default(), state.r.accepted_commit())
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
        let prefixes = ["offline: ", "not healthy: ", "failed: ", "held by "];
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

/// Whether the head holds a mistake for every target that follows it: nobody runs it. What is pinned runs another commit.
pub(super) fn useless(state: &FleetState) -> bool {
    let invalid = |index: usize| state.tally.invalid.contains(&index);
    let targets = state.r.targets.iter().enumerate();
    let mut follow = targets.filter(|(_, target)| target.leaving.is_none() && !target.pinned).peekable();
    follow.peek().is_some() && follow.all(|(index, _)| invalid(index))
}

/// Says a commit's status if it is not what was said last.
pub(super) fn said(r: &mut Record, status: CommitStatus, effects: &mut Vec<Effect>) {
    let status = CommitStatus { description: shorten(&status.description, MAX_DESCRIPTION), ..status };
    match r.said.iter_mut().find(|known| known.revision == status.revision) {
        Some(known) if *known == status => return,
        Some(known) => *known = status.clone(),
        None => r.said.insert(0, status.clone()),
    }
    r.said.truncate(REMEMBERED.max(r.head.as_ref().map_or(0, |head| head.subjects.len() + 1)));
    effects.push(Effect::Report(status));
}

/// Says how far the head is.
pub(super) fn tell(state: &mut FleetState, effects: &mut Vec<Effect>) {
    let Some(head) = &state.r.head else { return };
    let (status, description) = describe(state, head);
    let known = |known: &CommitStatus| known.state == status && known.description == description;
    for revision in head.subjects.clone() {
        if !state.r.said.iter().any(|said| said.revision == revision && known(said)) {
            let description = description.clone();
            said(&mut state.r, CommitStatus { revision, state: status, description }, effects);
        }
    }
}

fn describe(state: &FleetState, head: &Head) -> (CommitState, String) {
    let tally = &state.tally;
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
    debug_assert!(description.chars().count() <= MAX_DESCRIPTION, "{tally:?}");
    (status, description)
}

/// What a cluster or the repository has against this commit, said as soon as it is known.
fn trouble(state: &FleetState) -> Option<String> {
    let tally = &state.tally;
    let bad = tally.bad.first().and_then(|index| state.r.targets.get(*index)).map(|target| {
        let cause = target.failure.as_ref().map(|failure| format!("{} {}", target.name, failure.cause));
        let cause = cause.or_else(|| Some(state.r.quarantine_of(target, target.wanted()?)?.cause.clone()));
        format!("{} failed: {}", tally.bad.len(), cause.unwrap_or_default())
    });
    let invalid = tally.invalid.first().and_then(|index| state.r.targets.get(*index)).map(|target| {
        let Some(Want::Invalid(diagnostic)) = &target.wanted else { return String::new() };
        format!("{} held: {} {diagnostic}", tally.invalid.len(), target.name)
    });
    invalid.or(bad)
}

fn rolling(state: &FleetState) -> (CommitState, String, String) {
    let tally = &state.tally;
    if tally.all.quarantined > 0 {
        let cause = quarantine_cause(&state.r).unwrap_or_default();
        let text = format!("quarantined on {}: {cause}", tally.all.quarantined);
        return (CommitState::Failure, text, String::new());
    }
    let progress = format!("{} of {} converged", tally.all.converged, tally.all.affected);
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
    let held = tally.held.first().and_then(|index| state.r.targets.get(*index)).map(|target| {
        let reason = target.order.as_ref().map(|order| match &order.phase {
            Phase::Held { reason, .. } => reason.as_str(),
            _ => "",
        });
        format!("; {} held: {} {}", tally.held.len(), target.name, reason.unwrap_or_default())
    });
    let absent = tally.all.absent().to_string();
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
    let front = waves::frontier(state);
    let several = state.tally.waves.iter().filter(|wave| wave.affected > 0).count() > 1;
    match front.filter(|_| several).map(|front| (front, waves::briefly(state, Some(front), front))) {
        Some((front, WaveStanding::Rolling { converged, affected })) => {
            format!("; wave {}: {converged} of {affected}", waves::name(&state.r, front))
        }
        Some((front, standing @ WaveStanding::Baking { .. })) => {
            format!("; wave {}: {standing}", waves::name(&state.r, front))
        }
        _ if state.tally.all.baking > 0 => format!(", {} of them bake", state.tally.all.baking),
        _ => String::new(),
    }
}

fn accepted(state: &FleetState, affected: usize) -> (CommitState, String, String) {
    let tally = &state.tally;
    let trouble = trouble(state);
    let missing = tally.all.behind + tally.bad.len();
    let mut text = match affected {
        0 => "no cluster affected".to_owned(),
        _ => format!("{} of {affected} converged", affected.saturating_sub(missing)),
    };
    if tally.all.behind > 0 {
        text.push_str(&format!(", {} to catch up", tally.all.behind));
    }
    if tally.pinning > 0 {
        text.push_str(&format!(", {} on the way to a pin", tally.pinning));
    }
    if !tally.leaving.is_empty() {
        text.push_str(&format!(", {} to leave", tally.leaving.len()));
    }
    if let Some(target) = tally.lingers.first().and_then(|index| state.r.targets.get(*index))
        && let Some(kept) = &target.kept
    {
        let all: usize = tally.lingers.len();
        let more = if all > 1 { format!(" and {} more clusters", all - 1) } else { String::new() };
        let told = super::reason::still_deleted(kept.deleting, &kept.first_deleting);
        text.push_str(&format!("; on {}{more} {told}", target.name));
    }
    let new_ones = state.r.head.as_ref().is_some_and(|head| head.joined > 0) && tally.all.behind > 0;
    match trouble {
        Some(trouble) => (CommitState::Failure, format!("{text}, {trouble}"), String::new()),
        None if new_ones || tally.pinning > 0 => (CommitState::Pending, text, String::new()),
        None => (CommitState::Success, text, String::new()),
    }
}

fn quarantine_cause(r: &Record) -> Option<String> {
    let group = r.groups.values().rev().find(|group| group.whole)?;
    Some(format!("{} (since {})", group.cause, group.commit.short()))
}

//! What the API shows, made from the engine's state.

use std::collections::BTreeMap;

use super::engine::Engine;
use super::fleets::Fleets;
use crate::repo::tag_on;
use crate::server::{FailureView, FleetStatus, FleetView, Need, ReleaseView, StatusView, TargetView};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::ProfileName;
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::model::revision::{ProfileRevision, Revision};
use fairlead_core::rollout::{FleetReason, Reason, TargetStatus};
use fairlead_core::rollout::{FleetReport, RolloutState};

/// The whole picture.
pub(super) fn status(engine: &Engine) -> StatusView {
    let reports = engine.fleets.reports();
    let mut view = StatusView::empty(engine.instance().clone(), engine.repository.view.clone());
    view.not_ready = engine.not_ready().to_vec();
    view.stopped = engine.emergency.current();
    view.fleets = reports.iter().map(|report| fleet(report, &engine.fleets)).collect();
    view.targets = reports.iter().flat_map(|report| targets(report, &engine.fleets)).collect();
    view.targets.sort_by(|a, b| (&a.name, &a.fleet).cmp(&(&b.name, &b.fleet)));
    view.diagnostics.clone_from(&engine.repository.diagnostics);
    view
}

fn fleet(report: &FleetReport, fleets: &Fleets) -> FleetView {
    let mut counts = BTreeMap::new();
    for target in &report.targets {
        *counts.entry(target.status).or_insert(0) += 1;
    }
    let failed = report.targets.iter().filter(|target| {
        matches!(target.status, TargetStatus::Failed | TargetStatus::Returning | TargetStatus::Quarantined)
    });
    let failures = failed.filter_map(|target| {
        let release = target.wanted.as_ref().or(target.assigned.as_ref())?;
        let reason = target.reason.to_string();
        Some(FailureView { target: target.target.clone(), release: release.digest, reason })
    });
    FleetView {
        name: report.fleet.clone(),
        observed: report.observed,
        accepted: report.accepted,
        state: state(&report.rollout),
        reason: reason(report),
        needs: needs(report, fleets),
        waves: report.waves.clone(),
        next_window: report.next_window,
        counts,
        failures: failures.collect(),
    }
}

fn state(rollout: &RolloutState) -> FleetStatus {
    match rollout {
        RolloutState::Idle => FleetStatus::Unknown,
        RolloutState::Converged => FleetStatus::Converged,
        RolloutState::Rolling { .. } => FleetStatus::RollingOut,
        RolloutState::Holding { reason: FleetReason::Paused { .. } } => FleetStatus::Paused,
        // It waits for clusters or for the time, not for a person.
        RolloutState::Holding { reason: FleetReason::NoneConverged { .. } | FleetReason::Window { .. } } => {
            FleetStatus::RollingOut
        }
        RolloutState::Holding { .. } => FleetStatus::Held,
        RolloutState::Degraded { .. } => FleetStatus::Degraded,
        RolloutState::Returning { .. } => FleetStatus::Returning,
        RolloutState::Failed { .. } => FleetStatus::Failed,
    }
}

/// What a person has to say before the fleet goes on.
fn needs(report: &FleetReport, fleets: &Fleets) -> Vec<Need> {
    let hold = match &report.rollout {
        RolloutState::Holding { reason } => Some(reason),
        _ => None,
    };
    let paused = matches!(hold, Some(FleetReason::Paused { .. } | FleetReason::Failures { .. }));
    [
        (fleets.holds_revision(&report.fleet), Need::Accept),
        (fleets.awaits_approval(&report.fleet), Need::Approve),
        (paused, Need::Resume),
    ]
    .into_iter()
    .filter_map(|(needed, need)| needed.then_some(need))
    .collect()
}

/// The fleet's own reason where it holds, else what the head's commit status says.
fn reason(report: &FleetReport) -> Option<String> {
    match &report.rollout {
        RolloutState::Idle => None,
        RolloutState::Holding { reason } => Some(reason.to_string()),
        RolloutState::Degraded { converged, of, cause } => {
            Some(format!("{converged} of {of} converged; {cause}"))
        }
        _ => report.statuses.first().map(|status| status.description.clone()),
    }
}

/// Which commits of its profiles a release was made of, with the tags that name them.
pub(super) fn profiles(release: &ReleaseRef, tags: &BTreeMap<String, CommitId>) -> Vec<ProfileRevision> {
    let shown = |(profile, revision): (&ProfileName, &Revision)| ProfileRevision {
        profile: profile.clone(),
        commit: revision.commit,
        tag: tag_on(profile, revision.commit, tags).map(str::to_owned),
    };
    release.revisions.profiles.iter().map(shown).collect()
}

fn targets<'a>(report: &'a FleetReport, fleets: &'a Fleets) -> impl Iterator<Item = TargetView> + 'a {
    report.targets.iter().map(|target| {
        let details = fleets.details(&report.fleet, &target.target);
        TargetView {
            name: target.target.clone(),
            fleet: report.fleet.clone(),
            wave: target.wave.clone(),
            status: target.status,
            reason: (target.reason != Reason::Converged).then(|| target.reason.to_string()),
            why: target.reason.clone(),
            wanted: target.wanted.as_ref().map(ReleaseView::from),
            assigned: target.assigned.as_ref().map(ReleaseView::from),
            converged: target.converged.as_ref().map(ReleaseView::from),
            base: target.base.as_ref().map(ReleaseView::from),
            since: target.since,
            offline: target.status == TargetStatus::Offline,
            objects: details.objects,
            kept: details.kept.iter().map(ToString::to_string).collect(),
            drift: details.drift.iter().map(ToString::to_string).collect(),
            break_glass: details.glass.iter().map(ToString::to_string).collect(),
            waiting: details.waiting.clone(),
        }
    })
}

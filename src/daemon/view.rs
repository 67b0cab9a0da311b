//! What the API shows, made from the engine's state.

use std::collections::BTreeMap;

use super::engine::Engine;
use super::fleets::Fleets;
use crate::rollout::{FleetReport, RolloutState, TargetReport};
use crate::rollout::{Reason, TargetStatus as Standing};
use crate::server::{FailureView, FleetStatus, FleetView, ReleaseView, StatusView, TargetStatus, TargetView};

/// The whole picture.
pub(super) fn status(engine: &Engine) -> StatusView {
    let reports = engine.fleets.reports();
    let mut view = StatusView::empty(engine.instance().clone(), engine.repository.view.clone());
    view.not_ready = engine.not_ready().to_vec();
    view.fleets = reports.iter().map(fleet).collect();
    view.targets = reports.iter().flat_map(|report| targets(report, &engine.fleets)).collect();
    view.targets.sort_by(|a, b| (&a.name, &a.fleet).cmp(&(&b.name, &b.fleet)));
    view.diagnostics.clone_from(&engine.repository.diagnostics);
    view
}

fn fleet(report: &FleetReport) -> FleetView {
    let mut counts = BTreeMap::new();
    for target in &report.targets {
        *counts.entry(standing(target)).or_insert(0) += 1;
    }
    let failed = report.targets.iter().filter(|target| {
        matches!(target.status, Standing::Failed | Standing::Returning | Standing::Quarantined)
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
        counts,
        failures: failures.collect(),
    }
}

fn state(rollout: &RolloutState) -> FleetStatus {
    use crate::rollout::FleetReason;
    match rollout {
        RolloutState::Idle => FleetStatus::Unknown,
        RolloutState::Converged => FleetStatus::Converged,
        RolloutState::Rolling { .. } => FleetStatus::RollingOut,
        RolloutState::Holding { reason: FleetReason::Paused { .. } } => FleetStatus::Paused,
        // It waits for clusters, not for a person.
        RolloutState::Holding { reason: FleetReason::NoneConverged { .. } } => FleetStatus::RollingOut,
        RolloutState::Holding { .. } => FleetStatus::Held,
        RolloutState::Returning { .. } => FleetStatus::Returning,
        RolloutState::Failed { .. } => FleetStatus::Failed,
    }
}

/// The fleet's own reason where it holds, else what the head's commit status says.
fn reason(report: &FleetReport) -> Option<String> {
    match &report.rollout {
        RolloutState::Idle => None,
        RolloutState::Holding { reason } => Some(reason.to_string()),
        _ => report.statuses.first().map(|status| status.description.clone()),
    }
}

fn targets<'a>(report: &'a FleetReport, fleets: &'a Fleets) -> impl Iterator<Item = TargetView> + 'a {
    report.targets.iter().map(|target| {
        let details = fleets.details(&report.fleet, &target.target);
        TargetView {
            name: target.target.clone(),
            fleet: report.fleet.clone(),
            status: standing(target),
            reason: (target.reason != Reason::Converged).then(|| target.reason.to_string()),
            assigned: target.assigned.as_ref().map(ReleaseView::from),
            converged: target.converged.as_ref().map(ReleaseView::from),
            base: target.base.as_ref().map(ReleaseView::from),
            since: target.since,
            offline: target.status == Standing::Offline,
            objects: details.objects,
            kept: details.kept.iter().map(ToString::to_string).collect(),
            drift: details.drift.iter().map(ToString::to_string).collect(),
        }
    })
}

fn standing(target: &TargetReport) -> TargetStatus {
    match (target.status, &target.reason) {
        (_, Reason::NotHeard) => TargetStatus::Unknown,
        (_, Reason::Stalled { .. }) => TargetStatus::Stalled,
        (Standing::Converged, _) => TargetStatus::Converged,
        (Standing::Progressing, _) => TargetStatus::Progressing,
        (Standing::Waiting, _) => TargetStatus::Pending,
        (Standing::Held, _) => TargetStatus::Held,
        (Standing::Unhealthy, _) => TargetStatus::Unhealthy,
        (Standing::Failed | Standing::Quarantined, _) => TargetStatus::Failed,
        (Standing::Returning, _) => TargetStatus::Returning,
        (Standing::Offline, _) => TargetStatus::Offline,
        (Standing::Suspended, _) => TargetStatus::Suspended,
        (Standing::Leaving, _) => TargetStatus::Leaving,
    }
}

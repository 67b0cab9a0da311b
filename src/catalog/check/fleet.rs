//! A fleet by itself: what this version can't do yet is refused, never ignored.

use std::collections::BTreeMap;

use crate::catalog::document::LocatedFleet;
use crate::catalog::labels;
use crate::catalog::yaml::Places;
use crate::model::diagnostic::Diagnostic;
use crate::model::fleet::Wave;
use crate::model::units::{Amount, Span};

/// All that is wrong with a fleet by itself.
pub(in crate::catalog) fn fleet(fleet: &LocatedFleet) -> Vec<Diagnostic> {
    let (spec, places) = (&fleet.spec, &fleet.places);
    let mut findings = labels::selector(&spec.clusters, places, "/spec/clusters");
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (n, profile) in spec.profiles.iter().enumerate() {
        if let Some(other) = first.insert(profile.name.as_str(), n) {
            let other = places.value(&format!("/spec/profiles/{other}/name"));
            let message = format!("the profile '{}' is here twice; the first is at {other}", profile.name);
            let place = places.value(&format!("/spec/profiles/{n}/name"));
            findings.push(Diagnostic::error(place, "duplicate-name", message));
        }
    }
    if !spec.depends_on.is_empty() {
        findings.push(unsupported(places, "/spec/dependsOn", "'dependsOn' between fleets"));
    }
    if !spec.windows.is_empty() {
        findings.push(unsupported(places, "/spec/windows", "'windows'"));
    }
    if spec.rollout.waves.len() > 1 {
        findings.push(unsupported(places, "/spec/rollout/waves/1", "more than one wave"));
    }
    for (n, wave) in spec.rollout.waves.iter().enumerate() {
        findings.extend(self::wave(wave, places, &format!("/spec/rollout/waves/{n}")));
    }
    if spec.rollout.progress_deadline == Span::from_secs(0) {
        let message = "a deadline of 0s leaves no time for anything";
        let place = places.value("/spec/rollout/progressDeadline");
        findings.push(Diagnostic::error(place, "out-of-range", message).expected("at least 1s"));
    }
    findings
}

fn wave(wave: &Wave, places: &Places, at: &str) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let given = [
        ("clusters", wave.clusters.is_some()),
        ("count", wave.count.is_some()),
        ("percent", wave.percent.is_some()),
        ("minSuccessTime", wave.min_success_time.is_some()),
        ("approval", wave.approval.is_some()),
        ("windows", !wave.windows.is_empty()),
    ];
    for (name, _) in given.into_iter().filter(|(_, given)| *given) {
        findings.push(unsupported(places, &format!("{at}/{name}"), &format!("'{name}' of a wave")));
    }
    if let Some(Amount::Count(0) | Amount::Percent(0)) = wave.max_concurrency {
        let place = places.value(&format!("{at}/maxConcurrency"));
        let message = "with a concurrency of 0 no cluster ever changes";
        let finding = Diagnostic::error(place, "out-of-range", message).expected("at least 1");
        findings.push(finding.hint("to stop a cluster, use 'suspend' on its target"));
    }
    findings
}

fn unsupported(places: &Places, pointer: &str, what: &str) -> Diagnostic {
    let message = format!("{what}: not supported by this version yet");
    Diagnostic::error(places.key(pointer), "unsupported", message).hint("remove it")
}

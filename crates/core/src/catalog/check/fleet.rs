//! A fleet by itself.

use std::collections::BTreeMap;

use super::waves::{waves, windows};
use crate::catalog::document::LocatedFleet;
use crate::catalog::labels;
use crate::model::diagnostic::Diagnostic;
use crate::model::units::Span;

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
    findings.extend(windows(&spec.windows, places, "/spec/windows"));
    findings.extend(waves(&spec.rollout.waves, places));
    if spec.rollout.progress_deadline == Span::from_secs(0) {
        let message = "a deadline of 0s leaves no time for anything";
        let place = places.value("/spec/rollout/progressDeadline");
        findings.push(Diagnostic::error(place, "out-of-range", message).expected("at least 1s"));
    }
    findings
}

//! The waves and windows of a fleet.

use std::collections::BTreeMap;

use crate::catalog::labels;
use crate::catalog::yaml::Places;
use crate::model::diagnostic::Diagnostic;
use crate::model::fleet::{Wave, Window};
use crate::model::name::WaveName;
use crate::model::units::{Amount, Span};

/// All that is wrong with the waves of a fleet by themselves.
pub(super) fn waves(waves: &[Wave], places: &Places) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let rest = waves.iter().position(Wave::takes_the_rest);
    for (n, wave) in waves.iter().enumerate() {
        let at = format!("/spec/rollout/waves/{n}");
        let name = places.value(&format!("{at}/name"));
        if let Some(other) = first.insert(wave.name.as_str(), n) {
            let other = places.value(&format!("/spec/rollout/waves/{other}/name"));
            let message = format!("the wave '{}' is here twice; the first is at {other}", wave.name);
            findings.push(Diagnostic::error(name, "duplicate-name", message));
        } else if wave.name == WaveName::rest() && !wave.takes_the_rest() {
            let message = "'rest' is the name of the wave of all that are left, and this one takes a part";
            findings.push(Diagnostic::error(name, "reserved-name", message).hint("give it another name"));
        }
        if let Some(rest) = rest.filter(|rest| *rest < n) {
            let message = format!("no cluster is left for this wave: '{}' takes all", waves[rest].name);
            let finding = Diagnostic::error(places.value(&at), "unreachable-wave", message);
            findings.push(finding.hint("the wave that takes all that are left comes last"));
        }
        findings.extend(choice(wave, places, &at));
        findings.extend(numbers(wave, places, &at));
        findings.extend(windows(&wave.windows, places, &format!("{at}/windows")));
    }
    findings
}

/// Which clusters it takes: by one of three ways.
fn choice(wave: &Wave, places: &Places, at: &str) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    if let Some(clusters) = &wave.clusters {
        findings.extend(labels::selector(clusters, places, &format!("{at}/clusters")));
    }
    let given = [
        ("clusters", wave.clusters.is_some()),
        ("count", wave.count.is_some()),
        ("percent", wave.percent.is_some()),
    ];
    let given: Vec<&str> = given.into_iter().filter_map(|(name, given)| given.then_some(name)).collect();
    if let [first, second, ..] = given.as_slice() {
        let message = format!("a wave takes its clusters by '{first}' or by '{second}', not by both");
        let place = places.key(&format!("{at}/{second}"));
        findings.push(Diagnostic::error(place, "conflicting-keys", message).hint("make two waves of it"));
    }
    findings
}

fn numbers(wave: &Wave, places: &Places, at: &str) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    match wave.percent {
        Some(Amount::Percent(0)) => {
            let place = places.value(&format!("{at}/percent"));
            let finding = Diagnostic::error(place, "out-of-range", "a wave of 0% of the clusters");
            findings.push(finding.expected("1% to 100%"));
        }
        Some(Amount::Count(count)) => {
            let place = places.value(&format!("{at}/percent"));
            let finding = Diagnostic::error(place, "invalid-value", format!("{count} is no percentage"));
            findings.push(finding.expected("such as 10%").hint(format!("for {count} clusters, use 'count'")));
        }
        _ => {}
    }
    if let Some(Amount::Count(0) | Amount::Percent(0)) = wave.max_concurrency {
        let place = places.value(&format!("{at}/maxConcurrency"));
        let message = "with a concurrency of 0 no cluster ever changes";
        let finding = Diagnostic::error(place, "out-of-range", message).expected("at least 1");
        findings.push(finding.hint("to stop a cluster, use 'suspend' on its target"));
    }
    findings
}

/// All that is wrong with windows by themselves.
pub(super) fn windows(windows: &[Window], places: &Places, at: &str) -> Vec<Diagnostic> {
    let empty = windows.iter().enumerate().filter(|(_, window)| window.duration == Span::from_secs(0));
    let finding = |(n, _)| {
        let place = places.value(&format!("{at}/{n}/duration"));
        Diagnostic::error(place, "out-of-range", "a window of 0s is never open").expected("at least 1s")
    };
    empty.map(finding).collect()
}

//! What the daemon decided, told from two of its pictures.
//!
//! Pure: two views in, lines out. Nothing here knows more than any caller of `/api/v1/events`.

use std::collections::BTreeMap;

use crate::cli::online::{fleet_tone, target_tone};
use crate::cli::table::{Tone, clean};
use crate::server::{FleetStatus, FleetView, StatusView, TargetView};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::FleetName;
use fairlead_core::rollout::TargetStatus;

/// Names told before "and N more".
const NAMES: usize = 3;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whose decision it is; none: the whole repository's.
    pub fleet: Option<FleetName>,
    pub text: String,
    pub tone: Tone,
}

/// What changed from one picture to the next, the wide before the narrow.
pub fn between(before: &StatusView, after: &StatusView) -> Vec<Decision> {
    let mut told = Vec::new();
    repository(before, after, &mut told);
    for fleet in &after.fleets {
        let old = before.fleets.iter().find(|old| old.name == fleet.name);
        let whole = self::fleet(old, fleet);
        // What sets clusters going comes before them, what they led to after.
        let leads = !matches!(fleet.state, FleetStatus::Converged | FleetStatus::Failed);
        let (first, last) = if leads { (whole, None) } else { (None, whole) };
        told.extend(first);
        targets(before, after, &fleet.name, &mut told);
        told.extend(last);
    }
    for decision in &mut told {
        decision.text = clean(&decision.text);
    }
    told
}

fn repository(before: &StatusView, after: &StatusView, told: &mut Vec<Decision>) {
    let mut tell = |text: String, tone| told.push(Decision { fleet: None, text, tone });
    let (old, new) = (&before.repository, &after.repository);
    if let Some(commit) = new.observed.filter(|_| new.observed != old.observed) {
        tell(format!("observed {} on {}", commit.short(), new.branch), Tone::Plain);
    }
    if let Some(hold) = new.hold.as_ref().filter(|_| new.hold != old.hold) {
        tell(format!("holds: {hold}"), Tone::Bad);
    }
    if let Some(error) = new.last_error.as_ref().filter(|_| new.last_error != old.last_error) {
        tell(format!("the repository can't be read: {error}"), Tone::Bad);
    }
    for finding in after.diagnostics.iter().filter(|finding| finding.is_error()) {
        if !before.diagnostics.contains(finding) {
            tell(finding.to_string(), Tone::Bad);
        }
    }
}

fn fleet(before: Option<&FleetView>, after: &FleetView) -> Option<Decision> {
    let known = |old: &FleetView| (old.state, old.accepted, old.observed);
    let moved = before.is_none_or(|old| known(old) != known(after));
    // How far it has come is in the table; a hold's reason is news.
    let reason = || before.is_some_and(|old| old.reason != after.reason);
    let waits = target_free(after) && reason();
    if !moved && !waits {
        return None;
    }
    let short = |commit: Option<CommitId>| commit.map(|commit| commit.short()).unwrap_or_default();
    let what = match after.state == FleetStatus::Converged && after.accepted.is_some() {
        true => format!("{}, accepted {}", words(after.state.as_str()), short(after.accepted)),
        false => format!("{} {}", words(after.state.as_str()), short(after.observed)),
    };
    let why = after.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let text = format!("{}{why}", what.trim_end());
    Some(Decision { fleet: Some(after.name.clone()), text, tone: fleet_tone(after.state) })
}

/// Whether the fleet waits for a word, not for its clusters.
fn target_free(fleet: &FleetView) -> bool {
    matches!(fleet.state.as_str(), "held" | "paused")
}

/// `rollingOut` to `rolling out`.
pub fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// Clusters that took the same step are told in one line.
fn targets(before: &StatusView, after: &StatusView, fleet: &FleetName, told: &mut Vec<Decision>) {
    let of_fleet = |target: &&TargetView| target.fleet == *fleet;
    let old: BTreeMap<_, _> =
        before.targets.iter().filter(of_fleet).map(|target| (&target.name, target)).collect();
    let mut groups: BTreeMap<(Option<TargetStatus>, TargetStatus), Vec<&TargetView>> = BTreeMap::new();
    for target in after.targets.iter().filter(of_fleet) {
        let known = old.get(&target.name);
        let status = known.map(|known| known.status);
        // Between two pictures a cluster may have been given something and be done with it.
        let quick = known.is_some_and(|known| known.converged != target.converged);
        let news = status != Some(target.status) || (quick && target.status == TargetStatus::Converged);
        if news {
            groups.entry((status, target.status)).or_default().push(target);
        }
    }
    for ((from, to), group) in groups {
        if let Some(text) = step(from, to, &group) {
            told.push(Decision { fleet: Some(fleet.clone()), text, tone: target_tone(to) });
        }
    }
}

fn step(from: Option<TargetStatus>, to: TargetStatus, group: &[&TargetView]) -> Option<String> {
    let first = group.first()?;
    let commit = first.converged.as_ref().map(|release| release.commit.short()).unwrap_or_default();
    let what = match (from, to) {
        // A fleet's first picture: the table shows it.
        (None, TargetStatus::Unknown | TargetStatus::Waiting | TargetStatus::Converged) => return None,
        (_, TargetStatus::Unknown) => return None,
        (Some(TargetStatus::Unknown), TargetStatus::Waiting) => return None,
        (Some(TargetStatus::Offline), TargetStatus::Converged) => format!("back, at {commit}"),
        (Some(TargetStatus::Offline), to) => format!("back, {}", words(to.as_str())),
        (Some(TargetStatus::Returning), TargetStatus::Converged) => format!("back at {commit}"),
        (_, TargetStatus::Converged) => format!("converged at {commit}"),
        (_, TargetStatus::Waiting) => "waiting".to_owned(),
        (_, to) => words(to.as_str()),
    };
    // How much is applied differs among them; other reasons are the point of the line.
    let why = match to {
        TargetStatus::Progressing | TargetStatus::Converged => String::new(),
        _ => first.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
    };
    Some(format!("{} {what}{}", names(group), trimmed(why, &what)))
}

/// `offline (offline: no answer)` says it twice.
fn trimmed(why: String, what: &str) -> String {
    why.replace(&format!("({what}: "), "(")
}

/// `a, b, c and 4 more`.
fn names(group: &[&TargetView]) -> String {
    let shown: Vec<_> = group.iter().take(NAMES).map(|target| target.name.as_str()).collect();
    match group.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

//! A plan as the one comment on a pull request: what matters in sight, the rest in folds, within the forge's limit.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::markdown::{foreign, foreign_cell, group_markdown, not_known_markdown};
use super::print::summary;
use super::{FleetPlan, What};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::fleet::{Approval, RolloutSpec, Wave, Window};
use crate::model::name::FleetName;

/// Findings that are listed.
const MAX_FINDINGS: usize = 50;
/// Rows of a table.
const MAX_ROWS: usize = 40;
/// Kept for what says that something was left out.
const TAIL: usize = 300;

/// How a change would go through a fleet.
#[derive(Debug, Clone)]
pub struct Way {
    pub fleet: FleetName,
    /// Targets that the fleet has.
    pub targets: usize,
    pub rollout: RolloutSpec,
    pub windows: Vec<Window>,
}

/// The comment, in at most `max` characters; `page` shows what does not fit. Without commits and times: equal while
/// nothing changed.
pub fn comment(
    plan: &FleetPlan,
    findings: &[Diagnostic],
    ways: &[Way],
    max: usize,
    page: Option<&str>,
) -> String {
    if plan.is_empty() && findings.is_empty() {
        return "No cluster is touched.\n".to_owned();
    }
    let mut out = Cut { out: String::new(), chars: 0, max: max.saturating_sub(TAIL), left_out: 0 };
    out.push(format!("### {}\n\n", foreign(&summary(plan))));
    out.push(listing(findings));
    out.push(fleets(plan, ways));
    out.push(layers(plan));
    // Before the changes: whoever reads only the head of a comment must see that it does not tell everything.
    not_known_markdown(plan).into_iter().for_each(|line| out.push(line));
    for group in &plan.groups {
        out.push(group_markdown(group));
    }
    out.finish(page)
}

/// The comment where there is no plan at all, and so nothing to count.
pub fn without_plan(reason: &str, findings: &[Diagnostic], max: usize, page: Option<&str>) -> String {
    let mut out = Cut { out: String::new(), chars: 0, max: max.saturating_sub(TAIL), left_out: 0 };
    out.push(format!("### No plan: {}\n\n", foreign(reason)));
    out.push(listing(findings));
    out.finish(page)
}

/// Takes whole pieces as long as they fit: a piece that is cut would leave its folds open.
struct Cut {
    out: String,
    chars: usize,
    max: usize,
    left_out: usize,
}

impl Cut {
    fn push(&mut self, piece: String) {
        let chars = piece.chars().count();
        if self.chars + chars > self.max {
            self.left_out += 1;
            return;
        }
        self.chars += chars;
        self.out.push_str(&piece);
    }

    fn finish(mut self, page: Option<&str>) -> String {
        if self.left_out > 0 {
            let whole = match page {
                Some(page) => format!("[The whole plan]({page})."),
                None => "`fairlead plan --from <merge base> --to <head>` shows them.".to_owned(),
            };
            // Writing to a String can't fail.
            let _ = writeln!(
                self.out,
                "\n**{} more parts are left out**: a comment takes no more. {whole}",
                self.left_out
            );
        }
        self.out
    }
}

fn listing(findings: &[Diagnostic]) -> String {
    let mut out = String::new();
    for finding in findings.iter().take(MAX_FINDINGS) {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let _ = writeln!(out, "- **{severity}** {}", foreign(&finding.to_string()));
    }
    if findings.len() > MAX_FINDINGS {
        let _ = writeln!(out, "- and {} more", findings.len() - MAX_FINDINGS);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// Which fleets are touched, and which waves, approvals and windows the change will meet.
fn fleets(plan: &FleetPlan, ways: &[Way]) -> String {
    let mut touched: BTreeMap<&FleetName, usize> = BTreeMap::new();
    for group in &plan.groups {
        *touched.entry(&group.fleet).or_default() += group.targets.len();
    }
    if touched.is_empty() {
        return String::new();
    }
    let mut out = "| Fleet | Clusters touched | Waves | Windows |\n|---|---|---|---|\n".to_owned();
    for (fleet, count) in touched.iter().take(MAX_ROWS) {
        let way = ways.iter().find(|way| way.fleet == **fleet);
        let of = way.map_or(String::new(), |way| format!(" of {}", way.targets.max(*count)));
        let waves = way.map_or(String::new(), |way| waves(&way.rollout, foreign_cell));
        let windows = way.map_or(String::new(), |way| windows(&way.windows, foreign_cell));
        let _ = writeln!(out, "| {} | {count}{of} | {waves} | {windows} |", foreign_cell(fleet.as_str()));
    }
    if touched.len() > MAX_ROWS {
        let _ = writeln!(out, "\nand {} more fleets", touched.len() - MAX_ROWS);
    }
    out.push('\n');
    out
}

/// `safe` makes text fit for where it goes.
fn waves(rollout: &RolloutSpec, safe: fn(&str) -> String) -> String {
    let wave = |wave: &Wave| {
        let approval = (wave.approval == Some(Approval::Required)).then(|| "approval".to_owned());
        let bakes = wave.min_success_time.filter(|time| !time.get().is_zero());
        let bakes = bakes.map(|time| format!("bakes {time}"));
        let open = (!wave.windows.is_empty()).then(|| windows(&wave.windows, safe));
        let asked: Vec<_> = approval.into_iter().chain(bakes).chain(open).collect();
        let asked = if asked.is_empty() { String::new() } else { format!(" ({})", asked.join(", ")) };
        format!("{}{asked}", safe(wave.name.as_str()))
    };
    if rollout.waves.is_empty() {
        return "all at once".to_owned();
    }
    let rest = rollout.wave_names().into_iter().skip(rollout.waves.len()).map(|rest| rest.to_string());
    rollout.waves.iter().map(wave).chain(rest).collect::<Vec<_>>().join(", then ")
}

fn windows(windows: &[Window], safe: fn(&str) -> String) -> String {
    let window = |window: &Window| {
        let deny = if window.deny { "not in " } else { "" };
        let zone = window.time_zone.as_ref().map_or("UTC", |zone| zone.as_str());
        let text = format!(
            "{deny}{} for {} (the target's time zone, else {zone})",
            window.schedule, window.duration
        );
        safe(&text)
    };
    match windows {
        [] => "at any time".to_owned(),
        windows => windows.iter().map(window).collect::<Vec<_>>().join("; "),
    }
}

/// A line for each fleet that a plan touches, as text: its waves, and when its windows open next. `opens` tells that
/// of a fleet's windows, where they are closed now.
pub fn ways_text(plan: &FleetPlan, ways: &[Way], opens: impl Fn(&Way) -> Option<String>) -> String {
    let touched = |way: &&Way| plan.groups.iter().any(|group| group.fleet == way.fleet);
    let special = |way: &&Way| way.rollout.wave_names().len() > 1 || !way.windows.is_empty();
    let line = |way: &Way| {
        let opens = opens(way).map(|opens| format!("; no change starts now: {opens}")).unwrap_or_default();
        format!("fleet {}: {}{opens}\n", way.fleet, waves(&way.rollout, str::to_owned))
    };
    ways.iter().filter(touched).filter(special).map(line).collect()
}

/// How many objects of each layer and kind change in how many ways, over all clusters.
fn layers(plan: &FleetPlan) -> String {
    let mut counts: BTreeMap<(String, &str), [usize; 4]> = BTreeMap::new();
    for group in &plan.groups {
        for layer in &group.change.layers {
            for change in &layer.objects {
                let row = counts.entry((layer.layer.to_string(), change.object.kind())).or_default();
                let column = match change.what {
                    What::Added => 0,
                    What::Changed | What::Moved { .. } => 1,
                    What::Removed => 2,
                    _ => 3,
                };
                row[column] += group.targets.len();
            }
        }
    }
    if counts.is_empty() {
        return String::new();
    }
    let mut out =
        "| Layer | Kind | Added | Changed | Removed | Other |\n|---|---|---|---|---|---|\n".to_owned();
    for ((layer, kind), [added, changed, removed, other]) in counts.iter().take(MAX_ROWS) {
        let (layer, kind) = (foreign_cell(layer), foreign_cell(kind));
        let _ = writeln!(out, "| {layer} | {kind} | {added} | {changed} | {removed} | {other} |");
    }
    if counts.len() > MAX_ROWS {
        let _ = writeln!(out, "\nand {} more kinds", counts.len() - MAX_ROWS);
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::diagnostic::Place;

    fn finding(n: u32) -> Diagnostic {
        Diagnostic::error(
            Place::at(format!("clusters/edge-{n:03}.yaml"), n, 1),
            "unknown-key",
            "what is this?",
        )
    }

    #[test]
    fn what_does_not_fit_is_named_with_the_way_to_it() {
        let findings: Vec<_> = (1..=60).map(finding).collect();
        let page = Some("https://fairlead.example.com/pulls/7");
        let whole = comment(&FleetPlan::default(), &findings, &[], 65_536, page);
        assert!(
            whole.contains("clusters/edge-050.yaml:50:1: ") && whole.contains("- and 10 more"),
            "{whole}"
        );
        let cut = comment(&FleetPlan::default(), &findings, &[], 700, page);
        assert!(cut.chars().count() <= 700 && cut.contains("**1 more parts are left out**"), "{cut}");
        assert!(cut.contains("[The whole plan](https://fairlead.example.com/pulls/7)"), "{cut}");
        let cut = comment(&FleetPlan::default(), &findings, &[], 700, None);
        assert!(cut.contains("`fairlead plan --from"), "{cut}");
        assert_eq!(comment(&FleetPlan::default(), &[], &[], 10, page), "No cluster is touched.\n");
    }
}

//! A plan as Markdown for pull requests: what matters in sight, the rest in folds.

use std::fmt::Write;

use super::print::{counts, members, membership, remark, severity, summary};
use super::{FleetPlan, Group, ObjectChange, What};

/// Longest diff of an object, in lines. Forges refuse comments of more than 65,536 characters.
const MAX_DIFF_LINES: usize = 200;
/// Longest list of targets.
const MAX_TARGETS: usize = 200;

/// Needs a forge that shows `<details>`.
pub fn markdown(plan: &FleetPlan) -> String {
    let mut out = format!("### {}\n\n", escape(&summary(plan)));
    for group in &plan.groups {
        show_group(&mut out, group);
    }
    out.extend(not_known_markdown(plan));
    out
}

pub(super) fn group_markdown(group: &Group) -> String {
    let mut out = String::new();
    show_group(&mut out, group);
    out
}

/// A line for all that is not known: targets without a plan, and what could not be read.
pub(super) fn not_known_markdown(plan: &FleetPlan) -> Vec<String> {
    let line =
        |who: &str, what: &str, reason: &str| format!("- **{}** {what}: {}\n", escape(who), escape(reason));
    let unplanned = plan.unplanned_groups().into_iter().map(|((fleet, reason), targets)| {
        line(&format!("{} ({fleet})", members(&targets)), "no plan", reason)
    });
    let unread = plan.unread.iter().map(|entry| line(&entry.what, "not read", &entry.reason));
    unplanned.chain(unread).collect()
}

// Writing to a String can't fail.
fn show_group(out: &mut String, group: &Group) {
    let who = format!("{}{}", members(&group.targets), membership(group.change.membership));
    let _ = writeln!(
        out,
        "#### {} <sub>fleet {}</sub>\n\n{}\n",
        escape(&who),
        escape(group.fleet.as_str()),
        escape(&counts(&group.change))
    );
    for note in &group.change.notes {
        let _ = writeln!(out, "- **{}**: {}", severity(note.severity), escape(&note.message));
    }
    if !group.change.notes.is_empty() {
        out.push('\n');
    }
    if group.targets.len() > 3 {
        let names: Vec<&str> = group.targets.iter().take(MAX_TARGETS).map(|t| t.as_str()).collect();
        let more = group.targets.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let list = escape(&names.join(", "));
        let _ = writeln!(
            out,
            "<details><summary>{} targets</summary>\n\n{list}{more}\n\n</details>\n",
            group.targets.len()
        );
    }
    for layer in &group.change.layers {
        let _ = writeln!(out, "**{}**\n", escape(&layer.layer.to_string()));
        for change in &layer.objects {
            show_object(out, change);
        }
    }
}

fn show_object(out: &mut String, change: &ObjectChange) {
    let what = match change.what {
        What::Added => "added",
        What::Changed => "changed",
        What::Removed => "removed",
        What::Moved { .. } => "moved",
        _ => "",
    };
    let head = format!("{} {what}", change.object);
    let head = format!("{}{}", escape(head.trim_end()), escape(&remark(change)));
    if change.diff.is_empty() {
        let _ = writeln!(out, "- {head}\n");
        return;
    }
    let lines: Vec<&str> = change.diff.lines().collect();
    let shown = lines.iter().take(MAX_DIFF_LINES).copied().collect::<Vec<_>>().join("\n");
    let fence = fence(&shown);
    let _ = writeln!(out, "<details><summary>{head}</summary>\n\n{fence}diff\n{shown}\n{fence}\n");
    if lines.len() > MAX_DIFF_LINES {
        let _ = writeln!(out, "… and {} more lines\n", lines.len() - MAX_DIFF_LINES);
    }
    out.push_str("</details>\n\n");
}

/// A fence that the content can't close.
fn fence(content: &str) -> String {
    let runs = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(runs.max(2) + 1)
}

/// Text from a repository or a cluster as text, never as mark-up.
pub fn escape(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || " -/.,:;()'=%\n".contains(c);
    let mut out = String::with_capacity(text.len());
    for c in super::super::yaml::visible(text).chars() {
        if c == '\n' {
            out.push(' ');
        } else if plain(c) {
            out.push(c);
        } else {
            let _ = write!(out, "&#{};", u32::from(c));
        }
    }
    out
}

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
    let mut out = format!("### {}\n\n", foreign(&summary(plan)));
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
        |who: &str, what: &str, reason: &str| format!("- **{}** {what}: {}\n", foreign(who), foreign(reason));
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
        foreign(&who),
        foreign(group.fleet.as_str()),
        foreign(&counts(&group.change))
    );
    for note in &group.change.notes {
        let _ = writeln!(out, "- **{}**: {}", severity(note.severity), foreign(&note.message));
    }
    if !group.change.notes.is_empty() {
        out.push('\n');
    }
    if group.targets.len() > 3 {
        let names: Vec<&str> = group.targets.iter().take(MAX_TARGETS).map(|t| t.as_str()).collect();
        let more = group.targets.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let list = foreign(&names.join(", "));
        let _ = writeln!(
            out,
            "<details><summary>{} targets</summary>\n\n{list}{more}\n\n</details>\n",
            group.targets.len()
        );
    }
    for layer in &group.change.layers {
        let _ = writeln!(out, "**{}**\n", foreign(&layer.layer.to_string()));
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
    let head = format!("{}{}", head.trim_end(), remark(change));
    if change.diff.is_empty() {
        let _ = writeln!(out, "- {}\n", foreign(&head));
        return;
    }
    let lines: Vec<&str> = change.diff.lines().collect();
    let shown = lines.iter().take(MAX_DIFF_LINES).copied().collect::<Vec<_>>().join("\n");
    let fence = fence(&shown);
    let _ = writeln!(
        out,
        "<details><summary>{}</summary>\n\n{fence}diff\n{shown}\n{fence}\n",
        foreign_html(&head)
    );
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

/// Text from a repository, a cluster or a person as text: never mark-up, a link, a mention, or a reference to something
/// on the forge. Forges look for those after Markdown is read, so that no escape hides anything from them; but in code
/// they look for none (GitHub's *Basic writing and formatting syntax*, GitLab's *Flavored Markdown*, Gitea's and goldmark's
/// source). So it stands in a code span, whose fence is longer than what is in it, unless it can't be anything but words.
pub fn foreign(text: &str) -> String {
    let text = one_line(text);
    if is_words(&text) {
        return text;
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // A space at both ends is taken away with the fence.
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// The same in a table, where a bar would end the cell, in code too.
pub(super) fn foreign_cell(text: &str) -> String {
    foreign(text).replace('|', "\\|")
}

/// The same inside of HTML, where no Markdown is read.
fn foreign_html(text: &str) -> String {
    let text = one_line(text);
    if is_words(&text) {
        return text;
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    format!("<code>{text}</code>")
}

fn one_line(text: &str) -> String {
    super::super::yaml::visible(text).replace(['\n', '\t'], " ")
}

/// Whether a text can be taken for nothing else: words of letters, digits and dashes, of which none looks like a commit
/// or an issue of a tracker.
fn is_words(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " -,()'".contains(c);
    let hex = |word: &str| word.len() >= 7 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let issue = |word: &str| word.contains('-') && word.bytes().any(|byte| byte.is_ascii_uppercase());
    let words =
        || text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| !word.is_empty());
    let marks = text.starts_with([' ', '-']) || text.ends_with(' ') || text.contains("  ");
    !text.is_empty() && !marks && text.chars().all(plain) && !words().any(|word| hex(word) || issue(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_stand_outside_of_code() {
        for words in
            ["1 of 2 converged", "edge-001, edge-002", "retail", "all at once (then baked)", "it's 3"]
        {
            assert_eq!(foreign(words), words);
            assert_eq!(foreign_html(words), words);
        }
        let cases = [
            ("@platform", "`@platform`"),
            ("#1", "`#1`"),
            ("a.yaml:3:7: unknown", "`a.yaml:3:7: unknown`"),
            ("www.evil.example", "`www.evil.example`"),
            // A commit, and issues of trackers.
            ("4f2c91a", "`4f2c91a`"),
            ("see 1234567", "`see 1234567`"),
            ("GH-1", "`GH-1`"),
            ("OPS-12 is done", "`OPS-12 is done`"),
            ("- a", "`- a`"),
            ("a`b", "``a`b``"),
            ("`@x`", "`` `@x` ``"),
            ("``` @x", "```` ``` @x ````"),
            (" @x ", "`  @x  `"),
            ("a\n\n# b", "`a  # b`"),
            ("é", "`é`"),
            ("\u{202e}x", "`\\u{202e}x`"),
        ];
        for (text, wanted) in cases {
            assert_eq!(foreign(text), wanted, "{text:?}");
        }
        assert_eq!(foreign_cell("a|@b"), "`a\\|@b`");
        assert_eq!(foreign_html("<b>@x&"), "<code>&lt;b&gt;@x&amp;</code>");
    }
}

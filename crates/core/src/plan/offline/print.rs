//! A plan for terminals and for pages.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::{Change, FleetPlan, Group, Membership, ObjectChange, What};
use crate::model::name::TargetName;
use crate::plan::notes::{Note, NoteSeverity};
use crate::plan::yaml::visible;

pub use super::markdown::markdown;

/// With colours, as ANSI escapes.
pub fn text(plan: &FleetPlan) -> String {
    Printer { out: String::new(), colours: true }.print(plan)
}

/// Without colours.
pub fn plain(plan: &FleetPlan) -> String {
    Printer { out: String::new(), colours: false }.print(plan)
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();

struct Printer {
    out: String,
    colours: bool,
}

impl Printer {
    fn print(mut self, plan: &FleetPlan) -> String {
        for group in &plan.groups {
            self.group(group);
        }
        for entry in &plan.unplanned {
            let head = format!("{} ({}): no plan", entry.target, entry.fleet);
            self.line(0, RED, &head, &visible(&format!(": {}", entry.reason)));
        }
        for entry in &plan.unread {
            let head = format!("{}: not read", visible(&entry.what));
            self.line(0, RED, &head, &visible(&format!(": {}", entry.reason)));
        }
        if plan.is_partial() {
            self.out.push('\n');
        }
        self.line(0, BOLD, &summary(plan), "");
        self.out
    }

    /// `styled` in a style, `rest` without.
    fn line(&mut self, indent: usize, style: Style, styled: &str, rest: &str) {
        // Writing to a String can't fail.
        let _ = if self.colours && !styled.is_empty() {
            writeln!(self.out, "{:indent$}{style}{styled}{style:#}{rest}", "")
        } else {
            writeln!(self.out, "{:indent$}{styled}{rest}", "")
        };
    }

    fn group(&mut self, group: &Group) {
        let head = format!("{}{}", members(&group.targets), membership(group.change.membership));
        self.line(0, BOLD, &head, &format!(" (fleet {})", group.fleet));
        for layer in &group.change.layers {
            self.line(2, CYAN, &layer.layer.to_string(), "");
            for change in &layer.objects {
                self.object(change);
            }
        }
        for note in &group.change.notes {
            self.note(note);
        }
        self.out.push('\n');
    }

    fn object(&mut self, change: &ObjectChange) {
        let (sign, style) = sign(&change.what);
        let head = visible(&format!("{sign} {}", change.object));
        let mut rest = visible(&remark(change));
        if let Some(place) = &change.place {
            rest = format!("{rest}  {}", self.dim(&visible(&place.to_string())));
        }
        self.line(4, style, &head, &rest);
        for line in change.diff.lines() {
            let style = match line.as_bytes().first() {
                Some(b'+') => GREEN,
                Some(b'-') => RED,
                Some(b'@') => DIM,
                _ => Style::new(),
            };
            self.line(8, style, line, "");
        }
    }

    fn dim(&self, text: &str) -> String {
        if self.colours { format!("{DIM}{text}{DIM:#}") } else { text.to_owned() }
    }

    fn note(&mut self, note: &Note) {
        let style = match note.severity {
            NoteSeverity::Danger => RED,
            NoteSeverity::Warning => YELLOW,
            NoteSeverity::Info => CYAN,
        };
        self.line(2, style, severity(note.severity), &visible(&format!(": {}", note.message)));
    }
}

pub(super) fn severity(severity: NoteSeverity) -> &'static str {
    match severity {
        NoteSeverity::Danger => "danger",
        NoteSeverity::Warning => "warning",
        NoteSeverity::Info => "note",
    }
}

fn sign(what: &What) -> (&'static str, Style) {
    match what {
        What::Added => ("+", GREEN),
        What::Changed | What::Healed | What::TakenOver => ("~", YELLOW),
        What::Moved { .. } => (">", CYAN),
        What::Removed => ("-", RED),
        What::Replaced => ("±", RED),
        What::Drifted | What::Held => ("!", RED),
        What::Released | What::Kept | What::Forgotten => ("=", DIM),
    }
}

/// What is to be said about an object behind its name.
pub(super) fn remark(change: &ObjectChange) -> String {
    let what = match &change.what {
        What::Added | What::Changed | What::Removed => String::new(),
        What::Moved { from } => format!("moves here from {from}"),
        What::Healed => "put right".to_owned(),
        What::Drifted => "left as it is".to_owned(),
        What::TakenOver => "taken over".to_owned(),
        What::Replaced => "deleted and created again".to_owned(),
        What::Released => "released, not deleted".to_owned(),
        What::Kept => "kept".to_owned(),
        What::Forgotten => "forgotten".to_owned(),
        What::Held => "held".to_owned(),
    };
    let parts: Vec<&str> =
        [what.as_str(), change.why.as_deref().unwrap_or("")].into_iter().filter(|p| !p.is_empty()).collect();
    if parts.is_empty() { String::new() } else { format!("  ({})", parts.join(": ")) }
}

/// `edge-001`, `edge-001, edge-002 and edge-003`, `edge-001 and 41 others`.
pub(super) fn members(targets: &[TargetName]) -> String {
    match targets {
        [] => "no target".to_owned(),
        [one] => one.to_string(),
        [first, others @ ..] if others.len() > 2 => format!("{first} and {} others", others.len()),
        [firsts @ .., last] => {
            let firsts: Vec<_> = firsts.iter().map(TargetName::as_str).collect();
            format!("{} and {last}", firsts.join(", "))
        }
    }
}

pub(super) fn membership(membership: Membership) -> &'static str {
    match membership {
        Membership::Stays => "",
        Membership::Joins => " (new in the fleet)",
        Membership::Leaves => " (leaves the fleet)",
    }
}

/// How many objects a change adds, changes and removes, e.g. `1 added, 2 changed`.
pub(super) fn counts(change: &Change) -> String {
    let count = |fits: fn(&What) -> bool| change.objects().filter(|object| fits(&object.what)).count();
    let rows = [
        (count(|w| matches!(w, What::Added)), "added"),
        (count(|w| matches!(w, What::Changed)), "changed"),
        (count(|w| matches!(w, What::Moved { .. })), "moved"),
        (count(|w| matches!(w, What::Removed)), "removed"),
        (count(|w| matches!(w, What::Replaced)), "replaced"),
        (count(|w| matches!(w, What::Healed)), "put right"),
        (count(|w| matches!(w, What::Drifted)), "drifted"),
        (count(|w| matches!(w, What::TakenOver)), "taken over"),
        (count(|w| matches!(w, What::Released)), "released"),
        (count(|w| matches!(w, What::Kept)), "kept"),
        (count(|w| matches!(w, What::Forgotten)), "forgotten"),
        (count(|w| matches!(w, What::Held)), "held"),
    ];
    let said: Vec<String> =
        rows.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if said.is_empty() { "no object".to_owned() } else { said.join(", ") }
}

/// One line for the whole plan.
pub(super) fn summary(plan: &FleetPlan) -> String {
    let changing: usize = plan.groups.iter().map(|group| group.targets.len()).sum();
    let all = changing + plan.unchanged.len() + plan.unplanned.len();
    let targets = if all == 1 { "target" } else { "targets" };
    let mut line = match changing {
        0 if plan.is_partial() => format!("No changes are known ({all} {targets})"),
        0 => format!("No changes ({all} {targets})"),
        _ => format!("{changing} of {all} {targets} would change"),
    };
    let dangers = plan.groups.iter().flat_map(|g| &g.change.notes);
    let dangers = dangers.filter(|note| note.severity == NoteSeverity::Danger).count();
    let more =
        [(dangers, "danger"), (plan.unplanned.len(), "without a plan"), (plan.unread.len(), "not read")];
    for (n, word) in more.into_iter().filter(|(n, _)| *n > 0) {
        let s = if word == "danger" && n > 1 { "s" } else { "" };
        let _ = write!(line, ", {n} {word}{s}");
    }
    line
}

//! Why a target is where it is, on one screen.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;

use super::Outcome;
use super::args;
use super::error::CliError;
use super::online::{client, failed, next_window, stopped, target_tone, word};
use super::table::{Cell, Output, Show, Table, age, clean, print};
use crate::server::{ExplainFleet, ExplainView, HistoryView, ProfilesView, ReleaseView};
use fairlead_core::model::revision::ProfileRevision;

/// Where values begin.
const INDENT: usize = 14;

pub async fn explain(args: args::Explain) -> Outcome {
    let path = format!("/api/v1/targets/{}/explain", args.target);
    let view: ExplainView = client(&args.daemon)?.get_json(&path).await.map_err(failed)?;
    let (mut out, now) = (anstream::stdout().lock(), Timestamp::now());
    let shown = match args.output {
        Output::Table | Output::Wide => out.write_all(text(&view, now).as_bytes()),
        other => print(&mut out, &view, other, now),
    };
    shown.map_err(CliError::outside)?;
    Ok(ExitCode::SUCCESS)
}

impl Show for ExplainView {
    fn table(&self, now: Timestamp) -> Table {
        lately(&self.lately, now)
    }
    fn names(&self) -> Vec<String> {
        vec![format!("target/{}", self.target)]
    }
}

fn text(view: &ExplainView, now: Timestamp) -> String {
    let mut out = format!("Target {}\n", view.target);
    let repository = &view.repository;
    let mut remarks: Vec<String> = view.stopped.iter().map(stopped).collect();
    remarks.extend(repository.hold.iter().map(|hold| format!("the repository holds: {hold}")));
    remarks
        .extend(repository.last_error.iter().map(|error| format!("the repository can't be read: {error}")));
    for remark in remarks {
        line(&mut out, "!", &remark);
    }
    for one in &view.fleets {
        out.push('\n');
        of_fleet(&mut out, one, now);
    }
    if !view.lately.is_empty() {
        let _ = write!(out, "\nLately\n{}", lately(&view.lately, now).render(false));
    }
    out
}

fn of_fleet(out: &mut String, shown: &ExplainFleet, now: Timestamp) {
    let ExplainFleet { fleet, target, profiles: revisions, causes } = shown;
    let _ = writeln!(out, "Fleet {}", fleet.name);
    let accepted = fleet.accepted.map_or("nothing".to_owned(), |commit| commit.short());
    let observed = fleet.observed.map_or("nothing".to_owned(), |commit| commit.short());
    line(out, "fleet", &format!("{}; observed {observed}, accepted {accepted}", fleet.state.as_str()));
    if let Some(reason) = &fleet.reason {
        line(out, "", reason);
    }
    for need in &fleet.needs {
        line(out, "waits for", &word(*need, &fleet.name));
    }
    if let Some(opens) = fleet.next_window {
        line(out, "", &next_window(opens));
    }
    if let Some(wave) = &target.wave {
        line(out, "wave", wave.as_str());
    }
    line(out, "runs", &release(target.converged.as_ref()));
    line(out, "should run", &release(target.wanted.as_ref()));
    if target.assigned != target.wanted {
        line(out, "was given", &release(target.assigned.as_ref()));
    }
    if target.base.as_ref().is_some_and(|base| Some(base) != target.converged.as_ref()) {
        line(out, "falls back to", &release(target.base.as_ref()));
    }
    for (number, revision) in profiles(revisions).iter().enumerate() {
        line(out, if number == 0 { "profiles" } else { "" }, revision);
    }
    let status = Cell::new(target.status.as_str(), target_tone(target.status)).styled();
    let since = target.since.map(|since| format!(" for {}", age(since, now))).unwrap_or_default();
    let _ = writeln!(out, "  {:<INDENT$}{status}{since}", "status");
    line(out, "because", target.reason.as_deref().unwrap_or("it runs what it should"));
    for (number, cause) in causes.iter().enumerate() {
        line(
            out,
            if number == 0 { "not healthy" } else { "" },
            &format!("{}: {}", cause.object, cause.reason),
        );
    }
    // The reason is cut to a line, and names the first.
    for (number, waiting) in target.waiting.iter().enumerate() {
        line(out, if number == 0 { "in full" } else { "" }, waiting);
    }
    for object in &target.drift {
        line(out, "drifted", object);
    }
    for object in &target.break_glass {
        line(out, "break glass", object);
    }
}

fn line(out: &mut String, label: &str, value: &str) {
    let _ = writeln!(out, "  {label:<INDENT$}{}", clean(value));
}

fn release(release: Option<&ReleaseView>) -> String {
    release.map_or("nothing".to_owned(), |r| format!("{} (release {})", r.commit.short(), r.release.short()))
}

/// One line for each profile: what runs, and what should where that differs.
fn profiles(shown: &ProfilesView) -> Vec<String> {
    let ProfilesView { converged, wanted } = shown;
    let of = |all: &[ProfileRevision], name| all.iter().find(|one| one.profile == name).cloned();
    let names: BTreeSet<_> = converged.iter().chain(wanted).map(|one| one.profile.clone()).collect();
    let lines = names.into_iter().filter_map(|name| match (of(converged, name.clone()), of(wanted, name)) {
        (Some(runs), Some(wanted)) if runs == wanted => Some(runs.to_string()),
        (Some(runs), Some(wanted)) => Some(format!("{runs}; should be {}", wanted.version())),
        (Some(runs), None) => Some(format!("{runs}; should be gone")),
        (None, Some(wanted)) => Some(format!("{wanted}; not there yet")),
        (None, None) => None,
    });
    lines.collect()
}

fn lately(events: &[HistoryView], now: Timestamp) -> Table {
    let mut table = Table::new(&["  age", "fleet", "commit", "outcome"]);
    for event in events {
        table.row([
            format!("  {}", age(event.at, now)).into(),
            event.fleet.to_string().into(),
            event.commit.short().into(),
            event.outcome.clone().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_screen_says_what_where_and_why() {
        let release = |c: &str| json!({"release": "ab".repeat(32), "commit": c.repeat(40)});
        let fleet = json!({
            "name": "retail", "observed": "2".repeat(40), "accepted": "1".repeat(40), "state": "rollingOut",
            "reason": "1 of 3 converged", "needs": ["approve"], "counts": {}, "failures": [],
        });
        let target = json!({
            "name": "edge-001", "fleet": "retail", "status": "waiting",
            "reason": "waits for its turn: 1 of at most 1 clusters are at work",
            "why": {"kind": "turn", "in_flight": 1, "limit": 1},
            "wanted": release("2"), "assigned": release("1"), "converged": release("1"), "base": release("1"),
            "since": "2026-11-23T11:55:00Z", "offline": false, "objects": 3, "kept": [], "drift": ["Deployment shop/web"],
            "breakGlass": ["Deployment shop/web is not healed until 2026-11-23T13:00:00Z, by kubectl-edit"],
        });
        let view: ExplainView = serde_json::from_value(json!({
            "target": "edge-001", "fleets": [{"fleet": fleet, "target": target, "profiles": {
                "converged": [{"profile": "base", "commit": "3".repeat(40), "tag": "base/v1.4.2"},
                    {"profile": "old", "commit": "1".repeat(40)}, {"profile": "web", "commit": "1".repeat(40)}],
                "wanted": [{"profile": "base", "commit": "4".repeat(40), "tag": "v1.5.0"},
                    {"profile": "logs", "commit": "2".repeat(40)}, {"profile": "web", "commit": "1".repeat(40)}]},
                "causes": [
                {"object": "Deployment shop/web", "reason": "pod web-1: container web: ErrImagePull (0 of 1 replica available)"},
                {"object": "Job shop/load", "reason": "0 of 1 completions"}]}],
            "stopped": {"since": "2026-11-23T11:59:00Z", "by": "ann (socket)", "why": "fire"},
            "repository": {"url": "", "branch": "main", "observed": null, "hold": null, "lastFetch": null, "lastError": null},
            "lately": [{"at": "2026-11-23T11:55:00Z", "fleet": "retail", "release": "ab".repeat(32),
                "commit": "1".repeat(40), "outcome": "converged"}],
        }))
        .unwrap();
        let text = text(&view, "2026-11-23T12:00:00Z".parse().unwrap());
        let wanted = "\
Target edge-001
  !             EMERGENCY STOP since 2026-11-23T11:59:00Z by ann (socket): fire; nothing is written to any cluster

Fleet retail
  fleet         rollingOut; observed 2222222, accepted 1111111
                1 of 3 converged
  waits for     fairlead approve retail
  runs          1111111 (release abababa)
  should run    2222222 (release abababa)
  was given     1111111 (release abababa)
  profiles      base v1.4.2 (3333333); should be v1.5.0 (4444444)
                logs 2222222; not there yet
                old 1111111; should be gone
                web 1111111
  status        waiting for 5m
  because       waits for its turn: 1 of at most 1 clusters are at work
  not healthy   Deployment shop/web: pod web-1: container web: ErrImagePull (0 of 1 replica available)
                Job shop/load: 0 of 1 completions
  drifted       Deployment shop/web
  break glass   Deployment shop/web is not healed until 2026-11-23T13:00:00Z, by kubectl-edit

Lately
  AGE   FLEET    COMMIT    OUTCOME
  5m    retail   1111111   converged
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), wanted);
    }
}

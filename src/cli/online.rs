//! Commands that ask the running daemon.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Outcome;
use super::args::{self, Daemon};
use super::client::{Client, ClientError, with_query};
use super::error::CliError;
use super::offline::show_plan;
use super::table::{Cell, Output, Show, Table, Tone, age, clean, print};
use crate::daemon::Settings;
use crate::server::{
    FleetStatus, FleetView, HistoryView, Need, ReleaseView, StatusView, StopView, TargetView,
};
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::name::FleetName;
use fairlead_core::model::revision::ProfileRevision;
use fairlead_core::model::schedule::TimeZoneName;
use fairlead_core::plan::offline::FleetPlan;
use fairlead_core::rollout::TargetStatus;

/// A plan may ask every cluster; the server's own limit for a plan is 300 s.
const PLAN_TIMEOUT: Duration = Duration::from_secs(310);

pub(super) fn client(daemon: &Daemon) -> Result<Client, CliError> {
    match &daemon.server {
        Some(url) => Client::url(url, daemon.token_file.as_deref()).map_err(failed),
        None => {
            let hint = "--config names the daemon's settings file, or --server its address";
            let settings =
                Settings::read(&daemon.config).map_err(|error| CliError::usage(error).hint(hint))?;
            Ok(Client::socket(settings.socket()))
        }
    }
}

pub(super) fn failed(error: ClientError) -> CliError {
    match error.hint() {
        Some(hint) => CliError::outside(error).hint(hint),
        None => CliError::outside(error),
    }
}

pub async fn status(args: args::Status) -> Outcome {
    let client = client(&args.daemon)?;
    if !args.watch {
        let view: StatusView = client.get_json("/api/v1/status").await.map_err(failed)?;
        show_status(&view, args.output)?;
        return Ok(standing(&view, None).into());
    }
    let mut events = client.events().await.map_err(failed)?;
    while let Some(view) = events.next().await.map_err(failed)? {
        show_status(&view, args.output)?;
        if matches!(args.output, Output::Table | Output::Wide) {
            anstream::println!();
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_status(view: &StatusView, output: Output) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    let (now, document) = (Timestamp::now(), !matches!(output, Output::Table | Output::Wide | Output::Name));
    let shown = if document {
        print(&mut out, &Whole(view), output, now)
    } else {
        print(&mut out, &FleetTable(&view.fleets), output, now)
            .and_then(|()| if output == Output::Name { Ok(()) } else { writeln!(out) })
            .and_then(|()| print(&mut out, &TargetTable(&view.targets), output, now))
            .and_then(|()| remarks(view).iter().try_for_each(|remark| writeln!(out, "\n{remark}")))
    };
    shown.and_then(|()| out.flush()).map_err(CliError::outside)
}

/// How what was asked about stands; the exit code of `status` and `rollout status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stands {
    /// As it should be.
    Well,
    /// Nothing is wrong, but a change or a cluster is still on its way.
    OnTheWay,
    /// Something failed, is not healthy, can't be seen, or waits for a person.
    Badly,
}

impl From<Stands> for ExitCode {
    fn from(stands: Stands) -> Self {
        match stands {
            Stands::Well => Self::SUCCESS,
            Stands::OnTheWay => Self::from(4),
            Stands::Badly => Self::from(1),
        }
    }
}

/// How everything stands, or one fleet. What is not known is not well.
pub(super) fn standing(view: &StatusView, fleet: Option<&FleetName>) -> Stands {
    let asked = |name: &FleetName| fleet.is_none_or(|fleet| fleet == name);
    let repository = view.repository.hold.is_some() || view.repository.last_error.is_some();
    let mistakes = fleet.is_none() && view.diagnostics.iter().any(Diagnostic::is_error);
    if !view.not_ready.is_empty() || view.stopped.is_some() || repository || mistakes {
        return Stands::Badly;
    }
    let fleets = view.fleets.iter().filter(|fleet| asked(&fleet.name)).map(|fleet| match fleet.state {
        _ if !fleet.needs.is_empty() => Stands::Badly,
        FleetStatus::Converged => Stands::Well,
        FleetStatus::RollingOut => Stands::OnTheWay,
        FleetStatus::Degraded
        | FleetStatus::Returning
        | FleetStatus::Failed
        | FleetStatus::Held
        | FleetStatus::Paused
        | FleetStatus::Unknown => Stands::Badly,
    });
    let targets =
        view.targets.iter().filter(|target| asked(&target.fleet)).map(|target| match target.status {
            TargetStatus::Converged if target.drift.is_empty() => Stands::Well,
            // Git says so.
            TargetStatus::Suspended => Stands::Well,
            TargetStatus::Progressing | TargetStatus::Waiting | TargetStatus::Leaving => Stands::OnTheWay,
            TargetStatus::Converged
            | TargetStatus::Stalled
            | TargetStatus::Held
            | TargetStatus::Unhealthy
            | TargetStatus::Failed
            | TargetStatus::Returning
            | TargetStatus::Quarantined
            | TargetStatus::Offline
            | TargetStatus::Unknown => Stands::Badly,
        });
    fleets.chain(targets).max().unwrap_or(Stands::Well)
}

/// What the tables don't say.
fn remarks(view: &StatusView) -> Vec<String> {
    let mut remarks: Vec<_> =
        view.not_ready.iter().map(|reason| format!("not ready: {}", reason.message)).collect();
    if let Some(stop) = &view.stopped {
        remarks.push(format!("{}; 'fairlead resume' ends it", stopped(stop)));
    }
    let needs = view.fleets.iter().flat_map(|fleet| fleet.needs.iter().map(move |need| (fleet, *need)));
    remarks.extend(
        needs.map(|(fleet, need)| format!("fleet {} waits for: {}", fleet.name, word(need, &fleet.name))),
    );
    remarks.extend(view.repository.hold.iter().map(|hold| format!("the repository holds: {hold}")));
    remarks.extend(
        view.repository.last_error.iter().map(|error| format!("the repository can't be read: {error}")),
    );
    let wrong = view.diagnostics.iter().filter(|finding| finding.is_error());
    remarks.extend(wrong.take(10).map(ToString::to_string));
    remarks.iter().map(|remark| clean(remark)).collect()
}

pub(super) fn stopped(stop: &StopView) -> String {
    format!(
        "EMERGENCY STOP since {} by {}: {}; nothing is written to any cluster",
        stop.since, stop.by, stop.why
    )
}

/// The command that a fleet waits for.
pub(super) fn word(need: Need, fleet: &FleetName) -> String {
    match need {
        Need::Accept => format!("fairlead accept {fleet}"),
        Need::Approve => format!("fairlead approve {fleet}"),
        Need::Resume => format!("fairlead resume {fleet}"),
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Whole<'a>(&'a StatusView);
#[derive(Serialize)]
#[serde(transparent)]
struct FleetTable<'a>(&'a [FleetView]);
#[derive(Serialize)]
#[serde(transparent)]
struct TargetTable<'a>(&'a [TargetView]);
#[derive(Serialize)]
#[serde(transparent)]
struct Events(Vec<HistoryView>);

impl Show for Whole<'_> {
    fn table(&self, now: Timestamp) -> Table {
        TargetTable(&self.0.targets).table(now)
    }
    fn names(&self) -> Vec<String> {
        TargetTable(&self.0.targets).names()
    }
}

impl Show for FleetTable<'_> {
    fn table(&self, _: Timestamp) -> Table {
        let mut table = Table::new(&["fleet", "state", "converged", "observed", "accepted", "reason"]);
        for fleet in self.0 {
            let converged = fleet.counts.get(&TargetStatus::Converged).copied().unwrap_or_default();
            let all: usize = fleet.counts.values().sum();
            table.row([
                fleet.name.to_string().into(),
                Cell::new(fleet.state.as_str(), fleet_tone(fleet.state)),
                format!("{converged}/{all}").into(),
                Cell::or_none(fleet.observed.map(|commit| commit.short())),
                Cell::or_none(fleet.accepted.map(|commit| commit.short())),
                fleet.reason.clone().unwrap_or_default().into(),
            ]);
        }
        table
    }
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|fleet| format!("fleet/{}", fleet.name)).collect()
    }
}

impl Show for TargetTable<'_> {
    fn table(&self, now: Timestamp) -> Table {
        let columns = ["target", "fleet", "status", "assigned", "converged", "since", "reason"];
        let mut table = Table::new(&columns).wide(&["base", "objects", "drift", "break glass"]);
        let commit =
            |release: &Option<ReleaseView>| Cell::or_none(release.as_ref().map(|r| r.commit.short()));
        for target in self.0 {
            table.row([
                target.name.to_string().into(),
                target.fleet.to_string().into(),
                Cell::new(target.status.as_str(), target_tone(target.status)),
                commit(&target.assigned),
                commit(&target.converged),
                Cell::or_none(target.since.map(|since| age(since, now))),
                target.reason.clone().unwrap_or_default().into(),
                commit(&target.base),
                target.objects.to_string().into(),
                target.drift.join(", ").into(),
                target.break_glass.join(", ").into(),
            ]);
        }
        table
    }
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|target| format!("target/{}", target.name)).collect()
    }
}

impl Show for Events {
    fn table(&self, now: Timestamp) -> Table {
        let mut table =
            Table::new(&["age", "fleet", "commit", "profiles", "release", "outcome"]).wide(&["time"]);
        for event in &self.0 {
            table.row([
                age(event.at, now).into(),
                event.fleet.to_string().into(),
                event.commit.short().into(),
                versions(&event.profiles).into(),
                event.release.short().into(),
                event.outcome.clone().into(),
                event.at.to_string().into(),
            ]);
        }
        table
    }
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|event| event.release.to_string()).collect()
    }
}

/// `base v1.4.2, web 1111111`: a tag says more than its commit.
fn versions(profiles: &[ProfileRevision]) -> String {
    let shown = |one: &ProfileRevision| {
        format!("{} {}", one.profile, one.short_tag().map_or_else(|| one.commit.short(), str::to_owned))
    };
    profiles.iter().map(shown).collect::<Vec<_>>().join(", ")
}

pub(super) fn next_window(opens: Timestamp) -> String {
    format!("the next window opens {}", TimeZoneName::utc().shown(opens))
}

pub(super) fn fleet_tone(state: FleetStatus) -> Tone {
    match state {
        FleetStatus::Converged => Tone::Good,
        FleetStatus::RollingOut | FleetStatus::Paused => Tone::Busy,
        FleetStatus::Returning | FleetStatus::Failed | FleetStatus::Held | FleetStatus::Degraded => Tone::Bad,
        FleetStatus::Unknown => Tone::Faint,
    }
}

pub(super) fn target_tone(status: TargetStatus) -> Tone {
    match status {
        TargetStatus::Converged => Tone::Good,
        TargetStatus::Progressing | TargetStatus::Waiting | TargetStatus::Stalled | TargetStatus::Leaving => {
            Tone::Busy
        }
        TargetStatus::Held
        | TargetStatus::Failed
        | TargetStatus::Quarantined
        | TargetStatus::Returning
        | TargetStatus::Unhealthy => Tone::Bad,
        TargetStatus::Offline | TargetStatus::Suspended | TargetStatus::Unknown => Tone::Faint,
    }
}

pub async fn history(args: args::History) -> Outcome {
    let path = format!("/api/v1/targets/{}/history", args.target);
    let events: Vec<HistoryView> = client(&args.daemon)?.get_json(&path).await.map_err(failed)?;
    let mut out = anstream::stdout().lock();
    print(&mut out, &Events(events), args.output, Timestamp::now()).map_err(CliError::outside)?;
    Ok(ExitCode::SUCCESS)
}

pub async fn plan_live(args: args::Plan) -> Outcome {
    let query = [("live", Some("true")), ("to", args.to.as_deref())];
    let client = client(&args.daemon)?.timeout(PLAN_TIMEOUT);
    let mut plan: FleetPlan = client.get_json(&with_query("/api/v1/plan", &query)).await.map_err(failed)?;
    plan.keep_targets(&args.target);
    show_plan(&plan, args.output)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(fleet: &str, needs: &[&str], targets: &[&str]) -> StatusView {
        let mut counts = serde_json::Map::new();
        for status in targets {
            let count = counts.get(*status).and_then(serde_json::Value::as_u64).unwrap_or_default();
            counts.insert((*status).to_owned(), json!(count + 1));
        }
        let fleets = json!([{"name": "retail", "observed": null, "accepted": null, "state": fleet, "reason": null,
            "needs": needs, "counts": counts, "failures": []}]);
        let targets = targets.iter().enumerate().map(|(number, status)| {
            json!({"name": format!("edge-{number}"), "fleet": "retail", "status": status, "reason": null,
                "why": {"kind": "converged"}, "wanted": null, "assigned": null, "converged": null, "base": null,
                "since": null, "offline": false, "objects": 0, "kept": [], "drift": [], "breakGlass": []})
        });
        let repository = json!({"url": "", "branch": "main", "observed": null, "hold": null, "lastFetch": null,
            "lastError": null});
        serde_json::from_value(json!({"version": 1, "instance": "default", "daemon": "", "notReady": [],
            "stopped": null, "repository": repository, "fleets": fleets, "diagnostics": [],
            "targets": targets.collect::<Vec<_>>()}))
        .unwrap()
    }

    #[test]
    fn the_exit_code_is_as_good_as_the_worst() {
        use Stands::{Badly, OnTheWay, Well};
        for (fleet, needs, targets, wanted) in [
            ("converged", &[][..], &["converged", "converged"][..], Well),
            ("converged", &[], &["converged", "suspended"], Well),
            ("converged", &[], &[], Well),
            ("rollingOut", &[], &["progressing", "converged"], OnTheWay),
            ("rollingOut", &[], &["waiting", "converged"], OnTheWay),
            ("rollingOut", &[], &["leaving"], OnTheWay),
            ("rollingOut", &[], &["progressing", "held"], Badly),
            ("rollingOut", &[], &["progressing", "failed"], Badly),
            ("rollingOut", &[], &["stalled"], Badly),
            ("rollingOut", &["approve"], &["waiting"], Badly),
            ("degraded", &[], &["unhealthy"], Badly),
            ("degraded", &[], &["converged", "offline"], Badly),
            ("held", &[], &["held"], Badly),
            ("paused", &["resume"], &["converged"], Badly),
            ("returning", &[], &["returning"], Badly),
            ("failed", &[], &["quarantined"], Badly),
            ("unknown", &[], &["unknown"], Badly),
        ] {
            let view = view(fleet, needs, targets);
            assert_eq!(standing(&view, None), wanted, "{fleet} {needs:?} {targets:?}");
            assert_eq!(standing(&view, Some(&"retail".parse().unwrap())), wanted);
        }
    }

    #[test]
    fn what_is_not_known_is_not_well() {
        let good = view("converged", &[], &["converged"]);
        let mut failed = good.clone();
        failed.repository.last_error = Some("no route to host".to_owned());
        let mut held = good.clone();
        held.repository.hold = Some("history was rewritten".to_owned());
        let mut drifted = good.clone();
        drifted.targets[0].drift = vec!["Deployment shop/web".to_owned()];
        for view in [failed, held, drifted] {
            assert_eq!(standing(&view, None), Stands::Badly);
        }
    }

    #[test]
    fn a_fleet_s_row_counts_what_its_targets_say() {
        let view = view("degraded", &[], &["converged", "unhealthy"]);
        let table = FleetTable(&view.fleets).table(Timestamp::UNIX_EPOCH).render(false);
        assert!(table.contains("degraded") && table.contains("1/2"), "{table}");
    }
}

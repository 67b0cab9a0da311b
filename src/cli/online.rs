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
use crate::model::name::FleetName;
use crate::model::schedule::TimeZoneName;
use crate::plan::offline::FleetPlan;
use crate::rollout::TargetStatus;
use crate::server::{
    FleetStatus, FleetView, HistoryView, Need, ReleaseView, StatusView, StopView, TargetView,
};

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
        return Ok(ExitCode::SUCCESS);
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
        let mut table = Table::new(&["age", "fleet", "commit", "release", "outcome"]).wide(&["time"]);
        for event in &self.0 {
            table.row([
                age(event.at, now).into(),
                event.fleet.to_string().into(),
                event.commit.short().into(),
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

pub(super) fn next_window(opens: Timestamp) -> String {
    format!("the next window opens {}", TimeZoneName::utc().shown(opens))
}

pub(super) fn fleet_tone(state: FleetStatus) -> Tone {
    match state {
        FleetStatus::Converged => Tone::Good,
        FleetStatus::RollingOut | FleetStatus::Paused => Tone::Busy,
        FleetStatus::Returning | FleetStatus::Failed | FleetStatus::Held => Tone::Bad,
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

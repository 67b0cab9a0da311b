//! How a fleet's rollouts stand and stood, and what people did.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use super::Outcome;
use super::args;
use super::client::with_query;
use super::error::CliError;
use super::online::{client, failed, fleet_tone, next_window, stopped, target_tone, word};
use super::table::{Cell, Output, Show, Table, age, clean, print};
use crate::server::{AuditView, FleetView, RolloutView, StatusView, StopView, TargetView};
use fairlead_core::model::name::TargetName;
use fairlead_core::rollout::{TargetStatus, WaveReport};

/// Targets that a row names.
const NAMED: usize = 3;

pub async fn rollout(args: args::Rollout) -> Outcome {
    match args {
        args::Rollout::Status(args) => status(args).await,
        args::Rollout::History(args) => {
            let path = format!("/api/v1/fleets/{}/rollouts", args.fleet);
            let rollouts: Vec<RolloutView> = client(&args.daemon)?.get_json(&path).await.map_err(failed)?;
            show(&Rollouts(rollouts), args.output)
        }
    }
}

pub async fn audit(args: args::Audit) -> Outcome {
    let of_fleet = args.fleet.map(|fleet| format!("fleet/{fleet}"));
    let subject = of_fleet.or_else(|| args.target.map(|target| format!("target/{target}")));
    let limit = args.limit.to_string();
    let query = [("subject", subject.as_deref()), ("limit", Some(limit.as_str()))];
    let path = with_query("/api/v1/audit", &query);
    let entries: Vec<AuditView> = client(&args.daemon)?.get_json(&path).await.map_err(failed)?;
    show(&Entries(entries), args.output)
}

fn show(value: &impl Show, output: Output) -> Outcome {
    let mut out = anstream::stdout().lock();
    print(&mut out, value, output, Timestamp::now()).map_err(CliError::outside)?;
    Ok(ExitCode::SUCCESS)
}

async fn status(args: args::FleetQuestion) -> Outcome {
    let client = client(&args.daemon)?;
    // The fleet first: a name that is none is refused with the daemon's words.
    let fleet: FleetView =
        client.get_json(&format!("/api/v1/fleets/{}", args.fleet)).await.map_err(failed)?;
    let view: StatusView = client.get_json("/api/v1/status").await.map_err(failed)?;
    let stands = super::online::standing(&view, Some(&args.fleet));
    let targets = view.targets.into_iter().filter(|target| target.fleet == args.fleet).collect();
    let standing = Standing { fleet, stopped: view.stopped, targets };
    let mut out = anstream::stdout().lock();
    if matches!(args.output, Output::Table | Output::Wide) {
        out.write_all(head(&standing).as_bytes()).map_err(CliError::outside)?;
    }
    print(&mut out, &standing, args.output, Timestamp::now()).map_err(CliError::outside)?;
    Ok(stands.into())
}

/// One fleet and its targets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    stopped: Option<StopView>,
    fleet: FleetView,
    targets: Vec<TargetView>,
}

fn head(standing: &Standing) -> String {
    let fleet = &standing.fleet;
    let short = |commit: Option<fairlead_core::model::digest::CommitId>| {
        commit.map_or("none".to_owned(), |c| c.short())
    };
    let state = Cell::new(fleet.state.as_str(), fleet_tone(fleet.state)).styled();
    let mut lines = vec![format!(
        "Fleet {}: {state}; observed {}, accepted {}",
        fleet.name,
        short(fleet.observed),
        short(fleet.accepted)
    )];
    lines.extend(standing.stopped.iter().map(stopped));
    lines.extend(fleet.reason.clone());
    lines.extend(fleet.needs.iter().map(|need| format!("waits for: {}", word(*need, &fleet.name))));
    lines.extend(fleet.next_window.map(next_window));
    let lines: Vec<_> =
        lines.into_iter().enumerate().map(|(n, l)| if n == 0 { l } else { clean(&l) }).collect();
    let waves = if fleet.waves.len() > 1 {
        format!("{}\n", waves(&fleet.waves).render(false))
    } else {
        String::new()
    };
    format!("{}\n\n{waves}", lines.join("\n"))
}

fn waves(waves: &[WaveReport]) -> Table {
    let mut table =
        Table::new(&["wave", "affected", "at work", "converged", "baked", "failed", "away", "standing"]);
    for wave in waves {
        table.row([
            wave.name.to_string().into(),
            wave.affected.to_string().into(),
            format!("{} of {}", wave.at_work, wave.limit).into(),
            wave.converged.to_string().into(),
            wave.baked.to_string().into(),
            wave.failed.to_string().into(),
            wave.away.to_string().into(),
            wave.standing.to_string().into(),
        ]);
    }
    table
}

impl Show for Standing {
    /// Targets that stand alike in one row.
    fn table(&self, now: Timestamp) -> Table {
        let mut groups: BTreeMap<(TargetStatus, Option<&str>), Vec<&TargetView>> = BTreeMap::new();
        for target in &self.targets {
            groups.entry((target.status, target.reason.as_deref())).or_default().push(target);
        }
        let mut table = Table::new(&["targets", "status", "since", "names", "reason"]);
        for ((status, reason), targets) in groups {
            let since = targets.iter().filter_map(|target| target.since).min();
            table.row([
                targets.len().to_string().into(),
                Cell::new(status.as_str(), target_tone(status)),
                Cell::or_none(since.map(|since| age(since, now))),
                names(targets.iter().map(|target| &target.name)).into(),
                reason.unwrap_or_default().into(),
            ]);
        }
        table
    }

    fn names(&self) -> Vec<String> {
        self.targets.iter().map(|target| format!("target/{}", target.name)).collect()
    }
}

/// `edge-001, edge-002, edge-003 and 4 more`.
fn names<'a>(targets: impl ExactSizeIterator<Item = &'a TargetName>) -> String {
    let more = targets.len().saturating_sub(NAMED);
    let named: Vec<_> = targets.take(NAMED).map(TargetName::as_str).collect();
    if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rollouts(Vec<RolloutView>);

impl Show for Rollouts {
    fn table(&self, now: Timestamp) -> Table {
        let mut table =
            Table::new(&["commit", "state", "began", "changed", "said"]).wide(&["source", "time"]);
        for rollout in &self.0 {
            table.row([
                rollout.commit.short().into(),
                rollout.state.clone().into(),
                age(rollout.began, now).into(),
                age(rollout.changed, now).into(),
                rollout.description.clone().into(),
                rollout.source.to_string().into(),
                rollout.began.to_string().into(),
            ]);
        }
        table
    }
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|rollout| rollout.commit.to_string()).collect()
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Entries(Vec<AuditView>);

impl Show for Entries {
    fn table(&self, now: Timestamp) -> Table {
        let columns = ["age", "who", "did", "to", "why"];
        let mut table = Table::new(&columns).wide(&["via", "time", "outcome"]);
        for entry in &self.0 {
            table.row([
                age(entry.at, now).into(),
                entry.who.clone().into(),
                entry.what.clone().into(),
                entry.subject.clone().into(),
                entry.why.clone().into(),
                entry.via.clone().into(),
                entry.at.to_string().into(),
                entry.outcome.clone().into(),
            ]);
        }
        table
    }
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|entry| format!("{} {}", entry.what, entry.subject)).collect()
    }
}

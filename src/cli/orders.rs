//! Commands by which a person acts on the running daemon.

use std::process::ExitCode;

use serde::Serialize;

use super::Outcome;
use super::args::{self, Daemon};
use super::client::ClientError;
use super::error::CliError;
use super::online::{client, failed};
use crate::server::{AcceptBody, ApproveBody, Done, Need, ReasonBody, StatusView, TargetBody};
use fairlead_core::model::name::FleetName;

pub async fn accept(args: args::Accept) -> Outcome {
    let client = client(&args.daemon)?;
    let fleets: Vec<FleetName> = match args.fleet {
        Some(fleet) => vec![fleet],
        None => {
            let view: StatusView = client.get_json("/api/v1/status").await.map_err(failed)?;
            let held = view.fleets.into_iter().filter(|fleet| fleet.needs.contains(&Need::Accept));
            held.map(|fleet| fleet.name).collect()
        }
    };
    if fleets.is_empty() {
        anstream::println!("no revision is held");
    }
    for fleet in fleets {
        let body = AcceptBody { commit: None, reason: args.why.text() };
        say(client.post_json(&format!("/api/v1/fleets/{fleet}/accept"), &body).await)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn approve(args: args::Approve) -> Outcome {
    let body = ApproveBody { reason: args.why.text(), wave: args.wave };
    order(&args.daemon, &format!("fleets/{}/approve", args.fleet), &body).await
}

pub async fn pause(args: args::FleetCommand) -> Outcome {
    fleet_command(args, "pause").await
}

pub async fn retry(args: args::FleetCommand) -> Outcome {
    fleet_command(args, "retry").await
}

pub async fn resume(args: args::Resume) -> Outcome {
    let path = match &args.fleet {
        Some(fleet) => format!("fleets/{fleet}/resume"),
        None => "resume".to_owned(),
    };
    order(&args.daemon, &path, &ReasonBody { reason: args.why.text() }).await
}

pub async fn stop(args: args::Stop) -> Outcome {
    order(&args.daemon, "stop", &ReasonBody { reason: args.why.text() }).await.map_err(|error| {
        error.hint(
            "when the API is down, make the file `stop` in the daemon's state folder: that stops every write",
        )
    })
}

pub async fn adopt(args: args::TargetCommand) -> Outcome {
    target_command(args, "adopt").await
}

pub async fn leave(args: args::TargetCommand) -> Outcome {
    target_command(args, "leave").await
}

pub async fn sync(args: args::Sync) -> Outcome {
    order(&args.daemon, "sync", &ReasonBody { reason: args.why.text() }).await
}

async fn fleet_command(args: args::FleetCommand, verb: &str) -> Outcome {
    let body = ReasonBody { reason: args.why.text() };
    order(&args.daemon, &format!("fleets/{}/{verb}", args.fleet), &body).await
}

async fn target_command(args: args::TargetCommand, verb: &str) -> Outcome {
    let body = TargetBody { fleet: args.fleet, reason: args.why.text() };
    order(&args.daemon, &format!("targets/{}/{verb}", args.target), &body).await
}

async fn order(daemon: &Daemon, path: &str, body: &impl Serialize) -> Outcome {
    say(client(daemon)?.post_json(&format!("/api/v1/{path}"), body).await)
}

fn say(done: Result<Done, ClientError>) -> Outcome {
    anstream::println!("{}", done.map_err(failed)?.message);
    Ok::<_, CliError>(ExitCode::SUCCESS)
}

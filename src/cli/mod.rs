//! Commands and printing.
//!
//! In: the command line. Out: text on standard output, diagnostics and errors on standard error, an exit
//! code (0 done, 1 findings, 2 wrong usage, 3 something outside failed). Guarantees: commands hold no logic
//! that another room could hold. IO: terminal.
#![allow(clippy::disallowed_methods, reason = "the edge of the program: reads the clock and the environment")]

mod args;
pub mod client;
mod demo;
mod error;
mod examples;
mod explain;
mod forge;
mod offline;
mod online;
mod orders;
mod pin;
mod rollback;
mod rollouts;
mod sim;
pub mod table;
mod webhook;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Color, Command, LogFormat};
use error::CliError;

use crate::daemon::{self, LogLines, Settings};

type Outcome = Result<ExitCode, CliError>;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("{error}");
            error.exit_code()
        }
    }
}

fn dispatch(command: Command) -> Outcome {
    match command {
        Command::Demo(args) => demo::demo(&args),
        Command::Validate(args) => offline::validate(&args),
        Command::Render(args) => offline::render(&args),
        Command::Plan(args) if args.live => block_on(online::plan_live(args)),
        Command::Plan(args) => offline::plan(&args),
        Command::Schema(args) => offline::schema(&args),
        Command::Completion(args) => completion(&args),
        Command::CheckPull => {
            daemon::answer_check().map_err(CliError::outside)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Rollback(args) => rollback::rollback(&args),
        Command::Webhook(args) => webhook::webhook(&args),
        Command::Run(args) => run(&args),
        Command::Sim(args) => simulate(&args),
        Command::Status(args) => block_on(online::status(args)),
        Command::History(args) => block_on(online::history(args)),
        Command::Explain(args) => block_on(explain::explain(args)),
        Command::Rollout(args) => block_on(rollouts::rollout(args)),
        Command::Audit(args) => block_on(rollouts::audit(args)),
        Command::Accept(args) => block_on(orders::accept(args)),
        Command::Approve(args) => block_on(orders::approve(args)),
        Command::Pause(args) => block_on(orders::pause(args)),
        Command::Resume(args) => block_on(orders::resume(args)),
        Command::Stop(args) => block_on(orders::stop(args)),
        Command::Retry(args) => block_on(orders::retry(args)),
        Command::Adopt(args) => block_on(orders::adopt(args)),
        Command::Leave(args) => block_on(orders::leave(args)),
        Command::Sync(args) => block_on(orders::sync(args)),
    }
}

/// The script goes out whole or not at all: a pipe that is closed early is no failure.
fn completion(args: &args::Completion) -> Outcome {
    let mut script = Vec::new();
    // What is hidden is of no use to people; the generator would offer it.
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut shown = clap::Command::new("fairlead")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args(all.get_arguments().cloned())
        .subcommands(shown);
    clap_complete::generate(args.shell, &mut shown, "fairlead", &mut script);
    match std::io::Write::write_all(&mut std::io::stdout(), &script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::outside(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CliError::outside)?.block_on(work)
}

fn simulate(args: &args::Sim) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(CliError::outside)?.block_on(sim::sim(args))
}

fn run(args: &args::Run) -> Outcome {
    crate::files::allow_many_open();
    let format = match args.log_format {
        LogFormat::Text => LogLines::Text,
        LogFormat::Json => LogLines::Json,
    };
    daemon::log_lines(format, &args.log).map_err(CliError::usage)?;
    let settings = Settings::read(&args.config).map_err(CliError::usage)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::outside)?;
    let result = runtime.block_on(daemon::run(settings));
    // A fetch that hangs on a dead server must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result.map_err(CliError::outside)?;
    Ok(ExitCode::SUCCESS)
}

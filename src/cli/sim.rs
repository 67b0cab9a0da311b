//! `fairlead sim`: simulated clusters for clients outside this process.

use std::path::Path;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use super::args::Sim;
use super::error::CliError;
use super::{LogLines, Outcome};
use crate::files;
use fairlead_sim::faults::{Fault, Rule, Script};
use fairlead_sim::serve::Served;
use fairlead_sim::{Clock, Fleet, SimSettings};

/// File descriptors beside one for each cluster's connection, and a second for those with many watches.
const SPARE: u64 = 64;

/// Serves until a signal.
pub async fn sim(args: &Sim) -> Outcome {
    crate::daemon::log_lines(LogLines::Text, &args.log).map_err(CliError::usage)?;
    let mut rules = match &args.faults {
        Some(path) => read(path)?.rules,
        None => Vec::new(),
    };
    rules.extend(args.latency.map(|wait| Rule { wait: Some(wait), ..Rule::new(Fault::Latency) }));
    let wanted = u64::from(args.clusters) + SPARE;
    if let Some(allowed) = files::allow_many_open().filter(|allowed| *allowed < wanted) {
        let text = format!("{} clusters need {wanted} open files, and {allowed} are allowed", args.clusters);
        return Err(CliError::usage(text).hint("raise the limit: ulimit -n"));
    }
    let settings =
        SimSettings { ready_after: args.ready_after.get(), seed: args.seed, ..SimSettings::default() };
    let fleet = Fleet::new(settings, Clock::given(jiff::Timestamp::now));
    let names = names(args.clusters);
    let place = (args.listen, args.dir.as_path());
    let served = Served::start(fleet, &names, &rules, args.seed, place).await.map_err(CliError::outside)?;
    let cancel = CancellationToken::new();
    crate::daemon::cancel_on_signal(cancel.clone()).map_err(CliError::outside)?;
    let (first, last) = (names.first().map_or("", |n| n), names.last().map_or("", |n| n));
    anstream::println!(
        "{} simulated clusters, {first} to {last}, at https://{}",
        names.len(),
        served.address()
    );
    anstream::println!("kubeconfigs: {}", args.dir.display());
    anstream::println!("Ctrl-C ends");
    served.run(cancel).await;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Script, CliError> {
    let bytes = std::fs::read(path)
        .map_err(|error| CliError::usage(format!("cannot read {}: {error}", path.display())))?;
    Script::parse(&path.display().to_string(), &bytes).map_err(CliError::usage)
}

/// As in the example: edge-001 and on.
fn names(count: u32) -> Vec<String> {
    let width = count.to_string().len().max(3);
    (1..=count).map(|number| format!("edge-{number:0width$}")).collect()
}

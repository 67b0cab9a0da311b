//! The long fault marathon: `cargo bench --bench fairlead-soak -- --minutes 10 [--seed N]`.
//!
//! 49 simulated clusters and a hostile API server, the real daemon as a process, and at random from the seed: commits, reverts, pins, faults,
//! kills and restarts, with what every cluster should hold checked after each step. Marathons of about three minutes
//! follow each other, each with a seed of its own, so that one that fails is quickly run again. A failure prints the
//! history, and the seed that brings it back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a marathon may fail loudly, and looks at the clock"
)]

#[path = "../tests/soak/mod.rs"]
mod marathon;
#[path = "../tests/it/world/mod.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use marathon::measure::Times;
use marathon::{Options, run};

/// Longest marathon of one seed.
const LEG: Duration = Duration::from_secs(180);

/// Runs the real daemon over simulated clusters through faults, and checks that it keeps its promises.
#[derive(Parser)]
struct Args {
    /// How long, over as many seeds as it takes; default: one seed.
    #[arg(long)]
    minutes: Option<u64>,
    /// The first seed; default: at random.
    #[arg(long)]
    seed: Option<u64>,
    /// So many steps of one seed instead of a time.
    #[arg(long, conflicts_with = "minutes")]
    steps: Option<usize>,
    #[arg(long, default_value_t = 49)]
    clusters: usize,
    /// Without the cluster whose API server is hostile.
    #[arg(long)]
    no_hostile: bool,
    /// Also faults that take minutes to be found out: half-open connections, watches that fall silent.
    #[arg(long)]
    slow: bool,
    /// Goes on with the next seed after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Another build of the daemon than the one that is built with this.
    #[arg(long, value_name = "PROGRAM")]
    daemon: Option<PathBuf>,
    /// Says nothing of single steps.
    #[arg(long)]
    quiet: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (began, mut failures) = (Instant::now(), 0);
    let (mut times, mut memory) = (Times::default(), 0);
    let whole = Duration::from_secs(args.minutes.map_or(LEG.as_secs(), |minutes| minutes * 60));
    let mut seed = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    loop {
        println!("seed {seed}");
        let (clusters, steps, slow, daemon) = (args.clusters, args.steps, args.slow, args.daemon.clone());
        let length = LEG.min(whole.saturating_sub(began.elapsed()));
        let (loud, hostile) = (!args.quiet, !args.no_hostile);
        match run(Options { clusters, seed, steps, length, slow, loud, hostile, daemon }) {
            Ok(done) => {
                times.extend(&done.settled);
                memory = memory.max(done.memory);
                println!("seed {seed} held: {done:?}");
            }
            Err(failure) => {
                failures += 1;
                println!("seed {seed} FAILED: {failure}");
            }
        }
        let over = args.steps.is_some() || began.elapsed() >= whole;
        if over || (failures > 0 && !args.keep_going) {
            break;
        }
        seed += 1;
    }
    println!("from push until settled (median, p99, longest): {times:?}; most memory: {memory} MiB");
    println!("{failures} failures in {:.1} minutes", began.elapsed().as_secs_f64() / 60.0);
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

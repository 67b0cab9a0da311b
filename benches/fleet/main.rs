//! The fleet benchmark: the real daemon, in a process of its own, on simulated clusters in this one; and, where asked
//! for, the main job on a real API server. One table, one file of figures.
//!
//! `cargo bench --bench fleet [-- --quick] [--only f1,f2,...] [--clusters N] [--json FILE] [--plot FILE]`; what each
//! row means stands in docs/benchmarks.md.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../../tests/it/harness/mod.rs"]
mod harness;

#[path = "../release/compile.rs"]
mod compile;
#[path = "../shared/daemon.rs"]
mod daemon;
#[path = "../shared/figures.rs"]
mod figures;
#[path = "../real/mod.rs"]
mod real;
#[path = "../shared/repository.rs"]
mod repository;

mod change;
mod content;
mod faults;
mod growth;
mod plot;
mod rest;
mod simulation;
mod stream;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use figures::Figures;
use harness::Result;
use real::Extent;
use world::World;

// As in the program itself, so that memory means the same here.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures a fleet of simulated clusters.
#[derive(Parser)]
struct Args {
    /// Fewer runs, pairs and seconds; no fleet of 3,000.
    #[arg(long)]
    quick: bool,
    /// Only these scenarios. Default: all on simulated clusters, and the compiler.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Clusters of a fleet.
    #[arg(long, default_value_t = 1_000)]
    clusters: usize,
    /// Writes the figures, with all samples, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws how time and memory grow (F6) into this file, as SVG.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// S0 to S5 and S7, on a real API server: as `cargo bench --bench main_job`.
    Real,
    /// The compiler.
    S8,
    /// One commit that changes one object in each cluster.
    F1,
    /// The same with dead and slow clusters.
    F2,
    /// A start on clusters that have everything.
    F3,
    /// Nothing to do.
    F4,
    /// A commit each second.
    F5,
    /// F1 for fleets that grow.
    F6,
}

/// How much is measured.
struct Amount {
    runs: usize,
    pairs: usize,
    starts: usize,
    idle: Duration,
    commits: usize,
    sizes: &'static [usize],
}

impl Args {
    fn wants(&self, scenario: Scenario) -> bool {
        match self.only.is_empty() {
            true => scenario != Scenario::Real,
            false => self.only.contains(&scenario),
        }
    }

    fn amount(&self) -> Amount {
        if self.quick {
            return Amount {
                runs: 3,
                pairs: 2,
                starts: 1,
                idle: Duration::from_secs(60),
                commits: 30,
                sizes: &[100, 300, 1_000],
            };
        }
        Amount {
            runs: 5,
            pairs: 10,
            starts: 3,
            idle: Duration::from_secs(300),
            commits: 120,
            sizes: &[100, 300, 1_000, 3_000],
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    // Every cluster is a connection.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let mut figures = Figures::default();
    let measured = Box::pin(measure(&args, &mut figures)).await;
    // What was measured before something failed is worth reading too.
    figures.print();
    if let Some(path) = &args.json {
        figures.write(path)?;
    }
    measured
}

async fn measure(args: &Args, figures: &mut Figures) -> Result<()> {
    use Scenario::{F1, F2, F3, F4, F5, F6, Real, S8};
    let amount = args.amount();
    if args.wants(Real) {
        real::measure(&[], &Extent::of(args.quick), figures).await?;
    }
    if args.wants(S8) {
        compile::measure(figures);
    }
    let mut known = None;
    if [F1, F2, F3, F4, F5].into_iter().any(|scenario| args.wants(scenario)) {
        let (mut world, cold) = World::converged(args.clusters).await?;
        if args.wants(F1) {
            known = Some(change::measure(&mut world, &cold, amount.runs, figures).await?);
        }
        if args.wants(F3) {
            rest::cold_start(&mut world, amount.starts, figures).await?;
        }
        if args.wants(F4) {
            rest::idle(&world, amount.idle, figures).await?;
        }
        if args.wants(F2) {
            faults::measure(&mut world, args.clusters, amount.pairs, figures).await?;
        }
        if args.wants(F5) {
            stream::measure(&mut world, amount.commits, figures).await?;
        }
        world.stop().await?;
    }
    if args.wants(F6) {
        let points = growth::measure(amount.sizes, known, amount.runs, figures).await?;
        if let Some(path) = &args.plot {
            growth::draw(&points, path)?;
        }
    }
    Ok(())
}

//! The main job's numbers: the real daemon, a real API server with controllers, a fleet of one cluster.
//!
//! `cargo bench --bench main_job [-- --quick] [--only apply,requests,push,heal,webhook,memory] [--json FILE]`; what each row
//! means stands in docs/benchmarks.md. Rates and delays are compared only with those of a bare client in the same
//! run, for the machine may have other work.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../../tests/it/harness/mod.rs"]
mod harness;

mod apply;
mod audit;
mod bare;
mod content;
mod daemon;
mod delays;
mod figures;
mod forge;
mod memory;
mod repository;
mod requests;
mod webhook;
mod world;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use harness::{ControlPlane, Options, Result};

use self::bare::Bare;
use self::figures::Figures;
use self::world::World;

/// Measures the main job against a real API server.
#[derive(Parser)]
struct Args {
    /// Two pairs, 30 samples and a minute of idling instead of five, 200 and fifteen.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Writes the figures, with all samples, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A cold apply beside a bare client's.
    Apply,
    /// Requests from the audit log.
    Requests,
    /// From a push to the answer to its PATCH.
    Push,
    /// From a foreign write to the answer to the healing PATCH.
    Heal,
    /// From the arrival of a real Gitea's webhook to the answer to its PATCH.
    Webhook,
    /// The daemon's memory.
    Memory,
}

/// How much is measured.
pub struct Extent {
    pub pairs: usize,
    pub samples: usize,
    pub idle: std::time::Duration,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn extent(&self) -> Extent {
        let minutes = |n: u64| std::time::Duration::from_secs(60 * n);
        if self.quick {
            return Extent { pairs: 2, samples: 30, idle: minutes(1) };
        }
        Extent { pairs: 5, samples: 200, idle: minutes(15) }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    let plane = ControlPlane::start("bench", Options::default()).await?;
    let mut figures = Figures::default();
    let measured = Box::pin(measure(&args, &plane, &mut figures)).await;
    // What was measured before something failed is worth reading too.
    figures.print();
    if let Some(path) = &args.json {
        figures.write(path)?;
    }
    measured
}

async fn measure(args: &Args, plane: &ControlPlane, figures: &mut Figures) -> Result<()> {
    let extent = args.extent();
    let bare = Bare::connect(plane).await?;
    let pairs = if args.wants(Part::Apply) { extent.pairs } else { 0 };
    let mut world = None;
    if pairs > 0 {
        world = apply::measure(plane, &bare, pairs, figures).await?;
    }
    if args.wants(Part::Requests) || args.wants(Part::Push) || args.wants(Part::Heal) {
        let mut world = match world {
            Some(world) => world,
            None => World::converged(plane, "ours").await?,
        };
        if args.wants(Part::Push) {
            delays::push(plane, &bare, &mut world, extent.samples, figures).await?;
        }
        if args.wants(Part::Heal) {
            delays::heal(plane, &bare, &world, extent.samples, figures).await?;
        }
        if args.wants(Part::Requests) {
            requests::measure(plane, &mut world, extent.idle, figures).await?;
        }
    }
    if args.wants(Part::Webhook) {
        webhook::measure(plane, &bare, extent.samples, figures).await?;
    }
    if args.wants(Part::Memory) {
        memory::measure(plane, figures).await?;
    }
    Ok(())
}

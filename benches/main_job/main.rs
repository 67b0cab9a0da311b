//! The main job's numbers: the real daemon, a real API server with controllers, a fleet of one cluster.
//!
//! `cargo bench --bench main_job [-- --quick] [--only apply,requests,push,heal,webhook,memory] [--json FILE]`; what each row
//! means stands in docs/benchmarks.md.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../../tests/it/harness/mod.rs"]
mod harness;

#[path = "../shared/daemon.rs"]
mod daemon;
#[path = "../shared/figures.rs"]
mod figures;
#[path = "../real/mod.rs"]
mod real;
#[path = "../shared/repository.rs"]
mod repository;

use std::path::PathBuf;

use clap::Parser;

use figures::Figures;
use harness::Result;
use real::{Extent, Part};

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

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut figures = Figures::default();
    let measured = Box::pin(real::measure(&args.only, &Extent::of(args.quick), &mut figures)).await;
    // What was measured before something failed is worth reading too.
    figures.print();
    if let Some(path) = &args.json {
        figures.write(path)?;
    }
    measured
}

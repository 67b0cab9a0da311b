//! Starts Kubernetes control planes to play with, until Ctrl-C:
//!
//!     cargo run --example control-plane -- --dir /tmp/fleet --names edge-001,edge-002
//!
//! Their kubeconfigs are `<dir>/kubeconfigs/<name>.yaml`, which is how Fairlead's settings want
//! them. The first time it builds Kubernetes, which takes minutes.

#[path = "../it/harness/mod.rs"]
mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use harness::{Context, ControlPlane, Error, Options, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Starts Kubernetes control planes with a fake node each, until Ctrl-C.
#[derive(Parser)]
struct Args {
    /// Where the folder `kubeconfigs` is made.
    #[arg(long)]
    dir: PathBuf,
    /// How many control planes to start, called edge-001, edge-002 and so on.
    #[arg(long, default_value_t = 2)]
    clusters: usize,
    /// What to call them instead.
    #[arg(long, value_delimiter = ',', conflicts_with = "clusters")]
    names: Vec<String>,
    /// Only etcd and the API server: enough to apply objects, but workloads don't progress.
    #[arg(long)]
    without_controllers: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let kubeconfigs = args.dir.join("kubeconfigs");
    fs::create_dir_all(&kubeconfigs).context(format!("creating {}", kubeconfigs.display()))?;
    tokio::select! {
        served = serve(&args, &kubeconfigs) => served,
        ended = asked_to_end() => ended,
    }
}

/// Control planes live as long as this is polled.
async fn serve(args: &Args, kubeconfigs: &Path) -> Result<()> {
    let mut planes = Vec::new();
    for name in names(args) {
        let options = Options { controllers: !args.without_controllers, ..Options::default() };
        let plane = ControlPlane::start(&name, options).await?;
        let kubeconfig = kubeconfigs.join(format!("{name}.yaml"));
        fs::copy(plane.kubeconfig(), &kubeconfig).context(format!("writing {}", kubeconfig.display()))?;
        println!("{name} is ready: KUBECONFIG={}", kubeconfig.display());
        planes.push(plane);
    }
    println!("{} control planes are ready; Ctrl-C ends them", planes.len());
    std::future::pending().await
}

fn names(args: &Args) -> Vec<String> {
    if args.names.is_empty() {
        return (1..=args.clusters).map(|number| format!("edge-{number:03}")).collect();
    }
    args.names.clone()
}

async fn asked_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Error::from),
        _ = terminate.recv() => Ok(()),
    }
}

//! The daemon's resident memory at 10,000 managed objects, over that of a daemon that manages a namespace.

use std::time::Duration;

use super::content::config_map;
use super::world::{LIMIT, World};
use crate::figures::Figures;
use crate::harness::{ControlPlane, Result};

const OBJECTS: usize = 10_000;
/// In MB.
const GOAL: f64 = 40.0;
/// Until what an event needed is given back.
const SETTLES: Duration = Duration::from_secs(10);

pub async fn measure(plane: &ControlPlane, figures: &mut Figures) -> Result<()> {
    let mut world = World::start(plane, "memory").await?;
    let empty = settled(&world).await?;
    let objects: Vec<_> = (0..OBJECTS).map(|number| config_map("memory", number, "first")).collect();
    let commit = world.commit(&objects)?;
    drop(objects);
    world.repository.push(commit)?;
    world.daemon.converged(commit, LIMIT).await?;
    let applied = settled(&world).await?;
    world.daemon.stop()?;
    world.daemon.start()?;
    world.daemon.converged(commit, LIMIT).await?;
    let restarted = settled(&world).await?;
    figures.add("memory: manages a namespace", "MB", vec![empty]);
    figures
        .add("memory: 10,000 objects more, just applied", "MB over it", vec![applied - empty])
        .at_most(GOAL);
    figures
        .add("memory: 10,000 objects more, after a restart", "MB over it", vec![restarted - empty])
        .at_most(GOAL);
    Ok(())
}

async fn settled(world: &World) -> Result<f64> {
    tokio::time::sleep(SETTLES).await;
    Ok(world.daemon.usage()?.resident as f64 / 1e6)
}

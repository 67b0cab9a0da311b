//! F3: a daemon that starts on clusters that have everything. F4: one that has nothing to do.

use std::time::{Duration, Instant};

use fairlead_sim::faults::Verb;

use crate::change::verbs;
use crate::figures::Figures;
use crate::harness::{Error, Result};
use crate::world::{LIMIT, World};

/// Seconds for 1,000 clusters.
const START: f64 = 20.0;
/// KiB a cluster.
const MEMORY: f64 = 400.0;
/// Percent of a core.
const IDLE: f64 = 1.0;
/// Until the start is over for good.
const SETTLES: Duration = Duration::from_secs(15);

pub async fn cold_start(world: &mut World, runs: usize, figures: &mut Figures) -> Result<()> {
    figures.scenario("F3");
    let clusters = world.names.len();
    let head = world.repository.head().ok_or_else(|| Error::new("nothing was committed"))?;
    let (mut took, mut cpu, mut resident, mut peak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut asked = Vec::new();
    for _ in 0..runs {
        world.daemon.stop()?;
        world.simulation.forget_asked();
        let start = Instant::now();
        world.daemon.start()?;
        watched(world, 6 * clusters).await?;
        world.daemon.converged(head, LIMIT).await?;
        took.push(start.elapsed().as_secs_f64());
        cpu.push(world.daemon.usage()?.cpu.as_secs_f64());
        tokio::time::sleep(SETTLES).await;
        let usage = world.daemon.usage()?;
        resident.push(usage.resident as f64 / 1_024.0 / clusters as f64);
        peak.push(usage.peak as f64 / 1_024.0 / clusters as f64);
        asked.push(world.simulation.asked());
        println!("{clusters} clusters: a start in {:.2} s", took[took.len() - 1]);
    }
    let what = |what: &str| format!("{clusters} clusters, {what}");
    figures
        .add(&what("start to all converged and watched"), "s", took)
        .at_most(START * (clusters as f64 / 1_000.0).max(1.0));
    let patches = asked.iter().map(|asked| asked.of(Verb::Apply) as f64).collect();
    figures.add(&what("PATCHes"), "requests", patches).exactly(0.0);
    let writes = |asked: &crate::simulation::Asked| asked.of(Verb::Update) + asked.of(Verb::Create);
    let writes = asked.iter().map(|asked| writes(asked) as f64).collect();
    figures.add(&what("ledger writes"), "requests", writes).exactly(0.0);
    verbs(&what("requests"), asked.iter(), figures);
    figures.add(&what("the daemon's CPU"), "s", cpu);
    figures.add(&what("memory at rest"), "KiB a cluster", resident).at_most(MEMORY);
    figures.add(&what("peak memory"), "KiB a cluster", peak);
    Ok(())
}

/// Waits until so many watches stand: the daemon believes its store, and says that all have converged before it has
/// looked.
async fn watched(world: &World, watches: usize) -> Result<()> {
    let start = Instant::now();
    while world.simulation.asked().of(Verb::Watch) < watches {
        if start.elapsed() > LIMIT {
            return Err(world.daemon.explained(Error::new("the clusters are not watched")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

pub async fn idle(world: &World, time: Duration, figures: &mut Figures) -> Result<()> {
    figures.scenario("F4");
    tokio::time::sleep(SETTLES).await;
    world.simulation.forget_asked();
    let (before, start) = (world.daemon.usage()?, Instant::now());
    tokio::time::sleep(time).await;
    let (after, took) = (world.daemon.usage()?, start.elapsed());
    let share = 100.0 * (after.cpu.saturating_sub(before.cpu)).as_secs_f64() / took.as_secs_f64();
    let asked = world.simulation.asked();
    let what = |what: &str| format!("{} clusters, idle for {} s: {what}", world.names.len(), time.as_secs());
    figures.add(&what("the daemon's CPU"), "% of a core", vec![share]).at_most(IDLE);
    figures.add(&what("requests but watches"), "requests", vec![asked.requests() as f64]).exactly(0.0);
    figures.add(&what("memory"), "MB", vec![after.resident as f64 / 1e6]);
    Ok(())
}

//! F5: a commit each second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::figures::{Figures, median};
use crate::harness::{Context, Error, Result};
use crate::world::{LIMIT, World};

const EVERY: Duration = Duration::from_secs(1);
/// How much more may wait, or be in memory, in the second half than in the first, in percent.
const GROWTH: f64 = 15.0;

/// What is seen once a second.
#[derive(Default)]
struct Seen {
    /// Commits that were pushed and not yet observed.
    behind: Vec<f64>,
    /// Facts that wait for the engine.
    facts: Vec<f64>,
    /// Megabytes.
    resident: Vec<f64>,
    threads: Vec<f64>,
}

pub async fn measure(world: &mut World, commits: usize, figures: &mut Figures) -> Result<()> {
    figures.scenario("F5");
    let log = world.daemon.log();
    let skip = std::fs::metadata(&log)?.len();
    world.simulation.forget_asked();
    let before = world.usages()?;
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen = Seen::default();
    let mut next = tokio::time::interval(EVERY);
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = None;
    for number in 1..=commits {
        next.tick().await;
        let commit = world.commit()?;
        world.repository.push(commit)?;
        last = Some((commit, Instant::now()));
        numbers.insert(commit.to_string(), number);
        look(world, &numbers, number, &mut seen).await?;
    }
    let (commit, pushed) = last.ok_or_else(|| Error::new("there were no commits"))?;
    world.daemon.converged(commit, LIMIT).await?;
    let took = pushed.elapsed().as_secs_f64();
    let after = world.usages()?;
    let text = std::fs::read(&log).context("reading the daemon's log")?;
    let text = String::from_utf8_lossy(text.get(usize::try_from(skip)?..).unwrap_or_default());
    let assigned = assigned(&text, &numbers);
    report(world, commits, &seen, figures).await?;
    let what = |what: &str| format!("{commits} commits, {what}");
    figures.add(&what("last push to all converged"), "s", vec![took]);
    figures.add(&what("assignments of commits that were superseded"), "", vec![late(&assigned)]).exactly(0.0);
    let rollouts = assigned.windows(2).filter(|pair| pair[0] != pair[1]).count() + 1;
    figures.add(&what("of which rolled out"), "", vec![rollouts as f64]);
    let asked = world.simulation.asked();
    crate::change::verbs(&what("requests"), std::iter::once(&asked), figures);
    let cpu = after.0.cpu.saturating_sub(before.0.cpu).as_secs_f64();
    figures.add(&what("the daemon's CPU"), "s", vec![cpu]);
    Ok(())
}

async fn look(
    world: &World,
    numbers: &BTreeMap<String, usize>,
    pushed: usize,
    seen: &mut Seen,
) -> Result<()> {
    // Just before the next commit.
    tokio::time::sleep(EVERY.mul_f64(0.9)).await;
    let fleet = world.fleet().await?;
    let observed = fleet["observed"].as_str().and_then(|commit| numbers.get(commit)).copied();
    seen.behind.push((pushed - observed.unwrap_or_default()) as f64);
    let metrics = world.daemon.get("/metrics").await?;
    let metrics = String::from_utf8_lossy(&metrics);
    let waiting = metrics.lines().find_map(|line| line.strip_prefix("fairlead_facts_waiting ")?.parse().ok());
    seen.facts.push(waiting.ok_or_else(|| Error::new("the daemon does not say how many facts wait"))?);
    let usage = world.daemon.usage()?;
    seen.resident.push(usage.resident as f64 / 1e6);
    seen.threads.push(usage.threads as f64);
    Ok(())
}

async fn report(world: &World, commits: usize, seen: &Seen, figures: &mut Figures) -> Result<()> {
    let what = |what: &str| format!("{commits} commits, {what}");
    let (early, late) = halves(&seen.behind);
    figures.add(&what("commits not yet read"), "", seen.behind.clone()).at_most(2.0);
    figures.add(&what("commits not yet read, second half over first"), "", vec![late - early]).at_most(1.0);
    figures.add(&what("facts that wait"), "", seen.facts.clone());
    let (early, late) = halves(&seen.facts);
    let room = 10.0 + early * GROWTH / 100.0;
    figures.add(&what("facts that wait, second half over first"), "", vec![late - early]).at_most(room);
    figures.add(&what("memory"), "MB", seen.resident.clone());
    let (early, late) = halves(&seen.resident);
    let grown = 100.0 * (late - early) / early;
    figures.add(&what("memory, second half over first"), "%", vec![grown]).at_most(GROWTH);
    figures.add(&what("threads"), "", seen.threads.clone());
    let newest = world.up_to_date().await?;
    let clusters = world.names.len() as f64;
    figures.add(&what("clusters with the last one"), "", vec![newest as f64]).exactly(clusters);
    Ok(())
}

/// Medians of the two halves, without the first tenth: that is the beginning.
fn halves(samples: &[f64]) -> (f64, f64) {
    let samples = samples.get(samples.len() / 10..).unwrap_or_default();
    let (early, late) = samples.split_at(samples.len() / 2);
    (median(early), median(late))
}

/// The numbers of the commits that were assigned, in the order of the log.
fn assigned(log: &str, numbers: &BTreeMap<String, usize>) -> Vec<usize> {
    let lines = log.lines().filter(|line| line.contains("assigned"));
    let commits = lines.filter_map(|line| {
        let (_, rest) = line.split_once("commit=")?;
        numbers.get(rest.split_whitespace().next()?)
    });
    commits.copied().collect()
}

/// How many assignments are of an older commit than one that was assigned before.
fn late(assigned: &[usize]) -> f64 {
    let mut newest = 0;
    let late = assigned.iter().filter(|number| {
        newest = newest.max(**number);
        **number < newest
    });
    late.count() as f64
}

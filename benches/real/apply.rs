//! A cold apply of the release beside a bare client's, in pairs.

use jiff::Timestamp;

use super::audit::{Entry, Tail, seconds};
use super::bare::Bare;
use super::content;
use super::world::{LIMIT, World};
use crate::figures::Figures;
use crate::harness::{ControlPlane, Error, Result};

/// Of R, in percent.
const GOAL: f64 = 85.0;

/// One cold apply by the daemon.
struct Cold {
    /// Objects a second from the first PATCH to the last answer.
    patches: f64,
    /// The same from the first request for the intent in the ledger.
    whole: f64,
    /// Seconds from the push to the first PATCH, and to the result.
    begins: f64,
    converges: f64,
}

/// Pairs in the order A B, B A, A B and so on; gives back the last world.
pub async fn measure(
    plane: &ControlPlane,
    bare: &Bare,
    pairs: usize,
    figures: &mut Figures,
) -> Result<Option<World>> {
    let (mut ours, mut theirs, mut last) = (Vec::new(), Vec::new(), None);
    // The first requests of a server's life are slow.
    bare_run(plane, bare, "warm-up").await?;
    for pair in 0..pairs {
        for turn in 0..2 {
            if (pair + turn) % 2 == 0 {
                // At most one daemon at a time.
                drop(last.take());
                let (cold, world) = cold(plane, &format!("ours-{pair}")).await?;
                bare.settled(&world.namespace).await?;
                ours.push(cold);
                last = Some(world);
            } else {
                theirs.push(bare_run(plane, bare, &format!("bare-{pair}")).await?);
            }
        }
    }
    let ratio = |rate: fn(&Cold) -> f64| -> Vec<f64> {
        ours.iter().zip(&theirs).map(|(cold, bare)| 100.0 * rate(cold) / bare).collect()
    };
    let each = |what: fn(&Cold) -> f64| -> Vec<f64> { ours.iter().map(what).collect() };
    figures.scenario("S0");
    figures.add("R: a bare client", "objects/s", theirs.clone());
    figures.scenario("S1");
    figures.add("cold apply, PATCHes", "objects/s", each(|cold| cold.patches));
    figures.add("cold apply, PATCHes", "% of R", ratio(|cold| cold.patches)).at_least(GOAL);
    figures.add("cold apply, from the intent on", "objects/s", each(|cold| cold.whole));
    figures.add("cold apply, from the intent on", "% of R", ratio(|cold| cold.whole)).at_least(GOAL);
    figures.add("cold apply, push to first PATCH", "ms", each(|cold| 1_000.0 * cold.begins));
    figures.add("cold apply, push to converged", "ms", each(|cold| 1_000.0 * cold.converges));
    Ok(last)
}

async fn bare_run(plane: &ControlPlane, bare: &Bare, namespace: &str) -> Result<f64> {
    plane.create_namespace(namespace).await?;
    let objects = content::release(namespace);
    let took = bare.apply_all(&objects).await?;
    bare.settled(namespace).await?;
    let rate = objects.len() as f64 / took.as_secs_f64();
    println!("{namespace}: {rate:.0} objects/s");
    Ok(rate)
}

/// From a converged empty release to the whole one.
async fn cold(plane: &ControlPlane, name: &str) -> Result<(Cold, World)> {
    let mut world = World::start(plane, name).await?;
    let objects = content::release(name);
    let commit = world.commit(&objects)?;
    let mut tail = Tail::new(plane)?;
    let pushed = world.repository.push(commit)?;
    let count = objects.len();
    let waited = tail.until("the release's ledger", LIMIT, |entries| done(entries, count).is_some()).await;
    waited.map_err(|error| Error::new(format!("{error}\n{}", world.daemon.tail())))?;
    world.daemon.converged(commit, LIMIT).await?;
    let times = done(&tail.entries, count).ok_or_else(|| Error::new("the audit log has changed"))?;
    let rate = |from, to| count as f64 / seconds(from, to);
    let cold = Cold {
        patches: rate(times.first, times.last),
        whole: rate(times.intent, times.last),
        begins: seconds(pushed, times.first),
        converges: seconds(pushed, times.result),
    };
    println!(
        "{name}: {:.0} objects/s, {:.0} with the intent; first PATCH after {:.3} s, converged after {:.3} s",
        cold.patches, cold.whole, cold.begins, cold.converges
    );
    Ok((cold, world))
}

struct Times {
    intent: Timestamp,
    first: Timestamp,
    last: Timestamp,
    result: Timestamp,
}

/// None until all objects are applied and the result is written.
fn done(entries: &[Entry], count: usize) -> Option<Times> {
    let applies: Vec<&Entry> = entries.iter().filter(|entry| entry.is_apply()).collect();
    if applies.len() < count {
        return None;
    }
    let last = applies.iter().map(|entry| entry.answered).max()?;
    let writes = || entries.iter().filter(|entry| entry.is_ledger_write());
    Some(Times {
        intent: writes().map(|entry| entry.received).min()?,
        first: applies.iter().map(|entry| entry.received).min()?,
        last,
        result: writes().filter(|entry| entry.received >= last).map(|entry| entry.answered).max()?,
    })
}

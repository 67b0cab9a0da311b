//! Delays: from a push, and from a foreign write, to the answer to our PATCH; beside those of bare PATCHes, one after
//! each sample.

use std::time::Duration;

use jiff::Timestamp;

use super::audit::{Tail, seconds};
use super::bare::Bare;
use super::content::{CONFIG_MAPS, config_map, name};
use super::world::World;
use crate::figures::{Figures, p99};
use crate::harness::{ControlPlane, Error, Result};

const SOON: Duration = Duration::from_secs(60);
/// Between the end of one sample and the next.
const PAUSE: Duration = Duration::from_millis(50);
/// Allowed: so many times a bare PATCH's p99, plus so many ms.
const GOAL: (f64, f64) = (3.0, 50.0);

/// The objects that the bare client changes.
const BARE: &str = "bare-delays";

/// Milliseconds from moving the branch to the answer to the PATCH of the one file that changed.
pub async fn push(
    plane: &ControlPlane,
    bare: &Bare,
    world: &mut World,
    samples: usize,
    figures: &mut Figures,
) -> Result<()> {
    let sample = async |number: usize| {
        let object = config_map(&world.namespace, number % CONFIG_MAPS, &format!("pushed {number}"));
        let commit = world.commit(std::slice::from_ref(&object))?;
        let mut tail = Tail::new(plane)?;
        let pushed = world.repository.push(commit)?;
        let applied = changed(&mut tail, name(&object), true).await;
        let applied = applied.map_err(|error| Error::new(format!("{error}\n{}", world.daemon.tail())))?;
        Ok(1_000.0 * seconds(pushed, applied))
    };
    beside(plane, bare, "one-file change, push to PATCH", GOAL, samples, figures, sample).await
}

/// Milliseconds from the answer to a foreign write to the answer to the PATCH that heals it.
pub async fn heal(
    plane: &ControlPlane,
    bare: &Bare,
    world: &World,
    samples: usize,
    figures: &mut Figures,
) -> Result<()> {
    let sample = async |number: usize| {
        // Another one each time: one that is changed again and again is contested, and waits.
        let object = config_map(&world.namespace, CONFIG_MAPS - 1 - number % CONFIG_MAPS, "");
        let mut tail = Tail::new(plane)?;
        bare.overwrite(&world.namespace, name(&object), "foreign").await?;
        let written = Timestamp::now();
        let applied = changed(&mut tail, name(&object), false).await;
        let applied = applied.map_err(|error| Error::new(format!("{error}\n{}", world.daemon.tail())))?;
        Ok(1_000.0 * seconds(written, applied))
    };
    beside(plane, bare, "foreign write to healing PATCH", GOAL, samples, figures, sample).await
}

/// Takes samples, a bare PATCH after each, and judges the one by the other: its p99 may be so many times a bare
/// PATCH's, plus so many ms.
pub async fn beside(
    plane: &ControlPlane,
    bare: &Bare,
    what: &str,
    goal: (f64, f64),
    samples: usize,
    figures: &mut Figures,
    mut sample: impl AsyncFnMut(usize) -> Result<f64>,
) -> Result<()> {
    plane.create_namespace(BARE).await?;
    let (mut delays, mut patches) = (Vec::new(), Vec::new());
    for number in 0..samples {
        delays.push(sample(number).await?);
        patches.push(bare_patch(bare, number).await?);
    }
    let most = goal.0 * p99(&patches) + goal.1;
    figures.add(&format!("bare PATCH beside: {what}"), "ms", patches);
    figures.add(what, "ms", delays).p99_at_most(most);
    Ok(())
}

/// The answer to the PATCH; with a ledger, once its second write is answered too.
pub async fn changed(tail: &mut Tail, name: &str, ledger: bool) -> Result<Timestamp> {
    tail.until(&format!("the PATCH of {name}"), SOON, |entries| {
        let patched = entries.iter().any(|entry| entry.is_apply() && entry.object_ref.name == name);
        let writes = entries.iter().filter(|entry| entry.is_ledger_write()).count();
        patched && (!ledger || writes >= 2)
    })
    .await?;
    tail.applied(name).ok_or_else(|| Error::new("the audit log has changed"))
}

async fn bare_patch(bare: &Bare, sample: usize) -> Result<f64> {
    tokio::time::sleep(PAUSE).await;
    let object = config_map(BARE, sample % CONFIG_MAPS, &format!("bare {sample}"));
    let took = bare.apply(&object).await?;
    tokio::time::sleep(PAUSE).await;
    Ok(1_000.0 * took.as_secs_f64())
}

//! Requests of the daemon, counted in the audit log.

use std::collections::BTreeMap;
use std::time::Duration;

use super::content::config_map;
use super::world::{LIMIT, World};
use crate::figures::Figures;
use crate::harness::{ControlPlane, Error, Events, Result};

const LEDGERS: &str = "fairlead-system";
/// In which what belongs to an event has surely been asked.
const AFTERWARDS: Duration = Duration::from_secs(3);
const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];

pub async fn measure(
    plane: &ControlPlane,
    world: &mut World,
    idle: Duration,
    figures: &mut Figures,
) -> Result<()> {
    tokio::time::sleep(AFTERWARDS).await;
    figures.scenario("S2");
    one_change(plane, world, figures).await?;
    figures.scenario("S3");
    irrelevant(plane, world, figures).await?;
    figures.scenario("S4");
    idling(plane, idle, figures).await?;
    figures.scenario("S7");
    restart(plane, world, figures).await
}

async fn one_change(plane: &ControlPlane, world: &mut World, figures: &mut Figures) -> Result<()> {
    let mark = plane.audit().mark().await?;
    let object = config_map(&world.namespace, 7, "counted");
    let commit = world.commit(&[object])?;
    world.repository.push(commit)?;
    world.daemon.converged(commit, LIMIT).await?;
    tokio::time::sleep(AFTERWARDS).await;
    let events = asked(plane.audit().since(mark).await?);
    let (ledgers, others) = split(&events);
    let patches = others.verb("patch");
    count(figures, "one object changed: PATCHes", &patches, 1);
    count(figures, "one object changed: ledger writes", &writes(&ledgers), 2);
    let rest = others.filter(|event| event.verb != "patch");
    count(figures, "one object changed: other requests for objects", &rest, 0);
    Ok(())
}

async fn irrelevant(plane: &ControlPlane, world: &mut World, figures: &mut Figures) -> Result<()> {
    let mark = plane.audit().mark().await?;
    world.repository.write("README.md", "# Our fleet\n")?;
    let commit = world.repository.commit("A README")?;
    world.repository.push(commit)?;
    world.daemon.converged(commit, LIMIT).await?;
    tokio::time::sleep(AFTERWARDS).await;
    let events = asked(plane.audit().since(mark).await?);
    count(figures, "irrelevant commit: requests", &events, 0);
    Ok(())
}

async fn idling(plane: &ControlPlane, idle: Duration, figures: &mut Figures) -> Result<()> {
    let mark = plane.audit().mark().await?;
    tokio::time::sleep(idle).await;
    let events = asked(plane.audit().since(mark).await?);
    let what = format!("idle for {} s: requests", idle.as_secs());
    count(figures, &what, &events, 0);
    Ok(())
}

async fn restart(plane: &ControlPlane, world: &mut World, figures: &mut Figures) -> Result<()> {
    let mark = plane.audit().mark().await?;
    world.daemon.stop()?;
    world.daemon.start()?;
    let head = world.repository.head().ok_or_else(|| Error::new("nothing was committed"))?;
    world.daemon.converged(head, LIMIT).await?;
    tokio::time::sleep(AFTERWARDS).await;
    let events = asked(plane.audit().since(mark).await?);
    count(figures, "restart: writes", &writes(&events), 0);
    let (_, others) = split(&events);
    let namespace = world.namespace.clone();
    let gets = others.verb("get").filter(|event| {
        event.namespace == namespace || (event.resource == "namespaces" && event.name == namespace)
    });
    count(figures, "restart: GETs of objects", &gets, 0);
    let mut lists: BTreeMap<String, usize> = BTreeMap::new();
    for event in others.verb("list").0 {
        *lists.entry(event.resource).or_default() += 1;
    }
    let most = lists.values().copied().max().unwrap_or_default();
    figures.add("restart: lists of one kind", "requests", vec![most as f64]).exactly(1.0);
    if most > 1 {
        println!("{}", others.verb("list").lines());
    }
    Ok(())
}

/// Requests of the daemon about resources; a watch that starts is none.
fn asked(events: Events) -> Events {
    events.agent("fairlead/").filter(|event| event.verb != "watch" && !event.resource.is_empty())
}

fn writes(events: &Events) -> Events {
    events.filter(|event| WRITES.contains(&&*event.verb))
}

/// Those about ledgers, and the others.
fn split(events: &Events) -> (Events, Events) {
    (events.filter(|event| event.namespace == LEDGERS), events.filter(|event| event.namespace != LEDGERS))
}

fn count(figures: &mut Figures, what: &str, events: &Events, wanted: usize) {
    if events.count() != wanted {
        println!("{what}: {}, not {wanted}\n{}", events.count(), events.lines());
    }
    figures.add(what, "requests", vec![events.count() as f64]).exactly(wanted as f64);
}

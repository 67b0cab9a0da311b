//! From an assignment to objects, and what that costs.

use std::time::Duration;

use fairlead_core::model::assignment::FactBody;
use serde_json::json;

use super::world::World;
use crate::harness::{Events, Result, shared};

fn on_objects(events: &Events, world: &World) -> Events {
    events.namespace(&world.namespace)
}

fn on_ledgers(events: &Events) -> Events {
    events.filter(|e| e.namespace == "fairlead-system" && e.verb != "list")
}

#[tokio::test]
async fn a_release_is_applied_and_what_is_unchanged_costs_nothing() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "apply-cold").await?;
    let mut objects: Vec<_> = (0..20).map(|n| world.cm(&format!("cm-{n}"), "a")).collect();
    let mark = world.mark().await?;
    world.converge(objects.clone()).await;
    let events = world.requests(mark).await?;
    let patches = on_objects(&events, &world).verb("patch");
    assert_eq!(patches.count(), 20, "{}", events.lines());
    let writes = on_ledgers(&events).filter(|e| e.code < 300);
    assert_eq!(writes.count(), 2, "{}", events.lines());

    let live = world.map("cm-7").await?.unwrap();
    assert_eq!(live["data"]["key"], "a");
    assert_eq!(live["metadata"]["labels"]["applyset.kubernetes.io/part-of"], json!(world.set()));
    assert!(live["metadata"]["annotations"]["fairlead.dev/digest"].is_string());

    // One change: one PATCH, two ledger writes.
    objects[7] = world.cm("cm-7", "b");
    let mark = world.mark().await?;
    let release = world.converge(objects.clone()).await;
    let events = world.requests(mark).await?;
    let on = on_objects(&events, &world);
    assert_eq!((on.verb("patch").count(), on.count()), (1, 1), "{}", events.lines());
    assert_eq!((on_ledgers(&events).count(), events.count()), (2, 3), "{}", events.lines());
    assert_eq!(world.map("cm-7").await?.unwrap()["data"]["key"], "b");

    // The same release under a new generation, and idling: nothing.
    let mark = world.mark().await?;
    world.assign(&release);
    world.converged().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let events = world.requests(mark).await?;
    assert_eq!(events.count(), 0, "{}", events.lines());

    // A restart: one list for each kind, and no write.
    world.kill().await;
    let mark = world.mark().await?;
    world.start();
    world.assign(&release);
    let heard = world.converged().await;
    let events = world.requests(mark).await?;
    assert!(on_objects(&events, &world).count() == 0, "{}", events.lines());
    assert_eq!(
        events.filter(|e| e.resource == "configmaps" && e.namespace.is_empty()).count(),
        1,
        "{}",
        events.lines()
    );
    assert_eq!(on_ledgers(&events).count(), 0, "{}", events.lines());
    let FactBody::Online { ledger: Some(ledger) } = &heard[0] else { panic!("{heard:#?}") };
    assert_eq!((ledger.objects, ledger.generation, ledger.converged.as_ref()), (20, 2, Some(&release)));
    Ok(())
}

#[tokio::test]
async fn what_the_release_drops_is_pruned() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "apply-prune").await?;
    world.converge(vec![world.cm("kept", "a"), world.cm("dropped", "a")]).await;
    let uid = world.map("kept").await?.unwrap()["metadata"]["uid"].clone();
    let mark = world.mark().await?;
    world.converge(vec![world.cm("kept", "a")]).await;
    assert!(world.map("dropped").await?.is_none());
    assert_eq!(world.map("kept").await?.unwrap()["metadata"]["uid"], uid);
    let events = world.requests(mark).await?;
    let on = on_objects(&events, &world);
    assert_eq!((on.verb("delete").count(), on.count()), (1, 1), "{}", events.lines());
    Ok(())
}

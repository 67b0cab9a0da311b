//! Plans that wait for a person: what stands is healed all the same, and what stays is said.

use std::time::Duration;

use fairlead_core::model::assignment::{FactBody, Hold};
use fairlead_core::model::units::Amount;
use serde_json::{Value, json};

use super::world::{SOON, World};
use crate::harness::{Result, shared, wait_for};

async fn holds(world: &World, name: &str, wanted: &str) -> Result<()> {
    wait_for(&format!("{name} is {wanted}"), SOON, async || {
        Ok(world.map(name).await?.filter(|map| map["data"]["key"] == wanted).map(drop))
    })
    .await
}

#[tokio::test]
async fn a_plan_that_waits_for_a_person_heals_what_stands() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "holds-heal").await?;
    world.policy.prune.max_deletions = Amount::Count(2);
    let maps = |world: &World, count: usize, value: &str| -> Vec<Value> {
        (0..count).map(|i| world.cm(&format!("map-{i}"), value)).collect()
    };
    let mut first = maps(&world, 8, "a");
    first.push(world.cm("same", "a"));
    world.converge(first).await;

    // It drops too many, changes some, and leaves one as it is.
    let mut second = maps(&world, 3, "b");
    second.push(world.cm("same", "a"));
    let second = world.release(&[("app", &[], second)]);
    world.assign(&second);
    let is_held = |fact: &FactBody| {
        matches!(fact, FactBody::Held { reason: Hold::DeletionBudget { count: 5, .. }, .. })
    };
    world.until("held", is_held).await;

    // What the order would change, what it would drop, and what it leaves: all are put right, as they were.
    let drifted = ["map-1", "map-7", "same"];
    for restart in [false, true] {
        if restart {
            world.kill().await;
            world.start();
            world.handle().assign(world.assignment(&second));
            world.until("held again", is_held).await;
        }
        for name in drifted {
            world.meddle(name, &json!({"data": {"key": "theirs"}})).await?;
        }
        world.maps().delete("map-6", &Default::default()).await?;
        for name in drifted.into_iter().chain(["map-6"]) {
            holds(&world, name, "a").await?;
        }
    }

    // Nothing was said of the order meanwhile but that; and once it may, it is carried out in full.
    let mut approved = world.assignment(&second);
    (approved.deletions_approved, approved.generation) = (true, approved.generation + 1);
    world.generation += 1;
    world.handle().assign(approved);
    let heard = world.converged().await;
    let healed = |fact: &&FactBody| matches!(fact, FactBody::Drift { healed: true, .. });
    assert!(heard.iter().filter(healed).count() >= 3, "{heard:#?}");
    let other = |fact: &&FactBody| matches!(fact, FactBody::Failed { .. } | FactBody::Unhealthy { .. });
    assert_eq!(heard.iter().find(other), None);
    assert_eq!(world.map("map-1").await?.unwrap()["data"]["key"], "b");
    assert!(world.map("map-7").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_stays_though_it_was_dropped_is_said_and_goes_when_a_person_allows_it() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "holds-kept").await?;
    let protected = "holds-kept-inner";
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": protected}});
    world.converge(vec![world.cm("one", "a"), namespace]).await;
    let without = world.release(&[("app", &[], vec![world.cm("one", "a")])]);
    world.assign(&without);
    let heard = world.converged().await;
    let kept = heard.iter().find_map(|fact| match fact {
        FactBody::Kept { objects, .. } => Some(objects.clone()),
        _ => None,
    });
    let kept = kept.expect("it is said before it has converged");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].approvable && kept[0].to_string().contains("protected kind"), "{kept:?}");
    assert_eq!(kept[0].object.name(), protected);
    world.plane().kubectl(&["get", "namespace", protected]).await?;

    let mut approved = world.assignment(&without);
    (approved.deletions_approved, approved.generation) = (true, approved.generation + 1);
    world.generation += 1;
    world.handle().assign(approved);
    let heard = world.converged().await;
    assert!(world.plane().kubectl(&["get", "namespace", protected]).await.is_err());
    let empty = |fact: &FactBody| matches!(fact, FactBody::Kept { objects, .. } if objects.is_empty());
    assert!(heard.iter().any(empty), "nothing stays any more: {heard:#?}");
    Ok(())
}

#[tokio::test]
async fn what_stays_is_looked_at_again_when_it_may_go() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "holds-again").await?;
    world.kill().await;
    world.settings.verify_every = Duration::from_secs(2);
    world.policy.prune.protect = vec!["Namespace".to_owned()];
    world.start();
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tanks.holds-again.example.com"},
        "spec": {"group": "holds-again.example.com", "scope": "Namespaced",
            "names": {"kind": "Tank", "plural": "tanks"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let protected = "holds-again-inner";
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": protected}});
    world.converge(vec![world.cm("one", "a"), crd, namespace]).await;
    let tanks = world.api("holds-again.example.com/v1", "Tank", "tanks");
    let tank =
        json!({"apiVersion": "holds-again.example.com/v1", "kind": "Tank", "metadata": {"name": "theirs"}});
    tanks.create(&Default::default(), &serde_json::from_value(tank)?).await?;

    let without = world.release(&[("app", &[], vec![world.cm("one", "a")])]);
    world.assign(&without);
    let heard = world.converged().await;
    let kept = heard.iter().find_map(|fact| match fact {
        FactBody::Kept { objects, .. } => Some(objects.iter().map(ToString::to_string).collect::<Vec<_>>()),
        _ => None,
    });
    let kept = kept.expect("it is said what stays");
    assert!(
        kept.len() == 2 && kept.iter().any(|text| text.contains("1 objects that are not ours")),
        "{kept:?}"
    );

    // A person says on the object itself that it may go; another deletes what hindered the other.
    let allow = ["annotate", "namespace", protected, "fairlead.dev/prune=allow"];
    world.plane().kubectl(&allow).await?;
    let stays = |count: usize| move |fact: &FactBody| matches!(fact, FactBody::Kept { objects, .. } if objects.len() == count);
    world.until("one stays", stays(1)).await;
    tanks.delete("theirs", &Default::default()).await?;
    world.until("nothing stays", stays(0)).await;
    world.converged().await;
    assert!(world.plane().kubectl(&["get", "namespace", protected]).await.is_err());
    assert!(world.plane().kubectl(&["get", "crd", "tanks.holds-again.example.com"]).await.is_err());
    Ok(())
}

//! What others do to our objects.

use std::time::Duration;

use fairlead_core::model::assignment::{FactBody, Hold};
use fairlead_core::model::fleet::DriftMode;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::world::{SOON, World};
use crate::harness::{Result, eventually, shared};

fn healed(fact: &FactBody) -> bool {
    matches!(fact, FactBody::Drift { healed: true, .. })
}

#[tokio::test]
async fn edits_deletions_and_stripped_labels_are_put_right() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "drift-heal").await?;
    let objects: Vec<_> = ["edited", "deleted", "stripped"].iter().map(|name| world.cm(name, "a")).collect();
    world.converge(objects).await;

    let mark = world.mark().await?;
    world.meddle("edited", &json!({"data": {"key": "theirs", "more": "stays"}})).await?;
    world.until("the edit healed", healed).await;
    let live = world.map("edited").await?.unwrap();
    assert_eq!((&live["data"]["key"], &live["data"]["more"]), (&json!("a"), &json!("stays")));
    let events = world.requests(mark).await?;
    assert_eq!((events.verb("patch").count(), events.count()), (1, 1), "{}", events.lines());

    world.maps().delete("deleted", &DeleteParams::default()).await?;
    world.until("the deletion healed", healed).await;
    assert_eq!(world.map("deleted").await?.unwrap()["data"]["key"], "a");

    let strip = json!({"metadata": {"labels": {"applyset.kubernetes.io/part-of": null}}});
    world.meddle("stripped", &strip).await?;
    world.until("the label put back", healed).await;
    let live = world.map("stripped").await?.unwrap();
    assert_eq!(live["metadata"]["labels"]["applyset.kubernetes.io/part-of"], json!(world.set()));

    // Healing needs no ledger write, and a restart finds nothing to do.
    let release = world.base.clone().unwrap();
    world.kill().await;
    let mark = world.mark().await?;
    world.start();
    world.assign(&release);
    world.converged().await;
    let events = world.requests(mark).await?;
    assert_eq!(events.verb("patch").count(), 0, "{}", events.lines());
    Ok(())
}

#[tokio::test]
async fn drift_while_nobody_looked_is_healed_at_the_start() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "drift-down").await?;
    let release = world.converge(vec![world.cm("one", "a"), world.cm("two", "a")]).await;
    world.kill().await;
    world.meddle("one", &json!({"data": {"key": "theirs"}})).await?;
    world.maps().delete("two", &DeleteParams::default()).await?;
    world.start();
    world.assign(&release);
    world.converged().await;
    assert_eq!(world.map("one").await?.unwrap()["data"]["key"], "a");
    assert_eq!(world.map("two").await?.unwrap()["data"]["key"], "a");
    Ok(())
}

#[tokio::test]
async fn drift_is_only_reported_where_policy_says_so() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "drift-report").await?;
    world.policy.drift.mode = DriftMode::Report;
    world.converge(vec![world.cm("one", "a")]).await;
    world.meddle("one", &json!({"data": {"key": "theirs"}})).await?;
    world.until("a report", |fact| matches!(fact, FactBody::Drift { healed: false, .. })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.map("one").await?.unwrap()["data"]["key"], "theirs");
    Ok(())
}

#[tokio::test]
async fn two_writers_that_fight_are_named_and_slowed() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "drift-fight").await?;
    world.converge(vec![world.cm("one", "a")]).await;
    let mut contested = false;
    for round in 0..12 {
        world.meddle("one", &json!({"data": {"key": format!("theirs-{round}")}})).await?;
        let heard = world
            .until("healed or contested", |f| healed(f) || matches!(f, FactBody::Contested { .. }))
            .await;
        contested = matches!(heard.last(), Some(FactBody::Contested { .. }));
        if contested {
            break;
        }
    }
    assert!(contested, "healed twelve times without a word");
    let mark = world.mark().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.requests(mark).await?.verb("patch").count(), 0);
    Ok(())
}

#[tokio::test]
async fn an_object_that_was_there_before_is_held_until_it_is_adopted() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "drift-adopt").await?;
    let theirs = world.cm("one", "theirs");
    world.maps().patch("one", &PatchParams::apply("helm"), &Patch::Apply(&theirs)).await?;
    world.maps().patch("two", &PatchParams::apply("helm"), &Patch::Apply(&world.cm("two", "a"))).await?;
    // creationTimestamps are whole seconds.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let release = world.release(&[("app", &[], vec![world.cm("one", "ours"), world.cm("two", "a")])]);
    world.assign(&release);
    let heard = world.until("held", |fact| matches!(fact, FactBody::Held { .. })).await;
    let Some(FactBody::Held { reason: Hold::Conflict { object, managers, fields }, .. }) = heard.last()
    else {
        panic!("{heard:#?}")
    };
    assert_eq!(
        (object, managers, fields),
        (&world.key("ConfigMap", "one"), &vec!["helm".into()], &vec![".data.key".into()])
    );
    assert_eq!(world.map("one").await?.unwrap()["data"]["key"], "theirs");

    world.handle().adopt(&world.fleet, [world.key("ConfigMap", "one")]);
    world.converged().await;
    assert_eq!(world.map("one").await?.unwrap()["data"]["key"], "ours");
    world.base = Some(release);

    // What was taken over is ours and deleted; what was adopted is released.
    world.converge(vec![world.cm("three", "a")]).await;
    assert!(world.map("one").await?.is_none());
    let released = world.map("two").await?.unwrap();
    assert_eq!(released["metadata"]["labels"], json!(null), "{released:#}");
    assert_eq!(released["metadata"]["annotations"], json!(null), "{released:#}");
    assert!(!released["metadata"]["managedFields"].to_string().contains("fairlead"), "{released:#}");
    assert_eq!(released["data"]["key"], "a");
    Ok(())
}

#[tokio::test]
async fn fields_that_go_disappear_and_foreign_ones_stay() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "drift-fields").await?;
    let mut object = world.cm("one", "a");
    object["data"]["gone"] = json!("soon");
    world.converge(vec![object]).await;
    world.meddle("one", &json!({"data": {"foreign": "x"}})).await?;
    world.converge(vec![world.cm("one", "a")]).await;
    let live = world.map("one").await?.unwrap();
    assert_eq!(live["data"], json!({"key": "a", "foreign": "x"}));
    Ok(())
}

#[tokio::test]
async fn leaving_gives_everything_up() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "drift-leave").await?;
    world.converge(vec![world.cm("one", "a")]).await;
    world.handle().leave(&world.fleet);
    world.until("removed", |fact| matches!(fact, FactBody::Removed)).await;
    let live = world.map("one").await?.unwrap();
    assert_eq!((&live["data"]["key"], &live["metadata"]["labels"]), (&json!("a"), &json!(null)));
    let ledgers = kube::Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(
        world.client.clone(),
        "fairlead-system",
    );
    assert!(ledgers.get_opt(&world.ledger_name()).await?.is_none());
    // Nobody heals it any more.
    world.meddle("one", &json!({"data": {"key": "theirs"}})).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.map("one").await?.unwrap()["data"]["key"], "theirs");
    Ok(())
}

#[tokio::test]
async fn two_instances_leave_each_other_alone() -> Result<()> {
    let plane = shared("alpha").await?;
    let mut first = World::new(plane, "drift-two").await?;
    first.converge(vec![first.cm("shared", "a"), first.cm("first", "a")]).await;
    let mut second = World::in_namespace(plane, "drift-other", "drift-two").await?;
    // creationTimestamps are whole seconds.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let release = second.release(&[("adopt", &[], vec![second.cm("shared", "b"), second.cm("second", "b")])]);
    second.assign(&release);
    let heard = second.until("held", |fact| matches!(fact, FactBody::Held { .. })).await;
    assert!(
        matches!(heard.last(), Some(FactBody::Held { reason: Hold::ForeignOwner { .. }, .. })),
        "{heard:#?}"
    );
    assert_eq!(first.map("shared").await?.unwrap()["data"]["key"], "a");
    second.converge(vec![second.cm("second", "b")]).await;
    first.converge(vec![first.cm("shared", "a")]).await;
    eventually("the first's prune", SOON, async || Ok(first.map("first").await?.is_none())).await?;
    assert!(first.map("second").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn what_falls_ill_after_it_converged_is_said_once() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "drift-ill").await?;
    let labels = json!({"app": "web"});
    let container = json!({"name": "main", "image": "registry.example/web:1"});
    let mut web = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": world.namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [container]}}}});
    web["spec"]["replicas"] = json!(1);
    world.policy.drift.ignore = vec![fairlead_core::model::fleet::IgnoredPath {
        kind: None,
        group: None,
        name: None,
        path: "/spec/template/spec/nodeSelector".into(),
    }];
    world.converge(vec![web]).await;
    // Someone else's field, which we neither own nor heal: no node has this label.
    let api = world.api("apps/v1", "Deployment", "deployments");
    let params = PatchParams { field_manager: Some("meddler".into()), ..PatchParams::default() };
    let nowhere = json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null},
        "template": {"spec": {"nodeSelector": {"nowhere": "x"}}}}});
    api.patch("web", &params, &Patch::Merge(nowhere)).await?;
    let heard = world.until("unhealthy", |fact| matches!(fact, FactBody::Unhealthy { .. })).await;
    assert!(!heard.iter().any(|fact| matches!(fact, FactBody::Converged { .. })), "{heard:#?}");
    let cured = json!({"spec": {"template": {"spec": {"nodeSelector": null}}}});
    api.patch("web", &params, &Patch::Merge(cured)).await?;
    let heard = world.until("healthy", |fact| matches!(fact, FactBody::Converged { .. })).await;
    assert!(!heard.iter().any(|fact| matches!(fact, FactBody::Unhealthy { .. })), "{heard:#?}");
    Ok(())
}

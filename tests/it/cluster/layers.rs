//! Layers, kinds, and what belongs together.

use std::time::Duration;

use fairlead_core::model::assignment::{Cause, FactBody, Hold};
use fairlead_core::model::fleet::IgnoredPath;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::world::World;
use crate::harness::{FAIL_ANNOTATION, Failure, Result, shared};

fn deployment(world: &World, name: &str, replicas: u32, failure: Option<Failure>) -> Value {
    let labels = json!({"app": name});
    let failure = failure.map_or("none", Failure::as_str);
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels, "annotations": {FAIL_ANNOTATION: failure}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]}}}})
}

fn crd(group: &str) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}"), "annotations": {"fairlead.dev/prune": "allow"}},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

#[tokio::test]
async fn a_crd_and_its_objects_come_and_go_in_one_release() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "layers-crd").await?;
    let group = "layers.fairlead.dev";
    let widget = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget",
        "metadata": {"name": "one", "namespace": world.namespace}, "spec": {"size": 3}});
    world.converge(vec![world.cm("stays", "a"), widget, crd(group)]).await;
    let widgets = world.api(&format!("{group}/v1"), "Widget", "widgets");
    assert_eq!(widgets.get("one").await?.data["spec"]["size"], 3);

    let mark = world.mark().await?;
    world.converge(vec![world.cm("stays", "a")]).await;
    let crds = world.requests(mark).await?;
    let deletes = crds.verb("delete");
    let order: Vec<_> = deletes.0.iter().map(|e| e.resource.as_str()).collect();
    assert_eq!(order, ["widgets", "customresourcedefinitions"], "{}", crds.lines());
    Ok(())
}

#[tokio::test]
async fn a_layer_starts_when_what_it_waits_for_is_healthy() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "layers-order").await?;
    let web = deployment(&world, "web", 2, None);
    let layers = [("base", &[][..], vec![web]), ("app", &["base"][..], vec![world.cm("after", "a")])];
    let release = world.release(&layers);
    world.assign(&release);
    world.converged().await;
    let web = world.api("apps/v1", "Deployment", "deployments").get("web").await?;
    let conditions = web.data["status"]["conditions"].as_array().unwrap().clone();
    let available =
        conditions.iter().find(|c| c["type"] == "Available").unwrap()["lastTransitionTime"].clone();
    let after = world.map("after").await?.unwrap()["metadata"]["creationTimestamp"].clone();
    assert!(after.as_str() >= available.as_str(), "{after} is before {available}");
    Ok(())
}

#[tokio::test]
async fn a_deployment_that_never_works_is_overtaken_at_once() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "layers-stuck").await?;
    let stuck = deployment(&world, "web", 1, Some(Failure::Pull));
    let release = world.release(&[("app", &[], vec![stuck])]);
    world.assign(&release);
    let waits = |fact: &FactBody| match fact {
        FactBody::Progress { progress, .. } => progress.applied == 1 && !progress.waiting.is_empty(),
        _ => false,
    };
    let heard = world.until("waiting", waits).await;
    assert!(!heard.iter().any(|fact| matches!(fact, FactBody::Converged { .. })), "{heard:#?}");
    let start = std::time::Instant::now();
    world.converge(vec![deployment(&world, "web", 1, None)]).await;
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_refusal_fails_at_once_and_says_no_secret() -> Result<()> {
    const CANARY: &str = "c2VjcmV0LWNhbmFyeQ";
    let mut world = World::new(shared("alpha").await?, "layers-refused").await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": world.namespace},
        "data": {"key": format!("!{CANARY}")}});
    let release = world.release(&[("app", &[], vec![secret, world.cm("fine", "a")])]);
    world.assign(&release);
    let heard = world.until("failed", |fact| matches!(fact, FactBody::Failed { .. })).await;
    assert!(!format!("{heard:?}").contains(CANARY), "{heard:#?}");
    let Some(FactBody::Failed { cause: Cause::Refused { object, .. }, .. }) = heard.last() else {
        panic!("{heard:#?}")
    };
    assert_eq!(*object, world.key("Secret", "s"));

    let unknown = json!({"apiVersion": "nowhere.example/v1", "kind": "Thing", "metadata": {"name": "x"}});
    let release = world.release(&[("app", &[], vec![unknown])]);
    world.assign(&release);
    let heard = world.until("failed", |fact| matches!(fact, FactBody::Failed { generation: 2, .. })).await;
    assert!(
        matches!(heard.last(), Some(FactBody::Failed { cause: Cause::UnknownKind { .. }, .. })),
        "{heard:#?}"
    );
    world.converge(vec![world.cm("fine", "b")]).await;
    Ok(())
}

#[tokio::test]
async fn an_immutable_field_needs_leave_to_replace() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "layers-immutable").await?;
    let fixed = |world: &World, value: &str, replace: bool| {
        let mut object = world.cm("fixed", value);
        object["immutable"] = json!(true);
        if replace {
            object["metadata"]["annotations"] = json!({"fairlead.dev/replace": "allow"});
        }
        object
    };
    world.converge(vec![fixed(&world, "a", false)]).await;
    let uid = world.map("fixed").await?.unwrap()["metadata"]["uid"].clone();
    let release = world.release(&[("app", &[], vec![fixed(&world, "b", false)])]);
    world.assign(&release);
    let heard = world.until("failed", |fact| matches!(fact, FactBody::Failed { .. })).await;
    assert!(
        matches!(heard.last(), Some(FactBody::Failed { cause: Cause::Immutable { .. }, .. })),
        "{heard:#?}"
    );
    world.converge(vec![fixed(&world, "b", true)]).await;
    let live = world.map("fixed").await?.unwrap();
    assert_eq!(live["data"]["key"], "b");
    assert_ne!(live["metadata"]["uid"], uid);
    Ok(())
}

#[tokio::test]
async fn an_object_that_moves_keeps_its_uid() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "layers-move").await?;
    let (mover, other) = (world.cm("mover", "a"), world.cm("other", "a"));
    let first = world.release(&[("one", &[], vec![mover.clone()]), ("two", &[], vec![other.clone()])]);
    world.assign(&first);
    world.converged().await;
    let uid = world.map("mover").await?.unwrap()["metadata"]["uid"].clone();
    let mark = world.mark().await?;
    let second = world.release(&[("one", &[], vec![]), ("two", &[], vec![other, mover.clone()])]);
    world.assign(&second);
    world.converged().await;
    assert_eq!(world.map("mover").await?.unwrap()["metadata"]["uid"], uid);
    assert_eq!(world.requests(mark).await?.namespace(&world.namespace).count(), 0);

    // To another fleet on the same cluster: taken over by its label, not deleted by the first.
    let retail = world.fleet.clone();
    world.fleet = "second".parse()?;
    let release = world.release(&[("one", &[], vec![mover])]);
    world.generation = 100;
    world.assign(&release);
    world.converged().await;
    let set = world.set();
    world.fleet = retail;
    world.generation = 200;
    let release = world.release(&[("two", &[], vec![world.cm("other", "a")])]);
    world.assign(&release);
    world.converged().await;
    let live = world.map("mover").await?.unwrap();
    assert_eq!(live["metadata"]["uid"], uid);
    assert_eq!(live["metadata"]["labels"]["applyset.kubernetes.io/part-of"], json!(set));
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_when_that_is_allowed() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "layers-namespace").await?;
    let name = "layers-namespace-inner";
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let inner =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": name}});
    world.converge(vec![inner, namespace, world.cm("stays", "a")]).await;
    let release = world.converge(vec![world.cm("stays", "a")]).await;
    let get = async |world: &World| {
        let api: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(world.client.clone());
        api.get_opt(name).await
    };
    assert!(get(&world).await?.is_some(), "a protected kind stays without an approval");
    let mut approved = world.assignment(&release);
    approved.deletions_approved = true;
    world.generation += 1;
    approved.generation = world.generation;
    world.handle().assign(approved);
    world.converged().await;
    assert!(get(&world).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_autoscaler_keeps_the_field_that_it_took() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "layers-ignore").await?;
    world.policy.drift.ignore = vec![IgnoredPath {
        kind: Some("Deployment".into()),
        group: None,
        name: None,
        path: "/spec/replicas".into(),
    }];
    world.converge(vec![deployment(&world, "web", 1, None)]).await;
    let api = world.api("apps/v1", "Deployment", "deployments");
    let params = PatchParams { field_manager: Some("autoscaler".into()), ..PatchParams::default() };
    api.patch("web", &params, &Patch::Merge(json!({"spec": {"replicas": 3}}))).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(api.get("web").await?.data["spec"]["replicas"], 3);
    // Other drift is healed, and a new release leaves the field alone.
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {FAIL_ANNOTATION: null}}}}});
    api.patch("web", &params, &Patch::Merge(patch)).await?;
    world.until("healed", |fact| matches!(fact, FactBody::Drift { healed: true, .. })).await;
    assert_eq!(api.get("web").await?.data["spec"]["replicas"], 3);
    let mut changed = deployment(&world, "web", 1, None);
    changed["metadata"]["annotations"] = json!({"note": "new"});
    world.converge(vec![changed]).await;
    assert_eq!(api.get("web").await?.data["spec"]["replicas"], 3);
    Ok(())
}

#[tokio::test]
async fn deletions_beyond_the_budget_wait_for_an_approval() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "layers-budget").await?;
    world.policy.prune.max_deletions = fairlead_core::model::units::Amount::Count(1);
    let all: Vec<_> = (0..4).map(|n| world.cm(&format!("cm-{n}"), "a")).collect();
    world.converge(all.clone()).await;
    let release = world.release(&[("app", &[], all[..1].to_vec())]);
    world.assign(&release);
    let heard = world.until("held", |fact| matches!(fact, FactBody::Held { .. })).await;
    let Some(FactBody::Held { reason: Hold::DeletionBudget { count, budget, .. }, .. }) = heard.last() else {
        panic!("{heard:#?}")
    };
    assert_eq!((*count, *budget), (3, 1));
    assert!(world.map("cm-3").await?.is_some());
    let mut approved = world.assignment(&release);
    approved.deletions_approved = true;
    world.handle().assign(approved);
    world.converged().await;
    assert!(world.map("cm-3").await?.is_none() && world.map("cm-0").await?.is_some());
    Ok(())
}

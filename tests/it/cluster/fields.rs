//! Objects that others write to, too.

use std::time::Duration;

use fairlead_core::model::assignment::FactBody;
use fairlead_core::model::fleet::IgnoredPath;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use super::world::{SOON, World};
use crate::harness::{Result, eventually, shared};

fn ignored(kind: &str, path: &str) -> IgnoredPath {
    IgnoredPath { kind: Some(kind.into()), group: None, name: None, path: path.into() }
}

fn by(manager: &str) -> PatchParams {
    PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() }
}

fn drifted(fact: &FactBody) -> bool {
    matches!(fact, FactBody::Drift { .. } | FactBody::Contested { .. } | FactBody::Unhealthy { .. })
}

fn cron(world: &World, schedule: &str) -> Value {
    let containers = json!([{"name": "first", "image": "registry.example/first:1"},
        {"name": "second", "image": "registry.example/second:1"}]);
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x", "namespace": world.namespace},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": containers}}}}}})
}

/// Changes the CronJob as someone else, by JSON patch.
async fn edited(world: &World, manager: &str, edit: &Value) -> Result<()> {
    let (manager, edit) = (format!("--field-manager={manager}"), edit.to_string());
    let arguments = ["patch", "cronjob", "x", "-n", &world.namespace, "--type=json", &manager, "-p", &edit];
    world.plane().kubectl(&arguments).await.map(drop)
}

fn images(live: &DynamicObject) -> Vec<String> {
    let live = serde_json::to_value(live).unwrap();
    let containers = live.pointer("/spec/jobTemplate/spec/template/spec/containers").unwrap();
    containers
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{}={}", c["name"].as_str().unwrap(), c["image"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_field_of_a_lists_item_is_left_to_whoever_owns_it() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "fields-list").await?;
    let path = "/spec/jobTemplate/spec/template/spec/containers/1/image";
    world.policy.drift.ignore = vec![ignored("CronJob", path)];
    world.converge(vec![cron(&world, "0 3 * * *")]).await;
    let api = world.api("batch/v1", "CronJob", "cronjobs");

    // The index counts in Git's list, not in the live one: there, another container stands first.
    let edit = json!([
        {"op": "add", "path": "/spec/jobTemplate/spec/template/spec/containers/0",
            "value": {"name": "injected", "image": "registry.example/injected:1"}},
        {"op": "replace", "path": "/spec/jobTemplate/spec/template/spec/containers/2/image", "value": "registry.example/second:9"},
    ]);
    edited(&world, "updater", &edit).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let theirs = [
        "injected=registry.example/injected:1",
        "first=registry.example/first:1",
        "second=registry.example/second:9",
    ];
    let has = |live: &DynamicObject, wanted: &[&str]| {
        let mut images = images(live);
        images.sort();
        let mut wanted: Vec<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
        wanted.sort();
        assert_eq!(images, wanted);
    };
    has(&api.get("x").await?, &theirs);

    // The field next to it is ours, and a change of Git's leaves theirs alone.
    let edit = json!([
        {"op": "replace", "path": "/spec/jobTemplate/spec/template/spec/containers/0/image", "value": "registry.example/wrong:1"},
        {"op": "replace", "path": "/spec/jobTemplate/spec/template/spec/containers/1/image", "value": "registry.example/wrong:1"},
    ]);
    let order = images(&api.get("x").await?);
    assert!(order[0].starts_with("injected") || order[0].starts_with("first"), "{order:?}");
    edited(&world, "meddler", &edit).await?;
    eventually("our image back", SOON, async || {
        Ok(images(&api.get("x").await?).contains(&"first=registry.example/first:1".to_owned()))
    })
    .await?;
    world.converge(vec![cron(&world, "0 4 * * *")]).await;
    let live = api.get("x").await?;
    assert!(images(&live).contains(&"second=registry.example/second:9".to_owned()), "{:?}", images(&live));
    assert_eq!(live.data["spec"]["schedule"], "0 4 * * *");

    // The item vanishes: nobody owns the field any more, and Git's value comes with the item.
    let live = images(&api.get("x").await?);
    let index = live.iter().position(|image| image.starts_with("second=")).unwrap();
    let edit = json!([
        {"op": "remove", "path": format!("/spec/jobTemplate/spec/template/spec/containers/{index}")}]);
    edited(&world, "updater", &edit).await?;
    eventually("the item back", SOON, async || {
        Ok(images(&api.get("x").await?).contains(&"second=registry.example/second:1".to_owned()))
    })
    .await
}

#[tokio::test]
async fn an_item_of_an_atomic_list_is_left_with_its_list() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "fields-atomic").await?;
    world.policy.drift.ignore =
        vec![ignored("CronJob", "/spec/jobTemplate/spec/template/spec/containers/[name=first]/args/1")];
    let mut object = cron(&world, "0 3 * * *");
    object["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["a", "b"]);
    world.converge(vec![object.clone()]).await;
    let api = world.api("batch/v1", "CronJob", "cronjobs");
    let edit = json!([
        {"op": "replace", "path": "/spec/jobTemplate/spec/template/spec/containers/0/args/1", "value": "theirs"}]);
    edited(&world, "updater", &edit).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    object["spec"]["schedule"] = json!("0 4 * * *");
    world.converge(vec![object]).await;
    let live = serde_json::to_value(api.get("x").await?)?;
    assert_eq!(
        live.pointer("/spec/jobTemplate/spec/template/spec/containers/0/args"),
        Some(&json!(["a", "theirs"]))
    );
    Ok(())
}

/// Git drops `size`, which `before` and `later` once set to the same value; what is left of it.
async fn dropped(
    name: &str,
    before: Option<PatchParams>,
    later: Option<&str>,
) -> Result<(World, Option<String>, Vec<FactBody>)> {
    let mut world = World::new(shared("alpha").await?, name).await?;
    let with = |world: &World| {
        let mut object = world.cm("one", "a");
        object["data"]["size"] = json!("9");
        object
    };
    if let Some(params) = before {
        world.maps().patch("one", &params, &Patch::Apply(with(&world))).await?;
        // creationTimestamps are whole seconds.
        tokio::time::sleep(Duration::from_millis(2_100)).await;
    }
    if let Some(manager) = later {
        world.converge(vec![world.cm("one", "a")]).await;
        world.maps().patch("one", &by(manager), &Patch::Merge(json!({"data": {"size": "9"}}))).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    world.converge(vec![with(&world)]).await;
    let release = world.release(&[("app", &[], vec![world.cm("one", "a")])]);
    world.assign(&release);
    let heard = world.converged().await;
    let live = world.map("one").await?.unwrap();
    let size = live["data"]["size"].as_str().map(str::to_owned);
    assert_eq!(live["data"]["key"], "a");
    Ok((world, size, heard))
}

#[tokio::test]
async fn what_git_drops_goes_whoever_of_people_once_set_it() -> Result<()> {
    for (name, before, later) in [
        ("fields-drop-ssa", Some(PatchParams::apply("kubectl")), None),
        ("fields-drop-edit", None, Some("kubectl-edit")),
        ("fields-drop-someone", None, Some("someone")),
    ] {
        let (_, size, heard) = dropped(name, before, later).await?;
        assert_eq!(size, None, "{name}: {heard:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_git_drops_goes_after_kubectls_client_side_apply() -> Result<()> {
    let plane = shared("alpha").await?;
    let mut world = World::new(plane, "fields-drop-csa").await?;
    let mut with = world.cm("one", "a");
    with["data"]["size"] = json!("9");
    plane.kubectl_with_input(&["apply", "-f", "-"], &with.to_string()).await?;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    world.converge(vec![with]).await;
    world.converge(vec![world.cm("one", "a")]).await;
    let live = world.map("one").await?.unwrap();
    assert_eq!(live["data"], json!({"key": "a"}), "{live:#}");
    Ok(())
}

#[tokio::test]
async fn what_another_tool_keeps_is_said() -> Result<()> {
    let (mut world, size, heard) = dropped("fields-drop-helm", None, Some("helm")).await?;
    assert_eq!(size.as_deref(), Some("9"));
    let kept = heard.iter().rev().find_map(|fact| match fact {
        FactBody::Kept { objects, .. } => Some(objects.clone()),
        _ => None,
    });
    let kept = kept.expect("what stays is said");
    assert_eq!(kept[0].object, world.key("ConfigMap", "one"));
    assert!(kept[0].reason.contains(".data.size") && kept[0].reason.contains("helm"), "{kept:#?}");

    // It is said again after a restart, and no more once Git has it.
    let release = world.release(&[("app", &[], vec![world.cm("one", "a")])]);
    world.kill().await;
    world.start();
    world.assign(&release);
    let heard = world.converged().await;
    assert!(
        heard.iter().any(|fact| matches!(fact, FactBody::Kept { objects, .. } if objects.len() == 1)),
        "{heard:#?}"
    );
    let mut with = world.cm("one", "a");
    with["data"]["size"] = json!("9");
    let release = world.release(&[("app", &[], vec![with])]);
    world.assign(&release);
    let heard = world.converged().await;
    assert!(
        heard.iter().any(|fact| matches!(fact, FactBody::Kept { objects, .. } if objects.is_empty())),
        "{heard:#?}"
    );
    Ok(())
}

fn roles(client: kube::Client) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "rbac.authorization.k8s.io".into(),
        version: "v1".into(),
        api_version: "rbac.authorization.k8s.io/v1".into(),
        kind: "ClusterRole".into(),
        plural: "clusterroles".into(),
    };
    Api::all_with(client, &resource)
}

#[tokio::test]
async fn what_a_controller_owns_is_not_fought_over() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "fields-owned").await?;
    let rbac = "rbac.authorization.k8s.io/v1";
    let part = json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "fields-part", "labels": {"fields/part": "true"}},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]});
    let all = json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "fields-all"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"fields/part": "true"}}]}, "rules": []});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": world.namespace},
        "spec": {"type": "NodePort", "clusterIP": "", "selector": {"app": "web"}, "ports": [{"port": 80, "nodePort": 0}]}, "status": {"loadBalancer": {}}});
    let webhook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "fields-hook"}, "webhooks": [{"name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore", "clientConfig": {"caBundle": "Cg==", "service": {"name": "a", "namespace": "b"}},
            "rules": [{"apiGroups": ["nothing.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"]}]}]});
    world.converge(vec![part, all, service, webhook]).await;
    let api = roles(world.client.clone());
    eventually("aggregated rules", SOON, async || {
        Ok(api.get("fields-all").await?.data["rules"].as_array().is_some_and(|rules| rules.len() == 1))
    })
    .await?;
    world.plane().kubectl(&["patch", "validatingwebhookconfiguration", "fields-hook", "--field-manager=cainjector", "--type=json",
        "-p", r#"[{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJkekNDQVIyZ0F3SUJBZ0lCQURBS0JnZ3Foa2pPUFFRREFqQWpNU0V3SHdZRFZRUUREQmhyTTNNdGMyVnkKZG1WeUxXTmhRREUyT1RNMk1UVTFNVE13SGhjTk1qTXdPVEF4TURRME5URXpXaGNOTXpNd09ESTVNRFEwTlRFegpXakFqTVNFd0h3WURWUVFEREJock0zTXRjMlZ5ZG1WeUxXTmhRREUyT1RNMk1UVTFNVE13V1RBVEJnY3Foa2pPClBRSUJCZ2dxaGtqT1BRTUJCd05DQUFRPQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg=="}]"#]).await.ok();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(api.get("fields-all").await?.data["rules"].as_array().unwrap().len(), 1);
    // Nothing was healed meanwhile: the next fact is that of the next order.
    let release = world.release(&[("app", &[], vec![world.cm("next", "a")])]);
    world.assign(&release);
    let heard = world.converged().await;
    assert!(!heard.iter().any(drifted), "{heard:#?}");
    Ok(())
}

fn job(world: &World, image: &str, ttl: Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate", "namespace": world.namespace},
        "spec": {"ttlSecondsAfterFinished": ttl, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": image}]}}}})
}

#[tokio::test]
async fn a_job_that_completed_and_is_gone_runs_once_for_each_manifest() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "fields-job").await?;
    let jobs = world.api("batch/v1", "Job", "jobs");
    let gone = async |jobs: &Api<DynamicObject>| {
        eventually("the job removed", SOON * 2, async || Ok(jobs.get_opt("migrate").await?.is_none())).await
    };
    let first = world.converge(vec![job(&world, "registry.example/a:1", json!(1))]).await;
    gone(&jobs).await?;
    let mark = world.mark().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Nor does it run after a restart, also of a worker that never saw how it ended.
    world.kill().await;
    world.start();
    world.assign(&first);
    let heard = world.converged().await;
    assert!(!heard.iter().any(drifted), "{heard:#?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(jobs.get_opt("migrate").await?.is_none());
    assert_eq!(world.requests(mark).await?.filter(|e| e.resource == "jobs").verb("patch").count(), 0);

    // Another manifest is another run; its end is not seen.
    let release = world.release(&[("app", &[], vec![job(&world, "registry.example/a:2", json!(1))])]);
    world.assign(&release);
    eventually("the second run", SOON, async || Ok(jobs.get_opt("migrate").await?.is_some())).await?;
    // Its apply is on record at once, and not only with the result of the whole.
    tokio::time::sleep(Duration::from_millis(700)).await;
    world.kill().await;
    gone(&jobs).await?;
    let mark = world.mark().await?;
    world.start();
    world.assign(&release);
    world.converged().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(jobs.get_opt("migrate").await?.is_none());
    assert_eq!(world.requests(mark).await?.filter(|e| e.resource == "jobs").verb("patch").count(), 0);
    Ok(())
}

#[tokio::test]
async fn what_is_made_anew_again_and_again_is_slowed_contested_and_recovers() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "fields-anew").await?;
    world.settings.heal_pace = (Duration::from_millis(300), Duration::from_secs(6));
    world.kill().await;
    world.start();
    world.converge(vec![world.cm("one", "a"), world.cm("two", "a")]).await;
    let maps = world.maps();
    let mark = world.mark().await?;
    let remover = tokio::spawn({
        let maps = maps.clone();
        async move {
            loop {
                let _ = maps.delete("one", &DeleteParams::default()).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let heard = world.until("contested", |fact| matches!(fact, FactBody::Contested { .. })).await;
    assert!(
        matches!(heard.last(), Some(FactBody::Contested { objects }) if objects == &[world.key("ConfigMap", "one")])
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    let heals = world.requests(mark).await?.verb("patch");
    assert!((5..=7).contains(&heals.count()), "{}", heals.lines());
    // Another object is healed at once all the same.
    let began = std::time::Instant::now();
    maps.delete("two", &DeleteParams::default()).await?;
    eventually("the other object", SOON, async || Ok(world.map("two").await?.is_some())).await?;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    remover.abort();
    let _ = remover.await;
    eventually("peace", SOON, async || Ok(world.map("one").await?.is_some())).await?;
    let key = world.key("ConfigMap", "one");
    world
        .until(
            "healed",
            |fact| matches!(fact, FactBody::Drift { healed: true, objects } if objects.contains(&key)),
        )
        .await;
    Ok(())
}

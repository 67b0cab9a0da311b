//! Crashes, lost ledgers, clusters that are away.

use std::time::Duration;

use fairlead_core::model::assignment::{FactBody, Hold};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use super::world::World;
use crate::harness::{Result, shared};

/// Twelve kinds, `each` of each.
fn many(world: &World, each: usize, value: &str) -> Vec<Value> {
    let kinds = [
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "ServiceAccount"),
        ("v1", "Service"),
        ("v1", "LimitRange"),
        ("apps/v1", "Deployment"),
        ("batch/v1", "CronJob"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("networking.k8s.io/v1", "Ingress"),
        ("policy/v1", "PodDisruptionBudget"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("coordination.k8s.io/v1", "Lease"),
    ];
    let selector = |name: &str| json!({"matchLabels": {"app": name}});
    let pod = |name: &str| {
        json!({"metadata": {"labels": {"app": name}}, "spec": {"restartPolicy": "OnFailure",
            "containers": [{"name": "main", "image": "registry.example/web:1"}]}})
    };
    let object = |n: usize, (api_version, kind): (&str, &str)| {
        let name = format!("{}-{n}", kind.to_lowercase());
        let mut object = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": world.namespace, "annotations": {"value": value}}});
        match kind {
            "ConfigMap" => object["data"] = json!({"key": value}),
            "Service" => object["spec"] = json!({"selector": {"app": name}, "ports": [{"port": 80}]}),
            "LimitRange" => {
                object["spec"] = json!({"limits": [{"type": "Container", "default": {"memory": "1Gi"}}]});
            }
            "Deployment" => {
                let mut template = pod(&name);
                template["spec"]["restartPolicy"] = json!("Always");
                object["spec"] = json!({"replicas": 0, "selector": selector(&name), "template": template});
            }
            "CronJob" => {
                object["spec"] =
                    json!({"schedule": "0 3 1 1 *", "jobTemplate": {"spec": {"template": pod(&name)}}});
            }
            "NetworkPolicy" => object["spec"] = json!({"podSelector": {}}),
            "Ingress" => {
                let service = json!({"name": name, "port": {"number": 80}});
                object["spec"] = json!({"defaultBackend": {"service": service}});
            }
            "PodDisruptionBudget" => object["spec"] = json!({"minAvailable": 0, "selector": selector(&name)}),
            _ => {}
        }
        object
    };
    kinds.into_iter().flat_map(|kind| (0..each).map(move |n| object(n, kind))).collect()
}

#[tokio::test]
async fn a_worker_that_is_killed_anywhere_goes_on() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "faults-kill").await?;
    let foreign = world.cm("foreign", "theirs");
    world.maps().create(&Default::default(), &serde_json::from_value(foreign)?).await?;
    for round in 0..4 {
        let objects = many(&world, 25 - round, &format!("round-{round}"));
        let release = world.release(&[("app", &[], objects.clone())]);
        world.assign(&release);
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..150))).await;
            world.kill().await;
            world.start();
            world.handle().assign(world.assignment(&release));
        }
        world.converged().await;
        world.base = Some(release);
        let labelled =
            ListParams::default().labels(&format!("applyset.kubernetes.io/part-of={}", world.set()));
        let maps = world.maps().list(&labelled).await?.items;
        assert_eq!(maps.len(), 25 - round);
        assert!(maps.iter().all(|map| map.data["data"]["key"] == format!("round-{round}").as_str()));
        let roles = world.api("rbac.authorization.k8s.io/v1", "Role", "roles").list(&labelled).await?.items;
        assert_eq!(roles.len(), 25 - round);
    }
    assert_eq!(world.map("foreign").await?.unwrap()["data"]["key"], "theirs");
    // Whoever reads the ledger now finds nothing to do.
    let mark = world.mark().await?;
    let release = world.base.clone().unwrap();
    world.assign(&release);
    world.converged().await;
    assert_eq!(world.requests(mark).await?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_lost_ledger_is_made_anew_from_the_labels() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "faults-ledger").await?;
    world.converge(vec![world.cm("one", "a"), world.cm("two", "a")]).await;
    world.kill().await;
    let ledgers: Api<ConfigMap> = Api::namespaced(world.client.clone(), "fairlead-system");
    ledgers.delete(&world.ledger_name(), &DeleteParams::default()).await?;
    world.start();
    world.converge(vec![world.cm("one", "b")]).await;
    assert!(world.map("two").await?.is_none(), "what only its label knew was pruned");
    assert!(ledgers.get_opt(&world.ledger_name()).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn an_older_order_is_refused() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "faults-stale").await?;
    world.generation = 5;
    world.converge(vec![world.cm("one", "a")]).await;
    world.kill().await;
    world.start();
    world.generation = 2;
    let release = world.release(&[("app", &[], vec![world.cm("one", "old")])]);
    world.assign(&release);
    let heard = world.until("held", |fact| matches!(fact, FactBody::Held { .. })).await;
    assert!(
        matches!(heard.last(), Some(FactBody::Held { reason: Hold::StaleWriter { found: 6 }, .. })),
        "{heard:#?}"
    );
    assert_eq!(world.map("one").await?.unwrap()["data"]["key"], "a");
    Ok(())
}

#[tokio::test]
async fn a_ledger_that_someone_else_wrote_is_read_again() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "faults-overtaken").await?;
    world.converge(vec![world.cm("one", "a")]).await;
    let ledgers: Api<ConfigMap> = Api::namespaced(world.client.clone(), "fairlead-system");
    let touch = json!({"metadata": {"annotations": {"someone": "was here"}}});
    ledgers.patch(&world.ledger_name(), &Default::default(), &kube::api::Patch::Merge(touch)).await?;
    world.converge(vec![world.cm("one", "b")]).await;
    assert_eq!(world.map("one").await?.unwrap()["data"]["key"], "b");
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_away_is_offline_and_new_credentials_are_taken_at_once() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "faults-away").await?;
    world.kill().await;
    let good = world.kubeconfig()?;
    world.set_kubeconfig(&good.replace("token-of-admin", "wrong"))?;
    world.settings.retry = (Duration::from_secs(300), Duration::from_secs(300));
    world.settings.credentials_every = Duration::from_millis(200);
    world.start();
    let release = world.release(&[("app", &[], vec![world.cm("one", "a")])]);
    world.assign(&release);
    let heard = world.until("offline", |fact| matches!(fact, FactBody::Offline { .. })).await;
    assert!(format!("{heard:?}").contains("credentials"), "{heard:#?}");
    world.set_kubeconfig(&good)?;
    world.converged().await;

    // A cluster that no longer answers, while it is watched: the address is another one now.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut config: Value = serde_json::from_str(&good)?;
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"));
    world.set_kubeconfig(&config.to_string())?;
    world.until("offline", |fact| matches!(fact, FactBody::Offline { .. })).await;
    Ok(())
}

#[tokio::test]
async fn a_view_shows_what_the_cluster_has() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "faults-live").await?;
    world.converge(vec![world.cm("one", "a")]).await;
    world.maps().create(&Default::default(), &serde_json::from_value(world.cm("theirs", "x"))?).await?;
    let release = super::world::release(
        &world.fleet,
        &[("app", &[], vec![world.cm("one", "b"), world.cm("theirs", "y"), world.cm("new", "z")])],
    );
    let view = world.handle().live(&world.fleet, std::sync::Arc::new(release)).await?;
    let names: Vec<_> = view.objects.keys().map(|key| key.name()).collect();
    assert_eq!(names, ["one", "theirs"]);
    assert_eq!(view.inventory.objects.len(), 1);
    assert_eq!(view.set, world.set());
    Ok(())
}

#[tokio::test]
async fn a_value_that_was_changed_under_our_own_name_is_found_by_the_full_check() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "faults-verify").await?;
    world.kill().await;
    world.settings.verify_every = Duration::from_secs(2);
    world.start();
    world.converge(vec![world.cm("one", "a")]).await;
    let mut live = world.cm("one", "forged");
    let stamps = world.map("one").await?.unwrap()["metadata"].clone();
    for field in ["labels", "annotations"] {
        live["metadata"][field] = stamps[field].clone();
    }
    let params = kube::api::PatchParams::apply(&format!("fairlead-{}", world.instance));
    world.maps().patch("one", &params, &kube::api::Patch::Apply(&live)).await?;
    world.until("healed", |fact| matches!(fact, FactBody::Drift { healed: true, .. })).await;
    assert_eq!(world.map("one").await?.unwrap()["data"]["key"], "a");
    Ok(())
}

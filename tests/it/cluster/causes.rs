//! Causes, not symptoms: what is said of objects that are not healthy, on a real server with pods that fail as real
//! kubelets make them.

use std::time::Duration;

use fairlead_cluster::Ailment;
use fairlead_core::model::assignment::{Cause, FactBody};
use fairlead_core::model::units::Span;
use serde_json::{Value, json};

use super::world::{SOON, World};
use crate::harness::{FAIL_ANNOTATION, Failure, Result, shared};

fn workload(world: &World, kind: &str, name: &str, failure: Option<Failure>) -> Value {
    let labels = json!({"app": name});
    let failure = failure.map_or("none", Failure::as_str);
    let container = json!({"name": "main", "image": "registry.example/web:1"});
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels, "annotations": {FAIL_ANNOTATION: failure}},
            "spec": {"containers": [container]}}}});
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = json!(name);
    }
    if failure == "init" {
        object["spec"]["template"]["spec"]["initContainers"] =
            json!([{"name": "migrate", "image": "registry.example/web:1"}]);
    }
    object
}

fn job(world: &World, name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"annotations": {FAIL_ANNOTATION: "exit"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.example/job:1"}]}}}})
}

/// Asks until each object is said to be unhealthy for the reason that is wanted.
async fn are_told(world: &World, wanted: &[(&str, &str)]) {
    crate::world::eventually("the causes are told", SOON, async || {
        let told = world.handle().causes(&world.fleet).await.map_err(|error| error.to_string())?;
        let fits = |(object, part): &(&str, &str)| {
            let of = |one: &&Ailment| one.object.to_string().ends_with(object);
            told.iter().find(of).is_some_and(|one| one.reason.contains(part))
        };
        match wanted.iter().find(|one| !fits(one)) {
            None => Ok(()),
            Some(missing) => Err(format!("no {missing:?} in {told:#?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn pods_tell_why_they_do_not_run() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "causes-pods").await?;
    let mut large = workload(&world, "Deployment", "large", None);
    large["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1000000"}});
    let objects = vec![
        workload(&world, "Deployment", "crash", Some(Failure::Crash)),
        workload(&world, "Deployment", "oom", Some(Failure::OutOfMemory)),
        workload(&world, "Deployment", "pull", Some(Failure::Pull)),
        workload(&world, "Deployment", "config", Some(Failure::Config)),
        large,
    ];
    let release = world.release(&[("app", &[], objects)]);
    world.assign(&release);
    are_told(&world, &[
        ("/crash", "container main crashes again and again (CrashLoopBackOff, restarted 3 times): exit code 1: cannot read the settings"),
        ("/oom", "exit code 137 (OOMKilled"),
        ("/pull", "container main: ImagePullBackOff: Back-off pulling image \"registry.example/web:1\": ErrImagePull: manifest unknown"),
        ("/config", "container main: CreateContainerConfigError: secret \"shop-key\" not found"),
        ("/large", "can't be scheduled: 0/1 nodes are available: 1 Insufficient cpu"),
    ])
    .await;

    let objects = vec![
        workload(&world, "StatefulSet", "init", Some(Failure::Init)),
        workload(&world, "DaemonSet", "mount", Some(Failure::Mount)),
        workload(&world, "ReplicaSet", "probe", Some(Failure::Unready)),
    ];
    let release = world.release(&[("app", &[], objects)]);
    world.assign(&release);
    are_told(&world, &[
        ("/init", "pod init-0: init container migrate crashes again and again (CrashLoopBackOff, restarted 2 times): exit code 3: no database"),
        ("/mount", "FailedMount: MountVolume.SetUp failed for volume \"settings\" : configmap \"settings\" not found"),
        ("/probe", "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503 (0 of 1 replica available)"),
    ])
    .await;
    Ok(())
}

#[tokio::test]
async fn events_tell_what_no_pod_can_tell() -> Result<()> {
    let plane = shared("alpha").await?;
    let mut world = World::new(plane, "causes-events").await?;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods", "namespace": world.namespace},
        "spec": {"hard": {"pods": "0"}}});
    plane.kubectl_with_input(&["create", "-f", "-"], &quota.to_string()).await?;
    crate::world::eventually("the quota counts", SOON, async || {
        let get = ["get", "quota", "pods", "-n", "causes-events", "-o", "jsonpath={.status.hard.pods}"];
        let found = plane.kubectl(&get).await.map_err(|error| error.to_string())?;
        if found == "0" { Ok(()) } else { Err(found) }
    })
    .await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "causes-now"},
        "provisioner": "example.test/now", "volumeBindingMode": "Immediate"});
    let claim = |name: &str, class: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let objects = vec![
        class,
        claim("data", "causes-now"),
        claim("lost", "causes-missing"),
        workload(&world, "StatefulSet", "db", None),
        workload(&world, "Deployment", "web", None),
        workload(&world, "DaemonSet", "agent", None),
    ];
    let release = world.release(&[("app", &[], objects)]);
    world.assign(&release);
    are_told(&world, &[
        ("/data", "example.test/now"),
        ("/lost", "ProvisioningFailed: storageclass.storage.k8s.io \"causes-missing\" not found (its storage class causes-missing is not there)"),
        ("/db", "exceeded quota: pods"),
        ("/web", "exceeded quota: pods"),
        ("/agent", "exceeded quota: pods"),
    ])
    .await;
    Ok(())
}

#[tokio::test]
async fn a_failure_is_looked_up_once_before_it_is_said() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "causes-once").await?;
    world.converge(vec![workload(&world, "Deployment", "web", None)]).await;
    let mark = world.mark().await?;

    // A job that failed for good.
    let release = world.release(&[(
        "app",
        &[],
        vec![workload(&world, "Deployment", "web", None), job(&world, "load")],
    )]);
    world.assign(&release);
    let heard = world.until("failed", |fact| matches!(fact, FactBody::Failed { .. })).await;
    let Some(FactBody::Failed { cause: Cause::Unhealthy { object, message }, .. }) = heard.last() else {
        panic!("{heard:#?}")
    };
    assert_eq!(object.name(), "load");
    assert!(message.starts_with("pod load-"), "{message}");
    assert!(
        message.contains("container main ended with exit code 7: no such table: users (Fail"),
        "{message}"
    );
    let asked = world.requests(mark).await?;
    assert_eq!(asked.resource("pods").count(), 1, "{}", asked.lines());

    // One that only never gets ready: just before the deadline, and once.
    let mark = world.mark().await?;
    world.policy.progress_deadline = Some(Span::from_secs(5));
    let release =
        world.release(&[("app", &[], vec![workload(&world, "Deployment", "web", Some(Failure::Pull))])]);
    world.assign(&release);
    let heard = world.until("diagnosed", |fact| matches!(fact, FactBody::Diagnosed { .. })).await;
    let Some(FactBody::Diagnosed { message, .. }) = heard.last() else { panic!("{heard:#?}") };
    assert!(message.contains("ImagePullBackOff"), "{message}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let asked = world.requests(mark).await?;
    assert_eq!(asked.resource("pods").count(), 1, "{}", asked.lines());

    // A converged cluster costs nothing, and one that was fine and breaks says why.
    world.converge(vec![workload(&world, "Deployment", "web", None)]).await;
    let mark = world.mark().await?;
    assert!(world.handle().causes(&world.fleet).await.unwrap().is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = world.requests(mark).await?;
    assert_eq!(asked.count(), 0, "{}", asked.lines());
    let pods = world.api("v1", "Pod", "pods");
    let list = pods.list(&Default::default()).await?;
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
        "containerStatuses": [{"name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 9}}}]}});
    for pod in list.items {
        let name = pod.metadata.name.unwrap();
        pods.patch_status(&name, &Default::default(), &kube::api::Patch::Merge(&status)).await?;
    }
    let heard = world.until("relapsed", |fact| matches!(fact, FactBody::Unhealthy { .. })).await;
    let Some(FactBody::Unhealthy { cause, .. }) = heard.last() else { panic!("{heard:#?}") };
    assert!(cause.to_string().contains("exit code 9 (0 of 1 replica available)"), "{cause}");
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_missing_is_said() -> Result<()> {
    let plane = shared("alpha").await?;
    let mut world = World::new(plane, "causes-rights").await?;
    let token = plane.mint_token("causes-rights", "limited").await?;
    plane
        .kubectl(&[
            "create",
            "clusterrole",
            "causes-rights",
            "--verb=*",
            "--resource=configmaps,deployments.apps,namespaces",
        ])
        .await?;
    let user = "--serviceaccount=causes-rights:limited";
    plane
        .kubectl(&["create", "clusterrolebinding", "causes-rights", "--clusterrole=causes-rights", user])
        .await?;
    let kubeconfig = plane.kubeconfig_with_token("causes-rights", &token)?;
    world.kill().await;
    world.set_kubeconfig(&std::fs::read_to_string(kubeconfig)?)?;
    world.start();
    let release =
        world.release(&[("app", &[], vec![workload(&world, "Deployment", "web", Some(Failure::Pull))])]);
    world.assign(&release);
    let wanted = "the credential may not list pods and events, so no more is known (namespace causes-rights)";
    are_told(&world, &[("/web", wanted)]).await;
    Ok(())
}

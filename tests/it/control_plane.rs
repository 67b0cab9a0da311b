//! The harness itself: what other tests take for granted.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, WatchParams};
use serde_json::{Value, json};

use crate::harness::{
    ControlPlane, FAIL_ANNOTATION, Failure, Options, Result, User, eventually, kubeconfig_client, shared,
    wait_for,
};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_deployment_becomes_available() -> Result<()> {
    let plane = shared("alpha").await?;
    plane.create_namespace("available").await?;
    let deployments: Api<Deployment> = Api::namespaced(plane.client().await?, "available");

    apply(&deployments, "web", &deployment(3, None)).await?;

    available(&deployments, "web", 3).await
}

#[tokio::test]
async fn a_deployment_fails_in_the_way_its_pods_are_told_to() -> Result<()> {
    let plane = shared("alpha").await?;
    plane.create_namespace("failing").await?;
    let client = plane.client().await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "failing");
    let pods: Api<Pod> = Api::namespaced(client, "failing");
    let mark = plane.audit().mark().await?;
    let all =
        [(Failure::Crash, "CrashLoopBackOff"), (Failure::Pull, "ImagePullBackOff"), (Failure::Unready, "")];

    for (failure, reason) in all {
        let name = failure.as_str();
        apply(&deployments, name, &deployment(1, Some(failure))).await?;

        let labelled = ListParams::default().labels(&format!("failure={name}"));
        wait_for(&format!("a pod that fails: {failure:?}"), SOON, async || {
            let pods = pods.list(&labelled).await?.items;
            Ok(pods.iter().any(|pod| has_failed(pod, reason)).then_some(()))
        })
        .await?;
    }

    // They stay so: by the time that a later one is ready, each was touched once.
    apply(&deployments, "sound", &deployment(1, None)).await?;
    available(&deployments, "sound", 1).await?;
    let events = plane.audit().since(mark).await?.namespace("failing").agent("kwok").verb("patch");
    assert_eq!(events.resource("pods").count(), all.len() + 1, "{}", events.lines());
    Ok(())
}

#[tokio::test]
async fn requests_are_counted_by_agent_verb_and_resource() -> Result<()> {
    let plane = shared("alpha").await?;
    plane.create_namespace("counted").await?;
    let ours: Api<ConfigMap> = Api::namespaced(plane.client_as("counted/1.0 (ours)").await?, "counted");
    let theirs: Api<ConfigMap> = Api::namespaced(plane.client_as("someone-else").await?, "counted");
    apply(&ours, "before", &config_map()).await?;

    let mark = plane.audit().mark().await?;
    apply(&ours, "one", &config_map()).await?;
    apply(&ours, "two", &config_map()).await?;
    assert!(ours.get_opt("three").await?.is_none());
    apply(&theirs, "one", &config_map()).await?;
    let _watching = ours.watch(&WatchParams::default(), "0").await?;
    let events = plane.audit().since(mark).await?;

    let counted = events.agent("counted/").resource("configmaps");
    assert_eq!(counted.verb("patch").count(), 2, "{}", counted.lines());
    assert_eq!(counted.verb("watch").count(), 1, "{}", counted.lines());
    assert_eq!(counted.count(), 4, "{}", counted.lines());
    assert_eq!(events.agent("someone-else").count(), 1, "{}", events.lines());
    let get = counted.verb("get");
    let [get] = get.0.as_slice() else { panic!("{}", counted.lines()) };
    assert_eq!((get.code, get.name.as_str(), get.namespace.as_str()), (404, "three", "counted"));
    assert_eq!((get.user.as_str(), get.group.as_str()), ("admin", ""));
    Ok(())
}

#[tokio::test]
async fn two_control_planes_live_side_by_side() -> Result<()> {
    let (alpha, beta) = (shared("alpha").await?, shared("beta").await?);
    alpha.create_namespace("only-in-alpha").await?;

    let in_alpha: Api<Namespace> = Api::all(alpha.client().await?);
    let in_beta: Api<Namespace> = Api::all(beta.client().await?);
    assert!(in_alpha.get_opt("only-in-alpha").await?.is_some());
    assert!(in_beta.get_opt("only-in-alpha").await?.is_none());
    let identity =
        async |namespaces: Api<Namespace>| namespaces.get("kube-system").await.map(|one| one.metadata.uid);
    assert_ne!(identity(in_alpha).await?, identity(in_beta).await?);
    Ok(())
}

#[tokio::test]
async fn kubectl_is_kubectl() -> Result<()> {
    let plane = shared("beta").await?;
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "by-kubectl", "namespace": "default"}, "data": {"a": "b"},
    });

    plane.kubectl_with_input(&["apply", "--server-side", "-f", "-"], &manifest.to_string()).await?;

    let found =
        plane.kubectl(&["get", "configmap", "by-kubectl", "--show-managed-fields", "-o", "json"]).await?;
    let found: Value = serde_json::from_str(&found)?;
    assert_eq!(found.pointer("/metadata/managedFields/0/manager"), Some(&json!("kubectl")), "{found:#}");
    let error = plane.kubectl(&["get", "configmap", "missing"]).await.unwrap_err().to_string();
    assert!(error.contains("not found"), "{error}");
    Ok(())
}

#[tokio::test]
async fn users_may_do_what_rbac_says() -> Result<()> {
    let users = vec![User::new("viewer", &["viewers"])];
    let plane = ControlPlane::start("users", Options { controllers: false, users }).await?;
    let viewer: Api<ConfigMap> =
        Api::default_namespaced(kubeconfig_client(&plane.kubeconfig_for("viewer")?, "viewer").await?);
    let status = async |api: &Api<ConfigMap>| match api.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) => status.code,
        _ => 200,
    };
    assert_eq!(status(&viewer).await, 403);

    // Not the role "view": without controllers nothing aggregates it.
    plane.kubectl(&["create", "clusterrole", "lister", "--verb=list", "--resource=configmaps"]).await?;
    plane
        .kubectl(&["create", "clusterrolebinding", "lister", "--clusterrole=lister", "--group=viewers"])
        .await?;
    eventually("the viewer's right to view", SOON, async || Ok(status(&viewer).await == 200)).await?;

    let token = plane.mint_token("default", "robot").await?;
    for (name, token, expected) in [("robot", token.as_str(), 403), ("nobody", "wrong", 401)] {
        let kubeconfig = plane.kubeconfig_with_token(name, token)?;
        let api: Api<ConfigMap> = Api::default_namespaced(kubeconfig_client(&kubeconfig, name).await?);
        assert_eq!(status(&api).await, expected, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_cluster_comes_back_with_its_data() -> Result<()> {
    let mut plane = ControlPlane::start("dead", Options { controllers: false, ..Options::default() }).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(plane.client().await?);
    apply(&maps, "kept", &config_map()).await?;
    let (url, mark) = (plane.url(), plane.audit().mark().await?);

    plane.pause()?;
    assert!(tokio::time::timeout(Duration::from_secs(1), maps.get("kept")).await.is_err(), "it should hang");
    plane.resume()?;
    maps.get("kept").await?;

    plane.stop_api_server();
    assert!(maps.get("kept").await.is_err());
    let events = plane.audit().since(mark).await?;
    assert!(events.verb("get").resource("configmaps").count() >= 1, "{}", events.lines());

    plane.start_api_server().await?;
    assert_eq!(plane.url(), url);
    maps.get("kept").await?;
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_a_control_plane_that_was_dropped() -> Result<()> {
    let plane = ControlPlane::start("dropped", Options::default()).await?;
    let folder = plane.folder().to_owned();
    let pids = plane.pids();
    assert!(pids.iter().copied().all(is_running), "{pids:?}");

    drop(plane);

    assert!(!pids.iter().copied().any(is_running), "{pids:?}");
    assert!(!folder.exists(), "{}", folder.display());
    Ok(())
}

/// Runs [`is_killed`] in a process of its own, and kills that.
#[tokio::test]
async fn nothing_is_left_of_a_test_that_was_killed() -> Result<()> {
    let notes = tempfile::NamedTempFile::new()?;
    let mut test = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "control_plane::is_killed"])
        .env(NOTES, notes.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let noted = wait_for("the control plane of the other test", SOON * 3, async || {
        let noted = std::fs::read_to_string(notes.path())?;
        Ok(noted.ends_with('\n').then_some(noted))
    })
    .await;
    test.kill()?;
    test.wait()?;

    let (folder, pids): (PathBuf, Vec<u32>) = serde_json::from_str(&noted?)?;
    eventually("the end of everything", SOON, async || {
        Ok(!folder.exists() && !pids.iter().copied().any(is_running))
    })
    .await
}

/// Where [`is_killed`] says what should not outlive it.
const NOTES: &str = "FAIRLEAD_TEST_NOTES";

#[tokio::test]
#[ignore = "runs until it is killed, by nothing_is_left_of_a_test_that_was_killed"]
#[allow(clippy::disallowed_methods, reason = "a test binary takes no arguments of ours")]
async fn is_killed() -> Result<()> {
    let Some(notes) = std::env::var_os(NOTES) else { return Ok(()) };
    let mut plane = ControlPlane::start("killed", Options::default()).await?;
    // What is stopped can't read the end of its input.
    plane.pause()?;
    let noted = serde_json::to_string(&(plane.folder(), plane.pids()))?;
    std::fs::write(notes, format!("{noted}\n"))?;
    std::future::pending().await
}

/// An orphan that nobody reaps (in a container without an init process) has ended, too.
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

async fn available(deployments: &Api<Deployment>, name: &str, replicas: i32) -> Result<()> {
    wait_for(&format!("{replicas} available replicas of {name}"), SOON, async || {
        let status = deployments.get(name).await?.status.unwrap_or_default();
        Ok((status.available_replicas == Some(replicas)).then_some(()))
    })
    .await
}

async fn apply<K>(api: &Api<K>, name: &str, object: &Value) -> Result<K>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let mut object = object.clone();
    object["metadata"] = json!({"name": name});
    Ok(api.patch(name, &PatchParams::apply("test"), &Patch::Apply(object)).await?)
}

fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "value"}})
}

fn deployment(replicas: u32, failure: Option<Failure>) -> Value {
    let failure = failure.map_or("none", Failure::as_str);
    let labels = json!({"failure": failure});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {FAIL_ANNOTATION: failure}},
                "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]},
            },
        },
    })
}

/// Not ready, and its container waits for that reason (or, without one, runs).
fn has_failed(pod: &Pod, reason: &str) -> bool {
    let status = pod.status.clone().unwrap_or_default();
    let unready = status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "False");
    let states = status.container_statuses.iter().flatten().filter_map(|one| one.state.as_ref());
    let reasons = states.map(|state| state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref()));
    unready && reasons.map(Option::unwrap_or_default).eq([reason])
}

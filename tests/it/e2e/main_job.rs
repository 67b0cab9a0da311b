//! The main job, as a new user would try it: the example fleet with eight targets, two of them real.

use serde_json::{Value, json};

use super::{Kubeconfigs, SOON, Small, config_map, deployment, namespace, runs, target, value};
use crate::harness::{ControlPlane, FAIL_ANNOTATION, Options, shared};
use crate::world::daemon::Daemon;
use crate::world::repository::FleetRepo;

const REAL: [&str; 2] = ["edge-001", "edge-005"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_reaches_the_clusters_that_it_touches_and_a_revert_brings_them_back() {
    let eu = ControlPlane::start("eu", Options::default()).await.unwrap();
    let us = ControlPlane::start("us", Options::default()).await.unwrap();
    let repo = FleetRepo::empty();
    repo.copy_from("examples/fleet");
    let first = repo.push("The example");
    let kubeconfigs = Kubeconfigs::of(&[(REAL[0], eu.kubeconfig()), (REAL[1], us.kubeconfig())]);
    let mut daemon = Daemon::new("e2e", &repo.url(), kubeconfigs.path());

    daemon.start();
    let status = daemon.until("the example runs", SOON, |status| runs(status, &first, &REAL)).await;
    assert_eq!(target(&status, "edge-002")["status"], "offline", "{status:#}");
    let get = ["get", "deployment", "web", "-n", "shop", "-o", "jsonpath={.status.availableReplicas}"];
    assert_eq!(eu.kubectl(&get).await.unwrap(), "2");

    // A change of one target's values touches just that one: the other gets no request at all.
    let mark = us.audit().mark().await.unwrap();
    repo.edit("clusters/eu/edge-001.yaml", "{region: eu,", "{region: eu, replicas: 3,");
    let second = repo.push("Three replicas in edge-001");
    daemon.until("three replicas", SOON, |status| runs(status, &second, &REAL)).await;
    assert_eq!(eu.kubectl(&get).await.unwrap(), "3");
    let requests = us.audit().since(mark).await.unwrap().agent("fairlead/");
    let requests = requests.filter(|event| event.verb != "watch");
    assert_eq!(requests.count(), 0, "{}", requests.lines());

    // A README concerns nobody.
    let mark = eu.audit().mark().await.unwrap();
    repo.write("README.md", "# Our fleet\n");
    let readme = repo.push("A README");
    daemon.until("the README is accepted", SOON, |status| runs(status, &readme, &REAL)).await;
    let requests = eu.audit().since(mark).await.unwrap().agent("fairlead/");
    let requests = requests.filter(|event| event.verb != "watch");
    assert_eq!(requests.count(), 0, "{}", requests.lines());

    // A commit that adds one object, deletes another and changes a third; and its revert.
    repo.write("profiles/retail-edge/shop/extra.yaml", &config_map("shop", "extra", "new"))
        .remove("profiles/retail-edge/shop/rbac.yaml")
        .edit("profiles/retail-edge/shop/web.yaml", "shop/web:1.4.0", "shop/web:1.5.0");
    let bad = repo.push("A change that people will regret");
    daemon.until("the change runs", SOON, |status| runs(status, &bad, &REAL)).await;
    for plane in [&eu, &us] {
        plane.kubectl(&["get", "configmap", "extra", "-n", "shop"]).await.unwrap();
        assert!(plane.kubectl(&["get", "serviceaccount", "web", "-n", "shop"]).await.is_err());
    }
    let reverted = repo.revert(&bad);
    daemon.until("the revert runs", SOON, |status| runs(status, &reverted, &REAL)).await;
    for plane in [&eu, &us] {
        assert!(plane.kubectl(&["get", "configmap", "extra", "-n", "shop"]).await.is_err());
        plane.kubectl(&["get", "serviceaccount", "web", "-n", "shop"]).await.unwrap();
        let image = "jsonpath={.spec.template.spec.containers[0].image}";
        let image = plane.kubectl(&["get", "deployment", "web", "-n", "shop", "-o", image]).await.unwrap();
        assert!(image.ends_with(":1.4.0"), "{image}");
    }

    // A restart of a converged fleet writes nothing and reads no object by itself.
    let mark = eu.audit().mark().await.unwrap();
    assert!(daemon.stop().success());
    daemon.start();
    daemon.until("it is back", SOON, |status| runs(status, &reverted, &REAL)).await;
    let requests = eu.audit().since(mark).await.unwrap().agent("fairlead/");
    for verb in ["patch", "create", "update", "delete"] {
        assert_eq!(requests.verb(verb).count(), 0, "{}", requests.lines());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_bytes_go_back_no_readme_starts_them_again_and_the_fix_is_taken_at_once() {
    let plane = shared("alpha").await.unwrap();
    let mut small = Small::new(plane, "goes-back");
    let ns = "goes-back";
    small
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write("profiles/app/app/web.yaml", &deployment(ns, "web", 1, ""));
    let good = small.repo.push("Good");
    small.daemon.start();
    small.converged(&good).await;

    let crash = format!("{FAIL_ANNOTATION}: crash");
    small.repo.write("profiles/app/app/web.yaml", &deployment(ns, "web", 1, &crash));
    let bad = small.repo.push("Bad");
    let status = small
        .daemon
        .until("the fleet went back", SOON, |status| {
            let fleet = &status["fleets"][0];
            fleet["state"] == "failed" && target(status, "edge-001")["converged"]["commit"] == *good
        })
        .await;
    let fleet = &status["fleets"][0];
    assert_eq!(fleet["accepted"], *good, "{status:#}");
    let reason = fleet["reason"].as_str().unwrap();
    assert!(reason.contains("edge-001") && reason.contains("Deployment goes-back/web"), "{reason}");
    let annotations = "jsonpath={.spec.template.metadata.annotations}";
    let annotations =
        plane.kubectl(&["get", "deployment", "web", "-n", ns, "-o", annotations]).await.unwrap();
    assert!(!annotations.contains("crash"), "{annotations}");

    // A README does not start the bad bytes again.
    let readme = small.repo.write("README.md", "# Fleet\n").push("README");
    let status = small
        .daemon
        .until("the README is seen", SOON, |status| status["fleets"][0]["observed"] == *readme)
        .await;
    assert_eq!(status["fleets"][0]["state"], "failed", "{status:#}");

    let fixed = small.repo.write("profiles/app/app/web.yaml", &deployment(ns, "web", 2, "")).push("Fixed");
    small.converged(&fixed).await;
    assert_ne!(bad, fixed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_put_right() {
    let plane = shared("alpha").await.unwrap();
    let mut small = Small::new(plane, "drift");
    let ns = "drift";
    small
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write("profiles/app/app/settings.yaml", &config_map(ns, "settings", "right"))
        .write("profiles/app/app/web.yaml", &deployment(ns, "web", 1, ""));
    let commit = small.repo.push("First");
    small.daemon.start();
    small.converged(&commit).await;

    let patch = ["patch", "configmap", "settings", "-n", ns, "-p", r#"{"data":{"value":"wrong"}}"#];
    plane.kubectl(&patch).await.unwrap();
    healed(plane, &["get", "configmap", "settings", "-n", ns, "-o", "jsonpath={.data.value}"], "right").await;

    plane.kubectl(&["scale", "deployment", "web", "-n", ns, "--replicas=4"]).await.unwrap();
    healed(plane, &["get", "deployment", "web", "-n", ns, "-o", "jsonpath={.spec.replicas}"], "1").await;

    plane.kubectl(&["delete", "configmap", "settings", "-n", ns]).await.unwrap();
    healed(plane, &["get", "configmap", "settings", "-n", ns, "-o", "jsonpath={.data.value}"], "right").await;

    let strip = ["label", "configmap", "settings", "-n", ns, "applyset.kubernetes.io/part-of-"];
    plane.kubectl(&strip).await.unwrap();
    let label = r"jsonpath={.metadata.labels.applyset\.kubernetes\.io/part-of}";
    let get = ["get", "configmap", "settings", "-n", ns, "-o", label];
    crate::world::eventually("the label is back", SOON, async || {
        let found = plane.kubectl(&get).await.map_err(|e| e.to_string())?;
        if found.starts_with("applyset-") { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_holds_is_listed_and_healed_when_the_time_is_over() {
    let plane = shared("alpha").await.unwrap();
    let ns = "break-glass";
    let mut small = Small::new(plane, ns);
    small
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write("profiles/app/app/settings.yaml", &config_map(ns, "settings", "right"));
    let commit = small.repo.push("First");
    small.daemon.start();
    small.converged(&commit).await;

    let until = jiff::Timestamp::now() + std::time::Duration::from_secs(8);
    let hold = format!("fairlead.dev/hold-until={until}");
    plane.kubectl(&["annotate", "configmap", "settings", "-n", ns, &hold]).await.unwrap();
    let patch = ["patch", "configmap", "settings", "-n", ns, "-p", r#"{"data":{"value":"by hand"}}"#];
    plane.kubectl(&patch).await.unwrap();
    let expected = format!("ConfigMap {ns}/settings is not healed until {until}, by kubectl-annotate");
    let listed = |status: &Value| target(status, "edge-001")["breakGlass"] == json!([expected]);
    small.daemon.until("it is listed", SOON, listed).await;
    let drifts =
        |status: &Value| target(status, "edge-001")["drift"] == json!([format!("ConfigMap {ns}/settings")]);
    small.daemon.until("the drift is said", SOON, drifts).await;
    assert_eq!(value(plane, ns, "settings").await.as_deref(), Some("by hand"));
    let explained = String::from_utf8(small.daemon.command(&["explain", "edge-001"]).stdout).unwrap();
    assert!(explained.contains(&expected), "{explained}");

    // A restart does not heal it either.
    small.daemon.kill().start();
    small.daemon.until("it is listed again", SOON, listed).await;
    assert!(jiff::Timestamp::now() < until, "too slow to show anything");
    assert_eq!(value(plane, ns, "settings").await.as_deref(), Some("by hand"));

    healed(plane, &["get", "configmap", "settings", "-n", ns, "-o", "jsonpath={.data.value}"], "right").await;
    assert!(jiff::Timestamp::now() >= until, "healed too early");
    small
        .daemon
        .until("it is listed no more", SOON, |status| target(status, "edge-001")["breakGlass"] == json!([]))
        .await;
}

async fn healed(plane: &ControlPlane, get: &[&str], wanted: &str) {
    crate::world::eventually(&format!("{get:?} gives {wanted}"), SOON, async || {
        let found = plane.kubectl(get).await.map_err(|error| error.to_string())?;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

//! Bad luck with clusters, by the rows of the table of threats and faults.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::adoption::map;
use super::{
    FLEET, Kubeconfigs, PROFILE, SOON, Small, TARGET, config_map, deployment, namespace, runs, target,
};
use crate::harness::{ControlPlane, FAIL_ANNOTATION, Options, shared};
use crate::world::daemon::Daemon;
use crate::world::eventually;

const NO_CONTROLLERS: Options = Options { controllers: false, users: Vec::new() };

/// Many ConfigMaps in one file.
fn maps(namespace: &str, count: usize, value: &str) -> String {
    (0..count).map(|i| config_map(namespace, &format!("map-{i:03}"), value)).collect::<Vec<_>>().join("---\n")
}

async fn gives(plane: &ControlPlane, get: &[&str], wanted: &str) {
    eventually(&format!("{get:?} gives {wanted:?}"), SOON, async || {
        let found = plane.kubectl(get).await.map_err(|error| error.to_string())?;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_does_not_answer_is_unknown_and_never_empty() {
    let mut plane = ControlPlane::start("row-02", NO_CONTROLLERS).await.unwrap();
    let ns = "row-02";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(&plane, ns);
    small
        .repo
        .write("profiles/app/app/maps.yaml", &maps(ns, 60, "a"))
        .write("profiles/app/app/goes.yaml", &config_map(ns, "goes", "a"));
    let first = small.repo.push("Sixty");
    small.daemon.start();
    small.converged(&first).await;

    // The server goes in the middle of a change that also drops an object.
    let mark = plane.audit().mark().await.unwrap();
    small.repo.write("profiles/app/app/maps.yaml", &maps(ns, 60, "b")).remove("profiles/app/app/goes.yaml");
    let second = small.repo.push("All changed, one dropped");
    eventually("the first changes", SOON, async || {
        let patches =
            plane.audit().since(mark).await.map_err(|e| e.to_string())?.agent("fairlead/").verb("patch");
        if patches.count() > 0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    plane.stop_api_server();
    let offline = |status: &Value| target(status, "edge-001")["status"] == "offline";
    small.daemon.until("offline", SOON, offline).await;
    // Nor does a daemon that starts now know better.
    small.daemon.kill();
    small.daemon.start();
    small.daemon.until("offline, still", SOON, offline).await;

    plane.start_api_server().await.unwrap();
    small.converged(&second).await;
    let ours = plane.audit().since(mark).await.unwrap().agent("fairlead/");
    let deletes: Vec<_> = ours.verb("delete").0.into_iter().map(|event| event.name).collect();
    assert_eq!(deletes, ["goes"], "{}", ours.lines());
    assert_eq!(ours.verb("deletecollection").count(), 0);
    for i in [0, 30, 59] {
        assert_eq!(map(&plane, ns, &format!("map-{i:03}")).await["data"]["value"], "b");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_moves_between_fleets_keeps_its_uid() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-04";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(plane, ns);
    let moves = config_map(ns, "moves", "a");
    small
        .repo
        .write("profiles/app/app/moves.yaml", &moves)
        .write("profiles/app/app/one.yaml", &config_map(ns, "one", "a"))
        .write("profiles/more/profile.yaml", &PROFILE.replace("app", "more"))
        .write("profiles/more/more/two.yaml", &config_map(ns, "two", "a"))
        .write("fleets/more.yaml", &FLEET.replace("name: retail", "name: more").replace("app", "more"));
    let accepted = |status: &Value, commit: &str| {
        let fleets = status["fleets"].as_array().unwrap();
        let targets = status["targets"].as_array().unwrap();
        fleets.len() == 2
            && fleets.iter().all(|fleet| fleet["accepted"] == commit)
            && targets.len() == 2
            && targets.iter().all(|target| target["status"] == "converged")
    };
    let first = small.repo.push("Two fleets");
    small.daemon.start();
    small.daemon.until("both fleets", SOON, |status| accepted(status, &first)).await;
    let before = map(plane, ns, "moves").await;

    // There, and back again.
    for (from, to) in [("app/app", "more/more"), ("more/more", "app/app")] {
        let mark = plane.audit().mark().await.unwrap();
        small
            .repo
            .remove(&format!("profiles/{from}/moves.yaml"))
            .write(&format!("profiles/{to}/moves.yaml"), &moves);
        let moved = small.repo.push("It moves");
        small.daemon.until("it has moved", SOON, |status| accepted(status, &moved)).await;
        let after = map(plane, ns, "moves").await;
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
        let deletes = plane.audit().since(mark).await.unwrap().namespace(ns).verb("delete");
        assert_eq!(deletes.count(), 0, "{}", deletes.lines());
        let label = |object: &Value| object["metadata"]["labels"]["applyset.kubernetes.io/part-of"].clone();
        let owner = map(plane, ns, if to == "app/app" { "one" } else { "two" }).await;
        assert_eq!(label(&after), label(&owner));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offline_cluster_is_skipped_and_catches_up_when_it_returns() {
    let plane = shared("alpha").await.unwrap();
    let mut away = ControlPlane::start("row-12", NO_CONTROLLERS).await.unwrap();
    let ns = "row-12";
    plane.create_namespace(ns).await.unwrap();
    away.create_namespace(ns).await.unwrap();
    let small = Small::new(plane, ns);
    let kubeconfigs = Kubeconfigs::of(&[("edge-001", plane.kubeconfig()), ("edge-002", away.kubeconfig())]);
    let mut daemon = Daemon::new(ns, &small.repo.url(), kubeconfigs.path());
    small
        .repo
        .write("clusters/edge-002.yaml", &TARGET.replace("edge-001", "edge-002"))
        .write("profiles/app/app/map.yaml", &config_map(ns, "map", "a"));
    let first = small.repo.push("First");
    daemon.start();
    daemon.until("both", SOON, |status| runs(status, &first, &["edge-001", "edge-002"])).await;

    away.stop_api_server();
    daemon.until("one is away", SOON, |status| target(status, "edge-002")["status"] == "offline").await;
    let second = small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "map", "b")).push("Second");
    let status =
        daemon.until("accepted without it", SOON, |status| runs(status, &second, &["edge-001"])).await;
    let offline = target(&status, "edge-002");
    assert_eq!(offline["status"], "offline", "{status:#}");
    // What it had is not forgotten.
    assert_eq!(offline["converged"]["commit"], *first, "{status:#}");

    away.start_api_server().await.unwrap();
    let status =
        daemon.until("it catches up", SOON, |status| runs(status, &second, &["edge-001", "edge-002"])).await;
    assert_eq!(target(&status, "edge-002")["converged"]["commit"], *second, "{status:#}");
    assert_eq!(map(&away, ns, "map").await["data"]["value"], "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_told_to_stop_while_it_applies_goes_on_where_it_was() {
    const COUNT: usize = 150;
    let plane = shared("alpha").await.unwrap();
    let ns = "row-20";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(plane, ns);
    let first = small.repo.write("profiles/app/app/maps.yaml", &maps(ns, COUNT, "a")).push("Many");
    let mark = plane.audit().mark().await.unwrap();
    let applies = async || {
        let ours = plane.audit().since(mark).await.unwrap().agent("fairlead/").namespace(ns);
        ours.verb("patch").resource("configmaps")
    };
    small.daemon.start();
    eventually("some are applied", SOON, async || {
        let count = applies().await.count();
        if count >= 3 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    let asked = Instant::now();
    assert!(small.daemon.stop().success());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "stopping took {took:?}");
    let before = applies().await.count();
    small.daemon.start();
    small.converged(&first).await;
    let all = applies().await;
    let mut names: Vec<_> = all.0.iter().map(|event| event.name.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), COUNT);
    // Twice at most those whose answers were lost, and those that the ledger had not yet as applied.
    assert!(all.count() <= COUNT + before, "{before} before, {} in all", all.count());
    let get = ["get", "configmap", "-n", ns, "-o", "name", "-l", "applyset.kubernetes.io/part-of"];
    assert_eq!(plane.kubectl(&get).await.unwrap().lines().count(), COUNT);

    // And nothing more is done then.
    let mark = plane.audit().mark().await.unwrap();
    assert!(small.daemon.stop().success());
    small.daemon.start();
    small.converged(&first).await;
    let ours = plane.audit().since(mark).await.unwrap().agent("fairlead/").namespace(ns);
    assert_eq!(ours.verb("patch").count(), 0, "{}", ours.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_keeps_the_field_that_the_fleet_ignores() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-23-scaled";
    let mut small = Small::new(plane, ns);
    let ignore = "  drift: {ignore: [{kind: Deployment, path: /spec/replicas}]}\n";
    small
        .repo
        .write("fleets/retail.yaml", &format!("{FLEET}{ignore}"))
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write("profiles/app/app/web.yaml", &deployment(ns, "web", 1, ""));
    let first = small.repo.push("First");
    small.daemon.start();
    small.converged(&first).await;

    plane.kubectl(&["scale", "deployment", "web", "-n", ns, "--replicas=3"]).await.unwrap();
    let available = ["get", "deployment", "web", "-n", ns, "-o", "jsonpath={.status.availableReplicas}"];
    gives(plane, &available, "3").await;
    let mark = plane.audit().mark().await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ours = plane.audit().since(mark).await.unwrap().agent("fairlead/").namespace(ns);
    assert_eq!(ours.verb("patch").count(), 0, "{}", ours.lines());

    // A change of something else leaves it alone; someone else's change of something else is put right.
    let second =
        small.repo.write("profiles/app/app/web.yaml", &deployment(ns, "web", 1, "note: new")).push("Note");
    small.converged(&second).await;
    gives(plane, &available, "3").await;
    let image = ["set", "image", "deployment/web", "-n", ns, "main=example.com/main:2"];
    plane.kubectl(&image).await.unwrap();
    let image = "jsonpath={.spec.template.spec.containers[0].image} {.spec.replicas}";
    gives(plane, &["get", "deployment", "web", "-n", ns, "-o", image], "example.com/main:1 3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_fights_is_named_and_not_answered_in_a_hot_loop() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-23-fight";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(plane, ns);
    let first =
        small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "fought", "ours")).push("First");
    small.daemon.start();
    small.converged(&first).await;

    // It answers every write of ours with one of its own, as a controller does.
    let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
        kube::Api::namespaced(plane.client().await.unwrap(), ns);
    let mark = plane.audit().mark().await.unwrap();
    let fighter = tokio::spawn(async move {
        let theirs = serde_json::json!({"data": {"value": "theirs"}});
        loop {
            let found = maps.get("fought").await.unwrap();
            if found.data.unwrap_or_default().get("value").is_some_and(|value| value == "ours") {
                let params = kube::api::PatchParams::default();
                maps.patch("fought", &params, &kube::api::Patch::Merge(&theirs)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let status = small
        .daemon
        .until("contested", SOON, |status| {
            target(status, "edge-001")["drift"].as_array().is_some_and(|drift| !drift.is_empty())
        })
        .await;
    let drift = target(&status, "edge-001")["drift"].to_string();
    assert!(drift.contains("ConfigMap row-23-fight/fought"), "{drift}");
    let history = String::from_utf8(small.daemon.command(&["history", "edge-001"]).stdout).unwrap();
    assert!(history.contains("contested: ConfigMap row-23-fight/fought"), "{history}");
    let heals = plane.audit().since(mark).await.unwrap().agent("fairlead/").verb("patch").namespace(ns);
    assert!(heals.count() <= 8, "{} heals before it was called a fight", heals.count());

    let mark = plane.audit().mark().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let heals = plane.audit().since(mark).await.unwrap().agent("fairlead/").verb("patch").namespace(ns);
    assert!(heals.count() <= 2, "{}", heals.lines());
    fighter.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_git_removes_disappears_and_a_foreign_one_stays() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-24";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(plane, ns);
    let with = |namespace: &str, name: &str| {
        config_map(namespace, name, "a").replace("value: \"a\"", "value: \"a\", gone: \"soon\"")
    };
    small
        .repo
        .write("profiles/app/app/one.yaml", &with(ns, "one"))
        .write("profiles/app/app/two.yaml", &with(ns, "two"));
    let first = small.repo.push("With the field");
    small.daemon.start();
    small.converged(&first).await;
    for name in ["one", "two"] {
        assert_eq!(map(plane, ns, name).await["data"]["gone"], "soon");
        let foreign = r#"{"data":{"foreign":"stays"}}"#;
        plane.kubectl(&["patch", "configmap", name, "-n", ns, "-p", foreign]).await.unwrap();
    }

    small
        .repo
        .write("profiles/app/app/one.yaml", &config_map(ns, "one", "a"))
        .write("profiles/app/app/two.yaml", &config_map(ns, "two", "a"));
    let second = small.repo.push("Without the field");
    small.converged(&second).await;
    for name in ["one", "two"] {
        let data = &map(plane, ns, name).await["data"];
        assert_eq!(*data, serde_json::json!({"value": "a", "foreign": "stays"}), "{name}");
    }
}

const CRD: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gauges.row25.example.com}
spec:
  group: row25.example.com
  names: {kind: Gauge, plural: gauges}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {level: {type: integer}}}}}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crd_and_its_objects_come_in_one_commit() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-25";
    let mut small = Small::new(plane, ns);
    let gauge = |level: u32| {
        format!(
            "apiVersion: row25.example.com/v1\nkind: Gauge\nmetadata: {{name: tank, namespace: {ns}}}\nspec: {{level: {level}}}\n"
        )
    };
    let first = small.repo.write("profiles/app/app/namespace.yaml", &namespace(ns)).push("Nothing yet");
    small.daemon.start();
    small.converged(&first).await;
    let second = small
        .repo
        .write("profiles/app/app/a-gauge.yaml", &gauge(1))
        .write("profiles/app/app/crd.yaml", CRD)
        .push("A kind and one of it");
    small.converged(&second).await;
    let level = ["get", "gauges.row25.example.com", "tank", "-n", ns, "-o", "jsonpath={.spec.level}"];
    gives(plane, &level, "1").await;

    // It is watched as any other object.
    let patch = [
        "patch",
        "gauges.row25.example.com",
        "tank",
        "-n",
        ns,
        "--type=merge",
        "-p",
        r#"{"spec":{"level":9}}"#,
    ];
    plane.kubectl(&patch).await.unwrap();
    gives(plane, &level, "1").await;

    // Going back takes the object; the definition is protected, left, and hinders nothing.
    let third = small.repo.revert(&second);
    small.converged(&third).await;
    assert!(plane.kubectl(&level).await.is_err());
}

const WEBHOOK: &str = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: row-26}
webhooks:
- name: closed.row-26.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 2
  clientConfig: {url: 'https://127.0.0.1:1/validate'}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: row-26}}
  rules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admission_webhook_that_is_down_is_no_fault_of_the_commit() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-26";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(plane, ns);
    small.repo.edit("fleets/retail.yaml", "progressDeadline: 15s", "progressDeadline: 5s");
    let first = small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "map", "a")).push("First");
    small.daemon.start();
    small.converged(&first).await;

    plane.kubectl_with_input(&["apply", "-f", "-"], WEBHOOK).await.unwrap();
    let refused = async || {
        let patch =
            ["patch", "configmap", "map", "-n", ns, "--dry-run=server", "-p", r#"{"data":{"x":"y"}}"#];
        match plane.kubectl(&patch).await {
            Err(_) => Ok(()),
            Ok(_) => Err("it is not in force yet".to_owned()),
        }
    };
    eventually("the webhook stands in the way", SOON, refused).await;
    let second = small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "map", "b")).push("Second");
    let status =
        small.daemon.until("stalled", SOON, |status| target(status, "edge-001")["status"] == "stalled").await;
    let reason = target(&status, "edge-001")["reason"].as_str().unwrap();
    assert!(reason.contains("closed.row-26.example.com"), "{reason}");
    // Well past the deadline.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let status = small.daemon.status().unwrap();
    let state = status["fleets"][0]["state"].as_str().unwrap();
    assert_eq!(state, "rollingOut", "{status:#}");
    let reason = status["fleets"][0]["reason"].as_str().unwrap();
    let stalled = "0 of 1 converged, 1 stalled by a cluster problem: edge-001: ";
    assert!(reason.starts_with(stalled) && reason.contains("closed.row-26.example.com"), "{reason}");
    assert_eq!(target(&status, "edge-001")["status"], "stalled", "{status:#}");

    plane.kubectl(&["delete", "validatingwebhookconfiguration", "row-26"]).await.unwrap();
    small.converged(&second).await;
    assert_eq!(map(plane, ns, "map").await["data"]["value"], "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_terminates_ends_and_is_made_anew() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-27";
    let mut small = Small::new(plane, ns);
    small
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write("profiles/app/app/map.yaml", &config_map(ns, "map", "a"));
    let first = small.repo.push("First");
    small.daemon.start();
    small.converged(&first).await;
    let uid = ["get", "namespace", ns, "-o", "jsonpath={.metadata.uid}"];
    let before = plane.kubectl(&uid).await.unwrap();

    // Something in it does not go, so it terminates for a while.
    let stays =
        config_map(ns, "stays", "x").replace("metadata: {", "metadata: {finalizers: [example.com/stay], ");
    plane.kubectl_with_input(&["apply", "-f", "-"], &stays).await.unwrap();
    plane.kubectl(&["delete", "namespace", ns, "--wait=false"]).await.unwrap();
    gives(plane, &["get", "configmap", "-n", ns, "-o", "jsonpath={.items[*].metadata.name}"], "stays").await;
    let mark = plane.audit().mark().await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let ours =
        plane.audit().since(mark).await.unwrap().filter(|event| event.user_agent.ends_with("(row-27)"));
    let writes = ours.filter(|event| ["patch", "create", "update", "delete"].contains(&event.verb.as_str()));
    assert!(writes.count() <= 20, "a hot loop: {}", writes.lines());
    let status = small.daemon.status().unwrap();
    assert_ne!(status["fleets"][0]["state"], "returning", "{status:#}");

    let free = [
        "patch",
        "configmap",
        "stays",
        "-n",
        ns,
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ];
    plane.kubectl(&free).await.unwrap();
    eventually("the namespace is another, with our object in it", SOON, async || {
        let after = plane.kubectl(&uid).await.map_err(|e| e.to_string())?;
        plane.kubectl(&["get", "configmap", "map", "-n", ns]).await.map_err(|e| e.to_string())?;
        if after == before { Err(after) } else { Ok(()) }
    })
    .await;
    small.converged(&first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_commit_is_taken_at_once_while_an_old_one_is_waited_for() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-29";
    let mut small = Small::new(plane, ns);
    small.repo.edit("fleets/retail.yaml", "progressDeadline: 15s", "progressDeadline: 1h");
    let crash = format!("{FAIL_ANNOTATION}: unready");
    small
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write("profiles/app/app/web.yaml", &deployment(ns, "web", 1, &crash))
        .push("It never becomes ready");
    small.daemon.start();
    small
        .daemon
        .until("it waits", SOON, |status| {
            target(status, "edge-001")["reason"].as_str().is_some_and(|reason| reason.contains("waiting for"))
        })
        .await;
    let fixed = small.repo.write("profiles/app/app/web.yaml", &deployment(ns, "web", 1, "")).push("Fixed");
    small.converged(&fixed).await;
}

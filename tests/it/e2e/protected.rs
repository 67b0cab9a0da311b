//! Protected kinds: what Git drops of them stays until a person lets it go, and everybody can see that.

use serde_json::{Value, json};

use super::{FLEET, SOON, Small, TARGET, config_map, namespace, target};
use crate::harness::shared;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_protected_stays_and_is_named_until_a_person_lets_it_go() {
    let plane = shared("alpha").await.unwrap();
    let (ns, dropped) = ("protected", "protected-dropped");
    let mut small = Small::new(plane, ns);
    let first = small
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write("profiles/app/app/dropped.yaml", &namespace(dropped))
        .write("profiles/app/app/map.yaml", &config_map(ns, "map", "a"))
        .push("First");
    small.daemon.start();
    let status = small.converged(&first).await;
    assert_eq!(target(&status, "edge-001")["kept"], json!([]));

    // Convergence doesn't wait for it.
    let second = small.repo.remove("profiles/app/app/dropped.yaml").push("One namespace less");
    let status = small.converged(&second).await;
    let named = |status: &Value| {
        let target = target(status, "edge-001");
        let reason = target["reason"].as_str().unwrap_or_default();
        let kept = target["kept"][0].as_str().unwrap_or_default();
        reason.contains("1 dropped object or field stays: Namespace protected-dropped")
            && reason.contains("fairlead approve")
            && kept.starts_with("Namespace protected-dropped: ")
    };
    assert!(named(&status), "{status:#}");
    let history = String::from_utf8(small.daemon.command(&["history", "edge-001"]).stdout).unwrap();
    assert!(history.contains("kept: Namespace protected-dropped"), "{history}");
    assert!(small.daemon.stop().success());
    small.daemon.start();
    small.daemon.until("it is named after a restart too", SOON, named).await;
    plane.kubectl(&["get", "namespace", dropped]).await.unwrap();

    let done = small.daemon.command(&["approve", "retail", "--reason", "nobody lives there"]);
    assert!(done.status.success(), "{done:?}");
    let gone = |status: &Value| {
        let target = target(status, "edge-001");
        target["status"] == "converged" && target["kept"] == json!([]) && target["reason"].is_null()
    };
    small.daemon.until("it goes", SOON, gone).await;
    assert!(plane.kubectl(&["get", "namespace", dropped]).await.is_err());
    plane.kubectl(&["get", "namespace", ns]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_leaves_deletes_no_more_than_the_budget_until_a_person_allows_it() {
    let plane = shared("alpha").await.unwrap();
    let ns = "leaves-budget";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(plane, ns);
    let maps = (0..8).map(|i| config_map(ns, &format!("map-{i}"), "a")).collect::<Vec<_>>().join("---\n");
    small
        .repo
        .write("fleets/retail.yaml", &format!("{FLEET}  onRemoval: Delete\n"))
        .write("profiles/app/app/maps.yaml", &maps)
        // It is there so that the fleet does not become empty; nobody knows how to reach it.
        .write("clusters/edge-002.yaml", &TARGET.replace("edge-001", "edge-002"));
    let first = small.repo.push("First");
    small.daemon.start();
    small.converged(&first).await;
    let ours = async || {
        let get = ["get", "configmap", "-n", ns, "-o", "name", "-l", "applyset.kubernetes.io/part-of"];
        plane.kubectl(&get).await.unwrap().lines().count()
    };
    assert_eq!(ours().await, 8);

    small.repo.remove("clusters/edge-001.yaml").push("Edge 1 leaves");
    let held = |status: &Value| {
        let target = target(status, "edge-001");
        let reason = target["reason"].as_str().unwrap_or_default();
        target["status"] == "leaving" && reason.contains("would delete 8 of 8") && reason.contains("approve")
    };
    small.daemon.until("it would delete too much", SOON, held).await;
    assert!(small.daemon.stop().success());
    small.daemon.start();
    small.daemon.until("it would, still", SOON, held).await;
    assert_eq!(ours().await, 8);
    let done = small.daemon.command(&["approve", "retail", "--reason", "it is sold"]);
    assert!(done.status.success(), "{done:?}");
    small.daemon.until("it has left", SOON, |status| target(status, "edge-001").is_null()).await;
    assert_eq!(ours().await, 0);
}

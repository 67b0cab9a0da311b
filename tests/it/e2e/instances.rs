//! Several owners of one cluster.

use std::time::Duration;

use super::adoption::map;
use super::{Kubeconfigs, SOON, Small, TARGET, config_map, target};
use crate::harness::shared;
use crate::world::daemon::Daemon;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_on_one_cluster_leave_each_others_objects_alone() {
    let plane = shared("alpha").await.unwrap();
    let ns = "two-daemons";
    plane.create_namespace(ns).await.unwrap();
    let mut one = Small::new(plane, "two-one");
    let mut two = Small::new(plane, "two-two");
    for (small, name) in [(&one, "one"), (&two, "two")] {
        small
            .repo
            .write(&format!("profiles/app/app/{name}.yaml"), &config_map(ns, name, "a"))
            .write("profiles/app/app/goes.yaml", &config_map(ns, &format!("{name}-goes"), "a"));
    }
    let (first, second) = (one.repo.push("One"), two.repo.push("Two"));
    one.daemon.start();
    two.daemon.start();
    one.converged(&first).await;
    two.converged(&second).await;

    // Each prunes its own only.
    let first = one.repo.remove("profiles/app/app/goes.yaml").push("One goes");
    one.converged(&first).await;
    assert!(plane.kubectl(&["get", "configmap", "one-goes", "-n", ns]).await.is_err());
    for name in ["one", "two", "two-goes"] {
        plane.kubectl(&["get", "configmap", name, "-n", ns]).await.unwrap();
    }

    // What one has, the other can't have.
    // creationTimestamps are whole seconds.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let taken = config_map(ns, "one", "theirs");
    two.repo.write("profiles/app/app/taken.yaml", &taken).push("What the other has");
    let status =
        two.daemon.until("held", SOON, |status| target(status, "edge-001")["status"] == "held").await;
    let reason = target(&status, "edge-001")["reason"].as_str().unwrap();
    assert!(reason.contains("ConfigMap two-daemons/one") && reason.contains("another set"), "{reason}");
    assert_eq!(map(plane, ns, "one").await["data"]["value"], "a");

    // One leaves; the other's stay as they are.
    let second = two.repo.remove("profiles/app/app/taken.yaml").push("Not that");
    two.converged(&second).await;
    let before = map(plane, ns, "two").await;
    assert!(one.daemon.command(&["leave", "edge-001", "--reason", "test"]).status.success());
    one.daemon.until("one has left", SOON, |status| target(status, "edge-001")["status"] == "held").await;
    assert_eq!(map(plane, ns, "two").await, before);
    let status = two.daemon.status().unwrap();
    assert_eq!(target(&status, "edge-001")["status"], "converged", "{status:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cluster_under_two_names_is_an_error_and_only_one_is_served() {
    let plane = shared("alpha").await.unwrap();
    let ns = "two-names";
    plane.create_namespace(ns).await.unwrap();
    let small = Small::new(plane, ns);
    let kubeconfigs = Kubeconfigs::of(&[("edge-001", plane.kubeconfig()), ("edge-002", plane.kubeconfig())]);
    let mut daemon = Daemon::new(ns, &small.repo.url(), kubeconfigs.path());
    small
        .repo
        .write("clusters/edge-002.yaml", &TARGET.replace("edge-001", "edge-002"))
        .write("profiles/app/app/where.yaml", &config_map(ns, "where", "${{ cluster.name }}"))
        .push("Two names");
    daemon.start();
    let names = ["edge-001", "edge-002"];
    let status = daemon
        .until("one is held", SOON, |status| {
            let mut standings: Vec<_> = names.map(|name| target(status, name)["status"].as_str()).into();
            standings.sort();
            standings == [Some("converged"), Some("held")]
        })
        .await;
    let (held, served) = if target(&status, names[0])["status"] == "held" {
        (names[0], names[1])
    } else {
        (names[1], names[0])
    };
    let reason = target(&status, held)["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("the cluster is also the target {served}")), "{reason}");
    assert_eq!(map(plane, ns, "where").await["data"]["value"], served);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cluster_under_two_names_in_two_fleets_is_an_error_too() {
    let plane = shared("alpha").await.unwrap();
    let ns = "two-fleets";
    plane.create_namespace(ns).await.unwrap();
    let small = Small::new(plane, ns);
    let kubeconfigs = Kubeconfigs::of(&[("edge-001", plane.kubeconfig()), ("edge-002", plane.kubeconfig())]);
    let mut daemon = Daemon::new(ns, &small.repo.url(), kubeconfigs.path());
    let first = small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "first", "a")).push("One");
    daemon.start();
    daemon.until("the first runs", SOON, |status| super::runs(status, &first, &["edge-001"])).await;

    small
        .repo
        .write("clusters/edge-002.yaml", &TARGET.replace("edge-001", "edge-002").replace("retail", "more"))
        .write("profiles/more/profile.yaml", &super::PROFILE.replace("app", "more"))
        .write("profiles/more/more/map.yaml", &config_map(ns, "second", "a"))
        .write("fleets/more.yaml", &super::FLEET.replace("retail", "more").replace("app", "more"))
        .push("The same cluster in another fleet");
    let status = daemon
        .until("the second is held", SOON, |status| target(status, "edge-002")["status"] == "held")
        .await;
    let reason = target(&status, "edge-002")["reason"].as_str().unwrap();
    assert!(reason.contains("the cluster is also the target edge-001"), "{reason}");
    assert!(plane.kubectl(&["get", "configmap", "second", "-n", ns]).await.is_err());
    assert_eq!(target(&status, "edge-001")["status"], "converged", "{status:#}");
}

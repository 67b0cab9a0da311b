//! What waits for a person does not fail by the clock, says what to do, and goes on by itself once that is done.

use std::time::Duration;

use serde_json::Value;

use super::{SOON, Small, config_map, target, value};
use crate::harness::shared;

/// Longer than the progress deadline of [`super::FLEET`].
const PAST_THE_DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_the_status_until_a_person_acts_and_then_goes_on_by_itself() {
    let plane = shared("alpha").await.unwrap();
    let ns = "holds-e2e";
    let mut small = Small::new(plane, ns);
    plane.create_namespace(ns).await.unwrap();
    small.repo.write("profiles/app/app/ok.yaml", &config_map(ns, "ok", "1"));
    let first = small.repo.push("Good");
    small.daemon.start();
    small.converged(&first).await;
    let ok = small.daemon.command(&["status"]);
    assert_eq!(ok.status.code(), Some(0), "{ok:?}");

    plane.kubectl_with_input(&["apply", "-f", "-"], &config_map(ns, "x", "theirs")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    small
        .repo
        .write("profiles/app/app/ok.yaml", &config_map(ns, "ok", "2"))
        .write("profiles/app/app/x.yaml", &config_map(ns, "x", "ours"));
    let conflict = small.repo.push("One that kubectl owns");
    let held = |status: &Value| {
        let (fleet, edge) = (&status["fleets"][0], target(status, "edge-001"));
        fleet["state"] == "held" && edge["status"] == "held"
    };
    small.daemon.until("held", SOON, held).await;
    // The other object was applied meanwhile, and nothing of that hides the hold: it is looked at until it is stable, and
    // again after the deadline.
    let end = tokio::time::Instant::now() + PAST_THE_DEADLINE;
    while tokio::time::Instant::now() < end {
        let status = small.daemon.status().unwrap();
        assert!(held(&status), "{status:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(value(plane, ns, "ok").await.as_deref(), Some("2"));
    let status = small.daemon.status().unwrap();
    for reason in [&status["fleets"][0]["reason"], &target(&status, "edge-001")["reason"]] {
        let reason = reason.as_str().unwrap();
        for word in ["ConfigMap holds-e2e/x was there before", "kubectl", "'fairlead adopt edge-001'"] {
            assert!(reason.contains(word), "no {word} in: {reason}");
        }
    }
    let table = small.daemon.command(&["status"]);
    assert_eq!(table.status.code(), Some(1), "{table:?}");
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(!text.contains("progressing") && text.contains("fairlead adopt edge-001"), "{text}");

    // Once is enough, whatever becomes of the daemon: it dies before the worker could do anything.
    let done = small.daemon.command(&["adopt", "edge-001", "--reason", "kubectl was the old way"]);
    assert!(done.status.success(), "{done:?}");
    small.daemon.kill();
    small.daemon.start();
    small.converged(&conflict).await;
    assert_eq!(value(plane, ns, "x").await.as_deref(), Some("ours"));
    let status = small.daemon.status().unwrap();
    assert_eq!(status["fleets"][0]["state"], "converged", "{status:#}");
    let history = small.daemon.command(&["history", "edge-001"]);
    assert!(!String::from_utf8(history.stdout).unwrap().contains("failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_ends_in_the_cluster_is_found_out_and_a_newer_commit_takes_over() {
    let plane = shared("alpha").await.unwrap();
    let ns = "holds-ended";
    let mut small = Small::new(plane, ns);
    plane.create_namespace(ns).await.unwrap();
    for name in ["x", "other"] {
        plane.kubectl_with_input(&["apply", "-f", "-"], &config_map(ns, name, "theirs")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    small
        .repo
        .write("profiles/app/app/x.yaml", &config_map(ns, "x", "ours"))
        .write("profiles/app/app/other.yaml", &config_map(ns, "other", "ours"));
    small.repo.push("Two that kubectl owns");
    small.daemon.start();
    let held = |status: &Value| target(status, "edge-001")["status"] == "held";
    small.daemon.until("held", SOON, held).await;
    // Both are named in full.
    let both =
        |status: &Value| target(status, "edge-001")["waiting"].as_array().is_some_and(|all| all.len() == 2);
    small.daemon.until("both are named", SOON, both).await;
    // One is taken out of Git again, the other out of the cluster.
    small.repo.remove("profiles/app/app/x.yaml");
    let second = small.repo.push("Without x");
    small
        .daemon
        .until("held, by the newer commit", SOON, |status| {
            let edge = target(status, "edge-001");
            let waiting = edge["waiting"].as_array().map_or(0, Vec::len);
            held(status) && waiting == 1 && edge["assigned"]["commit"] == *second
        })
        .await;
    plane.kubectl(&["delete", "configmap", "other", "-n", ns]).await.unwrap();
    small.converged(&second).await;
    assert_eq!(value(plane, ns, "other").await.as_deref(), Some("ours"));
    assert_eq!(value(plane, ns, "x").await.as_deref(), Some("theirs"));
}

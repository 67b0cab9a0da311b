//! Bad luck with connections and with servers that are too busy, by the rows of the table of threats and faults.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use http::request::Parts;
use serde_json::Value;
use tokio::time::Instant;

use super::adoption::map;
use super::{Kubeconfigs, SOON, Small, TARGET, config_map, runs, target, value};
use crate::harness::{Act, ControlPlane, Gate, Options, Wire, shared};
use crate::world::eventually;

/// A target `edge-001` behind a gate, in a namespace of its own.
async fn gated(plane: &ControlPlane, ns: &str) -> (Gate, Small) {
    plane.create_namespace(ns).await.unwrap();
    let gate = Gate::before(plane).await.unwrap();
    let kubeconfigs = Kubeconfigs::empty();
    gate.write_kubeconfig(&kubeconfigs.path().join("edge-001.yaml")).unwrap();
    (gate, Small::with(kubeconfigs, ns))
}

/// Whether it is an apply of a ConfigMap of the test; its name.
fn applied<'a>(request: &'a Parts, ns: &str) -> Option<&'a str> {
    let path = request.uri.path().strip_prefix(&format!("/api/v1/namespaces/{ns}/configmaps/"))?;
    (request.method == Method::PATCH).then_some(path)
}

async fn holds(plane: &ControlPlane, ns: &str, name: &str, wanted: Option<&str>) {
    eventually(&format!("{name} holds {wanted:?}"), SOON, async || {
        let found = value(plane, ns, name).await;
        if found.as_deref() == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_too_busy_is_left_alone_as_long_as_it_asks() {
    const COUNT: usize = 30;
    let plane = shared("alpha").await.unwrap();
    let ns = "row-16";
    let (gate, mut small) = gated(plane, ns).await;
    small.repo.edit("fleets/retail.yaml", "progressDeadline: 15s", "progressDeadline: 5s");
    let maps = |value: &str| {
        let maps = (0..COUNT).map(|i| config_map(ns, &format!("map-{i:02}"), value));
        maps.collect::<Vec<_>>().join("---\n")
    };
    let first = small.repo.write("profiles/app/app/maps.yaml", &maps("a")).push("First");
    // The first things that it reads are refused too.
    let reads = AtomicUsize::new(0);
    gate.rule(move |request| {
        let refused = request.method == Method::GET && reads.fetch_add(1, Ordering::Relaxed) < 3;
        if refused { Act::Throttle(1) } else { Act::Pass }
    });
    small.daemon.start();
    small.converged(&first).await;
    assert!(!small.daemon.log().contains("cluster is offline"), "{}", small.daemon.log());

    // Every object is refused once; and one until the test lets it through.
    gate.take_log();
    let (seen, last) = (Mutex::new(BTreeSet::new()), Arc::new(AtomicBool::new(false)));
    let let_through = Arc::clone(&last);
    gate.rule(move |request| match applied(request, ns) {
        Some("map-00") if !let_through.load(Ordering::Relaxed) => Act::Throttle(2),
        Some(name) if seen.lock().unwrap().insert(name.to_owned()) => Act::Throttle(2),
        _ => Act::Pass,
    });
    let second = small.repo.write("profiles/app/app/maps.yaml", &maps("b")).push("Second");
    let stalled = |status: &Value| target(status, "edge-001")["status"] == "stalled";
    let status = small.daemon.until("stalled", SOON, stalled).await;
    let reason = target(&status, "edge-001")["reason"].as_str().unwrap();
    assert!(reason.contains("Too many requests"), "{reason}");
    holds(plane, ns, "map-29", Some("b")).await;
    // Well past the deadline: it is no fault of the commit.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let status = small.daemon.status().unwrap();
    // It is about that object once it was refused again and again while all others were written.
    assert!(stalled(&status) || target(&status, "edge-001")["status"] == "held", "{status:#}");
    last.store(true, Ordering::Relaxed);
    small.converged(&second).await;

    // No object came again before its time, and none for nothing.
    let log = gate.take_log();
    let applies: Vec<_> =
        log.iter().filter(|p| p.method == Method::PATCH && p.path.contains("/map-")).collect();
    let refused = applies.iter().filter(|passage| passage.act == Act::Throttle(2));
    for refused in refused {
        let again = applies.iter().find(|other| other.path == refused.path && other.at > refused.at);
        let after = again.expect("it came again").at - refused.at;
        assert!(after >= Duration::from_secs(2), "{} came again after {after:?}", refused.path);
    }
    let passed = applies.iter().filter(|passage| passage.act == Act::Pass).count();
    assert_eq!(passed, COUNT);
}

/// Changes `changed` and deletes `deleted`, past the gate.
async fn meddle(plane: &ControlPlane, ns: &str) {
    let theirs = r#"{"data":{"value":"theirs"}}"#;
    plane.kubectl(&["patch", "configmap", "changed", "-n", ns, "-p", theirs]).await.unwrap();
    plane.kubectl(&["delete", "configmap", "deleted", "-n", ns]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_ends_silently_or_is_too_old_misses_nothing() {
    let mut plane =
        ControlPlane::start("row-17", Options { controllers: false, users: Vec::new() }).await.unwrap();
    let ns = "row-17";
    let (gate, mut small) = gated(&plane, ns).await;
    for name in ["changed", "deleted", "quiet"] {
        small.repo.write(&format!("profiles/app/app/{name}.yaml"), &config_map(ns, name, "ours"));
    }
    let first = small.repo.push("First");
    small.daemon.start();
    small.converged(&first).await;
    let lists = |passages: &[crate::harness::Passage]| {
        let maps = passages.iter().filter(|p| p.path == "/api/v1/configmaps" && p.method == Method::GET);
        maps.filter(|passage| !passage.query.contains("watch=")).count()
    };

    // The watch ends without a word; what happens meanwhile comes when it is taken up where it ended.
    gate.hold_watches();
    meddle(&plane, ns).await;
    assert_eq!(value(&plane, ns, "changed").await.as_deref(), Some("theirs"), "nobody saw it");
    gate.take_log();
    gate.release_watches();
    holds(&plane, ns, "changed", Some("ours")).await;
    holds(&plane, ns, "deleted", Some("ours")).await;
    assert_eq!(lists(&gate.take_log()), 0, "nothing was listed for that");

    assert!(!small.daemon.log().contains("cluster is offline"), "a watch that ends is no lost cluster");

    // When it is taken up, the server has forgotten that version, for it was started anew: it answers 410.
    gate.hold_watches();
    meddle(&plane, ns).await;
    plane.stop_api_server();
    plane.start_api_server().await.unwrap();
    gate.take_log();
    gate.release_watches();
    holds(&plane, ns, "changed", Some("ours")).await;
    holds(&plane, ns, "deleted", Some("ours")).await;
    assert!(lists(&gate.take_log()) >= 1, "it was listed anew");

    // A server that ends every watch at once is not asked in a hot loop, and nothing is missed after it.
    gate.hold_watches();
    gate.rule(|request| {
        let watches = request.uri.query().is_some_and(|query| query.contains("watch="));
        if watches { Act::EndedWatch } else { Act::Pass }
    });
    gate.take_log();
    gate.release_watches();
    meddle(&plane, ns).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let log = gate.take_log();
    let asked = log.iter().filter(|p| p.path == "/api/v1/configmaps" && p.query.contains("watch=")).count();
    assert!((1..=8).contains(&asked), "{asked} watches in 4 s");
    gate.open();
    holds(&plane, ns, "changed", Some("ours")).await;
    holds(&plane, ns, "deleted", Some("ours")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_vanishes_is_noticed_in_time_and_costs_the_others_nothing() {
    let (plane, far) = (shared("alpha").await.unwrap(), shared("beta").await.unwrap());
    let ns = "row-18";
    plane.create_namespace(ns).await.unwrap();
    far.create_namespace(ns).await.unwrap();
    let wire = Wire::to(far).await.unwrap();
    let kubeconfigs = Kubeconfigs::of(&[("edge-001", plane.kubeconfig())]);
    wire.write_kubeconfig(far, &kubeconfigs.path().join("edge-002.yaml")).unwrap();
    let mut small = Small::with(kubeconfigs, ns);
    // Longer than it takes to notice that a cluster is gone: until then its silence is the commit's.
    small.repo.edit("fleets/retail.yaml", "progressDeadline: 15s", "progressDeadline: 2m");
    small
        .repo
        .write("clusters/edge-002.yaml", &TARGET.replace("edge-001", "edge-002"))
        .write("profiles/app/app/map.yaml", &config_map(ns, "map", "a"));
    let first = small.repo.push("First");
    small.daemon.start();
    let both = ["edge-001", "edge-002"];
    small.daemon.until("both", SOON, |status| runs(status, &first, &both)).await;

    // A connection that is closed is made anew, and nobody is offline for it.
    wire.cut();
    let second = small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "map", "b")).push("Second");
    small.daemon.until("both, after a cut", SOON, |status| runs(status, &second, &both)).await;

    // One that is dead, without a word: neither FIN nor RST, and new ones are taken and not answered.
    wire.die();
    let died = Instant::now();
    let third = small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "map", "c")).push("Third");
    let one = |status: &Value| {
        let target = target(status, "edge-001");
        target["converged"]["commit"] == *third && target["status"] == "converged"
    };
    let status = small.daemon.until("the other goes on", SOON, one).await;
    assert_ne!(
        target(&status, "edge-002")["status"],
        "offline",
        "that took as long as noticing the dead one"
    );
    let gone = |status: &Value| target(status, "edge-002")["status"] == "offline";
    small.daemon.until("it is noticed", SOON, gone).await;
    // A ping every 20 s has 10 s to be answered; then a request has 10 s to show whether the cluster answers.
    assert!(died.elapsed() < Duration::from_secs(60), "{:?}", died.elapsed());
    small.daemon.until("accepted without it", SOON, |status| runs(status, &third, &["edge-001"])).await;

    wire.revive();
    small.daemon.until("it is back", SOON, |status| runs(status, &third, &both)).await;
    holds(far, ns, "map", Some("c")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_is_done_once() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-19";
    let (gate, mut small) = gated(plane, ns).await;
    let names = ["lost", "leader", "plain"];
    small.repo.write("profiles/app/app/stays.yaml", &config_map(ns, "stays", "a"));
    let first = small.repo.push("First");
    small.daemon.start();
    small.converged(&first).await;

    // The answers to the first write of each object, and of the ledger, are lost: with the stream, or because the
    // server's etcd changed its leader after it had written.
    let once = |what: &'static [&'static str]| {
        let seen = Mutex::new(BTreeSet::new());
        move |request: &Parts| {
            let path = request.uri.path();
            let writes = request.method != Method::GET;
            let ours = path.contains(&format!("/namespaces/{ns}/")) || path.contains("/fairlead-system/");
            if !writes || !ours || !seen.lock().unwrap().insert(path.to_owned()) {
                return Act::Pass;
            }
            if what.iter().any(|name| path.ends_with(name)) { Act::LeaderChanged } else { Act::LoseAnswer }
        }
    };
    gate.rule(once(&["/leader"]));
    for name in names {
        small.repo.write(&format!("profiles/app/app/{name}.yaml"), &config_map(ns, name, "a"));
    }
    let mark = plane.audit().mark().await.unwrap();
    let second = small.repo.push("Three more");
    small.converged(&second).await;
    let status = small.daemon.status().unwrap();
    assert_eq!(target(&status, "edge-001")["drift"], serde_json::json!([]), "{status:#}");
    let events = plane.audit().since(mark).await.unwrap().agent("fairlead/").namespace(ns);
    for name in names {
        let applies = events.verb("patch").filter(|event| event.name == name);
        assert!((1..=2).contains(&applies.count()), "{}", applies.lines());
        let object = map(plane, ns, name).await;
        assert_eq!(object["metadata"]["generation"], Value::Null);
        assert_eq!(object["data"]["value"], "a");
    }
    assert_eq!(events.verb("delete").count(), 0);

    // They were created, not found: so they are deleted when Git drops them, and those answers may be lost as well.
    gate.rule(once(&["/leader"]));
    for name in names {
        small.repo.remove(&format!("profiles/app/app/{name}.yaml"));
    }
    let third = small.repo.push("Gone again");
    small.converged(&third).await;
    for name in names {
        holds(plane, ns, name, None).await;
    }
    holds(plane, ns, "stays", Some("a")).await;
}

//! Objects that move to a fleet which comes later.

use serde_json::Value;

use super::adoption::map;
use super::{FLEET, PROFILE, SOON, Small, TARGET, config_map, eventually, value};
use crate::harness::shared;

fn fleet<'a>(status: &'a Value, name: &str) -> &'a Value {
    let fleets = status["fleets"].as_array().unwrap();
    fleets.iter().find(|fleet| fleet["name"] == name).unwrap_or(&Value::Null)
}

/// Whether the fleet has accepted the commit and its share of edge-001 runs it.
fn has(status: &Value, name: &str, commit: &str) -> bool {
    let targets = status["targets"].as_array().unwrap();
    let mut there = targets.iter().filter(|target| target["name"] == "edge-001" && target["fleet"] == name);
    fleet(status, name)["accepted"] == commit && there.all(|target| target["status"] == "converged")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_moves_to_a_fleet_that_waits_stays_until_it_is_taken_over() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-04-later";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(plane, ns);
    let more = FLEET.replace("name: retail", "name: more").replace("{name: app}", "{name: more}");
    small
        .repo
        .write("profiles/app/app/moves.yaml", &config_map(ns, "moves", "a"))
        .write("profiles/app/app/lost.yaml", &config_map(ns, "lost", "a"))
        .write("profiles/app/app/one.yaml", &config_map(ns, "one", "a"))
        .write("profiles/more/profile.yaml", &PROFILE.replace("app", "more"))
        .write("profiles/more/more/two.yaml", &config_map(ns, "two", "a"))
        .write("fleets/more.yaml", &more.replace("{segment: retail}", "{more: here}"))
        .write(
            "clusters/edge-001.yaml",
            &TARGET.replace("{segment: retail}", "{segment: retail, more: here}"),
        );
    for name in ["away-1", "away-2"] {
        let target = TARGET.replace("edge-001", name).replace("{segment: retail}", "{more: here}");
        small.repo.write(&format!("clusters/{name}.yaml"), &target);
    }
    let first = small.repo.push("Two fleets");
    small.daemon.start();
    let both = |status: &Value, commit: &str| has(status, "retail", commit) && has(status, "more", commit);
    small.daemon.until("both fleets", SOON, |status| both(status, &first)).await;
    let before = map(plane, ns, "moves").await;
    let label = |object: &Value| object["metadata"]["labels"]["applyset.kubernetes.io/part-of"].clone();

    // Two objects move; and the fleet that is to get them holds, because most of its targets would leave.
    small.repo.remove("clusters/away-1.yaml").remove("clusters/away-2.yaml");
    for name in ["moves", "lost"] {
        small
            .repo
            .remove(&format!("profiles/app/app/{name}.yaml"))
            .write(&format!("profiles/more/more/{name}.yaml"), &config_map(ns, name, "a"));
    }
    let second = small.repo.push("Two objects move");
    let waits = |status: &Value| has(status, "retail", &second) && fleet(status, "more")["state"] == "held";
    small.daemon.until("one has given, the other waits", SOON, waits).await;
    let kept = map(plane, ns, "moves").await;
    assert_eq!(kept["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(label(&kept), label(&before), "nobody took it over yet");
    assert_eq!(value(plane, ns, "lost").await.as_deref(), Some("a"));
    // Nor does a restart forget who is to get it.
    assert!(small.daemon.stop().success());
    small.daemon.start();
    small.daemon.until("it waits, still", SOON, waits).await;
    assert_eq!(map(plane, ns, "moves").await["metadata"]["uid"], before["metadata"]["uid"]);

    // What nobody is to get any more goes, without a new order to the fleet that has it.
    let third = small.repo.remove("profiles/more/more/lost.yaml").push("One of them is dropped altogether");
    small.daemon.until("the third is taken over", SOON, |status| has(status, "retail", &third)).await;
    eventually("it is gone", SOON, async || {
        let found = value(plane, ns, "lost").await;
        if found.is_none() { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;

    let done = small.daemon.command(&["approve", "more", "--reason", "they are sold"]);
    assert!(done.status.success(), "{done:?}");
    small.daemon.until("it is taken over", SOON, |status| both(status, &third)).await;
    let after = map(plane, ns, "moves").await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(label(&after), label(&map(plane, ns, "two").await));

    // The old owner has forgotten it: the new one alone decides what becomes of it.
    // (What is no return to an earlier release deletes what was taken over; a return would release it.)
    small.repo.write("profiles/more/more/two.yaml", &config_map(ns, "two", "b"));
    let fourth = small.repo.remove("profiles/more/more/moves.yaml").push("Gone");
    small.daemon.until("gone", SOON, |status| both(status, &fourth)).await;
    assert_eq!(value(plane, ns, "moves").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_moves_between_fleets_keeps_what_both_want() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-04-target";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(plane, ns);
    let zoo = FLEET.replace("name: retail", "name: zoo").replace("{segment: retail}", "{segment: zoo}");
    let retail = FLEET.replace("[{name: app}]", "[{name: app}, {name: more}]");
    let in_zoo = TARGET.replace("{segment: retail}", "{segment: zoo}");
    small
        .repo
        .write("profiles/app/app/one.yaml", &config_map(ns, "one", "a"))
        .write("profiles/app/app/same.yaml", &config_map(ns, "same", "a"))
        .write("profiles/more/profile.yaml", &PROFILE.replace("app", "more"))
        .write("profiles/more/more/two.yaml", &config_map(ns, "two", "a"))
        .write("fleets/retail.yaml", &format!("{retail}  onRemoval: Delete\n"))
        .write("fleets/zoo.yaml", &zoo)
        // Nobody knows how to reach these; they are there so that no fleet becomes empty.
        .write("clusters/edge-002.yaml", &TARGET.replace("edge-001", "edge-002"))
        .write("clusters/edge-003.yaml", &in_zoo.replace("edge-001", "edge-003"));
    let first = small.repo.push("Two fleets");
    small.daemon.start();
    let lives_in = |status: &Value, name: &str, commit: &str| {
        let targets = status["targets"].as_array().unwrap().iter();
        let shares: Vec<_> = targets.filter(|target| target["name"] == "edge-001").collect();
        let here = shares.len() == 1 && shares[0]["fleet"] == name && shares[0]["status"] == "converged";
        here && fleet(status, name)["accepted"] == commit
    };
    small.daemon.until("it is in retail", SOON, |status| lives_in(status, "retail", &first)).await;
    let before = map(plane, ns, "one").await;

    let mark = plane.audit().mark().await.unwrap();
    let second = small.repo.write("clusters/edge-001.yaml", &in_zoo).push("Edge 1 moves to the zoo");
    small.daemon.until("it is in the zoo", SOON, |status| lives_in(status, "zoo", &second)).await;
    let after = map(plane, ns, "one").await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    let labels = "/metadata/labels/applyset.kubernetes.io~1part-of";
    assert_ne!(after.pointer(labels), before.pointer(labels), "the zoo has it now");
    let deletes = plane.audit().since(mark).await.unwrap().namespace(ns).verb("delete");
    let names: Vec<_> = deletes.0.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["two"], "what only the old fleet wanted went with it");

    // Nothing of the old fleet stands in the way of the new one.
    small.repo.write("profiles/app/app/same.yaml", &config_map(ns, "same", "b"));
    let third = small.repo.remove("profiles/app/app/one.yaml").push("Without it");
    small.daemon.until("the third", SOON, |status| lives_in(status, "zoo", &third)).await;
    assert_eq!(value(plane, ns, "one").await, None);
}

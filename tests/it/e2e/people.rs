//! What a person says to a running daemon: stop, resume, approve, pause, and what is kept of it.

use serde_json::Value;

use super::{FLEET, SOON, Small, config_map, namespace, target, value};
use crate::harness::{ControlPlane, Events, Mark, shared};
use crate::world::daemon::Daemon;

const APP: &str = "profiles/app/app/";

/// Runs a command that asks the daemon; gives whether it succeeded and what it said.
fn ask(small: &Small, args: &[&str]) -> (bool, String) {
    let output = small.daemon.command(args);
    let answered = Daemon::answered(args, &output);
    let said = [output.stdout, output.stderr].concat();
    (answered, String::from_utf8(said).unwrap())
}

/// The same for a command that must succeed.
fn tell(small: &Small, args: &[&str]) -> String {
    let (done, said) = ask(small, args);
    assert!(done, "{args:?}: {said}");
    said
}

fn json(small: &Small, args: &[&str]) -> Value {
    serde_json::from_str(&tell(small, &[args, &["-o", "json"]].concat())).unwrap()
}

/// Everything that the daemon of an instance wrote since.
async fn written(plane: &ControlPlane, mark: Mark, instance: &str) -> Events {
    let agent = format!("({instance})");
    let asked = plane.audit().since(mark).await.unwrap();
    asked.filter(|e| e.user_agent.ends_with(&agent) && !["get", "list", "watch"].contains(&e.verb.as_str()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_a_change_ends_every_write_until_it_is_resumed() {
    const OBJECTS: usize = 600;
    let plane = shared("beta").await.unwrap();
    let ns = "people-stop";
    let mut small = Small::new(plane, ns);
    let first = small.repo.write(&format!("{APP}namespace.yaml"), &namespace(ns)).push("A namespace");
    small.daemon.start();
    small.converged(&first).await;
    let many: Vec<_> = (0..OBJECTS).map(|n| config_map(ns, &format!("map-{n:03}"), "one")).collect();
    let start = plane.audit().mark().await.unwrap();
    small.repo.write(&format!("{APP}many.yaml"), &many.join("---\n")).push("Many");
    crate::world::eventually("the apply is under way", SOON, async || {
        let found = value(plane, ns, "map-000").await;
        found.map(drop).ok_or_else(|| "nothing yet".to_owned())
    })
    .await;

    let said = tell(&small, &["stop", "--reason", "fire"]);
    assert!(said.contains("is stopped") && !said.contains("no answer yet"), "{said}");
    let stopped = plane.audit().mark().await.unwrap();
    let before = written(plane, start, ns).await.resource("configmaps").namespace(ns).verb("patch");
    assert!(before.count() < OBJECTS, "all was applied before the stop; nothing is shown");

    // Neither a restart, nor drift, nor a new commit, nor a person's other words make it write.
    small.daemon.kill().start();
    let up =
        |status: &Value| status["stopped"]["why"] == "fire" && status["notReady"] == serde_json::json!([]);
    let status = small.daemon.until("stopped", SOON, up).await;
    assert!(status["stopped"]["by"].as_str().unwrap().ends_with("(socket)"), "{status:#}");
    let ready: Value = small.daemon.get("/readyz");
    assert_eq!((&ready["stopped"], &ready["ready"]), (&true.into(), &true.into()), "{ready:#}");
    plane.kubectl(&["delete", "configmap", "map-000", "-n", ns]).await.unwrap();
    let late = small.repo.write(&format!("{APP}late.yaml"), &config_map(ns, "late", "two")).push("Late");
    let seen = |status: &Value| {
        status["repository"]["observed"] == *late && target(status, "edge-001")["wanted"]["commit"] == *late
    };
    small.daemon.until("the commit is seen", SOON, seen).await;
    assert!(tell(&small, &["adopt", "edge-001"]).contains("everything is stopped"));
    assert!(tell(&small, &["stop"]).contains("already"));
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(tell(&small, &["explain", "edge-001"]).contains("EMERGENCY STOP"));
    let during = written(plane, stopped, ns).await;
    assert_eq!(during.count(), 0, "{}", during.lines());

    // It goes on where it was: nothing is applied twice, and what was missed is made good.
    assert!(tell(&small, &["resume", "--reason", "out"]).contains("is over"));
    small.converged(&late).await;
    assert_eq!(value(plane, ns, "map-000").await.as_deref(), Some("one"));
    assert_eq!(value(plane, ns, "late").await.as_deref(), Some("two"));
    let all = written(plane, start, ns).await.resource("configmaps").namespace(ns).verb("patch");
    assert_eq!(all.count(), OBJECTS + 2, "each once, the deleted one twice, and the late one");

    // By hand, without the API.
    let file = small.daemon.state().join("stop");
    std::fs::write(&file, "by hand").unwrap();
    small.daemon.until("stopped by the file", SOON, |status| status["stopped"]["why"] == "by hand").await;
    let stopped = plane.audit().mark().await.unwrap();
    plane.kubectl(&["delete", "configmap", "map-001", "-n", ns]).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    crate::world::eventually("healed", SOON, async || {
        value(plane, ns, "map-001").await.map(drop).ok_or_else(|| "gone".to_owned())
    })
    .await;
    assert!(written(plane, stopped, ns).await.count() > 0);
    let audit = json(&small, &["audit"]);
    let did: Vec<_> = audit
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["what"].as_str().unwrap(), e["via"].as_str().unwrap()))
        .collect();
    assert_eq!(
        did,
        [
            ("resume", "file"),
            ("stop", "file"),
            ("resume", "socket"),
            ("stop", "socket"),
            ("adopt", "socket"),
            ("stop", "socket")
        ],
        "{audit:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_outlives_kill_9_and_lapses_with_what_it_was_for() {
    let plane = shared("beta").await.unwrap();
    let ns = "people-approve";
    let mut small = Small::new(plane, ns);
    small.repo.write("fleets/retail.yaml", &FLEET.replace("15s", "30m"));
    small.repo.write(&format!("{APP}namespace.yaml"), &namespace(ns));
    for n in 0..16 {
        small.repo.write(&format!("{APP}map-{n:02}.yaml"), &config_map(ns, &format!("map-{n:02}"), "one"));
    }
    let first = small.repo.push("Sixteen");
    small.daemon.start();
    small.converged(&first).await;
    assert!(tell(&small, &["approve", "retail"]).contains("nothing waits"));
    assert!(tell(&small, &["accept", "retail"]).contains("no revision"));
    assert!(tell(&small, &["accept"]).contains("no revision"));

    // More than half of the objects go: that waits for a person, and the wrong word names the right one.
    let waits = |status: &Value| status["fleets"][0]["needs"] == serde_json::json!(["approve"]);
    let drop = |from: usize, to: usize| {
        for n in from..to {
            small.repo.remove(&format!("{APP}map-{n:02}.yaml"));
        }
    };
    drop(0, 10);
    let ten = small.repo.push("Ten go");
    small.daemon.until("held", SOON, waits).await;
    let (done, said) = ask(&small, &["accept", "retail"]);
    assert!(!done && said.contains("fairlead approve retail"), "{said}");
    let (done, said) = ask(&small, &["approve", "retail", "--wave", "nowhere"]);
    assert!(!done && said.contains("no wave 'nowhere'"), "{said}");
    let explained = tell(&small, &["explain", "edge-001"]);
    for part in ["would delete 10 of 17 objects", "fairlead approve retail", &ten[..7], &first[..7]] {
        assert!(explained.contains(part), "{part}:\n{explained}");
    }

    // What is approved while nothing can be done is not forgotten, and not stretched to another commit.
    tell(&small, &["stop", "--reason", "look at it first"]);
    assert!(tell(&small, &["approve", "retail", "--reason", "they are unused"]).contains("is approved"));
    small.daemon.kill().start();
    small.daemon.until("up again", SOON, |status| status["repository"]["observed"] == *ten).await;
    drop(10, 12);
    let twelve = small.repo.push("Two more");
    small
        .daemon
        .until("seen", SOON, |status| target(status, "edge-001")["wanted"]["commit"] == *twelve)
        .await;
    tell(&small, &["resume"]);
    small.daemon.until("held again", SOON, waits).await;
    assert_eq!(value(plane, ns, "map-00").await.as_deref(), Some("one"));

    assert!(tell(&small, &["approve", "retail", "--reason", "these too"]).contains("is approved"));
    small.daemon.kill().start();
    small.converged(&twelve).await;
    assert_eq!((value(plane, ns, "map-00").await, value(plane, ns, "map-11").await), (None, None));
    assert_eq!(value(plane, ns, "map-12").await.as_deref(), Some("one"));

    let next = pauses(&mut small, ns).await;
    let history = json(&small, &["rollout", "history", "retail"]);
    let commits: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["commit"].as_str().unwrap(), r["state"].as_str().unwrap()))
        .collect();
    let wanted =
        [(next.as_str(), "success"), (&twelve, "success"), (&ten, "superseded"), (&first, "success")];
    assert_eq!(commits, wanted, "{history:#}");
    let audit = json(&small, &["audit", "--fleet", "retail"]);
    let approved: Vec<_> = audit
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["what"] == "approve")
        .map(|e| e["why"].as_str().unwrap())
        .collect();
    let reasons = ["these too", "they are unused", "no reason given", "no reason given"];
    assert_eq!(approved, reasons, "{audit:#}");
}

/// A pause holds the next change, is kept too, and can be said twice. Gives that change.
async fn pauses(small: &mut Small, ns: &str) -> String {
    assert!(tell(small, &["pause", "retail", "--reason", "inventory"]).contains("is paused"));
    assert!(tell(small, &["pause", "retail"]).contains("already"));
    small.daemon.kill().start();
    let next = small.repo.write(&format!("{APP}map-12.yaml"), &config_map(ns, "map-12", "two")).push("Next");
    small
        .daemon
        .until("paused", SOON, |status| {
            status["fleets"][0]["state"] == "paused" && status["fleets"][0]["observed"] == *next
        })
        .await;
    assert!(tell(small, &["rollout", "status", "retail"]).contains("inventory"));
    tell(small, &["resume", "retail"]);
    small.converged(&next).await;
    assert!(tell(small, &["resume", "retail"]).contains("was not paused"));
    next
}

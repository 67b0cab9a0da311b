//! Waves on two real clusters: the canary, and the rest behind it.

use serde_json::json;

use super::{
    FLEET, Kubeconfigs, PROFILE, SOON, TARGET, config_map, deployment, namespace, runs, target, value,
};
use crate::harness::{ControlPlane, FAIL_ANNOTATION, Mark, shared};
use crate::world::daemon::Daemon;
use crate::world::repository::FleetRepo;

const NS: &str = "canary";
const BOTH: [&str; 2] = ["edge-001", "edge-002"];
const SETTINGS: &str = "profiles/app/app/settings.yaml";
const WEB: &str = "profiles/app/app/web.yaml";
const WAVES: &str =
    "waves: [{name: canary, clusters: {matchLabels: {ring: canary}}, minSuccessTime: 2s}, {name: rest}]";

fn fleet(waves: &str) -> String {
    FLEET.replace("progressDeadline: 15s", &format!("progressDeadline: 15s, {waves}"))
}

/// How many writes the daemon sent to a cluster since.
async fn writes(plane: &ControlPlane, mark: Mark) -> usize {
    let events = plane.audit().since(mark).await.unwrap();
    let agent = format!("({NS})");
    let reads = ["get", "list", "watch"];
    events.filter(|e| e.user_agent.ends_with(&agent) && !reads.contains(&e.verb.as_str())).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_behind_a_canary_that_goes_back_is_asked_and_an_approved_fix_reaches_all() {
    let (alpha, beta) = (shared("alpha").await.unwrap(), shared("beta").await.unwrap());
    let repo = FleetRepo::empty();
    let good = repo
        .write("profiles/app/profile.yaml", PROFILE)
        .write("clusters/edge-001.yaml", &TARGET.replace("retail}", "retail, ring: canary}"))
        .write("clusters/edge-002.yaml", &TARGET.replace("edge-001", "edge-002"))
        .write("fleets/retail.yaml", &fleet(WAVES))
        .write("profiles/app/app/namespace.yaml", &namespace(NS))
        .write(SETTINGS, &config_map(NS, "settings", "good"))
        .write(WEB, &deployment(NS, "web", 1, ""))
        .push("Good");
    let kubeconfigs = Kubeconfigs::of(&[(BOTH[0], alpha.kubeconfig()), (BOTH[1], beta.kubeconfig())]);
    let mut daemon = Daemon::new(NS, &repo.url(), kubeconfigs.path());
    daemon.start();
    daemon.until("the first commit is everywhere", SOON, |status| runs(status, &good, &BOTH)).await;

    // A bad image: the canary goes back, and the cluster behind it gets no write at all.
    let mark = beta.audit().mark().await.unwrap();
    let bad = repo
        .write(SETTINGS, &config_map(NS, "settings", "bad"))
        .write(WEB, &deployment(NS, "web", 1, &format!("{FAIL_ANNOTATION}: crash")))
        .push("Bad");
    let back = |status: &serde_json::Value| {
        let fleet = &status["fleets"][0];
        fleet["state"] == "failed" && fleet["observed"] == *bad && fleet["accepted"] == *good
    };
    let status = daemon.until("the canary went back", SOON, back).await;
    daemon
        .until("the canary runs the good release", SOON, |status| {
            target(status, BOTH[0])["converged"]["commit"] == *good
        })
        .await;
    assert_eq!(value(alpha, NS, "settings").await.as_deref(), Some("good"), "{status:#}");
    assert_eq!(target(&status, BOTH[1])["status"], "quarantined", "{status:#}");
    assert_eq!(writes(beta, mark).await, 0);

    // The fix bakes on the canary, then waits for a person; the word outlives kill -9.
    let approval = WAVES.replace("{name: rest}", "{name: rest, approval: Required}");
    let fixed = repo
        .write("fleets/retail.yaml", &fleet(&approval))
        .write(SETTINGS, &config_map(NS, "settings", "fixed"))
        .write(WEB, &deployment(NS, "web", 2, ""))
        .push("Fixed");
    let waits = |status: &serde_json::Value| {
        let fleet = &status["fleets"][0];
        fleet["observed"] == *fixed && fleet["needs"] == json!(["approve"])
    };
    daemon.until("the rest waits for an approval", SOON, waits).await;
    assert_eq!(value(alpha, NS, "settings").await.as_deref(), Some("fixed"));
    daemon.kill().start();
    daemon.until("it still waits", SOON, waits).await;
    assert_eq!(value(beta, NS, "settings").await.as_deref(), Some("good"));
    let said = daemon.command(&["approve", "retail", "--wave", "rest", "--reason", "looks good"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    daemon.until("the fix is everywhere", SOON, |status| runs(status, &fixed, &BOTH)).await;
    assert_eq!(value(beta, NS, "settings").await.as_deref(), Some("fixed"));
}

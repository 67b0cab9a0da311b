//! Commits that can't work, repositories that are not there, and targets that leave.

use std::time::Duration;

use serde_json::Value;

use super::{
    FLEET, Kubeconfigs, PROFILE, SOON, Small, TARGET, config_map, deployment, namespace, runs, target, value,
};
use crate::harness::{ControlPlane, FAIL_ANNOTATION, shared};
use crate::world::daemon::Daemon;
use crate::world::repository::FleetRepo;

const SETTINGS: &str = "profiles/app/app/settings.yaml";
const FLEET_FILE: &str = "fleets/retail.yaml";

/// Converged on a namespace and a ConfigMap; nothing here may wait for the progress deadline.
async fn world(plane: &ControlPlane, ns: &str) -> (Small, String) {
    let mut small = Small::new(plane, ns);
    let good = small
        .repo
        .write(FLEET_FILE, &patient_fleet())
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write(SETTINGS, &config_map(ns, "settings", "good"))
        .push("Good");
    small.daemon.start();
    small.converged(&good).await;
    (small, good)
}

/// A fleet whose progress deadline no test lives to see.
fn patient_fleet() -> String {
    FLEET.replace("progressDeadline: 15s", "progressDeadline: 30m")
}

/// Waits until the status names this head and says this somewhere about the fleet or its target.
async fn told(small: &Small, head: &str, says: &[&str]) -> Value {
    small
        .daemon
        .until(&format!("the status says {says:?}"), SOON, |status| {
            let fleet = &status["fleets"][0];
            let text = format!("{} {}", fleet["reason"], target(status, "edge-001")["reason"]);
            fleet["observed"] == head && says.iter().all(|part| text.contains(part))
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_cannot_work_leaves_the_base_and_the_next_is_taken_at_once() {
    let plane = shared("beta").await.unwrap();
    let ns = "bad-commits";
    let (small, mut good) = world(plane, ns).await;
    let refused =
        deployment(ns, "web", 1, "").replace("matchLabels: {app: web}", "matchLabels: {app: other}");
    let cases: [(&str, &str, String, &[&str]); 5] = [
        ("invalid YAML", SETTINGS, "data: {value: [}\n".to_owned(), &["profiles/app/app/settings.yaml:1:"]),
        (
            "failing schema",
            "profiles/app/profile.yaml",
            PROFILE.replace("type: addon", "type: addone"),
            &["profiles/app/profile.yaml:8:", "addone"],
        ),
        (
            "unknown variable",
            SETTINGS,
            config_map(ns, "settings", "${{ var.regoin }}"),
            &["profiles/app/app/settings.yaml:4:", "regoin"],
        ),
        (
            "a fleet that can't be read",
            FLEET_FILE,
            patient_fleet().replace("profiles:", "profile:"),
            &["fleets/retail.yaml:", "profile"],
        ),
        (
            "an object that the server refuses",
            "profiles/app/app/web.yaml",
            refused,
            &["Deployment bad-commits/web", "selector"],
        ),
    ];
    for (number, (what, path, content, says)) in cases.into_iter().enumerate() {
        let bad = small.repo.write(path, &content).push(what);
        let status = told(&small, &bad, says).await;
        assert_eq!(target(&status, "edge-001")["base"]["commit"], *good, "{what}: {status:#}");
        assert_ne!(status["fleets"][0]["state"], "converged", "{what}: {status:#}");
        assert_eq!(value(plane, ns, "settings").await, Some(before(number)), "{what}");

        // The next commit is right, and changes something, so that it must go the whole way.
        small.repo.git(&["checkout", "--quiet", &good, "--", "."]);
        if path.ends_with("web.yaml") {
            small.repo.remove(path);
        }
        good = small.repo.write(SETTINGS, &config_map(ns, "settings", &before(number + 1))).push("Fixed");
        let status = small.converged(&good).await;
        assert_eq!(status["diagnostics"], Value::Array(vec![]), "{what}: {status:#}");
        assert_eq!(value(plane, ns, "settings").await, Some(before(number + 1)), "{what}");
    }
    let web = ["get", "deployment", "web", "-n", ns, "--ignore-not-found", "-o", "name"];
    assert_eq!(plane.kubectl(&web).await.unwrap(), "");
}

/// The value that the last good commit gave.
fn before(number: usize) -> String {
    if number == 0 { "good".to_owned() } else { format!("good{number}") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_commit_pre_empts_one_that_never_gets_ready() {
    let plane = shared("beta").await.unwrap();
    let ns = "fault-29";
    let (small, good) = world(plane, ns).await;
    let unready = deployment(ns, "web", 1, &format!("{FAIL_ANNOTATION}: unready"));
    let stuck = small.repo.write("profiles/app/app/web.yaml", &unready).push("Never ready");
    let status = told(&small, &stuck, &["waiting for", "fault-29/web"]).await;
    assert_eq!(status["fleets"][0]["accepted"], *good, "{status:#}");
    let fixed = small.repo.write("profiles/app/app/web.yaml", &deployment(ns, "web", 1, "")).push("Fixed");
    small.converged(&fixed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_force_push_in_a_rollout_is_held_and_the_old_commit_superseded() {
    let plane = shared("beta").await.unwrap();
    let ns = "fault-8";
    let (small, good) = world(plane, ns).await;
    let unready = deployment(ns, "web", 1, &format!("{FAIL_ANNOTATION}: unready"));
    let stuck = small.repo.write("profiles/app/app/web.yaml", &unready).push("Never ready");
    told(&small, &stuck, &["waiting for", "fault-8/web"]).await;

    small.repo.git(&["reset", "--quiet", "--hard", &good]);
    small.repo.write(SETTINGS, &config_map(ns, "settings", "rewritten"));
    small.repo.git(&["commit", "--quiet", "--all", "-m", "Rewritten"]);
    small.repo.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    let rewritten = small.repo.head();
    small
        .daemon
        .until("the rewritten branch is held", SOON, |status| {
            let reason = status["fleets"][0]["reason"].as_str().unwrap_or_default();
            status["fleets"][0]["state"] == "held" && reason.contains("history was rewritten")
        })
        .await;
    assert_eq!(value(plane, ns, "settings").await.as_deref(), Some("good"));
    // What the rollout had reached stays until a person decides: nothing is taken away.
    plane.kubectl(&["get", "deployment", "web", "-n", ns]).await.unwrap();

    let accepted = small.daemon.command(&["accept", "retail", "--reason", "the branch was mended"]);
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    small.converged(&rewritten).await;
    assert_eq!(value(plane, ns, "settings").await.as_deref(), Some("rewritten"));
    assert!(plane.kubectl(&["get", "deployment", "web", "-n", ns]).await.is_err());
    let log = small.daemon.log();
    assert!(log.contains(&format!("superseded by {}", &rewritten[..7])), "the log does not say superseded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_cannot_be_reached_deletes_nothing() {
    let plane = shared("beta").await.unwrap();
    let ns = "fault-1";
    let (mut small, _) = world(plane, ns).await;
    let (there, away) = (small.repo.url(), small.repo.url().with_extension("away"));
    let mark = plane.audit().mark().await.unwrap();
    std::fs::rename(&there, &away).unwrap();
    let unreachable = |status: &Value| status["repository"]["lastError"].is_string();
    small.daemon.until("the fetch failed", SOON, unreachable).await;

    // Healing goes on, and a restart changes nothing.
    let patch = ["patch", "configmap", "settings", "-n", ns, "-p", r#"{"data":{"value":"wrong"}}"#];
    plane.kubectl(&patch).await.unwrap();
    valued(plane, ns, "good").await;
    small.daemon.kill().start();
    small.daemon.until("the fetch failed again", SOON, unreachable).await;
    plane.kubectl(&patch).await.unwrap();
    valued(plane, ns, "good").await;

    std::fs::rename(&away, &there).unwrap();
    let next = small.repo.write(SETTINGS, &config_map(ns, "settings", "next")).push("Next");
    small.converged(&next).await;
    assert_eq!(value(plane, ns, "settings").await.as_deref(), Some("next"));
    let deletes = plane.audit().since(mark).await.unwrap().agent("fairlead/").namespace(ns).verb("delete");
    assert_eq!(deletes.count(), 0, "{}", deletes.lines());
}

async fn valued(plane: &ControlPlane, ns: &str, wanted: &str) {
    crate::world::eventually(&format!("the value is {wanted}"), SOON, async || {
        let found = value(plane, ns, "settings").await;
        if found.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_repository_or_folder_holds_and_deletes_nothing() {
    let plane = shared("beta").await.unwrap();
    let ns = "fault-3";
    let (small, mut good) = world(plane, ns).await;
    let mark = plane.audit().mark().await.unwrap();
    for (number, gone) in ["fleets", "clusters", "profiles/app/app", "profiles", "."].into_iter().enumerate()
    {
        small.repo.git(&["rm", "-r", "--quiet", "--", gone]);
        let empty = small.repo.push(&format!("Without {gone}"));
        let status = small
            .daemon
            .until(&format!("held without {gone}"), SOON, |status| {
                let (fleet, edge) = (&status["fleets"][0], target(status, "edge-001"));
                let held = fleet["state"] == "held" || edge["status"] == "held";
                fleet["observed"] == *empty && held
            })
            .await;
        assert_eq!(target(&status, "edge-001")["base"]["commit"], *good, "{gone}: {status:#}");
        assert_eq!(value(plane, ns, "settings").await, Some(before(number)), "{gone}");

        small.repo.git(&["checkout", "--quiet", &good, "--", "."]);
        good = small.repo.write(SETTINGS, &config_map(ns, "settings", &before(number + 1))).push("Back");
        small.converged(&good).await;
    }
    let deletes = plane.audit().since(mark).await.unwrap().agent("fairlead/").namespace(ns).verb("delete");
    assert_eq!(deletes.count(), 0, "{}", deletes.lines());
}

/// Two targets of one fleet, each a cluster of its own.
struct Pair {
    repo: FleetRepo,
    daemon: Daemon,
    _kubeconfigs: Kubeconfigs,
}

const BOTH: [&str; 2] = ["edge-001", "edge-002"];

impl Pair {
    async fn new(first: &ControlPlane, second: &ControlPlane, ns: &str) -> (Self, String) {
        let repo = FleetRepo::empty();
        let good = repo
            .write("profiles/app/profile.yaml", PROFILE)
            .write("profiles/app/app/namespace.yaml", &namespace(ns))
            .write(SETTINGS, &config_map(ns, "settings", "good"))
            .write("clusters/edge-001.yaml", TARGET)
            .write("clusters/edge-002.yaml", &second_target())
            .write(FLEET_FILE, &patient_fleet())
            .push("Good");
        let kubeconfigs = Kubeconfigs::of(&[(BOTH[0], first.kubeconfig()), (BOTH[1], second.kubeconfig())]);
        let mut daemon = Daemon::new(ns, &repo.url(), kubeconfigs.path());
        daemon.start();
        let pair = Self { repo, daemon, _kubeconfigs: kubeconfigs };
        pair.converged(&good, &BOTH).await;
        (pair, good)
    }

    async fn converged(&self, commit: &str, targets: &[&str]) -> Value {
        self.daemon.until(&format!("{commit} converged"), SOON, |status| runs(status, commit, targets)).await
    }
}

fn second_target() -> String {
    TARGET.replace("edge-001", "edge-002")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_target_document_does_not_stop_the_other_target() {
    let (alpha, beta) = (shared("alpha").await.unwrap(), shared("beta").await.unwrap());
    let ns = "bad-target";
    let (pair, good) = Pair::new(alpha, beta, ns).await;
    let bad = second_target().replace("labels: {", "labels: {region: 7, ");
    pair.repo.write("clusters/edge-002.yaml", &bad);
    let commit = pair.repo.write(SETTINGS, &config_map(ns, "settings", "next")).push("One bad target");
    let status = pair
        .daemon
        .until("the good target runs it, the bad one is held", SOON, |status| {
            let (one, two) = (target(status, BOTH[0]), target(status, BOTH[1]));
            one["converged"]["commit"] == *commit && one["status"] == "converged" && two["status"] == "held"
        })
        .await;
    let wrong = status["diagnostics"].to_string();
    assert!(wrong.contains("clusters/edge-002.yaml"), "{wrong}");
    assert_eq!(target(&status, BOTH[1])["converged"]["commit"], *good, "{status:#}");
    assert_eq!(value(alpha, ns, "settings").await.as_deref(), Some("next"));
    assert_eq!(value(beta, ns, "settings").await.as_deref(), Some("good"));

    let mended = pair.repo.write("clusters/edge-002.yaml", &second_target()).push("Mended");
    pair.converged(&mended, &BOTH).await;
    assert_eq!(value(beta, ns, "settings").await.as_deref(), Some("next"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_leaves_is_orphaned_or_emptied_as_the_fleet_says() {
    let (alpha, beta) = (shared("alpha").await.unwrap(), shared("beta").await.unwrap());
    let ns = "leaves";
    let (pair, _) = Pair::new(alpha, beta, ns).await;
    // Orphan is the default: objects stay, and nobody heals them.
    let without = pair.repo.remove("clusters/edge-002.yaml").push("Edge 2 leaves");
    gone(&pair, &without).await;
    let patch = ["patch", "configmap", "settings", "-n", ns, "-p", r#"{"data":{"value":"mine"}}"#];
    beta.kubectl(&patch).await.unwrap();
    assert_eq!(value(beta, ns, "settings").await.as_deref(), Some("mine"));

    // Back again: the objects are taken up, and put right.
    let back = pair.repo.write("clusters/edge-002.yaml", &second_target()).push("Edge 2 is back");
    pair.converged(&back, &BOTH).await;
    assert_eq!(value(beta, ns, "settings").await.as_deref(), Some("good"));
    let extra = pair.repo.write("profiles/app/app/extra.yaml", &config_map(ns, "extra", "new")).push("Extra");
    pair.converged(&extra, &BOTH).await;

    // Delete: what we created goes, but for protected kinds.
    let delete = format!("{}  onRemoval: Delete\n", patient_fleet());
    let delete = pair.repo.write(FLEET_FILE, &delete).push("Delete on removal");
    pair.converged(&delete, &BOTH).await;
    let without = pair.repo.remove("clusters/edge-002.yaml").push("Edge 2 leaves for good");
    gone(&pair, &without).await;
    assert_eq!((value(beta, ns, "extra").await, value(beta, ns, "settings").await), (None, None));
    beta.kubectl(&["get", "namespace", ns]).await.unwrap();
    assert_eq!(value(alpha, ns, "extra").await.as_deref(), Some("new"));
}

/// Waits until the second target is no longer there, and the first runs the commit.
async fn gone(pair: &Pair, commit: &str) {
    let left = |status: &Value| runs(status, commit, &BOTH[..1]) && target(status, BOTH[1]).is_null();
    pair.daemon.until("edge-002 left", SOON + Duration::from_secs(30), left).await;
}

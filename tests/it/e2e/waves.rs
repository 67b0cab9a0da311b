//! 200 simulated clusters through waves, with a bad image, windows, an approval, and restarts in between.

use std::time::Duration;

use fairlead::daemon::{Settings, Simulation, follow};
use fairlead::simulated::{SimConnector, adapt};
use fairlead_sim::{Clock, Fleet, SimSettings};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{PROFILE, deployment, namespace};
use crate::world::daemon::Daemon;
use crate::world::repository::FleetRepo;

const CLUSTERS: usize = 200;
/// The first ones.
const CANARIES: usize = 4;
const SOON: Duration = Duration::from_secs(180);

const FLEET: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: Fleet
metadata: {name: retail}
spec:
  clusters: {matchLabels: {segment: retail}}
  profiles: [{name: app}]
  windows: []
  rollout:
    waves:
    - {name: canary, clusters: {matchLabels: {ring: canary}}, maxConcurrency: 2, minSuccessTime: 1s}
    - {name: rest, maxConcurrency: 25%, approval: Required}
    progressDeadline: 2m
";
/// A window that closes each minute for two hours never opens.
const CLOSED: &str = "windows: [{schedule: '* * * * *', duration: 2h, deny: true}]";

struct World {
    fleet: Fleet,
    daemon: Daemon,
    running: Option<(CancellationToken, JoinHandle<()>)>,
    driven: JoinHandle<()>,
}

impl World {
    fn new(repo: &FleetRepo) -> Self {
        let settings = SimSettings { ready_after: Duration::from_millis(50), ..SimSettings::default() };
        let fleet = Fleet::new(settings, Clock::given(Timestamp::now));
        let daemon = Daemon::with("waves", &repo.url(), "simulated: {}");
        let drives = fleet.clone();
        let driven = tokio::spawn(async move { drives.drive().await });
        let mut world = Self { fleet, daemon, running: None, driven };
        world.start();
        world
    }

    fn start(&mut self) {
        let (clusters, cancel) = (self.fleet.clone(), CancellationToken::new());
        let simulation: Simulation = Box::new(move |_| Box::new(SimConnector::new(clusters)));
        let (settings, ended) = (Settings::read(&self.daemon.config()).unwrap(), cancel.clone());
        let running = async move { follow(settings, Some(simulation), ended).await.unwrap() };
        self.running = Some((cancel, tokio::spawn(running)));
    }

    async fn stop(&mut self) {
        if let Some((cancel, running)) = self.running.take() {
            cancel.cancel();
            running.await.unwrap();
        }
    }

    async fn restart(&mut self) {
        self.stop().await;
        self.start();
    }

    /// Waits until the fleet stands so.
    async fn until(&self, what: &str, wanted: impl Fn(&Value, &[Value]) -> bool) -> Value {
        let all = |status: &Value| {
            let targets = status["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
            targets.len() == CLUSTERS && wanted(&status["fleets"][0], targets)
        };
        self.daemon.until(what, SOON, all).await
    }

    async fn runs(&self, commit: &str) {
        let there = |target: &Value| target["status"] == "converged";
        self.until(commit, |fleet, targets| fleet["accepted"] == commit && targets.iter().all(there)).await;
    }

    async fn waits_for_approval(&self, commit: &str) {
        let asks =
            |fleet: &Value| fleet["needs"].as_array().is_some_and(|needs| needs.contains(&"approve".into()));
        self.until("an approval is asked for", |fleet, _| fleet["observed"] == commit && asks(fleet)).await;
    }

    async fn web(&self, number: usize) -> Deployment {
        let client = adapt::client(self.fleet.cluster(&name(number)), None);
        Api::namespaced(client, "shop").get("web").await.unwrap()
    }

    /// How often the Deployment was changed on each cluster behind the canaries.
    async fn changes_behind(&self) -> Vec<i64> {
        let mut changes = Vec::new();
        for number in CANARIES..CLUSTERS {
            changes.push(self.web(number).await.metadata.generation.unwrap());
        }
        changes
    }

    fn says(&self, args: &[&str]) -> String {
        let output = self.daemon.command(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(Daemon::answered(args, &output), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn name(number: usize) -> String {
    format!("edge-{number:03}")
}

fn target(number: usize) -> String {
    let ring = if number < CANARIES { ", ring: canary" } else { "" };
    let (name, labels) = (name(number), format!("labels: {{segment: retail{ring}}}"));
    format!("apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {{name: {name}, {labels}}}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clusters_go_in_waves_through_restarts() {
    let repo = FleetRepo::empty();
    let targets: Vec<String> = (0..CLUSTERS).map(target).collect();
    repo.write("profiles/app/profile.yaml", PROFILE)
        .write("profiles/app/app/namespace.yaml", &namespace("shop"))
        .write("profiles/app/app/web.yaml", &deployment("shop", "web", 1, ""))
        .write("clusters/all.yaml", &targets.join("---\n"))
        .write("fleets/retail.yaml", FLEET);
    let first = repo.push("Two hundred clusters");
    let mut world = World::new(&repo);
    world.waits_for_approval(&first).await;
    assert!(world.says(&["explain", &name(150)]).contains("waits for an approval of wave rest"));
    world.restart().await;
    world.waits_for_approval(&first).await;
    world.says(&["approve", "retail", "--reason", "the first time"]);
    world.runs(&first).await;

    // Pods that crash: the canaries go back, and nothing behind them has moved.
    let before = world.changes_behind().await;
    repo.write("profiles/app/app/web.yaml", &deployment("shop", "web", 1, "sim.fairlead.dev/fail: crash"));
    let bad = repo.push("A bad image");
    let failed = |fleet: &Value, targets: &[Value]| {
        let back = |target: &Value| target["status"] == "quarantined";
        fleet["observed"] == bad.as_str() && fleet["state"] == "failed" && targets.iter().all(back)
    };
    world.until("the canaries are back", failed).await;
    assert_eq!(world.changes_behind().await, before);
    for number in 0..CANARIES {
        let annotations = world.web(number).await.spec.unwrap().template.metadata.unwrap().annotations;
        assert_eq!(annotations.unwrap_or_default().get("sim.fairlead.dev/fail"), None, "{number}");
    }

    // The fix waits for a window, also after a restart.
    repo.write("profiles/app/app/web.yaml", &deployment("shop", "web", 2, ""));
    repo.edit("fleets/retail.yaml", "windows: []", CLOSED);
    let fix = repo.push("A better image, but not now");
    let closed = |fleet: &Value, targets: &[Value]| {
        let waits = |target: &Value| target["why"]["kind"] == "window" || target["why"]["kind"] == "wave";
        fleet["observed"] == fix.as_str() && targets.iter().all(waits)
    };
    world.until("the window is closed", closed).await;
    world.restart().await;
    world.until("the window is closed after a restart", closed).await;
    assert_eq!(world.changes_behind().await, before);

    // It opens: the canaries bake, the rest asks, and goes on where a restart broke it off.
    repo.edit("fleets/retail.yaml", CLOSED, "windows: []");
    let opened = repo.push("Now");
    world.waits_for_approval(&opened).await;
    assert_eq!(world.changes_behind().await, before);
    let status = world.says(&["rollout", "status", "retail"]);
    assert!(status.contains("canary   4          0 of 2"), "{status}");
    world.says(&["approve", "retail", "--wave", "rest", "--reason", "the canaries are well"]);
    let some = |_: &Value, targets: &[Value]| {
        targets.iter().filter(|target| target["assigned"] == target["wanted"]).count() > CLUSTERS / 3
    };
    world.until("the rest is on its way", some).await;
    world.restart().await;
    world.runs(&opened).await;
    assert!(world.says(&["audit", "--fleet", "retail"]).contains("the canaries are well"));
    world.stop().await;
    world.driven.abort();
}

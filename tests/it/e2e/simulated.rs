//! The real daemon on simulated clusters, in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlead::daemon::{Settings, Simulation, follow};
use fairlead::simulated::{SimConnector, adapt};
use fairlead_sim::serve::Served;
use fairlead_sim::{Clock, Fleet, SimSettings};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{FLEET, PROFILE, SOON, TARGET, deployment, namespace, runs, target};
use crate::world::daemon::Daemon;
use crate::world::eventually;
use crate::world::repository::FleetRepo;

const CLUSTERS: usize = 20;

/// The daemon as a part of this process, and the fleet that it looks after.
struct World {
    fleet: Fleet,
    daemon: Daemon,
    requests: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    cancel: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    fn start(repo: &FleetRepo) -> Self {
        let settings = SimSettings { ready_after: Duration::from_millis(50), ..SimSettings::default() };
        let fleet = Fleet::new(settings, Clock::given(Timestamp::now));
        let daemon = Daemon::with("simulated", &repo.url(), "simulated: {}");
        let requests: Arc<Mutex<BTreeMap<&'static str, usize>>> = Arc::default();
        let (counted, clusters, cancel) = (requests.clone(), fleet.clone(), CancellationToken::new());
        let simulation: Simulation = Box::new(move |_| {
            let count = move |verb, _| *counted.lock().unwrap().entry(verb).or_default() += 1;
            Box::new(SimConnector::new(clusters).observed(Arc::new(count)))
        });
        let (settings, ended) = (Settings::read(&daemon.config()).unwrap(), cancel.clone());
        let running = async move { follow(settings, Some(simulation), ended).await.unwrap() };
        let driven = fleet.clone();
        let tasks = vec![tokio::spawn(running), tokio::spawn(async move { driven.drive().await })];
        Self { fleet, daemon, requests, cancel, tasks }
    }

    async fn stop(mut self) {
        self.cancel.cancel();
        self.tasks.remove(0).await.unwrap();
        self.tasks.remove(0).abort();
    }

    async fn runs(&self, commit: &str) {
        let all = |status: &Value| {
            let targets = status["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
            status["fleets"][0]["accepted"] == commit
                && targets.len() == CLUSTERS
                && targets.iter().all(|target| target["status"] == "converged")
        };
        self.daemon.until(commit, SOON, all).await;
    }

    fn web(&self, number: usize) -> Api<Deployment> {
        let client = adapt::client(self.fleet.cluster(&name(number)), None);
        Api::namespaced(client, "shop")
    }

    /// How often each image runs in the fleet.
    async fn images(&self) -> BTreeMap<String, usize> {
        let mut images = BTreeMap::new();
        for number in 0..CLUSTERS {
            let web = serde_json::to_value(self.web(number).get("web").await.unwrap()).unwrap();
            let image =
                web["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
            *images.entry(image).or_default() += 1;
        }
        images
    }

    /// What was asked since the last time.
    fn asked(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// The log is on a disk that is full, which is no reason to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let repo = FleetRepo::empty();
    repo.write("profiles/app/profile.yaml", PROFILE)
        .write("profiles/app/app/namespace.yaml", &namespace("shop"))
        .write("clusters/edge-001.yaml", TARGET)
        .write("fleets/retail.yaml", FLEET);
    let commit = repo.push("One cluster");
    let mut daemon = Daemon::with("no-log", &repo.url(), "simulated: {}");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>/dev/full", "sh", env!("CARGO_BIN_EXE_fairlead")]);
    daemon.launch(&mut command);
    daemon.until("it runs", SOON, |status| runs(status, &commit, &["edge-001"])).await;
}

/// A restart between the order to leave and the day when the cluster can be reached again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_leaves_while_it_is_offline_has_left_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let names = [name(0), name(1), name(2)];
    let fleet = Fleet::new(SimSettings::default(), Clock::given(Timestamp::now));
    let place = (([127, 0, 0, 1], 0).into(), folder.path());
    let served = Served::start(fleet, &names, &[], 0, place).await.unwrap();
    let (faults, cancel) = (served.faults(&names[0]).unwrap(), CancellationToken::new());
    let serving = tokio::spawn(served.run(cancel.clone()));

    let repo = FleetRepo::empty();
    repo.write("profiles/app/profile.yaml", PROFILE)
        .write("profiles/app/app/namespace.yaml", &namespace("shop"))
        .write("fleets/retail.yaml", FLEET);
    for name in &names {
        repo.write(&format!("clusters/{name}.yaml"), &TARGET.replace("edge-001", name));
    }
    let commit = repo.push("Three clusters");
    let mut daemon = Daemon::new("leaves", &repo.url(), folder.path());
    daemon.start();
    daemon
        .until("all run it", SOON, |status| runs(status, &commit, &names.each_ref().map(|name| &**name)))
        .await;

    faults.set_dead(true);
    let is = |status: &Value, wanted: &str| target(status, "edge-000")["status"] == wanted;
    daemon.until("it is offline", SOON, |status| is(status, "offline")).await;
    repo.remove("clusters/edge-000.yaml").push("One closes");
    daemon.until("it is to leave", SOON, |status| is(status, "leaving")).await;
    daemon.kill().start();
    daemon.until("it still is", SOON, |status| is(status, "leaving")).await;
    faults.set_dead(false);
    daemon.until("it has left", SOON, |status| target(status, "edge-000").is_null()).await;
    daemon.kill();
    cancel.cancel();
    serving.await.unwrap();
}

fn name(number: usize) -> String {
    format!("edge-{number:03}")
}

fn everywhere(image: &str) -> BTreeMap<String, usize> {
    BTreeMap::from([(image.to_owned(), CLUSTERS)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_clusters_take_a_commit_and_its_revert_and_heal() {
    let repo = FleetRepo::empty();
    let targets: Vec<String> = (0..CLUSTERS)
        .map(|number| {
            let labels = "labels: {segment: retail}";
            format!(
                "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {{name: {}, {labels}}}\n",
                name(number)
            )
        })
        .collect();
    repo.write("profiles/app/profile.yaml", PROFILE)
        .write("profiles/app/app/namespace.yaml", &namespace("shop"))
        .write("profiles/app/app/web.yaml", &deployment("shop", "web", 2, ""))
        .write("clusters/all.yaml", &targets.join("---\n"))
        .write("fleets/retail.yaml", FLEET);
    let first = repo.push("Twenty clusters");
    let world = World::start(&repo);
    world.runs(&first).await;
    let image = world.images().await.into_keys().next().unwrap();

    // One object changes in each: one apply, and two writes of the ledger.
    world.asked();
    let next = format!("{image}-next");
    repo.edit("profiles/app/app/web.yaml", &image, &next);
    let second = repo.push("A new image");
    world.runs(&second).await;
    let asked = world.asked();
    assert_eq!(world.images().await, everywhere(&next));
    assert_eq!(asked, BTreeMap::from([("apply", CLUSTERS), ("update", 2 * CLUSTERS)]));

    let reverted = repo.revert(&second);
    world.runs(&reverted).await;
    assert_eq!(world.images().await, everywhere(&image));

    let scaled = json!({"spec": {"replicas": 7}});
    let params = PatchParams { field_manager: Some("someone".into()), ..PatchParams::default() };
    world.web(7).patch("web", &params, &Patch::Merge(scaled)).await.unwrap();
    eventually("the scaling is undone", SOON, async || {
        let web = world.web(7).get("web").await.map_err(|error| error.to_string())?;
        let replicas = web.spec.and_then(|spec| spec.replicas);
        if replicas == Some(2) { Ok(()) } else { Err(format!("{replicas:?} replicas")) }
    })
    .await;
    world.stop().await;
}

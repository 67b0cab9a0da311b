//! One cluster can hurt only itself: API servers that flood, stall and lie, each beside honest clusters, under one
//! daemon.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::SOON;
use crate::world::daemon::Daemon;
use crate::world::eventually;
use crate::world::hostile::{HostileServer, Trick};
use crate::world::repository::FleetRepo;

/// What the daemon may take while all tricks are played on it at once, in MiB: most that one cluster may have in flight,
/// for each, and what a daemon needs.
const MOST_MEMORY: u64 = 900;
/// How long all tricks are played before the next commit, and what they may cost by then: of each server, requests and
/// applies; log of all.
const PLAYED: Duration = Duration::from_secs(25);
const MOST_ASKED: (u64, u64) = (1_500, 60);
const MOST_LOG: usize = 3_000_000;

const PROFILE: &str = "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterProfile\nmetadata: {name: p}\nspec:\n  \
     version: 1.0.0\n  layers: [{name: app, type: addon, manifests: {path: app}}]\n";
const OBJECTS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: ConfigMap\n\
     metadata: {name: settings, namespace: shop}\ndata: {v: one}\n";

fn fleet(name: &str) -> String {
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: {name}}}\nspec:\n  \
         clusters: {{matchLabels: {{kind: {name}}}}}\n  profiles: [{{name: p}}]\n"
    )
}

fn target(name: &str, kind: &str) -> String {
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {{name: {name}, labels: {{kind: {kind}}}}}\n"
    )
}

/// VmHWM: the most that it had at once, in MiB.
fn most_memory(daemon: &mut Daemon) -> u64 {
    let pid = daemon.process().expect("the daemon runs").id();
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon lives");
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

fn accepted(status: &Value, fleet: &str, commit: &str) -> bool {
    let fleets = status["fleets"].as_array().unwrap();
    fleets.iter().any(|one| one["name"] == fleet && one["accepted"] == commit)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_cluster_hurts_only_itself() {
    let (repo, kubeconfigs) = (FleetRepo::empty(), tempfile::tempdir().unwrap());
    repo.write("profiles/p/profile.yaml", PROFILE)
        .write("profiles/p/app/all.yaml", OBJECTS)
        .write("fleets/honest.yaml", &fleet("honest"))
        .write("fleets/hostile.yaml", &fleet("hostile"));
    for number in 1..=5 {
        repo.write(&format!("clusters/honest-{number}.yaml"), &target(&format!("honest-{number}"), "honest"));
    }
    let mut servers = Vec::new();
    for trick in Trick::ALL {
        let name = format!("{trick:?}").to_lowercase();
        repo.write(&format!("clusters/{name}.yaml"), &target(&name, "hostile"));
        let server = HostileServer::start(trick);
        server.write_kubeconfig(&kubeconfigs.path().join(format!("{name}.yaml")));
        servers.push((name, server));
    }
    let first = repo.push("First");
    let clusters = format!(
        "kubeconfigs: {{directory: {}, trusted: true}}\n- simulated: {{readyAfter: 1s}}",
        kubeconfigs.path().display()
    );
    let mut daemon = Daemon::with("soak", &repo.url(), &clusters);
    daemon.start();
    daemon.until("the honest have converged", SOON, |status| accepted(status, "honest", &first)).await;
    let began = Instant::now();
    while began.elapsed() < PLAYED {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let memory = most_memory(&mut daemon);
        assert!(memory < MOST_MEMORY, "{memory} MiB after {:?}", began.elapsed());
    }
    let counted: Vec<String> =
        servers.iter().map(|(name, server)| format!("{name} {:?}", server.asked())).collect();
    println!("{} MiB; requests and applies: {counted:?}", most_memory(&mut daemon));
    for (name, server) in &servers {
        let (asked, applied) = server.asked();
        assert!(
            asked < MOST_ASKED.0 && applied < MOST_ASKED.1,
            "{name}: {asked} requests, {applied} applies"
        );
    }
    let log = daemon.log();
    assert!(log.len() < MOST_LOG, "{} bytes of log; its end: {}", log.len(), &log[log.len() - 3_000..]);

    // A commit reaches the honest ones as if they were alone.
    repo.edit("profiles/p/app/all.yaml", "v: one", "v: two");
    let second = repo.push("Second");
    let pushed = Instant::now();
    daemon.until("the honest have the next", SOON, |status| accepted(status, "honest", &second)).await;
    println!("accepted after {:?}", pushed.elapsed());

    // What is played is said of each, and none is thought to be well that never gave a list.
    let status = daemon.status().unwrap();
    let targets = status["targets"].as_array().unwrap();
    for (name, _) in &servers {
        let is = targets.iter().find(|target| target["name"] == *name.as_str()).expect("it is in the status");
        println!("{name}: {} {}", is["status"], is["reason"]);
        let quiet = ["watchstorm", "forgets", "slow", "slowevents", "samepage"];
        let fine = quiet.contains(&name.as_str());
        assert!(fine || is["status"] != "converged" || is["reason"] != "", "{name} is thought to be well");
    }

    // The server that undoes what is done is a fight, which is said once.
    eventually("the fights are contested", SOON, async || {
        let log = daemon.log();
        let contested =
            |name: &str| log.lines().any(|line| line.contains("contested") && line.contains(name));
        let missing: Vec<&str> =
            ["forgetful", "undoes"].into_iter().filter(|name| !contested(name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await;
    daemon.stop();
}

//! Fault 20: the daemon is killed at random moments through install, change, revert and prune.
//!
//! At the end the cluster equals its release, nothing is orphaned, nothing foreign was touched, and no
//! object was applied twice for nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{FLEET, Small, deployment, namespace};
use crate::harness::{ControlPlane, shared};

/// Kills in CI.
const KILLS: usize = 40;
/// Kills by hand: `cargo test --test it killed_200 -- --ignored`.
const MANY_KILLS: usize = 200;
/// Longest life of a daemon that is killed; it starts, and applies everything here, in well under that.
const LIFE: Duration = Duration::from_millis(1200);
/// Takes the seed that a failed run printed.
const SEED: &str = "FAIRLEAD_TEST_SEED";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_at_any_moment_resumes_and_loses_nothing() {
    killed("kill", KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; by hand"]
async fn killed_200_times() {
    killed("kill-many", MANY_KILLS).await;
}

/// What the repository says: the value of each ConfigMap and (in Base64) Secret, and the Deployment's replicas.
#[derive(Clone, Default, PartialEq, Debug)]
struct Wanted {
    config_maps: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    replicas: u32,
}

impl Wanted {
    fn manifests(&self, ns: &str) -> String {
        let mut text = String::new();
        for (kind, objects) in [("ConfigMap", &self.config_maps), ("Secret", &self.secrets)] {
            for (name, value) in objects {
                let meta = format!("metadata: {{name: {name}, namespace: {ns}}}");
                writeln!(text, "apiVersion: v1\nkind: {kind}\n{meta}\ndata: {{value: \"{value}\"}}\n---")
                    .unwrap();
            }
        }
        text + &deployment(ns, "web", self.replicas, "")
    }

    /// Names of what differs from an older state and is there.
    fn changed_since(&self, old: &Self) -> Vec<String> {
        let differs = |new: &BTreeMap<String, String>, old: &BTreeMap<String, String>| {
            let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(value));
            changed.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let mut names = differs(&self.config_maps, &old.config_maps);
        names.extend(differs(&self.secrets, &old.secrets));
        if self.replicas != old.replicas {
            names.push("web".to_owned());
        }
        names
    }
}

/// A repository that people change at random, and what it says.
struct World {
    small: Small,
    ns: &'static str,
    random: fastrand::Rng,
    wanted: Wanted,
    /// What the repository said before its last commit.
    before: Wanted,
    /// In how many commits each object was added or changed.
    versions: BTreeMap<String, usize>,
    serial: usize,
}

impl World {
    fn commit(&mut self, wanted: Wanted, message: &str) -> String {
        let text = wanted.manifests(self.ns);
        self.small.repo.write("profiles/app/app/objects.yaml", &text);
        let commit = self.small.repo.push(message);
        self.take(wanted);
        commit
    }

    fn take(&mut self, wanted: Wanted) {
        for name in wanted.changed_since(&self.wanted) {
            *self.versions.entry(name).or_default() += 1;
        }
        self.before = std::mem::replace(&mut self.wanted, wanted);
    }

    fn fresh(&mut self) -> String {
        self.serial += 1;
        format!("v{}", self.serial)
    }

    fn install(&mut self) -> String {
        let mut wanted = self.wanted.clone();
        for _ in 0..self.random.usize(3..8) {
            let (name, value) = (format!("c{:02}", self.random.u32(0..16)), self.fresh());
            wanted.config_maps.insert(name, value);
        }
        let (name, value) = (format!("s{}", self.random.u32(0..4)), self.fresh());
        wanted.secrets.insert(name, STANDARD.encode(value));
        self.commit(wanted, "Install")
    }

    fn change(&mut self) -> String {
        let mut wanted = self.wanted.clone();
        let names: Vec<String> = wanted.config_maps.keys().cloned().collect();
        for name in names {
            if self.random.bool() {
                let value = self.fresh();
                wanted.config_maps.insert(name, value);
            }
        }
        wanted.replicas = 1 + wanted.replicas % 3;
        self.commit(wanted, "Change")
    }

    fn revert(&mut self) -> String {
        let head = self.small.repo.head();
        let commit = self.small.repo.revert(&head);
        let before = self.before.clone();
        self.take(before);
        commit
    }

    fn prune(&mut self) -> String {
        let mut wanted = self.wanted.clone();
        let random = &mut self.random;
        wanted.config_maps.retain(|_, _| random.u32(0..3) > 0);
        wanted.secrets.retain(|_, _| random.u32(0..3) > 0);
        self.commit(wanted, "Prune")
    }

    fn step(&mut self, number: usize) -> String {
        match number % 4 {
            0 => self.install(),
            1 => self.change(),
            2 => self.revert(),
            _ => self.prune(),
        }
    }
}

async fn killed(ns: &'static str, kills: usize) {
    let seed = std::env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let plane = shared("alpha").await.unwrap();
    let small = Small::new(plane, ns);
    let policy = "rollout: {progressDeadline: 5m}\n  prune: {maxDeletions: 100%, allowEmpty: true}";
    small
        .repo
        .write("fleets/retail.yaml", &FLEET.replace("rollout: {progressDeadline: 15s}", policy))
        .write("profiles/app/app/namespace.yaml", &namespace(ns));
    let random = fastrand::Rng::with_seed(seed);
    let (wanted, before) = (Wanted { replicas: 1, ..Wanted::default() }, Wanted::default());
    let versions = BTreeMap::from([("web".to_owned(), 1)]);
    let mut world = World { small, ns, random, wanted, before, versions, serial: 0 };
    let first = world.install();
    let mark = plane.audit().mark().await.unwrap();

    // Before the first kill there is something to lose: a foreign object among ours.
    world.small.daemon.start();
    world.small.converged(&first).await;
    let foreign = ["create", "configmap", "foreign", "-n", ns, "--from-literal=value=mine"];
    plane.kubectl(&foreign).await.unwrap();
    let foreign = get(plane, &["configmap", "foreign", "-n", ns]).await;
    world.small.daemon.kill();

    let mut head = first;
    for number in 0..kills {
        // A new commit comes while the daemon is away, or, as often, while it is at work.
        let early = world.random.bool();
        if early {
            head = world.step(number);
        }
        world.small.daemon.start();
        if !early {
            head = world.step(number);
        }
        // Now and then a commit is finished first, so that later kills meet a settled cluster too.
        if number % 8 == 7 {
            world.small.converged(&head).await;
        } else {
            let life = LIFE.mul_f64(world.random.f64());
            tokio::time::sleep(life).await;
        }
        world.small.daemon.kill();
    }
    world.small.daemon.start();
    world.small.converged(&head).await;

    equals_release(plane, &world).await;
    assert_eq!(
        get(plane, &["configmap", "foreign", "-n", ns]).await,
        foreign,
        "a foreign object was touched"
    );
    applied_no_more_than_needed(plane, mark, &world, kills).await;
}

async fn get(plane: &ControlPlane, what: &[&str]) -> Value {
    let args = [&["get", "-o", "json"], what].concat();
    serde_json::from_str(&plane.kubectl(&args).await.unwrap()).unwrap()
}

/// Every object of ours, in all namespaces, is in the release, and has its data.
async fn equals_release(plane: &ControlPlane, world: &World) {
    let label = "applyset.kubernetes.io/part-of";
    let web = get(plane, &["deployment", "web", "-n", world.ns]).await;
    let ours = format!("{label}={}", web["metadata"]["labels"][label].as_str().expect("web is labelled"));
    assert_eq!(web["spec"]["replicas"], world.wanted.replicas);
    let kinds = "configmaps,secrets,deployments,serviceaccounts,namespaces";
    let found = get(plane, &[kinds, "--all-namespaces", "-l", &ours]).await;
    let (mut config_maps, mut secrets, mut others) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for object in found["items"].as_array().unwrap() {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let value = object["data"]["value"].as_str().unwrap_or_default().to_owned();
        match object["kind"].as_str().unwrap() {
            "ConfigMap" => drop(config_maps.insert(name, value)),
            "Secret" => drop(secrets.insert(name, value)),
            kind => others.push(format!("{kind}/{name}")),
        }
    }
    others.sort();
    assert_eq!(others, ["Deployment/web".to_owned(), format!("Namespace/{}", world.ns)]);
    assert_eq!(config_maps, world.wanted.config_maps);
    assert_eq!(secrets, world.wanted.secrets);
}

/// One PATCH for each version of an object. A kill may cut off an answer: then the request, which the server
/// may still be at work on, may come once more; so there may be a few more in all, but never many.
async fn applied_no_more_than_needed(
    plane: &ControlPlane,
    mark: crate::harness::Mark,
    world: &World,
    kills: usize,
) {
    let events = plane.audit().since(mark).await.unwrap().agent("fairlead/").namespace(world.ns);
    let patches = events.verb("patch").filter(|event| !event.request_uri.contains("dryRun"));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for event in &patches.0 {
        *counts.entry(event.name.clone()).or_default() += 1;
    }
    counts.remove(world.ns);
    let extra: BTreeMap<_, _> = counts
        .iter()
        .filter_map(|(name, count)| {
            let versions = world.versions.get(name).copied().unwrap_or_default();
            count.checked_sub(versions).filter(|extra| *extra > 0).map(|extra| (name.clone(), extra))
        })
        .collect();
    let (total, allowed): (usize, usize) = (counts.values().sum(), world.versions.values().sum());
    println!("{total} patches for {allowed} versions; more than versions: {extra:?}");
    assert!(extra.values().all(|extra| *extra <= 2), "{extra:?}\n{}", patches.lines());
    assert!(extra.values().sum::<usize>() <= kills / 4, "{extra:?}\n{}", patches.lines());
}

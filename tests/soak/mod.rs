//! The fault marathon: a fleet of simulated clusters under the real daemon, and whatever can happen to both.
//!
//! In: a seed, and how long. Out: what was done, or the rule that was broken with the whole history. What happens
//! follows from the seed alone; when it happens, within a step, from the machine as well. Each step begins and ends
//! with every cluster as a model says, which knows only what the driver wrote to the repository: the daemon's own
//! opinion is checked against it, never taken for it. During a step, each write of the daemon is held to what some
//! commit of that step allows.
#![allow(dead_code, reason = "the test and the benchmark each use a part")]

mod acts;
mod aim;
mod content;
mod host;
mod jobs;
pub mod measure;
mod others;
mod stage;
mod storm;
mod tap;
mod trouble;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::world::hostile::{HostileServer, Trick};
use crate::world::repository::FleetRepo;
use aim::Model;
use content::Content;
use host::Host;
use stage::Stage;

/// How long anything may take that takes a second or two on a machine with nothing else to do; or ten times as long as
/// the first commit took, whichever is more.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone)]
pub struct Options {
    pub clusters: usize,
    pub seed: u64,
    pub steps: Option<usize>,
    pub length: Duration,
    /// Also faults that take minutes to be found out.
    pub slow: bool,
    /// Says each step.
    pub loud: bool,
    /// One more cluster, whose API server is hostile.
    pub hostile: bool,
    /// Another build of the daemon than the one beside this program.
    pub daemon: Option<PathBuf>,
}

/// What was done.
#[derive(Debug, Default, Clone)]
pub struct Done {
    pub steps: usize,
    pub commits: usize,
    pub kills: usize,
    pub applies: usize,
    pub deletes: usize,
    pub ledgers: usize,
    /// From a push in calm weather until every cluster had it: median, 99th percentile and longest, in milliseconds.
    pub settled: measure::Times,
    /// The most memory that a daemon had (`VmHWM`), in MiB.
    pub memory: u64,
}

/// The cluster whose API server is hostile.
const HOSTILE: &str = "hostile-001";
/// Most memory that a daemon may have, in MiB.
const MOST_MEMORY: u64 = 400;

/// Names a folder for the whole of the daemon's log and its last status, after a failure.
const KEEP: &str = "FAIRLEAD_SOAK_KEEP";

/// Why a marathon ended: a rule, or the machine.
type Wrong = String;

struct World {
    options: Options,
    random: fastrand::Rng,
    repo: FleetRepo,
    host: Host,
    stage: Stage,
    kubeconfigs: TempDir,
    hostile: Option<HostileServer>,
    content: Content,
    /// The content of each commit, the commits, and whether each was good for every cluster.
    past: Vec<Content>,
    commits: Vec<String>,
    good: Vec<bool>,
    model: Model,
    history: Vec<String>,
    began: Instant,
    patience: Duration,
    serial: u32,
    done: Done,
}

/// Runs a marathon.
pub fn run(options: Options) -> Result<Done, String> {
    let mut world = World::new(options);
    let ran = world.go();
    ran.map(|()| world.done.clone()).map_err(|wrong| world.tell(&wrong))
}

/// How fleets stand, and those targets that have not converged.
fn standing(status: &Value) -> String {
    let mut text = "\nFleets, and targets that have not converged:\n".to_owned();
    for fleet in status["fleets"].as_array().into_iter().flatten() {
        let (name, state, accepted) = (&fleet["name"], &fleet["state"], &fleet["accepted"]);
        let _ = writeln!(text, "{name} {state}, accepted {accepted}: {}", fleet["reason"]);
        let targets = status["targets"].as_array().into_iter().flatten();
        let odd = targets.filter(|target| target["fleet"] == *name && target["status"] != "converged");
        for target in odd.take(10) {
            let _ = writeln!(text, "  {} {}: {}", target["name"], target["status"], target["reason"]);
        }
    }
    text
}

impl World {
    fn new(options: Options) -> Self {
        let (repo, kubeconfigs) = (FleetRepo::empty(), tempfile::tempdir().unwrap());
        let content = Content::first(options.clusters);
        let names: Vec<String> = content.targets.keys().cloned().collect();
        let stage = Stage::start(&names, options.seed, kubeconfigs.path());
        let host = Host::new(&repo.url(), kubeconfigs.path(), options.daemon.clone());
        Self {
            random: fastrand::Rng::with_seed(options.seed),
            hostile: options.hostile.then(|| HostileServer::start(Trick::Lists)),
            options,
            repo,
            host,
            stage,
            kubeconfigs,
            content,
            past: Vec::new(),
            commits: Vec::new(),
            good: Vec::new(),
            model: Model::default(),
            history: Vec::new(),
            began: Instant::now(),
            patience: PATIENCE,
            serial: 1,
            done: Done::default(),
        }
    }

    fn go(&mut self) -> Result<(), Wrong> {
        self.install()?;
        let enough = |world: &Self| match world.options.steps {
            Some(steps) => world.done.steps >= steps,
            None => world.began.elapsed() >= world.options.length,
        };
        while !enough(self) {
            self.play();
            self.step()?;
            self.done.steps += 1;
            self.done.memory = self.done.memory.max(self.host.memory());
        }
        self.host.daemon.kill();
        if self.done.memory > MOST_MEMORY {
            return Err(format!("the daemon had {} MiB", self.done.memory));
        }
        Ok(())
    }

    /// The first commit, and foreign objects beside ours.
    fn install(&mut self) -> Result<(), Wrong> {
        self.say("install".to_owned());
        if let Some(hostile) = &self.hostile {
            hostile.write_kubeconfig(&self.kubeconfigs.path().join(format!("{HOSTILE}.yaml")));
        }
        let content = self.content.clone();
        let aim = self.aim_at(&content);
        self.allow(&aim, &[]);
        self.host.start();
        self.push(content, "Install", true);
        let start = Instant::now();
        self.settle(&aim, &BTreeSet::new(), PATIENCE * 5)?;
        self.patience = PATIENCE.max(start.elapsed() * 10);
        let names: Vec<String> = self.content.targets.keys().cloned().collect();
        for name in &names {
            self.stage.settle_in(name, "theirs");
        }
        self.arrive(&aim)
    }

    /// Notes what happens, as the history has it.
    fn say(&mut self, what: String) {
        let at = self.began.elapsed().as_secs_f64();
        let line = format!("{:4} {at:8.2}s {what}", self.done.steps);
        if self.options.loud {
            println!("{line}");
        }
        self.history.push(line);
    }

    /// Writes a content into the repository and pushes it.
    fn push(&mut self, content: Content, message: &str, good: bool) -> String {
        self.write(&content);
        let commit = self.repo.push(if message.is_empty() { "Nothing" } else { message });
        self.pushed(content, &commit, good);
        commit
    }

    fn pushed(&mut self, content: Content, commit: &str, good: bool) {
        self.say(format!("  commit {} is {}", self.commits.len(), &commit[..7]));
        self.content = content.clone();
        self.past.push(content);
        self.commits.push(commit.to_owned());
        self.good.push(good);
        self.done.commits += 1;
    }

    /// The hostile cluster plays another trick, sometimes.
    fn play(&mut self) {
        let Some(hostile) = &self.hostile else { return };
        // Its own, so that the same seed does the same without it.
        let mut random = fastrand::Rng::with_seed(self.options.seed ^ self.done.steps as u64);
        if self.done.steps == 0 || random.u8(..3) == 0 {
            let trick = Trick::ALL[random.usize(..Trick::ALL.len())];
            hostile.play(trick);
            self.say(format!("the hostile cluster plays {trick:?}"));
        }
    }

    fn write(&self, content: &Content) {
        if self.hostile.is_some() {
            let target = format!("clusters/{HOSTILE}.yaml");
            self.repo.write("fleets/hostile.yaml", &content::fleet_text("hostile", "app"));
            if content.broken != Some(content::Broken::NoTargets) {
                self.repo.write(&target, &content::hostile_target(HOSTILE));
            } else if self.repo.clone_path().join(&target).exists() {
                self.repo.remove(&target);
            }
        }
        let files = content.files(&self.commits);
        let before = self.past.last().map(|past| past.files(&self.commits)).unwrap_or_default();
        for path in before.keys().filter(|path| !files.contains_key(*path)) {
            self.repo.remove(path);
        }
        for (path, text) in files.iter().filter(|(path, text)| before.get(*path) != Some(text)) {
            self.repo.write(path, text);
        }
    }

    fn head(&self) -> &str {
        self.commits.last().map_or("", String::as_str)
    }

    fn kill(&mut self) {
        self.host.daemon.kill();
        self.done.kills += 1;
    }

    /// The failure, with all that it takes to see it again.
    fn tell(&mut self, wrong: &str) -> String {
        let status = self.host.status();
        let mut text = format!("{wrong}\n\nThe history (seed {}):\n", self.options.seed);
        for line in &self.history {
            let _ = writeln!(text, "{line}");
        }
        let log = self.host.daemon.log();
        let told = |line: &&str| !line.contains("DEBUG fairlead::daemon::source");
        let tail: Vec<&str> = log.lines().rev().filter(told).take(300).collect();
        text += "\nThe end of the daemon's log:\n";
        for line in tail.iter().rev() {
            let _ = writeln!(text, "{line}");
        }
        match &status {
            Ok(status) => text += &standing(status),
            Err(error) => text += &format!("\nNo status: {error}\n"),
        }
        if let Ok(folder) = std::env::var(KEEP) {
            let (folder, seed) = (PathBuf::from(folder), self.options.seed);
            let _ = std::fs::create_dir_all(&folder);
            let _ = std::fs::write(folder.join(format!("{seed}.log")), log);
            let status = status.map_or_else(|error| error, |status| format!("{status:#}"));
            let _ = std::fs::write(folder.join(format!("{seed}.json")), status);
        }
        let _ = writeln!(text, "\nAgain: cargo bench --bench fairlead-soak -- --seed {}", self.options.seed);
        text
    }

    fn some<T: Clone>(&mut self, from: &[T], most: usize) -> Vec<T> {
        let mut from = from.to_vec();
        self.random.shuffle(&mut from);
        let count = if from.is_empty() { 0 } else { self.random.usize(1..=most.min(from.len())) };
        from.truncate(count);
        from
    }
}

//! A repository, a daemon that follows it, and simulated clusters.

use std::time::{Duration, Instant};

use git2::Oid;

use crate::content::{self, CHANGED_FILE, FLEET, OBJECTS};
use crate::daemon::{Daemon, Usage};
use crate::harness::{Error, Result};
use crate::repository::Repository;
use crate::simulation::{Asked, Simulation};

/// Until when anything must have converged.
pub const LIMIT: Duration = Duration::from_secs(400);
/// In which what belongs to an event has surely been asked, and memory is given back.
pub const AFTERWARDS: Duration = Duration::from_secs(3);
/// Between two looks at what the clusters were asked.
const LOOK: Duration = Duration::from_millis(10);

pub struct World {
    pub names: Vec<String>,
    pub repository: Repository,
    pub daemon: Daemon,
    pub simulation: Simulation,
    /// What the object that changes is at.
    value: usize,
}

/// The first apply of everything.
pub struct Cold {
    pub took: Duration,
    pub cpu: Duration,
    pub peak: u64,
}

/// One commit that changes one object in each cluster.
pub struct Change {
    /// Seconds from the push to the answer to the ledger's second write, of each cluster that was waited for.
    pub took: Vec<f64>,
    /// Seconds until the daemon says so of all.
    pub said: f64,
    /// CPU time of the daemon and of the simulation until then, in seconds.
    pub cpu: (f64, f64),
    /// Greatest memory of the daemon meanwhile, in bytes.
    pub peak: u64,
    pub asked: Asked,
}

impl Change {
    pub fn last(&self) -> f64 {
        self.took.iter().copied().fold(0.0, f64::max)
    }
}

impl World {
    /// A daemon that has brought everything to all clusters.
    pub async fn converged(clusters: usize) -> Result<(Self, Cold)> {
        let names = content::names(clusters);
        let mut repository = Repository::new()?;
        for (path, text) in content::files(&names) {
            repository.write(&path, &text)?;
        }
        repository.write(CHANGED_FILE, &content::changed("0"))?;
        let commit = repository.commit("A fleet")?;
        repository.push(commit)?;
        let simulation = Simulation::start(&names).await?;
        let daemon = Daemon::new("default", &repository.path(), simulation.kubeconfigs.path())?;
        let mut world = Self { names, repository, daemon, simulation, value: 0 };
        let start = Instant::now();
        world.daemon.start()?;
        world.daemon.converged(commit, LIMIT).await?;
        let (took, usage) = (start.elapsed(), world.daemon.usage()?);
        tokio::time::sleep(AFTERWARDS).await;
        println!(
            "{clusters} clusters: {} objects applied in {:.1} s",
            clusters * OBJECTS,
            took.as_secs_f64()
        );
        Ok((world, Cold { took, cpu: usage.cpu, peak: usage.peak }))
    }

    /// A commit with a new value, not pushed yet.
    pub fn commit(&mut self) -> Result<Oid> {
        self.value += 1;
        self.repository.write(CHANGED_FILE, &content::changed(&self.value.to_string()))?;
        self.repository.commit("A change")
    }

    /// What the object that changes should be at.
    pub fn value(&self) -> String {
        self.value.to_string()
    }

    /// Pushes a change, and waits until these clusters have it.
    pub async fn change(&mut self, of: &[String]) -> Result<Change> {
        let commit = self.commit()?;
        self.daemon.forget_peak()?;
        self.simulation.forget_asked();
        let before = self.usages()?;
        let start = Instant::now();
        self.repository.push(commit)?;
        self.until_written(of, 2).await?;
        let all = of.len() == self.names.len();
        if all {
            self.daemon.converged(commit, LIMIT).await?;
        }
        let said = start.elapsed().as_secs_f64();
        let after = self.usages()?;
        tokio::time::sleep(AFTERWARDS).await;
        let asked = self.simulation.asked();
        let second = |name: &String| asked.clusters.get(name)?.ledger.get(1).copied();
        let took = of.iter().filter_map(second).map(|at| at.duration_since(start).as_secs_f64()).collect();
        let cpu = |before: Usage, after: Usage| (after.cpu.saturating_sub(before.cpu)).as_secs_f64();
        let cpu = (cpu(before.0, after.0), cpu(before.1, after.1));
        Ok(Change { took, said, cpu, peak: after.0.peak, asked })
    }

    /// The daemon's usage, and this process's.
    pub fn usages(&self) -> Result<(Usage, Usage)> {
        Ok((self.daemon.usage()?, Usage::of(std::process::id())?))
    }

    /// Waits until each of these clusters was asked for so many ledger writes.
    pub async fn until_written(&self, names: &[String], writes: usize) -> Result<()> {
        let start = Instant::now();
        loop {
            let wrote = self.simulation.wrote(names, writes);
            if wrote == names.len() {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                let text = format!("only {wrote} of {} clusters wrote their ledgers", names.len());
                return Err(self.daemon.explained(Error::new(text)));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many clusters have the newest value.
    pub async fn up_to_date(&self) -> Result<usize> {
        let path = format!("/api/v1/namespaces/{}/configmaps/{}", content::NAMESPACE, content::CHANGED);
        let mut count = 0;
        for name in &self.names {
            let object = self.simulation.object(name, &path).await?;
            count += usize::from(object["data"]["changed"] == self.value());
        }
        Ok(count)
    }

    /// What the daemon says of the fleet.
    pub async fn fleet(&self) -> Result<serde_json::Value> {
        self.daemon.json(&format!("/api/v1/fleets/{FLEET}")).await
    }

    pub async fn stop(mut self) -> Result<()> {
        self.daemon.stop()?;
        self.simulation.stop().await;
        Ok(())
    }
}

//! A repository, a daemon that follows it, and the cluster's kubeconfig.

use std::fs;
use std::time::Duration;

use git2::Oid;
use serde_json::Value;
use tempfile::TempDir;

use super::content::{self, FLEET_FILE, PROFILE_FILE, TARGET, TARGET_FILE};
use crate::daemon::Daemon;
use crate::harness::{ControlPlane, Result};
use crate::repository::Repository;

/// Until when anything must have converged.
pub const LIMIT: Duration = Duration::from_secs(600);

pub struct World {
    pub repository: Repository,
    pub daemon: Daemon,
    /// Also the daemon's instance.
    pub namespace: String,
    _kubeconfigs: TempDir,
}

impl World {
    /// A daemon that runs, of a release that is a namespace and nothing else.
    pub async fn start(plane: &ControlPlane, namespace: &str) -> Result<Self> {
        let kubeconfigs = tempfile::tempdir()?;
        fs::copy(plane.kubeconfig(), kubeconfigs.path().join(format!("{TARGET}.yaml")))?;
        let mut repository = Repository::new()?;
        repository.write("profiles/app/profile.yaml", PROFILE_FILE)?;
        repository.write("clusters/edge-001.yaml", TARGET_FILE)?;
        repository.write("fleets/bench.yaml", FLEET_FILE)?;
        let first = content::namespace(namespace);
        repository.write("profiles/app/app/0-namespace.yaml", &content::yaml(&first)?)?;
        let daemon = Daemon::new(namespace, &repository.path(), kubeconfigs.path())?;
        let namespace = namespace.to_owned();
        let mut world = Self { repository, daemon, namespace, _kubeconfigs: kubeconfigs };
        let commit = world.repository.commit("A namespace")?;
        world.repository.push(commit)?;
        world.daemon.start()?;
        world.daemon.converged(commit, LIMIT).await?;
        Ok(world)
    }

    /// The same with the whole release.
    pub async fn converged(plane: &ControlPlane, namespace: &str) -> Result<Self> {
        let mut world = Self::start(plane, namespace).await?;
        let objects = content::release(namespace);
        let commit = world.commit(&objects)?;
        world.repository.push(commit)?;
        world.daemon.converged(commit, LIMIT).await?;
        Ok(world)
    }

    /// A commit with these objects, not pushed yet.
    pub fn commit(&mut self, objects: &[Value]) -> Result<Oid> {
        for object in objects {
            self.repository.write(&content::file(object), &content::yaml(object)?)?;
        }
        self.repository.commit("A change")
    }
}

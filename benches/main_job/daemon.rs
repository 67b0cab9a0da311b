//! The daemon as a process of its own, as people run it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use git2::Oid;
use serde_json::Value;
use tempfile::TempDir;

use crate::content::TARGET;
use crate::harness::{Context, Error, Result, wait_for};

/// Lines of the log that are worth reading when something failed.
const TAIL: usize = 30;

pub struct Daemon {
    folder: TempDir,
    child: Option<Child>,
}

impl Daemon {
    pub fn new(instance: &str, repository: &Path, kubeconfigs: &Path) -> Result<Self> {
        let repository = format!("repository: {{url: {}, branch: main, poll: 30s}}\n", repository.display());
        Self::with(instance, kubeconfigs, &repository, "127.0.0.1:0")
    }

    /// `more`: the settings of the repository, and any others.
    pub fn with(instance: &str, kubeconfigs: &Path, more: &str, listen: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let directory = kubeconfigs.display();
        let settings = format!(
            "instance: {instance}\n{more}clusters:\n- kubeconfigs: {{directory: {directory}}}\nstate: state\nserver: {{listen: \"{listen}\"}}\n"
        );
        fs::write(folder.path().join("fairlead.yaml"), settings)?;
        Ok(Self { folder, child: None })
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("fairlead.yaml")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(env!("CARGO_BIN_EXE_fairlead"))
            .args(["run", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting fairlead")?;
        self.child = Some(child);
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::TERM,
        )?;
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(Error::new(format!("fairlead ended with {status}"))) }
    }

    /// Waits until the fleet has accepted a commit and the cluster runs it.
    pub async fn converged(&self, commit: Oid, limit: Duration) -> Result<()> {
        let commit = commit.to_string();
        let what = format!("{commit} converged");
        let waited = wait_for(&what, limit, async || {
            let converged = self.status()?.is_some_and(|status| runs(&status, &commit));
            if !converged {
                // Each look is a process: they should not be what is measured.
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            Ok(converged.then_some(()))
        });
        waited.await.map_err(|error| Error::new(format!("{error}\n{}", self.tail())))
    }

    /// None while it does not answer.
    fn status(&self) -> Result<Option<Value>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
        let output = command.args(["status", "-o", "json", "--config"]).arg(self.config()).output()?;
        if !output.status.success() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&output.stdout)?))
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> Result<u64> {
        let pid = self.child.as_ref().map(Child::id).ok_or_else(|| Error::new("fairlead does not run"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading its memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kilobytes.ok_or_else(|| Error::new("/proc has no VmRSS"))? << 10)
    }

    pub fn tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        format!("--- the daemon's log:\n{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"))
    }
}

fn runs(status: &Value, commit: &str) -> bool {
    let targets = status["targets"].as_array().into_iter().flatten();
    let mut here = targets.filter(|target| target["name"] == TARGET);
    status["fleets"][0]["accepted"] == commit && here.any(|target| target["status"] == "converged")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

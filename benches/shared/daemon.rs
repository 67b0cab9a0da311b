//! The daemon as a process of its own, as people run it.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use git2::Oid;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::harness::{Context, Error, Result, wait_for};

/// Lines of the log that are worth reading when something failed.
const TAIL: usize = 30;

pub struct Daemon {
    folder: TempDir,
    child: Option<Child>,
}

/// What `/proc` says of a process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time, in ticks of 10 ms.
    pub cpu: Duration,
    /// Resident bytes, now and at most.
    pub resident: u64,
    pub peak: u64,
    pub threads: u64,
    pub files: u64,
}

impl Usage {
    pub fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).context("reading /proc");
        let (status, stat) = (read("status")?, read("stat")?);
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.ok_or_else(|| Error::new(format!("/proc has no {name}")))
        };
        // The name of the program may have spaces in it.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks: u64 =
            after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        Ok(Self {
            cpu: Duration::from_millis(10 * ticks),
            resident: field("VmRSS")? << 10,
            peak: field("VmHWM")? << 10,
            threads: field("Threads")?,
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
        })
    }
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

    pub fn log(&self) -> PathBuf {
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

    /// Waits until the fleet has accepted a commit and all its clusters run it.
    pub async fn converged(&self, commit: Oid, limit: Duration) -> Result<()> {
        let commit = commit.to_string();
        let what = format!("{commit} converged");
        let waited = wait_for(&what, limit, async || {
            // It may not answer yet.
            let fleets = self.json("/api/v1/fleets").await.unwrap_or_default();
            match &fleets[0] {
                fleet if fleet["state"] == "failed" => Err(Error::new(fleet["reason"].to_string())),
                fleet => Ok(runs(fleet, &commit).then_some(())),
            }
        });
        waited.await.map_err(|error| self.explained(error))
    }

    /// What the daemon answers on its socket, as JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.get(path).await?)?)
    }

    /// What the daemon answers on its socket.
    pub async fn get(&self, path: &str) -> Result<Bytes> {
        let socket = self.folder.path().join("state/fairlead.sock");
        let stream = TokioIo::new(UnixStream::connect(socket).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let request = http::Request::get(path).header(http::header::HOST, "localhost");
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let (status, body) = (answer.status(), answer.into_body().collect().await?.to_bytes());
        drop(sender);
        connection.abort();
        match status.is_success() {
            true => Ok(body),
            false => Err(Error::new(format!("{path}: {status}"))),
        }
    }

    fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).ok_or_else(|| Error::new("fairlead does not run"))
    }

    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid()?)
    }

    /// The greatest memory is that from now on.
    pub fn forget_peak(&self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid()?), "5").context("forgetting the peak of memory")
    }

    /// An error with the end of the log.
    pub fn explained(&self, error: Error) -> Error {
        Error::new(format!("{error}\n{}", self.tail()))
    }

    pub fn tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        format!("--- the daemon's log:\n{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"))
    }
}

fn runs(fleet: &Value, commit: &str) -> bool {
    let counts = fleet["counts"].as_object();
    let all = counts.is_some_and(|counts| counts.len() == 1 && counts.contains_key("converged"));
    fleet["accepted"] == commit && all
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

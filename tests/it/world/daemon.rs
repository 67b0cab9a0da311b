//! The real daemon as a process of its own.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::eventually;

/// A daemon with a state folder that outlives its process, so that it can be killed and started again.
pub struct Daemon {
    folder: TempDir,
    child: Option<Child>,
}

impl Daemon {
    /// Writes the settings; `kubeconfigs` is a folder of `<target>.yaml`.
    pub fn new(instance: &str, repository: &Path, kubeconfigs: &Path) -> Self {
        Self::with(instance, repository, &format!("kubeconfigs: {{directory: {}}}", kubeconfigs.display()))
    }

    /// The same for any source of clusters.
    pub fn with(instance: &str, repository: &Path, clusters: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "instance: {instance}\nrepository:\n  url: {}\n  branch: main\n  poll: 1s\nclusters:\n- {clusters}\nstate: state\nserver: {{listen: \"127.0.0.1:0\"}}\n",
            repository.display(),
        );
        fs::write(folder.path().join("fairlead.yaml"), settings).unwrap();
        Self { folder, child: None }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("fairlead.yaml")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// What the socket answers to a GET, as JSON.
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, None).unwrap_or_else(|error| panic!("{path}: {error}")).1
    }

    /// What the socket answers, as its status and JSON.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut answer = String::new();
        let exchange = || {
            let mut stream = UnixStream::connect(self.state().join("fairlead.sock"))?;
            stream.write_all((head + &body).as_bytes())?;
            stream.read_to_string(&mut answer)
        };
        exchange().map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("cut off")?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
        let body = serde_json::from_str(body).map_err(|error| format!("{error}: {answer}"))?;
        Ok((status, body))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn start(&mut self) -> &mut Self {
        self.launch(&mut Command::new(env!("CARGO_BIN_EXE_fairlead")))
    }

    /// Starts it by a command that takes the program's arguments.
    pub fn launch(&mut self, command: &mut Command) -> &mut Self {
        assert!(self.child.is_none(), "the daemon runs already");
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = command
            .args(["run", "--log", "fairlead=debug,info", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        self
    }

    pub fn process(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> &mut Self {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("the daemon runs");
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        child.wait().unwrap()
    }

    /// Runs a command that asks this daemon.
    pub fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
        command.args(args).arg("--config").arg(self.config()).output().unwrap()
    }

    /// Whether a command did what it should; of a status also, where it says that not all is well (1) or that
    /// something is on its way (4).
    pub fn answered(args: &[&str], output: &Output) -> bool {
        let codes: &[i32] = if args.contains(&"status") { &[0, 1, 4] } else { &[0] };
        output.status.code().is_some_and(|code| codes.contains(&code))
    }

    /// `fairlead status -o json`.
    pub fn status(&self) -> Result<Value, String> {
        let args = ["status", "-o", "json"];
        let output = self.command(&args);
        if !Self::answered(&args, &output) {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())
    }

    /// Waits until the status is as wanted; on failure prints the status and the end of the log.
    pub async fn until(&self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let check = async || {
            let status = self.status()?;
            if wanted(&status) { Ok(status) } else { Err(format!("{status:#}")) }
        };
        let seen = std::panic::AssertUnwindSafe(eventually(what, limit, check));
        match futures::FutureExt::catch_unwind(seen).await {
            Ok(status) => status,
            Err(panic) => {
                let log = self.log();
                let tail: Vec<_> = log.lines().rev().take(60).collect();
                eprintln!("--- the daemon's log:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
                std::panic::resume_unwind(panic)
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! A world with verbs: people push to a forge, open and merge pull requests; the daemon follows; the forge shows what
//! it is told.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::gitea::{Gitea, OWNER};
use super::http::Http;
use crate::e2e::{FLEET, Kubeconfigs, PROFILE, TARGET};
use crate::harness::{ControlPlane, Port};
use crate::world::daemon::Daemon;
use crate::world::eventually;
use crate::world::repository::FleetRepo;

pub const SECRET: &str = "a secret that no one guesses";
const NAME: &str = "fleet";

/// A real Gitea, a real cluster, the real daemon, and the repository as a person has it.
pub struct World {
    pub gitea: Gitea,
    pub repo: FleetRepo,
    pub daemon: Daemon,
    pub instance: &'static str,
    port: Port,
    secrets: TempDir,
    _kubeconfigs: Kubeconfigs,
}

impl World {
    /// Polls only once an hour, so that what happens in time happens by a webhook. The daemon is not started.
    pub async fn new(plane: &ControlPlane, instance: &'static str) -> Self {
        let gitea = Gitea::start().await;
        let repository = json!({"name": NAME, "default_branch": "main", "private": true});
        gitea.must("POST", "/user/repos", repository, 201).await;
        let repo = FleetRepo::empty();
        repo.write("profiles/app/profile.yaml", PROFILE)
            .write("clusters/edge-001.yaml", TARGET)
            .write("fleets/retail.yaml", FLEET);
        let with_token = gitea.url().replace("https://", &format!("https://{OWNER}:{}@", gitea.token()));
        repo.git(&["remote", "set-url", "origin", &format!("{with_token}/{OWNER}/{NAME}.git")]);
        repo.git(&["config", "http.sslCAInfo", gitea.ca_file().to_str().unwrap()]);

        let kubeconfigs = Kubeconfigs::of(&[("edge-001", plane.kubeconfig())]);
        let secrets = tempfile::tempdir().unwrap();
        fs::write(secrets.path().join("token"), gitea.token()).unwrap();
        fs::write(secrets.path().join("webhook"), SECRET).unwrap();
        let port = Port::lease().unwrap();
        let daemon = Daemon::new(instance, &repo.url(), kubeconfigs.path());
        let world = Self { gitea, repo, daemon, instance, port, secrets, _kubeconfigs: kubeconfigs };
        world.settings("1h");
        world
    }

    /// Writes the daemon's settings.
    pub fn settings(&self, poll: &str) {
        let (secrets, ca) = (self.secrets.path().display(), self.gitea.ca_file());
        let text = format!(
            "\
instance: {instance}
repository:
  url: {url}/{OWNER}/{NAME}.git
  branch: main
  poll: {poll}
  credentials: {{tokenFile: {secrets}/token}}
  caFile: {ca}
clusters:
- kubeconfigs: {{directory: {kubeconfigs}}}
state: state
server: {{listen: \"{address}\"}}
forge:
  kind: gitea
  tokenFile: {secrets}/token
  webhookSecretFile: {secrets}/webhook
  link: http://{address}
",
            instance = self.instance,
            url = self.gitea.url(),
            ca = ca.display(),
            kubeconfigs = self._kubeconfigs.path().display(),
            address = self.address(),
        );
        fs::write(self.daemon.config(), text).unwrap();
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// A path of the API below the repository.
    pub fn at(&self, path: &str) -> String {
        format!("/repos/{OWNER}/{NAME}{path}")
    }

    /// A file with a secret.
    pub fn secret(&self, name: &str, content: &str) -> std::path::PathBuf {
        let path = self.secrets.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// As a person does it.
    pub fn add_webhook(&self) {
        for done in ["created", "was there, and is set right"] {
            let output = self.daemon.command(&["webhook", "--create"]);
            let text = String::from_utf8_lossy(&output.stdout);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains(done), "{text}{error}");
        }
    }

    /// What one context was told of a commit, in the order of telling: (state, description).
    pub async fn told(&self, commit: &str, context: &str) -> Vec<(String, String)> {
        let path = self.at(&format!("/commits/{commit}/statuses?sort=oldest&limit=50"));
        let Ok(answer) = self.gitea.api("GET", &path, Value::Null).await else { return Vec::new() };
        if answer.status != 200 {
            return Vec::new();
        }
        let context = format!("fairlead/{}/{context}", self.instance);
        let mut all: Vec<Value> = answer.json().as_array().cloned().unwrap_or_default();
        all.retain(|status| status["context"] == context);
        all.sort_by_key(|status| status["id"].as_i64());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.iter().map(|status| (text(&status["status"]), text(&status["description"]))).collect()
    }

    /// Waits until the last word of a context about a commit is this state; gives all that it was told.
    pub async fn expect_status(&self, commit: &str, context: &str, state: &str) -> Vec<(String, String)> {
        let what = format!("{context} of {commit} is {state}");
        let seen = eventually(&what, Duration::from_secs(60), async || {
            let told = self.told(commit, context).await;
            match told.last() {
                Some((last, _)) if last == state => Ok(told),
                _ => Err(format!("{told:?}")),
            }
        });
        match futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(seen)).await {
            Ok(told) => told,
            Err(panic) => {
                let log = self.daemon.log();
                let tail: Vec<_> = log.lines().rev().take(60).collect();
                eprintln!("--- the daemon's log:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
                std::panic::resume_unwind(panic)
            }
        }
    }

    pub async fn wait_until_up(&self) {
        let (http, url) = (Http::new(), format!("http://{}/healthz", self.address()));
        eventually("the daemon is up", Duration::from_secs(60), async || {
            http.send("GET", &url, &[], "").await.map(drop)
        })
        .await;
    }
}

//! GitHub and GitLab as their public API documents describe them, with the verbs of people who use them. No cluster
//! is real here: what counts is what the daemon asks of the forge.

mod github;
mod gitlab;
pub mod server;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::server::{BOT, Note, PROJECT, Pull, Server, TOKEN, Told};
use super::http::Http;
use crate::e2e::{FLEET, PROFILE, TARGET, config_map, namespace};
use crate::world::daemon::Daemon;
use crate::world::eventually;
use crate::world::repository::FleetRepo;

pub const SECRET: &str = "a secret that no one guesses";
pub const SETTINGS: &str = "profiles/app/app/settings.yaml";
const SOON: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Github,
    Gitlab,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
        }
    }

    /// The forge's own words for pending, success, failure and superseded.
    pub fn words(self) -> [&'static str; 4] {
        match self {
            Self::Github => ["pending", "success", "failure", "error"],
            Self::Gitlab => ["running", "success", "failed", "canceled"],
        }
    }

    fn pull_ref(self, number: u64) -> String {
        match self {
            Self::Github => format!("refs/pull/{number}/head"),
            Self::Gitlab => format!("refs/merge-requests/{number}/head"),
        }
    }
}

/// A forge, a repository on it, and the real daemon on simulated clusters.
pub struct FakeForge {
    pub kind: Kind,
    pub server: Server,
    pub repo: FleetRepo,
    pub daemon: Daemon,
    pub secrets: TempDir,
    http: Http,
    deliveries: u64,
}

impl FakeForge {
    /// `credential`: lines of the setting `forge`; none: a token by file. The daemon is not started.
    pub async fn new(kind: Kind, instance: &str, credential: Option<&str>) -> Self {
        let server = Server::start(kind).await;
        let repo = FleetRepo::empty();
        repo.write("profiles/app/profile.yaml", PROFILE)
            .write("clusters/edge-001.yaml", TARGET)
            .write("fleets/retail.yaml", FLEET)
            .write("profiles/app/app/namespace.yaml", &namespace("shop"))
            .write(SETTINGS, &config_map("shop", "settings", "1"));
        let secrets = tempfile::tempdir().unwrap();
        fs::write(secrets.path().join("token"), TOKEN).unwrap();
        fs::write(secrets.path().join("webhook"), SECRET).unwrap();
        let daemon = Daemon::with(instance, &repo.url(), "simulated: {}");
        let forge = format!(
            "forge:\n  kind: {}\n  url: http://{}\n  repository: {PROJECT}\n  link: https://fairlead.example.com\n  webhookSecretFile: {}\n",
            kind.as_str(),
            server.address,
            secrets.path().join("webhook").display(),
        );
        let token = format!("  tokenFile: {}\n", secrets.path().join("token").display());
        let settings = fs::read_to_string(daemon.config()).unwrap();
        fs::write(daemon.config(), settings + &forge + credential.unwrap_or(&token)).unwrap();
        let (http, deliveries) = (Http::new(), 0);
        Self { kind, server, repo, daemon, secrets, http, deliveries }
    }

    pub fn secret(&self, name: &str) -> PathBuf {
        self.secrets.path().join(name)
    }

    /// Commits everything on the branch; the forge knows the commit at once.
    pub fn push(&self, message: &str) -> String {
        self.repo.git(&["add", "--all"]);
        self.repo.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        let commit = self.repo.head();
        self.server.known().commits.push(commit.clone());
        self.repo.git(&["push", "--quiet", "origin", "HEAD:main"]);
        commit
    }

    /// Commits everything aside, and opens a pull request with it, or moves the one that is there.
    pub async fn open_pull_request(&mut self, branch: &str, draft: bool) -> (u64, String) {
        self.repo.git(&["add", "--all"]);
        self.repo.git(&["commit", "--quiet", "-m", branch]);
        let head = self.repo.head();
        let known =
            self.server.known().pulls.iter().find(|pull| pull.branch == branch).map(|pull| pull.number);
        let number = known.unwrap_or_else(|| self.server.known().id());
        self.repo.git(&[
            "push",
            "--quiet",
            "--force",
            "origin",
            &format!("HEAD:{}", self.kind.pull_ref(number)),
        ]);
        {
            let mut known = self.server.known();
            known.commits.push(head.clone());
            known.pulls.retain(|pull| pull.number != number);
            let (branch, head) = (branch.to_owned(), head.clone());
            known.pulls.push(Pull { number, branch, head, draft, open: true, merged: None });
        }
        self.announce_pull(number, if known.is_some() { "synchronize" } else { "opened" }).await;
        (number, head)
    }

    /// Moves the branch on by a merge commit. The webhook is lost where the daemon does not run.
    pub async fn merge(&mut self, number: u64) -> String {
        let commit = self.push(&format!("Merge pull request {number}"));
        for pull in self.server.known().pulls.iter_mut().filter(|pull| pull.number == number) {
            (pull.open, pull.merged) = (false, Some(commit.clone()));
        }
        self.announce_pull(number, "closed").await;
        commit
    }

    async fn announce_pull(&mut self, number: u64, action: &str) {
        let url = format!("https://forge.example.com/{PROJECT}.git");
        let body = match self.kind {
            Kind::Github => json!({"action": action, "number": number, "pull_request": {"draft": true},
                "repository": {"full_name": PROJECT, "clone_url": url}, "sender": {"login": "ada"}}),
            Kind::Gitlab => json!({"object_kind": "merge_request", "event_type": "merge_request",
                "object_attributes": {"iid": number, "action": action}, "project": {"git_http_url": url}}),
        };
        self.deliver(&body).await;
    }

    /// As the forge sends it.
    async fn deliver(&mut self, body: &Value) {
        let Some(address) = self.address().filter(|_| self.daemon.status().is_ok()) else { return };
        self.deliveries += 1;
        let (body, id) = (body.to_string(), self.deliveries.to_string());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let signature = format!("sha256={hex}");
        let headers = match self.kind {
            Kind::Github => [
                ("x-github-event", "pull_request"),
                ("x-github-delivery", id.as_str()),
                ("x-hub-signature-256", signature.as_str()),
            ],
            Kind::Gitlab => [
                ("x-gitlab-event", "Merge Request Hook"),
                ("idempotency-key", id.as_str()),
                ("x-gitlab-token", SECRET),
            ],
        };
        let url = format!("http://{address}/webhooks/{}", self.kind.as_str());
        let answer = self.http.send("POST", &url, &headers, body).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    /// Where the daemon listens, by its log.
    pub fn address(&self) -> Option<String> {
        let log = self.daemon.log();
        let line = log.lines().rev().find_map(|line| line.split_once("is up")?.1.split_once("address="))?;
        Some(line.1.split_whitespace().next().unwrap_or_default().to_owned())
    }

    pub async fn wait_until_up(&self) {
        eventually("the daemon is up", SOON, async || self.address().ok_or(self.daemon.log())).await;
    }

    /// What one context was told of a commit, in order: (state, description).
    pub fn told(&self, commit: &str, context: &str) -> Vec<Told> {
        let end = format!("/{context}");
        let known = self.server.known();
        known
            .told
            .iter()
            .filter(|told| told.commit == commit && told.context.ends_with(&end))
            .cloned()
            .collect()
    }

    /// Waits until the last word of a context about a commit is this state; gives all that it was told.
    pub async fn expect_status(&self, commit: &str, context: &str, state: &str) -> Vec<Told> {
        eventually(&format!("{context} of {commit} is {state}"), SOON, async || {
            let told = self.told(commit, context);
            match told.last() {
                Some(last) if last.state == state => Ok(told),
                _ => Err(format!("{told:?}\n{}", self.log_tail())),
            }
        })
        .await
    }

    /// Waits until the daemon's only comment says this.
    pub async fn expect_comment(&self, pull: u64, says: &str) -> Note {
        eventually(&format!("the comment says {says:?}"), SOON, async || {
            let notes = self.notes(pull);
            match notes.as_slice() {
                [note] if note.body.contains(says) => Ok(note.clone()),
                _ => Err(format!("{notes:#?}\n{}", self.log_tail())),
            }
        })
        .await
    }

    pub fn notes(&self, pull: u64) -> Vec<Note> {
        let known = self.server.known();
        let ours = |note: &&Note| note.pull == pull && [BOT, "fairlead[bot]"].contains(&note.author.as_str());
        known.notes.iter().filter(ours).cloned().collect()
    }

    fn log_tail(&self) -> String {
        let log = self.daemon.log();
        let tail: Vec<_> = log.lines().rev().take(40).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Every request was one that the API's documents have.
    pub fn assert_in_shape(&self) {
        let known = self.server.known();
        assert!(known.violations.is_empty(), "{:#?}", known.violations);
        assert!(!self.daemon.log().contains(TOKEN), "the token is in the log");
    }
}

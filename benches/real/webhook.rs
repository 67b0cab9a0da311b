//! From the arrival of a real Gitea's webhook to the answer to the PATCH of the one file that changed. The daemon polls
//! once an hour, so that nothing but the webhook tells it.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use git2::Oid;
use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::audit::{Tail, seconds};
use super::bare::Bare;
use super::content::{self, CONFIG_MAPS, FLEET_FILE, PROFILE_FILE, TARGET, TARGET_FILE, config_map, name};
use super::delays::{beside, changed};
use super::forge::gitea::{Gitea, OWNER};
use super::world::LIMIT;
use crate::daemon::Daemon;
use crate::figures::Figures;
use crate::harness::{ControlPlane, Error, Port, Result};
use crate::repository::Repository;

/// Allowed: so many times a bare PATCH's p99, plus so many ms.
const GOAL: (f64, f64) = (5.0, 100.0);
const NAMESPACE: &str = "webhooks";
const SECRET: &str = "a secret that no one guesses";

pub async fn measure(plane: &ControlPlane, bare: &Bare, samples: usize, figures: &mut Figures) -> Result<()> {
    let mut world = World::start(plane).await?;
    let sample = async |number: usize| {
        let object = config_map(NAMESPACE, number % CONFIG_MAPS, &format!("announced {number}"));
        world.repository.write(&content::file(&object), &content::yaml(&object)?)?;
        world.repository.commit("A change")?;
        let mut tail = Tail::new(plane)?;
        world.relay.forget();
        world.push().await?;
        let applied = changed(&mut tail, name(&object), true).await;
        let applied = applied.map_err(|error| Error::new(format!("{error}\n{}", world.daemon.tail())))?;
        let arrived = world.relay.first().ok_or_else(|| Error::new("no webhook came"))?;
        Ok(1_000.0 * seconds(arrived, applied))
    };
    beside(plane, bare, "webhook to PATCH", GOAL, samples, figures, sample).await
}

/// A repository on a real Gitea, and a daemon that hears of pushes by its webhook.
struct World {
    gitea: Gitea,
    repository: Repository,
    daemon: Daemon,
    relay: Relay,
    _folders: [TempDir; 2],
}

impl World {
    async fn start(plane: &ControlPlane) -> Result<Self> {
        let gitea = Gitea::start().await;
        let new = json!({"name": "fleet", "default_branch": "main", "private": true});
        gitea.must("POST", "/user/repos", new, 201).await;
        let (kubeconfigs, secrets) = (tempfile::tempdir()?, tempfile::tempdir()?);
        fs::copy(plane.kubeconfig(), kubeconfigs.path().join(format!("{TARGET}.yaml")))?;
        fs::write(secrets.path().join("token"), gitea.token())?;
        fs::write(secrets.path().join("webhook"), SECRET)?;
        let (at, secrets_at, ca) = (gitea.url(), secrets.path().display(), gitea.ca_file());
        let more = format!(
            "repository:\n  url: {at}/{OWNER}/fleet.git\n  branch: main\n  poll: 1h\n  credentials: {{tokenFile: {secrets_at}/token}}\n  caFile: {}\nforge: {{kind: gitea, tokenFile: {secrets_at}/token, webhookSecretFile: {secrets_at}/webhook}}\n",
            ca.display()
        );
        let port = Port::lease()?;
        let listen = format!("127.0.0.1:{}", port.number());
        let daemon = Daemon::with(NAMESPACE, kubeconfigs.path(), &more, &listen)?;
        let relay = Relay::before(listen).await?;
        let mut world =
            Self { gitea, repository: Repository::new()?, daemon, relay, _folders: [kubeconfigs, secrets] };
        let first = world.fill()?;
        world.push().await?;
        world.daemon.start()?;
        world.daemon.converged(first, LIMIT).await?;
        let config = json!({"url": format!("http://{}/webhooks/gitea", world.relay.address),
            "content_type": "json", "secret": SECRET});
        let hook = json!({"type": "gitea", "active": true, "config": config, "events": ["push"]});
        world.gitea.must("POST", &format!("/repos/{OWNER}/fleet/hooks"), hook, 201).await;
        Ok(world)
    }

    /// The whole release.
    fn fill(&mut self) -> Result<Oid> {
        self.repository.write("profiles/app/profile.yaml", PROFILE_FILE)?;
        self.repository.write("clusters/edge-001.yaml", TARGET_FILE)?;
        self.repository.write("fleets/bench.yaml", FLEET_FILE)?;
        let space = content::namespace(NAMESPACE);
        self.repository.write("profiles/app/app/0-namespace.yaml", &content::yaml(&space)?)?;
        for object in content::release(NAMESPACE) {
            self.repository.write(&content::file(&object), &content::yaml(&object)?)?;
        }
        self.repository.commit("Everything")
    }

    /// As people push.
    async fn push(&self) -> Result<()> {
        let head = self.repository.head().ok_or_else(|| Error::new("there is no commit"))?;
        let host = self.gitea.url().replace("https://", &format!("https://{OWNER}:{}@", self.gitea.token()));
        let mut command = Command::new("git");
        command.arg("-C").arg(self.repository.path());
        command.arg("-c").arg(format!("http.sslCAInfo={}", self.gitea.ca_file().display()));
        command.args([
            "push",
            "--quiet",
            &format!("{host}/{OWNER}/fleet.git"),
            &format!("{head}:refs/heads/main"),
        ]);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env_remove("GIT_SSL_CAINFO");
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::new(format!("git push: {}", String::from_utf8_lossy(&output.stderr))))
    }
}

/// Passes deliveries on to the daemon, and notes when the first byte of each was there.
struct Relay {
    address: std::net::SocketAddr,
    arrivals: Arc<Mutex<Vec<Timestamp>>>,
}

impl Relay {
    async fn before(daemon: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let arrivals: Arc<Mutex<Vec<Timestamp>>> = Arc::default();
        let noted = arrivals.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass(from, daemon.clone(), noted.clone()));
            }
        });
        Ok(Self { address, arrivals })
    }

    fn forget(&self) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn first(&self) -> Option<Timestamp> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).first().copied()
    }
}

async fn pass(from: TcpStream, daemon: String, arrivals: Arc<Mutex<Vec<Timestamp>>>) -> std::io::Result<()> {
    let to = TcpStream::connect(daemon).await?;
    to.set_nodelay(true)?;
    from.set_nodelay(true)?;
    let ((mut from_read, mut from_write), (mut to_read, mut to_write)) = (from.into_split(), to.into_split());
    let back = tokio::spawn(async move { tokio::io::copy(&mut to_read, &mut from_write).await });
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = from_read.read(&mut bytes).await?;
        if count == 0 {
            break;
        }
        if bytes[..count].starts_with(b"POST ") {
            arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(Timestamp::now());
        }
        to_write.write_all(&bytes[..count]).await?;
    }
    to_write.shutdown().await?;
    back.await?.map(drop)
}

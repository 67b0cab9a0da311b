//! Webhooks as they come over the wire to the real daemon. No cluster: what counts is whether it fetches.

use std::fs;
use std::time::{Duration, Instant};

use ring::hmac;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::{Answer, Http};
use crate::e2e::{FLEET, PROFILE, SOON, TARGET, config_map};
use crate::world::daemon::Daemon;
use crate::world::eventually;
use crate::world::repository::FleetRepo;

const SECRET: &str = "a secret that no one guesses";

/// The daemon on a repository of one commit, with webhooks as GitHub sends them.
struct World {
    repo: FleetRepo,
    daemon: Daemon,
    address: String,
    http: Http,
    secrets: TempDir,
}

impl World {
    async fn new() -> Self {
        let repo = FleetRepo::empty();
        repo.write("profiles/app/profile.yaml", PROFILE)
            .write("profiles/app/app/settings.yaml", &config_map("default", "settings", "1"))
            .write("clusters/edge-001.yaml", TARGET)
            .write("fleets/retail.yaml", FLEET)
            .push("First");
        let secrets = tempfile::tempdir().unwrap();
        let secret = secrets.path().join("webhook");
        fs::write(&secret, SECRET).unwrap();
        let mut daemon = Daemon::new("webhooks", &repo.url(), secrets.path());
        let settings = fs::read_to_string(daemon.config()).unwrap().replace("poll: 1s", "poll: 1h");
        let forge = format!(
            "forge:\n  kind: github\n  repository: platform/fleet\n  webhookSecretFile: {}\n",
            secret.display()
        );
        fs::write(daemon.config(), settings + &forge).unwrap();
        daemon.start();
        let address = eventually("the daemon is up", SOON, async || {
            let log = daemon.log();
            let address = log.lines().find_map(|line| line.split_once("is up")?.1.split_once("address="));
            let address =
                address.map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default().to_owned());
            address.ok_or(log)
        })
        .await;
        let world = Self { repo, daemon, address, http: Http::new(), secrets };
        eventually("the first fetch", SOON, async || match world.fetches().await {
            0 => Err("no fetch".to_owned()),
            _ => Ok(()),
        })
        .await;
        world
    }

    fn url(&self) -> String {
        format!("http://{}/webhooks/github", self.address)
    }

    /// How often the daemon has fetched.
    async fn fetches(&self) -> u64 {
        let url = format!("http://{}/metrics", self.address);
        let Ok(metrics) = self.http.send("GET", &url, &[], "").await else { return 0 };
        let counts = metrics.body.lines().filter(|line| line.starts_with("fairlead_fetch_total"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    async fn push(&self, id: &str, after: &str) -> Answer {
        let body = push(after);
        self.send(id, Some(&sign(SECRET, body.as_bytes())), body).await
    }

    async fn send(&self, id: &str, signature: Option<&str>, body: String) -> Answer {
        let mut headers = vec![("x-github-event", "push"), ("x-github-delivery", id)];
        headers.extend(signature.map(|signature| ("x-hub-signature-256", signature)));
        self.http.send("POST", &self.url(), &headers, body).await.unwrap()
    }

    /// The resident memory of the daemon in bytes.
    async fn memory(&self) -> u64 {
        let url = format!("http://{}/metrics", self.address);
        let metrics = self.http.send("GET", &url, &[], "").await.unwrap();
        let line = metrics.body.lines().find(|line| line.starts_with("process_resident_memory_bytes"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap() as u64
    }
}

fn push(after: &str) -> String {
    json!({"ref": "refs/heads/main", "after": after, "commits": [],
        "repository": {"clone_url": "https://github.com/platform/fleet.git"}})
    .to_string()
}

fn sign(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    format!("sha256={}", tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A commit that the repository does not have.
fn nowhere(n: usize) -> String {
    format!("{n:040x}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_unauthenticated_refresh_without_a_good_signature_nothing_is_fetched() {
    let world = World::new().await;
    let before = world.fetches().await;
    let body = push(&nowhere(1));
    let good = sign(SECRET, body.as_bytes());
    let wrong = sign("another secret", body.as_bytes());
    let bad = [None, Some(""), Some("sha256="), Some(&good[..20]), Some(&good[7..]), Some(wrong.as_str())];
    for (number, signature) in bad.into_iter().enumerate() {
        let answer = world.send(&number.to_string(), signature, body.clone()).await;
        assert_eq!(answer.status, 401, "{signature:?}: {}", answer.body);
        assert!(!answer.body.contains(SECRET));
    }
    for body in ["{}", "null", "[]", "{\"ref\":\"refs/heads/main\",\"repository\":null}", "{"] {
        let answer = world.send("bad", Some(&sign(SECRET, body.as_bytes())), body.to_owned()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
    }
    // A foreign event, another repository, another branch: the forge must not think that we are broken.
    let foreign = push(&nowhere(1)).replace("platform/fleet", "platform/.*");
    for body in [foreign, push(&nowhere(1)).replace("heads/main", "heads/other")] {
        let answer = world.send("foreign", Some(&sign(SECRET, body.as_bytes())), body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let headers = [("x-github-event", "star"), ("x-hub-signature-256", &*sign(SECRET, b"{}"))];
    assert_eq!(world.http.send("POST", &world.url(), &headers, "{}").await.unwrap().status, 200);
    let gitea = world.url().replace("github", "gitea");
    assert_eq!(world.http.send("POST", &gitea, &headers, "{}").await.unwrap().status, 404);
    assert_eq!(world.fetches().await, before, "something was fetched");

    // A secret that becomes empty lets nobody in, not even with an empty secret.
    fs::write(world.secrets.path().join("webhook"), "").unwrap();
    let body = push(&nowhere(1));
    for secret in ["", SECRET] {
        let answer = world.send("empty", Some(&sign(secret, body.as_bytes())), body.clone()).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
    }
    assert!(!world.daemon.log().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_empty_secret_is_refused_at_start() {
    let mut world = World::new().await;
    let secret = world.secrets.path().join("webhook");
    assert!(world.daemon.stop().success());
    fs::remove_file(&secret).unwrap();
    for content in [None, Some(""), Some("\n"), Some("short")] {
        if let Some(content) = content {
            fs::write(&secret, content).unwrap();
        }
        let output = world.daemon.command(&["run"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{content:?}: {text}");
        assert!(text.contains("secret in") && text.contains("webhook"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_webhook_memory_a_body_without_end_is_cut() {
    let world = World::new().await;
    // Said to be too large.
    let large = "x".repeat((1 << 20) + 1);
    assert_eq!(world.send("1", None, large).await.status, 413);
    // As large as may be: read, and found to be unsigned.
    assert_eq!(world.send("2", None, "x".repeat(1 << 20)).await.status, 401);
    let before = world.memory().await;
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let address = world.address.clone();
        senders.spawn(async move { endless(&address).await });
    }
    while let Some(answer) = senders.join_next().await {
        let (answer, sent) = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(sent < 16 << 20, "{sent} bytes were taken");
    }
    let grown = world.memory().await.saturating_sub(before);
    assert!(grown < 48 << 20, "the daemon grew by {} MiB", grown >> 20);
}

/// Sends chunks until the other side has enough; gives its answer and how much was sent.
async fn endless(address: &str) -> (String, usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /webhooks/github HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let chunk = [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat();
    let mut sent = 0;
    let mut answer = [0; 12];
    let read = reader.read_exact(&mut answer);
    tokio::pin!(read);
    loop {
        tokio::select! {
            biased;
            done = &mut read => {
                done.unwrap();
                return (String::from_utf8_lossy(&answer).into_owned(), sent);
            }
            written = writer.write_all(&chunk) => match written {
                Ok(()) => sent += chunk.len(),
                Err(_) => {
                    read.await.unwrap();
                    return (String::from_utf8_lossy(&answer).into_owned(), sent);
                }
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_storm_is_answered_at_once_and_coalesced() {
    let world = World::new().await;
    // What was announced is there already; and a replay is not even looked at.
    let before = world.fetches().await;
    let head = world.repo.head();
    assert_eq!(world.push("known", &head).await.status, 202);
    assert_eq!(world.push("known", &nowhere(1)).await.status, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.fetches().await, before);

    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut storm = tokio::task::JoinSet::new();
    for sender in 0..8 {
        let (http, url) = (world.http.clone(), world.url());
        storm.spawn(async move {
            let mut slowest = Duration::ZERO;
            for number in 0..50 {
                let body = push(&nowhere(1 + sender * 50 + number));
                let (signature, id) = (sign(SECRET, body.as_bytes()), format!("{sender}-{number}"));
                let headers = [
                    ("x-github-event", "push"),
                    ("x-github-delivery", &id),
                    ("x-hub-signature-256", &signature),
                ];
                let sent = Instant::now();
                let answer = http.send("POST", &url, &headers, body).await.unwrap();
                assert_eq!(answer.status, 202, "{}", answer.body);
                slowest = slowest.max(sent.elapsed());
            }
            slowest
        });
    }
    while let Some(one) = storm.join_next().await {
        slowest = slowest.max(one.unwrap());
    }
    let took = start.elapsed();
    // One each 100 ms at most, whatever comes; and the few that look for the commit that never arrives.
    let fetched = world.fetches().await - before;
    let allowed = 2 + took.as_millis() as u64 / 100;
    println!("400 deliveries in {took:?}, slowest {slowest:?}, {fetched} fetches");
    assert!((1..=allowed).contains(&fetched), "{fetched} fetches in {took:?}");
    assert!(slowest < Duration::from_secs(2), "an answer took {slowest:?}");
}

//! The server over real sockets.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairlead::cli::client::{Client, ClientError, Events};
use fairlead::server::{
    AuditView, Caller, CauseView, Command, Done, Emergency, FleetStatus, FleetView, HistoryView, Metrics,
    NotReady, Parts, PlanQuestion, ProfilesView, Publisher, PullView, Questions, ReasonBody, Refusal,
    RepositoryView, RolloutView, Server, ServerError, Settings, StatusView, TargetView, Via,
};
use fairlead_core::model::diagnostic::{Diagnostic, Place};
use fairlead_core::model::name::{FleetName, TargetName};
use fairlead_core::model::revision::ProfileRevision;
use fairlead_core::rollout::{Reason, TargetStatus};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const COMMIT: &str = "4f2c91a04f2c91a04f2c91a04f2c91a04f2c91a0";

/// A running server with a daemon that answers each command by naming it and its caller.
struct World {
    folder: tempfile::TempDir,
    address: std::net::SocketAddr,
    publisher: Publisher,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

struct Daemon;

impl Questions for Daemon {
    fn plan(&self, question: PlanQuestion) -> BoxFuture<'_, Result<Value, Refusal>> {
        async move {
            match question.to.as_deref() {
                Some("nowhere") => Err(Refusal::NotFound("there is no commit 'nowhere'".into())),
                Some("never") => std::future::pending().await,
                _ => Ok(json!({"to": question.to, "live": question.live})),
            }
        }
        .boxed()
    }

    fn history(&self, target: TargetName, limit: u32) -> BoxFuture<'_, Result<Vec<HistoryView>, Refusal>> {
        let event = HistoryView {
            at: jiff::Timestamp::UNIX_EPOCH,
            fleet: "retail".parse().unwrap(),
            release: "ab".repeat(32).parse().unwrap(),
            commit: COMMIT.parse().unwrap(),
            profiles: Vec::new(),
            outcome: "converged".into(),
        };
        let known = target.as_str() == "edge-001";
        async move { Ok(vec![event; if known { limit.min(2) as usize } else { 0 }]) }.boxed()
    }

    fn profiles(&self, _: FleetName, target: TargetName) -> BoxFuture<'_, Result<ProfilesView, Refusal>> {
        async move {
            let commit = COMMIT.parse().unwrap();
            let tag = (target.as_str() == "edge-001").then(|| "v1.0.0".to_owned());
            let converged = vec![ProfileRevision { profile: "base".parse().unwrap(), commit, tag }];
            Ok(ProfilesView { converged, wanted: Vec::new() })
        }
        .boxed()
    }

    fn causes(&self, _: FleetName, target: TargetName) -> BoxFuture<'_, Vec<CauseView>> {
        async move {
            if target.as_str() != "edge-001" {
                return std::future::pending().await;
            }
            vec![CauseView { object: "Deployment shop/web".into(), reason: "pod web-1: ErrImagePull".into() }]
        }
        .boxed()
    }

    fn rollouts(&self, fleet: FleetName, limit: u32) -> BoxFuture<'_, Result<Vec<RolloutView>, Refusal>> {
        let rollout = RolloutView {
            fleet,
            source: "control".parse().unwrap(),
            commit: COMMIT.parse().unwrap(),
            state: "success".into(),
            description: "3 of 3 converged".into(),
            began: jiff::Timestamp::UNIX_EPOCH,
            changed: jiff::Timestamp::UNIX_EPOCH,
        };
        async move { Ok(vec![rollout; limit.min(2) as usize]) }.boxed()
    }

    fn findings(&self, commit: String) -> BoxFuture<'_, Result<Vec<Diagnostic>, Refusal>> {
        async move {
            let place = Place::at("profiles/<b>.yaml", 3, 7);
            match &*commit {
                COMMIT => Ok(vec![Diagnostic::error(place, "unknown-key", "the key '<i>' is not known")]),
                _ => Err(Refusal::NotFound(format!("'{commit}' names no commit"))),
            }
        }
        .boxed()
    }

    fn pull(&self, number: u64) -> BoxFuture<'_, Result<PullView, Refusal>> {
        async move {
            let commit = COMMIT.parse().unwrap();
            let (findings, text) = (Vec::new(), "-  value: <script>".to_owned());
            match number {
                7 => Ok(PullView { number, commit, findings, plan: Some(json!({})), no_plan: None, text }),
                _ => Err(Refusal::NotFound(format!("there is no pull request {number}"))),
            }
        }
        .boxed()
    }

    fn audit(&self, subject: Option<String>, limit: u32) -> BoxFuture<'_, Result<Vec<AuditView>, Refusal>> {
        let entry = AuditView {
            at: jiff::Timestamp::UNIX_EPOCH,
            who: "alice".into(),
            via: "token".into(),
            what: "accept".into(),
            subject: subject.unwrap_or("repository".into()),
            why: "because".into(),
            outcome: "done".into(),
        };
        async move { Ok(vec![entry; limit.min(2) as usize]) }.boxed()
    }
}

/// Remembers only whether it was told to stop.
#[derive(Default)]
struct Brake(AtomicBool);

impl Emergency for Brake {
    fn stop(&self, caller: Caller, reason: String) -> BoxFuture<'_, String> {
        self.0.store(true, Ordering::SeqCst);
        async move { format!("stopped by {caller}: {reason}") }.boxed()
    }

    fn resume(&self) -> Result<String, Refusal> {
        let stopped = self.0.swap(false, Ordering::SeqCst);
        Ok(if stopped { "resumed".to_owned() } else { "nothing was stopped".to_owned() })
    }
}

fn view() -> StatusView {
    let repository =
        RepositoryView { url: "https://me:s3cret@git.example.com/fleet".into(), ..Default::default() };
    let fleet = FleetView {
        name: "retail".parse().unwrap(),
        observed: Some(COMMIT.parse().unwrap()),
        accepted: None,
        state: FleetStatus::RollingOut,
        reason: None,
        needs: vec![],
        waves: Vec::new(),
        next_window: None,
        counts: [(TargetStatus::Progressing, 1)].into(),
        failures: vec![],
    };
    let target = TargetView {
        name: "edge-001".parse().unwrap(),
        fleet: "retail".parse().unwrap(),
        wave: None,
        status: TargetStatus::Progressing,
        reason: None,
        why: Reason::Applying { applied: 1, total: 2, waiting: None },
        wanted: None,
        assigned: None,
        converged: None,
        base: None,
        since: Some(jiff::Timestamp::UNIX_EPOCH),
        offline: false,
        objects: 12,
        kept: vec![],
        break_glass: vec![],
        waiting: Vec::new(),
        drift: vec![],
    };
    let empty = StatusView::empty("default".parse().unwrap(), repository);
    StatusView { fleets: vec![fleet], targets: vec![target], ..empty }
}

fn answer(command: &Command, caller: &Caller, reason: &str) -> Result<Done, Refusal> {
    match reason {
        "conflict" => Err(Refusal::Conflict("another commit is held by now".into())),
        _ => Ok(Done { message: format!("{} {} by {caller}: {reason}", command.verb(), command.subject()) }),
    }
}

impl World {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Starts after `change` had its way with the settings: loopback, a socket and a token file.
    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        std::fs::write(&tokens, format!("alice:{TOKEN}\n")).unwrap();
        let mut settings = Settings {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            socket: Some(folder.path().join("fairlead.sock")),
            tokens: Some(tokens),
            ..Settings::default()
        };
        change(&mut settings);
        let (publisher, views) = Publisher::new(view());
        let (orders, mut taken) = mpsc::channel::<fairlead::server::Order>(4);
        let metrics = Arc::new(Metrics::new(views.clone()));
        let (questions, emergency) = (Arc::new(Daemon), Arc::new(Brake::default()));
        let parts = Parts { views, orders, questions, emergency, metrics, webhooks: None };
        let server = Server::bind(settings, parts).await.unwrap();
        let address = server.address().unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        tokio::spawn(async move {
            while let Some(order) = taken.recv().await {
                if order.reason == "silence" {
                    tokio::spawn(async move { (std::future::pending::<()>().await, order) });
                    continue;
                }
                let answered = answer(&order.command, &order.caller, &order.reason);
                order.answer.send(answered).unwrap();
            }
        });
        Self { folder, address, publisher, stop, running }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("fairlead.sock")
    }

    fn by_socket(&self) -> Client {
        Client::socket(self.socket())
    }

    fn by_tcp(&self, token: bool) -> Client {
        let file = self.folder.path().join("tokens");
        Client::url(&format!("http://{}", self.address), token.then_some(file.as_path())).unwrap()
    }

    /// Sends bytes as they are; gives the status and all that came back.
    async fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and close before it has read everything.
        let _sent = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _closed = tokio::time::timeout(Duration::from_secs(10), read).await.expect("an answer in 10 s");
        let answer = String::from_utf8(answer).unwrap();
        (answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0), answer)
    }

    /// GETs or POSTs with the headers given.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.raw(&format!("{head}{body}")).await
    }

    async fn stop(self) -> Duration {
        let began = Instant::now();
        self.stop.cancel();
        self.running.await.unwrap();
        began.elapsed()
    }
}

fn reason(text: &str) -> ReasonBody {
    ReasonBody { reason: text.into() }
}

const LOCAL: &str = "Host: localhost\r\n";
const JSON: &str = "Host: localhost\r\nContent-Type: application/json\r\n";

fn named() -> String {
    format!("{JSON}Authorization: Bearer {TOKEN}\r\n")
}

fn user() -> String {
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let entry = passwd.lines().find(|l| l.split(':').nth(2) == Some(&uid.to_string()));
    entry.map_or(format!("uid {uid}"), |l| l.split(':').next().unwrap().to_owned())
}

#[tokio::test]
async fn who_never_reads_is_left_and_a_crowd_keeps_nobody_out() {
    let world = World::with(|settings| settings.write_timeout = Duration::from_millis(500)).await;
    // Answers that nobody takes: more than the kernel keeps for both sides.
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", world.address).repeat(200);
    let mut deaf = TcpStream::connect(world.address).await.unwrap();
    let began = Instant::now();
    let ended = async { while deaf.write_all(request.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the connection stands");
    assert!(began.elapsed() >= Duration::from_millis(500));
    // Far more connections than there are places, all from here; one that has shown its token stays.
    let mut named = TcpStream::connect(world.address).await.unwrap();
    let ask =
        format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    let mut answer = [0; 15];
    named.write_all(ask.as_bytes()).await.unwrap();
    named.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let mut crowd = Vec::new();
    for _ in 0..400 {
        crowd.push(TcpStream::connect(world.address).await.unwrap());
        if crowd.len() % 100 == 0 {
            let mut probe = TcpStream::connect(world.address).await.unwrap();
            let began = Instant::now();
            probe.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            probe.read_exact(&mut answer).await.unwrap();
            assert!(&answer == b"HTTP/1.1 200 OK" && began.elapsed() < Duration::from_secs(2));
        }
    }
    let mut rest = vec![0; 1 << 20];
    let _body = named.read(&mut rest).await.unwrap();
    named.write_all(ask.as_bytes()).await.unwrap();
    assert_ne!(named.read(&mut rest).await.unwrap(), 0, "a caller with a token was sent away");
}

#[tokio::test]
async fn every_route_is_documented_and_answers_as_the_document_says() {
    let world = World::start().await;
    let document: Value = world.by_tcp(false).get_json("/openapi.json").await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut seen = Vec::new();
    for (path, methods) in paths {
        let name = if path.contains("/targets/") { "edge-001" } else { "retail" };
        for (method, operation) in methods.as_object().unwrap() {
            let at = path.replace("{name}", name).replace("{commit}", COMMIT).replace("{number}", "7");
            seen.push(format!("{method} {path}"));
            if operation["responses"]["200"]["content"].get("text/event-stream").is_some() {
                continue;
            }
            let body = if method == "post" { json!({"reason": "a test"}).to_string() } else { String::new() };
            let (status, answer) = world.ask(&method.to_uppercase(), &at, &named(), &body).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let documented = &operation["responses"][status.to_string()]["content"];
            let wanted = match path.as_str() {
                "/readyz" => 503,
                // This daemon takes none.
                "/webhooks/{source}" => 404,
                _ => 200,
            };
            assert_eq!(status, wanted, "{method} {at}: {answer}");
            let (content_type, content) = documented.as_object().unwrap().iter().next().unwrap();
            assert!(head.to_lowercase().contains(&content_type.to_lowercase()), "{at}: {head}");
            if content_type == "application/json" {
                let schema = json!({"allOf": [content["schema"]], "components": document["components"]});
                let validator = jsonschema::draft202012::new(&schema).unwrap();
                let body: Value = serde_json::from_str(body).unwrap();
                let errors: Vec<_> = validator.iter_errors(&body).map(|e| e.to_string()).collect();
                assert!(errors.is_empty(), "{at}: {errors:?}");
            }
        }
    }
    let get =
        ["status", "events", "diagnostics", "plan", "fleets", "fleets/{name}", "targets", "targets/{name}"];
    let get = get.iter().chain(&["fleets/{name}/rollouts", "targets/{name}/explain", "audit"]);
    let post = ["fleets/{name}/accept", "fleets/{name}/retry", "fleets/{name}/pause", "fleets/{name}/resume"];
    let post = post.iter().chain(&["fleets/{name}/approve", "stop", "resume"]);
    let post = post.chain(&["targets/{name}/adopt", "targets/{name}/leave", "sync"]);
    let mut wanted: Vec<String> =
        ["healthz", "readyz", "metrics", "openapi.json"].iter().map(|name| format!("get /{name}")).collect();
    wanted.extend(get.chain(&["targets/{name}/history"]).map(|name| format!("get /api/v1/{name}")));
    wanted.extend(post.map(|name| format!("post /api/v1/{name}")));
    let asked = ["commits/{commit}/diagnostics", "pulls/{number}"];
    wanted.extend(asked.map(|name| format!("get /api/v1/{name}")));
    let pages = ["fleets/{name}/rollouts/{commit}", "commits/{commit}", "pulls/{number}"];
    wanted.extend(pages.map(|name| format!("get /{name}")));
    wanted.push("post /webhooks/{source}".to_owned());
    wanted.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, wanted);
    world.stop().await;
}

#[tokio::test]
async fn pages_show_what_the_links_of_a_forge_promise_and_no_text_becomes_markup() {
    let world = World::start().await;
    let rollout = format!("/fleets/retail/rollouts/{COMMIT}");
    let (status, page) = world.ask("GET", &rollout, LOCAL, "").await;
    assert_eq!(status, 200, "{page}");
    for part in ["text/html", "default-src 'none'", "3 of 3 converged", "edge-001", "Fleet retail: 4f2c91a"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let (status, page) = world.ask("GET", &format!("/commits/{COMMIT}"), LOCAL, "").await;
    assert!(status == 200 && page.contains("profiles/&lt;b&gt;.yaml:3:7"), "{page}");
    assert!(page.contains("the key &#39;&lt;i&gt;&#39; is not known"), "{page}");
    let (status, page) = world.ask("GET", "/pulls/7", LOCAL, "").await;
    assert!(
        status == 200 && page.contains("-  value: &lt;script&gt;") && !page.contains("<script"),
        "{page}"
    );
    let elsewhere = COMMIT.replace('4', "5");
    for gone in [
        &rollout.replace("4f2c", "ffff"),
        "/fleets/%3Cb%3E/rollouts/x",
        &format!("/commits/{elsewhere}"),
        "/pulls/8",
        "/pulls/-1",
        "/pulls/%3Cb%3E",
    ] {
        let (status, answer) = world.ask("GET", gone, LOCAL, "").await;
        assert_eq!(status, 404, "{gone}: {answer}");
        assert!(answer.contains("application/problem+json"), "{gone}: {answer}");
    }
    world.stop().await;
}

#[tokio::test]
async fn on_loopback_reading_is_free_and_changing_needs_a_name() {
    let world = World::start().await;
    let view: StatusView = world.by_tcp(false).get_json("/api/v1/status").await.unwrap();
    assert_eq!((view.repository.url.as_str(), view.targets.len()), ("https://git.example.com/fleet", 1));

    let path = "/api/v1/fleets/retail/pause";
    let refused = world.by_tcp(false).post_json::<_, Done>(path, &reason("x")).await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(p) if p.status == 401), "{refused:?}");
    assert!(refused.hint().unwrap().contains("Unix socket"));

    let done: Done = world.by_tcp(true).post_json(path, &reason("deploy freeze")).await.unwrap();
    assert_eq!(done.message, "pause fleet/retail by alice (token): deploy freeze");
    let done: Done = world.by_socket().post_json("/api/v1/sync", &reason("a\u{1b}[2Jb")).await.unwrap();
    assert_eq!(done.message, format!("sync repository by {} (socket): a [2Jb", user()));

    for wrong in ["Bearer wrong", "Basic YTpi", "Bearer", &format!("Bearer {TOKEN}0")] {
        let headers = format!("{JSON}Authorization: {wrong}\r\n");
        for (method, path) in [("GET", "/api/v1/status"), ("POST", "/api/v1/sync")] {
            let (status, answer) = world.ask(method, path, &headers, r#"{"reason":"x"}"#).await;
            assert_eq!(status, 401, "{method} {wrong}: {answer}");
            assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
        }
    }
    std::fs::write(world.folder.path().join("tokens"), "bob:fedcba9876543210fedcba9876543210\n").unwrap();
    assert_eq!(
        world.ask("POST", "/api/v1/sync", &named(), r#"{"reason":"x"}"#).await.0,
        401,
        "a withdrawn token"
    );
    std::fs::write(world.folder.path().join("tokens"), "broken\n").unwrap();
    assert_eq!(world.ask("POST", "/api/v1/sync", &named(), r#"{"reason":"x"}"#).await.0, 503);
    world.stop().await;
}

#[tokio::test]
async fn an_address_that_others_reach_needs_tokens_for_everything() {
    let open = |listen: &str, behind_proxy| Settings {
        listen: Some(listen.parse().unwrap()),
        behind_proxy,
        ..Settings::default()
    };
    for settings in [open("0.0.0.0:0", false), open("[::]:0", false), open("127.0.0.1:0", true)] {
        let (_publisher, views) = Publisher::new(view());
        let (orders, _taken) = mpsc::channel(1);
        let metrics = Arc::new(Metrics::new(views.clone()));
        let (questions, emergency) = (Arc::new(Daemon), Arc::new(Brake::default()));
        let parts = Parts { views, orders, questions, emergency, metrics, webhooks: None };
        let refused = Server::bind(settings, parts).await.err().unwrap();
        assert!(matches!(refused, ServerError::NeedsTokens(_)), "{refused}");
    }

    let world = World::with(|settings| settings.behind_proxy = true).await;
    let host = "Host: fairlead.example.com\r\n";
    for path in ["/api/v1/status", "/api/v1/events", "/api/v1/plan", "/metrics", "/api/v1/targets/edge-001"] {
        assert_eq!(world.ask("GET", path, host, "").await.0, 401, "{path}");
    }
    for path in ["/healthz", "/openapi.json"] {
        assert_eq!(world.ask("GET", path, host, "").await.0, 200, "{path}");
    }
    let (status, answer) = world.ask("GET", "/readyz", host, "").await;
    assert_eq!(
        (status, answer.contains("starting")),
        (503, false),
        "reasons are for those who may read: {answer}"
    );
    let with_token = format!("{host}Authorization: Bearer {TOKEN}\r\n");
    let (status, answer) = world.ask("GET", "/readyz", &with_token, "").await;
    assert_eq!((status, answer.contains("starting")), (503, true), "{answer}");
    assert_eq!(world.ask("GET", "/api/v1/status", &with_token, "").await.0, 200);
    world.stop().await;
}

#[tokio::test]
async fn a_web_page_cannot_use_the_server() {
    let world = World::start().await;
    for host in [
        "Host: evil.example\r\n",
        "Host: evil.example:8420\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "",
    ] {
        for path in ["/api/v1/status", "/healthz", "/nowhere"] {
            let (status, answer) = world.ask("GET", path, host, "").await;
            // Hyper itself refuses some of them.
            assert!(status == 403 || status == 400, "{host:?} {path}: {answer}");
        }
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        let headers = format!("{LOCAL}Authorization: Bearer {TOKEN}\r\nContent-Type: {content_type}\r\n");
        assert_eq!(
            world.ask("POST", "/api/v1/sync", &headers, r#"{"reason":"x"}"#).await.0,
            415,
            "{content_type}"
        );
    }
    let preflight = format!("{LOCAL}Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n");
    let (status, answer) = world.ask("OPTIONS", "/api/v1/sync", &preflight, "").await;
    assert_eq!((status, answer.to_lowercase().contains("access-control")), (405, false), "{answer}");
    world.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_reason() {
    let world = World::start().await;
    let long = json!({"reason": "x".repeat(70_000)}).to_string();
    let wordy = json!({"reason": "x".repeat(1_001)}).to_string();
    for (path, body, wanted, words) in [
        ("/api/v1/sync", long.as_str(), 413, "64 KiB"),
        ("/api/v1/sync", wordy.as_str(), 422, "1 to 1,000 characters"),
        ("/api/v1/sync", r#"{"reason":" "}"#, 422, "1 to 1,000 characters"),
        ("/api/v1/sync", "{}", 400, "missing field `reason`"),
        ("/api/v1/sync", r#"{"reason":"x","force":true}"#, 400, "unknown field `force`"),
        ("/api/v1/sync", "not json", 400, "line 1 column"),
        ("/api/v1/fleets/No_Name/retry", r#"{"reason":"x"}"#, 404, "no fleet 'No_Name'"),
        (
            "/api/v1/fleets/retail/accept",
            r#"{"reason":"x","commit":"4f2c91a"}"#,
            400,
            "40 hexadecimal digits",
        ),
        ("/api/v1/fleets/retail/retry", r#"{"reason":"conflict"}"#, 409, "another commit is held by now"),
    ] {
        let (status, answer) = world.ask("POST", path, &named(), body).await;
        assert_eq!(status, wanted, "{path}: {answer}");
        assert!(answer.contains(words) && answer.contains("application/problem+json"), "{answer}");
    }
    for (method, path, wanted) in [
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/fleets/other", 404),
        ("GET", "/api/v1/targets/other", 404),
        ("GET", "/api/v1/targets/other/history", 404),
        ("GET", "/api/v1/targets/edge-001/history?limit=x", 400),
        ("GET", "/api/v1/plan?form=x", 400),
        ("GET", "/api/v1/plan?to=nowhere", 404),
        ("DELETE", "/api/v1/status", 405),
        ("POST", "/api/v1/status", 405),
    ] {
        let (status, answer) = world.ask(method, path, LOCAL, "").await;
        assert_eq!(status, wanted, "{method} {path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    world.stop().await;
}

#[tokio::test]
async fn slow_peers_and_a_slow_daemon_are_not_waited_for() {
    let short = Duration::from_millis(200);
    let world = World::with(|settings| {
        settings.head_timeout = short;
        settings.request_timeout = short;
        settings.plan_timeout = short;
    })
    .await;
    let began = Instant::now();
    let (_, nothing) = world.raw("").await;
    let (_, half) = world.raw("GET /healthz HTTP/1.1\r\nHost: loc").await;
    assert!(began.elapsed() < Duration::from_secs(9) && !nothing.contains("200") && !half.contains("200"));

    let head = format!("POST /api/v1/sync HTTP/1.1\r\nContent-Length: 100\r\n{}\r\n", named());
    assert_eq!(world.raw(&head).await.0, 408);
    let (status, answer) = world.ask("POST", "/api/v1/sync", &named(), r#"{"reason":"silence"}"#).await;
    assert!(status == 504 && answer.contains("took the command"), "{answer}");
    assert_eq!(world.ask("GET", "/api/v1/plan?to=never", LOCAL, "").await.0, 504);
    let large = format!("GET /healthz HTTP/1.1\r\n{LOCAL}X: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert_eq!(world.raw(&large).await.0, 431);
    world.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_daemon_and_a_resume_does() {
    let world = World::with(|settings| settings.request_timeout = Duration::from_millis(300)).await;
    let ask = async |path: &str, text: &str| {
        world.by_socket().post_json::<_, Done>(path, &reason(text)).await.map(|done| done.message)
    };
    let nothing = ask("/api/v1/resume", "a test").await.unwrap();
    assert_eq!(nothing, "nothing was stopped");
    // The daemon never answers; everything is stopped all the same.
    let stopped = ask("/api/v1/stop", "silence").await.unwrap();
    assert!(stopped.starts_with("stopped by") && stopped.contains("not in the audit"), "{stopped}");
    assert!(matches!(ask("/api/v1/resume", "silence").await, Err(ClientError::Refused(_))));
    assert_eq!(ask("/api/v1/resume", "a test").await.unwrap(), "resumed");
    assert_eq!(world.ask("POST", "/api/v1/stop", JSON, r#"{"reason":"x"}"#).await.0, 401);
    world.stop().await;
}

async fn next(events: &mut Events) -> StatusView {
    tokio::time::timeout(Duration::from_secs(10), events.next())
        .await
        .expect("an event in 10 s")
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn all_readers_see_the_newest_view_and_a_stop_ends_their_streams() {
    let world = World::start().await;
    let mut readers =
        [world.by_socket().events().await.unwrap(), world.by_tcp(false).events().await.unwrap()];
    for reader in &mut readers {
        assert_eq!(next(reader).await.version, 0);
    }
    for state in [FleetStatus::Held, FleetStatus::Converged] {
        let mut changed = view();
        changed.fleets[0].state = state;
        assert!(world.publisher.publish(changed));
    }
    for reader in &mut readers {
        let mut seen = next(reader).await;
        while seen.version < 2 {
            seen = next(reader).await;
        }
        assert_eq!((seen.version, seen.fleets[0].state), (2, FleetStatus::Converged));
    }
    let metrics = world.ask("GET", "/metrics", LOCAL, "").await.1;
    for line in [
        "fairlead_targets{fleet=\"retail\",state=\"progressing\"} 1",
        "fairlead_rollout_state{fleet=\"retail\",state=\"converged\"} 1",
        "fairlead_rollout_state{fleet=\"retail\",state=\"held\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }

    let mut silent = TcpStream::connect(world.address).await.unwrap();
    silent.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let socket = world.socket();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let folder = world.folder.path().to_owned();
    let kept = world.by_socket();
    let took = world.stop().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    for reader in &mut readers {
        let end = tokio::time::timeout(Duration::from_secs(1), reader.next()).await.expect("the stream ends");
        assert!(matches!(end, Ok(None)), "{end:?}");
    }
    assert!(!socket.exists(), "{}", folder.display());
    let refused = kept.get_json::<Value>("/api/v1/status").await.unwrap_err();
    assert!(matches!(refused, ClientError::NotRunning { .. }), "{refused:?}");
    assert!(refused.hint().unwrap().contains("is the daemon running? fairlead run"));
}

#[tokio::test]
async fn ready_says_why_not() {
    let world = World::start().await;
    let (status, answer) = world.ask("GET", "/readyz", LOCAL, "").await;
    assert!(status == 503 && answer.contains("the daemon has not read the repository yet"), "{answer}");
    world.publisher.publish(StatusView { not_ready: Vec::new(), ..view() });
    assert_eq!(world.ask("GET", "/readyz", LOCAL, "").await.0, 200);
    let disk = NotReady { code: "disk-full".into(), message: "the disk is full".into() };
    world.publisher.publish(StatusView { not_ready: vec![disk], ..view() });
    assert_eq!(world.ask("GET", "/readyz", LOCAL, "").await.0, 503);
    world.stop().await;
}

#[tokio::test]
async fn a_left_over_socket_is_replaced_and_another_file_is_not() {
    let left = tempfile::tempdir().unwrap();
    let path = left.path().join("fairlead.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    // A process that was killed while it bound its socket.
    std::fs::create_dir(left.path().join(".s")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(left.path().join(".s/s")).unwrap());
    let world = World::with(|settings| settings.socket = Some(path.clone())).await;
    let done: Done = Client::socket(&path).post_json("/api/v1/sync", &reason("x")).await.unwrap();
    assert!(done.message.contains(&format!("by {} ({})", user(), Via::Socket.as_str())));
    world.stop().await;

    std::fs::write(&path, "precious").unwrap();
    let (_publisher, views) = Publisher::new(view());
    let (orders, _taken) = mpsc::channel(1);
    let metrics = Arc::new(Metrics::new(views.clone()));
    let (questions, emergency) = (Arc::new(Daemon), Arc::new(Brake::default()));
    let parts = Parts { views, orders, questions, emergency, metrics, webhooks: None };
    let settings = Settings { listen: None, socket: Some(path.clone()), ..Settings::default() };
    let refused = Server::bind(settings, parts).await.err().unwrap();
    assert!(matches!(refused, ServerError::Socket { .. }), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

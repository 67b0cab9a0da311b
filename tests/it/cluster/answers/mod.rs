//! The table of answers, held to a real API server: each answer is provoked, and must be judged as expected.

mod cases;
mod server;
mod setup;

use std::collections::BTreeSet;
use std::time::Duration;

use fairlead_cluster::answers::{RULES, Shape, Status, Verb, Verdict};
use fairlead_cluster::{Connector as _, KubeconfigFolder};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;

use crate::harness::{ControlPlane, Options, User};

/// How long until a request is answered as expected: webhooks, policies, roles and quotas take effect by and by.
const PATIENCE: Duration = Duration::from_secs(60);
/// Until when one answer must be there.
const ONE: Duration = Duration::from_secs(20);
/// Requests at a time.
const AT_ONCE: usize = 8;
/// So many answers are provoked at least.
const CASES: usize = 100;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Admin,
    /// May read ConfigMaps, and write Roles and RoleBindings.
    Clerk,
    /// Gets no turn: its priority level has no seats.
    Queued,
    Nobody,
}

/// A request, and how its answer is to be judged.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: &'static str,
    pub who: Who,
    pub method: &'static str,
    pub path: String,
    pub content_type: &'static str,
    pub accept: &'static str,
    pub body: String,
    /// Status code and the rule's name.
    pub expected: (u16, &'static str, Verdict),
}

struct Clients {
    admin: kube::Client,
    clerk: kube::Client,
    queued: kube::Client,
    nobody: kube::Client,
}

impl Clients {
    async fn of(plane: &ControlPlane) -> Self {
        // As workers connect: nothing between sends a request again by itself.
        let folder = tempfile::tempdir().unwrap();
        let at = async |path: &std::path::Path| {
            std::fs::copy(path, folder.path().join("one.yaml")).unwrap();
            let connector = KubeconfigFolder::new(folder.path(), false);
            connector.connect(&"one".parse().unwrap()).await.unwrap()
        };
        Self {
            admin: at(&plane.kubeconfig()).await,
            clerk: at(&plane.kubeconfig_for("clerk").unwrap()).await,
            queued: at(&plane.kubeconfig_for("queued").unwrap()).await,
            nobody: at(&plane.kubeconfig_with_token("nobody", "wrong").unwrap()).await,
        }
    }

    /// Keeps the one seat busy that a priority level without shares has: with writes that a webhook delays.
    fn keep_busy(&self) -> tokio::task::JoinSet<()> {
        let mut busy = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let client = self.queued.clone();
            busy.spawn(async move {
                let map = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"busy-"}}"#;
                loop {
                    let request = http::Request::post("/api/v1/namespaces/hook-timeout/configmaps");
                    let request = request.header("content-type", "application/json");
                    let _ = client.send(request.body(Body::from(map.as_bytes().to_vec())).unwrap()).await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        busy
    }

    /// Code and body of an answer; of a watch, the code and body of its first event if that is an error.
    async fn ask(&self, case: &Case, attempt: u32) -> (u16, Vec<u8>) {
        let filled = |text: &str| text.replace("{try}", &attempt.to_string());
        let client = match case.who {
            Who::Admin => &self.admin,
            Who::Clerk => &self.clerk,
            Who::Queued => &self.queued,
            Who::Nobody => &self.nobody,
        };
        let request = http::Request::builder()
            .method(case.method)
            .uri(filled(&case.path))
            .header("content-type", case.content_type)
            .header("accept", case.accept)
            .body(Body::from(filled(&case.body).into_bytes()))
            .unwrap();
        let asked = tokio::time::timeout(ONE, async {
            let response = client.send(request).await.map_err(|error| error.to_string())?;
            let code = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((code, body.to_bytes()))
        });
        let (code, bytes) = match asked.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return (0, error.into_bytes()),
            Err(_) => return (0, b"no answer in time".to_vec()),
        };
        let event: Option<Value> =
            bytes.split(|b| *b == b'\n').next().and_then(|l| serde_json::from_slice(l).ok());
        match event.filter(|event| event["type"] == "ERROR") {
            Some(event) => {
                let code = event["object"]["code"].as_u64().unwrap_or_default();
                (u16::try_from(code).unwrap(), event["object"].to_string().into_bytes())
            }
            None => (code, bytes.to_vec()),
        }
    }
}

/// Asks until the answer is as expected; else what is wrong with the last one.
async fn check(clients: &Clients, case: &Case) -> Result<&'static str, String> {
    let (end, mut attempt) = (tokio::time::Instant::now() + PATIENCE, 0);
    loop {
        attempt += 1;
        let (code, body) = clients.ask(case, attempt).await;
        let query = case.path.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let method = case.method.parse().unwrap();
        let status = Status::read(code, None, &body).to(Verb::of(&method, query, case.content_type));
        let rule = status.rule();
        if (code, rule.name, rule.class.verdict()) == case.expected {
            return Ok(rule.name);
        }
        if tokio::time::Instant::now() > end {
            let text: String = String::from_utf8_lossy(&body).chars().take(1_500).collect();
            let (name, expected) = (case.name, case.expected);
            return Err(format!(
                "{name}: expected {expected:?}, is {code} {} {:?}\n    {} {}\n    {text}\n",
                rule.name,
                rule.class.verdict(),
                case.method,
                case.path
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answers_of_a_real_server_are_judged_as_the_table_says() {
    let users = vec![User::new("clerk", &[]), User::new("queued", &[])];
    let plane = ControlPlane::start("answers", Options { controllers: false, users }).await.unwrap();
    let clients = Clients::of(&plane).await;
    let server = server::Server::start().await;
    setup::run(&clients.admin, &server).await;
    let busy = clients.keep_busy();
    let cases = cases::all();
    assert!(cases.len() >= CASES, "{} cases", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name");
    let results: Vec<_> = futures::stream::iter(&cases)
        .map(|case| check(&clients, case))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    drop(busy);
    let wrong: Vec<String> = results.iter().filter_map(|result| result.clone().err()).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} are judged otherwise:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    let hit: BTreeSet<&str> = results.into_iter().filter_map(Result::ok).collect();
    // What is recorded may come up here too, on a machine that is slow or busy enough.
    let missed: Vec<&str> = RULES
        .iter()
        .filter(|rule| rule.shape == Shape::Provoked && !hit.contains(rule.name))
        .map(|rule| rule.name)
        .collect();
    assert!(missed.is_empty(), "never provoked: {missed:?}");
}

//! The fake forge's server: keeps what it is told, and refuses what its public API documents don't have.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::Kind;

pub const PROJECT: &str = "platform/fleet";
pub const TOKEN: &str = "a-token-that-the-forge-knows";
pub const BOT: &str = "fairlead-bot";

/// What one context was told of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub commit: String,
    pub context: String,
    /// In the forge's own words.
    pub state: String,
    pub description: String,
    pub link: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Pull {
    pub number: u64,
    pub branch: String,
    pub head: String,
    pub draft: bool,
    pub open: bool,
    pub merged: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Note {
    pub id: u64,
    pub pull: u64,
    pub author: String,
    pub body: String,
    pub edits: u32,
}

/// What befalls requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Answers 503 to everything.
    Down,
    /// Answers 429, and asks for so many seconds.
    Limited(u64),
}

/// Everything that the forge knows.
#[derive(Default)]
pub struct Known {
    /// Commits of which it would take a status.
    pub commits: Vec<String>,
    pub told: Vec<Told>,
    pub pulls: Vec<Pull>,
    pub notes: Vec<Note>,
    pub check_runs: Vec<Value>,
    pub hooks: Vec<(u64, Value)>,
    /// Tokens that may do everything, and those that may only read.
    pub tokens: Vec<String>,
    pub readers: Vec<String>,
    /// Of an App: its public key, and installation tokens given so far.
    pub app_key: Option<Vec<u8>>,
    pub given: u32,
    pub trouble: Option<Trouble>,
    /// When what was asked: `POST /repos/...`, and the answer.
    pub asked: Vec<(Instant, String, u16)>,
    /// Requests that no client should send.
    pub violations: Vec<String>,
    pub next_id: u64,
}

impl Known {
    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn pull(&self, number: &str) -> Option<&Pull> {
        self.pulls.iter().find(|pull| pull.number.to_string() == number)
    }
}

/// A request, read.
pub struct Asked<'r> {
    pub method: Method,
    /// Segments below the API's address, as they came over the wire.
    pub path: Vec<&'r str>,
    pub query: &'r str,
    pub headers: &'r HeaderMap,
    pub body: Value,
}

impl Asked<'_> {
    /// A field that must be a text, of at most so many characters.
    pub fn text(&self, name: &str, max: usize) -> Result<String, Answer> {
        let text = self.body[name].as_str().ok_or_else(|| invalid(&format!("{name} is no text")))?;
        if text.is_empty() || text.chars().count() > max {
            return Err(invalid(&format!("{name} is empty or longer than {max}")));
        }
        Ok(text.to_owned())
    }

    /// A field that must be one of these.
    pub fn one_of(&self, name: &str, values: &[&str]) -> Result<String, Answer> {
        let text = self.text(name, 100)?;
        match values.contains(&&*text) {
            true => Ok(text),
            false => Err(invalid(&format!("{name} is '{text}', not one of {values:?}"))),
        }
    }

    /// A field that may be missing or null, else a web address.
    pub fn address(&self, name: &str) -> Result<Option<String>, Answer> {
        match &self.body[name] {
            Value::Null => Ok(None),
            Value::String(text) if text.starts_with("http") => Ok(Some(text.clone())),
            other => Err(invalid(&format!("{name} is {other}"))),
        }
    }

    pub fn has_only(&self, names: &[&str]) -> Result<(), Answer> {
        let keys = self.body.as_object().ok_or_else(|| invalid("the body is no object"))?;
        match keys.keys().find(|key| !names.contains(&key.as_str())) {
            Some(key) => Err(invalid(&format!("the key {key} is not in the API's document"))),
            None => Ok(()),
        }
    }

    /// A list's page: only the first has items.
    pub fn page(&self, items: Vec<Value>) -> Answer {
        let first = self.query.split('&').any(|part| part == "page=1");
        Answer::ok(200, Value::Array(if first { items } else { Vec::new() }))
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
    /// The client should not have asked so.
    pub violation: bool,
}

impl Answer {
    pub fn ok(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body, violation: false }
    }
}

/// A request that is not in the documents.
pub fn invalid(what: &str) -> Answer {
    Answer { status: 400, headers: Vec::new(), body: serde_json::json!({"message": what}), violation: true }
}

#[derive(Clone)]
pub struct Server {
    kind: Kind,
    known: Arc<Mutex<Known>>,
    pub address: std::net::SocketAddr,
}

impl Server {
    pub async fn start(kind: Kind) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let known = Known { tokens: vec![TOKEN.to_owned()], ..Known::default() };
        let server = Self { kind, known: Arc::new(Mutex::new(known)), address };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    fn answer(&self, request: &http::request::Parts, body: &[u8]) -> Answer {
        let mut known = self.known();
        match known.trouble {
            Some(Trouble::Down) => return Answer::ok(503, Value::Null),
            Some(Trouble::Limited(seconds)) => {
                let headers = vec![("retry-after", seconds.to_string())];
                return Answer { headers, ..Answer::ok(429, serde_json::json!({"message": "slow down"})) };
            }
            None => {}
        }
        if !request.headers.contains_key("user-agent") {
            return Answer { status: 403, ..invalid("no user agent") };
        }
        let (path, query) = (request.uri.path(), request.uri.query().unwrap_or_default());
        let body = match body {
            [] => Value::Null,
            body => match serde_json::from_slice(body) {
                Ok(body) => body,
                Err(error) => return invalid(&format!("the body is no JSON: {error}")),
            },
        };
        let path = path.split('/').skip(1).collect();
        let asked = Asked { method: request.method.clone(), path, query, headers: &request.headers, body };
        let answer = match self.kind {
            Kind::Github => super::github::answer(&mut known, &asked),
            Kind::Gitlab => super::gitlab::answer(&mut known, &asked),
        };
        answer.unwrap_or_else(|refused| refused)
    }
}

async fn answer(State(server): State<Server>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 8 << 20).await.unwrap();
    let answer = server.answer(&parts, &body);
    let line = format!("{} {}", parts.method, parts.uri.path());
    let mut known = server.known();
    if answer.violation {
        known.violations.push(format!("{line} {}: {}", String::from_utf8_lossy(&body), answer.body));
    }
    known.asked.push((Instant::now(), line, answer.status));
    let mut response = axum::Json(answer.body).into_response();
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

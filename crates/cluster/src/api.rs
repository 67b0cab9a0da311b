//! Requests to one API server: bodies in, bodies out, every refusal a typed [`ApiError`].
//!
//! Thinner than kube's own `Api`, because an apply sends bytes that exist already, and because answers are
//! reduced as they arrive instead of being kept as objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::client::Body;
use serde_json::Value;
use tokio::time::Instant;

use super::answers::Verb;
use super::brake::Brake;
use super::clock::ServerClock;
use super::discovery::escape;
use super::error::{ApiError, Status};
use super::limit::Limiter;
use super::memory::{self, Reserved, Share};
use super::read::{self, ListMeta};
use fairlead_net::Again;

/// Objects without spec, data and status.
pub const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The same for a list.
pub const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const JSON: &str = "application/json";

/// Largest answer that is no list: etcd stores objects of up to 1.5 MB.
pub const MAX_ANSWER: usize = 2 << 20;
/// Largest page of a list. One that is larger is asked for again with fewer objects.
pub const MAX_PAGE: usize = 8 << 20;
/// Largest single event of a watch.
const MAX_EVENT: usize = 4 << 20;
/// Largest answer that is an error: one repeats what it refuses. Of a larger one the beginning is read, as text.
const MAX_ERROR: usize = 2 << 20;
/// How long one large event of a watch may take to come; tests don't wait so long.
const EVENT_TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 30_000 });
/// Bytes of a list for each object that it may have: of metadata, and of whole objects.
const FOR_EACH: (usize, usize) = (16 << 10, 64 << 10);
/// Longest version and token that are taken from a server, in bytes.
pub const MAX_VERSION: usize = 256;
const MAX_TOKEN: usize = 16 << 10;
/// Objects in one page of a list: of metadata, and whole.
const PAGE: (usize, usize) = (2_000, 500);
/// By how much fewer objects are asked for when a page is too large.
const FEWER: usize = 8;
/// Pages beyond those that a list needs: a server may give less than it is asked for, but not for ever.
const MORE_PAGES: usize = 100;
/// How often a read that was answered 429 is sent again, each time after the pause that the server asked for.
const READ_AGAIN: usize = 3;
/// Until when an answer must be there.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for a page of a list, and for all of a list.
pub const LIST_TIMEOUT: Duration = Duration::from_secs(60);
const WHOLE_LIST_TIMEOUT: Duration = Duration::from_secs(300);

/// Most items of a list in which `known` are expected: others may carry our label, but not without end.
pub fn most_of(known: usize) -> usize {
    known.saturating_mul(4).saturating_add(10_000)
}

/// One request.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// With the query.
    pub path: String,
    pub accept: &'static str,
    pub content_type: &'static str,
    pub body: Bytes,
    pub timeout: Duration,
    /// Largest answer that is read.
    pub most: usize,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            accept: JSON,
            content_type: JSON,
            body: Bytes::new(),
            timeout: REQUEST_TIMEOUT,
            most: MAX_ANSWER,
        }
    }

    /// POST, PUT or PATCH.
    pub fn send(
        method: Method,
        path: impl Into<String>,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self { method, content_type, body: body.into(), ..Self::get(path) }
    }

    /// Kubernetes' name of the request.
    pub fn verb(&self) -> Verb {
        let query = self.path.split_once('?').map(|(_, query)| query).unwrap_or_default();
        Verb::of(&self.method, query, self.content_type)
    }

    #[must_use]
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    #[must_use]
    pub fn most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// A connection to an API server; clones share it.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    user_agent: Arc<str>,
    limiter: Arc<Limiter>,
    clock: Arc<ServerClock>,
    brake: Brake,
    memory: Share,
    /// Writes that the server took.
    written: Arc<AtomicU64>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("user_agent", &self.user_agent).finish_non_exhaustive()
    }
}

impl Api {
    pub fn new(client: kube::Client, user_agent: &str, brake: Brake, memory: Share) -> Self {
        let (limiter, clock, written) = (Arc::default(), Arc::default(), Arc::default());
        Self { client, user_agent: Arc::from(user_agent), limiter, clock, brake, memory, written }
    }

    /// The server's time, as far as its answers have told.
    pub fn server_time(&self) -> Timestamp {
        self.clock.now()
    }

    /// How many requests may be in flight now.
    pub fn allowed(&self) -> usize {
        self.limiter.allowed()
    }

    /// How many writes the server has taken.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Sends a request, waits for a place if too many are in flight, and reads the whole answer. A read that was
    /// answered 429 is sent again; of writes, who sent them decides. A write is not begun
    /// while the brake is pulled.
    pub async fn call(&self, call: Call) -> Result<Bytes, ApiError> {
        Ok(self.answer(call).await?.bytes)
    }

    async fn answer(&self, call: Call) -> Result<Answer, ApiError> {
        let again = if call.method == Method::GET { READ_AGAIN } else { 0 };
        for _ in 0..again {
            match self.answer_once(&call).await {
                Err(error) if error.throttled().is_some() => {}
                answer => return answer,
            }
        }
        self.answer_once(&call).await
    }

    /// As [`Self::call`], but sent once whatever is answered.
    pub async fn call_once(&self, call: Call) -> Result<Bytes, ApiError> {
        Ok(self.answer_once(&call).await?.bytes)
    }

    async fn answer_once(&self, call: &Call) -> Result<Answer, ApiError> {
        let _place = self.limiter.place().await;
        let _way = match call.method {
            Method::GET => None,
            _ => Some(self.brake.write().ok_or(ApiError::Stopped)?),
        };
        let result = tokio::time::timeout(call.timeout, self.send(call)).await;
        let result = result.unwrap_or(Err(ApiError::Timeout(call.timeout)));
        match &result {
            Err(error) => self.heed(error),
            Ok(_) => self.limiter.answered(),
        }
        if result.is_ok() && call.method != Method::GET {
            self.written.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Sends a request and reads the answer; a read whose connection broke in the middle is sent again.
    async fn send(&self, call: &Call) -> Result<Answer, ApiError> {
        let mut again = Again::new(call.method == Method::GET);
        loop {
            let response = self.start(call).await?;
            let error = match self.read_all(response.into_body(), call.most).await {
                Err(ApiError::Transport(error)) if call.method == Method::GET => error,
                other => return other,
            };
            match again.after(&*error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(ApiError::Transport(error)),
            }
        }
    }

    /// What is larger than a small answer waits for its share of memory, and keeps it until it is dropped.
    async fn read_all(&self, body: Body, most: usize) -> Result<Answer, ApiError> {
        match self.read_up_to(body, most).await? {
            (answer, true) => Ok(answer),
            _ => Err(ApiError::TooLarge(most)),
        }
    }

    /// Also says whether that was all of it.
    async fn read_up_to(&self, mut body: Body, most: usize) -> Result<(Answer, bool), ApiError> {
        let (mut all, mut reserved) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ApiError::Transport(Box::new(error)))?;
            let Ok(data) = frame.into_data() else { continue };
            if reserved.is_none() && all.len() + data.len() > memory::FREE {
                reserved = self.memory.reserve(most).await;
            }
            let fits = data.len().min(most - all.len());
            all.extend_from_slice(&data[..fits]);
            if fits < data.len() {
                return Ok((Answer { bytes: all.freeze(), _reserved: reserved }, false));
            }
        }
        Ok((Answer { bytes: all.freeze(), _reserved: reserved }, true))
    }

    /// Slows down if the server asks to.
    fn heed(&self, error: &ApiError) {
        if let Some(retry_after) = error.throttled() {
            self.limiter.throttled(retry_after);
        }
    }

    /// Waits while the server has asked to be left alone.
    pub async fn pause(&self) {
        drop(self.limiter.place().await);
    }

    /// As [`Self::call`], read as JSON.
    pub async fn json(&self, call: Call) -> Result<Value, ApiError> {
        let answer = self.answer(call).await?;
        read::tree(&answer.bytes, read::MAX_TREE).map_err(ApiError::Decode)
    }

    /// Reads one page of a list; its items are given away one by one.
    pub async fn page(&self, call: Call, mut take: impl FnMut(Value) + Send) -> Result<ListMeta, ApiError> {
        let answer = self.answer(call.most(MAX_PAGE)).await?;
        let mut take = |item| -> Result<(), String> {
            take(item);
            Ok(())
        };
        read::list(&answer.bytes, &mut take).map_err(ApiError::Decode)
    }

    /// Reads a whole list, page by page; its items are given away one by one, until `take` says that it is enough.
    /// `path` has no `limit` and no `continue`. Ends with an error then, and beyond `most` items. Returns the list's
    /// version.
    pub async fn list(
        &self,
        path: &str,
        accept: &'static str,
        most: usize,
        mut take: impl FnMut(Value) -> bool + Send,
    ) -> Result<String, ApiError> {
        let limit = WHOLE_LIST_TIMEOUT;
        let read = self.pages(path, accept, most, &mut take);
        tokio::time::timeout(limit, read).await.unwrap_or(Err(ApiError::Timeout(limit)))
    }

    async fn pages(
        &self,
        path: &str,
        accept: &'static str,
        most: usize,
        take: &mut (dyn FnMut(Value) -> bool + Send),
    ) -> Result<String, ApiError> {
        let (mut limit, each) = if accept == JSON { (PAGE.1, FOR_EACH.1) } else { (PAGE.0, FOR_EACH.0) };
        let (mut count, mut pages, mut left, mut token) = (0, 0, most.saturating_mul(each), String::new());
        let and = if path.contains('?') { '&' } else { '?' };
        loop {
            let query = format!("{path}{and}limit={limit}&continue={}", escape(&token));
            let call = Call::get(query).accept(accept).timeout(LIST_TIMEOUT).most(MAX_PAGE);
            let answer = match self.answer(call).await {
                Err(ApiError::TooLarge(_)) if limit > 1 => {
                    limit = (limit / FEWER).max(1);
                    continue;
                }
                other => other?,
            };
            let mut enough = false;
            let mut one = |item| -> Result<(), String> {
                count += 1;
                enough = count > most || !take(item);
                if enough { Err("too many items".to_owned()) } else { Ok(()) }
            };
            let meta = read::list(&answer.bytes, &mut one);
            pages += 1;
            left = left.saturating_sub(answer.bytes.len());
            if enough || pages > most / limit + MORE_PAGES || left == 0 {
                return Err(ApiError::TooMany(most));
            }
            let meta = meta.map_err(ApiError::Decode)?;
            match meta.token.filter(|token| !token.is_empty()) {
                Some(next) if next.len() <= MAX_TOKEN => token = next,
                Some(_) => return Err(ApiError::TooLarge(MAX_TOKEN)),
                None => return usable(meta.resource_version.unwrap_or_default()),
            }
        }
    }

    /// Starts a watch; every item is one line. Not counted as a request in flight.
    pub async fn lines(
        &self,
        call: Call,
    ) -> Result<impl Stream<Item = Result<Line, ApiError>> + use<>, ApiError> {
        let timeout = call.timeout;
        let response = tokio::time::timeout(timeout, self.start(&call)).await;
        let response = response.unwrap_or(Err(ApiError::Timeout(timeout)));
        let body = response.inspect_err(|error| self.heed(error))?.into_body();
        Ok(split_lines(body, self.memory.clone()))
    }

    /// Sends a request until there is a connection that answers it. What the server has not processed is sent again
    /// on a new connection, a read also when that is not known.
    async fn start(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let mut again = Again::new(call.method == Method::GET);
        let response = loop {
            let error = match self.client.send(self.request(call)?).await {
                Ok(response) => break response,
                Err(error) => error,
            };
            match again.after(&error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(ApiError::Transport(Box::new(error))),
            }
        };
        self.clock.heard(response.headers());
        if response.status().is_success() {
            return Ok(response);
        }
        let (code, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
        // Whatever else it says, it is an error.
        let (body, _) = self.read_up_to(response.into_body(), MAX_ERROR).await?;
        Err(ApiError::Status(Box::new(Status::read(code, retry_after, &body.bytes).to(call.verb()))))
    }

    fn request(&self, call: &Call) -> Result<Request<Body>, ApiError> {
        let request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(header::ACCEPT, call.accept)
            .header(header::CONTENT_TYPE, call.content_type)
            .header(header::USER_AGENT, &*self.user_agent);
        Ok(request.body(Body::from(call.body.to_vec()))?)
    }
}

/// `Retry-After` in seconds; API servers don't send dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An answer, and the memory that it takes.
struct Answer {
    bytes: Bytes,
    _reserved: Option<Reserved>,
}

/// A version that a server gave, if it is one that can be asked for.
pub fn usable(version: String) -> Result<String, ApiError> {
    if version.len() <= MAX_VERSION { Ok(version) } else { Err(ApiError::TooLarge(MAX_VERSION)) }
}

/// One line of a watch, and the memory that it takes.
pub struct Line {
    pub bytes: Bytes,
    _reserved: Option<Reserved>,
}

/// The lines of a watch.
struct Lines {
    chunks: http_body_util::BodyDataStream<Body>,
    buffer: BytesMut,
    memory: Share,
    /// Memory for a line that is larger than what is free, and until when it must be there.
    reserved: Option<(Option<Reserved>, Instant)>,
    ended: bool,
}

fn split_lines(body: Body, memory: Share) -> impl Stream<Item = Result<Line, ApiError>> {
    let chunks = body.into_data_stream();
    let lines = Lines { chunks, buffer: BytesMut::new(), memory, reserved: None, ended: false };
    futures::stream::unfold(lines, |mut lines| async move { Some((lines.next().await?, lines)) })
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Line, ApiError>> {
        let mut scanned = 0;
        loop {
            if let Some(end) = self.buffer[scanned..].iter().position(|b| *b == b'\n') {
                let bytes = self.buffer.split_to(scanned + end + 1).freeze();
                let reserved = self.reserved.take().and_then(|(reserved, _)| reserved);
                return Some(Ok(Line { bytes, _reserved: reserved }));
            }
            scanned = self.buffer.len();
            if self.ended {
                return None;
            }
            let chunk = match self.reserved {
                Some((_, until)) => match tokio::time::timeout_at(until, self.chunks.next()).await {
                    Ok(chunk) => chunk,
                    Err(_) => return Some(Err(self.end(ApiError::Timeout(EVENT_TIMEOUT)))),
                },
                None => self.chunks.next().await,
            };
            match chunk {
                Some(Ok(data)) if self.buffer.len() + data.len() > MAX_EVENT => {
                    return Some(Err(self.end(ApiError::TooLarge(MAX_EVENT))));
                }
                Some(Ok(data)) => {
                    if self.reserved.is_none() && self.buffer.len() + data.len() > memory::FREE {
                        let reserved = self.memory.reserve(MAX_EVENT).await;
                        self.reserved = Some((reserved, Instant::now() + EVENT_TIMEOUT));
                    }
                    self.buffer.extend_from_slice(&data);
                }
                Some(Err(error)) => return Some(Err(self.end(ApiError::Transport(Box::new(error))))),
                None => return None,
            }
        }
    }

    fn end(&mut self, error: ApiError) -> ApiError {
        self.ended = true;
        self.buffer = BytesMut::new();
        self.reserved = None;
        error
    }
}

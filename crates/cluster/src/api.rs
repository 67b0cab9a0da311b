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

use super::answers::Verb;
use super::brake::Brake;
use super::clock::ServerClock;
use super::error::{ApiError, Status};
use super::limit::Limiter;
use fairlead_net::Again;

/// Objects without spec, data and status.
pub const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The same for a list.
pub const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const JSON: &str = "application/json";

/// Largest answer that is read: etcd's own limit for an object is 1.5 MB, a page of a list is larger.
const MAX_ANSWER: usize = 64 << 20;
/// Largest single event of a watch.
const MAX_EVENT: usize = 16 << 20;
/// How often a read that was answered 429 is sent again, each time after the pause that the server asked for.
const READ_AGAIN: usize = 3;
/// Until when an answer must be there.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for a page of a list.
pub const LIST_TIMEOUT: Duration = Duration::from_secs(60);

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
    /// Writes that the server took.
    written: Arc<AtomicU64>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("user_agent", &self.user_agent).finish_non_exhaustive()
    }
}

impl Api {
    pub fn new(client: kube::Client, user_agent: &str, brake: Brake) -> Self {
        let (limiter, clock, written) = (Arc::default(), Arc::default(), Arc::default());
        Self { client, user_agent: Arc::from(user_agent), limiter, clock, brake, written }
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
        let again = if call.method == Method::GET { READ_AGAIN } else { 0 };
        for _ in 0..again {
            match self.call_once(call.clone()).await {
                Err(error) if error.throttled().is_some() => {}
                answer => return answer,
            }
        }
        self.call_once(call).await
    }

    /// As [`Self::call`], but sent once whatever is answered.
    pub async fn call_once(&self, call: Call) -> Result<Bytes, ApiError> {
        let _place = self.limiter.place().await;
        let _way = match call.method {
            Method::GET => None,
            _ => Some(self.brake.write().ok_or(ApiError::Stopped)?),
        };
        let result = tokio::time::timeout(call.timeout, self.send(&call)).await;
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
    async fn send(&self, call: &Call) -> Result<Bytes, ApiError> {
        let mut again = Again::new(call.method == Method::GET);
        loop {
            let response = self.start(call).await?;
            let error = match read_all(response.into_body()).await {
                Err(ApiError::Transport(error)) if call.method == Method::GET => error,
                other => return other,
            };
            match again.after(&*error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(ApiError::Transport(error)),
            }
        }
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
        serde_json::from_slice(&self.call(call).await?).map_err(ApiError::Decode)
    }

    /// Starts a watch; every item is one line. Not counted as a request in flight.
    pub async fn lines(
        &self,
        call: Call,
    ) -> Result<impl Stream<Item = Result<Bytes, ApiError>> + use<>, ApiError> {
        let timeout = call.timeout;
        let response = tokio::time::timeout(timeout, self.start(&call)).await;
        let response = response.unwrap_or(Err(ApiError::Timeout(timeout)));
        let body = response.inspect_err(|error| self.heed(error))?.into_body();
        Ok(split_lines(body))
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
        let body = read_all(response.into_body()).await?;
        Err(ApiError::Status(Box::new(Status::read(code, retry_after, &body).to(call.verb()))))
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

async fn read_all(mut body: Body) -> Result<Bytes, ApiError> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::Transport(Box::new(error)))?;
        if let Ok(data) = frame.into_data() {
            if all.len() + data.len() > MAX_ANSWER {
                return Err(ApiError::TooLarge(MAX_ANSWER));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(all.freeze())
}

fn split_lines(body: Body) -> impl Stream<Item = Result<Bytes, ApiError>> {
    let chunks = body.into_data_stream();
    futures::stream::unfold(
        (chunks, BytesMut::new(), false),
        |(mut chunks, mut buffer, mut ended)| async move {
            let mut scanned = 0;
            loop {
                if let Some(end) = buffer[scanned..].iter().position(|b| *b == b'\n') {
                    let line = buffer.split_to(scanned + end + 1).freeze();
                    return Some((Ok(line), (chunks, buffer, ended)));
                }
                scanned = buffer.len();
                if ended {
                    return None;
                }
                match chunks.next().await {
                    Some(Ok(data)) if buffer.len() + data.len() > MAX_EVENT => {
                        ended = true;
                        buffer.clear();
                        return Some((Err(ApiError::TooLarge(MAX_EVENT)), (chunks, buffer, ended)));
                    }
                    Some(Ok(data)) => buffer.extend_from_slice(&data),
                    Some(Err(error)) => {
                        ended = true;
                        buffer.clear();
                        return Some((Err(ApiError::Transport(Box::new(error))), (chunks, buffer, ended)));
                    }
                    None => return None,
                }
            }
        },
    )
}

//! Asks the running daemon, over its Unix socket or by URL.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tower::Service;

use crate::server::{Problem, StatusView};
use fairlead_net::{self as net, ConnectFailure, Connector, Protocols, Proxies, Route, Trust, TrustError};

/// For a whole answer, unless set: more than the server's own limit.
const TIMEOUT: Duration = Duration::from_secs(40);
/// An event stream says at least every 15 s that it lives.
const SILENCE: Duration = Duration::from_secs(45);
/// An answer, or one event, is smaller than this; the view of 5,000 targets has about 5 MB.
const MAX_ANSWER: usize = 256 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the daemon could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no daemon answers at {endpoint}")]
    NotRunning { endpoint: String, socket: bool, source: ConnectFailure },
    #[error("the socket {} belongs to another user", .path.display())]
    Forbidden { path: PathBuf, source: io::Error },
    #[error("the connection to {endpoint} failed")]
    Broken { endpoint: String, source: ConnectFailure },
    #[error("{endpoint} did not answer within {} s", .after.as_secs())]
    Late { endpoint: String, after: Duration },
    /// The daemon's own words.
    #[error("{}", .0.detail)]
    Refused(Problem),
    #[error("{endpoint} does not answer like a Fairlead daemon: {what}")]
    Strange { endpoint: String, what: String },
    #[error("'{0}' is not an address: write http://HOST:PORT or https://HOST[:PORT]")]
    Address(String),
    #[error("cannot read the token file {}", .path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("the token file {} holds no token: write one on a line, or 'name:token'", .path.display())]
    NoToken { path: PathBuf },
    #[error("TLS can't be set up")]
    Trust(#[from] TrustError),
    #[error("the request can't be written")]
    Request(#[source] BoxError),
}

#[derive(Debug, Clone)]
enum Endpoint {
    Socket(PathBuf),
    Url { origin: Uri, token: Option<HeaderValue> },
}

/// A daemon's address. Each request has a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    timeout: Duration,
}

/// The daemon's view, again at each change.
pub struct Events {
    client: Client,
    /// The daemon ends streams that last long, and says that they may be asked for again.
    again: bool,
    body: Incoming,
    buffer: BytesMut,
    /// Up to here the buffer holds no end of an event.
    searched: usize,
}

impl ClientError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotRunning { socket: true, .. } => {
                "is the daemon running? fairlead run --config <file>; its setting `state` says where the socket is"
                    .to_owned()
            }
            Self::NotRunning { .. } => {
                "is the daemon running, and does its setting `server.listen` name this address?".to_owned()
            }
            Self::Forbidden { .. } => {
                "run this as the daemon's user, or use --server URL --token-file FILE".to_owned()
            }
            Self::Refused(problem) => return problem.hint.clone(),
            Self::Late { .. } => "look at `fairlead status` before you try again".to_owned(),
            _ => return None,
        })
    }

    /// Whether the daemon said that something is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == StatusCode::NOT_FOUND.as_u16())
    }
}

impl Client {
    /// Over the daemon's Unix socket: the caller's name is the user.
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self { endpoint: Endpoint::Socket(path.into()), timeout: TIMEOUT }
    }

    /// Over TCP. The token file holds a line with the token, or `name:token`.
    pub fn url(url: &str, token_file: Option<&Path>) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(url.to_owned());
        let origin: Uri = url.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let root = origin.path() == "/" && origin.query().is_none();
        let named = origin.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !root || !named || !matches!(origin.scheme_str(), Some("http" | "https")) {
            return Err(wrong());
        }
        let token = token_file.map(read_token).transpose()?;
        if token.is_some() && !is_loopback(&origin) && origin.scheme_str() == Some("http") {
            tracing::warn!(url, "the token goes over the network unencrypted; use https");
        }
        Ok(Self { endpoint: Endpoint::Url { origin, token }, timeout: TIMEOUT })
    }

    /// Waits this long for an answer, e.g. for a plan that asks many clusters.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// GETs a path with its query: `client.get_json("/api/v1/status")`.
    pub async fn get_json<T: DeserializeOwned>(&self, path_and_query: &str) -> Result<T, ClientError> {
        self.in_time(async { self.json(self.send(Method::GET, path_and_query, None).await?).await }).await
    }

    /// GETs a text: `client.get_text("/metrics")`.
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let whole = async {
            let response = self.send(Method::GET, path, None).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response).await?);
            }
            Ok(String::from_utf8_lossy(&self.collect(response).await?).into_owned())
        };
        self.in_time(whole).await
    }

    /// POSTs a JSON body.
    pub async fn post_json<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| ClientError::Request(e.into()))?;
        self.in_time(async { self.json(self.send(Method::POST, path, Some(body)).await?).await }).await
    }

    /// Follows the daemon's view. The first comes at once.
    pub async fn events(&self) -> Result<Events, ClientError> {
        let response = self.in_time(self.send(Method::GET, "/api/v1/events", None)).await?;
        if response.status() != StatusCode::OK {
            return Err(self.in_time(self.refusal(response)).await?);
        }
        let body = response.into_body();
        Ok(Events { client: self.clone(), again: false, body, buffer: BytesMut::new(), searched: 0 })
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        let late = || ClientError::Late { endpoint: self.endpoint.to_string(), after: self.timeout };
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| Err(late()))
    }

    async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path_and_query)
            .header(HOST, self.endpoint.host())
            .header(USER_AGENT, concat!("fairlead/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json, text/event-stream");
        if let Endpoint::Url { token: Some(token), .. } = &self.endpoint {
            request = request.header(AUTHORIZATION, token);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|e| ClientError::Request(e.into()))?;
        match &self.endpoint {
            Endpoint::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|e| socket_error(path, e))?;
                self.exchange(TokioIo::new(stream), request).await
            }
            Endpoint::Url { origin, .. } => {
                let route = if is_loopback(origin) { direct() } else { Route::of_process() };
                let mut connector =
                    Connector::new(route, Trust::system()?, Protocols::Http1).allow_plain(true);
                let stream = connector.call(origin.clone()).await.map_err(|source| {
                    ClientError::NotRunning { endpoint: self.endpoint.to_string(), socket: false, source }
                })?;
                self.exchange(stream, request).await
            }
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| self.broken(&error);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        // Ends with the answer's body; what goes wrong there shows at the body too.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(broken)
    }

    async fn json<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, ClientError> {
        if !response.status().is_success() {
            return Err(self.refusal(response).await?);
        }
        let body = self.collect(response).await?;
        serde_json::from_slice(&body).map_err(|e| self.strange(e))
    }

    async fn refusal(&self, response: Response<Incoming>) -> Result<ClientError, ClientError> {
        let status = response.status();
        let body = self.collect(response).await?;
        match serde_json::from_slice(&body) {
            Ok(problem) => Ok(ClientError::Refused(problem)),
            Err(_) => Err(self.strange(format!("status {status} without an explanation"))),
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok(body.map_err(|error| self.broken(error.as_ref()))?.to_bytes())
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        ClientError::Broken { endpoint: self.endpoint.to_string(), source: net::explain(error) }
    }

    fn strange(&self, what: impl ToString) -> ClientError {
        ClientError::Strange { endpoint: self.endpoint.to_string(), what: what.to_string() }
    }
}

impl Events {
    /// The next view; none when the daemon stops.
    pub async fn next(&mut self) -> Result<Option<StatusView>, ClientError> {
        loop {
            if let Some(event) = self.take_event() {
                if let Some(view) = self.view_in(&event)? {
                    return Ok(Some(view));
                }
                continue;
            }
            let late = || ClientError::Late { endpoint: self.client.endpoint.to_string(), after: SILENCE };
            match tokio::time::timeout(SILENCE, self.body.frame()).await.map_err(|_| late())? {
                None if self.again => *self = self.client.events().await?,
                None => return Ok(None),
                Some(Err(error)) => return Err(self.client.broken(&error)),
                Some(Ok(frame)) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
            if self.buffer.len() > MAX_ANSWER {
                return Err(self.strange("an event without end"));
            }
        }
    }

    /// Takes the lines up to the next empty one.
    fn take_event(&mut self) -> Option<BytesMut> {
        let found = self.buffer[self.searched..].windows(2).position(|w| w == b"\n\n");
        let Some(end) = found else {
            self.searched = self.buffer.len().saturating_sub(1);
            return None;
        };
        let event = self.buffer.split_to(self.searched + end + 2);
        self.searched = 0;
        Some(event)
    }

    /// None for a comment, and for events of another kind.
    fn view_in(&mut self, event: &[u8]) -> Result<Option<StatusView>, ClientError> {
        let lines = || event.split(|b| *b == b'\n');
        self.again |= lines().any(|line| line == b"event: again");
        if !lines().any(|l| l == b"event: status") {
            return Ok(None);
        }
        let data = lines().find_map(|l| l.strip_prefix(b"data: ")).unwrap_or_default();
        serde_json::from_slice(data).map(Some).map_err(|e| self.strange(e))
    }

    fn strange(&self, what: impl ToString) -> ClientError {
        self.client.strange(what)
    }
}

impl Endpoint {
    fn host(&self) -> &str {
        match self {
            Self::Socket(_) => "localhost",
            Self::Url { origin, .. } => origin.authority().map_or("localhost", http::uri::Authority::as_str),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Url { origin, .. } => write!(f, "{origin}"),
        }
    }
}

/// Whether a daemon of this machine is meant: no proxy could reach it.
fn is_loopback(origin: &Uri) -> bool {
    matches!(origin.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn direct() -> Route {
    Route::Environment(Arc::new(Proxies::read(|_| None)))
}

fn socket_error(path: &Path, source: io::Error) -> ClientError {
    if source.kind() == io::ErrorKind::PermissionDenied {
        return ClientError::Forbidden { path: path.to_owned(), source };
    }
    let source = net::explain(&source);
    ClientError::NotRunning { endpoint: path.display().to_string(), socket: true, source }
}

/// The first line that is not a comment.
fn read_token(path: &Path) -> Result<HeaderValue, ClientError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ClientError::TokenFile { path: path.to_owned(), source })?;
    let line = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'));
    let token =
        line.map(|l| l.split_once(':').map_or(l, |(_, token)| token.trim())).filter(|t| !t.is_empty());
    let header = token.and_then(|t| HeaderValue::from_str(&format!("Bearer {t}")).ok());
    let mut header = header.ok_or_else(|| ClientError::NoToken { path: path.to_owned() })?;
    header.set_sensitive(true);
    Ok(header)
}

/// `/a` and its query, with values escaped; those that are none are left out.
pub fn with_query(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let mut text = path.to_owned();
    let mut separator = '?';
    for (name, value) in query.iter().filter_map(|(n, v)| Some((n, (*v)?))) {
        text.push(separator);
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        separator = '&';
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        let query = [("from", Some("a&b=c/é")), ("to", None), ("live", Some("true"))];
        assert_eq!(with_query("/api/v1/plan", &query), "/api/v1/plan?from=a%26b%3Dc%2F%C3%A9&live=true");
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["http://127.0.0.1:8420", "https://fairlead.example.com/", "http://[::1]:1"] {
            assert!(Client::url(good, None).is_ok(), "{good}");
        }
        for bad in ["", "localhost:8420", "ftp://x", "http://u:p@x", "http://x/api", "https://x?y"] {
            assert!(matches!(Client::url(bad, None), Err(ClientError::Address(_))), "{bad}");
        }
    }

    #[test]
    fn a_token_file_holds_a_token_or_a_named_one_and_debug_output_does_not_show_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for text in ["0123456789abcdef\n", "# mine\nalice: 0123456789abcdef\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_token(&path).unwrap(), "Bearer 0123456789abcdef");
            let client = Client::url("http://127.0.0.1:1", Some(&path)).unwrap();
            assert!(!format!("{client:?}").contains("0123456789abcdef"));
        }
        std::fs::write(&path, "# nothing\n").unwrap();
        assert!(matches!(read_token(&path), Err(ClientError::NoToken { .. })));
    }
}

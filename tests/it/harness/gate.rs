//! A gate before an API server: it ends TLS itself, sees every request, and can do what servers and networks do on
//! a bad day. Whatever it lets through is answered by the real server.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::kubeconfig::Endpoint;
use super::{Context, ControlPlane, Result, User};

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Pass,
    /// Answered 429 with `Retry-After` in seconds; the server never sees it.
    Throttle(u32),
    /// Let through, but whatever the server answers is lost with the stream.
    LoseAnswer,
    /// Let through, but answered with this status of `etcdserver: leader changed`.
    LeaderChanged,
    /// Answered 500 without a sign of whose fault it is; the server never sees it.
    Broken,
    /// Answered as a watch that ends before it began.
    EndedWatch,
}

/// One request that came, and what became of it.
#[derive(Clone, Debug)]
pub struct Passage {
    pub at: Instant,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub act: Act,
}

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Rule = Arc<dyn Fn(&Parts) -> Act + Send + Sync>;

#[derive(Clone, Copy)]
struct Watches {
    /// Grows with each time that all are ended.
    ended: u32,
    held: bool,
}

struct Shared {
    server: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    rule: Mutex<Rule>,
    log: Mutex<Vec<Passage>>,
    watches: watch::Sender<Watches>,
}

/// A running gate. It belongs to the runtime that it is made on.
pub struct Gate {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

impl Gate {
    /// Lets everything through, to begin with.
    pub async fn before(plane: &ControlPlane) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listening at the gate")?;
        let url = format!("https://{}", listener.local_addr()?);
        let (acceptor, certificate) = tls()?;
        let shared = Arc::new(Shared {
            server: plane.url(),
            client: client(plane).await?,
            rule: Mutex::new(Arc::new(|_| Act::Pass)),
            log: Mutex::default(),
            watches: watch::Sender::new(Watches { ended: 0, held: false }),
        });
        let gate = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&gate)));
            }
        });
        let endpoint = Endpoint { cluster: plane.name().to_owned(), url, certificate };
        Ok(Self { endpoint, shared, _task: AbortOnDropHandle::new(task) })
    }

    /// The administrator's, through the gate.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<()> {
        let admin = User::admin();
        self.endpoint.write_kubeconfig(&admin.name, &admin.token(), path)
    }

    /// Decides about every request from now on.
    pub fn rule(&self, rule: impl Fn(&Parts) -> Act + Send + Sync + 'static) {
        *lock(&self.shared.rule) = Arc::new(rule);
    }

    pub fn open(&self) {
        self.rule(|_| Act::Pass);
    }

    /// Ends all watches without a word, and lets new ones wait.
    pub fn hold_watches(&self) {
        self.shared.watches.send_modify(|now| *now = Watches { ended: now.ended + 1, held: true });
    }

    pub fn release_watches(&self) {
        self.shared.watches.send_modify(|now| now.held = false);
    }

    /// What came since the log was taken last.
    pub fn take_log(&self) -> Vec<Passage> {
        std::mem::take(&mut *lock(&self.shared.log))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// HTTP/2 alone is offered, as what a real server prefers; its certificate, in PEM, beside it.
fn tls() -> Result<(TlsAcceptor, Vec<u8>)> {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).context("a certificate")?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(vec![signed.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), signed.cert.pem().into_bytes()))
}

async fn client(plane: &ControlPlane) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>> {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let tls = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?);
    // HTTP/1.1 to the server: a watch has a connection of its own, and none stands in another's way.
    let https = tls.https_only().enable_http1().wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new()).build(https))
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| answer(Arc::clone(&shared), request));
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    // A client that goes away ends its connection.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, BoxError> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let watches = query.split('&').any(|pair| pair.starts_with("watch="));
    let at = Instant::now();
    if watches {
        shared.watches.subscribe().wait_for(|now| !now.held).await?;
    }
    let rule = Arc::clone(&lock(&shared.rule));
    let act = rule(&parts);
    let path = parts.uri.path().to_owned();
    let method = parts.method.clone();
    lock(&shared.log).push(Passage { at, method, path: path.clone(), query: query.clone(), act });
    match act {
        Act::Throttle(seconds) => return Ok(throttle(seconds)),
        Act::Broken => {
            return Ok(status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "something broke"));
        }
        Act::EndedWatch => return Ok(Response::new(full(Bytes::new()))),
        Act::Pass | Act::LoseAnswer | Act::LeaderChanged => {}
    }
    parts.uri = format!("{}{path}?{query}", shared.server).parse::<Uri>()?;
    parts.version = http::Version::HTTP_11;
    let mut forwarded = Request::from_parts(parts, Full::new(body));
    forwarded.headers_mut().remove(header::HOST);
    let response = shared.client.request(forwarded).await?;
    match act {
        Act::LoseAnswer => {
            response.into_body().collect().await?;
            Err("lost".into())
        }
        Act::LeaderChanged => {
            response.into_body().collect().await?;
            let message = "etcdserver: leader changed";
            Ok(status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message))
        }
        _ if watches => Ok(until_ended(&shared, response)),
        _ => Ok(response.map(|body| body.map_err(Into::into).boxed_unsync())),
    }
}

/// A watch that ends as the server's does, or when all are ended.
fn until_ended(shared: &Shared, response: Response<Incoming>) -> Answer {
    let mut watches = shared.watches.subscribe();
    let ended = watches.borrow().ended;
    response.map(|body| {
        let over = async move {
            let _ = watches.wait_for(|now| now.ended != ended).await;
        };
        let frames = BodyStream::new(body).map(|frame| frame.map_err(BoxError::from));
        StreamBody::new(frames.take_until(Box::pin(over))).boxed_unsync()
    })
}

fn full(bytes: Bytes) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn status(code: StatusCode, reason: &str, message: &str) -> Answer {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16()});
    let mut answer = Response::new(full(body.to_string().into()));
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

/// As the API server's own answer when too many requests are in flight.
fn throttle(seconds: u32) -> Answer {
    let message = "Too many requests, please try again later.";
    let mut answer = status(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
    answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
    answer
}

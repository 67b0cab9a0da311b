//! Many simulated clusters on one port, for clients outside this process.
//!
//! The one part of the room that listens and writes files. A cluster is reached under `/clusters/<name>`, over TLS
//! with a certificate made at the start: then kubeconfigs need no leave, and a client's watches share one HTTP/2
//! connection, as with real clusters.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service, ServiceExt as _};

use super::faults::{self, Faults, Faulty, Rule};
use super::{Body, Cluster, Fleet};

/// Largest request that a real API server takes.
const MAX_REQUEST: usize = 3 << 20;
/// Until when a connection must have shaken hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Watches and requests that one connection may carry.
const STREAMS: u32 = 1_000;

/// Why clusters can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("{0} is not a loopback address: simulated clusters ask nobody who they are")]
    NotLoopback(SocketAddr),
    #[error("cannot make a certificate")]
    Certificate(#[source] BoxError),
    #[error("cannot write {path}")]
    Kubeconfig { path: PathBuf, source: std::io::Error },
}

/// Clusters that can be reached from outside.
pub struct Served {
    listener: TcpListener,
    tls: TlsAcceptor,
    clusters: Arc<Clusters>,
    folder: PathBuf,
    certificate: String,
    address: SocketAddr,
}

/// Is told of each request that reached a cluster, by the cluster's name, and of what it answered: before a fault can
/// lose the answer.
pub type Tap = Arc<dyn Fn(&str, &Request<Bytes>, StatusCode) + Send + Sync>;

/// Faults by cluster; the clusters themselves are made on first use.
struct Clusters {
    fleet: Fleet,
    faults: BTreeMap<String, Faults>,
    tap: OnceLock<Tap>,
}

type Answer = Response<faults::Body<Body>>;

impl Served {
    /// Listens, and writes `<name>.yaml` for each cluster into a folder.
    pub async fn start(
        fleet: Fleet,
        names: &[String],
        rules: &[Rule],
        seed: u64,
        (listen, folder): (SocketAddr, &Path),
    ) -> Result<Self, ServeError> {
        if !listen.ip().is_loopback() {
            return Err(ServeError::NotLoopback(listen));
        }
        let failed = |source| ServeError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (tls, certificate) = certificate(address).map_err(ServeError::Certificate)?;
        let faults = names.iter().map(|name| (name.clone(), Faults::new(name, seed, rules))).collect();
        let clusters = Arc::new(Clusters { fleet, faults, tap: OnceLock::new() });
        let served = Self { listener, tls, clusters, folder: folder.to_owned(), certificate, address };
        served.write_kubeconfigs()?;
        Ok(served)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The faults of a cluster, to change them while it is served.
    pub fn faults(&self, cluster: &str) -> Option<Faults> {
        self.clusters.faults.get(cluster).cloned()
    }

    /// Tells somebody of every request from now on; the first who asks.
    #[must_use]
    pub fn tapped(self, tap: Tap) -> Self {
        self.clusters.tap.get_or_init(|| tap);
        self
    }

    /// Answers until `cancel` is cancelled, and removes the kubeconfigs.
    pub async fn run(self, cancel: CancellationToken) {
        let mut connections = JoinSet::new();
        let fleet = self.clusters.fleet.clone();
        let mut driven = std::pin::pin!(fleet.drive());
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = &mut driven => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(self.tls.clone(), stream, Arc::clone(&self.clusters)));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: others may close theirs.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        connections.shutdown().await;
        for name in self.clusters.faults.keys() {
            // One that somebody else removed is gone as well.
            let _ = std::fs::remove_file(self.path(name));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.yaml"))
    }

    fn write_kubeconfigs(&self) -> Result<(), ServeError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ServeError::Kubeconfig { path, source }
        };
        std::fs::create_dir_all(&self.folder).map_err(failed(&self.folder))?;
        let certificate = BASE64_STANDARD.encode(&self.certificate);
        for name in self.clusters.faults.keys() {
            let server = format!("https://{}/clusters/{name}", self.address);
            let config = json!({
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": name,
                "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": certificate}}],
                // Any token will do; without one, kubectl asks for a name and a password.
                "users": [{"name": "anyone", "user": {"token": "anyone"}}],
                "contexts": [{"name": name, "context": {"cluster": name, "user": "anyone"}}],
            });
            let path = self.path(name);
            // JSON is YAML.
            std::fs::write(&path, format!("{config:#}\n")).map_err(failed(&path))?;
        }
        Ok(())
    }
}

/// A certificate for one address, that signs itself; and its text for kubeconfigs.
fn certificate(address: SocketAddr) -> Result<(TlsAcceptor, String), BoxError> {
    let names = vec![address.ip().to_string(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), made.cert.pem()))
}

/// One client's connection, to its end.
async fn connection(tls: TlsAcceptor, stream: TcpStream, clusters: Arc<Clusters>) {
    // As a real server: answers are not to wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    let service = hyper::service::service_fn(move |request| answer(Arc::clone(&clusters), request));
    let ended = if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(STREAMS).serve_connection(stream, service).await
    } else {
        http1::Builder::new().serve_connection(stream, service).await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// An error breaks the connection, or its stream: that is what a lost answer looks like.
async fn answer(clusters: Arc<Clusters>, request: Request<Incoming>) -> Result<Answer, BoxError> {
    let (mut parts, body) = request.into_parts();
    let Some((name, rest)) = route(&parts.uri) else { return Ok(refuse(StatusCode::NOT_FOUND)) };
    let Some(faults) = clusters.faults.get(&name) else { return Ok(refuse(StatusCode::NOT_FOUND)) };
    parts.uri = rest;
    let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
        return Ok(refuse(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let tapped = Tapped { cluster: clusters.fleet.cluster(&name), tap: clusters.tap.get().cloned() };
    let service = Faulty::new(tapped, faults.clone());
    service.oneshot(Request::from_parts(parts, body.to_bytes())).await
}

/// A cluster, and who is told what it is asked.
#[derive(Clone)]
struct Tapped {
    cluster: Cluster,
    tap: Option<Tap>,
}

impl Service<Request<Bytes>> for Tapped {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let Some(tap) = &self.tap else { return std::future::ready(Ok(self.cluster.handle(request))) };
        let answer = self.cluster.handle(request.clone());
        tap(self.cluster.name(), &request, answer.status());
        std::future::ready(Ok(answer))
    }
}

fn refuse(code: StatusCode) -> Answer {
    let mut response =
        Response::new(faults::Body::whole(Bytes::from_static(b"there is no such cluster here\n")));
    *response.status_mut() = code;
    response
}

/// `/clusters/<name>/api/...` as the name, and what its cluster is asked.
fn route(uri: &Uri) -> Option<(String, Uri)> {
    let text = uri.path_and_query()?.as_str().strip_prefix("/clusters/")?;
    let (name, rest) = text.split_once('/')?;
    Some((name.to_owned(), format!("/{rest}").parse().ok()?))
}

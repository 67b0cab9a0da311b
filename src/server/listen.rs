//! Listeners and connections.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::access::{Way, user_name};
use super::api::{self, App, Parts};
use super::patience::Patient;
use super::places::{Place, Places};
use super::settings::Settings;
use super::tokens::{TokenFileError, Tokens};

/// A request's head is smaller than this.
const MAX_HEAD: usize = 32 * 1024;
/// A connection that has lasted too long gets no further request. Its last answer may take this long beyond an event
/// stream's own longest time: more than a plan takes.
const LAST_ANSWER: Duration = Duration::from_secs(360);
/// How long requests under way may take when the server is told to end.
const GRACE: Duration = Duration::from_secs(3);
/// Wait after a failure to accept, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "the server would be open to others on {0} without a token file; set one, or listen on 127.0.0.1"
    )]
    NeedsTokens(SocketAddr),
    #[error("the token file is not usable")]
    Tokens(#[from] TokenFileError),
    #[error("cannot listen on {address}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot listen on the socket {}", .path.display())]
    Socket { path: PathBuf, source: io::Error },
}

/// Listens already; answers when [`Server::run`] runs.
pub struct Server {
    tcp: Option<Tcp>,
    unix: Option<(UnixListener, PathBuf)>,
    router: Router,
    /// Ends event streams.
    stop: CancellationToken,
    limits: Limits,
}

/// How long connections may take.
#[derive(Clone, Copy)]
struct Limits {
    head: Duration,
    write: Duration,
    longest: Duration,
}

impl Server {
    /// Binds the listeners. The caller holds the state folder's lock: a socket file that is there is a left-over.
    pub async fn bind(settings: Settings, parts: Parts) -> Result<Self, ServerError> {
        let tokens = settings.tokens.as_deref().map(Tokens::open).transpose()?.map(Arc::new);
        let way =
            |address| if settings.behind_proxy || !is_loopback(address) { Way::Open } else { Way::Loopback };
        if let Some(address) = settings.listen.filter(|a| way(*a) == Way::Open && tokens.is_none()) {
            return Err(ServerError::NeedsTokens(address));
        }
        let tcp = match settings.listen {
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                let listener = listener.map_err(|source| ServerError::Bind { address, source })?;
                Some(Tcp { listener, way: way(address) })
            }
            None => None,
        };
        let unix = match settings.socket {
            Some(path) => match bind_private(&path) {
                Ok(listener) => Some((listener, path)),
                Err(source) => return Err(ServerError::Socket { path, source }),
            },
            None => None,
        };
        let stop = CancellationToken::new();
        let limits =
            Limits { head: settings.head_timeout, write: settings.write_timeout, longest: settings.longest };
        let app =
            App::new(parts, stop.clone(), settings.request_timeout, settings.plan_timeout, limits.longest);
        let router = api::router(app, tokens.as_ref());
        Ok(Self { tcp, unix, router, stop, limits })
    }

    /// The TCP address, with the port that was chosen for port 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.listener.local_addr().ok())
    }

    /// Serves until `stop`; back at most 4 s after it.
    pub async fn run(self, stop: CancellationToken) {
        // Dropped with this future: open streams end, however it ends.
        let streams = self.stop.clone().drop_guard();
        let Self { router, stop: ended, limits, .. } = self;
        let connections = Connections { router, stop: ended, limits };
        let mut listeners = JoinSet::new();
        if let Some(tcp) = self.tcp {
            tracing::info!(address = ?tcp.listener.local_addr().ok(), "listening");
            listeners.spawn(connections.clone().serve(tcp));
        }
        let path = self.unix.as_ref().map(|(_, path)| path.clone());
        if let Some((listener, path)) = self.unix {
            tracing::info!(socket = %path.display(), "listening");
            listeners.spawn(connections.serve(listener));
        }
        stop.cancelled().await;
        drop(streams);
        let ended = async { while listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("requests still under way are cut off");
        }
        listeners.shutdown().await;
        if let Some(path) = path
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::debug!(socket = %path.display(), %error, "cannot remove the socket");
        }
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Binds a socket that is never open to others, not for a moment: in a private folder, then moved to its place.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
        }
        _ => {}
    }
    // Shorter than the socket's own name: the path of a socket may have 107 bytes.
    let folder = path.with_file_name(".s");
    let temporary = folder.join("s");
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left over from a process that was killed here.
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
            match std::fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        other => other?,
    }
    let listener = UnixListener::bind(&temporary)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&temporary, path)?;
    std::fs::remove_dir(&folder)?;
    Ok(listener)
}

/// A TCP listener, and what may be thought of those who come.
struct Tcp {
    listener: TcpListener,
    way: Way,
}

/// Gives connections with the way that they came.
trait Listener: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// With the address of the peer, if it has one.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Way, Option<IpAddr>)>> + Send;
}

impl Listener for Tcp {
    type Stream = TcpStream;
    async fn accept(&self) -> io::Result<(TcpStream, Way, Option<IpAddr>)> {
        let (stream, peer) = self.listener.accept().await?;
        // Only costs latency where it fails.
        let _slower = stream.set_nodelay(true);
        Ok((stream, self.way.clone(), Some(peer.ip())))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    async fn accept(&self) -> io::Result<(UnixStream, Way, Option<IpAddr>)> {
        let (stream, _) = UnixListener::accept(self).await?;
        let user = user_name(stream.peer_cred()?.uid());
        Ok((stream, Way::Socket { user }, None))
    }
}

#[derive(Clone)]
struct Connections {
    router: Router,
    stop: CancellationToken,
    limits: Limits,
}

impl Connections {
    async fn serve(self, listener: impl Listener) {
        let places = Arc::<Places>::default();
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(_) = open.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, way, from)) => {
                        open.spawn(self.clone().connection(stream, way, places.take(from)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        while open.join_next().await.is_some() {}
    }

    async fn connection<S>(self, stream: S, way: Way, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, held, limits) = (self.router, place.clone(), self.limits);
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (router, way, place) = (router.clone(), way.clone(), held.clone());
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(way);
                request.extensions_mut().insert(place);
                router.oneshot(request).await.map_err(|e: Infallible| e)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(Patient::new(stream, limits.write)), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = place.lost() => return,
            () = tokio::time::sleep(limits.longest) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = place.lost() => return,
                    () = tokio::time::sleep(limits.longest + LAST_ANSWER) => return,
                }
            }
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }
}

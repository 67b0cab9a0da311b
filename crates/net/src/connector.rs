//! Makes connections: TCP, a proxy if there is one for the address, and TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use super::failure::{ConnectFailure, Failed, tcp_failure, tls_failure};
use super::proxy::{Kind, Proxy, Route};
use super::trust::{self, Trust};
use super::{socks, tunnel};

/// Until when TCP must stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a proxy's part, and for TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// What may be spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    Http1,
    /// The server chooses.
    Http1And2,
}

/// Makes connections for an HTTP client of hyper's. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector,
    route: Route,
    tls: Arc<ClientConfig>,
    trust: Arc<str>,
    /// Asked for and checked instead of the host.
    name: Option<ServerName<'static>>,
    plain: bool,
}

impl Connector {
    /// Connects over TLS.
    pub fn new(route: Route, trust: Trust, protocols: Protocols) -> Self {
        let tcp = tcp();
        let Trust { mut config, described } = trust;
        config.alpn_protocols = match protocols {
            Protocols::Http1 => vec![b"http/1.1".to_vec()],
            Protocols::Http1And2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Self { tcp, route, tls: Arc::new(config), trust: described.into(), name: None, plain: false }
    }

    /// Asks a silent peer whether it is there.
    #[must_use]
    pub fn keep_alive(mut self, after: Duration) -> Self {
        self.tcp.set_keepalive(Some(after));
        self
    }

    /// Asks for the certificate of another name than the address's host.
    #[must_use]
    pub fn server_name(self, name: Option<ServerName<'static>>) -> Self {
        Self { name, ..self }
    }

    /// Connects to `http://` addresses, too: for a client that asks one host only, which may do without encryption.
    #[must_use]
    pub fn allow_plain(self, plain: bool) -> Self {
        Self { plain, ..self }
    }

    async fn connect(self, to: Uri) -> Result<Stream, ConnectFailure> {
        let tls = match to.scheme_str() {
            Some("https") => true,
            Some("http") if self.plain => false,
            _ => {
                return Err(ConnectFailure::new(
                    Failed::Unreachable,
                    format!("{to} is not an https:// address"),
                ));
            }
        };
        let host = to.host().unwrap_or_default().to_owned();
        let port = to.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let wire = match self.route.of(&to)? {
            None => Box::new(self.clone().dial(to, None).await?) as Wire,
            Some(proxy) => {
                let label = format!("the proxy {proxy}");
                let reached = self.clone().through(proxy, to, port);
                in_time(reached, HANDSHAKE_TIMEOUT + CONNECT_TIMEOUT, &label).await?
            }
        };
        if !tls {
            return Ok(Stream { io: wire, http2: false });
        }
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(&host)?,
        };
        let handshake = async {
            let stream = TlsConnector::from(self.tls).connect(name, wire).await;
            stream.map_err(|error| tls_failure(&error, &format!("{host}:{port}"), &self.trust))
        };
        let what = format!("{host}:{port} during the TLS handshake");
        let stream = in_time(handshake, HANDSHAKE_TIMEOUT, &what).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Stream { io: Box::new(stream), http2 })
    }

    /// TCP, to an address or to a proxy.
    async fn dial(mut self, to: Uri, proxy: Option<&Proxy>) -> Result<TcpStream, ConnectFailure> {
        let port = to.port_u16().unwrap_or(if to.scheme_str() == Some("https") { 443 } else { 80 });
        let place = match proxy {
            Some(proxy) => format!("the proxy {proxy}"),
            None => format!("{}:{port}", to.host().unwrap_or_default()),
        };
        let dialed = self.tcp.call(to).await;
        Ok(dialed.map_err(|error| tcp_failure(&error, &place, proxy.is_some()))?.into_inner())
    }

    async fn through(self, proxy: Proxy, to: Uri, port: u16) -> Result<Wire, ConnectFailure> {
        let mut tcp = self.dial(proxy.uri()?, Some(&proxy)).await?;
        match proxy.kind {
            Kind::Http => tunnel::open(&mut tcp, &proxy, &to, port).await?,
            Kind::Socks5 => socks::open(&mut tcp, &proxy, &to, port).await?,
            Kind::Https => return over_tls(tcp, &proxy, &to, port).await,
        }
        Ok(Box::new(tcp))
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // Without it HTTP/2 waits out delayed acknowledgements, 40 ms each.
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp
}

/// A bare TCP connection to a host, for protocols that are encrypted in their own way; never through a proxy.
///
/// `host`: a name or an address, an IPv6 address without brackets.
///
/// # Errors
/// There is no such host, or it does not answer in time.
pub async fn dial(host: &str, port: u16, keep_alive: Duration) -> Result<TcpStream, ConnectFailure> {
    let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let address = format!("http://{place}/").parse::<Uri>();
    let address = address
        .map_err(|_| ConnectFailure::new(Failed::Unreachable, format!("{place} is not an address")))?;
    let mut tcp = tcp();
    tcp.set_keepalive(Some(keep_alive));
    let dialed = tcp.call(address).await;
    Ok(dialed.map_err(|error| tcp_failure(&error, &place, false))?.into_inner())
}

/// A tunnel through a proxy that is spoken to over TLS.
async fn over_tls(tcp: TcpStream, proxy: &Proxy, to: &Uri, port: u16) -> Result<Wire, ConnectFailure> {
    // Never with a client's certificate, which is for the server behind it.
    let system = Trust::system().map_err(|error| ConnectFailure::new(Failed::Proxy, error.to_string()))?;
    let tls = TlsConnector::from(Arc::new(system.config)).connect(server_name(&proxy.host)?, tcp).await;
    let mut stream = tls.map_err(|error| {
        let failure = tls_failure(&error, &format!("the proxy {proxy}"), trust::OF_SYSTEM);
        ConnectFailure { kind: Failed::Proxy, ..failure }
    })?;
    tunnel::open(&mut stream, proxy, to, port).await?;
    Ok(Box::new(stream))
}

fn server_name(host: &str) -> Result<ServerName<'static>, ConnectFailure> {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(host.trim_end_matches('.').to_owned());
    name.map_err(|_| {
        ConnectFailure::new(
            Failed::Unreachable,
            format!("'{host}' is not a name that a certificate can be for"),
        )
    })
}

async fn in_time<T>(
    step: impl Future<Output = Result<T, ConnectFailure>>,
    limit: Duration,
    what: &str,
) -> Result<T, ConnectFailure> {
    tokio::time::timeout(limit, step).await.unwrap_or_else(|_| {
        let text = format!("no answer of {what} within {} s", limit.as_secs());
        Err(ConnectFailure::new(Failed::Timeout, text))
    })
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectFailure;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectFailure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { Ok(TokioIo::new(connector.connect(to).await?)) })
    }
}

/// Bytes in both directions, whatever is below.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Wire = Box<dyn Duplex>;

/// A connection.
pub struct Stream {
    io: Wire,
    http2: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

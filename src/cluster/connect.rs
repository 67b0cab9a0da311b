//! How a target's name becomes a connection.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connect, HttpConnector, proxy::Tunnel};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use tower::{BoxError, ServiceBuilder};

use super::coarse::CoarseTimer;
use super::credentials::{ConnectError, read_kubeconfig};
use super::lanes::Lanes;
use super::observe::{ObserveLayer, RequestObserver};
use crate::model::name::TargetName;

/// Until when a TCP connection must stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long a silence an HTTP/2 connection is asked whether it lives, also when idle; as API clients in Go do.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Until when it must answer, as there; then every stream on it fails and is started anew on another.
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes connections to targets.
pub trait Connector: Send + Sync + 'static {
    /// A new client for a target, with the credentials of this moment.
    fn connect(&self, target: &TargetName) -> BoxFuture<'static, Result<kube::Client, ConnectError>>;
    /// Changes when the target's credentials should be read again.
    fn stamp(&self, target: &TargetName) -> Option<u64>;
}

/// A folder of kubeconfig files, `<target name>.yaml`.
#[derive(Clone)]
pub struct KubeconfigFolder {
    directory: PathBuf,
    trusted: bool,
    observer: Option<RequestObserver>,
}

impl KubeconfigFolder {
    /// `trusted` allows what runs programs, reads files or weakens TLS.
    pub fn new(directory: impl Into<PathBuf>, trusted: bool) -> Self {
        Self { directory: directory.into(), trusted, observer: None }
    }

    /// Tells `observer` of every request to these clusters.
    #[must_use]
    pub fn observed(self, observer: RequestObserver) -> Self {
        Self { observer: Some(observer), ..self }
    }

    fn path(&self, target: &TargetName) -> PathBuf {
        // A target's name is a DNS label: it can't leave the folder.
        self.directory.join(format!("{target}.yaml"))
    }

    /// Whether there is a file for the target.
    pub fn knows(&self, target: &TargetName) -> bool {
        self.path(target).exists()
    }
}

impl Connector for KubeconfigFolder {
    fn connect(&self, target: &TargetName) -> BoxFuture<'static, Result<kube::Client, ConnectError>> {
        let (path, trusted, target) = (self.path(target), self.trusted, target.clone());
        let observer = self.observer.clone();
        Box::pin(async move {
            let config = match read_kubeconfig(&path, trusted).await {
                Err(ConnectError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    return Err(ConnectError::UnknownTarget(target));
                }
                other => other?,
            };
            client(&config, &path, observer)
        })
    }

    fn stamp(&self, target: &TargetName) -> Option<u64> {
        let meta = std::fs::metadata(self.path(target)).ok()?;
        let mut hasher = DefaultHasher::new();
        (meta.modified().ok()?, meta.len()).hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// Several sources of clusters: the first that knows a target's name wins.
pub struct FirstOf(pub Vec<Box<dyn Connector>>);

impl Connector for FirstOf {
    fn connect(&self, target: &TargetName) -> BoxFuture<'static, Result<kube::Client, ConnectError>> {
        let attempts: Vec<_> = self.0.iter().map(|connector| connector.connect(target)).collect();
        let target = target.clone();
        Box::pin(async move {
            for attempt in attempts {
                match attempt.await {
                    Err(ConnectError::UnknownTarget(_)) => {}
                    other => return other,
                }
            }
            Err(ConnectError::UnknownTarget(target))
        })
    }

    fn stamp(&self, target: &TargetName) -> Option<u64> {
        self.0.iter().find_map(|connector| connector.stamp(target))
    }
}

/// A client whose requests share one HTTP/2 connection (see [`Lanes`]) if the server speaks it, else HTTP/1.1.
pub(super) fn client(
    config: &kube::Config,
    path: &Path,
    observer: Option<RequestObserver>,
) -> Result<kube::Client, ConnectError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    // Without it HTTP/2 waits out delayed acknowledgements, 40 ms each.
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    http.set_keepalive(Some(PING_EVERY));
    let Some(proxy) = config.proxy_url.clone() else {
        return with_tls(config, path, http, observer);
    };
    let refuse = |reason: &str| ConnectError::Proxy { path: path.to_owned(), reason: reason.to_owned() };
    match proxy.scheme_str() {
        Some("http") => with_tls(config, path, through(&proxy, http).map_err(refuse)?, observer),
        Some("socks5") => {
            let socks = hyper_util::client::legacy::connect::proxy::SocksV5::new(proxy, http);
            with_tls(config, path, socks, observer)
        }
        _ => Err(refuse("only http:// and socks5:// proxies")),
    }
}

fn through(proxy: &Uri, http: HttpConnector) -> Result<Tunnel<HttpConnector>, &'static str> {
    let mut parts = proxy.clone().into_parts();
    let authority = parts.authority.as_ref().map(ToString::to_string).unwrap_or_default();
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok(Tunnel::new(proxy.clone(), http));
    };
    parts.authority = Some(host.parse().map_err(|_| "not a host")?);
    let address = Uri::from_parts(parts).map_err(|_| "not an address")?;
    let value = format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, user));
    let mut value = http::HeaderValue::from_str(&value).map_err(|_| "not a user")?;
    value.set_sensitive(true);
    Ok(Tunnel::new(address, http).with_auth(value))
}

fn with_tls<C>(
    config: &kube::Config,
    path: &Path,
    connector: C,
    observer: Option<RequestObserver>,
) -> Result<kube::Client, ConnectError>
where
    C: tower::Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper::rt::Read + hyper::rt::Write + legacy::connect::Connection + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
    hyper_rustls::HttpsConnector<C>: Connect + Clone + Send + Sync + 'static,
{
    let failed = |source| ConnectError::Client { path: path.to_owned(), source: Box::new(source) };
    let tls = config.rustls_client_config().map_err(failed)?;
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let builder = match &config.tls_server_name {
        Some(name) => {
            let name = name.clone().try_into().map_err(|_| ConnectError::KubeconfigRejected {
                path: path.to_owned(),
                field: "tls-server-name",
            })?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
        None => builder,
    };
    let https = builder.enable_http1().enable_http2().wrap_connector(connector);
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .timer(CoarseTimer)
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        // The window that API clients in Go use; hyper's own would be adapted for every connection.
        .http2_initial_stream_window_size(1 << 20)
        .http2_initial_connection_window_size(4 << 20);
    let transport = Lanes::new(move || builder.build::<_, Body>(https.clone()));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(failed)?)
        .map_err(BoxError::from)
        .layer(ObserveLayer(observer))
        .service(transport);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

//! How a target's name becomes a connection.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use tower::{BoxError, ServiceBuilder};
use tracing::warn;

use super::coarse::CoarseTimer;
use super::credentials::{Access, ConnectError, read_kubeconfig};
use super::lanes::Lanes;
use super::observe::{ObserveLayer, RequestObserver};
use fairlead_core::model::name::TargetName;
use fairlead_net::Protocols;

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
            let others = passed_over(&path);
            let access = match read_kubeconfig(&path, trusted).await {
                Err(ConnectError::Read { path: missing, source })
                    if missing == path && source.kind() == std::io::ErrorKind::NotFound =>
                {
                    return Err(ConnectError::UnknownTarget { target, passed_over: others });
                }
                other => other?,
            };
            for other in others {
                warn!(file = %other.display(), used = %path.display(), "a kubeconfig is passed over: only <target>.yaml is read");
            }
            client(access, &path, observer)
        })
    }

    fn stamp(&self, target: &TargetName) -> Option<u64> {
        let meta = std::fs::metadata(self.path(target)).ok()?;
        let mut hasher = DefaultHasher::new();
        (meta.modified().ok()?, meta.len()).hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// Files beside a kubeconfig that look as if they were meant for the same target.
fn passed_over(path: &Path) -> Vec<PathBuf> {
    let (folder, Some(target)) = (path.parent().unwrap_or(Path::new("")), path.file_stem()) else {
        return Vec::new();
    };
    let target = target.to_string_lossy();
    let others = OTHER_ENDS.iter().map(|end| folder.join(format!("{target}{end}")));
    others.filter(|other| other.is_file()).collect()
}

/// How people end the names of kubeconfigs, beside `.yaml`.
const OTHER_ENDS: [&str; 8] =
    ["", ".yml", ".json", ".kubeconfig", ".conf", ".YAML", ".kubeconfig.yaml", "-kubeconfig.yaml"];

/// Several sources of clusters: the first that knows a target's name wins.
pub struct FirstOf(pub Vec<Box<dyn Connector>>);

impl Connector for FirstOf {
    fn connect(&self, target: &TargetName) -> BoxFuture<'static, Result<kube::Client, ConnectError>> {
        let attempts: Vec<_> = self.0.iter().map(|connector| connector.connect(target)).collect();
        let target = target.clone();
        Box::pin(async move {
            let mut all = Vec::new();
            for attempt in attempts {
                match attempt.await {
                    Err(ConnectError::UnknownTarget { passed_over, .. }) => all.extend(passed_over),
                    other => return other,
                }
            }
            Err(ConnectError::UnknownTarget { target, passed_over: all })
        })
    }

    fn stamp(&self, target: &TargetName) -> Option<u64> {
        self.0.iter().find_map(|connector| connector.stamp(target))
    }
}

/// A client whose requests share one HTTP/2 connection (see [`Lanes`]) if the server speaks it, else HTTP/1.1.
pub(super) fn client(
    access: Access,
    path: &Path,
    observer: Option<RequestObserver>,
) -> Result<kube::Client, ConnectError> {
    let Access { config, trust, server_name, route } = access;
    let failed = |field: &'static str| {
        move |error: kube::Error| ConnectError::KubeconfigInvalid {
            path: path.to_owned(),
            what: format!("{field} can't be used: {}", super::text::chain(&error)),
        }
    };
    // Only a trusted file may name an http:// address.
    let plain = config.cluster_url.scheme_str() == Some("http");
    let connector = fairlead_net::Connector::new(route, trust, Protocols::Http1And2)
        .keep_alive(PING_EVERY)
        .server_name(server_name)
        .allow_plain(plain);
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
    let transport = Lanes::new(move || builder.build::<_, Body>(connector.clone()));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer().map_err(failed("what the user acts as"))?)
        .option_layer(config.auth_layer().map_err(failed("the user's credentials"))?)
        .map_err(worded)
        .layer(ObserveLayer(observer))
        .service(transport);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// Why there is no connection, in words; other errors as they are.
fn worded(error: legacy::Error) -> BoxError {
    match fairlead_net::connect_failure_of(&error) {
        Some(failure) => failure.clone().into(),
        None => error.into(),
    }
}

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where the server listens, and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// TCP. Beyond loopback only with `tokens`. None: no TCP.
    pub listen: Option<SocketAddr>,
    /// The Unix socket, mode 0600; a file that is left over from before is replaced. None: no socket.
    pub socket: Option<PathBuf>,
    /// Whether a proxy on this machine lets others in: then a loopback address is no better than any other, and needs
    /// `tokens` too. Default: false.
    pub behind_proxy: bool,
    /// File with a line `name:token` for each caller; read again when it changed. `#` begins a comment line.
    pub tokens: Option<PathBuf>,
    /// How long a peer may take to send a request's head, and how long an idle connection stays. Default: 10 s.
    pub head_timeout: Duration,
    /// How long a peer may take nothing of an answer that waits for it. Default: 10 s.
    pub write_timeout: Duration,
    /// How long a connection or an event stream may stay, busy or not. Default: 1 h.
    pub longest: Duration,
    /// How long reading a body and answering may take. Default: 30 s.
    pub request_timeout: Duration,
    /// The same for plans, which may ask clusters. Default: 5 min.
    pub plan_timeout: Duration,
}

/// The address of `server.listen` unless set.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8420);

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: Some(DEFAULT_LISTEN),
            socket: None,
            behind_proxy: false,
            tokens: None,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            longest: Duration::from_secs(3_600),
            request_timeout: Duration::from_secs(30),
            plan_timeout: Duration::from_secs(300),
        }
    }
}

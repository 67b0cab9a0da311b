//! Which connection goes through which proxy.
//!
//! A kubeconfig's `proxy-url` counts alone for its cluster, as in kubectl. Everything else is said by the environment:
//! `HTTPS_PROXY`, else `ALL_PROXY`, for `https://` addresses; `HTTP_PROXY`, else `ALL_PROXY`, for `http://` ones; but not
//! for what `NO_PROXY` names. Each may be written in lower case; of two, the first that is not empty counts, upper case
//! before lower case.

use std::fmt;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use percent_encoding::percent_decode_str;

use super::failure::{ConnectFailure, Failed};
use super::no_proxy::NoProxy;

/// What the environment of this process says.
static OF_PROCESS: LazyLock<Arc<Proxies>> =
    LazyLock::new(|| Arc::new(Proxies::read(|name| std::env::var(name).ok())));

/// A proxy. No `Debug`, and its text is without login: it may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Who names it: a variable, or a kubeconfig's field.
    named: Arc<str>,
    pub(super) kind: Kind,
    /// An IPv6 address has brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: Option<Login>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    /// Spoken to over TLS.
    Https,
    Socks5,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl Login {
    /// The value of `Proxy-Authorization`.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// `10.0.0.1:3128 (HTTPS_PROXY)`
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({})", self.host, self.port, self.named)
    }
}

impl Proxy {
    /// Reads an address; one without a scheme is an `http://` one. `named`: who says so, for errors, e.g. `HTTPS_PROXY`.
    ///
    /// # Errors
    /// The address is none, or of a kind that is not spoken.
    pub fn read(named: &str, text: &str) -> Result<Self, ConnectFailure> {
        let refused = |what: String| ConnectFailure::new(Failed::Proxy, format!("{named} {what}"));
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("http".to_owned(), text.trim_start_matches('/')),
        };
        let (kind, port) = match &*scheme {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => {
                let scheme: String = scheme.chars().filter(char::is_ascii_graphic).take(20).collect();
                let text = format!(
                    "names a proxy of the kind '{scheme}', which is not supported; http://, https:// and socks5:// are"
                );
                return Err(refused(text));
            }
        };
        // The last '@': a password may hold one, and a '/' too.
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, rest),
        };
        let address = address.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = host_port(address, port).ok_or_else(|| {
            refused("is not a proxy's address; it is written as http://host:port".to_owned())
        })?;
        let login = login.filter(|login| !login.is_empty()).map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            Login { user: decoded(user), password: decoded(password) }
        });
        Ok(Self { named: named.into(), kind, host, port, login })
    }

    /// The address that is connected to.
    pub(super) fn uri(&self) -> Result<Uri, ConnectFailure> {
        let uri = format!("http://{}:{}/", self.host, self.port).parse();
        uri.map_err(|_| ConnectFailure::new(Failed::Proxy, format!("the proxy {self} has no address")))
    }
}

fn host_port(address: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match address.rfind(']') {
        Some(end) => (&address[..=end], &address[end + 1..]),
        None => match address.find(':') {
            Some(colon) => address.split_at(colon),
            None => (address, ""),
        },
    };
    let port = match port.strip_prefix(':') {
        Some("") => default,
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None if port.is_empty() => default,
        None => return None,
    };
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => drop(inner.parse::<std::net::Ipv6Addr>().ok()?),
        None => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if host.is_empty() || !host.chars().all(plain) {
                return None;
            }
        }
    }
    Some((host.to_ascii_lowercase(), port))
}

/// What an environment says of proxies. A value that can't be used is an error for the connections that it is for.
pub struct Proxies {
    https: Option<Result<Proxy, ConnectFailure>>,
    http: Option<Result<Proxy, ConnectFailure>>,
    none_for: NoProxy,
}

impl Proxies {
    /// Those of this process, as they were when first asked for.
    pub fn of_process() -> Arc<Self> {
        Arc::clone(&OF_PROCESS)
    }

    /// `variable` gives the value of a variable.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            let mut set = names.iter().filter_map(|name| Some((*name, variable(name)?)));
            set.find(|(_, value)| !value.trim().is_empty())
        };
        let proxy = |names: &[&'static str]| first(names).map(|(name, value)| Proxy::read(name, &value));
        Self {
            https: proxy(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            http: proxy(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            none_for: NoProxy::read(
                &first(&["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default(),
            ),
        }
    }

    /// The proxy for an address.
    ///
    /// # Errors
    /// The variable that counts names none that can be used.
    pub fn of(&self, address: &Uri) -> Result<Option<Proxy>, ConnectFailure> {
        let (proxy, port) = match address.scheme_str() {
            Some("http") => (&self.http, 80),
            _ => (&self.https, 443),
        };
        let host = address.host().unwrap_or_default();
        match proxy {
            Some(_) if self.none_for.matches(host, address.port_u16().unwrap_or(port)) => Ok(None),
            Some(proxy) => proxy.clone().map(Some),
            None => Ok(None),
        }
    }
}

/// How a connector finds the proxy of an address.
#[derive(Clone)]
pub enum Route {
    /// As the environment says.
    Environment(Arc<Proxies>),
    /// Always through this one.
    Through(Proxy),
}

impl Route {
    /// As the environment of this process says.
    pub fn of_process() -> Self {
        Self::Environment(Proxies::of_process())
    }

    pub(super) fn of(&self, address: &Uri) -> Result<Option<Proxy>, ConnectFailure> {
        match self {
            Self::Environment(proxies) => proxies.of(address),
            Self::Through(proxy) => Ok(Some(proxy.clone())),
        }
    }
}

//! Which addresses are reached without a proxy: what `NO_PROXY` says.
//!
//! The forms are those of curl and of Go's `x/net/http/httpproxy` together. The matcher of hyper-util knows no ports, no
//! brackets and no `*.`, and its `*` matches no IP address.

use std::net::IpAddr;

/// The entries of a `NO_PROXY`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    host: Host,
    /// None: any.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    All,
    Network(IpAddr, u8),
    /// The name itself, and every name below it; lower case, without dots at its ends.
    Domain(String),
}

impl NoProxy {
    /// Entries are separated by commas or white space. What is no entry matches nothing.
    pub(super) fn read(text: &str) -> Self {
        let entries = text.split(|c: char| c == ',' || c.is_whitespace());
        Self(entries.filter_map(Entry::read).collect())
    }

    /// `host`: as in a URL, an IPv6 address with or without brackets.
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        let host = bare(host);
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        self.0
            .iter()
            .any(|entry| entry.port.is_none_or(|wanted| wanted == port) && entry.host.matches(&host, address))
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self { host: Host::All, port: None });
        }
        if let Some(network) = network(&text) {
            return Some(Self { host: network, port: None });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (&*text, None),
        };
        if let Some(network) = network(name) {
            return Some(Self { host: network, port });
        }
        let name = name.strip_prefix('*').unwrap_or(name).trim_matches('.');
        (!name.is_empty()).then(|| Self { host: Host::Domain(name.to_owned()), port })
    }
}

impl Host {
    fn matches(&self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::All, _) => true,
            (Self::Network(network, length), Some(address)) => contains(*network, *length, address),
            // Whoever writes localhost means the addresses, too; no proxy could reach them.
            (Self::Domain(name), Some(address)) => name == "localhost" && address.is_loopback(),
            (Self::Domain(name), None) => {
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Self::Network(..), None) => false,
        }
    }
}

/// An address, in brackets or not, or a network as address/length.
fn network(text: &str) -> Option<Host> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(most);
    match (address.to_canonical(), length) {
        (_, length) if length > most => None,
        // An IPv4 network that is written as IPv6.
        (IpAddr::V4(v4), length) if address.is_ipv6() => {
            Some(Host::Network(v4.into(), length.checked_sub(96)?))
        }
        (address, length) => Some(Host::Network(address, length)),
    }
}

fn contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    let shifted = |bits: u128, all: u32| bits.checked_shr(all - u32::from(length)).unwrap_or(0);
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let bits = |address: std::net::Ipv4Addr| shifted(u128::from(u32::from(address)), 32);
            bits(network) == bits(address)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            shifted(network.into(), 128) == shifted(address.into(), 128)
        }
        _ => false,
    }
}

/// As hosts are compared: without brackets and without a dot at the end, in lower case.
fn bare(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.trim_end_matches('.').to_ascii_lowercase()
}

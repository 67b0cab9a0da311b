//! The address of a repository: what is allowed, and how it is shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::error::{RepoError, clean_to};

/// Longest URL; longer ones are no addresses.
const MAX_URL: usize = 2_048;

/// The address of a repository: https, ssh, a local path, or http where that is asked for. Never holds a credential, so it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryUrl(Arc<Address>);

/// Behind a pointer, because most errors of the room carry one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Address {
    text: String,
    place: Place,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Place {
    Local(PathBuf),
    /// `plain`: over http.
    Https {
        host: String,
        port: u16,
        plain: bool,
    },
    Ssh {
        host: String,
        port: u16,
        user: Option<String>,
        /// As the server's program gets it.
        path: String,
    },
}

impl RepositoryUrl {
    /// The folder, of a local repository.
    pub fn local(&self) -> Option<&Path> {
        match &self.0.place {
            Place::Local(path) => Some(path),
            _ => None,
        }
    }
    /// The host, of a remote repository; lower case.
    pub fn host(&self) -> Option<&str> {
        match &self.0.place {
            Place::Local(_) => None,
            Place::Https { host, .. } | Place::Ssh { host, .. } => Some(host),
        }
    }
    /// The port that is connected to, of a remote repository.
    pub fn port(&self) -> Option<u16> {
        match &self.0.place {
            Place::Local(_) => None,
            Place::Https { port, .. } | Place::Ssh { port, .. } => Some(*port),
        }
    }
    /// Whether it is spoken to without encryption.
    pub fn is_plain(&self) -> bool {
        matches!(self.0.place, Place::Https { plain: true, .. })
    }
    pub fn is_ssh(&self) -> bool {
        matches!(self.0.place, Place::Ssh { .. })
    }
    /// The user to log in as, of ssh.
    pub(super) fn user(&self) -> Option<&str> {
        match &self.0.place {
            Place::Ssh { user, .. } => user.as_deref(),
            _ => None,
        }
    }
    /// The repository's path on the server, of ssh, as Git sends it: `/~user` is the user's home.
    pub(super) fn ssh_path(&self) -> Option<String> {
        match &self.0.place {
            Place::Ssh { path, .. } => Some(path.clone()),
            _ => None,
        }
    }
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl From<RepositoryUrl> for String {
    fn from(url: RepositoryUrl) -> String {
        url.0.text.clone()
    }
}

impl TryFrom<String> for RepositoryUrl {
    type Error = RepoError;
    fn try_from(text: String) -> Result<Self, RepoError> {
        text.parse()
    }
}

impl FromStr for RepositoryUrl {
    type Err = RepoError;

    fn from_str(text: &str) -> Result<Self, RepoError> {
        Self::parse(text, false)
    }
}

impl RepositoryUrl {
    /// As [`str::parse`], which refuses `http://`.
    ///
    /// # Errors
    /// It is no address of a repository, or one that is not allowed.
    pub fn parse(text: &str, plain_http: bool) -> Result<Self, RepoError> {
        let refused = |reason: &str| RepoError::UrlNotAllowed { url: shown(text), reason: reason.to_owned() };
        if text.is_empty() || text.len() > MAX_URL {
            return Err(refused("it is empty or longer than 2048 bytes"));
        }
        if text.chars().any(|c| c.is_control()) || text.trim() != text {
            return Err(refused("it holds control characters, or spaces at an end"));
        }
        if text.starts_with('-') {
            return Err(refused("it begins with '-', which tools take for an option"));
        }
        let place = parse(text, plain_http).map_err(refused)?;
        Ok(Self(Arc::new(Address { text: text.to_owned(), place })))
    }
}

fn parse(text: &str, plain_http: bool) -> Result<Place, &'static str> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme.to_ascii_lowercase().as_str() {
            "https" => https(rest, false),
            "http" if plain_http => https(rest, true),
            "ssh" => ssh(rest),
            "file" => local(rest),
            "http" => Err(
                "it is not encrypted; use https or ssh, or set repository.plainHttp to true to let its content and \
                 the token go over the network unencrypted",
            ),
            "git" => Err("it is not encrypted; use https or ssh"),
            _ => Err("only https, ssh and local paths are allowed"),
        };
    }
    // git runs `git-remote-<name>` for `<name>::<address>`.
    let is_helper = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "+.-_".contains(c))
    };
    if text.split_once("::").is_some_and(|(name, _)| is_helper(name)) {
        return Err("remote helpers ('name::address') are not allowed");
    }
    match scp(text) {
        Some((authority, path)) => scp_form(authority, path),
        None => local(text),
    }
}

/// `[user@]host:path` is ssh when no slash comes before the first colon; a colon inside `[...]` is an address's.
fn scp(text: &str) -> Option<(&str, &str)> {
    let from = text.find(']').unwrap_or(0);
    let colon = from + text.get(from..)?.find(':')?;
    (!text[..colon].contains('/')).then(|| (&text[..colon], &text[colon + 1..]))
}

fn local(path: &str) -> Result<Place, &'static str> {
    if path.is_empty() { Err("it names no folder") } else { Ok(Place::Local(PathBuf::from(path))) }
}

fn https(rest: &str, plain: bool) -> Result<Place, &'static str> {
    let (authority, path) = rest.split_once('/').ok_or("it names no repository after the host")?;
    if authority.contains('@') {
        return Err("it holds a user or a secret; name a file with the token under 'credentials'");
    }
    if path.contains(['?', '#', '\\']) {
        return Err("'?', '#' and '\\' are not allowed in it");
    }
    let (host, port) = host_port(authority, if plain { 80 } else { 443 })?;
    non_empty_path(path)?;
    Ok(Place::Https { host, port, plain })
}

fn ssh(rest: &str) -> Result<Place, &'static str> {
    let (authority, path) = rest.split_once('/').ok_or("it names no repository after the host")?;
    let (user, address) = user_of(authority)?;
    let (host, port) = host_port(address, 22)?;
    non_empty_path(path)?;
    // Git takes `%20` for a space here, and not in `host:path`.
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| "its path is not UTF-8")?;
    if decoded.chars().any(char::is_control) {
        return Err("its path holds control characters");
    }
    non_empty_path(&decoded)?;
    let path = if decoded.starts_with('~') { decoded.into_owned() } else { format!("/{decoded}") };
    Ok(Place::Ssh { host, port, user, path })
}

fn scp_form(authority: &str, path: &str) -> Result<Place, &'static str> {
    let (user, host) = user_of(authority)?;
    let (host, port) = host_port(host, 22)?;
    non_empty_path(path)?;
    if path.split('/').next().is_some_and(|first| first.contains('@')) {
        return Err("it holds a password before '@'; name key files under 'credentials'");
    }
    // `host:/~user/x` is Git's other way to write `host:~user/x`.
    let path = path.strip_prefix('/').filter(|rest| rest.starts_with('~')).unwrap_or(path).to_owned();
    Ok(Place::Ssh { host, port, user, path })
}

fn non_empty_path(path: &str) -> Result<(), &'static str> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Err("it names no repository after the host");
    }
    // The far side passes the path to a command.
    if path.starts_with('-') { Err("its path begins with '-'") } else { Ok(()) }
}

fn user_of(authority: &str) -> Result<(Option<String>, &str), &'static str> {
    let Some((user, host)) = authority.rsplit_once('@') else { return Ok((None, authority)) };
    if user.contains(':') {
        return Err("it holds a password; name key files under 'credentials'");
    }
    // Some servers take mail addresses for users.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+@%".contains(c);
    let user = if user.chars().all(plain) { percent_decode_str(user).decode_utf8().ok() } else { None };
    let user = user.ok_or("its user is not a plain name")?;
    if user.is_empty() || user.starts_with('-') || user.chars().any(|c| c.is_control() || c == ':') {
        return Err("its user is not a plain name");
    }
    Ok((Some(user.into_owned()), host))
}

fn host_port(authority: &str, default: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or("its address lacks a ']'")?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| "between '[' and ']' is no IPv6 address")?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or("after ']' comes something that is no port")?),
            };
            (address, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) {
        return Err("its host is not a plain host name or address");
    }
    let port = match port {
        None => default,
        Some(port) => {
            port.parse::<u16>().ok().filter(|p| *p > 0).ok_or("its port is not a number from 1 to 65535")?
        }
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// A refused URL as it may stand in an error: without what may be a secret.
fn shown(text: &str) -> String {
    let hidden = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://***{}", &text[..scheme], &text[at..]),
        (None, Some(at)) => format!("***{}", &text[at..]),
        _ => text.to_owned(),
    };
    // A query may hold a token too.
    let hidden = match hidden.split_once('?') {
        Some((before, _)) => format!("{before}?***"),
        None => hidden,
    };
    format!("'{}'", clean_to(&hidden, 200))
}

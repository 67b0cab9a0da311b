//! The way to a remote repository: credentials, host keys, certificates, limits.

use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use git2::{ErrorClass, ErrorCode, RemoteCallbacks};
use http::HeaderValue;

use super::advertisement::{Advertisement, Shown};
use super::error::{RepoError, clean, is_disk_full};
use super::settings::{Access, Credentials, FetchLimits};
use super::ssh;
use super::ssh_key::Key;
use super::transport::{Cause, OnWay, Peer, Way};
use super::url::RepositoryUrl;
use fairlead_private::{self as private, Holds};

/// Larger files are no tokens, keys or lists of hosts.
const MAX_SECRET_FILE: u64 = 1 << 20;
/// The name that goes with a token; forges look at the token alone, GitHub's app tokens want just this.
const TOKEN_USER: &str = "x-access-token";

impl Access {
    /// Refuses what can never work, before anything is connected to.
    pub(super) fn check(&self) -> Result<(), RepoError> {
        let lacking = |reason: &str| {
            Err(RepoError::CredentialsMissing { url: self.url.clone(), reason: reason.to_owned() })
        };
        match (&self.credentials, self.url.local().is_some(), self.url.is_ssh()) {
            (_, true, _) | (None | Some(Credentials::Token { .. }), _, false) => Ok(()),
            (Some(Credentials::SshKey { .. }), _, true) => Ok(()),
            (Some(Credentials::SshKey { .. }), _, false) => {
                lacking("https takes a tokenFile, not an ssh key")
            }
            (_, _, true) => lacking("ssh takes an sshKeyFile and the pinned knownHostsFile"),
        }
    }

    /// Reads what this fetch needs.
    pub(super) fn prepare(&self) -> Result<Session, RepoError> {
        let (peer, used) = match &self.credentials {
            Some(Credentials::SshKey { key_file, known_hosts_file }) => {
                let user = self.url.user().unwrap_or("git").to_owned();
                let key = Key::read(&read_text(key_file, Holds::Secret)?).map_err(|problem| {
                    let reason = format!("it {problem}");
                    RepoError::CredentialFile { path: key_file.clone(), reason }
                })?;
                let used =
                    format!("the ssh key in {} ({}) for the user '{user}'", key_file.display(), key.shown());
                let known_hosts = read_text(known_hosts_file, Holds::Settings)?;
                (Peer::Ssh(Arc::new(ssh::Login { user, key, known_hosts })), used)
            }
            Some(Credentials::Token { file, user }) => {
                let user = user.as_deref().unwrap_or(TOKEN_USER);
                let authorization = Some(basic(file, user, &read_token(file)?)?);
                let used = format!("the token in {}", file.display());
                (Peer::Http { trust: Box::new(self.trust()?), authorization }, used)
            }
            None => {
                let used = "a request without credentials (the settings name none)".to_owned();
                (Peer::Http { trust: Box::new(self.trust()?), authorization: None }, used)
            }
        };
        Ok(Session { url: self.url.clone(), peer, used: clean(&used).into(), cause: Cause::default() })
    }

    fn trust(&self) -> Result<fairlead_net::Trust, RepoError> {
        fairlead_net::Trust::system_and(self.ca_file.as_deref()).map_err(|error| {
            let path = self.ca_file.clone().unwrap_or_default();
            RepoError::CredentialFile { path, reason: clean(&error.to_string()) }
        })
    }
}

/// The value of the header that shows a token.
fn basic(file: &Path, user: &str, token: &str) -> Result<HeaderValue, RepoError> {
    let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{user}:{token}"))));
    let mut value = value.map_err(|error| RepoError::CredentialFile {
        path: file.to_owned(),
        reason: clean(&error.to_string()),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// One connection's secrets, and what was found wrong with it. No `Debug`: it holds secrets.
pub(super) struct Session {
    url: RepositoryUrl,
    peer: Peer,
    used: Arc<str>,
    cause: Cause,
}

impl Session {
    /// Connections that this thread makes are this session's, until what is returned is dropped. Of the server's refs only
    /// what is `shown` comes to libgit2; to push, all do.
    pub(super) fn go(&self, limits: FetchLimits, shown: Option<Shown>) -> OnWay {
        let (url, peer, used) = (self.url.clone(), self.peer.clone(), Arc::clone(&self.used));
        let listing = shown.map(|shown| Arc::new(Mutex::new(Advertisement::new(shown))));
        OnWay::go(Way { url, peer, used, limits, cause: self.cause.clone(), listing })
    }

    pub(super) fn callbacks(&self, limits: FetchLimits) -> RemoteCallbacks<'static> {
        let mut callbacks = RemoteCallbacks::new();
        self.watch_limits(&mut callbacks, limits);
        callbacks
    }

    fn watch_limits(&self, callbacks: &mut RemoteCallbacks<'static>, limits: FetchLimits) {
        let (url, cause, began) = (self.url.clone(), self.cause.clone(), Instant::now());
        let check = move |received: u64| {
            let error = if received > limits.bytes {
                let what = url.to_string();
                RepoError::TooLarge { what, size: received, limit: limits.bytes }
            } else if began.elapsed() > limits.time {
                let reason = format!("the fetch took more than {} s", limits.time.as_secs());
                RepoError::Timeout { url: url.clone(), reason }
            } else {
                return true;
            };
            cause.set(error);
            false
        };
        let check = Rc::new(check);
        let progress = Rc::clone(&check);
        callbacks.transfer_progress(move |stats| progress(stats.received_bytes() as u64));
        callbacks.sideband_progress(move |_| check(0));
    }

    /// What an error of libgit2 on this connection means.
    pub(super) fn error(&self, error: &git2::Error) -> RepoError {
        if let Some(cause) = self.cause.take() {
            return cause;
        }
        let (url, reason) = (self.url.clone(), clean(error.message()));
        let says = |text: &str| reason.contains(text);
        match (error.code(), error.class()) {
            _ if is_disk_full(&reason) => RepoError::DiskFull { reason },
            (ErrorCode::Timeout, _) => RepoError::Timeout { url, reason },
            _ if says("timed out") || says("Timed out") || says("timeout") => {
                RepoError::Timeout { url, reason }
            }
            (_, ErrorClass::Indexer | ErrorClass::Zlib | ErrorClass::Sha1) => {
                RepoError::SourceCorrupt { url, what: reason }
            }
            (_, ErrorClass::Net | ErrorClass::Ssh | ErrorClass::Http | ErrorClass::Os) => {
                RepoError::Unreachable { url, reason }
            }
            (ErrorCode::Eof, _) => RepoError::Unreachable { url, reason },
            _ => RepoError::disk(format!("fetch {url}"), error),
        }
    }
}

fn read_text(file: &Path, holds: Holds) -> Result<String, RepoError> {
    let failed = |reason: String| RepoError::CredentialFile { path: file.to_owned(), reason };
    let bytes = private::read(file, holds, MAX_SECRET_FILE).map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| failed("it is not text".to_owned()))
}

fn read_token(file: &Path) -> Result<String, RepoError> {
    let failed =
        |reason: &str| RepoError::CredentialFile { path: file.to_owned(), reason: reason.to_owned() };
    let text = read_text(file, Holds::Secret)?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err(failed("its first line is empty"));
    }
    if token.chars().any(char::is_control) {
        return Err(failed("its first line holds control characters"));
    }
    Ok(token.to_owned())
}

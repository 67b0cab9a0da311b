//! The way to a remote repository: credentials, host keys, certificates, limits.

use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use git2::{CertificateCheckStatus, Cred, CredentialType, ErrorClass, ErrorCode, RemoteCallbacks};
use http::HeaderValue;

use super::advertisement::{Advertisement, Shown};
use super::error::{RepoError, clean, is_disk_full};
use super::https::{Cause, OnWay, Way};
use super::known_hosts::{Verdict, judge, pinned_types};
use super::settings::{Access, Credentials, FetchLimits};
use super::ssh::{self, Pins};
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
        let login = match &self.credentials {
            None => Login::None,
            Some(Credentials::Token { file, user }) => {
                let user = user.as_deref().unwrap_or(TOKEN_USER);
                Login::Token(basic(file, user, &read_token(file)?)?)
            }
            Some(Credentials::SshKey { key_file, known_hosts_file }) => {
                let user = self.url.user().unwrap_or("git").to_owned();
                let key = read_text(key_file)?;
                if let Some(problem) = ssh::key_problem(&key) {
                    let reason = format!("it {problem}");
                    return Err(RepoError::CredentialFile { path: key_file.clone(), reason });
                }
                Login::Ssh { user, key, known_hosts: read_text(known_hosts_file)? }
            }
        };
        let trust = fairlead_net::Trust::system_and(self.ca_file.as_deref()).map_err(|error| {
            let path = self.ca_file.clone().unwrap_or_default();
            RepoError::CredentialFile { path, reason: clean(&error.to_string()) }
        })?;
        Ok(Session { url: self.url.clone(), login: Rc::new(login), trust, cause: Cause::default() })
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

/// One connection's secrets, and what its callbacks found wrong. No `Debug`: it holds secrets.
pub(super) struct Session {
    url: RepositoryUrl,
    login: Rc<Login>,
    trust: fairlead_net::Trust,
    cause: Cause,
}

enum Login {
    None,
    /// What goes into the header.
    Token(HeaderValue),
    Ssh {
        user: String,
        key: String,
        known_hosts: String,
    },
}

impl Session {
    /// Connections over https that this thread makes are this session's, until what is returned is dropped. Of the
    /// server's refs only what is `shown` comes to libgit2; to push, all do.
    pub(super) fn go(&self, limits: FetchLimits, shown: Option<Shown>) -> OnWay {
        let authorization = match &*self.login {
            Login::Token(value) => Some(value.clone()),
            _ => None,
        };
        let (url, trust, cause) = (self.url.clone(), self.trust.clone(), self.cause.clone());
        let listing = shown.map(|shown| Arc::new(Mutex::new(Advertisement::new(shown))));
        OnWay::go(Way { url, authorization, trust, limits, cause, listing })
    }

    /// For a connection over ssh: asks for host keys of the pinned types alone. `beside` is the Git folder at work.
    pub(super) fn pins(&self, beside: &Path) -> Result<Option<Pins>, RepoError> {
        let Login::Ssh { known_hosts, .. } = &*self.login else { return Ok(None) };
        let (host, port) = (self.url.host().unwrap_or_default(), self.url.port().unwrap_or(22));
        Pins::set(beside, known_hosts, host, port).map(Some)
    }

    /// What the pinned types are, if a host has no key of any.
    fn no_common_key(&self, reason: &str) -> Option<RepoError> {
        let Login::Ssh { known_hosts, .. } = &*self.login else { return None };
        let host = self.url.host()?.to_owned();
        let types = pinned_types(known_hosts, &host, self.url.port().unwrap_or(22));
        let exchange = reason.contains("exchange encryption keys") || reason.contains("key exchange");
        (exchange && !types.is_empty()).then(|| {
            let reason =
                format!("it has no key of a type that knownHostsFile pins for it: {}", types.join(", "));
            RepoError::HostKeyMismatch { host, reason }
        })
    }

    pub(super) fn callbacks(&self, limits: FetchLimits) -> RemoteCallbacks<'static> {
        let mut callbacks = RemoteCallbacks::new();
        self.answer_logins(&mut callbacks);
        self.check_host_keys(&mut callbacks);
        self.watch_limits(&mut callbacks, limits);
        callbacks
    }

    /// Of ssh; over https every request shows its token.
    fn answer_logins(&self, callbacks: &mut RemoteCallbacks<'static>) {
        let (url, login, cause) = (self.url.clone(), Rc::clone(&self.login), self.cause.clone());
        let mut asked = false;
        callbacks.credentials(move |_, _, wanted| {
            let stop = |error: RepoError| {
                let text = error.to_string();
                cause.set(error);
                Err(git2::Error::from_str(&text))
            };
            let Login::Ssh { user, key, .. } = &*login else {
                let reason = "ssh takes an sshKeyFile and the pinned knownHostsFile".to_owned();
                return stop(RepoError::CredentialsMissing { url: url.clone(), reason });
            };
            if wanted.contains(CredentialType::USERNAME) {
                return Cred::username(user);
            }
            // libgit2 asks again and again when the answer is refused.
            if std::mem::replace(&mut asked, true) {
                return stop(RepoError::AuthenticationFailed { url: url.clone() });
            }
            if wanted.contains(CredentialType::SSH_MEMORY) {
                return Cred::ssh_key_from_memory(user, None, key, None);
            }
            let reason = "it takes no key".to_owned();
            stop(RepoError::CredentialsMissing { url: url.clone(), reason })
        });
    }

    fn check_host_keys(&self, callbacks: &mut RemoteCallbacks<'static>) {
        let (url, login, cause) = (self.url.clone(), Rc::clone(&self.login), self.cause.clone());
        callbacks.certificate_check(move |certificate, host| {
            let Login::Ssh { known_hosts, .. } = &*login else {
                return Ok(CertificateCheckStatus::CertificatePassthrough);
            };
            let key = certificate.as_hostkey().and_then(|key| key.hostkey()).unwrap_or_default();
            match host_key_problem(known_hosts, host, url.port().unwrap_or(22), key) {
                None => Ok(CertificateCheckStatus::CertificateOk),
                Some(reason) => {
                    let error = RepoError::HostKeyMismatch { host: clean(host), reason };
                    let text = error.to_string();
                    cause.set(error);
                    Err(git2::Error::new(ErrorCode::Certificate, ErrorClass::Ssh, text))
                }
            }
        });
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
        if let Some(error) = self.no_common_key(&reason) {
            return error;
        }
        let says = |text: &str| reason.contains(text);
        match (error.code(), error.class()) {
            _ if is_disk_full(&reason) => RepoError::DiskFull { reason },
            (ErrorCode::Timeout, _) => RepoError::Timeout { url, reason },
            _ if says("timed out") || says("Timed out") || says("timeout") => {
                RepoError::Timeout { url, reason }
            }
            (ErrorCode::Auth, _) => RepoError::AuthenticationFailed { url },
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

/// Why a host's key is not taken.
fn host_key_problem(known_hosts: &str, host: &str, port: u16, key: &[u8]) -> Option<String> {
    let shown = STANDARD_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, key));
    let shown = format!("it showed {} SHA256:{shown}", key_type(key));
    Some(match judge(known_hosts, host, port, key) {
        Verdict::Pinned => return None,
        Verdict::Revoked => format!("{shown}, which knownHostsFile revokes"),
        Verdict::UnknownHost => format!("{shown}, and knownHostsFile does not name the host"),
        Verdict::Other(types) => format!("{shown}, and knownHostsFile has {} for it", types.join(", ")),
    })
}

/// The type that stands at the head of a key in wire form.
fn key_type(key: &[u8]) -> String {
    let text = key
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?));
    clean(&String::from_utf8_lossy(text.unwrap_or(b"an unknown key")))
}

fn read_text(file: &Path) -> Result<String, RepoError> {
    let failed = |reason: String| RepoError::CredentialFile { path: file.to_owned(), reason };
    let bytes =
        private::read(file, Holds::Secret, MAX_SECRET_FILE).map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| failed("it is not text".to_owned()))
}

fn read_token(file: &Path) -> Result<String, RepoError> {
    let failed =
        |reason: &str| RepoError::CredentialFile { path: file.to_owned(), reason: reason.to_owned() };
    let text = read_text(file)?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err(failed("its first line is empty"));
    }
    if token.chars().any(char::is_control) {
        return Err(failed("its first line holds control characters"));
    }
    Ok(token.to_owned())
}

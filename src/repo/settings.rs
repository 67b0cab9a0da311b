//! What a mirror must know of its source.

use std::path::PathBuf;
use std::time::Duration;

use super::url::RepositoryUrl;

/// How to get at a remote repository. The files are read at every fetch, so rotating one needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// https: the file's first line is the token, sent as the password of `user`.
    Token {
        file: PathBuf,
        /// Forges take any name with a personal token; GitHub's app tokens want `x-access-token`.
        user: Option<String>,
    },
    /// ssh: a private key without a passphrase, and the host's key in OpenSSH's known_hosts format.
    SshKey { key_file: PathBuf, known_hosts_file: PathBuf },
}

/// What one fetch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes received; a fetch that goes beyond ends as `TooLarge`.
    pub bytes: u64,
    /// Time from connecting to the last object; `Timeout` beyond.
    pub time: Duration,
}

impl Default for FetchLimits {
    /// 2 GiB is twenty times what forges warn about; ten minutes is a first clone of that size at 30 Mbit/s.
    fn default() -> Self {
        Self { bytes: 2 << 30, time: Duration::from_secs(600) }
    }
}

/// A way to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub url: RepositoryUrl,
    /// `None` reads a public or a local repository.
    pub credentials: Option<Credentials>,
    /// PEM certificates that are trusted beside the system's; read at every fetch.
    pub ca_file: Option<PathBuf>,
}

/// What a mirror must know of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorSettings {
    pub access: Access,
    /// The watched branch, e.g. `main`.
    pub branch: String,
    pub limits: FetchLimits,
}

impl MirrorSettings {
    /// Without credentials, with the default limits.
    pub fn new(url: RepositoryUrl, branch: &str) -> Self {
        let access = Access { url, credentials: None, ca_file: None };
        Self { access, branch: branch.to_owned(), limits: FetchLimits::default() }
    }
}

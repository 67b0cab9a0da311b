//! The daemon's settings file.

use std::net::{AddrParseError, SocketAddr};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forge::ForgeSettings;
use crate::repo::{Access, Credentials, FetchLimits, MirrorSettings, RepoError, RepositoryUrl};
use crate::server;
use fairlead_core::catalog::{self, Folders};
use fairlead_core::model::diagnostic::{Diagnostic, Place};
use fairlead_core::model::name::InstanceName;
use fairlead_core::model::units::Span;
use fairlead_private::{self as private, Holds};

/// Larger files are no settings.
const MAX_FILE: u64 = 4 << 20;

/// The settings of `fairlead run --config`. Relative paths are relative to the file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Name of this installation. Two with different names can manage the same clusters without conflict. Default: default.
    #[serde(default)]
    pub instance: InstanceName,
    pub repository: RepositorySettings,
    /// How a target's name becomes a connection; the first that knows the name wins.
    pub clusters: Vec<ClusterSource>,
    /// The folder that holds mirror, cache and store.
    pub state: PathBuf,
    #[serde(default)]
    pub server: ServerSettings,
    /// The forge that the repository lives on: its webhooks, and where statuses and comments go.
    #[serde(default)]
    pub forge: Option<ForgeSettings>,
}

/// The fleet repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositorySettings {
    /// https, ssh, or a local path; http only with `plainHttp`.
    pub url: String,
    /// Let `url` be an `http://` address: content and token then go over the network unencrypted, to that host alone.
    /// Default: false.
    #[serde(default)]
    pub plain_http: bool,
    /// Default: main.
    #[serde(default = "main_branch")]
    pub branch: String,
    /// How often to fetch. A local repository is also watched. Default: 30s.
    #[serde(default = "half_a_minute")]
    pub poll: Span,
    #[serde(default)]
    pub credentials: Option<GitCredentials>,
    /// Certificates to trust for https, in PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    #[serde(default)]
    pub folders: Folders,
    /// Take a branch that was rewritten, a tag that moved, or a commit that the branch does not reach,
    /// without `fairlead accept`. Default: false.
    #[serde(default)]
    pub allow_rewrite: bool,
    /// How long reading a commit may take. One that takes longer is reported as unreadable and changes nothing; a newer
    /// one is read. Default: 120s.
    #[serde(default = "two_minutes")]
    pub read_timeout: Span,
}

/// Credentials for Git, never inline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitCredentials {
    /// For https: a file that holds the token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// For https: the user name beside the token. Default: git.
    #[serde(default)]
    pub username: Option<String>,
    /// For ssh: a private key without passphrase.
    #[serde(default)]
    pub ssh_key_file: Option<PathBuf>,
    /// For ssh: the server's pinned host keys.
    #[serde(default)]
    pub known_hosts_file: Option<PathBuf>,
}

/// One way to find clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClusterSource {
    /// A folder of kubeconfig files, `<target name>.yaml`.
    Kubeconfigs(KubeconfigFolder),
    /// `<target name>-kubeconfig` secrets in the management cluster. Not supported by this version.
    Secrets(serde_json::Value),
    /// Simulated clusters in the daemon's own process, one for each target that no source before knows. They are gone
    /// when the daemon ends.
    Simulated(SimulatedClusters),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SimulatedClusters {
    /// From a workload's change until it is ready. Default: 2s.
    #[serde(default = "two_seconds")]
    pub ready_after: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeconfigFolder {
    pub directory: PathBuf,
    /// Allow what runs programs or weakens TLS in a kubeconfig: `exec`, `auth-provider`, a token file,
    /// `insecure-skip-tls-verify`. Default: false.
    #[serde(default)]
    pub trusted: bool,
}

/// Where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServerSettings {
    /// Default: 127.0.0.1:8420. Anything but loopback needs `tokensFile`.
    pub listen: String,
    /// Lines `name:token`; who may call from other machines, and change things on loopback.
    pub tokens_file: Option<PathBuf>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8420".into(), tokens_file: None }
    }
}

fn main_branch() -> String {
    "main".into()
}

fn two_seconds() -> Span {
    Span::from_secs(2)
}

fn half_a_minute() -> Span {
    Span::from_secs(30)
}

fn two_minutes() -> Span {
    Span::from_secs(120)
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Diagnostic>),
}

impl Settings {
    /// Reads a settings file; every mistake in it is reported with its place.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let bytes = private::read(path, Holds::Settings, MAX_FILE)
            .map_err(|source| SettingsError::Read { path: path.into(), source })?;
        let file = path.display().to_string();
        let mut settings: Self = catalog::read_single(&file, &bytes).map_err(SettingsError::Invalid)?;
        let unsupported = settings.unsupported(&file);
        if !unsupported.is_empty() {
            return Err(SettingsError::Invalid(unsupported));
        }
        settings.resolve_paths(path.parent().unwrap_or(Path::new("")));
        Ok(settings)
    }

    /// What the schema knows and this version can't.
    fn unsupported(&self, file: &str) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut refuse = |what: &str| {
            let text = format!("{what} is not supported by this version yet");
            found.push(Diagnostic::error(Place::file(file), "not-supported", text).hint("leave it out"));
        };
        for source in &self.clusters {
            match source {
                ClusterSource::Kubeconfigs(_) | ClusterSource::Simulated(_) => {}
                ClusterSource::Secrets(_) => refuse("a cluster source 'secrets'"),
            }
        }
        if let Some(text) = self.forge.as_ref().and_then(ForgeSettings::problem) {
            found.push(Diagnostic::error(Place::file(file), "invalid-forge", text));
        }
        if self.listen().is_err() {
            let text = format!("server.listen: '{}' is not an address", self.server.listen);
            let finding = Diagnostic::error(Place::file(file), "invalid-address", text);
            found.push(finding.expected("an IP address and a port, e.g. 127.0.0.1:8420"));
        }
        found
    }

    fn resolve_paths(&mut self, base: &Path) {
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        let resolve = |path: &mut PathBuf| *path = base.join(&*path);
        resolve(&mut self.state);
        let repository = &mut self.repository;
        if Path::new(&repository.url).is_relative() && base.join(&repository.url).exists() {
            repository.url = base.join(&repository.url).display().to_string();
        }
        repository.ca_file.iter_mut().for_each(resolve);
        if let Some(credentials) = &mut repository.credentials {
            let GitCredentials { token_file, ssh_key_file, known_hosts_file, username: _ } = credentials;
            [token_file, ssh_key_file, known_hosts_file].into_iter().flatten().for_each(resolve);
        }
        self.server.tokens_file.iter_mut().for_each(resolve);
        self.forge.iter_mut().flat_map(ForgeSettings::paths_mut).for_each(resolve);
        for source in &mut self.clusters {
            if let ClusterSource::Kubeconfigs(folder) = source {
                resolve(&mut folder.directory);
            }
        }
    }

    /// The way to the repository.
    pub fn access(&self) -> Result<Access, RepoError> {
        let repository = &self.repository;
        let credentials = repository.credentials.clone().and_then(|credentials| match credentials {
            GitCredentials { token_file: Some(file), username, .. } => {
                Some(Credentials::Token { file, user: username })
            }
            GitCredentials {
                ssh_key_file: Some(key_file), known_hosts_file: Some(known_hosts_file), ..
            } => Some(Credentials::SshKey { key_file, known_hosts_file }),
            _ => None,
        });
        let url = RepositoryUrl::parse(&repository.url, repository.plain_http)?;
        Ok(Access { url, credentials, ca_file: repository.ca_file.clone() })
    }

    pub fn mirror(&self) -> Result<MirrorSettings, RepoError> {
        let branch = self.repository.branch.clone();
        Ok(MirrorSettings { access: self.access()?, branch, limits: FetchLimits::default() })
    }

    /// The repository's folder, if it is on this machine.
    pub fn local_repository(&self) -> Option<PathBuf> {
        self.access().ok()?.url.local().map(Path::to_owned)
    }

    /// The Unix socket on which commands reach the daemon.
    pub fn socket(&self) -> PathBuf {
        self.state.join("fairlead.sock")
    }

    fn listen(&self) -> Result<SocketAddr, AddrParseError> {
        self.server.listen.parse()
    }

    pub fn server_settings(&self) -> server::Settings {
        server::Settings {
            listen: self.listen().ok(),
            socket: Some(self.socket()),
            tokens: self.server.tokens_file.clone(),
            ..server::Settings::default()
        }
    }
}

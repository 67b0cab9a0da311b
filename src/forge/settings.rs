//! `forge` in the daemon's settings.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ForgeKind;

/// The forge that the repository lives on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForgeSettings {
    pub kind: ForgeKind,
    /// Its API's address. Default: follows from the repository's `url`.
    #[serde(default)]
    pub url: Option<String>,
    /// Let `url` be an `http://` address: the token then goes over the network unencrypted. Default: only where it is on
    /// this machine, or on the host of a repository with `plainHttp`.
    #[serde(default)]
    pub plain_http: bool,
    /// `owner/name` of the repository there. Default: follows from the repository's `url`.
    #[serde(default)]
    pub repository: Option<String>,
    /// A file that holds a token which may write statuses and comments; read again when it changes.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// For GitHub: an App's installation instead of a token.
    #[serde(default)]
    pub app: Option<GitHubApp>,
    /// A file that holds the secret of the webhooks at `POST /webhooks/<kind>`; read again when it changes.
    #[serde(default)]
    pub webhook_secret_file: Option<PathBuf>,
    /// Certificates to trust for the API beside the system's, in PEM. Default: those of the repository.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The address under which people reach this daemon; statuses link to it.
    #[serde(default)]
    pub link: Option<String>,
    /// Most writes in an hour; failures and last words go first. Default: 400.
    #[serde(default = "four_hundred")]
    pub writes_per_hour: u32,
}

/// An installation of a GitHub App.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitHubApp {
    /// The App's client id, or its number.
    pub id: String,
    pub installation: u64,
    /// A file that holds the App's private key, in PEM; read again when it changes.
    pub private_key_file: PathBuf,
}

fn four_hundred() -> u32 {
    400
}

impl ForgeSettings {
    /// All files that are named, to be made absolute.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let Self { token_file, webhook_secret_file, ca_file, app, .. } = self;
        let key = app.as_mut().map(|app| &mut app.private_key_file);
        [token_file.as_mut(), webhook_secret_file.as_mut(), ca_file.as_mut(), key].into_iter().flatten()
    }

    /// What is wrong, if anything.
    pub fn problem(&self) -> Option<String> {
        let api = self.token_file.is_some() || self.app.is_some();
        if !api && self.webhook_secret_file.is_none() {
            return Some("forge: neither tokenFile nor webhookSecretFile: it would do nothing".to_owned());
        }
        if self.token_file.is_some() && self.app.is_some() {
            return Some("forge: tokenFile and app exclude each other".to_owned());
        }
        if self.app.is_some() && !self.kind.has_apps() {
            return Some("forge: app is for GitHub; give a tokenFile".to_owned());
        }
        if api && self.kind.forge().is_none() {
            let kind = self.kind.as_str();
            return Some(format!("forge: the kind {kind} has webhooks only, and takes no credential"));
        }
        if self.link.as_deref().is_some_and(|link| !is_address(link)) {
            return Some("forge: link is not an address that begins with https:// or http://".to_owned());
        }
        None
    }
}

/// Whether a text is an address that a browser can open.
fn is_address(link: &str) -> bool {
    let uri: Option<http::Uri> = link.parse().ok();
    uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

//! Who may talk to a control plane, and the files that let them.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use super::{Context, Result};

/// Someone with a static token. RBAC decides what they may do: at first, only what everyone may.
#[derive(Clone, Debug)]
pub struct User {
    pub name: String,
    pub groups: Vec<String>,
}

impl User {
    pub fn new(name: &str, groups: &[&str]) -> Self {
        Self { name: name.to_owned(), groups: groups.iter().map(|&group| group.to_owned()).collect() }
    }

    /// May do everything, for RBAC does not apply to this group.
    pub fn admin() -> Self {
        Self::new("admin", &["system:masters"])
    }

    /// Nothing here is secret: the server listens on loopback, and lives as long as a test.
    pub fn token(&self) -> String {
        format!("token-of-{}", self.name)
    }

    /// The line for the server's `--token-auth-file`.
    pub fn token_line(&self) -> String {
        format!("{},{},{},\"{}\"\n", self.token(), self.name, self.name, self.groups.join(","))
    }
}

/// A server, and how to know it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub cluster: String,
    pub url: String,
    /// In PEM.
    pub certificate: Vec<u8>,
}

impl Endpoint {
    /// Writes a kubeconfig that needs no other file.
    pub fn write_kubeconfig(&self, user: &str, token: &str, path: &Path) -> Result<()> {
        let certificate = BASE64_STANDARD.encode(&self.certificate);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.cluster,
            "clusters": [{
                "name": self.cluster,
                "cluster": {"server": self.url, "certificate-authority-data": certificate},
            }],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": self.cluster, "context": {"cluster": self.cluster, "user": user}}],
        });
        // JSON is YAML.
        fs::write(path, format!("{config:#}\n")).context(format!("writing {}", path.display()))
    }
}

/// A client that calls itself `agent`, so that its requests can be told from others in the audit
/// log. It belongs to the runtime that it is made on.
pub async fn client(kubeconfig: &Path, agent: &str) -> Result<Client> {
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &options)
        .await
        .context(format!("reading {}", kubeconfig.display()))?;
    config.headers.push((http::header::USER_AGENT, agent.parse()?));
    Ok(Client::try_from(config)?)
}

//! The forge that the daemon's settings name, for commands that speak to it themselves.

use std::path::Path;

use super::error::CliError;
use crate::daemon::Settings;
use crate::forge::{Client, ForgeError, ForgeSettings};
use crate::repo::RepositoryUrl;

/// A forge and the repository on it.
pub(super) struct AtForge {
    pub settings: ForgeSettings,
    pub url: RepositoryUrl,
    pub branch: String,
}

impl AtForge {
    pub(super) fn read(config: &Path) -> Result<Self, CliError> {
        let hint = "--config names the daemon's settings file";
        let settings = Settings::read(config).map_err(|error| CliError::usage(error).hint(hint))?;
        let Some(forge) = settings.forge.clone() else {
            let text = format!("{} names no forge", config.display());
            return Err(CliError::usage(text).hint("add the setting forge, with kind and tokenFile"));
        };
        let access = settings.access().map_err(CliError::usage)?;
        let forge = ForgeSettings { ca_file: forge.ca_file.clone().or(access.ca_file), ..forge };
        Ok(Self { settings: forge, url: access.url, branch: settings.repository.branch })
    }

    /// Speaks with the token of a file, or the credential of the settings.
    pub(super) fn client(&self, token: Option<&Path>) -> Result<Client, CliError> {
        let mut settings = self.settings.clone();
        if let Some(file) = token {
            (settings.token_file, settings.app) = (Some(file.to_owned()), None);
        }
        let client = Client::open(&settings, &self.url).map_err(CliError::usage)?;
        client.ok_or_else(|| match settings.kind.speaks() {
            true => CliError::usage("there is no credential for the forge")
                .hint("--token-file names a file that holds a token, or the setting forge.tokenFile does"),
            false => CliError::usage(format!("nothing can be asked of the forge {}", settings.kind.as_str())),
        })
    }
}

/// What the forge said, and what to do about it. `rights`: what the token needs.
pub(super) fn refused(error: ForgeError, repository: &str, rights: &str) -> CliError {
    let hint = match &error {
        ForgeError::Refused { status: 401, .. } => {
            "the forge does not know the token: is it whole, and not expired?".to_owned()
        }
        ForgeError::Refused { status: 403 | 404, .. } => {
            format!("is there a repository {repository}, and may the token do this? It needs: {rights}")
        }
        ForgeError::Unreachable { .. } => {
            "the setting forge.url names the API's address, forge.caFile its certificates".to_owned()
        }
        _ => return CliError::outside(error),
    };
    CliError::outside(error).hint(hint)
}

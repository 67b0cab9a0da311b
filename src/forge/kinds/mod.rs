//! The forges that are known. A new one is a file in here, and its name in this list.

mod gitea;
mod github;
mod gitlab;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::Forge;

/// Which API, and which way of signing webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ForgeKind {
    Github,
    Gitlab,
    Gitea,
    Forgejo,
    /// Webhooks only: HMAC-SHA256 over the body, for forges and scripts that Fairlead does not know.
    Generic,
}

impl ForgeKind {
    pub const ALL: [Self; 5] = [Self::Github, Self::Gitlab, Self::Gitea, Self::Forgejo, Self::Generic];

    /// As in the settings, and in the path of its webhooks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::Generic => "generic",
        }
    }

    /// None: nothing can be said to it.
    pub(super) fn forge(self) -> Option<&'static dyn Forge> {
        match self {
            Self::Github => Some(&github::Github),
            Self::Gitlab => Some(&gitlab::Gitlab),
            Self::Gitea | Self::Forgejo => Some(&gitea::Gitea),
            Self::Generic => None,
        }
    }

    /// Whether anything can be said to it.
    pub fn speaks(self) -> bool {
        self.forge().is_some()
    }

    /// Whether its credential may be an App's installation.
    pub(super) fn has_apps(self) -> bool {
        self == Self::Github
    }
}

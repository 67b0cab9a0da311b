//! The forge's side of the webhook: what a person pastes there, or a token that may puts there.

use super::address::Site;
use super::api::{HookGuide, NewHook};
use super::client::Client;
use super::secret::SecretFile;
use super::webhook::MIN_SECRET;
use super::{ForgeError, ForgeSettings};
use crate::repo::RepositoryUrl;

/// What a person needs to know to add the webhook.
#[derive(Debug, Clone)]
pub struct HookAdvice {
    /// Where the forge should send deliveries.
    pub url: String,
    /// The forge's page for it, where that is known.
    pub page: Option<String>,
    /// None: any sender; see the page on forges.
    pub guide: Option<HookGuide>,
}

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Created,
    /// One with that address was there; its secret and events are set anew.
    Updated,
}

impl HookAdvice {
    /// `link`: the address under which the forge reaches the daemon.
    pub fn of(settings: &ForgeSettings, repository: &RepositoryUrl, link: &str) -> Self {
        let Site { name, pages } = Site::of(settings, repository);
        let guide = settings.kind.forge().map(|forge| forge.hook_guide());
        let page = guide.and_then(|guide| Some(format!("{}/{}/{}", pages?, name?, guide.page)));
        Self {
            url: format!("{}/webhooks/{}", link.trim_end_matches('/'), settings.kind.as_str()),
            page,
            guide,
        }
    }
}

impl ForgeSettings {
    /// The webhooks' secret; none: no file is named.
    ///
    /// # Errors
    /// The file is missing, or what is in it is no secret.
    pub fn webhook_secret(&self) -> Result<Option<String>, ForgeError> {
        let Some(path) = &self.webhook_secret_file else { return Ok(None) };
        Ok(Some(SecretFile::open(path, MIN_SECRET)?.get()?.to_string()))
    }
}

impl Client {
    /// Makes the webhook, or sets the one with that address right.
    pub async fn put_hook(&self, url: &str, secret: &str) -> Result<Put, ForgeError> {
        let (forge, repository) = (self.forge(), self.repository());
        let hooks = self.list(|page| forge.hooks(repository, page), |value| forge.read_hook(value)).await?;
        let known = hooks.into_iter().find(|hook| hook.url == url).map(|hook| hook.id);
        self.read(&forge.set_hook(repository, known.as_deref(), &NewHook { url, secret })).await?;
        Ok(if known.is_some() { Put::Updated } else { Put::Created })
    }
}

//! What a forge's deliveries make the daemon do: look, nothing more.

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::source::Kick;
use crate::forge::{Hint, Receiver, Refused};
use crate::server::{Delivery, Metrics, Webhooks};

/// Turns deliveries into fetches.
pub struct Hooks {
    receiver: Receiver,
    kick: Kick,
    branch: String,
    /// Where pull requests are looked at; none: nowhere.
    pulls: Option<mpsc::Sender<u64>>,
    metrics: Arc<Metrics>,
}

impl Hooks {
    pub fn new(
        receiver: Receiver,
        kick: Kick,
        branch: String,
        pulls: Option<mpsc::Sender<u64>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { receiver, kick, branch, pulls, metrics }
    }

    fn follow(&self, hint: Hint) -> Delivery {
        match hint {
            Hint::Branch { branch, after } if branch == self.branch => {
                info!(commit = after.map(|commit| commit.to_string()), "a push was announced");
                self.kick.hint(after);
            }
            Hint::Branch { branch, .. } if self.kick.follows(&branch) => self.kick.hint(None),
            Hint::Branch { .. } => return self.ignored("nobody follows this branch"),
            Hint::Tag => self.kick.hint(None),
            Hint::Pull { number } => match &self.pulls {
                // Where so many wait already, the list of all comes soon enough.
                Some(pulls) => drop(pulls.try_send(number)),
                None => return self.ignored("pull requests are not looked at"),
            },
            Hint::OtherRepository { named } => return self.other_repository(&named),
            Hint::Ignored(why) => return self.ignored(why),
        }
        self.metrics.webhook("taken");
        Delivery::Taken
    }

    fn ignored(&self, why: &'static str) -> Delivery {
        if self.metrics.webhook("ignored") == 0 {
            info!(why, "a webhook with a good signature is ignored; more like it are only counted");
        }
        Delivery::Ignored(why.to_owned())
    }

    /// The forge shows a delivery as a success, so only the log can tell.
    fn other_repository(&self, named: &str) -> Delivery {
        let ours = self.receiver.watched().name();
        let why = format!("it is about the repository '{named}', and this daemon follows '{ours}'");
        if self.metrics.webhook("other-repository") == 0 {
            warn!(
                why,
                "a webhook with a good signature is ignored; if it is the same repository, set forge.repository to that \
                 name; more like it are only counted (fairlead_webhooks_total)"
            );
        }
        Delivery::Ignored(why)
    }
}

impl Webhooks for Hooks {
    fn deliver(&self, source: &str, headers: &HeaderMap, body: &[u8]) -> Delivery {
        match self.receiver.receive(source, headers, body, Timestamp::now()) {
            Ok(hint) => {
                debug!(?hint, "a webhook came");
                self.follow(hint)
            }
            Err(Refused::NoSource) => Delivery::NoSource,
            Err(Refused::Unauthorized) => {
                self.metrics.webhook("refused");
                warn!("a webhook without a good signature was refused");
                Delivery::Unauthorized
            }
            Err(Refused::Malformed(why)) => {
                self.metrics.webhook("malformed");
                warn!(why, "a webhook with a good signature was malformed");
                Delivery::Malformed(why)
            }
            Err(Refused::Unavailable(why)) => Delivery::Unavailable(why),
        }
    }
}

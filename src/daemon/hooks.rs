//! What a forge's deliveries make the daemon do: look, nothing more.

use http::HeaderMap;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::source::Kick;
use crate::forge::{Hint, Receiver, Refused};
use crate::server::{Delivery, Webhooks};

/// Turns deliveries into fetches.
pub struct Hooks {
    receiver: Receiver,
    kick: Kick,
    branch: String,
    /// Where pull requests are looked at; none: nowhere.
    pulls: Option<mpsc::Sender<u64>>,
}

impl Hooks {
    pub fn new(receiver: Receiver, kick: Kick, branch: String, pulls: Option<mpsc::Sender<u64>>) -> Self {
        Self { receiver, kick, branch, pulls }
    }

    fn follow(&self, hint: Hint) -> Delivery {
        match hint {
            Hint::Branch { branch, after } if branch == self.branch => {
                info!(commit = after.map(|commit| commit.to_string()), "a push was announced");
                self.kick.hint(after);
            }
            Hint::Branch { branch, .. } if self.kick.follows(&branch) => self.kick.hint(None),
            Hint::Branch { .. } => return Delivery::Ignored("nobody follows this branch"),
            Hint::Tag => self.kick.hint(None),
            Hint::Pull { number } => match &self.pulls {
                // Where so many wait already, the list of all comes soon enough.
                Some(pulls) => drop(pulls.try_send(number)),
                None => return Delivery::Ignored("pull requests are not looked at"),
            },
            Hint::Ignored(why) => return Delivery::Ignored(why),
        }
        Delivery::Taken
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
                warn!("a webhook without a good signature was refused");
                Delivery::Unauthorized
            }
            Err(Refused::Malformed(why)) => {
                warn!(why, "a webhook with a good signature was malformed");
                Delivery::Malformed(why)
            }
            Err(Refused::Unavailable(why)) => Delivery::Unavailable(why),
        }
    }
}

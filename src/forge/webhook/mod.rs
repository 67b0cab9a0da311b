//! Deliveries of a forge: are they its own, and what do they hint at?

mod deliveries;
mod payload;
mod signature;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use jiff::Timestamp;

use super::address::{Site, bare, place};
use super::api::{Delivery, Named};
use super::secret::SecretFile;
use super::{ForgeError, ForgeKind, ForgeSettings};
use crate::repo::RepositoryUrl;
use deliveries::Deliveries;
use fairlead_core::model::digest::CommitId;
pub(super) use payload::json;
pub(super) use signature::{SIGNING_KEY, hmac_sha256_hex, is_same_secret, single, standard_webhook};

/// Shortest secret: 16 characters of a random one can't be guessed.
pub(super) const MIN_SECRET: usize = 16;

/// What a delivery hints at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A branch moved, to this commit unless it was deleted.
    Branch { branch: String, after: Option<CommitId> },
    /// A tag came, moved or went.
    Tag,
    /// Something about this pull request changed.
    Pull { number: u64 },
    /// It is about another repository, which it calls so.
    OtherRepository { named: String },
    /// Nothing to do, and why.
    Ignored(&'static str),
}

/// Why a delivery is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such source.
    NoSource,
    /// The signature is missing or wrong.
    Unauthorized,
    /// The signature is good and the body is not what the event's should be.
    Malformed(String),
    /// The secret can't be read now.
    Unavailable(String),
}

/// The repository that is watched, as deliveries name it. Under which host does not matter: the same one is reached under
/// many names, and whoever signs a delivery is believed to know the repository that he tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// `owner/name`, in lower case. None: none is.
    name: Option<String>,
    /// The path of the address that is followed, if it has one.
    path: Option<String>,
    /// Whether the name follows from the path, so that it may have less of it: a forge in a folder of its host.
    derived: bool,
}

impl Watched {
    /// What follows from the repository's address, where the settings don't say otherwise.
    pub fn of(settings: &ForgeSettings, repository: &RepositoryUrl) -> Self {
        Self {
            name: Site::of(settings, repository).name.as_deref().map(normal),
            path: place(repository.as_str()).map(|(_, path)| normal(path)),
            derived: settings.repository.is_none(),
        }
    }

    /// Whether a delivery is about this repository. Compared as text: no name is a pattern.
    fn is(&self, named: &Named) -> bool {
        if let Some(name) = named.name.as_deref().map(normal) {
            let inside = || {
                let path = self.path.as_deref().filter(|_| self.derived)?;
                path.strip_suffix(&name)?.strip_suffix('/').filter(|_| name.contains('/'))
            };
            return self.name.as_ref() == Some(&name) || inside().is_some();
        }
        named.addresses.iter().filter_map(|address| place(address)).any(|(_, path)| {
            let path = normal(path);
            self.name.as_ref() == Some(&path) || self.path.as_ref() == Some(&path)
        })
    }

    /// For people.
    pub fn name(&self) -> &str {
        self.name.as_deref().or(self.path.as_deref()).unwrap_or("a repository without a name")
    }
}

/// As it is compared: forges look names up without regard to case.
fn normal(path: &str) -> String {
    bare(path).to_ascii_lowercase()
}

/// Takes deliveries of one source. For any thread.
#[derive(Debug)]
pub struct Receiver {
    kind: ForgeKind,
    secret: SecretFile,
    watched: Watched,
    seen: Mutex<Deliveries>,
}

impl Receiver {
    /// # Errors
    /// The secret's file is missing or empty: without one, anybody could make the daemon fetch.
    pub fn open(kind: ForgeKind, secret: &Path, watched: Watched) -> Result<Self, ForgeError> {
        let secret = SecretFile::open(secret, MIN_SECRET)?;
        Ok(Self { kind, secret, watched, seen: Mutex::default() })
    }

    /// The repository that deliveries must be about.
    pub fn watched(&self) -> &Watched {
        &self.watched
    }

    /// Checks a delivery's signature over its raw bytes, and only then reads it.
    pub fn receive(
        &self,
        source: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Hint, Refused> {
        if source != self.kind.as_str() {
            return Err(Refused::NoSource);
        }
        let secret = self.secret.get().map_err(|error| Refused::Unavailable(error.to_string()))?;
        let delivery = Delivery { headers, body, now };
        if !is_signed(self.kind, &secret, delivery) {
            return Err(Refused::Unauthorized);
        }
        let hint = self.read(delivery).map_err(Refused::Malformed)?;
        let names = self.kind.forge().map_or(OWN_NUMBER, |forge| forge.numbers());
        if let Some(number) = deliveries::number(names, headers)
            && !self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_new(number)
        {
            return Ok(Hint::Ignored("this delivery was taken already"));
        }
        Ok(hint)
    }

    fn read(&self, delivery: Delivery<'_>) -> Result<Hint, String> {
        match self.kind.forge() {
            Some(forge) => payload::hint(forge.read(delivery)?, &self.watched),
            None => payload::generic(&delivery.json(), &self.watched),
        }
    }
}

/// Which numbers the generic webhook's deliveries.
const OWN_NUMBER: &[&str] = &["x-fairlead-delivery"];

/// Whether a delivery is signed as this kind of forge signs. Nothing here parses the body.
fn is_signed(kind: ForgeKind, secret: &str, delivery: Delivery<'_>) -> bool {
    match kind.forge() {
        Some(forge) => forge.is_signed(secret, delivery),
        None => signature::is_generic(secret, delivery.headers, delivery.body),
    }
}

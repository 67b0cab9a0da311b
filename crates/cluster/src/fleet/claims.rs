//! Claims that are not bound: their storage classes are read, once, and again while an answer is open.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{Fleet, Phase};
use crate::backoff::Backoff;
use crate::claims::{self, Known};
use crate::error::ApiError;
use crate::health::Verdict;
use fairlead_core::model::object::ObjectKey;

/// First and longest wait before the classes are read again for a claim of which they said nothing.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What is known of unbound claims, and when it is looked at again.
pub(super) struct Claims {
    pub known: Known,
    pub look: Option<AbortOnDropHandle<Result<Known, ApiError>>>,
    next: Option<Instant>,
    backoff: Backoff,
}

impl Default for Claims {
    fn default() -> Self {
        Self { known: Known::Nothing, look: None, next: None, backoff: Backoff::new(AGAIN) }
    }
}

impl Fleet {
    /// Claims without a volume of which it is not known whether that is right.
    fn open_claims(&self) -> impl Iterator<Item = &ObjectKey> {
        self.eye.unbound().filter(|(key, class)| !self.claims.known.settles(key, *class)).map(|(key, _)| key)
    }

    /// Reads the classes if a claim asks for that, and it is time.
    pub(super) fn mind_claims(&mut self) {
        if self.phase != Phase::Executing || self.claims.look.is_some() {
            return;
        }
        let namespaces: BTreeSet<String> =
            self.open_claims().map(|key| key.namespace().unwrap_or_default().to_owned()).collect();
        if namespaces.is_empty() {
            self.claims.next = None;
            return;
        }
        let now = Instant::now();
        if self.claims.next.is_some_and(|at| at > now) {
            return;
        }
        self.claims.next = Some(now + self.claims.backoff.next_wait());
        let read = claims::read(Arc::clone(&self.cx), namespaces);
        self.claims.look = Some(AbortOnDropHandle::new(tokio::spawn(read)));
    }

    pub(super) fn claims_wake(&self) -> Option<Instant> {
        let idle = self.phase == Phase::Executing && self.claims.look.is_none();
        self.claims.next.filter(|_| idle)
    }

    /// A storage class of ours changed, or a new order came: what was read may be out of date.
    pub(super) fn reread_classes(&mut self) {
        self.claims = Claims::default();
    }

    pub(super) fn take_classes(&mut self, answer: Option<Result<Known, ApiError>>) {
        self.claims.look = None;
        match answer {
            Some(Ok(known)) => self.claims.known = known,
            Some(Err(error)) if error.is_unreachable() => self.probe(),
            Some(Err(error)) => {
                tracing::debug!(fleet = %self.name, error = %error, "storage classes can't be read");
            }
            None => {}
        }
        let keys: Vec<ObjectKey> = self.eye.unbound().map(|(key, _)| key.clone()).collect();
        for key in keys {
            let healthy = self.is_healthy(&key);
            if let (Some(item), Some(run)) = (self.item(&key), self.run.as_mut()) {
                run.touch(item, healthy);
            }
        }
    }

    /// The verdict on an object as last seen, with what is known beyond the object itself.
    pub(super) fn verdict(&self, key: &ObjectKey) -> Option<Verdict> {
        match &self.eye.get(key)?.verdict {
            Verdict::Unbound(class) => Some(self.claims.known.verdict(key, class.as_deref())),
            verdict => Some(verdict.clone()),
        }
    }
}

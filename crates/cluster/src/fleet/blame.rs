//! Whose turn it is when an object can't be written, and how it is found out that trouble is about one object alone.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Fleet;
use super::outcome::REFUSED_AGAIN;
use crate::answers::Verdict;
use crate::backoff::jitter;
use crate::error::{ApiError, Meaning};
use fairlead_core::model::assignment::{Cause, Hold};
use fairlead_core::model::object::ObjectKey;

/// So often one object must be answered with trouble, each time after the cluster took another write ...
const FAILURES: u32 = 5;
/// ... and for so long, until the trouble is about that object.
const SPAN: Duration = Duration::from_secs(10);
/// Longest wait before an object that waits for a person is tried again: it goes on by itself.
const HELD_AGAIN: Duration = Duration::from_secs(30);

/// Trouble with one object in a row, while the cluster takes other writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streak {
    since: Instant,
    /// Writes that the cluster had taken at the last failure that counted.
    written: u64,
    failures: u32,
}

impl Streak {
    pub fn begin(now: Instant, written: u64) -> Self {
        Self { since: now, written, failures: 1 }
    }

    /// One more failure. It counts only if the cluster took a write since the last one that did: else the trouble
    /// may be the cluster's.
    pub fn fail(&mut self, written: u64) {
        if written > self.written {
            self.written = written;
            self.failures += 1;
        }
    }

    pub fn is_about_the_object(&self, now: Instant) -> bool {
        self.failures >= FAILURES && now.duration_since(self.since) >= SPAN
    }
}

impl Fleet {
    /// Decides about an object of the release where it is the turn of a person, or of the commit because the trouble is
    /// about this object alone. Whether that was so.
    pub(super) async fn blame(&mut self, key: &ObjectKey, error: &ApiError) -> bool {
        let (verdict, message, advice) = match error.meaning(key) {
            Meaning::NotAllowed(message, advice) => (Verdict::Person, message, advice),
            Meaning::Stalled { reason, .. } if self.is_about(key) => {
                let (verdict, advice) = error.repeated();
                (verdict, reason, advice)
            }
            Meaning::NotFound if self.is_about(key) => {
                let (verdict, advice) = error.repeated();
                (verdict, error.describe(key), advice)
            }
            Meaning::Unauthorized if self.is_about(key) => {
                let (verdict, advice) = error.repeated();
                (verdict, error.describe(key), advice)
            }
            _ => return false,
        };
        let retry = self.cx.settings.retry;
        let wait = match verdict {
            Verdict::Commit => jitter(REFUSED_AGAIN),
            Verdict::Person => jitter(retry.1.min(HELD_AGAIN)),
            Verdict::Cluster | Verdict::Again => return false,
        };
        let hold =
            Hold::Answered { object: key.clone(), message: message.clone(), advice: advice.to_owned() };
        let held = (verdict == Verdict::Person).then(|| hold.clone());
        if !self.try_later(key, wait, held, &message) {
            return true;
        }
        match verdict {
            Verdict::Person => self.say_held(self.generation(), hold).await,
            _ => self.say_failed(Cause::Refused { object: key.clone(), message }).await,
        }
        true
    }

    /// Tries again later; whether there is news to tell.
    fn try_later(&mut self, key: &ObjectKey, wait: Duration, hold: Option<Hold>, message: &str) -> bool {
        let Some(item) = self.item(key) else { return false };
        let why = hold.as_ref().map_or_else(|| message.to_owned(), ToString::to_string);
        let mut news = true;
        if let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) {
            news = hold.is_none() || entry.held != hold;
            (entry.held, entry.stalled) = (hold, false);
        }
        self.later(item, wait, why);
        news
    }

    /// Notes one more failure of an object; whether the trouble is about it alone.
    fn is_about(&mut self, key: &ObjectKey) -> bool {
        let (now, written) = (Instant::now(), self.cx.api.written());
        let streak = self.streaks.entry(key.clone()).or_insert_with(|| Streak::begin(now, written));
        if streak.is_about_the_object(now) {
            return true;
        }
        streak.fail(written);
        let about = streak.is_about_the_object(now);
        if !about {
            self.try_a_write();
        }
        about
    }

    /// Finds out whether the cluster takes writes at all. A success is counted with all others.
    fn try_a_write(&mut self) {
        if self.write_probe.as_ref().is_some_and(|probe| !probe.is_finished()) || !self.stored.is_written() {
            return;
        }
        let (session, fleet) = (std::sync::Arc::clone(&self.cx), self.name.clone());
        self.write_probe = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = session.store.try_a_write(&fleet).await {
                tracing::debug!(cluster = %session.settings.target, %fleet, %error, "the cluster takes no write");
            }
        })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_about_an_object_only_while_others_are_written() {
        let start = Instant::now();
        let late = start + SPAN;
        let mut alone = Streak::begin(start, 7);
        for written in 8..8 + u64::from(FAILURES) - 1 {
            assert!(!alone.is_about_the_object(late));
            alone.fail(written);
        }
        assert!(alone.is_about_the_object(late));
        assert!(!alone.is_about_the_object(start + SPAN / 2), "not within a moment");

        let mut all = Streak::begin(start, 7);
        for _ in 0..100 {
            all.fail(7);
        }
        assert!(!all.is_about_the_object(late), "nothing else was written either");
    }
}

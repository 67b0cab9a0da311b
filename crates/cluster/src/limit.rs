//! How many requests may be in flight to one cluster: grows while it answers, halves when it says 429.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests in flight at the start.
pub const START: usize = 8;
/// Requests in flight at most: where the measured rate of one HTTP/2 connection no longer grows.
pub const CAP: usize = 32;
/// Pause after a 429 that does not say how long.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause that a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(120);

/// Additive increase, multiplicative decrease; as a function of its events, so that it can be tested alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    allowed: usize,
    in_flight: usize,
    /// Until the first 429 every success widens the window by one; after it, a whole window of them does.
    probing: bool,
    successes: usize,
    paused_until: Option<Instant>,
}

impl Default for Window {
    fn default() -> Self {
        Self { allowed: START, in_flight: 0, probing: true, successes: 0, paused_until: None }
    }
}

impl Window {
    /// Takes a place, or says until when none is to be had (None: until one is given back).
    pub fn take(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        if let Some(until) = self.paused_until {
            if now < until {
                return Err(Some(until));
            }
            self.paused_until = None;
        }
        if self.in_flight >= self.allowed {
            return Err(None);
        }
        self.in_flight += 1;
        Ok(())
    }

    pub fn give_back(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub fn answered(&mut self) {
        self.successes += 1;
        if self.probing || self.successes >= self.allowed {
            self.successes = 0;
            self.allowed = (self.allowed + 1).min(CAP);
        }
    }

    pub fn throttled(&mut self, now: Instant, retry_after: Option<Duration>) {
        // All that were in flight together are refused together: that is one signal, not many.
        if self.paused_until.is_none_or(|until| now >= until) {
            self.allowed = (self.allowed / 2).max(1);
        }
        self.probing = false;
        self.successes = 0;
        let until = now + retry_after.unwrap_or(DEFAULT_PAUSE).min(MAX_PAUSE);
        self.paused_until = Some(self.paused_until.map_or(until, |p| p.max(until)));
    }

    pub fn allowed(&self) -> usize {
        self.allowed
    }
}

/// A [`Window`] that tasks share.
#[derive(Debug, Default)]
pub struct Limiter {
    window: Mutex<Window>,
    freed: Notify,
}

/// A place in the window, given back when dropped.
pub struct Place<'a>(&'a Limiter);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.with(Window::give_back);
        self.0.freed.notify_one();
    }
}

impl Limiter {
    fn with<T>(&self, change: impl FnOnce(&mut Window) -> T) -> T {
        change(&mut self.window.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub async fn place(&self) -> Place<'_> {
        loop {
            let freed = self.freed.notified();
            match self.with(|w| w.take(Instant::now())) {
                Ok(()) => return Place(self),
                Err(Some(until)) => tokio::time::sleep_until(until).await,
                Err(None) => freed.await,
            }
        }
    }

    /// Says how a request was answered.
    pub fn answered(&self) {
        self.with(Window::answered);
        // The window may have grown by more than the place that is given back.
        self.freed.notify_one();
    }

    pub fn throttled(&self, retry_after: Option<Duration>) {
        self.with(|w| w.throttled(Instant::now(), retry_after));
    }

    pub fn allowed(&self) -> usize {
        self.with(|w| w.allowed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_fast_then_halves_and_creeps() {
        let now = Instant::now();
        let mut window = Window::default();
        for _ in 0..100 {
            window.answered();
        }
        assert_eq!(window.allowed(), CAP);
        window.throttled(now, Some(Duration::from_secs(5)));
        window.throttled(now, Some(Duration::from_secs(3)));
        assert_eq!(window.allowed(), CAP / 2, "answers to requests sent together count once");
        assert_eq!(window.take(now), Err(Some(now + Duration::from_secs(5))));
        let later = now + Duration::from_secs(5);
        for _ in 0..CAP / 2 {
            assert_eq!(window.take(later), Ok(()));
            window.answered();
        }
        assert_eq!(window.allowed(), CAP / 2 + 1);
        assert_eq!(window.take(later), Ok(()));
        assert_eq!(window.take(later), Err(None));
        window.give_back();
        assert_eq!(window.take(later), Ok(()));
    }

    #[test]
    fn one_request_is_always_allowed_and_pauses_are_bounded() {
        let now = Instant::now();
        let mut window = Window::default();
        for hours in 1..20u64 {
            window.throttled(now + Duration::from_secs(hours * 3_600), Some(Duration::from_secs(86_400)));
        }
        assert_eq!(window.allowed(), 1);
        assert_eq!(window.take(now + Duration::from_secs(19 * 3_600 + 121)), Ok(()));
    }

    #[tokio::test]
    async fn places_are_given_back_and_a_pause_ends() {
        let limiter = Limiter::default();
        let places = futures::future::join_all((0..START).map(|_| limiter.place())).await;
        assert!(tokio::time::timeout(Duration::from_millis(20), limiter.place()).await.is_err());
        drop(places);
        let pause = Duration::from_millis(50);
        let start = Instant::now();
        limiter.throttled(Some(pause));
        let _place = limiter.place().await;
        assert!(start.elapsed() >= pause);
    }
}

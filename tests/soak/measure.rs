//! How long things took.

use std::fmt;
use std::time::Duration;

/// Times, of which the percentiles are told.
#[derive(Default, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.0.clone();
        all.sort_unstable();
        let at = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)));
        let millis = |percent: usize| at(percent).map_or(0, Duration::as_millis);
        write!(f, "{} times, {} / {} / {} ms", all.len(), millis(50), millis(99), millis(100))
    }
}

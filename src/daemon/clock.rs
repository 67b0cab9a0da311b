//! Whether the system's clock was set ahead.
//!
//! Deadlines stand in state that survives restarts, so they are times of day. When the clock is set, or the machine
//! slept, an hour can pass at once in which no cluster could make progress; none may be found late for that.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// What clocks that are steered slowly, or a busy machine, may differ by between two looks.
const TOLERANCE: Duration = Duration::from_secs(5);

/// The clock at the last look, beside one that nobody can set.
pub struct Clock {
    wall: Timestamp,
    steady: Instant,
}

impl Clock {
    pub fn new(wall: Timestamp, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// By how much the clock was set ahead since the last look, if it was.
    pub fn look(&mut self, wall: Timestamp, steady: Instant) -> Option<Duration> {
        let passed = steady.duration_since(self.steady);
        let shown = Duration::try_from(wall.duration_since(self.wall)).unwrap_or_default();
        *self = Self { wall, steady };
        shown.checked_sub(passed).filter(|ahead| *ahead > TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_ahead_is_noticed_once() {
        let (wall, steady) = (Timestamp::UNIX_EPOCH, Instant::now());
        let at = |seconds: i64| wall.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        let mut clock = Clock::new(wall, steady);
        let mut look = |shown: i64, passed: u64| {
            clock.look(at(shown), steady + Duration::from_secs(passed)).map(|ahead| ahead.as_secs())
        };
        assert_eq!(look(10, 10), None);
        assert_eq!(look(3_620, 20), Some(3_600));
        assert_eq!(look(3_630, 30), None);
        assert_eq!(look(3_634, 31), None, "a busy machine");
        assert_eq!(look(10, 40), None, "set back: no time passes until it was caught up with");
        assert_eq!(look(20, 50), None);
    }
}

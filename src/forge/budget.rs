//! How many writes a credential may make, and which go first when there are too many.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// The writes of the last hour, of at most so many.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    spacing: SignedDuration,
    writes: VecDeque<Timestamp>,
}

impl Budget {
    /// `earlier`: when this credential wrote before, oldest first.
    pub fn new(limit: u32, spacing: Duration, earlier: impl IntoIterator<Item = Timestamp>) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let spacing = SignedDuration::try_from(spacing).unwrap_or_default();
        Self { limit, spacing, writes: earlier.into_iter().collect() }
    }

    /// When the next write may be made: now, or later. A quarter of the budget is kept for what is urgent.
    pub fn next(&mut self, urgent: bool, now: Timestamp) -> Timestamp {
        while self.writes.front().is_some_and(|first| *first + WINDOW <= now) {
            self.writes.pop_front();
        }
        let allowed = if urgent { self.limit } else { self.limit - self.limit / 4 };
        let spaced = self.writes.back().map_or(now, |last| (*last + self.spacing).max(now));
        match self.writes.len().checked_sub(allowed) {
            None => spaced,
            // So many must be an hour old before.
            Some(over) => self.writes.get(over).map_or(spaced, |write| (*write + WINDOW).max(spaced)),
        }
    }

    pub fn count(&mut self, now: Timestamp) {
        self.writes.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_hour_has_no_more_writes_than_it_may_and_the_last_quarter_is_for_what_is_urgent() {
        let mut budget = Budget::new(8, Duration::from_secs(1), []);
        for n in 0..6 {
            assert_eq!(budget.next(false, at(n)), at(n));
            budget.count(at(n));
        }
        assert_eq!(budget.next(false, at(5)), at(3600), "the rest waits");
        assert_eq!(budget.next(true, at(5)), at(6), "with a second between");
        budget.count(at(6));
        budget.count(at(7));
        assert_eq!(budget.next(true, at(8)), at(3600), "nothing is left");
        assert_eq!(budget.next(false, at(8)), at(3602));
        assert_eq!(budget.next(true, at(3600)), at(3600));
        assert_eq!(
            Budget::new(2, Duration::ZERO, [at(1), at(2)]).next(true, at(3)),
            at(3601),
            "after a restart"
        );
    }
}

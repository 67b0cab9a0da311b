//! Waiting longer each time, with jitter.

use std::time::Duration;

/// Doubles from the first wait to the longest; every wait is shortened by up to a third at random, so that many
/// that failed together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, failures: 0 }
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }

    pub fn next_wait(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        jitter(full)
    }
}

/// Between two thirds of a duration and all of it.
pub fn jitter(full: Duration) -> Duration {
    full.mul_f64(1.0 - fastrand::f64() / 3.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new((Duration::from_secs(1), Duration::from_secs(10)));
        let waits: Vec<f64> = (0..40).map(|_| backoff.next_wait().as_secs_f64()).collect();
        for (wait, full) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 10.0, 10.0]) {
            assert!((full * 0.66..=full).contains(wait), "{wait} of {full}");
        }
        assert!(waits.iter().all(|w| *w <= 10.0));
        backoff.reset();
        assert!(backoff.next_wait().as_secs_f64() <= 1.0);
    }
}

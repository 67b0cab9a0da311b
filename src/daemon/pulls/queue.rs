//! Which pull request is checked next.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::forge::Pull;

/// What an author's checks took counts half after this time.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// Authors whose checks took about the same come in the order of their pull requests.
const SHARE: f64 = 10.0;
/// What is less, in seconds, is forgotten.
const FORGOTTEN: f64 = 0.5;

/// What waits to be checked, and what the checks of each author took lately.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Waiting>,
    used: BTreeMap<String, Used>,
}

#[derive(Debug)]
struct Waiting {
    pull: Pull,
    /// It took longer than a first look may.
    slow: bool,
}

#[derive(Debug)]
struct Used {
    seconds: f64,
    at: Instant,
}

impl Used {
    fn now(&self, now: Instant) -> f64 {
        let halves = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.seconds * 0.5f64.powf(halves)
    }
}

impl Queue {
    /// Puts a pull request in, in place of what was known of it before.
    pub fn put(&mut self, pull: Pull, slow: bool) {
        self.waiting.insert(pull.number, Waiting { pull, slow });
    }

    pub fn remove(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes out what is next: long looks come after all first ones, and among equals the author whose checks took
    /// least.
    pub fn next(&mut self, now: Instant) -> Option<Pull> {
        let shares = |author: &str| self.used.get(author).map_or(0.0, |used| (used.now(now) / SHARE).floor());
        let rank =
            |(number, waiting): (&u64, &Waiting)| (waiting.slow, shares(&waiting.pull.author), *number);
        let ranks = self.waiting.iter().map(rank);
        let (_, _, number) =
            ranks.min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)))?;
        self.waiting.remove(&number).map(|waiting| waiting.pull)
    }

    /// Remembers what a check took.
    pub fn took(&mut self, author: &str, time: Duration, now: Instant) {
        self.used.retain(|_, used| used.now(now) > FORGOTTEN);
        let before = self.used.get(author).map_or(0.0, |used| used.now(now));
        let used = Used { seconds: before + time.as_secs_f64(), at: now };
        self.used.insert(author.to_owned(), used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::model::digest::CommitId;

    fn pull(number: u64, author: &str) -> Pull {
        Pull {
            number,
            head: CommitId::from_bytes([1; 20]),
            author: author.to_owned(),
            branch: String::new(),
            base: "main".to_owned(),
            open: true,
            merged: None,
        }
    }

    fn order(queue: &mut Queue, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| queue.next(now).map(|pull| pull.number)).collect()
    }

    #[test]
    fn threat_nobody_takes_the_time_of_others() {
        let start = Instant::now();
        let mut queue = Queue::default();
        for number in 1..=5 {
            queue.put(pull(number, "mallory"), false);
        }
        queue.put(pull(6, "alice"), false);
        // In the order of numbers, until somebody had more than his share.
        assert_eq!(queue.next(start).map(|pull| pull.number), Some(1));
        queue.took("mallory", Duration::from_secs(12), start);
        queue.put(pull(1, "mallory"), true);
        assert_eq!(queue.next(start).map(|pull| pull.number), Some(6));
        queue.took("alice", Duration::from_secs(1), start);
        queue.put(pull(7, "alice"), false);
        assert_eq!(order(&mut queue, start), [7, 2, 3, 4, 5, 1], "a long look is the last");
        // A long look of one who used little waits for first looks of others all the same, but not for long ones.
        queue.put(pull(1, "mallory"), true);
        queue.put(pull(2, "mallory"), false);
        queue.put(pull(8, "bob"), true);
        assert_eq!(order(&mut queue, start), [2, 8, 1]);
        // It is forgotten in time.
        let later = start + HALF_LIFE * 2;
        queue.put(pull(3, "mallory"), false);
        queue.put(pull(9, "alice"), false);
        assert_eq!(order(&mut queue, later), [3, 9]);
        queue.took("alice", Duration::from_secs(1), start + HALF_LIFE * 20);
        assert_eq!(queue.used.len(), 1, "{:?}", queue.used);
    }

    #[test]
    fn a_newer_head_takes_the_place_of_an_older_one() {
        let mut queue = Queue::default();
        queue.put(pull(1, "alice"), true);
        queue.put(pull(1, "alice"), false);
        queue.put(pull(2, "alice"), false);
        queue.remove(2);
        assert_eq!(order(&mut queue, Instant::now()), [1]);
        assert!(queue.is_empty());
    }
}

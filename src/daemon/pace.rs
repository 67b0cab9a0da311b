//! How soon after a fetch the next one comes.

use std::time::Duration;

use fairlead_core::model::digest::CommitId;

/// Longest wait between two tries at a repository that can't be fetched.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// Hints make no more fetches than one in this time.
const SPACING: Duration = Duration::from_millis(100);
/// The same while the repository can't be fetched: doubled with each failure, up to this.
const MAX_SPACING: Duration = Duration::from_secs(30);
/// Forges tell of a commit before their Git shows it: so long after the first fetch without it comes the second.
const CHASE: Duration = Duration::from_millis(200);
/// Then polling does.
const CHASES: u32 = 6;

/// What is known of the fetches so far.
pub struct Pace {
    poll: Duration,
    failures: u32,
    head: Option<CommitId>,
    /// A commit that was announced and has not come, and how many fetches were without it.
    awaited: Option<(CommitId, u32)>,
}

impl Pace {
    pub fn new(poll: Duration) -> Self {
        Self { poll, failures: 0, head: None, awaited: None }
    }

    /// Which commit a fetch that begins now should bring.
    pub fn expect(&mut self, announced: Option<CommitId>) -> Option<CommitId> {
        if let Some(commit) = announced.filter(|commit| self.awaited.is_none_or(|(old, _)| old != *commit)) {
            self.awaited = Some((commit, 0));
        }
        self.awaited.map(|(commit, _)| commit)
    }

    pub fn fetched(&mut self, head: CommitId, arrived: bool) {
        self.failures = 0;
        self.head = Some(head);
        self.awaited = match self.awaited {
            Some((commit, fetches)) if !arrived && fetches < CHASES => Some((commit, fetches + 1)),
            _ => None,
        };
    }

    /// Gives how many failures there were in a row.
    pub fn failed(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// Whether a commit that is announced is the head already.
    pub fn has(&self, commit: CommitId) -> bool {
        self.failures == 0 && self.head == Some(commit)
    }

    /// Until the next fetch that nobody asks for: the poll interval, doubled for each failure up to a limit, and
    /// jittered by a tenth so that many daemons don't come at once. `random` is in 0..1.
    pub fn pause(&self, random: f64) -> Duration {
        if let (Some((_, fetches)), 0) = (self.awaited, self.failures) {
            return (CHASE * doubled(fetches.saturating_sub(1))).min(self.poll);
        }
        let mut backoff = self.poll.saturating_mul(doubled(self.failures)).min(MAX_BACKOFF.max(self.poll));
        if self.awaited.is_some() {
            // There is something to fetch, if only the forge were back.
            backoff = backoff.min(CHASE.saturating_mul(doubled(self.failures)).min(MAX_SPACING));
        }
        backoff.mul_f64(0.9 + 0.2 * random)
    }

    /// Until a hint may make the next fetch.
    pub fn spacing(&self) -> Duration {
        SPACING.saturating_mul(doubled(self.failures)).min(MAX_SPACING)
    }
}

fn doubled(times: u32) -> u32 {
    1u32.checked_shl(times).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(n: u8) -> CommitId {
        CommitId::from_bytes([n; 20])
    }

    fn after_failures(poll: Duration, failures: u32) -> Pace {
        let mut pace = Pace::new(poll);
        for failure in 1..=failures {
            assert_eq!(pace.failed(), failure);
        }
        pace
    }

    #[test]
    fn broken_sources_are_asked_ever_less() {
        let poll = Duration::from_secs(30);
        let pauses = [0, 1, 2, 3, 4, 40].map(|n| after_failures(poll, n).pause(0.5).as_secs());
        assert_eq!(pauses, [30, 60, 120, 240, 300, 300]);
        assert_eq!(Pace::new(Duration::from_secs(3600)).pause(0.5), Duration::from_secs(3600));
        // And hints, however many come, don't change that by much.
        let mut promised = after_failures(poll, 3);
        promised.expect(Some(commit(1)));
        assert_eq!(promised.pause(0.5).as_millis(), 1_600, "a commit that was announced is worth more tries");
        let spacings = [0, 1, 5, 9, 40].map(|n| after_failures(poll, n).spacing().as_millis());
        assert_eq!(spacings, [100, 200, 3_200, 30_000, 30_000]);
    }

    #[test]
    fn a_commit_that_was_announced_is_looked_for_until_it_is_there_or_given_up() {
        let mut pace = Pace::new(Duration::from_secs(30));
        pace.fetched(commit(1), true);
        assert_eq!(pace.expect(Some(commit(2))), Some(commit(2)));
        let mut pauses = Vec::new();
        for _ in 0..4 {
            pace.fetched(commit(1), false);
            pauses.push(pace.pause(0.5).as_millis());
            assert_eq!(pace.expect(None), Some(commit(2)));
        }
        assert_eq!(pauses, [200, 400, 800, 1_600]);
        // The last word wins, and begins anew.
        assert_eq!(pace.expect(Some(commit(3))), Some(commit(3)));
        pace.fetched(commit(1), false);
        assert_eq!(pace.pause(0.5).as_millis(), 200);
        pace.fetched(commit(3), true);
        assert_eq!((pace.expect(None), pace.pause(0.5)), (None, Duration::from_secs(30)));
        assert!(pace.has(commit(3)) && !pace.has(commit(2)));
        // One that never comes is given up.
        pace.expect(Some(commit(4)));
        (0..=CHASES).for_each(|_| pace.fetched(commit(3), false));
        assert_eq!((pace.expect(None), pace.pause(0.5)), (None, Duration::from_secs(30)));
    }
}

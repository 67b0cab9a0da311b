//! How often one object is healed: one pace, whatever brought the drift.
//!
//! The first heal is at once; each that follows waits twice as long after the one before, from the first wait to the
//! longest. An object that stood as it should for long enough starts anew. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use fairlead_core::model::object::ObjectKey;

const ROOM: usize = 1_024;

/// How long one object is waited for.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Looks and heals in a row.
    steps: u32,
    /// Of them, heals.
    heals: usize,
    /// When the last of them was due.
    last: Instant,
    /// Whether the last step was counted as a heal.
    counted: bool,
}

/// The paces of all objects that were healed lately.
#[derive(Debug)]
pub struct Paces {
    of: BTreeMap<ObjectKey, Pace>,
    first: Duration,
    longest: Duration,
    /// More heals in a row than this are a fight.
    most: usize,
    /// What stood this long starts anew.
    quiet: Duration,
    /// How many are kept before those that are quiet are looked for.
    room: usize,
}

/// What is to be said of a heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heal {
    /// It begins a pace of its own: what follows at the same pace is not logged again.
    pub log: bool,
    /// It is the first beyond what is no fight.
    pub contested: bool,
}

impl Paces {
    pub fn new((first, longest): (Duration, Duration), most: usize, quiet: Duration) -> Self {
        Self { of: BTreeMap::new(), first, longest, most, quiet, room: ROOM }
    }

    /// Takes the next step on an object; how long it must wait. A step that still waits is not taken again.
    pub fn step(&mut self, key: &ObjectKey, now: Instant) -> Duration {
        let (quiet, rests) = (self.quiet, |pace: &Pace| now.saturating_duration_since(pace.last));
        if self.of.len() >= self.room {
            self.of.retain(|_, pace| rests(pace) < quiet);
            self.room = ROOM.max(self.of.len() * 2);
        }
        self.of.remove(key).filter(|pace| rests(pace) < quiet).map(|pace| self.of.insert(key.clone(), pace));
        let new = Pace { steps: 0, heals: 0, last: now, counted: false };
        let pace = self.of.entry(key.clone()).or_insert(new);
        if pace.last > now {
            return pace.last.duration_since(now);
        }
        pace.counted = false;
        let due = match pace.steps {
            0 => now,
            steps => (pace.last + wait(self.first, self.longest, steps)).max(now),
        };
        pace.steps = pace.steps.saturating_add(1);
        pace.last = due;
        due.saturating_duration_since(now)
    }

    /// Counts a heal of an object that has taken its step.
    pub fn heal(&mut self, key: &ObjectKey) -> Heal {
        let Some(pace) = self.of.get_mut(key) else { return Heal { log: true, contested: false } };
        if std::mem::replace(&mut pace.counted, true) {
            return Heal { log: false, contested: false };
        }
        pace.heals += 1;
        let at = |steps: u32| if steps == 0 { Duration::ZERO } else { wait(self.first, self.longest, steps) };
        let log = pace.steps <= 1 || at(pace.steps - 1) != at(pace.steps.saturating_sub(2));
        Heal { log, contested: pace.heals == self.most + 1 }
    }

    /// Whether an object is healed more often than is no fight.
    pub fn is_contested(&self, key: &ObjectKey) -> bool {
        self.of.get(key).is_some_and(|pace| pace.heals > self.most)
    }
}

fn wait(first: Duration, longest: Duration, steps: u32) -> Duration {
    first.saturating_mul(1 << (steps - 1).min(20)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("", "ConfigMap", "shop", name)
    }

    fn paces() -> Paces {
        Paces::new((Duration::from_secs(1), Duration::from_secs(300)), 5, Duration::from_secs(3_600))
    }

    /// The waits of an object that drifts again `after` seconds, each time it is healed.
    fn waits(paces: &mut Paces, rounds: usize, after: u64) -> (Vec<u64>, Vec<bool>) {
        let mut now = Instant::now();
        let (mut all, mut contested) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let wait = paces.step(&key("x"), now);
            contested.push(paces.heal(&key("x")).contested);
            all.push(wait.as_secs());
            now += wait + Duration::from_secs(after);
        }
        (all, contested)
    }

    #[test]
    fn the_pace_doubles_from_a_second_to_five_minutes() {
        let (all, contested) = waits(&mut paces(), 13, 0);
        assert_eq!(all, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(contested.iter().position(|said| *said), Some(5), "the sixth");
        assert_eq!(contested.iter().filter(|said| **said).count(), 1, "said once");
    }

    #[test]
    fn what_comes_slowly_is_healed_at_once_and_contested_all_the_same() {
        let (all, contested) = waits(&mut paces(), 8, 600);
        assert_eq!(all, [0; 8]);
        assert_eq!(contested.iter().position(|said| *said), Some(5));
        let (all, contested) = waits(&mut paces(), 9, 3_600);
        assert_eq!(all, [0; 9]);
        assert!(contested.iter().all(|said| !said), "once an hour is no fight");
    }

    #[test]
    fn what_stood_long_enough_starts_anew_and_others_are_not_meant() {
        let mut paces = paces();
        waits(&mut paces, 9, 0);
        assert!(paces.is_contested(&key("x")) && !paces.is_contested(&key("y")));
        assert_eq!(paces.step(&key("y"), Instant::now()), Duration::ZERO);
        let later = Instant::now() + Duration::from_secs(20_000);
        assert_eq!(paces.step(&key("x"), later), Duration::ZERO);
        assert!(!paces.is_contested(&key("x")));
        let far = later + Duration::from_secs(20_000);
        for n in 0..3_000 {
            paces.step(&key(&format!("n-{n}")), if n < 2_000 { later } else { far });
        }
        assert!(paces.of.len() <= 1_100, "what is quiet is forgotten");
    }

    #[test]
    fn a_step_that_waits_is_not_taken_again() {
        let mut paces = paces();
        let now = Instant::now();
        for _ in 0..20 {
            paces.step(&key("x"), now);
            paces.heal(&key("x"));
            assert!(paces.step(&key("x"), now) <= Duration::from_secs(1));
        }
        assert!(!paces.is_contested(&key("x")), "plans that are made again are no heals");
    }

    #[test]
    fn a_pace_is_logged_once() {
        let mut paces = paces();
        let mut now = Instant::now();
        let logs: Vec<bool> = (0..14)
            .map(|_| {
                now += paces.step(&key("x"), now);
                paces.heal(&key("x")).log
            })
            .collect();
        assert_eq!(logs.iter().filter(|log| **log).count(), 11);
        assert!(logs[..11].iter().all(|log| *log) && !logs[11]);
    }
}

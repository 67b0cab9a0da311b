//! Who could start, by the windows that bind them.
//!
//! Clusters of one wave in one time zone share their windows: they stand in one queue, which is open or closed as a
//! whole. So 5,000 clusters cost as many looks at a calendar as there are time zones and waves.

use std::collections::BTreeSet;

use super::waves;
use crate::model::fleet::Window;
use crate::model::schedule::TimeZoneName;
use crate::rollout::state::Record;
use crate::rollout::windows::Opening;

/// Those of one wave and one time zone, by what they could start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowQueue {
    pub turns: BTreeSet<usize>,
    pub swaps: BTreeSet<usize>,
    pub reverts: BTreeSet<usize>,
    pub catch_ups: BTreeSet<usize>,
    /// In the queues that are bound by the fleet's windows alone: pins ignore waves.
    pub pins: BTreeSet<usize>,
}

/// Every queue: of each time zone, one for each wave and a last one, bound by the fleet's windows alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowQueues {
    pub waves: usize,
    /// Those of the targets; just one, which says nothing, in a fleet without windows.
    pub zones: Vec<Option<TimeZoneName>>,
    /// Number of each target's time zone.
    of: Vec<u16>,
    pub queues: Vec<WindowQueue>,
}

/// What was found out about the queues' windows, as long as it holds.
#[derive(Debug, Clone, Default)]
pub struct Calendar {
    zones: Vec<Option<TimeZoneName>>,
    pub openings: Vec<Option<Opening>>,
}

impl WindowQueue {
    pub fn is_empty(&self) -> bool {
        let sets = [&self.turns, &self.swaps, &self.reverts, &self.catch_ups, &self.pins];
        sets.into_iter().all(BTreeSet::is_empty)
    }
}

impl WindowQueues {
    /// Empty queues for the targets as they are.
    pub fn new(record: &Record) -> Self {
        let waves = waves::count(record);
        let mut zones: Vec<Option<TimeZoneName>> = Vec::new();
        let mut of = vec![0; record.targets.len()];
        if has_windows(record) {
            let mut last = 0;
            for (target, number) in record.targets.iter().zip(&mut of) {
                if zones.get(last) != Some(&target.time_zone) {
                    last = zones.iter().position(|zone| *zone == target.time_zone).unwrap_or(zones.len());
                    if last == zones.len() {
                        zones.push(target.time_zone.clone());
                    }
                }
                *number = u16::try_from(last).unwrap_or(u16::MAX);
            }
        } else {
            zones.push(None);
        }
        let queues = vec![WindowQueue::default(); zones.len() * (waves + 1)];
        Self { waves, zones, of, queues }
    }

    /// The queue of a target in its wave; without a wave, the one of the fleet's windows alone.
    pub fn number(&self, index: usize, wave: Option<usize>) -> usize {
        let zone = self.of.get(index).copied().map_or(0, usize::from);
        zone * (self.waves + 1) + wave.unwrap_or(self.waves).min(self.waves)
    }

    pub fn get_mut(&mut self, number: usize) -> Option<&mut WindowQueue> {
        self.queues.get_mut(number)
    }

    pub fn of_wave(&self, wave: Option<usize>) -> impl Iterator<Item = (usize, &WindowQueue)> {
        let first = wave.unwrap_or(self.waves).min(self.waves);
        self.queues.iter().enumerate().skip(first).step_by(self.waves + 1)
    }
}

impl Calendar {
    /// Forgets everything: the windows may be others.
    pub fn clear(&mut self) {
        self.openings.clear();
    }

    /// Keeps what holds for these queues, too.
    pub fn fit(&mut self, queues: &WindowQueues) {
        if self.zones != queues.zones || self.openings.len() != queues.queues.len() {
            self.zones.clone_from(&queues.zones);
            self.openings = vec![None; queues.queues.len()];
        }
    }
}

fn has_windows(record: &Record) -> bool {
    let fleet = record.head.as_ref().is_some_and(|head| !head.policy.windows.is_empty());
    fleet || waves::declared(record).iter().any(|wave| !wave.windows.is_empty())
}

/// The windows that bind a queue: the fleet's, and its wave's.
pub fn levels(record: &Record, wave: Option<usize>) -> [&[Window]; 2] {
    let fleet = record.head.as_ref().map(|head| head.policy.windows.as_slice()).unwrap_or_default();
    let wave = wave.and_then(|wave| waves::declared(record).get(wave)).map(|wave| wave.windows.as_slice());
    [fleet, wave.unwrap_or_default()]
}

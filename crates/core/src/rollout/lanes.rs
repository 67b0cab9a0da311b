//! Who could start, by the windows that bind them.
//!
//! Clusters of one wave in one time zone share their windows: they stand in one lane, which is open or closed as a
//! whole. So 5,000 clusters cost as many looks at a calendar as there are time zones and waves.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::state::{FleetState, Record};
use super::target::{Moment, Target};
use super::waves;
use super::windows::{Opening, opening};
use crate::model::fleet::Window;
use crate::model::schedule::TimeZoneName;

/// Those of one wave and one time zone, by what they could start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lane {
    pub turns: BTreeSet<usize>,
    pub swaps: BTreeSet<usize>,
    pub reverts: BTreeSet<usize>,
    pub catch_ups: BTreeSet<usize>,
    /// In the lanes that are bound by the fleet's windows alone: pins ignore waves.
    pub pins: BTreeSet<usize>,
}

/// Every lane: of each time zone, one for each wave and a last one, bound by the fleet's windows alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lanes {
    waves: usize,
    /// Those of the targets; just one, which says nothing, in a fleet without windows.
    zones: Vec<Option<TimeZoneName>>,
    /// Number of each target's time zone.
    of: Vec<u16>,
    lanes: Vec<Lane>,
}

/// What was found out about the lanes' windows, as long as it holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Calendar {
    zones: Vec<Option<TimeZoneName>>,
    openings: Vec<Option<Opening>>,
}

/// Those of a wave whose windows are closed.
pub(super) struct Closed {
    pub count: usize,
    /// The next opening, and the time zone to show it in; none: none comes.
    pub opens: Option<Timestamp>,
    pub zone: TimeZoneName,
}

impl Lane {
    fn is_empty(&self) -> bool {
        let sets = [&self.turns, &self.swaps, &self.reverts, &self.catch_ups, &self.pins];
        sets.into_iter().all(BTreeSet::is_empty)
    }
}

impl Lanes {
    /// Empty lanes for the targets as they are.
    pub fn new(r: &Record) -> Self {
        let waves = waves::count(r);
        let mut zones: Vec<Option<TimeZoneName>> = Vec::new();
        let mut of = vec![0; r.targets.len()];
        if has_windows(r) {
            let mut last = 0;
            for (target, number) in r.targets.iter().zip(&mut of) {
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
        let lanes = vec![Lane::default(); zones.len() * (waves + 1)];
        Self { waves, zones, of, lanes }
    }

    /// The lane of a target in its wave; without a wave, the one of the fleet's windows alone.
    pub fn number(&self, index: usize, wave: Option<usize>) -> usize {
        let zone = self.of.get(index).copied().map_or(0, usize::from);
        zone * (self.waves + 1) + wave.unwrap_or(self.waves).min(self.waves)
    }

    pub fn get_mut(&mut self, number: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(number)
    }

    fn of_wave(&self, wave: Option<usize>) -> impl Iterator<Item = (usize, &Lane)> {
        let first = wave.unwrap_or(self.waves).min(self.waves);
        self.lanes.iter().enumerate().skip(first).step_by(self.waves + 1)
    }
}

impl Calendar {
    /// Forgets everything: the windows may be others.
    pub fn clear(&mut self) {
        self.openings.clear();
    }

    /// Keeps what holds for these lanes, too.
    pub fn fit(&mut self, lanes: &Lanes) {
        if self.zones != lanes.zones || self.openings.len() != lanes.lanes.len() {
            self.zones.clone_from(&lanes.zones);
            self.openings = vec![None; lanes.lanes.len()];
        }
    }
}

fn has_windows(r: &Record) -> bool {
    let fleet = r.head.as_ref().is_some_and(|head| !head.policy.windows.is_empty());
    fleet || waves::declared(r).iter().any(|wave| !wave.windows.is_empty())
}

/// The windows that bind a lane: the fleet's, and its wave's.
fn levels(r: &Record, wave: Option<usize>) -> [&[Window]; 2] {
    let fleet = r.head.as_ref().map(|head| head.policy.windows.as_slice()).unwrap_or_default();
    let wave = wave.and_then(|wave| waves::declared(r).get(wave)).map(|wave| wave.windows.as_slice());
    [fleet, wave.unwrap_or_default()]
}

fn turn(opening: Opening) -> Option<Timestamp> {
    match opening {
        Opening::Open { until } => until,
        Opening::Closed { opens } => opens,
    }
}

/// Whether changes may start in a lane now, from what is known or by looking.
fn peek(state: &FleetState, lane: usize) -> Opening {
    let lanes = &state.tally.lanes;
    let now = Timestamp::from(state.r.clock);
    let known = state.calendar.openings.get(lane).copied().flatten();
    if let Some(known) = known.filter(|known| turn(*known).is_none_or(|turn| turn > now)) {
        return known;
    }
    let (zone, wave) = (lane / (lanes.waves + 1), lane % (lanes.waves + 1));
    let wave = (wave < lanes.waves).then_some(wave);
    opening(&levels(&state.r, wave), lanes.zones.get(zone).and_then(Option::as_ref), now)
}

/// The same, and keeps what it found.
fn look(state: &mut FleetState, lane: usize) -> Opening {
    let found = peek(state, lane);
    state.calendar.fit(&state.tally.lanes);
    if let Some(known) = state.calendar.openings.get_mut(lane) {
        *known = Some(found);
    }
    found
}

/// The first, by name, that may start for one reason; `any`: windows or not.
pub(super) fn next(
    state: &mut FleetState,
    wave: Option<usize>,
    any: bool,
    kind: impl Fn(&Lane) -> &BTreeSet<usize>,
) -> Option<usize> {
    let firsts = state.tally.lanes.of_wave(wave);
    let firsts = firsts.filter_map(|(lane, queues)| Some((*kind(queues).first()?, lane)));
    let mut firsts: Vec<_> = firsts.collect();
    firsts.sort_unstable();
    let mut open = |lane: usize| any || matches!(look(state, lane), Opening::Open { .. });
    firsts.into_iter().find(|(_, lane)| open(*lane)).map(|(index, _)| index)
}

/// When the windows of anyone who could start open or close next.
pub(super) fn next_turn(state: &mut FleetState) -> Option<Moment> {
    let front = waves::frontier(state).unwrap_or(state.tally.lanes.waves);
    let lanes = &state.tally.lanes;
    // Whoever waits for another wave does not wait for a window yet.
    let counts = |lane: &(usize, &Lane)| {
        let wave = lane.0 % (lanes.waves + 1);
        !lane.1.is_empty() && (wave <= front || wave == lanes.waves || !lane.1.catch_ups.is_empty())
    };
    let mut numbers: Vec<usize> =
        lanes.lanes.iter().enumerate().filter(counts).map(|(lane, _)| lane).collect();
    numbers.extend(state.tally.leaving.iter().map(|index| lanes.number(*index, None)));
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().filter_map(|lane| turn(look(state, lane))).min().map(Moment::from)
}

/// The next opening for someone who waits for one.
pub(super) fn next_opening(state: &FleetState) -> Option<Timestamp> {
    let lanes = &state.tally.lanes;
    let waiting = lanes.lanes.iter().enumerate().filter(|(_, lane)| !lane.is_empty()).map(|(lane, _)| lane);
    let leaving = state.tally.leaving.iter().map(|index| lanes.number(*index, None));
    let opens = |lane| match peek(state, lane) {
        Opening::Closed { opens } => opens,
        Opening::Open { .. } => None,
    };
    waiting.chain(leaving).filter_map(opens).min()
}

/// Whether a target may leave now: that is a change, too.
pub(super) fn may_leave(state: &mut FleetState, index: usize) -> bool {
    let lane = state.tally.lanes.number(index, None);
    matches!(look(state, lane), Opening::Open { .. })
}

/// What closed windows keep of the change of a wave.
pub(super) fn closed(state: &FleetState, wave: usize) -> Closed {
    let any = reverts_any_time(&state.r);
    let mut closed = Closed { count: 0, opens: None, zone: TimeZoneName::utc() };
    for (lane, queues) in state.tally.lanes.of_wave(Some(wave)) {
        let reverts = if any { 0 } else { queues.reverts.len() };
        let waiting = queues.turns.len() + queues.swaps.len() + reverts;
        if waiting == 0 {
            continue;
        }
        if let Opening::Closed { opens } = peek(state, lane) {
            closed.count += waiting;
            if opens.is_some_and(|opens| closed.opens.is_none_or(|first| opens < first))
                || closed.count == waiting
            {
                (closed.opens, closed.zone) = (opens, shown_in(state, lane, Some(wave)));
            }
        }
    }
    closed
}

/// When the windows of a target open, if they are closed; and the time zone to show that in. `wave`: or the fleet's
/// alone.
pub(super) fn closed_for(
    state: &FleetState,
    index: usize,
    wave: Option<usize>,
) -> Option<(Option<Timestamp>, TimeZoneName)> {
    let lane = state.tally.lanes.number(index, wave);
    match peek(state, lane) {
        Opening::Open { .. } => None,
        Opening::Closed { opens } => Some((opens, shown_in(state, lane, wave))),
    }
}

/// The lane's own time zone, else the one of a window, else UTC.
fn shown_in(state: &FleetState, lane: usize, wave: Option<usize>) -> TimeZoneName {
    let lanes = &state.tally.lanes;
    let own = lanes.zones.get(lane / (lanes.waves + 1)).cloned().flatten();
    let [fleet, wave] = levels(&state.r, wave);
    own.or_else(|| fleet.iter().chain(wave).find_map(|window| window.time_zone.clone()))
        .unwrap_or_else(TimeZoneName::utc)
}

/// Whether reverts need not wait for windows.
pub(super) fn reverts_any_time(r: &Record) -> bool {
    r.head.as_ref().is_none_or(|head| head.policy.rollout.allow_reverts)
}

/// The number of a target's wave, as lanes and tallies count.
pub(super) fn wave_of(target: &Target, waves: usize) -> usize {
    usize::from(target.wave).min(waves.saturating_sub(1))
}

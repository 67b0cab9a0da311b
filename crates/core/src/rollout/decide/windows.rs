//! Who could start, by the windows that bind them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::waves;
use crate::model::schedule::TimeZoneName;
use crate::rollout::state::target::UnixMillis;
use crate::rollout::state::window_queues::{WindowQueue, levels};
use crate::rollout::state::{FleetState, Record};
use crate::rollout::windows::{Opening, opening};

/// Those of a wave whose windows are closed.
pub struct Closed {
    pub count: usize,
    /// The next opening, and the time zone to show it in; none: none comes.
    pub opens: Option<Timestamp>,
    pub zone: TimeZoneName,
}

fn turn(opening: Opening) -> Option<Timestamp> {
    match opening {
        Opening::Open { until } => until,
        Opening::Closed { opens } => opens,
    }
}

/// Whether changes may start in a queue now, from what is known or by looking.
fn peek(state: &FleetState, queue: usize) -> Opening {
    let queues = &state.index.queues;
    let now = Timestamp::from(state.record.clock);
    let known = state.calendar.openings.get(queue).copied().flatten();
    if let Some(known) = known.filter(|known| turn(*known).is_none_or(|turn| turn > now)) {
        return known;
    }
    let (zone, wave) = (queue / (queues.waves + 1), queue % (queues.waves + 1));
    let wave = (wave < queues.waves).then_some(wave);
    opening(&levels(&state.record, wave), queues.zones.get(zone).and_then(Option::as_ref), now)
}

/// The same, and keeps what it found.
fn look(state: &mut FleetState, queue: usize) -> Opening {
    let found = peek(state, queue);
    state.calendar.fit(&state.index.queues);
    if let Some(known) = state.calendar.openings.get_mut(queue) {
        *known = Some(found);
    }
    found
}

/// The first, by name, that may start for one reason; `any`: windows or not.
pub fn next(
    state: &mut FleetState,
    wave: Option<usize>,
    any: bool,
    kind: impl Fn(&WindowQueue) -> &BTreeSet<usize>,
) -> Option<usize> {
    let firsts = state.index.queues.of_wave(wave);
    let firsts = firsts.filter_map(|(queue, queues)| Some((*kind(queues).first()?, queue)));
    let mut firsts: Vec<_> = firsts.collect();
    firsts.sort_unstable();
    let mut open = |queue: usize| any || matches!(look(state, queue), Opening::Open { .. });
    firsts.into_iter().find(|(_, queue)| open(*queue)).map(|(index, _)| index)
}

/// When the windows of anyone who could start open or close next.
pub fn next_turn(state: &mut FleetState) -> Option<UnixMillis> {
    let front = waves::frontier(state).unwrap_or(state.index.queues.waves);
    let queues = &state.index.queues;
    // Whoever waits for another wave does not wait for a window yet.
    let counts = |queue: &(usize, &WindowQueue)| {
        let wave = queue.0 % (queues.waves + 1);
        !queue.1.is_empty() && (wave <= front || wave == queues.waves || !queue.1.catch_ups.is_empty())
    };
    let mut numbers: Vec<usize> =
        queues.queues.iter().enumerate().filter(counts).map(|(queue, _)| queue).collect();
    numbers.extend(state.index.leaving.iter().map(|index| queues.number(*index, None)));
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().filter_map(|queue| turn(look(state, queue))).min().map(UnixMillis::from)
}

/// The next opening for someone who waits for one.
pub fn next_opening(state: &FleetState) -> Option<Timestamp> {
    let queues = &state.index.queues;
    let waiting =
        queues.queues.iter().enumerate().filter(|(_, queue)| !queue.is_empty()).map(|(queue, _)| queue);
    let leaving = state.index.leaving.iter().map(|index| queues.number(*index, None));
    let opens = |queue| match peek(state, queue) {
        Opening::Closed { opens } => opens,
        Opening::Open { .. } => None,
    };
    waiting.chain(leaving).filter_map(opens).min()
}

/// Whether a target may leave now: that is a change, too.
pub fn may_leave(state: &mut FleetState, index: usize) -> bool {
    let queue = state.index.queues.number(index, None);
    matches!(look(state, queue), Opening::Open { .. })
}

/// What closed windows keep of the change of a wave.
pub fn closed(state: &FleetState, wave: usize) -> Closed {
    let any = reverts_any_time(&state.record);
    let mut closed = Closed { count: 0, opens: None, zone: TimeZoneName::utc() };
    for (queue, queues) in state.index.queues.of_wave(Some(wave)) {
        let reverts = if any { 0 } else { queues.reverts.len() };
        let waiting = queues.turns.len() + queues.swaps.len() + reverts;
        if waiting == 0 {
            continue;
        }
        if let Opening::Closed { opens } = peek(state, queue) {
            closed.count += waiting;
            if opens.is_some_and(|opens| closed.opens.is_none_or(|first| opens < first))
                || closed.count == waiting
            {
                (closed.opens, closed.zone) = (opens, shown_in(state, queue, Some(wave)));
            }
        }
    }
    closed
}

/// When the windows of a target open, if they are closed; and the time zone to show that in. `wave`: or the fleet's
/// alone.
pub fn closed_for(
    state: &FleetState,
    index: usize,
    wave: Option<usize>,
) -> Option<(Option<Timestamp>, TimeZoneName)> {
    let queue = state.index.queues.number(index, wave);
    match peek(state, queue) {
        Opening::Open { .. } => None,
        Opening::Closed { opens } => Some((opens, shown_in(state, queue, wave))),
    }
}

/// The queue's own time zone, else the one of a window, else UTC.
fn shown_in(state: &FleetState, queue: usize, wave: Option<usize>) -> TimeZoneName {
    let queues = &state.index.queues;
    let own = queues.zones.get(queue / (queues.waves + 1)).cloned().flatten();
    let [fleet, wave] = levels(&state.record, wave);
    own.or_else(|| fleet.iter().chain(wave).find_map(|window| window.time_zone.clone()))
        .unwrap_or_else(TimeZoneName::utc)
}

/// Whether reverts need not wait for windows.
pub fn reverts_any_time(record: &Record) -> bool {
    record.head.as_ref().is_none_or(|head| head.policy.rollout.allow_reverts)
}

//! When changes may start: the windows of a fleet and of a wave, on a cluster's own clocks.

use jiff::{SignedDuration, Timestamp};

use crate::model::fleet::Window;
use crate::model::schedule::TimeZoneName;

/// Whether changes may start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// They may, until then; none: always, or for longer than is looked ahead.
    Open { until: Option<Timestamp> },
    /// They may not before then; none: never, or for longer than is looked ahead.
    Closed { opens: Option<Timestamp> },
}

/// How many times windows may change before a state counts as lasting for ever: windows that follow each
/// other without a gap (`* * * * *` for an hour) change each minute and never close.
const LOOK_AHEAD: usize = 2_000;

/// Whether changes may start now, by each level's windows: the fleet's, and the wave's. Every level must be
/// open. A level is open in any of its windows, or always if it has none that opens; `deny` closes above
/// all. A window is read in the cluster's own time zone, else in the window's, else in UTC.
pub fn opening(levels: &[&[Window]], own: Option<&TimeZoneName>, now: Timestamp) -> Opening {
    if levels.iter().all(|windows| windows.is_empty()) {
        return Opening::Open { until: None };
    }
    if levels.iter().any(|windows| opens(windows, own, now) != Some(now)) {
        return Opening::Closed { opens: next_opening(levels, own, now) };
    }
    let mut at = now;
    let changes = std::iter::from_fn(|| {
        at = levels.iter().flat_map(|windows| windows.iter()).filter_map(|w| change(w, own, at)).min()?;
        Some(at)
    });
    let closed = |at: &Timestamp| levels.iter().any(|windows| opens(windows, own, *at) != Some(*at));
    Opening::Open { until: changes.take(LOOK_AHEAD).find(closed) }
}

/// The first time from `now` on at which every level is open: from each time, to where the first closed one could
/// open, so that a window of each minute under one of each year is found in a few steps.
fn next_opening(levels: &[&[Window]], own: Option<&TimeZoneName>, now: Timestamp) -> Option<Timestamp> {
    let mut at = now;
    for _ in 0..LOOK_AHEAD {
        let mut latest = at;
        for windows in levels {
            latest = latest.max(opens(windows, own, at)?);
        }
        if latest == at {
            return Some(at);
        }
        at = latest;
    }
    None
}

/// `at` if a level is open then; else a later time before which it is not. None: it never is.
fn opens(windows: &[Window], own: Option<&TimeZoneName>, at: Timestamp) -> Option<Timestamp> {
    let (closing, opening): (Vec<&Window>, Vec<&Window>) = windows.iter().partition(|window| window.deny);
    if let Some(end) = closing.iter().filter_map(|window| ends(window, own, at)).max() {
        return Some(end);
    }
    if opening.is_empty() || opening.iter().any(|window| ends(window, own, at).is_some()) {
        return Some(at);
    }
    let utc = TimeZoneName::utc();
    opening.iter().filter_map(|window| window.schedule.next_start(at, zone(window, own, &utc))).min()
}

/// When a window that lasts now ends, by its last start.
fn ends(window: &Window, own: Option<&TimeZoneName>, at: Timestamp) -> Option<Timestamp> {
    let lasts = SignedDuration::try_from(window.duration.get()).ok()?;
    let start = window.schedule.last_start(at, zone(window, own, &TimeZoneName::utc()))?;
    start.checked_add(lasts).ok().filter(|end| *end > at)
}

/// The next time at which a window may turn: its end, or a start.
fn change(window: &Window, own: Option<&TimeZoneName>, at: Timestamp) -> Option<Timestamp> {
    ends(window, own, at).or_else(|| window.schedule.next_start(at, zone(window, own, &TimeZoneName::utc())))
}

fn zone<'a>(window: &'a Window, own: Option<&'a TimeZoneName>, utc: &'a TimeZoneName) -> &'a TimeZoneName {
    own.or(window.time_zone.as_ref()).unwrap_or(utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        let (deny, text) = text.strip_prefix("not ").map_or((false, text), |rest| (true, rest));
        let (schedule, rest) = text.split_once(" for ").unwrap();
        let (duration, zone) = rest.split_once(" in ").map_or((rest, None), |(d, zone)| (d, Some(zone)));
        Window {
            schedule: schedule.parse().unwrap(),
            duration: duration.parse().unwrap(),
            time_zone: zone.map(|zone| zone.parse().unwrap()),
            deny,
        }
    }

    /// `open until <time>`, `closed until <time>`, or `open` and `closed` for ever.
    fn at(now: &str, fleet: &[&str], wave: &[&str], own: Option<&str>) -> String {
        let [fleet, wave] = [fleet, wave].map(|texts| texts.iter().map(|t| window(t)).collect::<Vec<_>>());
        let own = own.map(|zone| zone.parse().unwrap());
        let (word, turn) = match opening(&[&fleet, &wave], own.as_ref(), now.parse().unwrap()) {
            Opening::Open { until } => ("open", until),
            Opening::Closed { opens } => ("closed", opens),
        };
        turn.map_or(word.to_owned(), |turn| format!("{word} until {turn}"))
    }

    #[test]
    fn a_fleet_without_windows_is_open() {
        assert_eq!(at("2026-11-23T10:00:00Z", &[], &[], None), "open");
    }

    #[test]
    fn windows_open_deny_closes_and_every_level_must_be_open() {
        let weekend = "0 1 * * Sat,Sun for 4h";
        let cases: &[(&str, &[&str], &[&str], &str)] = &[
            ("2026-11-23T10:00:00Z", &[weekend], &[], "closed until 2026-11-28T01:00:00Z"),
            ("2026-11-28T01:00:00Z", &[weekend], &[], "open until 2026-11-28T05:00:00Z"),
            ("2026-11-28T05:00:00Z", &[weekend], &[], "closed until 2026-11-29T01:00:00Z"),
            // Black Friday's week is closed, else always open.
            ("2026-11-26T10:00:00Z", &["not 0 0 23 11 * for 7d"], &[], "closed until 2026-11-30T00:00:00Z"),
            ("2026-11-30T00:00:00Z", &["not 0 0 23 11 * for 7d"], &[], "open until 2027-11-23T00:00:00Z"),
            // A closing one stands above an opening one.
            (
                "2026-11-28T01:00:00Z",
                &[weekend, "not 0 0 23 11 * for 7d"],
                &[],
                "closed until 2026-12-05T01:00:00Z",
            ),
            // The fleet's and the wave's: both.
            ("2026-11-28T01:00:00Z", &[weekend], &["0 3 * * * for 1h"], "closed until 2026-11-28T03:00:00Z"),
            ("2026-11-28T03:00:00Z", &[weekend], &["0 3 * * * for 1h"], "open until 2026-11-28T04:00:00Z"),
            ("2026-11-28T04:30:00Z", &[weekend], &["0 3 * * * for 1h"], "closed until 2026-11-29T03:00:00Z"),
            // Windows that overlap are one; such without a gap never close; such that never meet never open.
            ("2026-11-28T01:00:00Z", &["0 0-3 * * * for 2h"], &[], "open until 2026-11-28T05:00:00Z"),
            ("2026-11-28T01:00:00Z", &["* * * * * for 1h"], &[], "open"),
            ("2026-11-28T01:00:00Z", &["0 1 * * * for 1h"], &["0 3 * * * for 1h"], "closed"),
            // A minute of each hour under a day of each year.
            (
                "2026-11-28T01:00:00Z",
                &["30 * * * * for 1m"],
                &["0 0 1 7 * for 1d"],
                "closed until 2027-07-01T00:30:00Z",
            ),
        ];
        for (now, fleet, wave, expected) in cases {
            assert_eq!(at(now, fleet, wave, None), *expected, "{now} {fleet:?} {wave:?}");
        }
    }

    #[test]
    fn a_window_is_read_on_the_clusters_clocks_else_its_own_else_utc() {
        let berlin = &["0 1 * * * for 4h in Europe/Berlin"][..];
        assert_eq!(
            at("2026-11-23T10:00:00Z", &["0 1 * * * for 4h"], &[], None),
            "closed until 2026-11-24T01:00:00Z"
        );
        assert_eq!(at("2026-11-23T10:00:00Z", berlin, &[], None), "closed until 2026-11-24T00:00:00Z");
        let new_york = Some("America/New_York");
        assert_eq!(at("2026-11-23T10:00:00Z", berlin, &[], new_york), "closed until 2026-11-24T06:00:00Z");
    }
}

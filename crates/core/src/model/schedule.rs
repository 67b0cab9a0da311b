//! Schedules of windows as people write them, and when they start in a time zone.
//!
//! A schedule has the five fields of a Kubernetes CronJob (minute, hour, day of month, month, day of week;
//! 0 and 7 are Sunday), or is one of its macros (`@daily`). The `cron` crate evaluates it; that one wants
//! seconds first, counts the days of the week from 1 = Sunday, and joins day of month and day of week with
//! *and*, where cron joins them with *or*: hence the translation here.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a window starts, again and again.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    /// One, or two of which either counts: day of month and day of week are joined with *or*.
    either: Vec<cron::Schedule>,
}

/// The name of a time zone in the IANA database, e.g. `Europe/Berlin`. The database comes with the program,
/// so that a window means the same on every machine.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZoneName {
    name: String,
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    #[error(
        "'{0}' has {1} fields, not five: minute, hour, day of month, month, day of week, such as '0 1 * * Sat,Sun'"
    )]
    Fields(String, usize),
    #[error("'{text}' is no {field}: write {low} to {high}{names}, ranges and lists of them, or *")]
    Field { text: String, field: &'static str, low: u32, high: u32, names: &'static str },
    #[error("'{0}' never matches a date")]
    Never(String),
    #[error("'{0}' is no schedule; the macros are @yearly, @monthly, @weekly, @daily and @hourly")]
    Macro(String),
    #[error("'{0}' names a time zone, which has a key of its own: timeZone")]
    TimeZone(String),
    #[error("'{0}' is not a time zone of the IANA database such as Europe/Berlin")]
    UnknownTimeZone(String),
}

struct Field {
    name: &'static str,
    range: RangeInclusive<u32>,
    /// Where `*` and `5/10` end: Sunday's second number, 7, is not another day.
    last: u32,
    names: &'static [&'static str],
    /// What an error says of the names.
    words: &'static str,
}

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", range: 0..=59, last: 59, names: &[], words: "" },
    Field { name: "hour", range: 0..=23, last: 23, names: &[], words: "" },
    Field { name: "day of the month", range: 1..=31, last: 31, names: &[], words: "" },
    Field { name: "month", range: 1..=12, last: 12, names: &MONTHS, words: " or Jan to Dec" },
    Field { name: "day of the week", range: 0..=7, last: 6, names: &DAYS, words: " or Sun to Sat" },
];

/// As Kubernetes reads them: `CronJob` documents these of the library that it uses.
const MACROS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl FromStr for Schedule {
    type Err = InvalidSchedule;
    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let plain = match MACROS.iter().find(|(name, _)| *name == text.trim()) {
            Some((_, fields)) => fields,
            None if text.trim_start().starts_with('@') => {
                return Err(InvalidSchedule::Macro(text.to_owned()));
            }
            None if text.contains("TZ=") => return Err(InvalidSchedule::TimeZone(text.to_owned())),
            None => text,
        };
        let words: Vec<&str> = plain.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words[..] else {
            return Err(InvalidSchedule::Fields(text.to_owned(), words.len()));
        };
        let read = |n: usize, text| values(&FIELDS[n], text);
        let (minute, hour, month) = (read(0, minute)?, read(1, hour)?, read(3, month)?);
        let either = match (read(2, day)?, read(4, weekday)?) {
            (Some(day), Some(weekday)) => vec![(Some(day), None), (None, Some(weekday))],
            both => vec![both],
        };
        let translated = either.into_iter().map(|(day, weekday)| {
            // 1 is Sunday there, and 7 was the second name of Sunday here.
            let weekday = weekday.map(|days| days.into_iter().map(|day| day % 7 + 1).collect());
            let fields = [minute.clone(), hour.clone(), day, month.clone(), weekday].map(listed).join(" ");
            cron::Schedule::from_str(&format!("0 {fields}")).ok()
        });
        let never = || InvalidSchedule::Never(text.to_owned());
        let either = translated.collect::<Option<Vec<_>>>().ok_or_else(never)?;
        let schedule = Self { text: text.to_owned(), either };
        schedule.next_on_the_clock(civil::date(2000, 1, 1).at(0, 0, 0, 0)).map(|_| schedule).ok_or_else(never)
    }
}

/// The values of a field, or none for all of them; only `*` and `?` without a step are "all", as for cron.
fn values(field: &Field, text: &str) -> Result<Option<BTreeSet<u32>>, InvalidSchedule> {
    if text == "*" || text == "?" {
        return Ok(None);
    }
    let parts: Option<Vec<_>> = text.split(',').map(|part| part_values(field, part)).collect();
    let invalid = || InvalidSchedule::Field {
        text: text.to_owned(),
        field: field.name,
        low: *field.range.start(),
        high: *field.range.end(),
        names: field.words,
    };
    Ok(Some(parts.ok_or_else(invalid)?.into_iter().flatten().collect()))
}

/// `5`, `1-5`, `*/10`, `1-30/10`, or `5/10` for every tenth from 5 on.
fn part_values(field: &Field, part: &str) -> Option<Vec<u32>> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0)?)),
        None => (part, None),
    };
    let (low, high) = match range.split_once('-') {
        Some((low, high)) => (value(field, low)?, value(field, high)?),
        None if range == "*" || range == "?" => (*field.range.start(), field.last),
        None if step.is_some() => (value(field, range)?, field.last),
        None => (value(field, range)?, value(field, range)?),
    };
    (low <= high).then(|| (low..=high).step_by(step.unwrap_or(1) as usize).collect())
}

fn value(field: &Field, text: &str) -> Option<u32> {
    let low = text.to_ascii_lowercase();
    if let Some(at) = field.names.iter().position(|name| **name == low) {
        return u32::try_from(at).ok().map(|at| at + field.range.start());
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|value| digits && field.range.contains(value))
}

fn listed(values: Option<BTreeSet<u32>>) -> String {
    match values {
        None => "*".to_owned(),
        Some(values) => values.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
    }
}

impl Schedule {
    /// The first start after `now`. None if none comes before the year 2100.
    ///
    /// A start that a change of the clocks leaves out is moved to the end of the gap; an hour that comes
    /// twice starts once, the first time.
    pub fn next_start(&self, now: Timestamp, zone: &TimeZoneName) -> Option<Timestamp> {
        let mut clock = zone.clock(now, zone.zone.to_offset(now));
        // A start in the first pass of a doubled hour is over in the second one: look on.
        loop {
            clock = self.next_on_the_clock(clock)?;
            let start = zone.instant(clock)?;
            if start > now {
                return Some(start);
            }
        }
    }

    /// The last start that is not after `now`.
    pub fn last_start(&self, now: Timestamp, zone: &TimeZoneName) -> Option<Timestamp> {
        // In the second pass of a doubled hour, what the clock will show again has started before.
        let before = now.checked_sub(SignedDuration::from_hours(3)).ok()?;
        let offset = zone.zone.to_offset(now).max(zone.zone.to_offset(before));
        let mut clock = zone.clock(now, offset).saturating_add(SignedDuration::from_secs(1));
        loop {
            clock = self.last_on_the_clock(clock)?;
            let start = zone.instant(clock)?;
            if start <= now {
                return Some(start);
            }
        }
    }

    fn next_on_the_clock(&self, clock: civil::DateTime) -> Option<civil::DateTime> {
        let clock = to_chrono(clock)?;
        let next = self.either.iter().filter_map(|schedule| schedule.after(&clock).next()).min()?;
        from_chrono(next)
    }

    fn last_on_the_clock(&self, clock: civil::DateTime) -> Option<civil::DateTime> {
        let clock = to_chrono(clock)?;
        let last = self.either.iter().filter_map(|schedule| schedule.after(&clock).next_back()).max()?;
        from_chrono(last)
    }
}

/// A clock's time, written as if it were UTC: the `cron` crate is asked without any zone, because what it
/// does where clocks change is not what we want.
fn to_chrono(clock: civil::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(Offset::UTC.to_timestamp(clock).ok()?.as_second(), 0)
}

fn from_chrono(clock: DateTime<Utc>) -> Option<civil::DateTime> {
    Some(Offset::UTC.to_datetime(Timestamp::from_second(clock.timestamp()).ok()?))
}

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

impl TimeZoneName {
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// For people: a time on this zone's clocks, e.g. `Sat 2026-11-28 01:00 CET`.
    pub fn shown(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
    }

    /// What a clock with this offset shows, in whole seconds.
    fn clock(&self, time: Timestamp, offset: Offset) -> civil::DateTime {
        let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
        offset.to_datetime(whole)
    }

    /// When the clock shows this: the first time, and for what is left out, the end of the gap.
    fn instant(&self, clock: civil::DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(clock).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(clock).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(clock).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                let within = before.to_timestamp(clock).ok()?;
                let beyond = within.checked_add(SignedDuration::from_nanos(1)).ok()?;
                self.zone.preceding(beyond).next().map(|change| change.timestamp())
            }
        }
    }
}

impl FromStr for TimeZoneName {
    type Err = InvalidSchedule;
    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let zone = ZONES.get(text).map_err(|_| InvalidSchedule::UnknownTimeZone(text.to_owned()))?;
        Ok(Self { name: text.to_owned(), zone })
    }
}

/// A type that is its text: how it compares, shows, and is written in documents.
macro_rules! is_its_text {
    ($type:ident, $text:ident, $format:literal) => {
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.$text == other.$text
            }
        }
        impl Eq for $type {}
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.$text.fmt(f)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.$text)
            }
        }
        impl TryFrom<String> for $type {
            type Error = InvalidSchedule;
            fn try_from(text: String) -> Result<Self, InvalidSchedule> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.$text
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "format": $format})
            }
        }
    };
}

is_its_text!(Schedule, text, "cron");
is_its_text!(TimeZoneName, name, "time-zone");

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZoneName {
        name.parse().unwrap()
    }

    fn starts(schedule: &str, zone_name: &str, from: &str, count: usize) -> Vec<String> {
        let schedule: Schedule = schedule.parse().unwrap();
        let (zone, mut at) = (zone(zone_name), from.parse().unwrap());
        let next = std::iter::from_fn(|| {
            at = schedule.next_start(at, &zone)?;
            Some(at.to_string())
        });
        next.take(count).collect()
    }

    /// Monday is 2026-11-23.
    #[test]
    fn a_schedule_means_what_it_means_in_a_cron_job() {
        let cases = [
            ("30 1 * * *", ["2026-11-24T01:30:00Z", "2026-11-25T01:30:00Z"]),
            ("0 1 * * Sat,Sun", ["2026-11-28T01:00:00Z", "2026-11-29T01:00:00Z"]),
            ("0 1 * * 0", ["2026-11-29T01:00:00Z", "2026-12-06T01:00:00Z"]),
            ("0 1 * * 7", ["2026-11-29T01:00:00Z", "2026-12-06T01:00:00Z"]),
            ("0 1 * * 5-7", ["2026-11-27T01:00:00Z", "2026-11-28T01:00:00Z"]),
            ("0 1 * * 1", ["2026-11-30T01:00:00Z", "2026-12-07T01:00:00Z"]),
            // Sunday, Tuesday, Thursday and Saturday.
            ("0 1 * * */2", ["2026-11-24T01:00:00Z", "2026-11-26T01:00:00Z"]),
            ("0 1 * * 4/2", ["2026-11-26T01:00:00Z", "2026-11-28T01:00:00Z"]),
            // Either the first of the month or a Friday.
            ("0 0 1 * Fri", ["2026-11-27T00:00:00Z", "2026-12-01T00:00:00Z"]),
            ("0 0 1 * ?", ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
            ("*/20 10-11/1 * * *", ["2026-11-23T10:20:00Z", "2026-11-23T10:40:00Z"]),
            ("50/5 * * * *", ["2026-11-23T10:50:00Z", "2026-11-23T10:55:00Z"]),
            ("0 0 1 jan-Mar/2 *", ["2027-01-01T00:00:00Z", "2027-03-01T00:00:00Z"]),
            ("0 0 29 2 *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            ("@weekly", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
        ];
        for (schedule, expected) in cases {
            assert_eq!(starts(schedule, "UTC", "2026-11-23T10:00:00Z", 2), expected, "{schedule}");
        }
    }

    #[test]
    fn where_clocks_change_a_start_is_neither_lost_nor_doubled() {
        // Berlin goes from 02:00 to 03:00 on 2027-03-28, and from 03:00 back to 02:00 on 2026-10-25.
        let spring = starts("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z", 2);
        assert_eq!(spring, ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"], "moved to the end of the gap");
        let autumn = starts("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"], "the first of the two");
        let (schedule, berlin): (Schedule, _) = ("30 2 * * *".parse().unwrap(), zone("Europe/Berlin"));
        let last = |at: &str| schedule.last_start(at.parse().unwrap(), &berlin).unwrap().to_string();
        // Clocks show 02:10 for the second time: it has started 40 minutes before.
        assert_eq!(last("2026-10-25T01:10:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(last("2026-10-25T00:29:59Z"), "2026-10-24T00:30:00Z");
        assert_eq!(last("2026-10-25T00:30:00Z"), "2026-10-25T00:30:00Z");
    }

    proptest::proptest! {
        /// The last and the next start agree with each other and enclose the time, in zones that change.
        #[test]
        fn the_last_and_the_next_start_enclose_a_time(
            minute in 0u32..60, hour in 0u32..24, step in 1u32..30, seconds in 1_790_000_000i64..1_850_000_000,
            zone_name in proptest::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]),
            weekdays in proptest::sample::select(vec!["*", "0", "1-5", "6,7", "*/3"]),
        ) {
            let schedule: Schedule = format!("{minute}/{step} {hour} * * {weekdays}").parse().unwrap();
            let (zone, at) = (zone(zone_name), Timestamp::from_second(seconds).unwrap());
            let (last, next) = (schedule.last_start(at, &zone).unwrap(), schedule.next_start(at, &zone).unwrap());
            assert!(last <= at && at < next, "{last} {at} {next}");
            assert_eq!(schedule.next_start(last, &zone), Some(next), "nothing lies between");
            assert_eq!(schedule.last_start(next, &zone), Some(next));
        }
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        let cases = [
            (
                "0 1 * *",
                "'0 1 * *' has 4 fields, not five: minute, hour, day of month, month, day of week, such as '0 1 * * Sat,Sun'",
            ),
            ("61 1 * * *", "'61' is no minute: write 0 to 59, ranges and lists of them, or *"),
            ("0 24 * * *", "'24' is no hour: write 0 to 23, ranges and lists of them, or *"),
            (
                "0 1 * * Sat-Mon",
                "'Sat-Mon' is no day of the week: write 0 to 7 or Sun to Sat, ranges and lists of them, or *",
            ),
            ("0 1 * Foo *", "'Foo' is no month: write 1 to 12 or Jan to Dec, ranges and lists of them, or *"),
            ("0 1 */0 * *", "'*/0' is no day of the month: write 1 to 31, ranges and lists of them, or *"),
            ("0 1 1,,2 * *", "'1,,2' is no day of the month: write 1 to 31, ranges and lists of them, or *"),
            ("0 1 30 2 *", "'0 1 30 2 *' never matches a date"),
            (
                "@every 5m",
                "'@every 5m' is no schedule; the macros are @yearly, @monthly, @weekly, @daily and @hourly",
            ),
            (
                "CRON_TZ=UTC 0 1 * * *",
                "'CRON_TZ=UTC 0 1 * * *' names a time zone, which has a key of its own: timeZone",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Schedule>().unwrap_err().to_string(), expected);
        }
        let error = "Europe/Berlim".parse::<TimeZoneName>().unwrap_err().to_string();
        assert_eq!(error, "'Europe/Berlim' is not a time zone of the IANA database such as Europe/Berlin");
    }

    #[test]
    fn a_time_is_shown_on_the_zones_clocks() {
        assert_eq!(
            zone("Europe/Berlin").shown("2026-11-28T00:00:00Z".parse().unwrap()),
            "Sat 2026-11-28 01:00 CET"
        );
    }
}

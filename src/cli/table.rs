//! Tables and documents on a terminal, as kubectl prints them.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use fairlead_core::release::object_to_yaml;

/// Spaces between columns.
const GAP: usize = 3;

/// The value of `-o`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table for people.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    Json,
    Yaml,
    /// Names only, one a line.
    Name,
}

/// What a cell's text means, shown by its colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Busy,
    Bad,
    Faint,
    /// A heading.
    Strong,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

/// A table; columns may be for `-o wide` only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    columns: Vec<(&'static str, bool)>,
    rows: Vec<Vec<Cell>>,
}

/// What `-o` can print: a document, its table, its names.
pub trait Show: Serialize {
    fn table(&self, now: Timestamp) -> Table;
    /// For `-o name`.
    fn names(&self) -> Vec<String>;
}

impl Cell {
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: clean(&text.into()), tone }
    }
    /// `<none>`, as kubectl writes what isn't there.
    pub fn none() -> Self {
        Self::new("<none>", Tone::Faint)
    }
    /// With its colour.
    pub fn styled(&self) -> String {
        let style = self.tone.style();
        format!("{style}{}{style:#}", self.text)
    }
    pub fn or_none(text: Option<impl Into<String>>) -> Self {
        text.map_or_else(Self::none, |t| Self::new(t, Tone::Plain))
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl Table {
    /// Headers are printed in upper case.
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.iter().map(|c| (*c, false)).collect(), rows: Vec::new() }
    }

    /// Adds columns that only `-o wide` shows.
    #[must_use]
    pub fn wide(mut self, columns: &[&'static str]) -> Self {
        self.columns.extend(columns.iter().map(|c| (*c, true)));
        self
    }

    /// Adds a row: a cell for each column, the wide ones last. Missing ones stay empty.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As text with ANSI colours; `anstream` takes them out where they are not wanted. No line is wrapped or ends
    /// in spaces.
    pub fn render(&self, wide: bool) -> String {
        let shown: Vec<usize> = (0..self.columns.len()).filter(|i| wide || !self.columns[*i].1).collect();
        let cell = |row: &[Cell], i: usize| row.get(i).map_or(0, |c| c.text.chars().count());
        let width = |i: usize| {
            let header = self.columns[i].0.chars().count();
            self.rows.iter().map(|row| cell(row, i)).fold(header, usize::max)
        };
        let widths: Vec<usize> = shown.iter().map(|i| width(*i)).collect();
        let headers: Vec<Cell> =
            self.columns.iter().map(|(header, _)| header.to_uppercase().into()).collect();
        let mut text = String::new();
        for row in std::iter::once(&headers).chain(&self.rows) {
            let mut pending = 0;
            for (i, width) in shown.iter().zip(&widths) {
                let Some(cell @ Cell { text: content, .. }) = row.get(*i) else { continue };
                if !content.is_empty() {
                    text.extend(std::iter::repeat_n(' ', pending));
                    text.push_str(&cell.styled());
                    pending = 0;
                }
                pending += width - content.chars().count() + GAP;
            }
            text.push('\n');
        }
        text
    }
}

impl Tone {
    pub fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Busy => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

/// Text from clusters and repositories, fit for a terminal: control characters could drive it, line breaks would break
/// a table, and marks of writing direction could show one thing for another. All become spaces.
pub fn clean(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect()
}

/// Prints `value` in the way that was asked for.
pub fn print<T: Show>(out: &mut impl Write, value: &T, output: Output, now: Timestamp) -> io::Result<()> {
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, value)?;
            writeln!(out)
        }
        Output::Yaml => {
            let value = serde_json::to_value(value)?;
            out.write_all(object_to_yaml(&value).as_bytes())
        }
        Output::Name => value.names().iter().try_for_each(|name| writeln!(out, "{name}")),
        Output::Table | Output::Wide => {
            let table = value.table(now);
            if table.is_empty() {
                return writeln!(out, "No resources found.");
            }
            out.write_all(table.render(output == Output::Wide).as_bytes())
        }
    }
}

/// The time from `since` to `now` with at most two units, rounded as kubectl does (`duration.HumanDuration` of
/// apimachinery): `47s`, `5m10s`, `42m`, `3h5m`, `26h`, `3d2h`, `40d`. A time to come is `0s`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |major: i64, unit: &str, minor: i64, part: &str| match minor {
        0 => format!("{major}{unit}"),
        minor => format!("{major}{unit}{minor}{part}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if days < 365 * 8 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(table: &Table, wide: bool) -> String {
        anstream::adapter::strip_str(&table.render(wide)).to_string()
    }

    #[test]
    fn columns_align_and_no_line_ends_in_spaces() {
        let mut table = Table::new(&["name", "status", "age"]).wide(&["objects"]);
        table.row(["edge-001".into(), Cell::new("converged", Tone::Good), "5m".into(), "12".into()]);
        table.row(["ü".into(), Cell::new("", Tone::Bad), Cell::none(), "".into()]);
        let narrow = "NAME       STATUS      AGE\n\
                      edge-001   converged   5m\n\
                      ü                      <none>\n";
        assert_eq!(plain(&table, false), narrow);
        let wide = "NAME       STATUS      AGE      OBJECTS\n\
                    edge-001   converged   5m       12\n\
                    ü                      <none>\n";
        assert_eq!(plain(&table, true), wide);
        assert!(table.render(false).contains("\u{1b}[32mconverged"), "{:?}", table.render(false));
    }

    #[test]
    fn text_from_outside_cannot_drive_the_terminal() {
        let mut table = Table::new(&["reason"]);
        table.row([Cell::from("a\u{1b}[2Jb\nc\u{9b}d\u{202e}e")]);
        assert_eq!(table.render(false), "REASON\na [2Jb c d e\n");
    }

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (310, "5m10s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (93_600, "26h"),
            (266_400, "3d2h"),
            (691_200, "8d"),
            (86_400 * 800, "2y70d"),
            (86_400 * 365 * 9, "9y"),
        ] {
            let since = Timestamp::from_second(now.as_second() - seconds).unwrap();
            assert_eq!(age(since, now), text, "{seconds}");
        }
    }
}

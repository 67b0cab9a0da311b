//! What the terminal shows, made from what the API says.
//!
//! Pure: a [`Scene`] and a size in, lines out. The terminal only writes them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::decisions::words;
use crate::cli::online::{fleet_tone, target_tone};
use crate::cli::table::{Tone, clean};
use crate::server::StatusView;
use fairlead_core::model::digest::CommitId;
use fairlead_core::rollout::{TargetStatus, WaveReport, WaveStanding};

/// Rows that the guide and the log keep, whatever the fleet's size.
const GUIDE_ROWS: usize = 7;
const LOG_ROWS: usize = 5;
/// Narrowest column of the list of clusters.
const COLUMN: usize = 26;

/// A piece of a line in one tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub tone: Tone,
}

pub type Line = Vec<Piece>;

/// Everything that is shown.
#[derive(Debug, Clone)]
pub struct Scene {
    pub view: StatusView,
    /// Since the demo began.
    pub elapsed: Duration,
    /// All requests to clusters so far.
    pub requests: u64,
    /// Oldest first.
    pub log: Vec<Entry>,
    pub guide: Guide,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub at: Duration,
    pub who: String,
    pub text: String,
    pub tone: Tone,
}

/// What the tour says now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guide {
    pub title: String,
    pub text: String,
    /// What the keys do.
    pub keys: String,
}

/// The lines for a terminal of this size: never more than `height`, none wider than `width`.
pub fn draw(scene: &Scene, width: usize, height: usize) -> Vec<Line> {
    let guide = wrap(&scene.guide.text, width.saturating_sub(2));
    let mut lines = vec![header(scene), Line::new()];
    lines.extend(fleets(&scene.view, width));
    lines.push(Line::new());
    let fixed = lines.len()
        + 1
        + (guide.len() + 1).max(GUIDE_ROWS.min(height / 4))
        + 1
        + LOG_ROWS.min(height / 5)
        + 1;
    lines.extend(clusters(&scene.view, width, height.saturating_sub(fixed)));
    lines.push(legend(&scene.view));
    lines.push(rule(&scene.guide.title, width));
    lines.extend(guide.into_iter().map(|text| vec![plain(format!(" {text}"))]));
    lines.push(rule("what the daemon decided", width));
    let room = height.saturating_sub(lines.len() + 1);
    lines.extend(scene.log.iter().skip(scene.log.len().saturating_sub(room)).map(entry));
    lines.truncate(height.saturating_sub(1));
    lines.resize(height.saturating_sub(1), Line::new());
    lines.push(vec![piece(&scene.guide.keys, Tone::Faint)]);
    lines.into_iter().map(|line| cut(line, width)).collect()
}

fn header(scene: &Scene) -> Line {
    let repository = &scene.view.repository;
    let clusters = by_cluster(&scene.view).len();
    let seconds = scene.elapsed.as_secs();
    vec![
        piece("Fairlead demo", Tone::Strong),
        plain(format!(
            "   {clusters} simulated clusters   {} at {}   {} requests so far   {:02}:{:02}",
            repository.branch,
            short(repository.observed),
            scene.requests,
            seconds / 60,
            seconds % 60
        )),
    ]
}

/// The fleets, as a table.
pub fn fleets(view: &StatusView, width: usize) -> Vec<Line> {
    let head = ["FLEET", "STATE", "CONVERGED", "ACCEPTED", "OBSERVED", "WHY"];
    let mut rows = vec![head.map(|text| piece(text, Tone::Faint)).to_vec()];
    for fleet in &view.fleets {
        let all: usize = fleet.counts.values().sum();
        let converged = fleet.counts.get(&TargetStatus::Converged).copied().unwrap_or_default();
        rows.push(vec![
            plain(fleet.name.to_string()),
            piece(&words(fleet.state.as_str()), fleet_tone(fleet.state)),
            plain(format!("{converged} of {all}")),
            plain(short(fleet.accepted)),
            plain(short(fleet.observed)),
            plain(clean(fleet.reason.as_deref().unwrap_or_default())),
        ]);
        if fleet.waves.len() > 1 {
            rows.extend(fleet.waves.iter().map(wave));
        }
    }
    if view.fleets.is_empty() {
        rows.push(vec![plain("the daemon reads the repository".into())]);
    }
    columns(&rows).into_iter().map(|line| cut(line, width)).collect()
}

/// A wave of the change that is on its way, below its fleet.
fn wave(wave: &WaveReport) -> Line {
    let state = match wave.standing {
        _ if wave.failed > 0 => piece(&format!("{} failed", wave.failed), Tone::Bad),
        WaveStanding::Passed => piece("passed", Tone::Good),
        _ if wave.at_work > 0 => plain(format!("{} at work", wave.at_work)),
        _ => plain("-".to_owned()),
    };
    vec![
        plain(format!("  {}", wave.name)),
        state,
        plain(format!("{} of {}", wave.converged, wave.affected)),
        plain(String::new()),
        plain(String::new()),
        plain(wave.standing.to_string()),
    ]
}

/// Cells side by side, as wide as the widest of their column.
fn columns(rows: &[Line]) -> Vec<Line> {
    let count = rows.first().map_or(0, Vec::len);
    let widths: Vec<_> = (0..count)
        .map(|i| {
            rows.iter().filter(|row| row.len() == count).map(|row| len(&row[i])).max().unwrap_or_default()
        })
        .collect();
    let pad = |row: &Line| {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, width))| {
            let last = i + 1 == row.len();
            let gap = if last { 0 } else { width + 3 - len(cell).min(*width) };
            [cell.clone(), plain(" ".repeat(gap))]
        });
        cells.flatten().collect()
    };
    rows.iter().map(pad).collect()
}

/// A cluster's worst status in its fleets, and what it runs.
type Standing = (TargetStatus, Option<CommitId>);

fn by_cluster(view: &StatusView) -> BTreeMap<&str, Standing> {
    let mut clusters: BTreeMap<&str, Standing> = BTreeMap::new();
    for target in &view.targets {
        let here = (target.status, target.converged.as_ref().map(|release| release.commit));
        let worst = clusters.entry(target.name.as_str()).or_insert(here);
        if rank(here.0) > rank(worst.0) {
            *worst = here;
        }
    }
    clusters
}

/// Clusters by region: what stands before the first dash of their names.
fn by_region(view: &StatusView) -> BTreeMap<&str, Vec<(&str, Standing)>> {
    let mut regions: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (name, standing) in by_cluster(view) {
        let region = name.split_once('-').map_or(name, |(region, _)| region);
        regions.entry(region).or_default().push((name, standing));
    }
    regions
}

fn clusters(view: &StatusView, width: usize, room: usize) -> Vec<Line> {
    let regions = by_region(view);
    let tallest = regions.values().map(Vec::len).max().unwrap_or_default();
    let fits = tallest <= room && regions.len() * COLUMN <= width;
    if fits { list(&regions) } else { grid(&regions, width, room) }
}

/// A column for each region, a line for each cluster.
fn list(regions: &BTreeMap<&str, Vec<(&str, Standing)>>) -> Vec<Line> {
    let tallest = regions.values().map(Vec::len).max().unwrap_or_default();
    let longest = regions.values().flatten().map(|(name, _)| name.len()).max().unwrap_or_default();
    let row = |number: usize| {
        let cells = regions.values().map(|clusters| match clusters.get(number) {
            None => vec![plain(" ".repeat(longest + 16))],
            Some((name, (status, commit))) => {
                let said = match status {
                    TargetStatus::Converged => short(*commit),
                    status => words(status.as_str()),
                };
                let tone = target_tone(*status);
                vec![
                    piece(&mark(*status).to_string(), tone),
                    plain(format!(" {name:longest$} ")),
                    piece(&format!("{said:<13}"), tone),
                ]
            }
        });
        cells.flatten().collect()
    };
    (0..tallest).map(row).collect()
}

/// A mark for each cluster, or, where they are too many, the worst of several.
fn grid(regions: &BTreeMap<&str, Vec<(&str, Standing)>>, width: usize, room: usize) -> Vec<Line> {
    let label = regions.keys().map(|name| name.len()).max().unwrap_or_default() + 2;
    let across = width.saturating_sub(label).max(1);
    let rows = (room / regions.len().max(1)).max(1);
    let tallest = regions.values().map(Vec::len).max().unwrap_or_default();
    let each = tallest.div_ceil(across * rows).max(1);
    let mut lines = Vec::new();
    for (region, clusters) in regions {
        let worst = |group: &[(&str, Standing)]| {
            group.iter().map(|(_, (status, _))| *status).max_by_key(|s| rank(*s))
        };
        let marks: Vec<_> = clusters.chunks(each).filter_map(worst).collect();
        for (number, row) in marks.chunks(across).enumerate() {
            let name = if number == 0 { *region } else { "" };
            let mut line = vec![plain(format!("{name:label$}"))];
            for run in row.chunk_by(|a, b| a == b) {
                let marks = run.iter().map(|status| mark(*status)).collect();
                line.push(Piece { text: marks, tone: target_tone(run[0]) });
            }
            lines.push(line);
        }
    }
    if each > 1 {
        lines.push(vec![piece(&format!("each mark is the worst of {each} clusters"), Tone::Faint)]);
    }
    lines
}

/// How many clusters are in which state.
pub fn legend(view: &StatusView) -> Line {
    let mut counts: BTreeMap<TargetStatus, usize> = BTreeMap::new();
    for (status, _) in by_cluster(view).values() {
        *counts.entry(*status).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    // What may be cut off on a narrow terminal is the least of it.
    counts.sort_by_key(|(status, _)| (*status != TargetStatus::Converged, Reverse(rank(*status))));
    let pieces = counts.into_iter().flat_map(|(status, count)| {
        let said = format!(" {count} {}  ", words(status.as_str()));
        [piece(&mark(status).to_string(), target_tone(status)), plain(said)]
    });
    pieces.collect()
}

/// A line of the log.
pub fn entry(entry: &Entry) -> Line {
    vec![
        piece(&stamp(entry.at), Tone::Faint),
        piece(&format!("{:8}", entry.who), Tone::Strong),
        piece(&entry.text, entry.tone),
    ]
}

/// `  12.3s `.
pub fn stamp(at: Duration) -> String {
    format!("{:6.1}s ", at.as_secs_f64())
}

fn rule(title: &str, width: usize) -> Line {
    let rest = width.saturating_sub(title.chars().count() + 4);
    vec![
        piece("── ", Tone::Faint),
        piece(title, Tone::Strong),
        piece(&format!(" {}", "─".repeat(rest)), Tone::Faint),
    ]
}

/// Breaks a text at spaces; its own line breaks stay.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let words = paragraph.trim_start();
        // What is indented stays so.
        let mut line = paragraph[..paragraph.len() - words.len()].to_owned();
        let mut fresh = true;
        for word in words.split(' ') {
            if !fresh && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
                fresh = true;
            }
            if !std::mem::take(&mut fresh) {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

fn cut(line: Line, width: usize) -> Line {
    let mut left = width;
    let mut kept = Line::new();
    for piece in line {
        let count = len(&piece);
        if count <= left {
            left -= count;
            kept.push(piece);
            continue;
        }
        let text: String = piece.text.chars().take(left.saturating_sub(1)).collect();
        if left > 0 {
            kept.push(Piece { text: format!("{text}…"), tone: piece.tone });
        }
        break;
    }
    kept
}

fn len(piece: &Piece) -> usize {
    piece.text.chars().count()
}

fn piece(text: &str, tone: Tone) -> Piece {
    Piece { text: text.to_owned(), tone }
}

fn plain(text: String) -> Piece {
    Piece { text, tone: Tone::Plain }
}

fn short(commit: Option<CommitId>) -> String {
    commit.map_or_else(|| "-".to_owned(), |commit| commit.short())
}

/// Told apart without colours, too.
fn mark(status: TargetStatus) -> char {
    match status {
        TargetStatus::Converged => '●',
        TargetStatus::Progressing => '◐',
        TargetStatus::Waiting => '○',
        TargetStatus::Stalled => '◌',
        TargetStatus::Held => '■',
        TargetStatus::Failed => '✗',
        TargetStatus::Returning => '←',
        TargetStatus::Unhealthy => '▲',
        TargetStatus::Quarantined => '⊗',
        TargetStatus::Offline => '⊘',
        TargetStatus::Suspended => '‖',
        TargetStatus::Leaving => '→',
        TargetStatus::Unknown => '·',
    }
}

/// The higher, the sooner a person should look.
fn rank(status: TargetStatus) -> u8 {
    match status {
        TargetStatus::Converged => 0,
        TargetStatus::Unknown => 1,
        TargetStatus::Suspended => 2,
        TargetStatus::Leaving => 3,
        TargetStatus::Waiting => 4,
        TargetStatus::Progressing => 5,
        TargetStatus::Stalled => 6,
        TargetStatus::Held => 7,
        TargetStatus::Quarantined => 8,
        TargetStatus::Offline => 9,
        TargetStatus::Returning => 10,
        TargetStatus::Unhealthy => 11,
        TargetStatus::Failed => 12,
    }
}

//! Records `fairlead demo --script` as an animated SVG: see `docs/demo/record`.

#![allow(clippy::disallowed_methods, reason = "a recording is made in real time")]

#[path = "../../tests/harness/terminal.rs"]
mod terminal;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use terminal::{Picture, Style, Terminal};

const COLUMNS: u16 = 104;
const ROWS: u16 = 34;
/// Pixels of one character.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 18.0;
/// Pictures that stand for less are left out, so that the file stays small.
const SHORTEST: Duration = Duration::from_millis(400);
/// How long the last picture stands.
const LAST: Duration = Duration::from_secs(6);

#[derive(Parser)]
struct Args {
    /// The program.
    #[arg(long)]
    fairlead: PathBuf,
    /// The folder that the demo writes; it is in the picture.
    #[arg(long)]
    dir: PathBuf,
    /// The SVG to write.
    #[arg(long)]
    to: PathBuf,
}

/// From when on, and what.
type Shot = (Duration, Picture);

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut command = Command::new(&args.fairlead);
    command.args(["demo", "--script", "--color", "always", "--dir"]).arg(&args.dir);
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    let mut terminal = Terminal::run(command, COLUMNS, ROWS)?;
    let began = Instant::now();
    let mut shots: Vec<Shot> = Vec::new();
    while let Some(picture) = terminal.next(Duration::from_secs(120))? {
        let (at, picture) = (began.elapsed(), picture.clone());
        match shots.last_mut() {
            Some((from, last)) if at - *from < SHORTEST => *last = picture,
            _ => shots.push((at, picture)),
        }
    }
    let whole = began.elapsed() + LAST;
    let (status, _) = terminal.end(Duration::from_secs(10))?;
    if !status.success() {
        return Err(io::Error::other("the demo did not go well; nothing is written"));
    }
    std::fs::write(&args.to, svg(&shots, whole))?;
    println!("{} pictures over {} s in {}", shots.len(), whole.as_secs(), args.to.display());
    Ok(())
}

/// Each row of each picture once, shown for as long as it stood.
fn svg(shots: &[Shot], whole: Duration) -> String {
    let mut frames: BTreeMap<(u128, u128), String> = BTreeMap::new();
    for row in 0..usize::from(ROWS) {
        let mut from = 0;
        for next in 1..=shots.len() {
            let same = shots.get(next).is_some_and(|(_, picture)| picture[row] == shots[from].1[row]);
            if same {
                continue;
            }
            let end = shots.get(next).map_or(whole, |(at, _)| *at);
            let begin = if from == 0 { Duration::ZERO } else { shots[from].0 };
            let drawn = line(&shots[from].1[row], row);
            frames.entry((begin.as_millis(), end.as_millis())).or_default().push_str(&drawn);
            from = next;
        }
    }
    let (width, height) = (f32::from(COLUMNS) * WIDTH + 24.0, f32::from(ROWS) * HEIGHT + 24.0);
    let mut styles = String::new();
    let mut body = String::new();
    for (number, ((begin, end), drawn)) in
        frames.iter().enumerate().filter(|(_, (_, drawn))| !drawn.is_empty())
    {
        let percent = |at: &u128| *at as f64 * 100.0 / whole.as_millis() as f64;
        let last = *end == whole.as_millis();
        let hidden = |shown: bool| if shown { "visible" } else { "hidden" };
        // Where nothing moves, the last picture stands.
        write!(
            styles,
            "@keyframes k{number}{{0%{{visibility:{}}}{:.2}%{{visibility:visible}}{:.2}%,100%{{visibility:{}}}}}\n\
             .k{number}{{visibility:{};animation:k{number} {}ms step-end infinite}}\n",
            hidden(*begin == 0),
            percent(begin),
            percent(end),
            hidden(last),
            hidden(last),
            whole.as_millis(),
        )
        .unwrap_or_default();
        writeln!(body, "<g class=\"k{number}\">{drawn}</g>").unwrap_or_default();
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-size=\"14\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\">\n\
         <title>fairlead demo --script</title>\n<!-- Made by docs/demo/record. -->\n<style>\n\
         text{{white-space:pre;fill:#d8dee9}}\n.b{{font-weight:bold}}.d{{fill:#7b8496}}.c1{{fill:#ff6b6b}}\
         .c2{{fill:#7ec87e}}.c3{{fill:#e6c35c}}\n{styles}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1d2129\"/>\n{body}</svg>\n"
    )
}

/// A row as runs of one style, each at its place.
fn line(row: &[(char, Style)], number: usize) -> String {
    let mut drawn = String::new();
    let mut column = 0;
    for run in row.chunk_by(|a, b| a.1 == b.1) {
        let text: String = run.iter().map(|(letter, _)| *letter).collect();
        let style = run[0].1;
        if !text.trim().is_empty() {
            let mut class = String::new();
            class.push_str(if style.bold { "b " } else { "" });
            class.push_str(if style.dimmed { "d " } else { "" });
            if let Some(colour) = style.colour {
                write!(class, "c{colour}").unwrap_or_default();
            }
            let skipped = text.len() - text.trim_start().len();
            let x = 12.0 + (column + skipped) as f32 * WIDTH;
            let y = 12.0 + (number + 1) as f32 * HEIGHT - 4.0;
            let text = text.trim().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            write!(drawn, "<text class=\"{}\" x=\"{x:.1}\" y=\"{y:.0}\">{text}</text>", class.trim_end())
                .unwrap_or_default();
        }
        column += run.len();
    }
    drawn.replace(" class=\"\"", "")
}

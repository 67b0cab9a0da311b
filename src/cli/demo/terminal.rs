//! The terminal: raw mode, one frame at a time, and everything as it was at the end, however it ends.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};

use super::screen::Line;
use crate::cli::table::Tone;

/// Whether there is a terminal to draw on and to read keys from.
pub fn is_there() -> bool {
    io::stdout().is_terminal()
        && io::stdin().is_terminal()
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// The terminal, ours until dropped.
pub struct Terminal {
    colours: bool,
    last: Vec<Line>,
}

impl Terminal {
    pub fn open() -> io::Result<Self> {
        let colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        enable_raw_mode()?;
        let this = Self { colours, last: Vec::new() };
        execute!(io::stdout(), EnterAlternateScreen, DisableLineWrap, Hide)?;
        restore_at_panics();
        Ok(this)
    }

    /// Columns and rows.
    pub fn size() -> (usize, usize) {
        let (width, height) = size().unwrap_or((80, 24));
        (usize::from(width), usize::from(height))
    }

    /// Shows a frame; one that is shown already costs nothing.
    pub fn show(&mut self, frame: Vec<Line>) -> io::Result<()> {
        if frame == self.last {
            return Ok(());
        }
        let mut out = Vec::new();
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(&frame) {
            queue!(out, MoveTo(0, row))?;
            out.write_all(painted(line, self.colours).as_bytes())?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()?;
        self.last = frame;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
        if !std::thread::panicking() {
            drop(std::panic::take_hook());
        }
    }
}

/// There is nobody left to tell when this fails.
fn restore() {
    execute!(io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen).unwrap_or_default();
    disable_raw_mode().unwrap_or_default();
}

/// A panic of this thread is told on the terminal as it was before; one of another thread goes to the log, for the
/// frames go on.
fn restore_at_panics() {
    let (ours, before) = (std::thread::current().id(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == ours {
            restore();
            before(panic);
        } else {
            tracing::error!("{panic}");
        }
    }));
}

/// A line as text with ANSI colours.
pub fn painted(line: &Line, colours: bool) -> String {
    let mut text = String::new();
    for piece in line {
        let style = piece.tone.style();
        // Writing to a String can't fail.
        match colours && piece.tone != Tone::Plain {
            true => write!(text, "{style}{}{style:#}", piece.text).unwrap_or_default(),
            false => text.push_str(&piece.text),
        }
    }
    text
}

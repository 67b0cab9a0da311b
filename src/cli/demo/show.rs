//! The two ways in which the demo shows itself: a picture on a terminal, or plain lines.

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::Instant;

use super::decisions::Decision;
use super::screen::{self, Entry, Guide, Line, Piece, Scene};
use super::terminal::{Terminal, painted};
use super::tour::{STEPS, Said};
use super::{News, Pace};
use crate::cli::table::Tone;
use crate::server::StatusView;

/// Lines of the log that are kept.
const KEPT: usize = 500;
/// Plain lines are broken here.
const WIDTH: usize = 100;

pub enum Show {
    Screen(Box<Screen>),
    Plain(Box<Plain>),
}

impl Show {
    pub fn take(&mut self, news: News) -> io::Result<()> {
        match self {
            Self::Screen(screen) => {
                screen.take(news);
                Ok(())
            }
            Self::Plain(plain) => plain.take(news),
        }
    }

    /// Draws what changed.
    pub fn draw(&mut self) -> io::Result<()> {
        match self {
            Self::Screen(screen) => screen.draw(),
            Self::Plain(_) => Ok(()),
        }
    }
}

/// A picture on a terminal.
pub struct Screen {
    pub terminal: Terminal,
    began: Instant,
    scene: Scene,
    pace: Pace,
    saw: String,
}

impl Screen {
    pub fn new(terminal: Terminal, view: StatusView, welcome: &str, pace: Pace) -> Self {
        let guide = Guide {
            title: "Welcome".to_owned(),
            text: welcome.to_owned(),
            keys: "q ends the demo".to_owned(),
        };
        let scene = Scene { view, elapsed: Duration::ZERO, requests: 0, log: Vec::new(), guide };
        Self { terminal, began: Instant::now(), scene, pace, saw: welcome.to_owned() }
    }

    fn take(&mut self, news: News) {
        let at = self.began.elapsed();
        match news {
            News::View(view, decisions) => {
                self.scene.view = view.as_ref().clone();
                self.scene.log.extend(decisions.into_iter().map(|decision| entry(at, decision)));
            }
            News::Requests(count) => self.scene.requests = count,
            News::Said(said) => self.said(said, at),
        }
        let surplus = self.scene.log.len().saturating_sub(KEPT);
        self.scene.log.drain(..surplus);
    }

    fn said(&mut self, said: Said, at: Duration) {
        let you = |text: String| Entry { at, who: "you".to_owned(), text, tone: Tone::Strong };
        let goes = match self.pace {
            Pace::Key => "n does the next step   q ends the demo",
            Pace::Rest(_) => "n goes on at once   q ends the demo",
        };
        let guide = &mut self.scene.guide;
        match said {
            Said::Step(number) => {
                let (title, text) = STEPS[number];
                guide.title = format!("Next, {} of {}: {title}", number + 1, STEPS.len());
                guide.text = format!("{}\n\n{text}", self.saw);
                guide.keys = goes.to_owned();
            }
            Said::Begin(number) => {
                let (title, text) = STEPS[number];
                guide.title = format!("{} of {}: {title}", number + 1, STEPS.len());
                guide.text = text.to_owned();
                guide.keys = "q ends the demo".to_owned();
            }
            Said::Command(text) => self.scene.log.push(you(format!("$ {text}"))),
            Said::Saw(text) => {
                guide.text.clone_from(&text);
                self.saw = text;
            }
            Said::Trouble(text) => {
                guide.text = format!("This step could not be done: {text}");
                self.saw.clone_from(&guide.text);
            }
            Said::Over => {
                guide.title = "That was the tour".to_owned();
                guide.text = format!(
                    "{}\n\nEverything goes on running: edit the repository, commit, and watch.",
                    self.saw
                );
                guide.keys = "q ends the demo".to_owned();
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        self.scene.elapsed = self.began.elapsed();
        let (width, height) = Terminal::size();
        self.terminal.show(screen::draw(&self.scene, width, height))
    }
}

fn entry(at: Duration, decision: Decision) -> Entry {
    let who = decision.fleet.map_or_else(|| "git".to_owned(), |fleet| fleet.to_string());
    Entry { at, who, text: decision.text, tone: decision.tone }
}

/// Plain lines, each once.
pub struct Plain {
    began: Instant,
    view: StatusView,
}

impl Plain {
    pub fn new(view: StatusView, welcome: &str) -> io::Result<Self> {
        let this = Self { began: Instant::now(), view };
        this.tell(welcome)?;
        Ok(this)
    }

    fn take(&mut self, news: News) -> io::Result<()> {
        let at = self.began.elapsed();
        match news {
            News::View(view, decisions) => {
                self.view = view.as_ref().clone();
                let lines: Vec<_> =
                    decisions.into_iter().map(|decision| screen::entry(&entry(at, decision))).collect();
                self.print(&lines)
            }
            News::Requests(_) => Ok(()),
            News::Said(said) => self.said(said),
        }
    }

    fn said(&self, said: Said) -> io::Result<()> {
        let strong = |text: String| vec![Piece { text, tone: Tone::Strong }];
        match said {
            Said::Step(number) => {
                let (title, text) = STEPS[number];
                let title = strong(format!("== {} of {}: {title}", number + 1, STEPS.len()));
                self.print(&[Line::new(), title])?;
                self.tell(text)
            }
            Said::Begin(_) => Ok(()),
            Said::Command(text) => self.print(&[strong(format!("$ {text}"))]),
            Said::Saw(text) => {
                self.tell(&text)?;
                let mut lines = screen::fleets(&self.view, WIDTH);
                lines.push(screen::legend(&self.view));
                self.print(&lines)
            }
            Said::Trouble(text) => self.tell(&format!("This step could not be done: {text}")),
            Said::Over => self.print(&[Line::new(), strong("== That was the tour".to_owned())]),
        }
    }

    fn tell(&self, text: &str) -> io::Result<()> {
        let lines = screen::wrap(text, WIDTH).into_iter();
        self.print(&lines.map(|text| vec![Piece { text, tone: Tone::Plain }]).collect::<Vec<_>>())
    }

    fn print(&self, lines: &[Line]) -> io::Result<()> {
        // Takes the colours out where they are not wanted.
        let mut out = anstream::stdout().lock();
        lines.iter().try_for_each(|line| writeln!(out, "{}", painted(line, true).trim_end()))?;
        out.flush()
    }
}

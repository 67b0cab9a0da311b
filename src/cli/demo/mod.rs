//! `fairlead demo`: a fleet on this machine alone, the real daemon over it, and a tour.
//!
//! What is shown comes from the daemon's API, over its socket, as any other caller gets it. The demo's own hands are
//! only those of a person: it commits to the repository, and it writes to, or cuts off, simulated clusters.

mod content;
mod decisions;
mod figures;
mod git;
mod screen;
mod show;
mod stage;
mod terminal;
#[cfg(test)]
mod tests;
mod tour;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::args::{self, Speed};
use super::client::Client;
use super::error::CliError;
use crate::daemon::{self, DaemonError, Settings};
use crate::server::{RepositoryView, StatusView};
use decisions::Decision;
use figures::Figures;
use show::{Plain, Screen, Show};
use stage::Stage;
use terminal::Terminal;
use tour::{Said, Tour, TourError};

/// How often the picture's clock moves.
const TICK: Duration = Duration::from_millis(250);
/// How often the requests are counted for the picture.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How often the daemon is tried until it listens.
const KNOCK_EVERY: Duration = Duration::from_millis(10);

/// Something to show.
enum News {
    View(Arc<StatusView>, Vec<Decision>),
    /// All requests to clusters so far.
    Requests(u64),
    Said(Said),
}

/// What a step of the tour waits for.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Key,
    /// A key, or this time to read.
    Rest(Duration),
}

/// Why the demo ends.
enum End {
    /// Somebody wants it.
    Asked,
    /// The tour is through; whether all steps could be done.
    Tour(bool),
    /// The daemon ended by itself.
    Daemon,
}

pub fn demo(args: &args::Demo) -> Outcome {
    let screen = terminal::is_there();
    if !screen && !args.script {
        let hint = "--script leads through the tour in plain lines";
        return Err(CliError::usage("there is no terminal to draw on").hint(hint));
    }
    let folder = Folder::make(args.dir.as_deref())?;
    daemon::log_to_file(fs::File::create(folder.0.join("daemon.log")).map_err(CliError::outside)?);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::outside)?;
    let result = runtime.block_on(run(args, &folder, screen));
    runtime.shutdown_timeout(Duration::from_secs(1));
    let log = folder.0.join("daemon.log");
    let end = result.map_err(|error| error.hint(format!("what happened is in {}", log.display())))?;
    anstream::println!("{}", folder.farewell());
    match end {
        End::Asked | End::Tour(true) => Ok(ExitCode::SUCCESS),
        End::Tour(false) => Err(CliError::outside("some steps of the tour could not be done")),
        End::Daemon => {
            let hint = format!("see {}", log.display());
            Err(CliError::outside("the daemon has ended").hint(hint))
        }
    }
}

async fn run(args: &args::Demo, folder: &Folder, screen: bool) -> Result<End, CliError> {
    let count = usize::from(args.clusters);
    let cancel = CancellationToken::new();
    daemon::cancel_on_signal(cancel.clone()).map_err(CliError::outside)?;
    let (rest, ready_after) = pace(args.speed);
    let pace = if args.script { Pace::Rest(if screen { rest } else { Duration::ZERO }) } else { Pace::Key };
    let (news, incoming) = mpsc::unbounded_channel();
    let (next, mut key) = mpsc::channel(1);
    let first = StatusView::empty(Default::default(), RepositoryView::default());
    let mut show = match screen {
        true => {
            let terminal = Terminal::open().map_err(CliError::outside)?;
            Show::Screen(Box::new(Screen::new(terminal, first.clone(), &folder.welcome(), pace)))
        }
        false => {
            Show::Plain(Box::new(Plain::new(first.clone(), &folder.welcome()).map_err(CliError::outside)?))
        }
    };
    show.draw().map_err(CliError::outside)?;

    let made = folder.fill(count)?;
    let settings = Settings::read(&folder.settings()).map_err(CliError::outside)?;
    let client = Client::socket(settings.socket());
    let stage = Stage::new(ready_after);
    let stop = cancel.child_token();
    let (followed, ended) = (daemon::follow(settings, Some(stage.connector()), stop.clone()), stop.clone());
    let daemon = tokio::spawn(async move {
        // However it ends.
        let _ended = ended.drop_guard();
        followed.await
    });
    let driven = tokio::spawn(stage.clone().drive());
    let (view, views) = watch::channel(Arc::new(first));
    let followed = tokio::spawn(follow(client.clone(), view, news.clone()));
    let mut tour = Tour::new((made, client, stage), views, news, count);
    let tour = tokio::spawn(async move { tour.go(pace, &mut key).await });

    let ended =
        watch_over(Parts { show: &mut show, incoming, next, cancel, stop, daemon, tour, stay: !args.script });
    let ended = ended.await;
    drop(show);
    driven.abort();
    followed.abort();
    ended
}

/// The time to read before a step, and how long a simulated pod takes to be ready.
fn pace(speed: Speed) -> (Duration, Duration) {
    match speed {
        Speed::Slow => (Duration::from_secs(20), Duration::from_secs(3)),
        Speed::Normal => (Duration::from_secs(8), Duration::from_secs(2)),
        Speed::Fast => (Duration::ZERO, Duration::from_millis(500)),
    }
}

struct Parts<'a> {
    show: &'a mut Show,
    incoming: mpsc::UnboundedReceiver<News>,
    next: mpsc::Sender<()>,
    cancel: CancellationToken,
    stop: CancellationToken,
    daemon: JoinHandle<Result<(), DaemonError>>,
    tour: JoinHandle<Result<bool, TourError>>,
    /// Goes on when the tour is over.
    stay: bool,
}

/// Shows what comes until something ends it, and ends the daemon in order.
async fn watch_over(mut parts: Parts<'_>) -> Result<End, CliError> {
    let end = shown(&mut parts).await;
    parts.tour.abort();
    parts.stop.cancel();
    // It gives itself 5 s.
    match (&mut parts.daemon).await {
        Ok(Err(error)) => Err(CliError::outside(error)),
        _ => end,
    }
}

async fn shown(parts: &mut Parts<'_>) -> Result<End, CliError> {
    let mut keys = matches!(parts.show, Show::Screen(_)).then(EventStream::new);
    let mut tick = tokio::time::interval(TICK);
    let mut touring = true;
    loop {
        tokio::select! {
            // A daemon that was asked to end has not ended by itself.
            biased;
            () = parts.cancel.cancelled() => return Ok(End::Asked),
            () = parts.stop.cancelled() => return Ok(End::Daemon),
            key = next_key(&mut keys) => match key {
                Key::Quit => return Ok(End::Asked),
                Key::Next => parts.next.try_send(()).unwrap_or_default(),
                Key::Other => {}
            },
            news = parts.incoming.recv() => match news {
                Some(news) => {
                    let mut shown = parts.show.take(news);
                    while let (Ok(()), Ok(news)) = (&shown, parts.incoming.try_recv()) {
                        shown = parts.show.take(news);
                    }
                    if shown.is_err() {
                        return Ok(End::Asked);
                    }
                }
                None => return Ok(End::Daemon),
            },
            done = &mut parts.tour, if touring => {
                touring = false;
                while let Ok(news) = parts.incoming.try_recv() {
                    parts.show.take(news).map_err(CliError::outside)?;
                }
                match done {
                    Ok(Ok(well)) if !parts.stay => return Ok(End::Tour(well)),
                    Ok(Err(error)) if !parts.stay => return Err(CliError::outside(error)),
                    Ok(Err(error)) => {
                        let said = Said::Trouble(daemon::chain(&error));
                        parts.show.take(News::Said(said)).map_err(CliError::outside)?;
                    }
                    _ => {}
                }
            }
            _ = tick.tick() => {}
        }
        // Nobody can be told when the terminal is gone.
        if parts.show.draw().is_err() {
            return Ok(End::Asked);
        }
    }
}

enum Key {
    Quit,
    Next,
    Other,
}

async fn next_key(keys: &mut Option<EventStream>) -> Key {
    let Some(keys) = keys else { return std::future::pending().await };
    match keys.next().await {
        // The terminal is gone.
        None | Some(Err(_)) => Key::Quit,
        Some(Ok(Event::Key(key))) if key.kind == KeyEventKind::Press => match key.code {
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
            KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
            KeyCode::Char('n' | ' ') | KeyCode::Enter => Key::Next,
            _ => Key::Other,
        },
        Some(Ok(_)) => Key::Other,
    }
}

/// Follows the daemon's own event stream from when it listens until it ends.
async fn follow(client: Client, view: watch::Sender<Arc<StatusView>>, news: mpsc::UnboundedSender<News>) {
    let mut events = loop {
        match client.events().await {
            Ok(events) => break events,
            Err(_) if news.is_closed() => return,
            Err(_) => tokio::time::sleep(KNOCK_EVERY).await,
        }
    };
    let mut count = tokio::time::interval(COUNT_EVERY);
    loop {
        tokio::select! {
            next = events.next() => {
                let Ok(Some(next)) = next else { return };
                let next = Arc::new(next);
                let decisions = decisions::between(&view.borrow(), &next);
                // First shown, then known to the tour: what it tells of it comes after it.
                if news.send(News::View(next.clone(), decisions)).is_err() {
                    return;
                }
                view.send_replace(next);
            }
            _ = count.tick() => {
                if let Ok(metrics) = client.get_text("/metrics").await {
                    news.send(News::Requests(Figures::read(&metrics).requests())).unwrap_or_default();
                }
            }
        }
    }
}

/// The demo's folder.
struct Folder(PathBuf);

impl Folder {
    /// Makes the folder: the one that is named, which must be new or empty, or a new one among temporary files.
    fn make(named: Option<&Path>) -> Result<Self, CliError> {
        let path = match named {
            Some(path) => std::path::absolute(path).map_err(CliError::usage)?,
            None => std::env::temp_dir().join(format!("fairlead-demo-{:06x}", fastrand::u32(..1 << 24))),
        };
        let failed = |error: io::Error| {
            let text = format!("cannot use the folder {}: {error}", path.display());
            CliError::usage(text).hint("--dir names another")
        };
        fs::create_dir_all(&path).map_err(failed)?;
        if fs::read_dir(&path).map_err(failed)?.next().is_some() {
            let text = format!("the folder {} is not empty", path.display());
            return Err(CliError::usage(text).hint("name a new one with --dir, or leave --dir out"));
        }
        Ok(Self(path))
    }

    /// Writes the repository and the daemon's settings.
    fn fill(&self, count: usize) -> Result<git::WorkingCopy, CliError> {
        fs::write(self.settings(), content::SETTINGS).map_err(CliError::outside)?;
        let files = content::files(count);
        let message = format!("A fleet of {count} clusters");
        let (clone, _) =
            git::WorkingCopy::create(&self.0.join("fleet"), &files, &message).map_err(CliError::outside)?;
        Ok(clone)
    }

    fn settings(&self) -> PathBuf {
        self.0.join("fairlead.yaml")
    }

    fn welcome(&self) -> String {
        let folder = self.0.display();
        format!(
            "A fleet repository is written to {folder}/fleet; the daemon follows it. Edit it and commit whenever you \
             like. In another shell:\n  fairlead status -w --config {folder}/fairlead.yaml"
        )
    }

    fn farewell(&self) -> String {
        let folder = self.0.display();
        format!(
            "The demo is over; its folder stays. What to try next:\n  \
             git -C {folder}/fleet log --stat\n  \
             fairlead validate {folder}/fleet\n  \
             fairlead plan --repo {folder}/fleet --from HEAD~1 --to HEAD\n  \
             fairlead run --config {folder}/fairlead.yaml   # again, over new simulated clusters\n  \
             rm -r {folder}"
        )
    }
}

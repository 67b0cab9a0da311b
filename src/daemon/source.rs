//! The task that follows the repository: fetches when told, when the forge hints at a change, when the time has
//! come, and when a local repository's refs change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::pace::Pace;
use crate::repo::{Mirror, RepoError, Tag, guarded};
use fairlead_core::model::digest::CommitId;

/// What a fetch gave.
#[derive(Debug)]
pub enum Observation {
    Fetched {
        head: CommitId,
        tags: Vec<Tag>,
        /// Whether any ref changed.
        changed: bool,
    },
    /// The last good state stays.
    Failed { reason: String },
}

/// Asks for a fetch; many asks that come together are one.
#[derive(Clone, Default)]
pub struct Kick {
    notify: Arc<Notify>,
    asked: Arc<Mutex<Asked>>,
}

/// What was asked since the last fetch began.
#[derive(Default)]
struct Asked {
    now: bool,
    hinted: bool,
    /// The commit that the watched branch is said to be at; the last word counts.
    announced: Option<CommitId>,
    /// Other branches that are followed.
    branches: Vec<String>,
}

impl Kick {
    pub fn now(&self) {
        self.ask(|asked| asked.now = true);
    }

    /// The forge says that something changed. Unlike [`Kick::now`] it may be made to wait: anybody who can push
    /// can make a forge say that as often as they like.
    pub fn hint(&self, announced: Option<CommitId>) {
        self.ask(|asked| {
            asked.hinted = true;
            asked.announced = announced.or(asked.announced);
        });
    }

    /// Other branches to fetch from now on, at once if there are new ones among them.
    pub fn follow(&self, branches: BTreeSet<String>) {
        let mut asked = self.lock();
        let new = branches.iter().any(|branch| !asked.branches.contains(branch));
        asked.branches = branches.into_iter().collect();
        drop(asked);
        if new {
            self.now();
        }
    }

    /// Whether a branch is one of the others that are followed.
    pub fn follows(&self, branch: &str) -> bool {
        self.lock().branches.iter().any(|followed| followed == branch)
    }

    fn ask(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.lock());
        self.notify.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything asked so far is answered by the fetch that begins now.
    fn begin(&self) -> (Option<CommitId>, Vec<String>) {
        let mut asked = self.lock();
        (asked.now, asked.hinted) = (false, false);
        (asked.announced.take(), asked.branches.clone())
    }

    /// Forgets a hint that turned out to be no news.
    fn forget_hint(&self) {
        let mut asked = self.lock();
        (asked.hinted, asked.announced) = (false, None);
    }
}

/// Fetches until cancelled. Ends early only if nobody listens any more.
pub async fn follow(
    mut mirror: Mirror,
    poll: Duration,
    kick: Kick,
    observations: mpsc::Sender<(Observation, Duration)>,
    cancel: CancellationToken,
) {
    let mut pace = Pace::new(poll);
    loop {
        let start = Instant::now();
        let (announced, branches) = kick.begin();
        let awaited = pace.expect(announced);
        let Some((back, result)) = fetch(mirror, branches, awaited).await else { return };
        mirror = back;
        let observation = match result {
            Ok((observation, arrived)) => {
                if let Observation::Fetched { head, .. } = &observation {
                    pace.fetched(*head, arrived);
                }
                observation
            }
            Err(error) => {
                let failures = pace.failed();
                let reason = crate::daemon::chain(&error);
                warn!(error = reason, label = error.label(), failures, "the repository could not be fetched");
                Observation::Failed { reason }
            }
        };
        if observations.send((observation, start.elapsed())).await.is_err() {
            return;
        }
        if !wait(&pace, &kick, &cancel).await {
            return;
        }
    }
}

/// Until the next fetch; gives false when cancelled.
async fn wait(pace: &Pace, kick: &Kick, cancel: &CancellationToken) -> bool {
    let now = Instant::now();
    let pause = pace.pause(fastrand::f64());
    let earliest = now + pace.spacing();
    let mut end = now + pause;
    debug!(seconds = pause.as_secs_f64(), "next fetch");
    loop {
        tokio::select! {
            () = cancel.cancelled() => return false,
            () = tokio::time::sleep_until(end) => return true,
            () = kick.notify.notified() => {}
        }
        let (asked_now, hinted, announced) = {
            let asked = kick.lock();
            (asked.now, asked.hinted, asked.announced)
        };
        if asked_now {
            return true;
        }
        if announced.is_some_and(|commit| pace.has(commit)) {
            kick.forget_hint();
        } else if hinted {
            end = end.min(earliest.max(Instant::now()));
        }
    }
}

type Fetched = Result<(Observation, bool), RepoError>;

/// A panic fails this fetch, and is reported as any other failure: what a repository holds is chosen by whoever may push
/// to it, and healing must not end for it. Gives nothing if the blocking task was cancelled with the runtime.
async fn fetch(
    mut mirror: Mirror,
    also: Vec<String>,
    awaited: Option<CommitId>,
) -> Option<(Mirror, Fetched)> {
    let task = tokio::task::spawn_blocking(move || {
        let result = guarded("fetch the repository", || observe(&mut mirror, &also, awaited));
        (mirror, result)
    });
    match task.await {
        Ok(done) => Some(done),
        Err(error) => {
            info!(%error, "the fetch ended with the program");
            None
        }
    }
}

/// Also tells whether the commit that is awaited is in what was fetched.
fn observe(mirror: &mut Mirror, also: &[String], awaited: Option<CommitId>) -> Fetched {
    let fetched = mirror.fetch(also)?;
    if let Some(damage) = fetched.rebuilt {
        warn!(damage, "the mirror was damaged, and was built anew");
    }
    let history = mirror.history();
    let tags = history.tags()?;
    let arrived = match awaited {
        Some(commit) => history.is_ancestor(commit, fetched.head)?,
        None => true,
    };
    let changed = !fetched.changed.is_empty();
    Ok((Observation::Fetched { head: fetched.head, tags, changed }, arrived))
}

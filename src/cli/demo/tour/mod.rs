//! The tour: what each step says, does, waits for, and tells of what came.

mod steps;
mod wait;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use git2::Oid;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::content;
use super::git::{GitError, WorkingCopy};
use super::stage::{Stage, StageError};
use super::{News, Pace};
use crate::cli::client::{Client, ClientError};
use crate::server::{FleetStatus, FleetView, StatusView};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::FleetName;

/// The steps, in order: name, and what to expect of it.
pub const STEPS: [(&str, &str); 7] = [
    (
        "A good change",
        "A commit gives the shop a new version and one more ConfigMap. Watch it go through the fleet retail: first the \
         canaries, one in each region, and when they have stayed healthy for two seconds, the rest, so many at a time. \
         The hubs don't run the shop; nothing is asked of them.",
    ),
    (
        "A bad change",
        "A commit that is valid, and that every API server accepts, but whose pods crash. Watch it stop: the canaries \
         fail, the others never get it, and the canaries go back by themselves.",
    ),
    (
        "git revert of the bad change",
        "The clusters have gone back already; Git has not. After the revert both say the same, and the fleet is \
         converged without a request.",
    ),
    (
        "git revert of the good change",
        "The rollback: what ran before runs again, and the ConfigMap that the change had added is deleted.",
    ),
    (
        "Drift",
        "Someone scales the shop by hand in one cluster, behind Git's back. Watch how soon it is put right: the \
         daemon watches, it does not poll.",
    ),
    (
        "A cluster goes offline",
        "One cluster stops answering. A change reaches the others without waiting for it; when it answers again, it \
         catches up by itself.",
    ),
    (
        "A commit that touches nothing",
        "A line in the README. It is taken over like any other commit, and not one request goes to any cluster.",
    ),
];

/// What the tour tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// What comes next: a step's number, from 0.
    Step(usize),
    /// It begins.
    Begin(usize),
    /// What a person could have typed.
    Command(String),
    /// What came of it.
    Saw(String),
    /// A step that could not be done; it goes on with the next.
    Trouble(String),
    /// All steps are done.
    Over,
}

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TourError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Daemon(#[from] ClientError),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("timed out after {} s waiting for {what}", .after.as_secs())]
    Late { what: &'static str, after: Duration },
    #[error("{0} is not in main's history any more, so the step is left out")]
    Superseded(String),
    #[error("there is no {0} to go on with: its step was left out")]
    Missing(&'static str),
    #[error("the first commit failed on fleet {fleet}: {reason}")]
    First { fleet: FleetName, reason: String },
    /// Nobody listens any more.
    #[error("the demo ends")]
    Ended,
}

/// What the steps need, and what they leave for each other.
pub struct Tour {
    repo: Mutex<WorkingCopy>,
    client: Client,
    stage: Stage,
    views: watch::Receiver<Arc<StatusView>>,
    news: mpsc::UnboundedSender<News>,
    clusters: Vec<content::Cluster>,
    good: Option<Oid>,
    bad: Option<Oid>,
}

impl Tour {
    pub fn new(
        (repo, client, stage): (WorkingCopy, Client, Stage),
        views: watch::Receiver<Arc<StatusView>>,
        news: mpsc::UnboundedSender<News>,
        count: usize,
    ) -> Self {
        let clusters = content::clusters(count);
        let repo = Mutex::new(repo);
        Self { repo, client, stage, views, news, clusters, good: None, bad: None }
    }

    /// Goes through all steps, each at its time; whether all could be done.
    pub async fn go(&mut self, pace: Pace, next: &mut mpsc::Receiver<()>) -> Result<bool, TourError> {
        let mut well = true;
        self.begin().await?;
        for number in 0..STEPS.len() {
            self.say(Said::Step(number))?;
            // Keys from before are about the step before.
            while next.try_recv().is_ok() {}
            match pace {
                Pace::Key => next.recv().await.ok_or(TourError::Ended)?,
                // A key before the time is up, or the time.
                Pace::Rest(time) => drop(tokio::time::timeout(time, next.recv()).await),
            }
            self.say(Said::Begin(number))?;
            well &= self.step(number).await?;
        }
        self.say(Said::Over)?;
        Ok(well)
    }

    /// Waits until the fleet runs its first commit.
    async fn begin(&mut self) -> Result<(), TourError> {
        let began = Instant::now();
        let mut failed = None;
        let done = |view: &StatusView| {
            failed = view.fleets.iter().find(|fleet| fleet.state == FleetStatus::Failed).cloned();
            failed.is_some() || (!view.fleets.is_empty() && view.fleets.iter().all(converged))
        };
        self.until("the first commit's converging", done).await?;
        if let Some(fleet) = failed {
            return Err(TourError::First { fleet: fleet.name, reason: fleet.reason.unwrap_or_default() });
        }
        let spent = self.figures().await?;
        let count = self.clusters.len();
        let took = seconds(began.elapsed());
        self.say(Said::Saw(format!(
            "{count} clusters run the first commit, {took} after the start; {spent}."
        )))
    }

    /// Does one step; what goes wrong in it is told, unless nobody listens any more.
    async fn step(&mut self, number: usize) -> Result<bool, TourError> {
        let done = match number {
            0 => self.good().await,
            1 => self.bad().await,
            2 => self.revert_bad().await,
            3 => self.revert_good().await,
            4 => self.drift().await,
            5 => self.offline().await,
            _ => self.readme().await,
        };
        match done {
            Ok(saw) => self.say(Said::Saw(saw)).map(|()| true),
            Err(TourError::Ended) => Err(TourError::Ended),
            Err(error) => self.say(Said::Trouble(crate::daemon::chain(&error))).map(|()| false),
        }
    }

    fn say(&self, said: Said) -> Result<(), TourError> {
        self.news.send(News::Said(said)).map_err(|_| TourError::Ended)
    }

    fn repo(&self) -> MutexGuard<'_, WorkingCopy> {
        self.repo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shops(&self) -> usize {
        self.clusters.iter().filter(|cluster| !cluster.hub).count()
    }
}

fn converged(fleet: &FleetView) -> bool {
    fleet.state == FleetStatus::Converged
}

fn id(commit: Oid) -> CommitId {
    let mut bytes = [0; 20];
    bytes.iter_mut().zip(commit.as_bytes()).for_each(|(to, from)| *to = *from);
    CommitId::from_bytes(bytes)
}

fn short(commit: Oid) -> String {
    id(commit).short()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

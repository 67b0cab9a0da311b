//! Pull requests: the head is checked, and one comment shows what merging would do to the fleets.
//!
//! What is in a pull request may be a stranger's. It comes from the repository itself, never from a fork's address;
//! it is kept in a mirror of its own, beside that of the clusters, and read by a process of its own; nothing of it is
//! run; and nobody's comments are read as orders.

mod apart;
mod check;
mod desk;
mod fate;
mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::teller::Shared;
use crate::forge::{Client, CommentRecord, ForgeError, Pull};
use crate::repo::{History, MirrorSettings};
use crate::server::Views;
use crate::store::{self, Write};
pub use apart::{COMMAND as CHECK_COMMAND, answer as answer_check};
use apart::{FIRST_TIME, Failed, TIME};
use check::Checker;
pub use desk::Desk;
use fairlead_core::catalog::Folders;
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::InstanceName;
use queue::Queue;

/// The forge is asked for all open pull requests no more often than this; in between, webhooks tell.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// Longer than any check should take, whatever is in the pull request.
const CHECK_TIMEOUT: Duration = Duration::from_secs(300);
/// Git may show a head later than the API does; and a check may fail for a while.
const RETRY: Duration = Duration::from_secs(1);
const RETRIES: u32 = 8;
/// How often a head may end the process that reads it until that is the result.
const ATTEMPTS: u32 = 3;

/// Between what a commit waits for and the plan, in a comment.
const END_OF_HOLD: &str = "\n<!-- fairlead: the plan -->\n";

/// A comment's text below what is said of a hold.
fn without_hold(body: &str) -> &str {
    body.split_once(END_OF_HOLD).map_or(body, |(_, plan)| plan)
}

/// What is known of one pull request.
#[derive(Debug, Default)]
struct Seen {
    /// The head that was checked.
    checked: Option<CommitId>,
    /// What the comment says.
    comment: Option<CommentRecord>,
    /// The commit that it became.
    merged: Option<CommitId>,
    /// A head that took longer than a first look may; it gets more when all others had theirs.
    slow: Option<CommitId>,
    /// A head that ended the process that read it, and how often.
    broke: Option<(CommitId, u32)>,
    retries: u32,
    retry_at: Option<Instant>,
}

/// What the task is made of.
pub struct Parts {
    pub client: Client,
    pub reports: Shared,
    pub store: store::Handle,
    pub outbox: Arc<Notify>,
    pub views: Views,
    /// Of the main mirror: where merged commits went.
    pub history: History,
    pub instance: InstanceName,
    pub mirror: MirrorSettings,
    pub folders: Folders,
    pub state: PathBuf,
    pub poll: Duration,
    /// What comments said when the daemon last ran.
    pub said: Vec<CommentRecord>,
}

/// Looks after pull requests.
pub struct Pulls {
    parts: Parts,
    checker: Arc<Checker>,
    seen: BTreeMap<u64, Seen>,
    queue: Queue,
}

impl Pulls {
    pub fn new(parts: Parts) -> Self {
        let (path, instance) = (parts.state.join("pulls.git"), parts.instance.clone());
        let max = parts.client.max_comment();
        let checker = Checker::new(parts.mirror.clone(), parts.folders.clone(), path, instance, max);
        let checker = Arc::new(checker);
        let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
        for comment in parts.said.iter().filter(|comment| !comment.last) {
            seen.entry(comment.pull).or_default().comment = Some(comment.clone());
        }
        Self { parts, checker, seen, queue: Queue::default() }
    }

    /// Where single pull requests can be asked for.
    pub fn desk(&self) -> Desk {
        Desk::new(self.parts.client.clone(), self.checker.clone())
    }

    /// Until cancelled. `hints` names pull requests of which something changed.
    pub async fn run(mut self, mut hints: mpsc::Receiver<u64>, cancel: CancellationToken) {
        let mut views = self.parts.views.clone();
        let mut next_list = Instant::now();
        loop {
            let merged = self.seen.values().any(|seen| seen.merged.is_some());
            let retry = self.seen.values().filter_map(|seen| seen.retry_at).min();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(next_list) => {
                    self.list().await;
                    next_list = Instant::now() + LIST_EVERY.max(self.parts.poll);
                }
                Some(number) = hints.recv() => {
                    let mut numbers = BTreeSet::from([number]);
                    while let Ok(number) = hints.try_recv() {
                        numbers.insert(number);
                    }
                    self.look_at(numbers).await;
                }
                () = tokio::time::sleep_until(retry.unwrap_or(next_list)), if retry.is_some() => {
                    let now = Instant::now();
                    let due = |seen: &Seen| seen.retry_at.is_some_and(|at| at <= now);
                    let due = self.seen.iter().filter(|(_, seen)| due(seen)).map(|(number, _)| *number).collect();
                    self.look_at(due).await;
                }
                Ok(()) = views.changed(), if merged => self.last_words().await,
                // One at a time: what comes meanwhile may be more urgent than what waits.
                () = std::future::ready(()), if !self.queue.is_empty() => self.check_next().await,
            }
        }
    }

    /// Everything that is open; and what was, for it may be merged by now.
    async fn list(&mut self) {
        let open = match self.parts.client.open_pulls().await {
            Ok(open) => open,
            Err(error) => {
                warn!(%error, "the pull requests can't be listed");
                return;
            }
        };
        let numbers: BTreeSet<u64> = open.iter().map(|pull| pull.number).collect();
        let gone = |(number, seen): &(&u64, &Seen)| !numbers.contains(number) && seen.merged.is_none();
        let gone: BTreeSet<u64> = self.seen.iter().filter(gone).map(|(number, _)| *number).collect();
        for pull in open {
            self.take(pull).await;
        }
        self.look_at(gone).await;
    }

    async fn look_at(&mut self, numbers: BTreeSet<u64>) {
        for number in numbers {
            match self.parts.client.pull(number).await {
                Ok(pull) => self.take(pull).await,
                Err(error) => self.again(number, &error),
            }
        }
    }

    fn again(&mut self, number: u64, error: &ForgeError) {
        warn!(pull = number, %error, "the pull request can't be read");
        self.retry(number);
    }

    /// Once more, later; after many times only when the list or a webhook says so.
    fn retry(&mut self, number: u64) {
        let seen = self.seen.entry(number).or_default();
        seen.retries += 1;
        let wait = RETRY.saturating_mul(1u32.checked_shl(seen.retries.min(RETRIES)).unwrap_or(u32::MAX));
        seen.retry_at = (seen.retries <= RETRIES).then(|| Instant::now() + wait / 2);
    }

    /// Queues it if there is anything new to check.
    async fn take(&mut self, pull: Pull) {
        self.queue.remove(pull.number);
        if pull.base != self.parts.mirror.branch {
            self.seen.remove(&pull.number);
            return;
        }
        if !pull.open {
            self.ended(&pull).await;
            return;
        }
        let seen = self.seen.entry(pull.number).or_default();
        seen.retry_at = None;
        let given_up = apart::given_up(pull.head);
        if seen.comment.as_ref().is_some_and(|comment| comment.body.contains(&given_up)) {
            // Also before a restart.
            seen.checked = Some(pull.head);
        }
        if seen.checked != Some(pull.head) {
            let slow = seen.slow == Some(pull.head);
            self.queue.put(pull, slow);
        }
    }

    async fn check_next(&mut self) {
        let Some(pull) = self.queue.next(Instant::now()) else { return };
        let began = Instant::now();
        self.check(&pull).await;
        self.queue.took(&pull.author, began.elapsed(), Instant::now());
    }

    async fn check(&mut self, pull: &Pull) {
        let seen = self.seen.entry(pull.number).or_default();
        let time = if seen.slow == Some(pull.head) { TIME } else { FIRST_TIME };
        let broke = seen.broke.filter(|(head, _)| *head == pull.head).map_or(0, |(_, times)| times);
        let reference = self.parts.client.pull_ref(pull);
        let page = self.with_reports(|reports| reports.pull_page(pull.number));
        let check = self.checker.check(reference, page, time, broke + 1 >= ATTEMPTS);
        let checked = tokio::time::timeout(CHECK_TIMEOUT, check).await;
        let checked =
            checked.unwrap_or_else(|_| Err(Failed::Elsewhere("the check took too long".to_owned())));
        match checked {
            Ok(checked) => {
                info!(pull = pull.number, branch = pull.branch, commit = %checked.head, findings = checked.found.findings.len(), "checked");
                let fresh = checked.head == pull.head;
                self.tell(pull.number, &checked).await;
                if fresh {
                    let seen = self.seen.entry(pull.number).or_default();
                    (seen.checked, seen.retries) = (Some(pull.head), 0);
                } else {
                    self.retry(pull.number);
                }
            }
            Err(Failed::TooLong(reason)) => {
                info!(pull = pull.number, reason, "it gets more time when the others had theirs");
                self.seen.entry(pull.number).or_default().slow = Some(pull.head);
                self.queue.put(pull.clone(), true);
            }
            Err(Failed::Broke(reason)) => {
                warn!(pull = pull.number, reason, "the pull request could not be checked");
                self.seen.entry(pull.number).or_default().broke = Some((pull.head, broke + 1));
                self.retry(pull.number);
            }
            Err(Failed::Elsewhere(reason)) => {
                warn!(pull = pull.number, reason, "the pull request could not be checked");
                self.retry(pull.number);
            }
        }
    }

    async fn tell(&mut self, number: u64, checked: &check::Checked) {
        let (now, found) = (Timestamp::now(), &checked.found.findings);
        let (told, findings) = self.with_reports(|reports| {
            let told = reports.checked(number, checked.head, found, now);
            (told, reports.findings(number, checked.head, found))
        });
        let client = &self.parts.client;
        // Once for each head: when its status is new.
        let findings = findings.filter(|findings| told.is_some() && client.annotates(findings));
        let mut writes: Vec<Write> = told.into_iter().collect();
        writes.extend(findings.and_then(|findings| findings.write(now)));
        writes.extend(self.say(number, checked.comment(), false));
        self.save(writes).await;
    }

    /// A comment's record, if it says something new.
    fn say(&mut self, number: u64, body: String, last: bool) -> Option<Write> {
        let record = CommentRecord {
            repository: self.parts.client.repository().to_owned(),
            pull: number,
            marker: format!("{}:plan", self.parts.instance),
            body,
            last,
        };
        let seen = self.seen.entry(number).or_default();
        if seen.comment.as_ref() == Some(&record) {
            return None;
        }
        let write = record.write(Timestamp::now());
        seen.comment = Some(record);
        write
    }

    async fn save(&self, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        match self.parts.store.write(writes).await {
            Ok(()) => self.parts.outbox.notify_one(),
            // Also in the engine's log; the next look at the pull request says it again.
            Err(error) => warn!(%error, "what is to be said of a pull request was not saved"),
        }
    }

    /// It was merged, and gets its last line when the fleets are through; or it was closed, and that is all.
    async fn ended(&mut self, pull: &Pull) {
        let Some(seen) = self.seen.get_mut(&pull.number) else { return };
        (seen.retry_at, seen.merged) = (None, pull.merged);
        let Some(comment) = seen.comment.clone().filter(|_| seen.merged.is_none()) else {
            return self.last_words().await;
        };
        debug!(pull = pull.number, "closed");
        let write = self.say(pull.number, comment.body, true);
        self.save(write.into_iter().collect()).await;
        self.seen.remove(&pull.number);
    }

    /// Of pull requests that were merged, once every fleet has an end with the commit.
    async fn last_words(&mut self) {
        let view = self.parts.views.borrow().clone();
        let merged = self.seen.iter().filter_map(|(number, seen)| Some((*number, seen.merged?)));
        for (number, commit) in merged.collect::<Vec<_>>() {
            let told = self.with_reports(|reports| {
                let told = |fleet: &crate::server::FleetView| reports.told(fleet.name.as_str(), commit);
                view.fleets.iter().map(|fleet| (fleet.clone(), told(fleet))).collect::<Vec<_>>()
            });
            let held = fate::held(commit, &told);
            let history = self.parts.history.clone();
            let fates = tokio::task::spawn_blocking(move || fate::of(&history, commit, &told)).await;
            let Ok(Some(text)) = fates else {
                self.say_held(number, held).await;
                continue;
            };
            let comment = self.seen.remove(&number).and_then(|seen| seen.comment);
            if let Some(comment) = comment {
                info!(pull = number, %commit, "all fleets have finished this commit");
                let write = self.say(number, format!("{text}\n{}", without_hold(&comment.body)), true);
                self.save(write.into_iter().collect()).await;
                self.seen.remove(&number);
            }
        }
    }

    /// While the commit waits for a person, that stands above the plan.
    async fn say_held(&mut self, number: u64, held: Option<String>) {
        let comment = self.seen.get(&number).and_then(|seen| seen.comment.as_ref());
        let Some(body) = comment.map(|comment| without_hold(&comment.body).to_owned()) else { return };
        let text = held.map_or(body.clone(), |held| format!("{held}{END_OF_HOLD}{body}"));
        let write = self.say(number, text, false);
        self.save(write.into_iter().collect()).await;
    }

    fn with_reports<T>(&self, ask: impl FnOnce(&mut crate::forge::Reports) -> T) -> T {
        ask(&mut self.parts.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Shared by the task and the blocking thread of a check.
type Locked<T> = Arc<Mutex<Option<T>>>;

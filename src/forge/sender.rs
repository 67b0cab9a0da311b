//! The task that sends what waits in the outbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::api::{Call, Verdict};
use super::budget::Budget;
use super::client::Client;
use super::comment::{self, CommentRecord};
use super::findings::FindingsRecord;
use super::reports::Reports;
use super::status::Status;
use crate::store::{self, Report, StoreError, Write};
use fairlead_core::rollout::CommitState;

/// Longest wait between two tries.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// Records that are looked at to find the most urgent one.
const LOOKED_AT: u32 = 10_000;
/// After so many tries a forge that says "not found" is believed. With the backoff, that is a quarter of an hour.
const TRIES: u32 = 9;
/// How long to wait for a store that can't be read.
const STORE_RETRY: Duration = Duration::from_secs(5);

/// A record as it can be sent.
enum Message {
    Status(Status),
    Comment(CommentRecord),
    Findings(FindingsRecord),
}

/// Sends the outbox, one record at a time.
pub struct Sender {
    client: Client,
    store: store::Handle,
    wake: Arc<Notify>,
    budget: Budget,
    /// Nothing is sent before.
    not_before: Timestamp,
    /// Tries in a row that told that it is no use to try anything else.
    outages: u32,
    /// Where our comment on a pull request is.
    comments: HashMap<u64, u64>,
    myself: Option<Option<String>>,
}

impl Sender {
    /// `wake` is told when something new is in the outbox; `earlier` when this credential wrote in the last hour.
    pub fn new(
        client: Client,
        store: store::Handle,
        wake: Arc<Notify>,
        writes_per_hour: u32,
        earlier: impl IntoIterator<Item = Timestamp>,
    ) -> Self {
        let budget = Budget::new(writes_per_hour, client.forge().spacing(), earlier);
        let (not_before, outages) = (Timestamp::MIN, 0);
        Self { client, store, wake, budget, not_before, outages, comments: HashMap::new(), myself: None }
    }

    /// Sends until cancelled. What is on its way then is sent again by the next process.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let pause = tokio::select! {
                () = cancel.cancelled() => return,
                pause = self.step() => pause,
            };
            let pause = pause.unwrap_or_else(|error| {
                warn!(%error, "the outbox can't be read");
                Some(STORE_RETRY)
            });
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Sends the most urgent record that is due; gives how long to wait for the next, none if nothing waits.
    async fn step(&mut self) -> Result<Option<Duration>, StoreError> {
        let now = Timestamp::now();
        if now < self.not_before {
            return Ok(Some(until(self.not_before, now)));
        }
        let due = self.store.read(move |records| records.due_reports(now, LOOKED_AT)).await?;
        let Some((report, message)) = self.most_urgent(due).await? else {
            let next = self.store.read(|records| records.next_report_at()).await?;
            return Ok(next.map(|next| until(next, now)));
        };
        let allowed = self.budget.next(message.urgency() < Urgency::Progress, now);
        if allowed > now {
            debug!(seconds = until(allowed, now).as_secs(), "the forge's budget is used up");
            return Ok(Some(until(allowed, now)));
        }
        let verdict = self.send(&message).await;
        self.settle(&report, verdict, Timestamp::now()).await?;
        Ok(Some(Duration::ZERO))
    }

    /// Failures first, then last words, then what is on its way; of each the longest waiting.
    async fn most_urgent(&self, due: Vec<Report>) -> Result<Option<(Report, Message)>, StoreError> {
        let mut best: Option<(Report, Message)> = None;
        for report in due {
            let Some(message) = Message::read(&report) else {
                warn!(kind = report.kind, key = report.key, "a report that nobody understands is dropped");
                self.store.write(vec![Write::ReportSent { id: report.id }]).await?;
                continue;
            };
            if best.as_ref().is_none_or(|(_, known)| message.urgency() < known.urgency()) {
                best = Some((report, message));
            }
        }
        Ok(best)
    }

    async fn send(&mut self, message: &Message) -> Verdict {
        let ours = self.client.repository();
        if message.repository() != ours {
            return Verdict::Never(format!("it is of {}, which is no longer followed", message.repository()));
        }
        match message {
            Message::Status(status) => self.write(&self.client.forge().set_status(ours, status)).await,
            Message::Comment(comment) => self.comment(comment).await,
            Message::Findings(findings) => match self.client.annotation(findings) {
                Some(call) => self.write(&call).await,
                None => Verdict::Never("this credential may not annotate".to_owned()),
            },
        }
    }

    async fn write(&mut self, call: &Call) -> Verdict {
        self.budget.count(Timestamp::now());
        self.client.write(call).await
    }

    async fn comment(&mut self, record: &CommentRecord) -> Verdict {
        if self.myself.is_none() {
            match self.client.myself().await {
                Ok(login) => self.myself = Some(login),
                Err(error) => {
                    return Verdict::Later { after: None, everything: false, reason: error.to_string() };
                }
            }
        }
        let login = self.myself.clone().flatten();
        let (verdict, id) =
            comment::put(&self.client, record, login.as_deref(), self.comments.get(&record.pull).copied())
                .await;
        match id {
            Some(id) => drop(self.comments.insert(record.pull, id)),
            None => drop(self.comments.remove(&record.pull)),
        }
        self.budget.count(Timestamp::now());
        verdict
    }

    async fn settle(&mut self, report: &Report, verdict: Verdict, now: Timestamp) -> Result<(), StoreError> {
        let Report { id, key, attempts, .. } = report;
        let write = match verdict {
            Verdict::Done => {
                debug!(key, "the forge has it");
                self.outages = 0;
                Write::ReportSent { id: *id }
            }
            Verdict::Never(reason) => {
                info!(key, reason, "the forge will never take this; it is dropped");
                self.outages = 0;
                Write::ReportSent { id: *id }
            }
            Verdict::Later { everything: false, reason, .. } if *attempts >= TRIES => {
                info!(key, reason, "the forge did not take this after many tries; it is dropped");
                Write::ReportSent { id: *id }
            }
            Verdict::Later { after, everything, reason } => {
                let tries = if everything { self.outages } else { *attempts };
                let wait = after.unwrap_or_default().max(backoff(tries, fastrand::f64()));
                warn!(
                    key,
                    reason,
                    seconds = wait.as_secs_f64(),
                    everything,
                    "the forge did not take this now"
                );
                let next_at = now + SignedDuration::try_from(wait).unwrap_or_default();
                if everything {
                    self.outages = self.outages.saturating_add(1);
                    self.not_before = next_at;
                }
                Write::ReportFailed { id: *id, next_at }
            }
        };
        self.store.write(vec![write]).await
    }
}

/// What goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Failure,
    LastWord,
    Progress,
}

impl Message {
    fn read(report: &Report) -> Option<Self> {
        match report.kind.as_str() {
            Reports::KIND => serde_json::from_slice(&report.payload).ok().map(Self::Status),
            CommentRecord::KIND => serde_json::from_slice(&report.payload).ok().map(Self::Comment),
            FindingsRecord::KIND => serde_json::from_slice(&report.payload).ok().map(Self::Findings),
            _ => None,
        }
    }

    fn repository(&self) -> &str {
        match self {
            Self::Status(status) => &status.repository,
            Self::Comment(comment) => &comment.repository,
            Self::Findings(findings) => &findings.repository,
        }
    }

    fn urgency(&self) -> Urgency {
        match self {
            Self::Status(status) => match status.state {
                CommitState::Failure => Urgency::Failure,
                CommitState::Success | CommitState::Superseded => Urgency::LastWord,
                CommitState::Pending => Urgency::Progress,
            },
            Self::Comment(comment) if comment.last => Urgency::LastWord,
            Self::Comment(_) | Self::Findings(_) => Urgency::Progress,
        }
    }
}

/// A second, doubled for each try before, up to five minutes; jittered by a quarter. `random` is in 0..1.
fn backoff(tries: u32, random: f64) -> Duration {
    let doubled = 1u32.checked_shl(tries).unwrap_or(u32::MAX);
    let backoff = Duration::from_secs(1).saturating_mul(doubled).min(MAX_BACKOFF);
    backoff.mul_f64(0.75 + 0.5 * random)
}

fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_without_the_forge_costs_few_tries_and_the_end_is_noticed_within_minutes() {
        for random in [0.0, 0.5, 1.0] {
            let (mut at, mut tries) = (Duration::ZERO, 0);
            while at < Duration::from_secs(3_600) {
                let wait = backoff(tries, random);
                assert!(wait <= Duration::from_secs(375), "{wait:?} after {tries}");
                at += wait;
                tries += 1;
            }
            assert!((15..=25).contains(&tries), "{tries} tries");
        }
        assert!(backoff(u32::MAX, 1.0) <= Duration::from_secs(375));
    }

    #[test]
    fn failures_go_before_last_words_and_those_before_what_is_on_its_way() {
        let report = |state: &str| Report {
            id: 1,
            kind: Reports::KIND.to_owned(),
            key: "k".to_owned(),
            payload: serde_json::to_vec(&serde_json::json!({
                "repository": "platform/fleet", "commit": "4f2c91a04f2c91a04f2c91a04f2c91a04f2c91a0",
                "context": "c", "state": state, "description": "d",
            }))
            .unwrap(),
            attempts: 0,
            next_at: Timestamp::UNIX_EPOCH,
        };
        let urgency = |state| Message::read(&report(state)).unwrap().urgency();
        let order = ["failure", "superseded", "success", "pending"].map(urgency);
        assert!(order.is_sorted() && order[0] < order[1] && order[2] < order[3], "{order:?}");
        let strange = Report { kind: "letter".to_owned(), ..report("failure") };
        assert!(Message::read(&strange).is_none());
    }
}

//! The head of the branch: fetched, read, taken over.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Engine, Turn, Under};
use crate::daemon::dependencies;
use crate::daemon::reader::{FleetReading, ReadRequest, Reading};
use crate::daemon::source::Observation;
use crate::server::{FetchResult, NotReady};
use crate::store::{Head, Tag, Write};
use fairlead_core::model::budget::{self, Budget};
use fairlead_core::model::diagnostic::{Diagnostic, Place};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::SourceName;
use fairlead_core::rollout::Event;

/// What a reading that was stopped answers.
const STOPPED: &str = "the reading was stopped";
const UNREADABLE: &str = "head-unreadable";

/// How long a reading goes on once there is a newer head, from its beginning. A fix, or a revert, is read at once; but
/// where commits come faster than they are read, each gets more time than the one before, until one is read.
fn patience(stopped_in_a_row: u32) -> Duration {
    match stopped_in_a_row.checked_sub(1) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(5).saturating_mul(1 << more.min(12)),
    }
}

impl Under {
    /// Stops the reading when it has gone on for so long.
    fn stop_after(&self, patience: Duration) {
        let wait = patience.saturating_sub(self.began.elapsed());
        let budget = self.budget.clone();
        if wait.is_zero() {
            return budget.stop();
        }
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            budget.stop();
        });
    }
}

impl Engine {
    pub(super) fn observed(
        &mut self,
        observation: Observation,
        took: Duration,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        match observation {
            Observation::Fetched { head, tags, changed } => {
                let result = if changed { FetchResult::Changed } else { FetchResult::Unchanged };
                self.metrics.fetched(result, took);
                self.repository.view.last_fetch = Some(now);
                if !self.unread {
                    self.repository.view.last_error = None;
                }
                let tags = tags.into_iter().map(|tag| (tag.name, tag.commit)).collect();
                if !changed && self.repository.head == Some(head) && !self.unread {
                    return;
                }
                if self.repository.head != Some(head) {
                    info!(commit = %head, "observed");
                    self.metrics.commit_observed(now);
                    self.teller.seen(head, now, &mut turn.writes);
                }
                self.repository.head = Some(head);
                self.repository.tags = tags;
                self.repository.view.observed = Some(head);
                self.start_reading();
            }
            Observation::Failed { reason } => {
                self.metrics.fetched(FetchResult::Failed, took);
                self.repository.view.last_error = Some(reason);
            }
        }
    }

    /// Reads the head on a blocking thread; the reading comes back as an input.
    pub(in crate::daemon) fn start_reading(&mut self) {
        let Some(head) = self.repository.head else { return };
        if let Some(under) = &mut self.reading {
            if under.head != head && !under.superseded {
                under.superseded = true;
                under.stop_after(patience(self.stopped_in_a_row));
            }
            self.read_again = true;
            return;
        }
        if self.too_long == Some(head) {
            return;
        }
        let budget = Arc::new(Budget::default());
        self.reading = Some(Under { head, budget: budget.clone(), began: Instant::now(), superseded: false });
        let request = ReadRequest {
            head,
            tip: Some(head),
            accepted: self.repository.accepted,
            tags: self.repository.tags.clone(),
            remembered: self.repository.remembered.clone(),
            fleets: self.fleets.known(),
        };
        let (reader, readings, deadline) = (self.reader.clone(), self.readings.clone(), self.read_timeout);
        tokio::spawn(async move {
            let stop = budget.clone();
            let read = move || {
                let _counted = budget::enter(budget);
                let reading = reader.read(&request).map_err(|error| crate::daemon::chain(&error))?;
                // What was stopped says nothing about the head.
                if budget::is_stopped() { Err(STOPPED.to_owned()) } else { Ok(reading) }
            };
            let reading = tokio::task::spawn_blocking(read);
            let timer = tokio::spawn(async move {
                tokio::time::sleep(deadline).await;
                stop.stop();
            });
            let reading = reading.await;
            timer.abort();
            // Also a reading that broke off must be answered, or the engine would wait for it for ever.
            let reading = reading.unwrap_or_else(|error| Err(format!("the reading broke off: {error}")));
            // The engine is gone only when the program ends.
            readings.send(reading).await.unwrap_or_default();
        });
    }

    /// A reading ended without a result: it was stopped, or the repository can't be read.
    pub(super) fn broke_off(&mut self, reason: String, now: Timestamp, turn: &mut Turn) {
        let under = self.reading.take();
        let again = std::mem::take(&mut self.read_again);
        match under {
            Some(under) if under.superseded => {
                self.stopped_in_a_row += 1;
                info!(commit = %under.head, "the reading was stopped for a newer commit");
            }
            Some(under) if reason == STOPPED => {
                let message = format!(
                    "commit {} is unreadable: reading it took longer than {} s; push a fix or a revert",
                    under.head.short(),
                    self.read_timeout.as_secs()
                );
                warn!("{message}");
                self.too_long = Some(under.head);
                let finding = Diagnostic::error(Place::file(""), "unreadable", message.clone());
                self.teller.unreadable(under.head, &finding, now, &mut turn.writes);
                self.not_ready.retain(|reason| reason.code != UNREADABLE);
                self.not_ready.push(NotReady { code: UNREADABLE.to_owned(), message: message.clone() });
                self.repository.view.last_error = Some(message);
            }
            _ => {
                warn!(reason, "the commit could not be read; it is tried again at the next fetch");
                self.repository.view.last_error = Some(reason);
            }
        }
        if again {
            self.start_reading();
        }
    }

    pub(super) fn read(&mut self, reading: Reading, now: Timestamp, turn: &mut Turn) {
        (self.reading, self.unread, self.too_long) = (None, false, None);
        self.stopped_in_a_row = 0;
        let again = std::mem::take(&mut self.read_again);
        if again && self.passes_over(reading.head) {
            self.start_reading();
            return;
        }
        self.passed_over = false;
        self.teller.read(&reading, now, &mut turn.writes);
        self.not_ready.clear();
        self.repository.view.last_error = None;
        self.repository.view.hold = reading.hold.as_ref().map(ToString::to_string);
        if reading.hold.is_none() {
            self.repository.accepted = Some(reading.head);
            self.repository.diagnostics = reading.diagnostics;
            self.remember_tags(&mut turn.writes);
        }
        turn.writes.push(Write::Head(Head {
            source: SourceName::control(),
            branch: self.repository.view.branch.clone(),
            observed: Some(reading.head),
            accepted: self.repository.accepted,
            hold: self.repository.view.hold.clone(),
        }));
        let mut held = BTreeMap::new();
        // A fleet decides after those that it waits for, so that it sees what this commit does to them.
        for (fleet, found) in dependencies::in_order(reading.fleets) {
            let event = match found {
                FleetReading::Intent(intent) => Event::CommitObserved(intent),
                FleetReading::Invalid(summary) => Event::CommitInvalid { commit: reading.head, summary },
                FleetReading::Held(reason) => {
                    held.insert(fleet.clone(), reason.clone());
                    Event::RevisionHeld { commit: reading.head, reason }
                }
            };
            self.fleets.decide(&fleet, event, now, &mut turn.effects);
        }
        // Before any order of this commit: what it moves is handed over and not pruned.
        self.workers.tell_others(self.fleets.others());
        self.repository.held = held;
        self.kick.follow(reading.branches);
        if self.fleets.wants_reading() || again {
            self.start_reading();
        }
    }

    /// Whether a reading is dropped because something changed while it was made. For a newer head never twice in a
    /// row: where commits come faster than they are read, nothing would move until they stop.
    fn passes_over(&mut self, read: CommitId) -> bool {
        let newer = self.repository.head != Some(read);
        !(newer && std::mem::replace(&mut self.passed_over, newer))
    }

    /// Remembers tags that are new. One that moved stays as it was remembered until a person accepts it:
    /// whatever else comes meanwhile must not let it in.
    fn remember_tags(&mut self, writes: &mut Vec<Write>) {
        for (name, commit) in &self.repository.tags {
            if let Entry::Vacant(new) = self.repository.remembered.entry(name.clone()) {
                new.insert(*commit);
                let (source, name) = (SourceName::control(), name.clone());
                writes.push(Write::Tag(Tag { source, name, commit: *commit }));
            }
        }
    }
}

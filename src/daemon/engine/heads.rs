//! The head of the branch: fetched, read, taken over.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use super::{Engine, Turn};
use crate::daemon::dependencies;
use crate::daemon::reader::{FleetReading, ReadRequest, Reading};
use crate::daemon::source::Observation;
use crate::server::FetchResult;
use crate::store::{Head, Tag, Write};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::SourceName;
use fairlead_core::rollout::Event;

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
        if self.reading {
            self.read_again = true;
            return;
        }
        self.reading = true;
        let request = ReadRequest {
            head,
            tip: Some(head),
            accepted: self.repository.accepted,
            tags: self.repository.tags.clone(),
            remembered: self.repository.remembered.clone(),
            fleets: self.fleets.known(),
        };
        let (reader, readings) = (self.reader.clone(), self.readings.clone());
        tokio::spawn(async move {
            let read = move || reader.read(&request).map_err(|error| crate::daemon::chain(&error));
            let reading = tokio::task::spawn_blocking(read).await;
            // Also a reading that broke off must be answered, or the engine would wait for it for ever.
            let reading = reading.unwrap_or_else(|error| Err(format!("the reading broke off: {error}")));
            // The engine is gone only when the program ends.
            readings.send(reading).await.unwrap_or_default();
        });
    }

    pub(super) fn read(&mut self, reading: Reading, now: Timestamp, turn: &mut Turn) {
        (self.reading, self.unread) = (false, false);
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

//! What the engine has to say to the forge: records that are saved with the decisions they tell of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::reader::Reading;
use crate::forge::Reports;
use crate::store::Write;
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::FleetName;
use fairlead_core::rollout::Effect;

/// The engine and whoever looks after pull requests speak of the same commits.
pub type Shared = Arc<Mutex<Reports>>;

/// Says nothing where there is no forge.
#[derive(Default)]
pub struct Teller {
    reports: Option<Shared>,
    /// Wakes the task that sends.
    outbox: Arc<Notify>,
}

impl Teller {
    pub fn new(reports: Shared, outbox: Arc<Notify>) -> Self {
        Self { reports: Some(reports), outbox }
    }

    pub fn effects(&self, effects: &[(FleetName, Effect)], now: Timestamp, writes: &mut Vec<Write>) {
        let Some(mut reports) = self.reports() else { return };
        for (fleet, effect) in effects {
            if let Effect::Report(status) = effect {
                writes.extend(reports.fleet(fleet, status, now));
            }
        }
    }

    pub fn seen(&self, commit: CommitId, now: Timestamp, writes: &mut Vec<Write>) {
        if let Some(mut reports) = self.reports() {
            writes.extend(reports.seen(commit, now));
        }
    }

    pub fn read(&self, reading: &Reading, now: Timestamp, writes: &mut Vec<Write>) {
        let Some(mut reports) = self.reports() else { return };
        writes.extend(match &reading.hold {
            Some(hold) => reports.held(reading.head, &hold.to_string(), now),
            None => reports.validated(reading.head, &reading.diagnostics, now),
        });
    }

    pub fn unreadable(&self, head: CommitId, why: &Diagnostic, now: Timestamp, writes: &mut Vec<Write>) {
        if let Some(mut reports) = self.reports() {
            writes.extend(reports.validated(head, std::slice::from_ref(why), now));
        }
    }

    fn reports(&self) -> Option<MutexGuard<'_, Reports>> {
        Some(self.reports.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// To be called when the writes are saved.
    pub fn saved(&self, writes: &[Write]) {
        if writes.iter().any(|write| matches!(write, Write::Report { .. })) {
            self.outbox.notify_one();
        }
    }
}

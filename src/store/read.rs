//! Reading the records.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::StoreError;
use super::record::{
    AuditEntry, FleetRecord, Head, HistoryEvent, KnownLedger, Report, RolloutRecord, SaidRecord, Tag,
};
use super::write::micros;
use fairlead_core::model::name::{FleetName, TargetName};
use fairlead_core::model::revision::Revision;

/// The records as they are after all writes that were sent before.
#[derive(Debug)]
pub struct Records {
    pub(super) connection: Connection,
}

/// A row's column as something that is kept as text.
fn parsed<T>(table: &'static str, row: &Row<'_>, column: usize) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: ToString,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|e: T::Err| StoreError::record(table, e.to_string()))
}

fn parsed_option<T>(table: &'static str, row: &Row<'_>, column: usize) -> Result<Option<T>, StoreError>
where
    T: FromStr,
    T::Err: ToString,
{
    let text: Option<String> = row.get(column)?;
    text.map(|t| t.parse().map_err(|e: T::Err| StoreError::record(table, e.to_string()))).transpose()
}

fn time(table: &'static str, row: &Row<'_>, column: usize) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|e| StoreError::record(table, e))
}

impl Records {
    fn list<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// All fleets' states, by name.
    pub fn fleets(&self) -> Result<Vec<FleetRecord>, StoreError> {
        self.list("SELECT fleet, format, state FROM fleets ORDER BY fleet", [], |row| {
            Ok(FleetRecord { fleet: parsed("fleets", row, 0)?, format: row.get(1)?, state: row.get(2)? })
        })
    }

    /// All heads, by source and branch.
    pub fn heads(&self) -> Result<Vec<Head>, StoreError> {
        let sql = "SELECT source, branch, observed, accepted, hold FROM heads ORDER BY source, branch";
        self.list(sql, [], |row| {
            Ok(Head {
                source: parsed("heads", row, 0)?,
                branch: row.get(1)?,
                observed: parsed_option("heads", row, 2)?,
                accepted: parsed_option("heads", row, 3)?,
                hold: row.get(4)?,
            })
        })
    }

    /// All tags seen, by source and name.
    pub fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.list("SELECT source, name, commit_id FROM tags ORDER BY source, name", [], |row| {
            Ok(Tag { source: parsed("tags", row, 0)?, name: row.get(1)?, commit: parsed("tags", row, 2)? })
        })
    }

    /// All ledgers seen, by target and fleet.
    pub fn ledgers(&self) -> Result<Vec<KnownLedger>, StoreError> {
        let sql = "SELECT target, fleet, generation, identity FROM ledgers ORDER BY target, fleet";
        self.list(sql, [], |row| {
            let generation: i64 = row.get(2)?;
            Ok(KnownLedger {
                target: parsed("ledgers", row, 0)?,
                fleet: parsed("ledgers", row, 1)?,
                generation: u64::try_from(generation).map_err(|e| StoreError::record("ledgers", e))?,
                identity: row.get(3)?,
            })
        })
    }

    /// Reports whose time has come, the longest waiting first.
    pub fn due_reports(&self, now: Timestamp, limit: u32) -> Result<Vec<Report>, StoreError> {
        let sql = "SELECT id, kind, key, payload, attempts, next_at FROM outbox
                   WHERE next_at <= ?1 ORDER BY next_at, id LIMIT ?2";
        self.list(sql, (micros(now), limit), |row| {
            Ok(Report {
                id: row.get(0)?,
                kind: row.get(1)?,
                key: row.get(2)?,
                payload: row.get(3)?,
                attempts: row.get(4)?,
                next_at: time("outbox", row, 5)?,
            })
        })
    }

    /// What was last said of a kind, the longest ago first.
    pub fn said(&self, kind: &str) -> Result<Vec<SaidRecord>, StoreError> {
        self.list("SELECT key, payload, at FROM said WHERE kind = ?1 ORDER BY id", [kind], |row| {
            Ok(SaidRecord { key: row.get(0)?, payload: row.get(1)?, at: time("said", row, 2)? })
        })
    }

    /// When the next report is due; none: none waits.
    pub fn next_report_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT next_at FROM outbox ORDER BY next_at LIMIT 1";
        let micros: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0)).optional()?;
        micros
            .map(|m| Timestamp::from_microsecond(m).map_err(|e| StoreError::record("outbox", e)))
            .transpose()
    }

    /// The audit, newest first; of one subject (`fleet/retail`, `target/edge-001`) or of all.
    pub fn audit(&self, subject: Option<&str>, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        // A command to a target in one fleet has both as its subject: `target/edge-001 of fleet/retail`.
        let sql = "SELECT at, who, via, what, subject, why, outcome FROM audit
                   WHERE ?1 IS NULL OR subject = ?1 OR subject LIKE ?1 || ' of %' OR subject LIKE '% of ' || ?1
                   ORDER BY id DESC LIMIT ?2";
        self.list(sql, (subject, limit), |row| {
            Ok(AuditEntry {
                at: time("audit", row, 0)?,
                who: row.get(1)?,
                via: row.get(2)?,
                what: row.get(3)?,
                subject: row.get(4)?,
                why: row.get(5)?,
                outcome: row.get(6)?,
            })
        })
    }

    /// A fleet's rollouts, newest first.
    pub fn rollouts(&self, fleet: &FleetName, limit: u32) -> Result<Vec<RolloutRecord>, StoreError> {
        let sql = "SELECT fleet, source, commit_id, state, description, began, changed FROM rollouts
                   WHERE fleet = ?1 ORDER BY id DESC LIMIT ?2";
        self.list(sql, (fleet.as_str(), limit), |row| {
            Ok(RolloutRecord {
                fleet: parsed("rollouts", row, 0)?,
                revision: Revision {
                    source: parsed("rollouts", row, 1)?,
                    commit: parsed("rollouts", row, 2)?,
                },
                state: row.get(3)?,
                description: row.get(4)?,
                began: time("rollouts", row, 5)?,
                changed: time("rollouts", row, 6)?,
            })
        })
    }

    /// A target's events in all its fleets, newest first.
    pub fn history(&self, target: &TargetName, limit: u32) -> Result<Vec<HistoryEvent>, StoreError> {
        let sql = "SELECT at, target, fleet, release, control, profiles, outcome FROM history
                   WHERE target = ?1 ORDER BY id DESC LIMIT ?2";
        self.list(sql, (target.as_str(), limit), |row| {
            Ok(HistoryEvent {
                at: time("history", row, 0)?,
                target: parsed("history", row, 1)?,
                fleet: parsed("history", row, 2)?,
                release: parsed("history", row, 3)?,
                control: parsed("history", row, 4)?,
                profiles: serde_json::from_str(&row.get::<_, String>(5)?)
                    .map_err(|error| StoreError::record("history", error))?,
                outcome: row.get(6)?,
            })
        })
    }
}

//! Reading the records.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::StoreError;
use super::record::{Approval, AuditEntry, FleetRecord, Head, HistoryEvent, KnownLedger, Report, Tag};
use super::write::{kind_from, micros};
use crate::model::name::{FleetName, TargetName};

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

    /// A fleet's approvals, by target.
    pub fn approvals(&self, fleet: &FleetName) -> Result<Vec<Approval>, StoreError> {
        let sql = "SELECT fleet, target, release, kind, object, by, reason, at FROM approvals
                   WHERE fleet = ?1 ORDER BY target, release, kind, object";
        self.list(sql, [fleet.as_str()], |row| {
            Ok(Approval {
                fleet: parsed("approvals", row, 0)?,
                target: parsed("approvals", row, 1)?,
                release: parsed("approvals", row, 2)?,
                kind: kind_from(&row.get::<_, String>(3)?, &row.get::<_, String>(4)?)?,
                by: row.get(5)?,
                reason: row.get(6)?,
                at: time("approvals", row, 7)?,
            })
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

    /// When the next report is due; none: none waits.
    pub fn next_report_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT next_at FROM outbox ORDER BY next_at LIMIT 1";
        let micros: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0)).optional()?;
        micros
            .map(|m| Timestamp::from_microsecond(m).map_err(|e| StoreError::record("outbox", e)))
            .transpose()
    }

    /// The audit, newest first.
    pub fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        self.list(
            "SELECT at, who, via, what, subject, why FROM audit ORDER BY id DESC LIMIT ?1",
            [limit],
            |row| {
                Ok(AuditEntry {
                    at: time("audit", row, 0)?,
                    who: row.get(1)?,
                    via: row.get(2)?,
                    what: row.get(3)?,
                    subject: row.get(4)?,
                    why: row.get(5)?,
                })
            },
        )
    }

    /// A target's events in all its fleets, newest first.
    pub fn history(&self, target: &TargetName, limit: u32) -> Result<Vec<HistoryEvent>, StoreError> {
        let sql = "SELECT at, target, fleet, release, control, outcome FROM history
                   WHERE target = ?1 ORDER BY id DESC LIMIT ?2";
        self.list(sql, (target.as_str(), limit), |row| {
            Ok(HistoryEvent {
                at: time("history", row, 0)?,
                target: parsed("history", row, 1)?,
                fleet: parsed("history", row, 2)?,
                release: parsed("history", row, 3)?,
                control: parsed("history", row, 4)?,
                outcome: row.get(5)?,
            })
        })
    }
}

//! A write as SQL. All of it runs inside a transaction of the writer.

use jiff::Timestamp;
use rusqlite::{Connection, Params};

use super::StoreError;
use super::record::{
    AuditEntry, HistoryEvent, KnownLedger, MAX_AUDIT_ENTRIES, MAX_HISTORY_EVENTS, MAX_ROLLOUTS, MAX_SAID,
    RolloutRecord, Write,
};

pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// SQLite's integers have a sign.
fn signed(table: &'static str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|e| StoreError::record(table, e))
}

fn run(connection: &Connection, sql: &str, params: impl Params) -> Result<(), StoreError> {
    connection.prepare(sql)?.execute(params)?;
    Ok(())
}

pub(super) fn apply(connection: &Connection, write: &Write) -> Result<(), StoreError> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| run(connection, sql, params);
    match write {
        Write::Fleet(record) => run(
            "INSERT OR REPLACE INTO fleets (fleet, format, state) VALUES (?1, ?2, ?3)",
            &[&record.fleet.as_str(), &record.format, &record.state],
        ),
        Write::ForgetFleet(fleet) => {
            run("DELETE FROM fleets WHERE fleet = ?1", &[&fleet.as_str()])?;
            run("DELETE FROM rollouts WHERE fleet = ?1", &[&fleet.as_str()])
        }
        Write::Head(head) => run(
            "INSERT OR REPLACE INTO heads (source, branch, observed, accepted, hold) VALUES (?1, ?2, ?3, ?4, ?5)",
            &[
                &head.source.as_str(),
                &head.branch,
                &head.observed.map(|c| c.to_string()),
                &head.accepted.map(|c| c.to_string()),
                &head.hold,
            ],
        ),
        Write::Tag(tag) => run(
            "INSERT OR REPLACE INTO tags (source, name, commit_id) VALUES (?1, ?2, ?3)",
            &[&tag.source.as_str(), &tag.name, &tag.commit.to_string()],
        ),
        Write::ForgetTag { source, name } => {
            run("DELETE FROM tags WHERE source = ?1 AND name = ?2", &[&source.as_str(), name])
        }
        Write::Ledger(ledger) => put_ledger(connection, ledger),
        Write::ForgetLedger { target, fleet } => {
            run("DELETE FROM ledgers WHERE target = ?1 AND fleet = ?2", &[&target.as_str(), &fleet.as_str()])
        }
        // The replaced row goes and a new one with a new id comes.
        Write::Report { kind, key, payload, next_at } => {
            run(
                "INSERT OR REPLACE INTO outbox (kind, key, payload, attempts, next_at) VALUES (?1, ?2, ?3, 0, ?4)",
                &[kind, key, payload, &micros(*next_at)],
            )?;
            say(connection, kind, key, payload, *next_at)
        }
        Write::ReportSent { id } => run("DELETE FROM outbox WHERE id = ?1", &[id]),
        Write::ReportFailed { id, next_at } => run(
            "UPDATE outbox SET attempts = attempts + 1, next_at = ?2 WHERE id = ?1",
            &[id, &micros(*next_at)],
        ),
        Write::Audit(entry) => audit(connection, entry),
        Write::Rollout(rollout) => put_rollout(connection, rollout),
        Write::Event(event) => add_event(connection, event),
    }
}

fn say(
    connection: &Connection,
    kind: &str,
    key: &str,
    payload: &[u8],
    at: Timestamp,
) -> Result<(), StoreError> {
    run(
        connection,
        "INSERT OR REPLACE INTO said (kind, key, payload, at) VALUES (?1, ?2, ?3, ?4)",
        (kind, key, payload, micros(at)),
    )?;
    let oldest = connection.last_insert_rowid() - i64::from(MAX_SAID);
    run(connection, "DELETE FROM said WHERE id <= ?1", [oldest])
}

fn put_ledger(connection: &Connection, ledger: &KnownLedger) -> Result<(), StoreError> {
    let KnownLedger { target, fleet, generation, identity } = ledger;
    run(
        connection,
        "INSERT OR REPLACE INTO ledgers (target, fleet, generation, identity) VALUES (?1, ?2, ?3, ?4)",
        (target.as_str(), fleet.as_str(), signed("ledgers", *generation)?, identity),
    )
}

fn audit(connection: &Connection, entry: &AuditEntry) -> Result<(), StoreError> {
    let AuditEntry { at, who, via, what, subject, why, outcome } = entry;
    run(
        connection,
        "INSERT INTO audit (at, who, via, what, subject, why, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (micros(*at), who, via, what, subject, why, outcome),
    )?;
    // Ids have no gaps here: nothing else deletes.
    let oldest = connection.last_insert_rowid() - i64::from(MAX_AUDIT_ENTRIES);
    run(connection, "DELETE FROM audit WHERE id <= ?1", [oldest])
}

fn put_rollout(connection: &Connection, rollout: &RolloutRecord) -> Result<(), StoreError> {
    let RolloutRecord { fleet, revision, state, description, began, changed } = rollout;
    let (fleet, source, commit) = (fleet.as_str(), revision.source.as_str(), revision.commit.to_string());
    run(
        connection,
        "INSERT INTO rollouts (fleet, source, commit_id, state, description, began, changed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (fleet, source, commit_id)
         DO UPDATE SET state = ?4, description = ?5, changed = ?7 WHERE state <> ?4 OR description <> ?5",
        (fleet, source, commit, state, description, micros(*began), micros(*changed)),
    )?;
    run(
        connection,
        "DELETE FROM rollouts WHERE fleet = ?1 AND id <= (
             SELECT id FROM rollouts WHERE fleet = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (fleet, MAX_ROLLOUTS),
    )
}

fn add_event(connection: &Connection, event: &HistoryEvent) -> Result<(), StoreError> {
    let HistoryEvent { at, target, fleet, release, control, profiles, outcome } = event;
    let profiles = serde_json::to_string(profiles).map_err(|error| StoreError::record("history", error))?;
    run(
        connection,
        "INSERT INTO history (at, target, fleet, release, control, profiles, outcome)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            micros(*at),
            target.as_str(),
            fleet.as_str(),
            release.to_string(),
            control.to_string(),
            profiles,
            outcome,
        ),
    )?;
    run(
        connection,
        "DELETE FROM history WHERE target = ?1 AND fleet = ?2 AND id <= (
             SELECT id FROM history WHERE target = ?1 AND fleet = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
        (target.as_str(), fleet.as_str(), MAX_HISTORY_EVENTS),
    )
}

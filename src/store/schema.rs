//! The tables, and how an older file gets them.

use rusqlite::Connection;

use super::StoreError;

/// Step `n` brings a file from schema `n` to `n + 1`. A step that was released is never edited.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql")];

/// The schema of an open file (`PRAGMA user_version`); 0 for a new one.
pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Brings a file to the newest schema, each step in a transaction of its own with the number it leads to.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    let done = usize::try_from(version(connection)?).unwrap_or(0);
    for (reached, step) in (1i64..).zip(steps).skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", reached)?;
        transaction.commit()?;
        tracing::info!(schema = reached, "store migrated");
    }
    Ok(())
}

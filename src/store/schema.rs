//! The tables, and how an older file gets them.

use rusqlite::Connection;

use super::StoreError;

/// Step `n` brings a file from schema `n` to `n + 1`. A step that was released is never edited.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a table holds is changed by later steps, so each schema brings a row that it knew. A new step adds
    /// its own.
    const ROWS: &[&str] = &[
        "",
        "INSERT INTO fleets (fleet, format, state) VALUES ('retail', 1, x'7b7d');
         INSERT INTO audit (at, who, via, what, subject, why) VALUES (0, 'ann', 'socket', 'accept', 'x', 'y')",
        "INSERT INTO fleets (fleet, format, state) VALUES ('retail', 1, x'7b7d');
         INSERT INTO audit (at, who, via, what, subject, why, outcome) VALUES (0, 'a', 'b', 'c', 'd', 'e', '')",
        "INSERT INTO fleets (fleet, format, state) VALUES ('retail', 1, x'7b7d');
         INSERT INTO audit (at, who, via, what, subject, why, outcome) VALUES (0, 'a', 'b', 'c', 'd', 'e', '');
         INSERT INTO said (kind, key, payload, at) VALUES ('status', 'x', x'7b7d', 1)",
        "INSERT INTO fleets (fleet, format, state) VALUES ('retail', 1, x'7b7d');
         INSERT INTO audit (at, who, via, what, subject, why, outcome) VALUES (0, 'a', 'b', 'c', 'd', 'e', '');
         INSERT INTO history (at, target, fleet, release, control, outcome, profiles)
         VALUES (0, 'a', 'b', 'c', 'd', 'e', '[]')",
    ];

    #[test]
    fn every_older_schema_reaches_the_newest_with_its_records() {
        assert_eq!(ROWS.len(), MIGRATIONS.len() + 1, "a row for each schema");
        let columns = |connection: &Connection| {
            let sql = "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
            let mut statement = connection.prepare(sql).unwrap();
            let found: Result<Vec<String>, _> = statement.query_map([], |row| row.get(0)).unwrap().collect();
            found.unwrap()
        };
        let mut fresh = Connection::open_in_memory().unwrap();
        migrate(&mut fresh, MIGRATIONS).unwrap();
        for (old, row) in ROWS.iter().enumerate() {
            let mut connection = Connection::open_in_memory().unwrap();
            migrate(&mut connection, &MIGRATIONS[..old]).unwrap();
            connection.execute_batch(row).unwrap();
            migrate(&mut connection, MIGRATIONS).unwrap();
            assert_eq!(version(&connection).unwrap(), MIGRATIONS.len() as i64);
            assert_eq!(columns(&connection), columns(&fresh), "from {old}");
            let records = crate::store::Records { connection };
            let (fleets, audit) = (records.fleets().unwrap(), records.audit(None, 9).unwrap());
            assert_eq!(
                (fleets.len(), audit.len()),
                (usize::from(old > 0), usize::from(old > 0)),
                "from {old}"
            );
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_schema_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1)"];
        migrate(&mut connection, &steps).unwrap_err();
        let tables = |c: &Connection| -> Vec<String> {
            let mut statement = c.prepare("SELECT name FROM sqlite_schema").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!((version(&connection).unwrap(), tables(&connection)), (1, vec!["a".to_owned()]));
        migrate(&mut connection, &["", "CREATE TABLE b (x)"]).unwrap();
        assert_eq!(
            (version(&connection).unwrap(), tables(&connection)),
            (2, vec!["a".to_owned(), "b".to_owned()])
        );
    }
}

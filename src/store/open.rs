//! Opening: lock, damage, schema.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::record::Write;
use super::schema::{MIGRATIONS, migrate, version};
use super::{Records, StoreError, write};
use fairlead_private as private;

const DATABASE: &str = "store.db";
const LOCK: &str = "lock";

/// The open store, used from one thread. [`Store::spawn`] makes it usable from tasks.
#[derive(Debug)]
pub struct Store {
    records: Records,
    /// Where the damaged file went, if there was one.
    moved_aside: Option<PathBuf>,
    /// Released when the file is closed, by a crash too.
    _lock: File,
}

impl Store {
    /// Opens or creates the store in the state folder (which is created too, readable by this user alone).
    /// `now` names a file that is moved aside.
    ///
    /// # Errors
    /// `Locked`, `Newer`, `Io`, `DiskFull`, `Sqlite`. Damage is not among them: see [`Store::moved_aside`].
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, StoreError> {
        private::state_folder(folder).map_err(StoreError::io("use the folder", folder))?;
        let lock = lock(folder)?;
        let file = folder.join(DATABASE);
        let (connection, moved_aside) = match connect(&file) {
            Err(StoreError::Corrupt) => {
                let aside = move_aside(&file, now)?;
                tracing::error!(
                    file = %file.display(), aside = %aside.display(),
                    "the store is damaged: moved aside, a new one begins; accepted commits come from the ledgers, \
                     rollouts start anew, approvals are asked again"
                );
                (connect(&file)?, Some(aside))
            }
            other => (other?, None),
        };
        Ok(Self { records: Records { connection }, moved_aside, _lock: lock })
    }

    /// Where a damaged file was moved to when this store was opened.
    pub fn moved_aside(&self) -> Option<&Path> {
        self.moved_aside.as_deref()
    }

    /// Reads.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Writes all of them or none.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.write_groups([writes]).into_iter().collect()
    }

    /// Writes groups in one transaction, one disk flush. A group that fails is undone alone; if the commit itself
    /// fails, so do all.
    pub(super) fn write_groups<'w>(
        &mut self,
        groups: impl IntoIterator<Item = &'w [Write]>,
    ) -> Vec<Result<(), StoreError>> {
        let groups: Vec<_> = groups.into_iter().collect();
        match self.try_write_groups(&groups) {
            Ok(results) => results,
            Err(error) => groups.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn try_write_groups(&mut self, groups: &[&[Write]]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let mut transaction =
            self.records.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            let savepoint = transaction.savepoint()?;
            let result = group.iter().try_for_each(|w| write::apply(&savepoint, w));
            match &result {
                Ok(()) => savepoint.commit()?,
                // A full disk and the like end the whole transaction, the other groups' writes with it.
                Err(error) if savepoint.is_autocommit() => return Err(error.clone()),
                Err(_) => savepoint.finish()?,
            }
            results.push(result);
        }
        transaction.commit()?;
        Ok(results)
    }
}

/// Takes the folder's lock, and writes this process's id into it for the message that the next one shows.
fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK);
    let open = private::state_file().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(StoreError::io("open", &path))?;
    match crate::lock::try_lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The id only helps the message; the lock is what counts.
            let read = file.read_to_string(&mut pid);
            let pid = read.ok().and_then(|_| pid.trim().parse().ok());
            return Err(StoreError::Locked { folder: folder.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        tracing::warn!(file = %path.display(), %error, "cannot write the process id into the lock");
    }
    Ok(file)
}

/// Opens the file. Nothing is changed before its schema is known to be one of ours.
fn connect(file: &Path) -> Result<Connection, StoreError> {
    // Readable by this user alone, in a folder that was there before too; SQLite gives its log the same mode.
    let opened = private::state_file().create(true).append(true).open(file);
    opened.map_err(StoreError::io("open", file))?;
    let mut connection = Connection::open(file)?;
    let (found, known) = (version(&connection)?, i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX));
    if found > known {
        return Err(StoreError::Newer { file: file.to_owned(), found, known });
    }
    // Some file systems can't share memory, which WAL needs; the answer then names the mode that stays.
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(mode, "the state folder's file system can't do write-ahead logging; going on without");
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        tracing::error!(file = %file.display(), check, "the store failed its check");
        return Err(StoreError::Corrupt);
    }
    migrate(&mut connection, MIGRATIONS)?;
    Ok(connection)
}

/// Renames the database and what is left of its log (SQLite drops a log whose database has no valid header). The
/// database goes last, so that a crash between leaves no old log beside a new database.
fn move_aside(file: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    let with = |suffix: &str| {
        let mut name = OsString::from(file);
        name.push(suffix);
        PathBuf::from(name)
    };
    let mark = format!(".damaged-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    for suffix in ["-shm", "-wal", ""] {
        let from = with(suffix);
        let to = with(&format!("{mark}{suffix}"));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("move aside", &from)(error));
            }
            _ => {}
        }
    }
    Ok(with(&mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FleetRecord;

    fn fleet(name: &str, size: usize) -> Write {
        Write::Fleet(FleetRecord { fleet: name.parse().unwrap(), format: 1, state: vec![b'x'; size] })
    }

    /// SQLite's own limit stands for the disk's: both come as `SQLITE_FULL`.
    #[test]
    fn a_full_disk_is_said_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), Timestamp::UNIX_EPOCH).unwrap();
        store.write(&[fleet("before", 10)]).unwrap();
        let pages: i64 =
            store.records.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        store.records.connection.pragma_update(None, "max_page_count", pages + 5).unwrap();
        let (small, large) = ([fleet("small", 10)], [fleet("large", 1 << 20)]);
        let results = store.write_groups([small.as_slice(), large.as_slice()]);
        assert!(results.iter().any(|r| matches!(r, Err(StoreError::DiskFull))), "{results:?}");
        let names: Vec<_> =
            store.records().fleets().unwrap().into_iter().map(|f| f.fleet.to_string()).collect();
        let wanted = if results[0].is_ok() { vec!["before", "small"] } else { vec!["before"] };
        assert_eq!(names, wanted, "an answer is the truth");

        store.records.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
        store.write(&large).unwrap();
        assert_eq!(store.records().fleets().unwrap().len(), wanted.len() + 1);
    }
}

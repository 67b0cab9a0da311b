use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

/// Why the store can't be opened, read or written. Cloned to everyone whose write was in a failed group.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error(
        "another Fairlead{} runs on the state folder {}; stop it, or give this one a folder of its own (setting `state`)",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), .folder.display()
    )]
    Locked { folder: PathBuf, pid: Option<u32> },
    #[error(
        "{} has schema {found}, and this version of Fairlead knows schemas up to {known}; run the version that wrote it, \
         or move the file away to start without it", .file.display()
    )]
    Newer { file: PathBuf, found: i64, known: i64 },
    #[error("cannot {action} {}", .path.display())]
    Io { action: &'static str, path: PathBuf, source: Arc<io::Error> },
    /// Nothing of the group was written; what was there before stays.
    #[error("the disk is full: nothing was written, what was there stays; make room in the state folder")]
    DiskFull,
    /// Found while running; opening the store moves the damaged file aside.
    #[error("the store's file is damaged; restart to move it aside and begin a new one")]
    Corrupt,
    #[error("a record of '{table}' cannot be understood: {detail}")]
    Record { table: &'static str, detail: String },
    #[error("the database refused")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    #[error("the store has stopped")]
    Stopped,
}

impl StoreError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }

    pub(super) fn record(table: &'static str, detail: impl ToString) -> Self {
        Self::Record { table, detail: detail.to_string() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt,
            _ => Self::Sqlite(Arc::new(error)),
        }
    }
}

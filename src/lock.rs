//! Locks on files that one process may hold.

use std::fs::{File, TryLockError};
use std::time::Duration;

const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// Takes a file's lock, with half a second of patience: a process that is being started somewhere holds a copy
/// of its parent's open files until its own program begins, and a lock goes only with the last copy.
///
/// # Errors
/// As [`File::try_lock`].
pub fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
    file.try_lock()
}

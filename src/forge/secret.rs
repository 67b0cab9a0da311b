//! A secret in a file, read again when the file changes.

use std::fmt;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::ForgeError;
use fairlead_private::{self as private, Holds};

/// Larger files are no secrets.
const MAX_FILE: u64 = 64 << 10;

/// What tells one state of a file from the next: a secret that is mounted anew is another inode.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// The trimmed content of a file. A file that becomes unusable makes the secret unusable: the one before may just
/// have been withdrawn.
pub(super) struct SecretFile {
    path: PathBuf,
    shortest: usize,
    last: Mutex<Option<(Stamp, Arc<str>)>>,
}

impl SecretFile {
    /// Reads it once, so that a mistake is found at start. `shortest` is in bytes.
    pub(super) fn open(path: &Path, shortest: usize) -> Result<Self, ForgeError> {
        let secret = Self { path: path.to_owned(), shortest, last: Mutex::default() };
        secret.get()?;
        Ok(secret)
    }

    pub(super) fn get(&self) -> Result<Arc<str>, ForgeError> {
        let failed = |source| ForgeError::Secret { path: self.path.clone(), source };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(&self.path).map(|metadata| stamp(&metadata));
        if let (Some((stamp, secret)), Ok(now)) = (&*last, &now)
            && stamp == now
        {
            return Ok(secret.clone());
        }
        *last = None;
        let (stamp, text) = read(&self.path).map_err(failed)?;
        let bad = |reason| ForgeError::BadSecret { path: self.path.clone(), reason };
        let text = text.trim();
        if text.is_empty() {
            return Err(bad("the file is empty"));
        }
        if text.len() < self.shortest {
            return Err(bad("it is shorter than 16 characters, so it can be guessed"));
        }
        let secret: Arc<str> = text.into();
        *last = Some((stamp, secret.clone()));
        Ok(secret)
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretFile").field(&self.path).finish()
    }
}

fn stamp(m: &Metadata) -> Stamp {
    (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
}

fn read(path: &Path) -> io::Result<(Stamp, String)> {
    let (file, metadata) = private::open(path, Holds::Secret)?;
    let stamp = stamp(&metadata);
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text)?;
    Ok((stamp, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_counts_at_once_and_an_empty_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert!(matches!(SecretFile::open(&path, 16), Err(ForgeError::Secret { .. })));
        for bad in ["", " \n", "short"] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(SecretFile::open(&path, 16), Err(ForgeError::BadSecret { .. })), "{bad:?}");
        }
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        let secret = SecretFile::open(&path, 16).unwrap();
        assert_eq!(&*secret.get().unwrap(), "0123456789abcdef");
        std::fs::write(&path, "another-one-of-enough-length").unwrap();
        assert_eq!(&*secret.get().unwrap(), "another-one-of-enough-length");
        std::fs::write(&path, "").unwrap();
        assert!(secret.get().is_err());
        assert!(!format!("{secret:?}").contains("another"));
    }
}

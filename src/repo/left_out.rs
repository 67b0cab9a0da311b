//! Files that a mirror does without, because nothing ever reads a file of their size.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use git2::Oid;

use super::error::RepoError;

/// Beside the mirror's own files; a line for each object: its hash, and its size in bytes.
const NAME: &str = "fairlead-left-out";

/// What a mirror does without.
#[derive(Debug, Default)]
pub(super) struct LeftOut(HashMap<Oid, u64>);

impl LeftOut {
    /// Of the mirror whose Git folder this is; of other repositories there is none.
    pub(super) fn read(git_dir: &Path) -> Result<Self, RepoError> {
        let path = path(git_dir);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(RepoError::io(format!("read {}", path.display()), &error)),
        };
        // A line that was cut off is that of an object which was not promised yet.
        let line = |line: &str| {
            let (id, size) = line.split_once(' ')?;
            Some((Oid::from_str(id).ok().filter(|_| id.len() == 40)?, size.parse().ok()?))
        };
        Ok(Self(text.lines().filter_map(line).collect()))
    }

    pub(super) fn has(&self, id: Oid) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn size(&self, id: Oid) -> Option<u64> {
        self.0.get(&id).copied()
    }

    /// Notes more objects; on disk before anything that names them.
    pub(super) fn add(git_dir: &Path, more: &[(Oid, u64)]) -> Result<(), RepoError> {
        if more.is_empty() {
            return Ok(());
        }
        let path = path(git_dir);
        let text: String = more.iter().map(|(id, size)| format!("{id} {size}\n")).collect();
        let written = File::options().create(true).append(true).open(&path).and_then(|mut file| {
            // On a line of its own, whatever became of the one before.
            if file.metadata()?.len() > 0 {
                file.write_all(b"\n")?;
            }
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| RepoError::io(format!("write {}", path.display()), &error))
    }
}

fn path(git_dir: &Path) -> PathBuf {
    git_dir.join(NAME)
}

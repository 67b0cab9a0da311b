//! Handles on one bare repository, for many threads.
//!
//! `git2::Repository` is Send, not Sync. A lock around one handle would make renders wait for each other, and
//! a handle for each thread would leave one in each of tokio's many blocking threads; a pool holds as many as
//! are in use at once, and keeps them warm.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use git2::{ObjectType, Oid, Repository};

use super::error::RepoError;
use super::folder::Folder;
use super::{loose, source};
use fairlead_core::model::digest::{CommitId, TreeId};

/// How long a server may say nothing: one that counts objects sends its progress.
pub(super) const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Handles that are kept open when idle.
const IDLE_HANDLES: usize = 4;
/// Entries of parsed folders that are kept, about 100 bytes each.
const CACHED_ENTRIES: usize = 50_000;

/// A repository as all threads see it. Survives the mirror's being rebuilt under it.
pub(super) struct Store {
    path: PathBuf,
    pool: Mutex<Pool>,
    folders: Mutex<FolderCache>,
    suspect: AtomicBool,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Repository>,
    /// Grows when the folder on disk is replaced: older handles are not taken back.
    generation: u64,
}

#[derive(Default)]
struct FolderCache {
    folders: HashMap<TreeId, Arc<Folder>>,
    entries: usize,
}

pub(super) fn oid_of(id: &[u8; 20]) -> Result<Oid, RepoError> {
    Oid::from_bytes(id).map_err(|error| RepoError::disk("read an object id", &error))
}

pub(super) fn bytes_of(oid: Oid) -> [u8; 20] {
    let mut id = [0; 20];
    // Without SHA-256 compiled in, libgit2 opens only repositories with 20-byte ids.
    id.iter_mut().zip(oid.as_bytes()).for_each(|(to, from)| *to = *from);
    id
}

pub(super) fn commit_of(oid: Oid) -> CommitId {
    CommitId::from_bytes(bytes_of(oid))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets what holds for every use of libgit2 in this process; cheap after the first call.
pub(super) fn prepare() -> Result<(), RepoError> {
    super::options::configure(super::options::Options { object_cache: 16 << 20 })
        .map_err(|reason| RepoError::Failed { doing: "prepare libgit2".into(), reason })
}

impl Store {
    /// Opens the repository whose `.git` folder (or bare folder) is `path`.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, RepoError> {
        prepare()?;
        let pool = Pool { idle: vec![open(path)?], generation: 0 };
        Ok(Arc::new(Self {
            path: path.to_owned(),
            pool: Mutex::new(pool),
            folders: Mutex::default(),
            suspect: AtomicBool::new(false),
        }))
    }

    /// Runs `work` with a handle of its own. Once more, if the repository was replaced meanwhile.
    pub(super) fn with<T>(&self, work: impl Fn(&Repository) -> Result<T, RepoError>) -> Result<T, RepoError> {
        loop {
            let (repo, generation) = self.take()?;
            let result = work(&repo);
            if self.give_back(repo, generation) || result.is_ok() {
                if matches!(result, Err(RepoError::Corrupt { .. })) {
                    self.suspect.store(true, Ordering::Release);
                }
                return result;
            }
        }
    }

    fn take(&self) -> Result<(Repository, u64), RepoError> {
        let mut pool = lock(&self.pool);
        let repo = match pool.idle.pop() {
            Some(repo) => repo,
            None => open(&self.path)?,
        };
        Ok((repo, pool.generation))
    }

    /// Whether the handle was still on the present repository.
    fn give_back(&self, repo: Repository, generation: u64) -> bool {
        let mut pool = lock(&self.pool);
        let current = pool.generation == generation;
        if current && pool.idle.len() < IDLE_HANDLES {
            pool.idle.push(repo);
        }
        current
    }

    /// Replaces the folder on disk while nobody opens a handle; what is in use then is asked again.
    pub(super) fn replace(&self, swap: impl FnOnce() -> Result<(), RepoError>) -> Result<(), RepoError> {
        let mut pool = lock(&self.pool);
        swap()?;
        pool.generation += 1;
        pool.idle.clear();
        Ok(())
    }

    /// Whether a reader met damage since the last check.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    pub(super) fn clear_suspicion(&self) {
        self.suspect.store(false, Ordering::Release);
    }

    /// A folder by its tree id. The id comes from a commit or a folder that was read, so that an object that
    /// is not there is damage, never "missing".
    pub(super) fn folder(&self, id: TreeId) -> Result<Arc<Folder>, RepoError> {
        if let Some(folder) = lock(&self.folders).folders.get(&id) {
            return Ok(Arc::clone(folder));
        }
        let folder = Arc::new(self.with(|repo| read_folder(repo, id))?);
        let mut cache = lock(&self.folders);
        if cache.entries > CACHED_ENTRIES {
            *cache = FolderCache::default();
        }
        cache.entries += folder.len();
        cache.folders.insert(id, Arc::clone(&folder));
        Ok(folder)
    }
}

fn open(path: &Path) -> Result<Repository, RepoError> {
    source::open(path, &path.display().to_string())
}

/// Reads and parses one tree object, with its hash checked by libgit2.
pub(super) fn read_folder(repo: &Repository, id: TreeId) -> Result<Folder, RepoError> {
    let what = format!("folder {id}");
    let odb = repo.odb().map_err(|error| RepoError::disk("open the objects", &error))?;
    let oid = oid_of(id.as_bytes())?;
    loose::is_whole(repo, oid)?;
    let object = odb.read(oid).map_err(|error| match source::completes(repo) {
        Some(completes) if error.code() == git2::ErrorCode::NotFound => {
            RepoError::Incomplete { what: what.clone(), completes: completes.to_owned() }
        }
        _ => RepoError::damaged(&what, &error),
    })?;
    if object.kind() != ObjectType::Tree {
        return Err(RepoError::Refused { path: what, reason: format!("is a {}", object.kind()) });
    }
    Folder::parse(object.data())
        .map_err(|reason| RepoError::Refused { path: what, reason: reason.to_owned() })
}

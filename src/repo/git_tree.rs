//! The tree of a commit.

use std::sync::Arc;

use git2::{ObjectType, Oid};

use fairlead_core::model::digest::{CommitId, TreeId};
use fairlead_core::model::tree::{Entry, EntryKind, Tree, TreeError};

use super::error::RepoError;
use super::folder::{Folder, Item, check_name};
use super::left_out::LeftOut;
use super::store::{Store, oid_of};
use super::{loose, source};

/// Largest file that is read. Kubernetes takes no object above 1.5 MiB (etcd's request limit); a file of
/// several, or a packed chart, stays well below 8 MiB.
pub const MAX_FILE: u64 = 8 << 20;

/// Deepest path that is followed; Git itself has no limit, and no repository of people comes near.
pub(super) const MAX_DEPTH: usize = 64;

/// The tree of a commit, read from the object database: no file on disk is opened by its name in the tree.
///
/// Look-ups cost one parsed folder for each part of the path; parsed folders are shared between commits.
#[derive(Clone)]
pub struct GitTree {
    store: Arc<Store>,
    commit: CommitId,
    root: TreeId,
}

impl GitTree {
    pub(super) fn new(store: Arc<Store>, commit: CommitId, root: TreeId) -> Self {
        Self { store, commit, root }
    }

    pub fn commit(&self) -> CommitId {
        self.commit
    }

    /// Git's hash of the whole tree.
    pub fn root(&self) -> TreeId {
        self.root
    }

    fn folder(&self, id: TreeId, path: &str) -> Result<Arc<Folder>, TreeError> {
        self.store.folder(id).map_err(|error| tree_error(path, &error))
    }

    /// What is at `path`: an id and a kind.
    fn find(&self, path: &str) -> Result<Option<(TreeId, EntryKind)>, TreeError> {
        let mut at = (self.root, EntryKind::Folder);
        for (here, name, _) in steps(path)? {
            if at.1 == EntryKind::File {
                return Ok(None);
            }
            let folder = self.folder(at.0, here)?;
            let Some(item) = folder.get(name) else { return Ok(None) };
            let kind = item.kind.map_err(|reason| refused(&join(here, name), reason))?;
            at = (item.id, kind);
        }
        Ok(Some(at))
    }
}

impl Tree for GitTree {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let found = self.find(path)?;
        Ok(found.map(|(id, kind)| Entry { name: last_name(path), kind, id }))
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Result<Entry, TreeError>>>, TreeError> {
        match self.find(folder)? {
            Some((id, EntryKind::Folder)) => Ok(Some(entries_of(&*self.folder(id, folder)?, folder))),
            _ => Ok(None),
        }
    }

    fn read(&self, file: &str) -> Result<Option<Arc<[u8]>>, TreeError> {
        let Some((id, EntryKind::File)) = self.find(file)? else { return Ok(None) };
        self.store.with(|repo| read_blob(repo, id)).map(Some).map_err(|error| tree_error(file, &error))
    }
}

fn read_blob(repo: &git2::Repository, id: TreeId) -> Result<Arc<[u8]>, RepoError> {
    let what = format!("file {id}");
    let odb = repo.odb().map_err(|error| RepoError::disk("open the objects", &error))?;
    let oid = oid_of(id.as_bytes())?;
    loose::is_whole(repo, oid)?;
    let head = loose::header(&odb, oid).map_err(|error| missing_file(repo, oid, &what, &error));
    let (size, kind) = head?;
    if kind != ObjectType::Blob {
        return Err(RepoError::Refused { path: what, reason: format!("is a {kind}, not a file") });
    }
    if size > MAX_FILE {
        return Err(RepoError::Refused { path: what, reason: too_large(size) });
    }
    let object = odb.read(oid).map_err(|error| RepoError::damaged(&what, &error))?;
    Ok(Arc::from(object.data()))
}

/// A file that is not there: one that the mirror does without, one that a partial clone has not fetched, or damage.
fn missing_file(repo: &git2::Repository, id: Oid, what: &str, error: &git2::Error) -> RepoError {
    let refused = |reason: String| RepoError::Refused { path: what.to_owned(), reason };
    if error.code() != git2::ErrorCode::NotFound {
        return RepoError::damaged(what, error);
    }
    match LeftOut::read(repo.path()) {
        Ok(left_out) => match (left_out.size(id), source::completes(repo)) {
            (Some(size), _) => refused(too_large(size)),
            (None, Some(completes)) => {
                RepoError::Incomplete { what: what.to_owned(), completes: completes.to_owned() }
            }
            (None, None) => RepoError::damaged(what, error),
        },
        Err(error) => error,
    }
}

pub(super) fn too_large(size: u64) -> String {
    format!("is {size} bytes long; files of at most {MAX_FILE} bytes are read")
}

fn tree_error(path: &str, error: &RepoError) -> TreeError {
    match error {
        RepoError::Refused { reason, .. } => refused(path, reason),
        RepoError::Incomplete { completes, .. } => TreeError::Unreadable {
            path: path.to_owned(),
            reason: format!("it is not in this clone; {completes}"),
        },
        error => TreeError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    }
}

pub(super) fn refused(path: &str, reason: &str) -> TreeError {
    TreeError::Refused { path: path.to_owned(), reason: reason.to_owned() }
}

pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

pub(super) fn last_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// A path as steps: the folder so far, the name to look up in it, and the path with it.
pub(super) fn steps(path: &str) -> Result<Vec<(&str, &str, &str)>, TreeError> {
    let mut steps = Vec::new();
    let mut from = 0;
    while from < path.len() || (from > 0 && from == path.len()) {
        let end = path[from..].find('/').map_or(path.len(), |at| from + at);
        let name = &path[from..end];
        check_name(name.as_bytes()).map_err(|reason| refused(path, reason))?;
        steps.push((path[..from].trim_end_matches('/'), name, &path[..end]));
        if steps.len() > MAX_DEPTH {
            return Err(refused(path, "is nested too deep"));
        }
        if end == path.len() {
            break;
        }
        from = end + 1;
    }
    Ok(steps)
}

/// A folder's entries as the trait gives them.
pub(super) fn entries_of(folder: &Folder, path: &str) -> Vec<Result<Entry, TreeError>> {
    let entry = |item: &Item| match item.kind {
        Ok(kind) => Ok(Entry { name: item.name.clone(), kind, id: item.id }),
        Err(reason) => Err(refused(&join(path, &item.name), reason)),
    };
    folder.items().iter().map(entry).collect()
}

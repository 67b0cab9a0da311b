//! A tree of files, as pure rooms read it: a commit's, the working tree's or a test's.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::digest::TreeId;

/// Why something of a tree can't be had. Neither of these ever means "empty".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// It is there, but Fairlead does not read such a thing (symlink, submodule, `..`, an odd mode, too large).
    #[error("{path}: {reason}")]
    Refused { path: String, reason: String },
    /// It could not be read; whether it exists is unknown.
    #[error("cannot read {path}: {reason}")]
    Unreadable { path: String, reason: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Folder,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub kind: EntryKind,
    /// Git's hash of its content.
    pub id: TreeId,
}

/// Reads files by their paths from the root, with `/`, without a leading one. The root is ``.
///
/// Guarantees: a path that is not there is `Ok(None)`, and only if the tree was read in full down to it;
/// entries come sorted by name; links are never followed.
pub trait Tree: Send + Sync {
    /// What is at `path`, with Git's hash of it.
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError>;
    /// The entries of a folder. An entry that Fairlead refuses is in the list as its error.
    fn list(&self, folder: &str) -> Result<Option<Vec<Result<Entry, TreeError>>>, TreeError>;
    /// The bytes of a file.
    fn read(&self, file: &str) -> Result<Option<Arc<[u8]>>, TreeError>;
}

/// A tree in memory, for tests and examples. Ids are BLAKE3 prefixes: stable, but not Git's.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    files: BTreeMap<String, Arc<[u8]>>,
}

impl MemoryTree {
    pub fn new<P: Into<String>, C: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
        Self { files: files.into_iter().map(|(p, c)| (p.into(), Arc::from(c.as_ref()))).collect() }
    }

    #[must_use]
    pub fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.to_owned(), Arc::from(content.as_ref()));
        self
    }

    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        self.files.remove(path);
        self
    }

    fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, &'a Arc<[u8]>)> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.files.iter().filter_map(move |(path, content)| Some((path.strip_prefix(&prefix)?, content)))
    }

    fn folder_id(&self, folder: &str) -> Option<TreeId> {
        let mut hasher = blake3::Hasher::new();
        let mut empty = !folder.is_empty();
        for (path, content) in self.below(folder) {
            empty = false;
            hasher.update(path.as_bytes()).update(blake3::hash(content).as_bytes());
        }
        (!empty).then(|| short_id(hasher.finalize()))
    }
}

fn short_id(hash: blake3::Hash) -> TreeId {
    let mut id = [0; 20];
    id.copy_from_slice(&hash.as_bytes()[..20]);
    TreeId::from_bytes(id)
}

impl Tree for MemoryTree {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Ok(match self.files.get(path) {
            Some(content) => Some(Entry { name, kind: EntryKind::File, id: short_id(blake3::hash(content)) }),
            None => self.folder_id(path).map(|id| Entry { name, kind: EntryKind::Folder, id }),
        })
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Result<Entry, TreeError>>>, TreeError> {
        if self.folder_id(folder).is_none() {
            return Ok(None);
        }
        let names: std::collections::BTreeSet<_> =
            self.below(folder).filter_map(|(path, _)| path.split('/').next()).collect();
        let path = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let entries: Result<Vec<_>, _> = names.into_iter().map(|name| self.entry(&path(name))).collect();
        Ok(Some(entries?.into_iter().flatten().map(Ok).collect()))
    }

    fn read(&self, file: &str) -> Result<Option<Arc<[u8]>>, TreeError> {
        Ok(self.files.get(file).cloned())
    }
}

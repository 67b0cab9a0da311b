//! A folder on disk, as Git would commit it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use git2::{ObjectType, Oid, Repository};

use fairlead_core::model::digest::TreeId;
use fairlead_core::model::tree::{Entry, EntryKind, Tree, TreeError};

use super::error::RepoError;
use super::folder::{
    EXECUTABLE, FILE, FOLDER, Folder, IS_SUBMODULE, IS_SYMLINK, Item, SUBMODULE, SYMLINK, check_name,
};
use super::git_tree::{MAX_DEPTH, MAX_FILE, entries_of, join, last_name, refused, steps, too_large};
use super::index::Index;
use super::source;
use super::store::{bytes_of, lock, prepare};

/// A folder on disk, as Git would commit it: the ids are those of the commit, ignored files are not there,
/// links are not followed. Git's filters (line endings, LFS) are not run.
///
/// A folder is hashed when it is first asked for and then remembered; a file that changes afterwards can't be
/// read, so that bytes and id always belong together.
pub struct WorkTree {
    root: PathBuf,
    ignores: Option<Mutex<Ignores>>,
    folders: Mutex<HashMap<String, Arc<Scanned>>>,
}

/// What the surrounding repository tracks and ignores.
struct Ignores {
    repo: Repository,
    index: Index,
    /// From the repository's work tree to our root.
    prefix: PathBuf,
}

struct Scanned {
    /// Git knows no empty folders: `None` is one.
    id: Option<TreeId>,
    folder: Folder,
}

/// What stands at a place, by its metadata alone.
enum What {
    File { size: u64, executable: bool },
    Folder,
    Symlink,
    Submodule,
    Odd,
}

impl WorkTree {
    /// The root of the work tree that `path` is in; none outside a repository, and for a bare one.
    pub fn root_around(path: &Path) -> Option<PathBuf> {
        prepare().ok()?;
        let repo = source::discover(path).ok()?;
        fs::canonicalize(repo.workdir()?).ok()
    }

    /// Opens a folder, in a Git repository or not.
    ///
    /// # Errors
    /// When it is no folder, or the repository around it can't be read.
    pub fn open(root: &Path) -> Result<Self, RepoError> {
        prepare()?;
        let doing = || format!("open {}", root.display());
        let root = fs::canonicalize(root).map_err(|error| RepoError::io(doing(), &error))?;
        if !root.is_dir() {
            return Err(RepoError::Failed { doing: doing(), reason: "it is not a folder".into() });
        }
        let ignores = Ignores::around(&root)?.map(Mutex::new);
        Ok(Self { root, ignores, folders: Mutex::default() })
    }

    fn what(&self, path: &str) -> Result<Option<What>, TreeError> {
        let full = self.root.join(path);
        let metadata = match fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => {
                return match self.is_left_out(path) {
                    true => Err(unreadable(path, &format!("it {IS_LEFT_OUT}"))),
                    false => Ok(None),
                };
            }
            Err(error) => return Err(unreadable(path, &error)),
        };
        let mut submodule = false;
        if let Some(ignores) = &self.ignores {
            let ignores = lock(ignores);
            if ignores.ignores(path, metadata.is_dir()).map_err(|error| unreadable(path, &error))? {
                return Ok(None);
            }
            submodule = ignores.is_submodule(path);
        }
        let kind = metadata.file_type();
        Ok(Some(if kind.is_symlink() {
            What::Symlink
        } else if kind.is_dir() {
            if submodule || full.join(".git").exists() { What::Submodule } else { What::Folder }
        } else if kind.is_file() {
            What::File { size: metadata.len(), executable: metadata.permissions().mode() & 0o100 != 0 }
        } else {
            What::Odd
        }))
    }

    /// What is at `path`, with each folder on the way judged. The root is a folder whatever it holds.
    fn find(&self, path: &str) -> Result<Option<What>, TreeError> {
        let mut found = What::Folder;
        for (_, _, here) in steps(path)? {
            match found {
                What::Folder => {}
                _ => return Ok(None),
            }
            found = match self.what(here)? {
                None => return Ok(None),
                Some(What::Symlink) => return Err(refused(here, IS_SYMLINK)),
                Some(What::Submodule) => return Err(refused(here, IS_SUBMODULE)),
                Some(What::Odd) => return Err(refused(here, IS_ODD)),
                Some(what) => what,
            };
        }
        Ok(Some(found))
    }

    /// Whether Git has something at a path that it was told to leave out of the work tree.
    fn is_left_out(&self, path: &str) -> bool {
        let ignores = self.ignores.as_ref().map(lock);
        ignores
            .is_some_and(|ignores| ignores.index.leaves_out(ignores.prefix.join(path).as_os_str().as_bytes()))
    }

    /// What of a folder Git was told to leave out of the work tree, as entries that can't be read.
    fn left_out(&self, folder: &str, present: &[Scan]) -> Vec<Scan> {
        let Some(ignores) = &self.ignores else { return Vec::new() };
        let ignores = lock(ignores);
        let prefix = if folder.is_empty() { ignores.prefix.clone() } else { ignores.prefix.join(folder) };
        let mut out: Vec<Scan> = Vec::new();
        for (below, tracked) in ignores.index.below(prefix.as_os_str().as_bytes()) {
            let name = below.split(|byte| *byte == b'/').next().unwrap_or_default();
            let known = |scans: &[Scan]| scans.iter().any(|(_, known, _)| known.as_slice() == name);
            if !tracked.left_out || known(present) || known(&out) {
                continue;
            }
            let shown = String::from_utf8_lossy(name).into_owned();
            // Without a mode it is not in the folder's hash, which nobody asks for where something is unknown.
            out.push((0, name.to_vec(), Item { name: shown, kind: Err(IS_LEFT_OUT), id: tracked.id }));
        }
        out
    }

    fn scan(&self, path: &str, depth: usize) -> Result<Arc<Scanned>, TreeError> {
        if let Some(scanned) = lock(&self.folders).get(path) {
            return Ok(Arc::clone(scanned));
        }
        if depth > MAX_DEPTH {
            return Err(refused(path, "is nested too deep"));
        }
        let mut entries = Vec::new();
        let list = fs::read_dir(self.root.join(path)).map_err(|error| unreadable(path, &error))?;
        for entry in list {
            let name = entry.map_err(|error| unreadable(path, &error))?.file_name();
            if name != ".git" {
                entries.extend(self.scan_entry(path, &name, depth)?);
            }
        }
        let left_out = self.left_out(path, &entries);
        entries.extend(left_out);
        let id = tree_id(&mut entries).map_err(|error| unreadable(path, &error))?;
        let folder = Folder::from_items(entries.into_iter().map(|(_, _, item)| item).collect());
        let scanned = Arc::new(Scanned { id, folder });
        lock(&self.folders).insert(path.to_owned(), Arc::clone(&scanned));
        Ok(scanned)
    }

    /// An entry's mode (0: Git does not know such a thing), its name in bytes, and the entry.
    fn scan_entry(&self, folder: &str, name: &OsStr, depth: usize) -> Result<Option<Scan>, TreeError> {
        let bytes = name.as_bytes().to_vec();
        let Some(text) = name.to_str().filter(|text| !text.chars().any(char::is_control)) else {
            let item = Item {
                name: bytes.escape_ascii().to_string(),
                kind: check_name(&bytes).map(|()| EntryKind::File),
                id: TreeId::from_bytes([0; 20]),
            };
            // Its hash is of no use: who reads the folder stops at the entry.
            return Ok(Some((FILE, bytes, item)));
        };
        let path = join(folder, text);
        let Some(what) = self.what(&path)? else { return Ok(None) };
        let full = self.root.join(&path);
        let (mode, kind, id) = match what {
            What::File { executable, .. } => {
                let id = hash_file(&full).map_err(|error| unreadable(&path, &error))?;
                (if executable { EXECUTABLE } else { FILE }, Ok(EntryKind::File), id)
            }
            What::Folder => {
                let Some(id) = self.scan(&path, depth + 1)?.id else { return Ok(None) };
                (FOLDER, Ok(EntryKind::Folder), id)
            }
            What::Symlink => {
                let target = fs::read_link(&full).map_err(|error| unreadable(&path, &error))?;
                let id = hash(ObjectType::Blob, target.as_os_str().as_bytes());
                (SYMLINK, Err(IS_SYMLINK), id.map_err(|error| unreadable(&path, &error))?)
            }
            What::Submodule => (SUBMODULE, Err(IS_SUBMODULE), submodule_head(&full)),
            What::Odd => (0, Err(IS_ODD), TreeId::from_bytes([0; 20])),
        };
        let kind = kind.and_then(|kind| check_name(&bytes).map(|()| kind));
        Ok(Some((mode, bytes, Item { name: text.to_owned(), kind, id })))
    }
}

type Scan = (u32, Vec<u8>, Item);

const IS_LEFT_OUT: &str = "is in the commit, but was left out of this work tree (sparse checkout), so what it says is unknown; \
     'git sparse-checkout disable' brings it, and so does 'git sparse-checkout add' with its folder";

const IS_ODD: &str = "is neither a file nor a folder";

impl Tree for WorkTree {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let (kind, id) = match self.find(path)? {
            None => return Ok(None),
            Some(What::Folder) => {
                let id = self.scan(path, 0)?.id;
                if id.is_none() && !path.is_empty() {
                    return Ok(None);
                }
                let empty = || hash(ObjectType::Tree, b"").map_err(|error| unreadable(path, &error));
                (EntryKind::Folder, id.map_or_else(empty, Ok)?)
            }
            Some(_) => {
                let id = hash_file(&self.root.join(path)).map_err(|error| unreadable(path, &error))?;
                (EntryKind::File, id)
            }
        };
        Ok(Some(Entry { name: last_name(path), kind, id }))
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Result<Entry, TreeError>>>, TreeError> {
        let Some(What::Folder) = self.find(folder)? else { return Ok(None) };
        let scanned = self.scan(folder, 0)?;
        if scanned.folder.len() == 0 && !folder.is_empty() {
            return Ok(None);
        }
        Ok(Some(entries_of(&scanned.folder, folder)))
    }

    fn read(&self, file: &str) -> Result<Option<Arc<[u8]>>, TreeError> {
        let Some(What::File { size, .. }) = self.find(file)? else { return Ok(None) };
        if size > MAX_FILE {
            return Err(refused(file, &too_large(size)));
        }
        let bytes = fs::read(self.root.join(file)).map_err(|error| unreadable(file, &error))?;
        let id = hash(ObjectType::Blob, &bytes).map_err(|error| unreadable(file, &error))?;
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let remembered = lock(&self.folders)
            .get(folder)
            .and_then(|scanned| scanned.folder.get(&last_name(file)).map(|item| item.id));
        if remembered.is_some_and(|remembered| remembered != id) {
            return Err(unreadable(file, &"it changed while it was being read; try again"));
        }
        Ok(Some(Arc::from(bytes)))
    }
}

impl Ignores {
    fn around(root: &Path) -> Result<Option<Self>, RepoError> {
        let repo = match source::discover(root) {
            Ok(repo) => repo,
            Err(RepoError::NoRepository { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(work) = repo.workdir() else { return Ok(None) };
        let work = fs::canonicalize(work).map_err(|error| RepoError::io("find the work tree", &error))?;
        let Ok(prefix) = root.strip_prefix(&work).map(Path::to_owned) else { return Ok(None) };
        let index = Index::read(repo.path())?;
        Ok(Some(Self { repo, index, prefix }))
    }

    /// Whether Git would leave it out: ignored, and neither it nor anything below is tracked.
    fn ignores(&self, path: &str, is_folder: bool) -> Result<bool, git2::Error> {
        let path = self.prefix.join(path);
        if self.index.get(bytes(&path)).is_some() || (is_folder && self.index.tracks(bytes(&path))) {
            return Ok(false);
        }
        self.repo.is_path_ignored(&path)
    }

    /// Also one that was not fetched, whose folder is empty.
    fn is_submodule(&self, path: &str) -> bool {
        self.index.get(bytes(&self.prefix.join(path))).is_some_and(|tracked| tracked.mode == SUBMODULE)
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// The hash of a tree with these entries, in Git's order: folders sort as if their names ended with `/`.
fn tree_id(entries: &mut [Scan]) -> Result<Option<TreeId>, git2::Error> {
    let key = |(mode, name, _): &Scan| {
        let mut name = name.clone();
        if *mode == FOLDER {
            name.push(b'/');
        }
        name
    };
    entries.sort_by_cached_key(key);
    let mut bytes = Vec::new();
    for (mode, name, item) in entries.iter().filter(|(mode, ..)| *mode != 0) {
        bytes.extend_from_slice(format!("{mode:o} ").as_bytes());
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(item.id.as_bytes());
    }
    if bytes.is_empty() { Ok(None) } else { hash(ObjectType::Tree, &bytes).map(Some) }
}

fn hash(kind: ObjectType, bytes: &[u8]) -> Result<TreeId, git2::Error> {
    Oid::hash_object(kind, bytes).map(|oid| TreeId::from_bytes(bytes_of(oid)))
}

fn hash_file(path: &Path) -> Result<TreeId, git2::Error> {
    Oid::hash_file(ObjectType::Blob, path).map(|oid| TreeId::from_bytes(bytes_of(oid)))
}

/// The commit that a nested repository is at; zeros when it has none.
fn submodule_head(path: &Path) -> TreeId {
    let head = Repository::open(path).ok().and_then(|repo| repo.head().ok()?.target());
    TreeId::from_bytes(head.map(bytes_of).unwrap_or_default())
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn unreadable(path: &str, reason: &impl ToString) -> TreeError {
    let path = if path.is_empty() { "." } else { path };
    TreeError::Unreadable { path: path.to_owned(), reason: super::error::clean(&reason.to_string()) }
}

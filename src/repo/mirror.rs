//! The bare mirror of a source repository.

mod pull;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{Oid, Repository, RepositoryInitOptions};

use fairlead_core::model::digest::CommitId;

use super::copy::{self, Copy};
use super::error::RepoError;
use super::history::History;
use super::maintain;
use super::refs::{self, KEEP, RefChange, Refs, branch_ref};
use super::remote;
use super::settings::{Access, MirrorSettings};
use super::source;
use super::store::{Store, commit_of, prepare};
use super::verify::{Depth, Verified, packs_are_whole};

/// What a fetch found. The mirror's refs name it now; all of it was checked to be there in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Head of the watched branch.
    pub head: CommitId,
    /// Branches and tags that changed, sorted by kind and name; the watched branch among them.
    pub changed: Vec<RefChange>,
    /// The mirror was damaged in this way, and was built anew.
    pub rebuilt: Option<String>,
}

/// The bare mirror of a source repository, in a folder that this process alone writes to.
///
/// Its refs name only what was fetched and checked in full, so that they are the last good state whenever the
/// process ends. Commits that a branch or tag left behind are kept.
pub struct Mirror {
    settings: MirrorSettings,
    dir: PathBuf,
    bare: Bare,
    store: Arc<Store>,
    /// Held for as long as the mirror lives; the system lets go of it when the process dies.
    _lock: File,
    checked: bool,
}

/// A bare repository under construction or in use.
struct Bare {
    repo: Repository,
    refs: Refs,
    verified: Verified,
}

impl Mirror {
    /// Opens the mirror in `dir`, or makes an empty one; nothing is fetched. `<dir>.lock` beside it keeps
    /// other processes away.
    ///
    /// # Errors
    /// `Busy` when another process has it; `CredentialsMissing`, `InvalidBranch` when the settings can't work.
    pub fn open(settings: &MirrorSettings, dir: &Path) -> Result<Self, RepoError> {
        prepare()?;
        settings.access.check()?;
        branch_ref(&settings.branch)?;
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent)
                .map_err(|error| RepoError::io(format!("make {}", parent.display()), &error))?;
        }
        let lock = lock_file(dir)?;
        finish_swap(dir)?;
        let bare = match Bare::open_or_init(dir) {
            // What can't even be opened holds nothing to rescue. Only ever a folder that we made.
            Err(RepoError::Failed { .. } | RepoError::Corrupt { .. }) if dir.join(MARKER).exists() => {
                remove_folder(dir)?;
                Bare::open_or_init(dir)?
            }
            opened => opened?,
        };
        let store = Store::open(dir)?;
        Ok(Self { settings: settings.clone(), dir: dir.to_owned(), bare, store, _lock: lock, checked: false })
    }

    /// Questions to the mirror, also while it fetches. Stays valid when the mirror is rebuilt.
    pub fn history(&self) -> History {
        History { store: Arc::clone(&self.store) }
    }

    /// Head of the watched branch as last fetched; `None` before the first fetch.
    pub fn head(&self) -> Option<CommitId> {
        let name = branch_ref(&self.settings.branch).ok()?;
        self.bare.refs.get(&name).copied().map(commit_of)
    }

    /// Fetches the watched branch, the branches in `also` that exist, and all tags.
    ///
    /// Heals the locks of a process that was killed; rebuilds the mirror when it is damaged, beside the old
    /// one, which stays until the new one is complete. After an error the mirror is as it was.
    ///
    /// # Errors
    /// All but `Corrupt` are about this attempt; `Corrupt` says that the mirror is damaged and could not be
    /// rebuilt, and what can't be read from it is unknown.
    pub fn fetch(&mut self, also: &[String]) -> Result<Fetched, RepoError> {
        remove_locks(&self.dir)?;
        let before = self.bare.refs.clone();
        let damage = match self.find_damage() {
            Ok(()) => match self.bare.fetch(&self.settings, also) {
                Ok(()) => None,
                Err(RepoError::Corrupt { what }) => Some(what),
                Err(error) => return Err(error),
            },
            Err(RepoError::Corrupt { what }) => Some(what),
            Err(error) => return Err(error),
        };
        if let Some(what) = &damage {
            self.rebuild(what, also)?;
        }
        let head =
            self.head().ok_or_else(|| RepoError::NoSuchBranch { branch: self.settings.branch.clone() })?;
        let changed = refs::changes(&self.bare.repo, &before, &self.bare.refs);
        if maintain::when_due(&self.bare.repo, &self.store, changed.is_empty())? {
            self.bare.repo = open_bare(&self.dir)?;
        }
        Ok(Fetched { head, changed, rebuilt: damage })
    }

    /// Once after opening, and whenever a reader met damage: is everything there?
    fn find_damage(&mut self) -> Result<(), RepoError> {
        let depth = match (self.store.is_suspect(), self.checked) {
            (true, _) => Depth::Read,
            (false, false) => Depth::Present,
            (false, true) => return Ok(()),
        };
        packs_are_whole(self.bare.repo.path())?;
        self.bare.check(depth)?;
        self.store.clear_suspicion();
        self.checked = true;
        Ok(())
    }

    /// Clones beside the damaged mirror and puts the clone in its place.
    fn rebuild(&mut self, what: &str, also: &[String]) -> Result<(), RepoError> {
        let fresh = beside(&self.dir, "new");
        remove_folder(&fresh)?;
        let mut bare = Bare::open_or_init(&fresh)?;
        let source = |error: RepoError| match error {
            // Damage in what was just fetched is the source's.
            RepoError::Corrupt { what } => {
                RepoError::SourceCorrupt { url: self.settings.access.url.clone(), what }
            }
            error => error,
        };
        let fetched = bare.fetch(&self.settings, also).and_then(|()| bare.check(Depth::Read));
        if let Err(error) = fetched.map_err(source) {
            // The damage is what readers must know of; the next fetch tries again.
            return Err(RepoError::Corrupt { what: format!("{what}; it could not be rebuilt: {error}") });
        }
        self.rescue(&bare)?;
        drop(bare);
        self.store.replace(|| swap(&self.dir, &fresh))?;
        self.store.clear_suspicion();
        self.bare = Bare::open_or_init(&self.dir)?;
        self.checked = true;
        Ok(())
    }

    /// Brings commits that the source may have no more over from the damaged mirror, as far as they can be
    /// read: a cluster's base may be among them.
    fn rescue(&self, fresh: &Bare) -> Result<(), RepoError> {
        let (old, new) = (&self.bare.repo, &fresh.repo);
        let kept = old.references_glob(&format!("{KEEP}*"));
        let kept = kept.into_iter().flatten().flatten().filter_map(|reference| reference.target());
        let copy =
            Copy { source: old, mirror: new, url: &self.settings.access.url, limits: self.settings.limits };
        let heads = self.bare.refs.iter().filter(|(name, target)| fresh.refs.get(*name) != Some(*target));
        for commit in kept.chain(heads.map(|(_, target)| *target)).collect::<Vec<_>>() {
            if copy.bring([commit]).is_ok() {
                refs::keep(new, commit, None)?;
            }
        }
        Ok(())
    }
}

impl Bare {
    fn open_or_init(dir: &Path) -> Result<Self, RepoError> {
        if dir.exists() {
            remove_locks(dir)?;
        }
        let repo = if dir.exists() { open_bare(dir)? } else { init_bare(dir)? };
        let refs = refs::read(&repo)?;
        Ok(Self { repo, refs, verified: Verified::default() })
    }

    /// Fetches, checks, then sets the refs.
    fn fetch(&mut self, settings: &MirrorSettings, also: &[String]) -> Result<(), RepoError> {
        let branch = branch_ref(&settings.branch)?;
        let mut branches = vec![branch.clone()];
        for name in also {
            branches.push(branch_ref(name)?);
        }
        let theirs = self.transfer(settings, &branches)?;
        if theirs.is_empty() {
            return Err(RepoError::EmptyRepository { url: settings.access.url.clone() });
        }
        if !theirs.contains_key(&branch) {
            return Err(RepoError::NoSuchBranch { branch: settings.branch.clone() });
        }
        let refs = self.wanted(&theirs, &branches);
        let tips: Vec<Oid> =
            refs.iter().filter(|(name, id)| self.refs.get(*name) != Some(*id)).map(|(_, id)| *id).collect();
        let known = self.refs.values().filter_map(|id| refs::peel(&self.repo, *id)).collect();
        self.check_tips(&tips, known, Depth::Present).map_err(|error| match error {
            RepoError::Refused { path, reason } => RepoError::SourceCorrupt {
                url: settings.access.url.clone(),
                what: format!("{path} {reason}"),
            },
            error => error,
        })?;
        refs::promote(&self.repo, &self.refs, &refs)?;
        self.refs = refs;
        Ok(())
    }

    /// Brings the objects; returns all branches and tags of the source.
    fn transfer(&self, settings: &MirrorSettings, branches: &[String]) -> Result<Refs, RepoError> {
        let access = &settings.access;
        let Some(path) = access.url.local() else {
            return remote::download(&self.repo, access, settings.limits, branches);
        };
        let source = open_source(path, access)?;
        let theirs = copy::list(&source, &access.url)?;
        let tips = self.wanted(&theirs, branches).into_iter();
        let tips = tips.filter(|(name, id)| self.refs.get(name) != Some(id)).map(|(_, id)| id);
        let copy = Copy { source: &source, mirror: &self.repo, url: &access.url, limits: settings.limits };
        copy.bring(tips)?;
        Ok(theirs)
    }

    /// What the mirror's refs shall be: the branches asked for, those asked for earlier that still exist (as
    /// they were), and all tags.
    fn wanted(&self, theirs: &Refs, branches: &[String]) -> Refs {
        let wanted = |(name, id): (&String, &Oid)| {
            if name.starts_with(refs::TAGS) || branches.contains(name) {
                return Some((name.clone(), *id));
            }
            self.refs.get(name).map(|id| (name.clone(), *id))
        };
        theirs.iter().filter_map(wanted).collect()
    }

    /// All refs.
    fn check(&mut self, depth: Depth) -> Result<(), RepoError> {
        let tips: Vec<Oid> = self.refs.values().copied().collect();
        self.check_tips(&tips, Vec::new(), depth)
    }

    /// That the commits of these refs are there in full, back to those that are known to be.
    fn check_tips(&mut self, tips: &[Oid], known: Vec<Oid>, depth: Depth) -> Result<(), RepoError> {
        let mut known = known;
        for tip in tips {
            // A tag may name a file or a folder; nothing reads those.
            let Some(commit) = refs::commit_at(&self.repo, *tip)? else { continue };
            self.verified.check(&self.repo, commit, known.iter().copied(), depth)?;
            known.push(commit);
        }
        Ok(())
    }
}

/// Says that the folder was made by Fairlead, and may be removed when it is beyond repair.
const MARKER: &str = "fairlead-mirror";

fn open_source(path: &Path, access: &Access) -> Result<Repository, RepoError> {
    source::open(path, access.url.as_str()).map_err(|error| match error {
        RepoError::NoRepository { .. } => {
            let reason = "it is no folder of a repository".to_owned();
            RepoError::RepositoryNotFound { url: access.url.clone(), reason }
        }
        error => error,
    })
}

fn open_bare(dir: &Path) -> Result<Repository, RepoError> {
    let doing = || format!("open the mirror {}", dir.display());
    Repository::open_bare(dir).map_err(|error| RepoError::disk(doing(), &error))
}

/// Makes a mirror that is either whole or not there.
fn init_bare(dir: &Path) -> Result<Repository, RepoError> {
    let unfinished = beside(dir, "init");
    remove_folder(&unfinished)?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false);
    let doing = || format!("make the mirror {}", dir.display());
    Repository::init_opts(&unfinished, &options).map_err(|error| RepoError::disk(doing(), &error))?;
    let failed = |error: std::io::Error| RepoError::io(doing(), &error);
    fs::write(unfinished.join(MARKER), b"Made by Fairlead, which may remove it.\n").map_err(failed)?;
    fs::rename(&unfinished, dir).map_err(failed)?;
    open_bare(dir)
}

fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn lock_file(dir: &Path) -> Result<File, RepoError> {
    let path = beside(dir, "lock");
    let doing = || format!("lock {}", path.display());
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| RepoError::io(doing(), &error))?;
    match crate::lock::try_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RepoError::Busy { path: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(RepoError::io(doing(), &error)),
    }
}

/// Puts `fresh` in the place of `dir`. Killed between the two renames, `finish_swap` does the second.
fn swap(dir: &Path, fresh: &Path) -> Result<(), RepoError> {
    let old = beside(dir, "old");
    remove_folder(&old)?;
    let failed = |error: std::io::Error| RepoError::io(format!("replace {}", dir.display()), &error);
    fs::rename(dir, &old).map_err(failed)?;
    fs::rename(fresh, dir).map_err(failed)?;
    remove_folder(&old)
}

/// A fresh clone beside a mirror that is there is not complete; beside none, it is.
fn finish_swap(dir: &Path) -> Result<(), RepoError> {
    let (fresh, old) = (beside(dir, "new"), beside(dir, "old"));
    if !dir.exists() && old.exists() && fresh.exists() {
        fs::rename(&fresh, dir)
            .map_err(|error| RepoError::io(format!("replace {}", dir.display()), &error))?;
    }
    remove_folder(&fresh)?;
    remove_folder(&old)
}

fn remove_folder(path: &Path) -> Result<(), RepoError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(RepoError::io(format!("remove {}", path.display()), &error))
        }
        _ => Ok(()),
    }
}

/// Removes what a process that was killed left behind. Our own lock says that nobody else writes here.
fn remove_locks(dir: &Path) -> Result<(), RepoError> {
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error: std::io::Error| RepoError::io(format!("list {}", folder.display()), &error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().map_err(failed)?.is_dir() {
                // Objects are written to temporary files; a loose object's folder needs no look.
                if name != "objects" || folder != dir {
                    folders.push(path);
                } else {
                    folders.push(path.join("pack"));
                }
            } else if is_leftover(&name) {
                fs::remove_file(&path)
                    .map_err(|error| RepoError::io(format!("remove {}", path.display()), &error))?;
            }
        }
    }
    Ok(())
}

/// Locks of refs and configuration, and packs that were not finished (libgit2 and Git name them so).
fn is_leftover(name: &str) -> bool {
    name.ends_with(".lock") || name.starts_with("tmp_") || name.starts_with("pack_git2_")
}

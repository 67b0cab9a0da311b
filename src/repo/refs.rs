//! The mirror's refs: only what was fetched and checked in full gets one.

use std::collections::BTreeMap;

use git2::{ErrorCode, ObjectType, Oid, Repository};

use fairlead_core::model::digest::CommitId;

use super::error::{RepoError, clean};
use super::store::commit_of;
use super::{links, loose};

pub(super) const HEADS: &str = "refs/heads/";
pub(super) const TAGS: &str = "refs/tags/";
/// Commits that a branch or tag named and names no more: a cluster's base may be among them.
pub(super) const KEEP: &str = "refs/keep/";

/// Full ref names with what they name (a tag's own object, if it has one).
pub(super) type Refs = BTreeMap<String, Oid>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefKind {
    Branch,
    Tag,
}

/// A branch or tag that a fetch changed. `None`: it was not there, or is there no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefChange {
    pub kind: RefKind,
    /// Without `refs/heads/` or `refs/tags/`.
    pub name: String,
    pub old: Option<CommitId>,
    pub new: Option<CommitId>,
}

/// Longest name of a ref, and of a part between slashes: what libgit2 reads, and a file system takes with `.lock` after
/// it.
const MAX_NAME: usize = 1_000;
const MAX_PART: usize = 240;

/// Whether a ref of this name can be kept here. All others are passed over: whoever may push chooses their names.
pub(super) fn can_be_kept(name: &str) -> bool {
    name.len() <= MAX_NAME
        && !name.contains('\0')
        && name.split('/').all(|part| part.len() <= MAX_PART)
        && git2::Reference::is_valid_name(name)
}

/// Leaves out what can't be kept beside something else: Git keeps no ref `a/b` beside a ref `a`, but not every server
/// is Git.
pub(super) fn without_conflicts(refs: Refs) -> Refs {
    let conflicts = |name: &str| name.match_indices('/').any(|(at, _)| refs.contains_key(&name[..at]));
    let names: Vec<String> = refs.keys().filter(|name| conflicts(name)).cloned().collect();
    refs.into_iter().filter(|(name, _)| !names.contains(name)).collect()
}

pub(super) fn branch_ref(branch: &str) -> Result<String, RepoError> {
    let name = format!("{HEADS}{branch}");
    if branch.starts_with('-') || !can_be_kept(&name) {
        return Err(RepoError::InvalidBranch { name: clean(branch) });
    }
    Ok(name)
}

/// All branches and tags of a repository.
pub(super) fn read(repo: &Repository) -> Result<Refs, RepoError> {
    let mut refs = Refs::new();
    for glob in [format!("{HEADS}*"), format!("{TAGS}*")] {
        let failed = |error: git2::Error| RepoError::disk("list the refs", &error);
        for reference in repo.references_glob(&glob).map_err(failed)? {
            let reference = reference.map_err(failed)?;
            // A symbolic ref that points nowhere names nothing.
            let Ok(resolved) = reference.resolve() else { continue };
            if let (Ok(name), Some(target)) = (reference.name(), resolved.target())
                && can_be_kept(name)
            {
                refs.insert(name.to_owned(), target);
            }
        }
    }
    Ok(refs)
}

/// Sets the mirror's refs: what is gone first, so that `a` makes room for `a/b`. Commits that would drop out
/// of every history are kept by a ref of their own.
pub(super) fn promote(repo: &Repository, old: &Refs, new: &Refs) -> Result<(), RepoError> {
    for (name, target) in old {
        if new.get(name) != Some(target) {
            keep(repo, *target, new.get(name).copied())?;
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        let removed = repo.find_reference(name).and_then(|mut reference| reference.delete());
        match removed {
            Err(error) if error.code() != ErrorCode::NotFound => {
                return Err(RepoError::disk(format!("delete {}", clean(name)), &error));
            }
            _ => {}
        }
    }
    for (name, target) in new.iter().filter(|(name, target)| old.get(*name) != Some(*target)) {
        repo.reference(name, *target, true, "fetch")
            .map_err(|error| RepoError::disk(format!("set {}", clean(name)), &error))?;
    }
    Ok(())
}

pub(super) fn keep(repo: &Repository, old: Oid, new: Option<Oid>) -> Result<(), RepoError> {
    let Some(old) = peel(repo, old) else { return Ok(()) };
    let new = new.and_then(|new| peel(repo, new));
    if new.is_some_and(|new| new == old || repo.graph_descendant_of(new, old).unwrap_or(false)) {
        return Ok(());
    }
    repo.reference(&format!("{KEEP}{old}"), old, true, "keep")
        .map_err(|error| RepoError::disk("keep a commit", &error))?;
    Ok(())
}

/// The commit that a ref's target is or names; `None` for a tag of a file or folder.
pub(super) fn peel(repo: &Repository, target: Oid) -> Option<Oid> {
    commit_at(repo, target).ok()?
}

/// The same, where what can't be read is an error.
pub(super) fn commit_at(repo: &Repository, target: Oid) -> Result<Option<Oid>, RepoError> {
    let odb = repo.odb().map_err(|error| RepoError::disk("open the objects", &error))?;
    let mut at = target;
    loop {
        let damaged = |error: git2::Error| RepoError::damaged(&format!("object {at}"), &error);
        loose::is_whole(repo, at)?;
        let (_, kind) = loose::header(&odb, at).map_err(damaged)?;
        match kind {
            ObjectType::Commit => return Ok(Some(at)),
            // No chain of tags is a circle: each holds the hash of the next.
            ObjectType::Tag => match links::of_tag(odb.read(at).map_err(damaged)?.data()) {
                Some(next) => at = next,
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
}

/// What changed, as commits.
pub(super) fn changes(repo: &Repository, old: &Refs, new: &Refs) -> Vec<RefChange> {
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let commit =
        |refs: &Refs, name: &str| refs.get(name).and_then(|target| peel(repo, *target)).map(commit_of);
    let change = |name: &String| {
        let (kind, short) = match (name.strip_prefix(HEADS), name.strip_prefix(TAGS)) {
            (Some(short), _) => (RefKind::Branch, short),
            (_, Some(short)) => (RefKind::Tag, short),
            _ => return None,
        };
        if old.get(name) == new.get(name) {
            return None;
        }
        let (old, new) = (commit(old, name), commit(new, name));
        (old != new).then(|| RefChange { kind, name: short.to_owned(), old, new })
    };
    names.into_iter().filter_map(change).collect()
}

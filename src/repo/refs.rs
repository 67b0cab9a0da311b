//! The mirror's refs: only what was fetched and checked in full gets one.

use std::collections::BTreeMap;

use git2::{ErrorCode, Oid, Repository};

use crate::model::digest::CommitId;

use super::error::{RepoError, clean};
use super::loose;
use super::store::commit_of;

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

pub(super) fn branch_ref(branch: &str) -> Result<String, RepoError> {
    let name = format!("{HEADS}{branch}");
    if branch.starts_with('-') || !git2::Reference::is_valid_name(&name) {
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
            if let (Ok(name), Some(target)) = (reference.name(), resolved.target()) {
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
    loose::is_whole(repo, target).ok()?;
    let object = repo.find_object(target, None).ok()?;
    object.peel_to_commit().ok().map(|commit| commit.id())
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

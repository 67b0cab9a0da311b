//! New commits for going back by command: tree surgery in the object database, no work tree.

use std::collections::BTreeMap;
use std::path::Path;

use git2::{ErrorCode, Oid, PushOptions, Repository, Signature, Tree};
use jiff::Timestamp;

use fairlead_core::model::digest::CommitId;

use super::error::{RepoError, clean, guarded};
use super::git_tree::steps;
use super::history::History;
use super::refs::branch_ref;
use super::settings::{Access, FetchLimits};
use super::store::{commit_of, oid_of, prepare};

/// Who a commit is by, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub name: String,
    pub email: String,
    pub time: Timestamp,
}

/// One change that a commit makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// What is at `path` becomes what it was at commit `at`; nothing, if it was not there.
    Restore { path: String, at: CommitId },
    /// A file's bytes; `None` removes it.
    Write { path: String, content: Option<Vec<u8>> },
}

/// Commits on top of a branch's head, without moving the branch, what `folders` held at `to`.
///
/// # Errors
/// `NothingToChange` when they hold that already; `Refused` for a path that leaves the repository.
pub fn commit_restoring(
    repo: &Path,
    branch: &str,
    to: CommitId,
    folders: &[String],
    message: &str,
    author: &Author,
) -> Result<CommitId, RepoError> {
    let parent = History::discover(repo)?.resolve_branch(branch)?;
    let changes: Vec<_> = folders.iter().map(|path| Change::Restore { path: path.clone(), at: to }).collect();
    commit_changes(repo, parent, &changes, message, author)
}

/// Commits these files' bytes on top of `parent`; `None` removes a file.
pub fn commit_files(
    repo: &Path,
    parent: CommitId,
    files: &BTreeMap<String, Option<Vec<u8>>>,
    message: &str,
    author: &Author,
) -> Result<CommitId, RepoError> {
    let change = |(path, content): (&String, &Option<Vec<u8>>)| Change::Write {
        path: path.clone(),
        content: content.clone(),
    };
    commit_changes(repo, parent, &files.iter().map(change).collect::<Vec<_>>(), message, author)
}

/// Writes a commit with these changes on top of `parent`. No branch moves; modes of files are kept.
pub fn commit_changes(
    repo: &Path,
    parent: CommitId,
    changes: &[Change],
    message: &str,
    author: &Author,
) -> Result<CommitId, RepoError> {
    let repo = open(repo)?;
    let failed = |error: git2::Error| RepoError::disk("write a commit", &error);
    let parent = find_commit(&repo, parent)?;
    let before = parent.tree().map_err(|error| RepoError::damaged("the head's tree", &error))?;
    let mut tree = before.clone();
    for change in changes {
        let (path, value) = match change {
            Change::Restore { path, at } => (path, entry_at(&repo, *at, path)?),
            Change::Write { path, content } => (path, written(&repo, &tree, path, content.as_deref())?),
        };
        let names = names(path)?;
        let root = set(&repo, Some(&tree), &names, value)?;
        let root = match root {
            Some(root) => root,
            None => repo.treebuilder(None).and_then(|empty| empty.write()).map_err(failed)?,
        };
        tree = repo.find_tree(root).map_err(failed)?;
    }
    if tree.id() == before.id() {
        return Err(RepoError::NothingToChange);
    }
    let time = git2::Time::new(author.time.as_second(), 0);
    let signature = Signature::new(&author.name, &author.email, &time).map_err(failed)?;
    repo.commit(None, &signature, &signature, message, &tree, &[&parent]).map(commit_of).map_err(failed)
}

/// Makes a new branch at a commit.
///
/// # Errors
/// `BranchExists`; an existing branch is never moved.
pub fn create_branch(repo: &Path, name: &str, commit: CommitId) -> Result<(), RepoError> {
    let full = branch_ref(name)?;
    let repo = open(repo)?;
    let commit = find_commit(&repo, commit)?;
    let made = repo.reference(&full, commit.id(), false, "fairlead");
    made.map(|_| ()).map_err(|error| match error.code() {
        ErrorCode::Exists => RepoError::BranchExists { branch: clean(name) },
        _ => RepoError::disk(format!("make branch '{}'", clean(name)), &error),
    })
}

/// Pushes a local branch to a branch of a remote repository; never by force.
///
/// # Errors
/// `PushRejected` when the server refuses it, e.g. because the branch moved on or is protected.
pub fn push(repo: &Path, access: &Access, branch: &str, to: &str) -> Result<(), RepoError> {
    access.check()?;
    let (from, to_ref) = (branch_ref(branch)?, branch_ref(to)?);
    let repo = open(repo)?;
    let session = access.prepare()?;
    let limits = FetchLimits::default();
    let _way = session.go(limits, None);
    let rejected = std::cell::RefCell::new(None);
    let result = {
        let mut callbacks = session.callbacks(limits);
        callbacks.push_update_reference(|_, status| {
            *rejected.borrow_mut() = status.map(clean);
            Ok(())
        });
        let mut options = PushOptions::new();
        options.remote_callbacks(callbacks);
        let remote = repo.remote_anonymous(access.url.as_str());
        guarded("push", || {
            Ok(remote.and_then(|mut remote| remote.push(&[format!("{from}:{to_ref}")], Some(&mut options))))
        })?
    };
    let refused = |reason| RepoError::PushRejected { url: access.url.clone(), branch: clean(to), reason };
    match (result, rejected.into_inner()) {
        (_, Some(reason)) => Err(refused(reason)),
        (Err(error), None) if error.code() == ErrorCode::NotFastForward => {
            Err(refused(clean(error.message())))
        }
        (Err(error), None) => Err(session.error(&error)),
        (Ok(()), None) => Ok(()),
    }
}

fn open(path: &Path) -> Result<Repository, RepoError> {
    prepare()?;
    super::source::discover(path)
}

fn find_commit(repo: &Repository, commit: CommitId) -> Result<git2::Commit<'_>, RepoError> {
    repo.find_commit(oid_of(commit.as_bytes())?).map_err(|error| match error.code() {
        ErrorCode::NotFound => RepoError::UnknownCommit { commit },
        _ => RepoError::damaged(&format!("commit {commit}"), &error),
    })
}

fn names(path: &str) -> Result<Vec<&str>, RepoError> {
    let refused = |reason: &str| RepoError::Refused { path: clean(path), reason: reason.to_owned() };
    let steps = steps(path).map_err(|error| refused(&error.to_string()))?;
    if steps.is_empty() {
        return Err(refused("names the whole repository; name folders of it"));
    }
    Ok(steps.into_iter().map(|(_, name, _)| name).collect())
}

/// An object and its mode in a tree.
type Value = (Oid, i32);

fn entry_at(repo: &Repository, commit: CommitId, path: &str) -> Result<Option<Value>, RepoError> {
    let damaged = |error: git2::Error| RepoError::damaged(&format!("the tree of {commit}"), &error);
    let tree = find_commit(repo, commit)?.tree().map_err(damaged)?;
    find(repo, tree, &names(path)?)
}

/// Each folder on the way is read by itself, so that "not found" is never said of one that can't be read.
fn find(repo: &Repository, tree: Tree<'_>, names: &[&str]) -> Result<Option<Value>, RepoError> {
    let mut tree = tree;
    for (at, name) in names.iter().enumerate() {
        let Some((id, mode)) = tree.get_name(name).map(|entry| (entry.id(), entry.filemode())) else {
            return Ok(None);
        };
        if at + 1 == names.len() {
            return Ok(Some((id, mode)));
        }
        if mode != i32::from(git2::FileMode::Tree) {
            return Ok(None);
        }
        tree = repo.find_tree(id).map_err(|error| RepoError::damaged(&format!("folder {id}"), &error))?;
    }
    Ok(None)
}

fn written(
    repo: &Repository,
    tree: &Tree<'_>,
    path: &str,
    content: Option<&[u8]>,
) -> Result<Option<Value>, RepoError> {
    let Some(content) = content else { return Ok(None) };
    let executable = i32::from(git2::FileMode::BlobExecutable);
    let mode = match find(repo, tree.clone(), &names(path)?)? {
        Some((_, mode)) if mode == executable => executable,
        _ => i32::from(git2::FileMode::Blob),
    };
    let id = repo.blob(content).map_err(|error| RepoError::disk("write a file", &error))?;
    Ok(Some((id, mode)))
}

/// A tree with one entry set or removed; `None` when nothing is left in it.
fn set(
    repo: &Repository,
    tree: Option<&Tree<'_>>,
    names: &[&str],
    value: Option<Value>,
) -> Result<Option<Oid>, RepoError> {
    let failed = |error: git2::Error| RepoError::disk("write a folder", &error);
    let Some((name, below)) = names.split_first() else { return Ok(tree.map(Tree::id)) };
    let present = tree.and_then(|tree| tree.get_name(name).map(|entry| (entry.id(), entry.filemode())));
    let value = if below.is_empty() {
        value
    } else {
        let folder = match present {
            Some((id, mode)) if mode == i32::from(git2::FileMode::Tree) => Some(
                repo.find_tree(id).map_err(|error| RepoError::damaged(&format!("folder {id}"), &error))?,
            ),
            // A file in the way of what is to be removed below it: nothing is there to remove.
            Some(_) if value.is_none() => return Ok(tree.map(Tree::id)),
            _ => None,
        };
        set(repo, folder.as_ref(), below, value)?.map(|id| (id, i32::from(git2::FileMode::Tree)))
    };
    let mut builder = repo.treebuilder(tree).map_err(failed)?;
    match value {
        Some((id, mode)) => drop(builder.insert(name, id, mode).map_err(failed)?),
        None if present.is_some() => builder.remove(name).map_err(failed)?,
        None => {}
    }
    if builder.is_empty() { Ok(None) } else { builder.write().map(Some).map_err(failed) }
}

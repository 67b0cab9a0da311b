//! Questions to a repository: commits, branches, tags, ancestry.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use git2::{ErrorCode, Oid, Repository};
use jiff::Timestamp;

use fairlead_core::model::digest::{CommitId, TreeId};

use super::error::{RepoError, clean, clean_to};
use super::git_tree::GitTree;
use super::store::{Store, bytes_of, commit_of, oid_of, prepare};
use super::tags::Tag;
use super::{links, loose, refs, source};

/// Longest summary line that is shown, in characters; Git's own advice is 50.
const MAX_SUMMARY: usize = 200;

/// A commit as people see it. Texts are cleaned of control characters and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    pub commit: CommitId,
    pub author: String,
    pub time: Timestamp,
    pub summary: String,
    pub parents: Vec<CommitId>,
}

/// Answers questions about one repository, from any thread. Cheap to clone.
#[derive(Clone)]
pub struct History {
    pub(super) store: Arc<Store>,
}

impl History {
    /// The repository that `path` is in, for commands that read a person's clone.
    ///
    /// # Errors
    /// `RepositoryNotFound`-like as `Failed`, `NotOwned`.
    pub fn discover(path: &Path) -> Result<Self, RepoError> {
        prepare()?;
        let repo = source::discover(path)?;
        Ok(Self { store: Store::open(repo.path())? })
    }

    /// The tree of a commit.
    pub fn tree(&self, commit: CommitId) -> Result<GitTree, RepoError> {
        let root = self.tree_id(commit)?;
        let root = TreeId::from_bytes(bytes_of(root));
        Ok(GitTree::new(Arc::clone(&self.store), commit, root))
    }

    /// Author, time, summary and parents of a commit.
    pub fn commit_info(&self, commit: CommitId) -> Result<CommitInfo, RepoError> {
        self.with_commit(commit, |bytes| {
            let head = links::of_commit(bytes).map(|links| links.parents).unwrap_or_default();
            let text = String::from_utf8_lossy(bytes);
            let (head_lines, message) = text.split_once("\n\n").unwrap_or((&text, ""));
            let line = |word: &str| head_lines.lines().find_map(|line| line.strip_prefix(word)).unwrap_or("");
            let author = line("author ");
            let name = author.rsplit_once('<').map_or(author, |(name, _)| name);
            // Seconds, then the time zone.
            let seconds = line("committer ").rsplit(' ').nth(1).and_then(|word| word.parse().ok());
            let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_default();
            // As Git has it: the first paragraph, on one line.
            let summary = message.trim_start().split("\n\n").next().unwrap_or_default();
            Ok(CommitInfo {
                commit,
                author: clean_to(name, MAX_SUMMARY),
                time,
                summary: clean_to(summary, MAX_SUMMARY),
                parents: head.into_iter().map(commit_of).collect(),
            })
        })
    }

    /// Whether `old` is `new` or in its history. A commit that the repository does not have (any more) is in
    /// no history of it, because what is fetched is fetched with its whole history.
    pub fn is_ancestor(&self, old: CommitId, new: CommitId) -> Result<bool, RepoError> {
        self.tree_id(new)?;
        match self.reachable(old, &[new]) {
            Err(RepoError::UnknownCommit { commit }) if commit == old => Ok(false),
            answer => answer,
        }
    }

    /// Whether a commit is one of `tips` or in the history of one: the control branch's head, allowed tags.
    pub fn reachable(&self, commit: CommitId, tips: &[CommitId]) -> Result<bool, RepoError> {
        self.tree_id(commit)?;
        let wanted = oid_of(commit.as_bytes())?;
        self.store.with(|repo| {
            for tip in tips {
                if *tip == commit || descends(repo, oid_of(tip.as_bytes())?, wanted)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// The newest commit that two commits have in common.
    pub fn merge_base(&self, a: CommitId, b: CommitId) -> Result<Option<CommitId>, RepoError> {
        for commit in [a, b] {
            self.tree_id(commit)?;
        }
        let (a, b) = (oid_of(a.as_bytes())?, oid_of(b.as_bytes())?);
        self.store.with(|repo| match repo.merge_base(a, b) {
            Ok(base) => Ok(Some(commit_of(base))),
            Err(error) if error.code() == ErrorCode::NotFound && error.class() == git2::ErrorClass::Merge => {
                Ok(None)
            }
            Err(error) => Err(RepoError::damaged("the history", &error)),
        })
    }

    /// The head of a branch.
    pub fn resolve_branch(&self, branch: &str) -> Result<CommitId, RepoError> {
        let name = format!("refs/heads/{branch}");
        self.store.with(|repo| match repo.find_reference(&name) {
            Ok(reference) => {
                let target = reference.resolve().ok().and_then(|found| found.target());
                let commit = target.map(|target| refs::commit_at(repo, target)).transpose()?.flatten();
                commit.map(commit_of).ok_or_else(|| RepoError::NoSuchBranch { branch: clean(branch) })
            }
            Err(error) if error.code() == ErrorCode::NotFound => {
                Err(RepoError::NoSuchBranch { branch: clean(branch) })
            }
            Err(error) => Err(RepoError::disk(format!("read branch '{}'", clean(branch)), &error)),
        })
    }

    /// A commit as people name it: `HEAD~1`, a branch, a tag, a short hash.
    pub fn resolve(&self, spec: &str) -> Result<CommitId, RepoError> {
        self.store.with(|repo| {
            let object = repo.revparse_single(spec).and_then(|object| object.peel_to_commit());
            object.map(|commit| commit_of(commit.id())).map_err(|error| {
                let reason = match source::completes(repo) {
                    Some(completes) => format!("{}; {completes}", error.message()),
                    None => error.message().to_owned(),
                };
                RepoError::UnknownRevision { spec: clean(spec), reason: clean(&reason) }
            })
        })
    }

    /// All tags that name a commit, sorted by name.
    pub fn tags(&self) -> Result<Vec<Tag>, RepoError> {
        let failed = |error: git2::Error| RepoError::disk("list the tags", &error);
        self.store.with(|repo| {
            let mut tags = Vec::new();
            for reference in repo.references_glob("refs/tags/*").map_err(failed)? {
                let reference = reference.map_err(failed)?;
                let Ok(Some(name)) = reference.name().map(|name| name.strip_prefix("refs/tags/")) else {
                    continue;
                };
                // A tag may name a file or a folder; no version does.
                let target = reference.resolve().ok().and_then(|found| found.target());
                let commit = target.map(|target| refs::commit_at(repo, target)).transpose()?.flatten();
                tags.extend(commit.map(|commit| Tag { name: name.to_owned(), commit: commit_of(commit) }));
            }
            tags.sort();
            Ok(tags)
        })
    }

    /// Paths of the files that differ between two commits, sorted; a moved file is there with both names.
    pub fn changed_paths(&self, a: CommitId, b: CommitId) -> Result<Vec<String>, RepoError> {
        let (a, b) = (self.tree_id(a)?, self.tree_id(b)?);
        let damaged = |error: git2::Error| RepoError::damaged("a tree", &error);
        self.store.with(|repo| {
            loose::is_whole(repo, a).and_then(|()| loose::is_whole(repo, b))?;
            let (a, b) = (repo.find_tree(a).map_err(damaged)?, repo.find_tree(b).map_err(damaged)?);
            let mut options = git2::DiffOptions::new();
            options.skip_binary_check(true);
            let diff = repo.diff_tree_to_tree(Some(&a), Some(&b), Some(&mut options)).map_err(damaged)?;
            let paths = diff
                .deltas()
                .flat_map(|delta| [delta.old_file().path_bytes(), delta.new_file().path_bytes()]);
            let mut paths: Vec<_> =
                paths.flatten().map(|path| clean(&String::from_utf8_lossy(path))).collect();
            paths.sort();
            paths.dedup();
            Ok(paths)
        })
    }

    fn tree_id(&self, commit: CommitId) -> Result<Oid, RepoError> {
        self.with_commit(commit, |bytes| {
            links::of_commit(bytes).map(|links| links.tree).ok_or_else(|| RepoError::Refused {
                path: format!("commit {commit}"),
                reason: "is not a commit that Git can read".to_owned(),
            })
        })
    }

    /// Read by the commit's own bytes: an author that libgit2 refuses says nothing about what the commit holds.
    fn with_commit<T>(
        &self,
        commit: CommitId,
        read: impl Fn(&[u8]) -> Result<T, RepoError>,
    ) -> Result<T, RepoError> {
        let oid = oid_of(commit.as_bytes())?;
        self.store.with(|repo| {
            loose::is_whole(repo, oid)?;
            let odb = repo.odb().map_err(|error| RepoError::disk("open the objects", &error))?;
            let object = odb.read(oid).map_err(|error| missing_commit(repo, commit, &error))?;
            if object.kind() != git2::ObjectType::Commit {
                return Err(RepoError::UnknownCommit { commit });
            }
            read(object.data())
        })
    }
}

/// A commit that is not found: unknown, or lost with a pack that can't be read?
fn missing_commit(repo: &Repository, commit: CommitId, error: &git2::Error) -> RepoError {
    if error.code() == ErrorCode::NotFound
        && let Err(damage) = super::verify::packs_are_whole(repo.commondir())
    {
        return damage;
    }
    match (error.code(), source::completes(repo)) {
        (ErrorCode::NotFound, Some(completes)) => {
            RepoError::Incomplete { what: format!("commit {commit}"), completes: completes.to_owned() }
        }
        (ErrorCode::NotFound, None) => RepoError::UnknownCommit { commit },
        _ => RepoError::damaged(&format!("commit {commit}"), error),
    }
}

fn descends(repo: &Repository, tip: Oid, ancestor: Oid) -> Result<bool, RepoError> {
    match repo.graph_descendant_of(tip, ancestor) {
        Ok(answer) => Ok(answer),
        Err(error) if error.code() == ErrorCode::NotFound => {
            Err(missing_commit(repo, commit_of(tip), &error))
        }
        // A commit on the way whose author or time libgit2 can't read.
        Err(_) => walk_back(repo, tip, ancestor),
    }
}

fn walk_back(repo: &Repository, tip: Oid, ancestor: Oid) -> Result<bool, RepoError> {
    let odb = repo.odb().map_err(|error| RepoError::disk("open the objects", &error))?;
    let (mut met, mut todo) = (HashSet::new(), vec![tip]);
    while let Some(commit) = todo.pop() {
        if !met.insert(commit) {
            continue;
        }
        loose::is_whole(repo, commit)?;
        let object = odb.read(commit).map_err(|error| missing_commit(repo, commit_of(commit), &error))?;
        let parents = links::of_commit(object.data()).map(|links| links.parents).unwrap_or_default();
        if parents.contains(&ancestor) {
            return Ok(true);
        }
        todo.extend(parents);
    }
    Ok(false)
}

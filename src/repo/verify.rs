//! Whether what a ref names is there in full.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use git2::{ObjectType, Odb, Oid, Repository};

use super::error::RepoError;
use super::folder::{is_file, is_folder, raw_entries};
use super::git_tree::MAX_DEPTH;
use super::left_out::LeftOut;
use super::store::oid_of;
use super::{links, loose};

/// Trees, files, and commits, that are remembered as checked; 20 bytes each, forgotten all at once.
const REMEMBERED: usize = 200_000;

/// What was found complete, so that a commit costs only what it changed.
#[derive(Default)]
pub(super) struct Verified {
    trees: HashSet<Oid>,
    files: HashSet<Oid>,
    commits: HashSet<Oid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Every object is there, with the right type; folders and commits are read.
    Present,
    /// Every object is read, and its hash checked.
    Read,
}

impl Verified {
    /// Checks the commits between `known` and `tip`, and the tree of `tip`.
    pub(super) fn check(
        &mut self,
        repo: &Repository,
        tip: Oid,
        known: impl IntoIterator<Item = Oid>,
        depth: Depth,
    ) -> Result<(), RepoError> {
        let odb = repo.odb().map_err(|error| RepoError::disk("open the objects", &error))?;
        let known: HashSet<Oid> = known.into_iter().collect();
        let mut met = HashSet::new();
        let mut todo = vec![tip];
        while let Some(commit) = todo.pop() {
            let checked = depth == Depth::Present && self.commits.contains(&commit);
            if checked || known.contains(&commit) || !met.insert(commit) {
                continue;
            }
            todo.extend(commit_links(repo, &odb, commit)?.parents);
        }
        remember(&mut self.commits, met);
        let tree = commit_links(repo, &odb, tip)?.tree;
        self.check_tree(repo, &odb, tree, depth)
    }

    fn check_tree(
        &mut self,
        repo: &Repository,
        odb: &Odb<'_>,
        root: Oid,
        depth: Depth,
    ) -> Result<(), RepoError> {
        let (mut found, mut files, left_out) = (HashSet::new(), HashSet::new(), LeftOut::read(repo.path())?);
        let mut todo = vec![(root, 0)];
        while let Some((tree, level)) = todo.pop() {
            // Deeper folders are refused by whoever reads them.
            if level > MAX_DEPTH
                || (depth == Depth::Present && self.trees.contains(&tree))
                || !found.insert(tree)
            {
                continue;
            }
            let what = || format!("folder {tree}");
            loose::is_whole(repo, tree)?;
            let object = odb.read(tree).map_err(|error| RepoError::damaged(&what(), &error))?;
            // A tree that has its own hash and is no tree is wrong content, not damage: whoever reads it is told, and
            // nobody else is stopped. The same for what is not of the kind that its folder says.
            if object.kind() != ObjectType::Tree {
                continue;
            }
            for entry in raw_entries(object.data()).map_while(Result::ok) {
                let id = oid_of(entry.id.as_bytes())?;
                if is_folder(entry.mode) {
                    todo.push((id, level + 1));
                } else if is_file(entry.mode)
                    && !(depth == Depth::Present && self.files.contains(&id))
                    && files.insert(id)
                    && !left_out.has(id)
                {
                    check_file(repo, odb, id, depth)?;
                }
            }
        }
        remember(&mut self.trees, found);
        remember(&mut self.files, files);
        Ok(())
    }
}

fn remember(checked: &mut HashSet<Oid>, also: HashSet<Oid>) {
    if checked.len() > REMEMBERED {
        checked.clear();
    }
    checked.extend(also.into_iter().take(REMEMBERED));
}

/// What a commit names, by its bytes.
fn commit_links(repo: &Repository, odb: &Odb<'_>, commit: Oid) -> Result<links::CommitLinks, RepoError> {
    loose::is_whole(repo, commit)?;
    let object = odb.read(commit).map_err(|error| RepoError::damaged("the history", &error))?;
    links::of_commit(object.data()).ok_or_else(|| RepoError::Refused {
        path: format!("commit {commit}"),
        reason: "is not a commit that Git can read".to_owned(),
    })
}

fn check_file(repo: &Repository, odb: &Odb<'_>, id: Oid, depth: Depth) -> Result<(), RepoError> {
    loose::is_whole(repo, id)?;
    let damaged = |error: git2::Error| RepoError::damaged(&format!("file {id}"), &error);
    let (size, _) = loose::header(odb, id).map_err(damaged)?;
    // Larger ones are never read, so they need not be read here, into memory.
    if depth == Depth::Read && size <= super::git_tree::MAX_FILE {
        odb.read(id).map_err(damaged)?;
    }
    Ok(())
}

/// Whether every pack is as long as when it was written: libgit2 silently leaves out one that is not, and
/// then its objects read as missing.
pub(super) fn packs_are_whole(git_dir: &Path) -> Result<(), RepoError> {
    let folder = git_dir.join("objects/pack");
    let list = match std::fs::read_dir(&folder) {
        Ok(list) => list,
        Err(error) => return Err(RepoError::io(format!("list {}", folder.display()), &error)),
    };
    for entry in list {
        let index = entry.map_err(|error| RepoError::io("list the packs", &error))?.path();
        if index.extension().is_some_and(|extension| extension == "idx") && !is_whole(&index).unwrap_or(false)
        {
            let what = format!("pack {} is not what its index says", index.with_extension("pack").display());
            return Err(RepoError::Corrupt { what });
        }
    }
    Ok(())
}

/// A pack ends with a checksum, which stands before the last 20 bytes of its index too.
fn is_whole(index: &Path) -> std::io::Result<bool> {
    let mut expected = [0; 20];
    let mut file = File::open(index)?;
    file.seek(SeekFrom::End(-40))?;
    file.read_exact(&mut expected)?;
    let mut found = [0; 20];
    let mut file = File::open(index.with_extension("pack"))?;
    file.seek(SeekFrom::End(-20))?;
    file.read_exact(&mut found)?;
    Ok(expected == found)
}

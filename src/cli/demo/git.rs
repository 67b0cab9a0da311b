//! The demo's fleet repository on disk: what a person would do with Git, without Git being installed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::build::TreeUpdateBuilder;
use git2::{Delta, FileMode, ObjectType, Oid, Repository, RepositoryInitOptions, Signature, Tree};

const BRANCH: &str = "main";

/// Why a commit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("cannot write {}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot use the repository")]
    Git(#[from] git2::Error),
    #[error("the repository is not on its branch main: git switch main")]
    OtherBranch,
    #[error("{path} was edited and not committed: commit it, or git restore {path}")]
    Edited { path: String },
    #[error("{path} is no longer as the tour knows it: {missing}")]
    Changed { path: String, missing: &'static str },
    #[error("git revert {commit:.7}: what it would undo was changed since")]
    Conflict { commit: Oid },
    #[error("there is nothing to commit: all of it is there already")]
    Nothing,
}

/// A clone in which a person works; only files that a commit concerns are looked at and written.
pub struct WorkingCopy {
    repo: Repository,
    folder: PathBuf,
}

impl WorkingCopy {
    /// A new repository with these files in its first commit.
    pub fn create(
        folder: &Path,
        files: &BTreeMap<String, String>,
        message: &str,
    ) -> Result<(Self, Oid), GitError> {
        let mut options = RepositoryInitOptions::new();
        options.initial_head(BRANCH).mkpath(true).external_template(false);
        let repo = Repository::init_opts(folder, &options)?;
        name_the_user(&repo)?;
        let this = Self { repo, folder: folder.to_owned() };
        let mut index = this.repo.index()?;
        for (path, text) in files {
            this.write(path, Some(text.as_bytes()))?;
            index.add_path(Path::new(path))?;
        }
        index.write()?;
        let tree = this.repo.find_tree(index.write_tree()?)?;
        let first = this.commit_tree(&tree, message, &[])?;
        drop(tree);
        Ok((this, first))
    }

    /// A file's text at the head; none if it is not there.
    pub fn read(&self, path: &str) -> Result<Option<String>, GitError> {
        let tree = self.head()?.tree()?;
        let found = tree.get_path(Path::new(path));
        let Ok(entry) = found else { return Ok(None) };
        let blob = self.repo.find_blob(entry.id())?;
        Ok(String::from_utf8(blob.content().to_vec()).ok())
    }

    /// Commits these files' text on top of the head.
    pub fn commit(&self, files: &[(&str, String)], message: &str) -> Result<Oid, GitError> {
        let mut update = TreeUpdateBuilder::new();
        for (path, text) in files {
            update.upsert(*path, self.repo.blob(text.as_bytes())?, FileMode::Blob);
        }
        let tree = update.create_updated(&self.repo, &self.head()?.tree()?)?;
        self.advance(tree, message)
    }

    /// `git revert --no-edit`.
    pub fn revert(&self, commit: Oid) -> Result<Oid, GitError> {
        let bad = self.repo.find_commit(commit)?;
        let mut index = self.repo.revert_commit(&bad, &self.head()?, 0, None)?;
        if index.has_conflicts() {
            return Err(GitError::Conflict { commit });
        }
        let tree = index.write_tree_to(&self.repo)?;
        let subject = bad.summary().ok().flatten().unwrap_or_default();
        self.advance(tree, &format!("Revert \"{subject}\"\n\nThis reverts commit {commit}."))
    }

    fn head(&self) -> Result<git2::Commit<'_>, GitError> {
        let head = self.repo.head()?;
        if head.shorthand().ok() != Some(BRANCH) {
            return Err(GitError::OtherBranch);
        }
        Ok(head.peel_to_commit()?)
    }

    /// Brings files, index and branch to a tree, in this order: who watches the branch finds all of it.
    fn advance(&self, tree: Oid, message: &str) -> Result<Oid, GitError> {
        let (parent, tree) = (self.head()?, self.repo.find_tree(tree)?);
        let before = parent.tree()?;
        if before.id() == tree.id() {
            return Err(GitError::Nothing);
        }
        let diff = self.repo.diff_tree_to_tree(Some(&before), Some(&tree), None)?;
        let changed: Vec<_> = diff
            .deltas()
            .filter_map(|delta| {
                Some((delta.new_file().path()?.to_owned(), delta.status(), delta.new_file().id()))
            })
            .collect();
        for (path, ..) in &changed {
            self.unedited(path, &before)?;
        }
        let mut index = self.repo.index()?;
        for (path, status, blob) in &changed {
            let name = path.to_string_lossy();
            if *status == Delta::Deleted {
                self.write(&name, None)?;
                index.remove_path(path)?;
            } else {
                self.write(&name, Some(self.repo.find_blob(*blob)?.content()))?;
                index.add_path(path)?;
            }
        }
        index.write()?;
        self.commit_tree(&tree, message, &[&parent])
    }

    /// A person's own work in a file must not be lost.
    fn unedited(&self, path: &Path, head: &Tree<'_>) -> Result<(), GitError> {
        let committed = head.get_path(path).ok().map(|entry| entry.id());
        let here = fs::read(self.folder.join(path)).ok();
        let here = here.map(|bytes| Oid::hash_object(ObjectType::Blob, &bytes)).transpose()?;
        if committed == here {
            return Ok(());
        }
        Err(GitError::Edited { path: path.display().to_string() })
    }

    fn write(&self, path: &str, bytes: Option<&[u8]>) -> Result<(), GitError> {
        let path = self.folder.join(path);
        let done = match (bytes, path.parent()) {
            (None, _) => fs::remove_file(&path),
            (Some(bytes), Some(folder)) => fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes)),
            (Some(bytes), None) => fs::write(&path, bytes),
        };
        done.map_err(|source| GitError::Write { path, source })
    }

    fn commit_tree(
        &self,
        tree: &Tree<'_>,
        message: &str,
        parents: &[&git2::Commit<'_>],
    ) -> Result<Oid, GitError> {
        let who = Signature::now("fairlead demo", "demo@fairlead.invalid")?;
        Ok(self.repo.commit(Some("HEAD"), &who, &who, message, tree, parents)?)
    }
}

/// On a fresh machine `git commit` would refuse, because nobody told it a name.
fn name_the_user(repo: &Repository) -> Result<(), git2::Error> {
    if repo.signature().is_ok() {
        return Ok(());
    }
    let mut config = repo.config()?;
    config.set_str("user.name", "You")?;
    config.set_str("user.email", "you@fairlead.invalid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> (tempfile::TempDir, WorkingCopy, Oid) {
        let folder = tempfile::tempdir().unwrap();
        let files = [("a/web.yaml", "image: 1\n"), ("b.md", "hello\n")];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        let (clone, first) = WorkingCopy::create(&folder.path().join("fleet"), &files, "First").unwrap();
        (folder, clone, first)
    }

    fn status(clone: &WorkingCopy) -> usize {
        clone.repo.statuses(Some(git2::StatusOptions::new().include_untracked(true))).unwrap().len()
    }

    #[test]
    fn a_commit_and_its_revert_leave_files_index_and_branch_in_step() {
        let (_folder, clone, first) = fleet();
        let files = [("a/web.yaml", "image: 2\n".to_owned()), ("a/new/more.yaml", "x\n".to_owned())];
        let second = clone.commit(&files, "Second").unwrap();
        assert_eq!((clone.read("a/web.yaml").unwrap().as_deref(), status(&clone)), (Some("image: 2\n"), 0));
        assert_eq!(fs::read_to_string(clone.folder.join("a/new/more.yaml")).unwrap(), "x\n");
        clone.revert(second).unwrap();
        assert_eq!((status(&clone), clone.folder.join("a/new/more.yaml").exists()), (0, false));
        let (head, first) = (clone.head().unwrap(), clone.repo.find_commit(first).unwrap());
        assert_eq!((head.tree_id(), head.summary().unwrap()), (first.tree_id(), Some("Revert \"Second\"")));
        assert!(matches!(clone.revert(second), Err(GitError::Nothing)));
        let third = clone.commit(&[("a/web.yaml", "image: 3\n".to_owned())], "Third").unwrap();
        clone.commit(&[("a/web.yaml", "image: 4\n".to_owned())], "Fourth").unwrap();
        assert!(matches!(clone.revert(third), Err(GitError::Conflict { commit }) if commit == third));
    }

    #[test]
    fn a_persons_edits_are_kept() {
        let (_folder, clone, _) = fleet();
        fs::write(clone.folder.join("b.md"), "mine\n").unwrap();
        clone.commit(&[("a/web.yaml", "image: 2\n".to_owned())], "Elsewhere").unwrap();
        assert_eq!(fs::read_to_string(clone.folder.join("b.md")).unwrap(), "mine\n");
        let refused = clone.commit(&[("b.md", "theirs\n".to_owned())], "Here").unwrap_err();
        assert!(matches!(refused, GitError::Edited { ref path } if path == "b.md"), "{refused}");
        clone.repo.set_head("refs/heads/other").unwrap();
        assert!(clone.commit(&[("a/web.yaml", "image: 3\n".to_owned())], "Off").is_err());
    }
}

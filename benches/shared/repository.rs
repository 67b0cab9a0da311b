//! A fleet repository that is written without running `git`, so that a push has one moment: when the branch moves.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::path::PathBuf;

use git2::{Index, IndexEntry, IndexTime, Oid, Signature};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::harness::Result;

const BRANCH: &str = "refs/heads/main";
const FILE: u32 = 0o100_644;

pub struct Repository {
    folder: TempDir,
    repository: git2::Repository,
    index: Index,
    head: Option<Oid>,
}

impl Repository {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).initial_head("main").external_template(false);
        let repository = git2::Repository::init_opts(folder.path(), &options)?;
        Ok(Self { folder, repository, index: Index::new()?, head: None })
    }

    pub fn head(&self) -> Option<Oid> {
        self.head
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn write(&mut self, path: &str, content: &str) -> Result<()> {
        let entry = IndexEntry {
            ctime: IndexTime::new(0, 0),
            mtime: IndexTime::new(0, 0),
            dev: 0,
            ino: 0,
            mode: FILE,
            uid: 0,
            gid: 0,
            file_size: 0,
            id: self.repository.blob(content.as_bytes())?,
            flags: 0,
            flags_extended: 0,
            path: path.as_bytes().to_vec(),
        };
        Ok(self.index.add(&entry)?)
    }

    /// Writes the commit, as a push does before it moves the branch.
    pub fn commit(&mut self, message: &str) -> Result<Oid> {
        let tree = self.repository.find_tree(self.index.write_tree_to(&self.repository)?)?;
        let author = Signature::now("Ada", "ada@example.com")?;
        let parent = self.head.map(|head| self.repository.find_commit(head)).transpose()?;
        let parents: Vec<_> = parent.iter().collect();
        let commit = self.repository.commit(None, &author, &author, message, &tree, &parents)?;
        self.head = Some(commit);
        Ok(commit)
    }

    /// Moves the branch to a commit; when it began to.
    pub fn push(&self, commit: Oid) -> Result<Timestamp> {
        let at = Timestamp::now();
        self.repository.reference(BRANCH, commit, true, "push")?;
        Ok(at)
    }
}

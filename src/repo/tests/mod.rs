//! Tests of the room, through its public way in, on repositories made for each test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Repository, Signature};

use super::store::commit_of;
use super::{Mirror, MirrorSettings, RepositoryUrl};
use fairlead_core::model::digest::CommitId;

mod faults;
mod host_keys;
mod https;
mod measure;
mod mirror;
mod server;
mod ssh;
mod ssh_faults;
mod trees;
mod urls;
mod versions;
mod watch;
mod writes;

/// A source repository and a folder for mirrors, gone at the end of the test.
struct World {
    dir: tempfile::TempDir,
    source: Repository,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = Repository::init_bare(dir.path().join("source.git")).unwrap();
        source.set_head("refs/heads/main").unwrap();
        Self { dir, source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn source_path(&self) -> PathBuf {
        self.path("source.git")
    }

    fn settings(&self) -> MirrorSettings {
        let url: RepositoryUrl = self.source_path().to_str().unwrap().parse().unwrap();
        MirrorSettings::new(url, "main")
    }

    fn mirror_path(&self) -> PathBuf {
        self.path("mirror")
    }

    fn mirror(&self) -> Mirror {
        Mirror::open(&self.settings(), &self.mirror_path()).unwrap()
    }

    /// Commits files on top of a branch, or begins it; `None` removes one.
    fn commit(&self, branch: &str, files: &[(&str, Option<&str>)]) -> CommitId {
        let reference = format!("refs/heads/{branch}");
        let parent = self.source.find_reference(&reference).ok().map(|r| r.peel_to_commit().unwrap());
        let mut all = parent.as_ref().map(|c| flat(&self.source, c.tree_id())).unwrap_or_default();
        for (path, content) in files {
            match content {
                Some(content) => {
                    all.insert((*path).to_owned(), (0o100_644, self.blob(content.as_bytes())));
                }
                None => {
                    all.remove(*path);
                }
            }
        }
        let tree = self.tree_of(&all);
        self.commit_tree(&reference, tree, parent.as_ref().map(git2::Commit::id).as_slice())
    }

    fn blob(&self, bytes: &[u8]) -> Oid {
        self.source.blob(bytes).unwrap()
    }

    /// Writes the trees of these paths, whatever their modes and names are.
    fn tree_of(&self, files: &BTreeMap<String, (u32, Oid)>) -> Oid {
        let mut here: Vec<(u32, Vec<u8>, Oid)> = Vec::new();
        let mut folders: BTreeMap<String, BTreeMap<String, (u32, Oid)>> = BTreeMap::new();
        for (path, value) in files {
            match path.split_once('/') {
                Some((folder, rest)) => {
                    folders.entry(folder.to_owned()).or_default().insert(rest.to_owned(), *value);
                }
                None => here.push((value.0, path.clone().into_bytes(), value.1)),
            }
        }
        for (name, files) in folders {
            here.push((0o40000, name.into_bytes(), self.tree_of(&files)));
        }
        self.raw_tree(here)
    }

    /// Writes a tree object as it is given, in Git's order, past every check.
    fn raw_tree(&self, mut entries: Vec<(u32, Vec<u8>, Oid)>) -> Oid {
        entries.sort_by_key(|(mode, name, _)| {
            let mut name = name.clone();
            name.extend_from_slice(if *mode == 0o40000 { b"/" } else { b"" });
            name
        });
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(format!("{mode:o} ").as_bytes());
            bytes.extend_from_slice(&name);
            bytes.push(0);
            bytes.extend_from_slice(id.as_bytes());
        }
        self.source.odb().unwrap().write(ObjectType::Tree, &bytes).unwrap()
    }

    /// Commits a tree on a branch by its raw object, so that libgit2 does not judge it.
    fn commit_tree(&self, reference: &str, tree: Oid, parents: &[Oid]) -> CommitId {
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            text += &format!("parent {parent}\n");
        }
        // Each commit a second later than its parents, as in life.
        let time = 1_700_000_000 + self.source.odb().map_or(0, |odb| count(&odb));
        text += &format!(
            "author A <a@example.com> {time} +0000\ncommitter A <a@example.com> {time} +0000\n\nchange\n"
        );
        let id = self.source.odb().unwrap().write(ObjectType::Commit, text.as_bytes()).unwrap();
        self.source.reference(reference, id, true, "test").unwrap();
        commit_of(id)
    }

    fn tag(&self, name: &str, commit: CommitId, annotated: bool) {
        let oid = Oid::from_bytes(commit.as_bytes()).unwrap();
        let object = self.source.find_object(oid, None).unwrap();
        if annotated {
            let by = Signature::new("A", "a@example.com", &git2::Time::new(1_700_000_000, 0)).unwrap();
            self.source.tag(name, &object, &by, "release", true).unwrap();
        } else {
            self.source.tag_lightweight(name, &object, true).unwrap();
        }
    }

    fn set_branch(&self, branch: &str, commit: CommitId) {
        let oid = Oid::from_bytes(commit.as_bytes()).unwrap();
        self.source.reference(&format!("refs/heads/{branch}"), oid, true, "test").unwrap();
    }

    fn delete_branch(&self, branch: &str) {
        self.source.find_reference(&format!("refs/heads/{branch}")).unwrap().delete().unwrap();
    }
}

fn count(odb: &git2::Odb<'_>) -> i64 {
    let mut count = 0;
    odb.foreach(|_| {
        count += 1;
        true
    })
    .unwrap();
    count
}

fn flat(repo: &Repository, tree: Oid) -> BTreeMap<String, (u32, Oid)> {
    let mut files = BTreeMap::new();
    let tree = repo.find_tree(tree).unwrap();
    tree.walk(git2::TreeWalkMode::PreOrder, |folder, entry| {
        if entry.kind() != Some(ObjectType::Tree) {
            files.insert(
                format!("{folder}{}", entry.name().unwrap()),
                (entry.filemode_raw() as u32, entry.id()),
            );
        }
        git2::TreeWalkResult::Ok
    })
    .unwrap();
    files
}

/// The packs of a repository.
fn packs(git_dir: &Path) -> Vec<PathBuf> {
    let list = std::fs::read_dir(git_dir.join("objects/pack")).unwrap();
    list.map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pack"))
        .collect()
}

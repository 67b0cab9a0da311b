//! A fleet repository: a bare "server" side, and a clone in which a person works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub struct FleetRepo {
    folder: TempDir,
}

impl FleetRepo {
    /// An empty repository with the branch `main`.
    pub fn empty() -> Self {
        let repo = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(repo.clone_path()).unwrap();
        run(repo.folder.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "fleet.git"]);
        run(&repo.clone_path(), &["init", "--quiet", "--initial-branch=main"]);
        run(&repo.clone_path(), &["remote", "add", "origin", "../fleet.git"]);
        for (key, value) in
            [("user.name", "Ada"), ("user.email", "ada@example.com"), ("commit.gpgsign", "false")]
        {
            run(&repo.clone_path(), &["config", key, value]);
        }
        repo
    }

    /// What the daemon follows.
    pub fn url(&self) -> PathBuf {
        self.folder.path().join("fleet.git")
    }

    pub fn clone_path(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    pub fn write(&self, path: &str, content: &str) -> &Self {
        let path = self.clone_path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Replaces text in a file; it must be there.
    pub fn edit(&self, path: &str, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.clone_path().join(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}:\n{text}");
        self.write(path, &text.replace(from, to))
    }

    pub fn remove(&self, path: &str) -> &Self {
        fs::remove_file(self.clone_path().join(path)).unwrap();
        self
    }

    /// Copies a folder of this checkout into the repository's root.
    pub fn copy_from(&self, folder: &str) -> &Self {
        copy(Path::new(folder), &self.clone_path());
        self
    }

    /// Commits everything and pushes it; gives the commit's full hash.
    pub fn push(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["push", "--quiet", "origin", "HEAD:main"]);
        self.head()
    }

    pub fn revert(&self, commit: &str) -> String {
        self.git(&["revert", "--no-edit", commit]);
        self.git(&["push", "--quiet", "origin", "HEAD:main"]);
        self.head()
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs git in the clone.
    pub fn git(&self, args: &[&str]) -> String {
        run(&self.clone_path(), args)
    }
}

fn run(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        // It would win over the settings of the clone.
        .env_remove("GIT_SSL_CAINFO")
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())).map(Result::unwrap)
    {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

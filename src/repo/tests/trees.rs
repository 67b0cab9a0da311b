//! What a tree may hold, and that a folder on disk and its commit are the same to a reader.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use git2::Oid;
use proptest::prelude::*;

use super::super::{GitTree, History, MAX_FILE, WorkTree};
use super::World;
use fairlead_core::model::tree::{EntryKind, Tree, TreeError};

const FILE: u32 = 0o100_644;
const FOLDER: u32 = 0o40000;

/// A commit with one good file and the entries given, fetched.
fn fetched(world: &World, odd: Vec<(u32, &[u8], Oid)>) -> GitTree {
    let good = world.blob(b"kind: X\n");
    let mut entries = vec![(FILE, b"good.yaml".to_vec(), good)];
    entries.extend(odd.into_iter().map(|(mode, name, id)| (mode, name.to_vec(), id)));
    let root = world.raw_tree(entries);
    let commit = world.commit_tree("refs/heads/main", root, &[]);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    mirror.history().tree(commit).unwrap()
}

/// The tree refuses `shown`, says why, and reads the good file beside it.
fn refuses(tree: &GitTree, shown: &str, why: &str) {
    let refused = |error: &TreeError| match error {
        TreeError::Refused { path, reason } => {
            assert_eq!(path, shown);
            assert!(reason.contains(why), "{reason}");
        }
        TreeError::Unreadable { .. } => panic!("{error}"),
    };
    let list = tree.list("").unwrap().unwrap();
    refused(list.iter().find_map(|entry| entry.as_ref().err()).unwrap());
    for error in [tree.entry(shown).map(|_| ()), tree.read(shown).map(|_| ()), tree.list(shown).map(|_| ())] {
        assert!(matches!(error, Err(TreeError::Refused { .. })), "{error:?}");
    }
    assert_eq!(&*tree.read("good.yaml").unwrap().unwrap(), b"kind: X\n");
}

#[test]
fn threat_symlink() {
    let world = World::new();
    let target = world.blob(b"/etc/passwd");
    let tree = fetched(&world, vec![(0o120_000, b"profile.yaml", target)]);
    refuses(&tree, "profile.yaml", "symbolic link");
    let below = tree.read("profile.yaml/x");
    assert!(matches!(&below, Err(TreeError::Refused { path, .. }) if path == "profile.yaml"), "{below:?}");
    assert!(!format!("{below:?}").contains("passwd"));
}

#[test]
fn threat_submodule() {
    let world = World::new();
    let nowhere = Oid::from_bytes(&[9; 20]).unwrap();
    refuses(&fetched(&world, vec![(0o160_000, b"charts", nowhere)]), "charts", "submodule");
}

#[test]
fn threat_traversal() {
    let names: [(&[u8], &str, &str); 8] = [
        (b"..", "..", "no name of a file"),
        (b".", ".", "no name of a file"),
        (b".git", ".git", "reserved"),
        (b".GIT", ".GIT", "reserved"),
        (b"a/b", "a/b", "slash"),
        (b"a\\b", "a\\b", "slash"),
        (b"a\nb", "a\\nb", "control"),
        (b"caf\xe9", "caf\\xe9", "UTF-8"),
    ];
    for (name, shown, why) in names {
        let world = World::new();
        let blob = world.blob(b"x");
        let tree = fetched(&world, vec![(FILE, name, blob)]);
        let list = tree.list("").unwrap().unwrap();
        let refused = list.iter().find_map(|entry| entry.as_ref().err()).unwrap();
        assert!(
            matches!(refused, TreeError::Refused { path, reason } if path == shown && reason.contains(why)),
            "{refused:?}"
        );
        assert_eq!(list.iter().filter(|entry| entry.is_ok()).count(), 1);
    }
    let world = World::new();
    let tree = fetched(&world, vec![]);
    for path in
        ["../x", "/etc/passwd", "a//b", "./good.yaml", "good.yaml/", "a/.git/config", "a/../good.yaml"]
    {
        assert!(matches!(tree.read(path), Err(TreeError::Refused { .. })), "{path}");
    }
}

#[test]
fn odd_modes_and_twins_are_refused() {
    for mode in [0o060_000, 0o140_000, 0o644, 0] {
        let world = World::new();
        let blob = world.blob(b"x");
        refuses(&fetched(&world, vec![(mode, b"odd", blob)]), "odd", "mode");
    }
    let world = World::new();
    let (one, two) = (world.blob(b"1"), world.blob(b"2"));
    refuses(&fetched(&world, vec![(FILE, b"twin", one), (FILE, b"twin", two)]), "twin", "twice");
}

#[test]
fn modes_that_old_versions_of_git_wrote_are_those_of_files() {
    for mode in [0o100_664, 0o100_600, 0o100_755, 0o100_777] {
        let world = World::new();
        let tree = fetched(&world, vec![(mode, b"old.yaml", world.blob(b"x"))]);
        assert_eq!(&*tree.read("old.yaml").unwrap().unwrap(), b"x", "{mode:o}");
    }
}

#[test]
fn a_file_that_is_a_folders_object_is_refused_and_no_damage() {
    let world = World::new();
    let folder = world.raw_tree(vec![(FILE, b"x".to_vec(), world.blob(b"x"))]);
    let blob = world.blob(b"no tree");
    let root = world.raw_tree(vec![(FILE, b"file".to_vec(), folder), (FOLDER, b"folder".to_vec(), blob)]);
    let head = world.commit_tree("refs/heads/main", root, &[]);
    // The types are wrong in the source itself: whoever reads them is told, and nothing else is stopped.
    let mut mirror = world.mirror();
    assert_eq!(mirror.fetch(&[]).unwrap().rebuilt, None);
    let tree = mirror.history().tree(head).unwrap();
    let refused = |error: TreeError| assert!(matches!(error, TreeError::Refused { .. }), "{error:?}");
    refused(tree.read("file").unwrap_err());
    refused(tree.list("folder").unwrap_err());
}

#[test]
fn a_huge_file_is_refused_by_its_size() {
    let world = World::new();
    let limit = usize::try_from(MAX_FILE).unwrap();
    let (fits, huge) = (world.blob(&vec![b'a'; limit]), world.blob(&vec![b'a'; limit + 1]));
    let tree = fetched(&world, vec![(FILE, b"fits", fits), (FILE, b"huge", huge)]);
    assert_eq!(tree.read("fits").unwrap().unwrap().len(), limit);
    let refused = tree.read("huge").unwrap_err();
    assert!(
        matches!(&refused, TreeError::Refused { path, reason } if path == "huge" && reason.contains("8388609"))
    );
    // It is there, with its id; only its bytes are not had.
    assert!(tree.entry("huge").unwrap().is_some());
}

#[test]
fn paths_that_are_not_there_are_none() {
    let world = World::new();
    let commit = world.commit("main", &[("a/b.yaml", Some("x")), ("a/c/d.yaml", Some("y"))]);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    let tree = mirror.history().tree(commit).unwrap();
    for path in ["b", "a/x", "a/b.yaml/c", "a/c/d.yaml/e/f"] {
        assert_eq!(tree.entry(path), Ok(None), "{path}");
        assert_eq!(tree.read(path), Ok(None), "{path}");
        assert_eq!(tree.list(path), Ok(None), "{path}");
    }
    assert_eq!((tree.read("a"), tree.list("a/b.yaml")), (Ok(None), Ok(None)));
    let names = |path: &str| -> Vec<_> {
        tree.list(path).unwrap().unwrap().into_iter().map(|e| e.map(|e| (e.name, e.kind)).unwrap()).collect()
    };
    assert_eq!(names(""), [("a".to_owned(), EntryKind::Folder)]);
    assert_eq!(names("a"), [("b.yaml".to_owned(), EntryKind::File), ("c".to_owned(), EntryKind::Folder)]);
    assert_eq!(tree.entry("").unwrap().unwrap().id, tree.root());
}

fn git(dir: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "user.name=A", "-c", "user.email=a@example.com"]).args(args);
    let output =
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Everything a reader sees of a tree: path, id, and bytes or the error.
fn seen(tree: &dyn Tree, folder: &str, out: &mut BTreeMap<String, String>) {
    for entry in tree.list(folder).unwrap().unwrap() {
        match entry {
            Ok(entry) => {
                let path =
                    if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
                assert_eq!(tree.entry(&path).unwrap().unwrap(), entry);
                match entry.kind {
                    EntryKind::Folder => seen(tree, &path, out),
                    EntryKind::File => {
                        let bytes = tree.read(&path).unwrap().unwrap();
                        out.insert(format!("{path}="), String::from_utf8_lossy(&bytes).into_owned());
                    }
                }
                out.insert(path, entry.id.to_string());
            }
            Err(error) => drop(out.insert(error.to_string(), String::new())),
        }
    }
    out.insert(format!("{folder}/"), tree.entry(folder).unwrap().unwrap().id.to_string());
}

#[test]
fn a_work_tree_is_what_git_would_commit() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    git(root, &["init", "-q", "-b", "main"]);
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir_all(root.join("empty/deeper")).unwrap();
    fs::create_dir_all(root.join("out/x")).unwrap();
    // Git sorts folder `a` after `a.yaml` and `a-b`.
    for (path, text) in [
        ("a/b/c.yaml", "c"),
        ("a.yaml", "1"),
        ("a-b", "2"),
        ("ä.yaml", "3"),
        ("out/x/y", "ignored"),
        ("kept.log", "tracked"),
        ("gone.log", "ignored"),
        (".gitignore", "out/\n*.log\n"),
    ] {
        fs::write(root.join(path), text).unwrap();
    }
    fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/etc/passwd", root.join("link.yaml")).unwrap();
    git(root, &["add", "-f", "kept.log"]);
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "all"]);
    let history = History::discover(&root.join("a/b")).unwrap();
    let commit = history.tree(history.resolve("HEAD").unwrap()).unwrap();
    let (mut disk, mut git) = (BTreeMap::new(), BTreeMap::new());
    let work = WorkTree::open(root).unwrap();
    seen(&work, "", &mut disk);
    seen(&commit, "", &mut git);
    assert_eq!(disk, git);
    assert!(disk.contains_key("kept.log=") && !disk.contains_key("gone.log="));
    assert!(!format!("{disk:?}").contains("root:"), "the link was followed");
    // A folder of it, as the root of its own.
    let below = WorkTree::open(&root.join("a")).unwrap();
    assert_eq!(below.entry("").unwrap().unwrap().id, commit.entry("a").unwrap().unwrap().id);
    // What is ignored or hidden is not there by name either.
    for path in ["out/x/y", "gone.log", "empty"] {
        assert_eq!(work.entry(path), Ok(None), "{path}");
    }
    assert!(matches!(work.read(".git/config"), Err(TreeError::Refused { .. })));
    assert!(matches!(work.read("link.yaml"), Err(TreeError::Refused { .. })));
}

#[test]
fn a_file_that_changes_after_its_id_was_given_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/x"), "1").unwrap();
    let work = WorkTree::open(dir.path()).unwrap();
    work.entry("a").unwrap().unwrap();
    assert_eq!(&*work.read("a/x").unwrap().unwrap(), b"1");
    fs::write(dir.path().join("a/x"), "2").unwrap();
    assert!(matches!(work.read("a/x"), Err(TreeError::Unreadable { .. })));
}

#[test]
fn a_nested_repository_and_a_pipe_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("nested")).unwrap();
    git(&dir.path().join("nested"), &["init", "-q"]);
    assert!(Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap().success());
    let work = WorkTree::open(dir.path()).unwrap();
    let list = work.list("").unwrap().unwrap();
    assert!(list.iter().all(|entry| matches!(entry, Err(TreeError::Refused { .. }))), "{list:?}");
    assert_eq!(list.len(), 2);
    assert!(matches!(work.read("pipe"), Err(TreeError::Refused { .. })));
}

/// A handful of names, so that files and folders meet and sort next to each other.
fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "a.b", "a-b", "a0", "b", "ab", "é", "z z"]);
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn a_work_tree_and_the_commit_of_it_have_equal_ids(files in prop::collection::btree_map(path(), (".{0,20}", any::<bool>()), 1..12)) {
        let world = World::new();
        let root = world.path("work");
        let mut tree = BTreeMap::new();
        for (path, (text, executable)) in &files {
            let full = root.join(path);
            // A file is where a folder should be, or the other way round: leave this one out.
            if fs::create_dir_all(full.parent().unwrap()).is_err() || full.is_dir() {
                continue;
            }
            fs::write(&full, text).unwrap();
            fs::set_permissions(&full, fs::Permissions::from_mode(if *executable { 0o755 } else { 0o644 })).unwrap();
            tree.insert(path.clone(), (if *executable { 0o100_755 } else { FILE }, world.blob(text.as_bytes())));
        }
        let commit = world.commit_tree("refs/heads/main", world.tree_of(&tree), &[]);
        let mut mirror = world.mirror();
        mirror.fetch(&[]).unwrap();
        let (mut disk, mut git) = (BTreeMap::new(), BTreeMap::new());
        seen(&WorkTree::open(&root).unwrap(), "", &mut disk);
        seen(&mirror.history().tree(commit).unwrap(), "", &mut git);
        prop_assert_eq!(disk, git);
    }
}

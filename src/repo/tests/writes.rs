//! Commits for going back by command.

use std::collections::BTreeMap;

use super::super::{
    Author, Change, History, RepoError, commit_changes, commit_files, commit_restoring, create_branch,
};
use super::World;
use fairlead_core::model::tree::Tree;

fn author() -> Author {
    Author {
        name: "Ops".into(),
        email: "ops@example.com".into(),
        time: "2026-01-02T03:04:05Z".parse().unwrap(),
    }
}

#[test]
fn restoring_brings_folders_back_and_touches_nothing_else() {
    let world = World::new();
    let repo = world.source_path();
    let to = world.commit("main", &[("p/a/x", Some("old")), ("p/b/y", Some("old")), ("c/z", Some("old"))]);
    world.commit(
        "main",
        &[("p/a/x", None), ("p/a/new", Some("new")), ("p/b/y", Some("new")), ("c/z", Some("new"))],
    );
    let head = world.commit("main", &[("added/deep/f", Some("new"))]);
    let folders = ["p/a".to_owned(), "added/deep".to_owned(), "never".to_owned()];
    let commit = commit_restoring(&repo, "main", to, &folders, "Go back", &author()).unwrap();
    let history = History::discover(&repo).unwrap();
    let (tree, was, is) =
        (history.tree(commit).unwrap(), history.tree(to).unwrap(), history.tree(head).unwrap());
    assert_eq!(tree.entry("p/a"), was.entry("p/a"));
    assert_eq!((tree.entry("p/b"), tree.entry("c")), (is.entry("p/b"), is.entry("c")));
    // A folder that was not there is removed, and so is the one that it leaves empty.
    assert_eq!(tree.entry("added"), Ok(None));
    let info = history.commit_info(commit).unwrap();
    assert_eq!((info.author.as_str(), info.summary.as_str(), info.parents), ("Ops", "Go back", vec![head]));
    assert_eq!(info.time, author().time);
    // Nothing moved until a branch is made.
    assert_eq!(history.resolve_branch("main"), Ok(head));
    create_branch(&repo, "rollback", commit).unwrap();
    assert_eq!(history.resolve_branch("rollback"), Ok(commit));
    assert_eq!(
        create_branch(&repo, "rollback", head),
        Err(RepoError::BranchExists { branch: "rollback".into() })
    );
    assert_eq!(create_branch(&repo, "-x", head).unwrap_err().label(), "invalid-branch");
}

#[test]
fn everything_of_a_folder_may_go_and_come() {
    let world = World::new();
    let repo = world.source_path();
    let empty_there = world.commit("main", &[("keep", Some("1"))]);
    let full = world.commit("main", &[("keep", None), ("p/x", Some("1"))]);
    let commit = commit_restoring(&repo, "main", empty_there, &["p".into()], "m", &author()).unwrap();
    let tree = History::discover(&repo).unwrap().tree(commit).unwrap();
    assert_eq!(tree.list("").unwrap().unwrap(), vec![]);
    let change = Change::Restore { path: "p".into(), at: full };
    let again = commit_changes(&repo, commit, &[change], "m", &author()).unwrap();
    assert_eq!(
        History::discover(&repo).unwrap().tree(again).unwrap().root(),
        History::discover(&repo).unwrap().tree(full).unwrap().root()
    );
}

#[test]
fn writing_files_for_a_pin() {
    let world = World::new();
    let repo = world.source_path();
    let head = world.commit("main", &[("clusters/a.yaml", Some("1")), ("clusters/b.yaml", Some("1"))]);
    let files = BTreeMap::from([
        ("clusters/a.yaml".to_owned(), Some(b"2".to_vec())),
        ("clusters/b.yaml".to_owned(), None),
        ("clusters/eu/c.yaml".to_owned(), Some(b"3".to_vec())),
        ("clusters/a.yaml/not/below".to_owned(), None),
    ]);
    let commit = commit_files(&repo, head, &files, "Pin", &author()).unwrap();
    let tree = History::discover(&repo).unwrap().tree(commit).unwrap();
    assert_eq!(&*tree.read("clusters/a.yaml").unwrap().unwrap(), b"2");
    assert_eq!(tree.read("clusters/b.yaml"), Ok(None));
    assert_eq!(&*tree.read("clusters/eu/c.yaml").unwrap().unwrap(), b"3");
}

#[test]
fn what_changes_nothing_or_leaves_the_repository_is_refused() {
    let world = World::new();
    let repo = world.source_path();
    let head = world.commit("main", &[("p/x", Some("1"))]);
    let restore = |path: &str, at| commit_restoring(&repo, "main", at, &[path.to_owned()], "m", &author());
    assert_eq!(restore("p", head), Err(RepoError::NothingToChange));
    for path in ["", "..", "../p", "/p", ".git", "p/.git/hooks"] {
        assert_eq!(restore(path, head).unwrap_err().label(), "refused", "{path}");
    }
    let unknown = "00000000000000000000000000000000000000aa".parse().unwrap();
    assert_eq!(restore("p", unknown), Err(RepoError::UnknownCommit { commit: unknown }));
}

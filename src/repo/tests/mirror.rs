//! Fetching from a local repository, and what the mirror then answers.

use super::super::{HeadChange, RefKind, RepoError};
use super::World;
use fairlead_core::model::tree::Tree;

#[test]
fn a_fetch_brings_the_branch_the_tags_and_the_branches_asked_for() {
    let world = World::new();
    let first = world.commit("main", &[("a.yaml", Some("a: 1\n"))]);
    let other = world.commit("next", &[("b.yaml", Some("b: 1\n"))]);
    world.commit("unasked", &[("c.yaml", Some("c: 1\n"))]);
    world.tag("v1.0.0", first, true);
    let mut mirror = world.mirror();
    assert_eq!(mirror.head(), None);
    let fetched = mirror.fetch(&["next".into(), "nowhere".into()]).unwrap();
    assert_eq!((fetched.head, mirror.head(), fetched.rebuilt), (first, Some(first), None));
    let changed: Vec<_> = fetched.changed.iter().map(|c| (c.kind, c.name.as_str(), c.old, c.new)).collect();
    assert_eq!(
        changed,
        [
            (RefKind::Branch, "main", None, Some(first)),
            (RefKind::Branch, "next", None, Some(other)),
            (RefKind::Tag, "v1.0.0", None, Some(first)),
        ]
    );
    let history = mirror.history();
    assert_eq!(history.resolve_branch("next"), Ok(other));
    assert_eq!(history.resolve_branch("unasked"), Err(RepoError::NoSuchBranch { branch: "unasked".into() }));
    assert_eq!(&*history.tree(first).unwrap().read("a.yaml").unwrap().unwrap(), b"a: 1\n");
    // Nothing new: no change; and a branch not asked for this time stays as it was.
    let again = mirror.fetch(&[]).unwrap();
    assert_eq!((again.head, again.changed), (first, vec![]));
    assert_eq!(history.resolve_branch("next"), Ok(other));
}

#[test]
fn a_restart_finds_the_last_good_head() {
    let world = World::new();
    let head = world.commit("main", &[("a.yaml", Some("a: 1\n"))]);
    world.mirror().fetch(&[]).unwrap();
    let mirror = world.mirror();
    assert_eq!(mirror.head(), Some(head));
    assert!(mirror.history().tree(head).unwrap().entry("a.yaml").unwrap().is_some());
}

#[test]
fn one_process_owns_a_mirror() {
    let world = World::new();
    let mirror = world.mirror();
    let second = super::Mirror::open(&world.settings(), &world.mirror_path()).map(|_| ());
    assert_eq!(second, Err(RepoError::Busy { path: world.mirror_path() }));
    drop(mirror);
    world.mirror();
}

#[test]
fn ancestry_and_reachability() {
    let world = World::new();
    let a = world.commit("main", &[("x", Some("1"))]);
    let b = world.commit("main", &[("x", Some("2"))]);
    world.set_branch("side", a);
    let side = world.commit("side", &[("y", Some("1"))]);
    let mut mirror = world.mirror();
    mirror.fetch(&["side".into()]).unwrap();
    let history = mirror.history();
    assert_eq!(history.is_ancestor(a, b), Ok(true));
    assert_eq!(history.is_ancestor(b, b), Ok(true));
    assert_eq!(history.is_ancestor(b, a), Ok(false));
    assert_eq!(history.reachable(side, &[b]), Ok(false));
    assert_eq!(history.reachable(a, &[b, side]), Ok(true));
    assert_eq!(history.merge_base(b, side), Ok(Some(a)));
    assert_eq!(history.changed_paths(b, side), Ok(vec!["x".into(), "y".into()]));
    let unknown = "00000000000000000000000000000000000000aa".parse().unwrap();
    assert_eq!(history.reachable(unknown, &[b]), Err(RepoError::UnknownCommit { commit: unknown }));
    assert_eq!(history.is_ancestor(unknown, b), Ok(false));
    assert!(history.is_ancestor(b, unknown).is_err());
    assert_eq!(history.resolve("main~1"), Ok(a));
    assert_eq!(history.resolve(&b.short()), Ok(b));
    assert_eq!(
        history.commit_info(b).map(|info| (info.summary, info.parents)),
        Ok(("change".into(), vec![a]))
    );
    assert_eq!(history.resolve("nope").map_err(|e| e.label()), Err("unknown-revision"));
}

#[test]
fn a_rewritten_branch_is_told_and_the_old_commit_stays() {
    let world = World::new();
    let old = world.commit("main", &[("x", Some("1"))]);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    world.delete_branch("main");
    let new = world.commit("main", &[("x", Some("other"))]);
    assert_eq!(mirror.fetch(&[]).unwrap().head, new);
    let history = mirror.history();
    let ancestor = history.is_ancestor(old, new).unwrap();
    assert_eq!(HeadChange::classify(Some(old), new, ancestor), HeadChange::NonFastForward);
    assert_eq!(&*history.tree(old).unwrap().read("x").unwrap().unwrap(), b"1");
    assert!(
        super::Repository::open(world.mirror_path())
            .unwrap()
            .find_reference(&format!("refs/keep/{old}"))
            .is_ok()
    );
}

//! News of a local repository's refs.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::super::{RefEvent, RefWatch, watch_local};
use super::World;

fn watch(path: &Path) -> (RefWatch, Receiver<RefEvent>) {
    let (send, events) = channel();
    let watch = watch_local(path, move |event| drop(send.send(event))).unwrap();
    (watch, events)
}

/// Waits for news, then takes what else comes of the same change.
fn changed(events: &Receiver<RefEvent>) {
    assert_eq!(events.recv_timeout(Duration::from_secs(10)), Ok(RefEvent::Changed));
    while events.recv_timeout(Duration::from_millis(100)).is_ok() {}
}

fn silent(events: &Receiver<RefEvent>) {
    assert!(events.recv_timeout(Duration::from_millis(300)).is_err());
}

fn git(dir: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "user.name=A", "-c", "user.email=a@example.com"]).args(args);
    let output =
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_bare_repository_tells_of_branches_tags_and_packed_refs() {
    let world = World::new();
    let head = world.commit("main", &[("a", Some("1"))]);
    let (_watch, events) = watch(&world.source_path());
    world.blob(b"an object is no news");
    silent(&events);
    world.commit("main", &[("a", Some("2"))]);
    changed(&events);
    world.tag("v1.0.0", head, false);
    changed(&events);
    world.commit("new/branch", &[("a", Some("3"))]);
    changed(&events);
    git(&world.source_path(), &["pack-refs", "--all"]);
    changed(&events);
    world.source.set_head("refs/heads/new/branch").unwrap();
    changed(&events);
    world.delete_branch("main");
    changed(&events);
}

#[test]
fn a_clone_and_its_linked_work_tree_tell_of_commits() {
    let world = World::new();
    let (clone, linked) = (world.path("clone"), world.path("linked"));
    world.commit("main", &[("a", Some("1"))]);
    git(&world.path(""), &["clone", "-q", "source.git", "clone"]);
    git(&clone, &["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    let (_one, in_clone) = watch(&clone);
    let (_two, in_linked) = watch(&linked);
    std::fs::write(clone.join("a"), "2").unwrap();
    git(&clone, &["add", "a"]);
    silent(&in_clone);
    git(&clone, &["commit", "-q", "-m", "two"]);
    changed(&in_clone);
    changed(&in_linked);
    git(&linked, &["commit", "-q", "--allow-empty", "-m", "side"]);
    changed(&in_linked);
}

#[test]
fn what_is_no_repository_cannot_be_watched() {
    let dir = tempfile::tempdir().unwrap();
    let error = watch_local(dir.path(), |_| {}).map(|_| ()).unwrap_err();
    assert_eq!(error.label(), "watch");
}

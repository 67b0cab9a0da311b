//! Figures, not judged here: `cargo test --lib repo::tests::measure -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::super::WorkTree;
use super::World;
use fairlead_core::model::tree::Tree;

/// Median and p99 of what `work` takes.
fn timed(name: &str, times: usize, mut work: impl FnMut(usize)) {
    let mut took: Vec<Duration> = Vec::new();
    for n in 0..times {
        let began = Instant::now();
        work(n);
        took.push(began.elapsed());
    }
    took.sort();
    println!("{name}: median {:?}, p99 {:?} of {times}", took[times / 2], took[times * 99 / 100]);
}

#[test]
#[ignore = "measures; judges nothing"]
fn a_repository_of_10_000_files() {
    let world = World::new();
    let files: Vec<_> = (0..10_000)
        .map(|n| {
            (format!("clusters/r{:02}/edge-{n:05}.yaml", n / 100), format!("kind: ClusterTarget\nn: {n}\n"))
        })
        .collect();
    let list: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    let first = world.commit("main", &list);
    let mut mirror = world.mirror();
    timed("first fetch", 1, |_| drop(mirror.fetch(&[]).unwrap()));
    timed("fetch without news", 200, |_| drop(mirror.fetch(&[]).unwrap()));
    // The commit is written outside the clock: time only fetch.
    let mut took: Vec<Duration> = Vec::new();
    let mut heads = vec![first];
    for n in 0..200 {
        let path = files[n * 37].0.as_str();
        heads.push(world.commit("main", &[(path, Some(&format!("kind: ClusterTarget\nchange: {n}\n")))]));
        let began = Instant::now();
        let fetched = mirror.fetch(&[]).unwrap();
        took.push(began.elapsed());
        assert_eq!(fetched.changed.len(), 1);
    }
    took.sort();
    println!("fetch of one commit: median {:?}, p99 {:?} of 200", took[100], took[198]);
    let history = mirror.history();
    timed("is_ancestor, 200 commits apart", 50, |_| assert!(history.is_ancestor(first, heads[200]).unwrap()));
    timed("tree of a new commit, entry of a folder in it", 200, |n| {
        drop(history.tree(heads[n]).unwrap().entry("clusters/r50").unwrap().unwrap());
    });
    let tree = history.tree(heads[200]).unwrap();
    timed("entry of a file, warm", 1_000, |n| drop(tree.entry(&files[n].0).unwrap().unwrap()));
    timed("read of a file", 1_000, |n| drop(tree.read(&files[n].0).unwrap().unwrap()));
    timed("read of all 10,000 files", 1, |_| {
        files.iter().for_each(|(path, _)| drop(tree.read(path).unwrap().unwrap()))
    });
    drop(mirror);
    timed("open after a restart", 1, |_| drop(world.mirror()));
    let mut mirror = world.mirror();
    timed("first fetch after a restart: all checked", 1, |_| drop(mirror.fetch(&[]).unwrap()));

    let root = world.path("work");
    for (path, text) in &files {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), text).unwrap();
    }
    timed("work tree of 10,000 files, outside Git", 1, |_| {
        drop(WorkTree::open(&root).unwrap().entry("").unwrap())
    });
    git2::Repository::init(&root).unwrap();
    timed("work tree of 10,000 files, none tracked", 1, |_| {
        drop(WorkTree::open(&root).unwrap().entry("").unwrap())
    });
    let repo = git2::Repository::open(&root).unwrap();
    let mut index = repo.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    timed("work tree of 10,000 files, all tracked", 1, |_| {
        drop(WorkTree::open(&root).unwrap().entry("").unwrap())
    });
}

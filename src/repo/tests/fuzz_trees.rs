//! Tree objects at random: read or refused, and nothing else happens.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::World;
use fairlead_core::catalog::{Catalog, Folders};
use fairlead_core::model::tree::{EntryKind, Tree};

/// Names of what the fleet repository has, and what has made others escape from theirs.
const NAMES: &[&[u8]] = &[
    b"profiles",
    b"clusters",
    b"fleets",
    b"p",
    b"profile.yaml",
    b"a.yaml",
    b".git",
    b"..",
    b".",
    b"",
    b"a/b",
    b"a\\b",
    b"CON",
    b"caf\xe9",
    b"\xf0\x9f\x98\x80",
    b".gitmodules",
    b"a\nb",
    b"git~1",
    b".g\xe2\x80\x8cit",
];
const MODES: &[&str] = &[
    "100644",
    "40000",
    "100755",
    "120000",
    "160000",
    "0",
    "040000",
    "100664",
    "777777",
    "",
    "-1",
    "99999999999",
    "abc",
];

/// Of one entry: its mode and name, which object it names (the ones before it, itself, or none), and how it is cut.
type Part = (usize, usize, usize, u8);

fn trees() -> impl Strategy<Value = Vec<Vec<Part>>> {
    let part = (0..MODES.len() * 2, 0..NAMES.len(), 0usize..12, 0u8..40);
    prop::collection::vec(prop::collection::vec(part, 0..10), 1..8)
}

fn raw(parts: &[Part], known: &[git2::Oid]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (mode, name, id, cut) in parts {
        // Half of them are what people have.
        let mode = MODES.get(*mode).copied().unwrap_or(if id % 2 == 0 { "40000" } else { "100644" });
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(if *cut == 1 { b'\t' } else { b' ' });
        bytes.extend_from_slice(NAMES[*name]);
        if *cut != 2 {
            bytes.push(0);
        }
        let id = known.get(*id).map_or([7; 20], |oid| oid.as_bytes().try_into().unwrap_or([0; 20]));
        bytes.extend_from_slice(if *cut == 3 { &id[..11] } else { &id });
    }
    bytes
}

fn read_or_refused(world: &World, trees: &[Vec<Part>]) {
    let odb = world.source.odb().unwrap();
    let mut known = vec![world.blob(b"a: b\n"), world.blob(b"kind: Fleet\n")];
    for parts in trees {
        known.push(odb.write(git2::ObjectType::Tree, &raw(parts, &known)).unwrap());
    }
    let commit = world.commit_tree("refs/heads/main", *known.last().unwrap(), &[]);
    let mut mirror = world.mirror();
    // What can't be copied is an error, and says what it is.
    if let Err(error) = mirror.fetch(&[]) {
        assert!(!error.to_string().is_empty());
        return;
    }
    let tree = mirror.history().tree(commit).unwrap();
    Catalog::read(&tree, &Folders::default());
    let mut folders = vec![(String::new(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(Some(entries)) = tree.list(&folder) else { continue };
        for entry in entries.into_iter().flatten() {
            assert!(!entry.name.is_empty() && entry.name != ".." && !entry.name.contains('/'), "{entry:?}");
            let path =
                if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
            match entry.kind {
                EntryKind::Folder if depth < 4 => folders.push((path, depth + 1)),
                EntryKind::Folder => {}
                EntryKind::File => drop(tree.read(&path)),
            }
        }
    }
}

fn run(enough: impl Fn(u64) -> bool) {
    let mut runner = TestRunner::default();
    let (mut world, mut cases, mut slowest) = (World::new(), 0u64, Duration::ZERO);
    while !enough(cases) {
        let trees = trees().new_tree(&mut runner).unwrap().current();
        let start = Instant::now();
        let read = std::panic::AssertUnwindSafe(|| read_or_refused(&world, &trees));
        if let Err(panic) = std::panic::catch_unwind(read) {
            eprintln!("{trees:?}");
            std::panic::resume_unwind(panic);
        }
        slowest = slowest.max(start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}: {trees:?}", start.elapsed());
        cases += 1;
        if cases.is_multiple_of(500) {
            world = World::new();
        }
    }
    println!("{cases} commits, the slowest took {slowest:?}");
}

#[test]
fn a_few_trees_at_random() {
    run(|cases| cases >= 30);
}

/// For as long as wanted: `FAIRLEAD_FUZZ_MINUTES=11 cargo test -p fairlead --lib fuzz_trees -- --ignored --nocapture`.
#[test]
#[ignore = "runs for minutes"]
#[allow(clippy::disallowed_methods, reason = "its only setting")]
fn fuzz_trees() {
    let minutes = std::env::var("FAIRLEAD_FUZZ_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    run(|_| Instant::now() > end);
}

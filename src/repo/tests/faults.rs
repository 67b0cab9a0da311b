//! Faults, each test named after its row in the list.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::super::RepoError;
use super::{World, packs};
use crate::model::digest::CommitId;
use crate::model::tree::{Tree, TreeError};

/// Enough files for one pack instead of single objects.
fn big(world: &World) -> CommitId {
    let files: Vec<_> =
        (0..600).map(|n| (format!("clusters/edge-{n:03}.yaml"), format!("n: {n}\n"))).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    world.commit("main", &files)
}

/// Packs are read-only files.
fn writable(path: &Path) -> fs::File {
    fs::remove_file(path.with_extension("copy")).ok();
    fs::copy(path, path.with_extension("copy")).unwrap();
    fs::rename(path.with_extension("copy"), path).unwrap();
    let mut permissions = fs::metadata(path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(path, permissions).unwrap();
    fs::File::options().write(true).open(path).unwrap()
}

#[test]
fn fault_5_a_truncated_pack_is_never_deleted_files() {
    let world = World::new();
    let head = big(&world);
    world.mirror().fetch(&[]).unwrap();
    let pack = packs(&world.mirror_path()).pop().unwrap();
    let length = fs::metadata(&pack).unwrap().len();
    writable(&pack).set_len(length / 2).unwrap();

    let mut mirror = world.mirror();
    let history = mirror.history();
    // libgit2 says "not found" here; we must not.
    match history.tree(head) {
        Err(RepoError::Corrupt { .. }) => {}
        other => panic!("{:?}", other.map(|tree| tree.root())),
    }
    // The ref is unchanged at the source, and yet the fetch rebuilds.
    let fetched = mirror.fetch(&[]).unwrap();
    assert!(fetched.rebuilt.is_some());
    assert_eq!((fetched.head, fetched.changed), (head, vec![]));
    let tree = history.tree(head).unwrap();
    assert_eq!(tree.list("clusters").unwrap().unwrap().len(), 600);
    assert_eq!(mirror.fetch(&[]).unwrap().rebuilt, None);
}

#[test]
fn fault_5_flipped_bytes_are_found_by_reading_and_rebuilt_by_the_next_fetch() {
    let world = World::new();
    let head = big(&world);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    let pack = packs(&world.mirror_path()).pop().unwrap();
    let length = fs::metadata(&pack).unwrap().len();
    let mut file = writable(&pack);
    // Everything between head and checksum.
    file.seek(SeekFrom::Start(12)).unwrap();
    file.write_all(&vec![0x55; usize::try_from(length).unwrap() - 32]).unwrap();
    drop((file, mirror));

    let mut mirror = world.mirror();
    let history = mirror.history();
    let missing = match history.tree(head) {
        Err(error) => {
            assert_eq!(error.label(), "corrupt");
            0
        }
        Ok(tree) => {
            let read = |n| tree.read(&format!("clusters/edge-{n:03}.yaml"));
            assert!((0..600).map(read).any(|read| matches!(read, Err(TreeError::Unreadable { .. }))));
            (0..600).map(read).filter(|read| matches!(read, Ok(None))).count()
        }
    };
    assert_eq!(missing, 0);
    assert!(mirror.fetch(&[]).unwrap().rebuilt.is_some());
    let tree = history.tree(head).unwrap();
    assert!((0..600).all(|n| tree.read(&format!("clusters/edge-{n:03}.yaml")).unwrap().is_some()));
}

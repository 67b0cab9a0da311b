//! Faults, each test named after its row in the list.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::super::RepoError;
use super::{World, packs};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::tree::{Tree, TreeError};

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
fn a_truncated_pack_is_never_deleted_files() {
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

/// Files of single objects below a `.git` folder, the largest first.
fn singles(git_dir: &Path) -> Vec<std::path::PathBuf> {
    let folders = fs::read_dir(git_dir.join("objects")).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.file_name().len() == 2);
    let mut files: Vec<_> = folders
        .flat_map(|folder| fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()))
        .collect();
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    files
}

#[test]
fn objects_that_were_cut_off_are_named_and_rebuilt_not_read_for_ever() {
    for cut in [0, 1, 2, 3] {
        let world = World::new();
        let long = (0..400).map(|n| format!("n{n}: {}\n", n * 7919)).collect::<String>();
        let head = world.commit("main", &[("clusters/a.yaml", Some(&long)), ("b.yaml", Some("b: 1\n"))]);
        world.mirror().fetch(&[]).unwrap();
        let files = singles(&world.mirror_path());
        let file = &files[cut.min(files.len() - 1)];
        let length = fs::metadata(file).unwrap().len();
        writable(file).set_len(length / 2).unwrap();

        let mut mirror = world.mirror();
        let fetched = mirror.fetch(&[]).unwrap();
        assert!(fetched.rebuilt.is_some(), "{}", file.display());
        let tree = mirror.history().tree(head).unwrap();
        assert_eq!(tree.read("clusters/a.yaml").unwrap().as_deref(), Some(long.as_bytes()));

        // While it runs, a reader finds it.
        let file = singles(&world.mirror_path()).swap_remove(0);
        let length = fs::metadata(&file).unwrap().len();
        writable(&file).set_len(length / 2).unwrap();
        let tree = mirror.history().tree(head);
        assert!(tree.is_err() || tree.is_ok_and(|tree| tree.read("clusters/a.yaml").is_err()));
        assert!(mirror.fetch(&[]).unwrap().rebuilt.is_some());
    }
}

#[test]
fn flipped_bytes_are_found_by_reading_and_rebuilt_by_the_next_fetch() {
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

#[test]
fn an_unreachable_source_changes_nothing() {
    let world = World::new();
    let head = world.commit("main", &[("a", Some("1"))]);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    fs::rename(world.source_path(), world.path("away")).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "repository-not-found");
    assert_eq!(mirror.head(), Some(head));
    assert!(mirror.history().tree(head).unwrap().read("a").unwrap().is_some());
    fs::rename(world.path("away"), world.source_path()).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap().changed, vec![]);
}

#[test]
fn an_empty_repository_and_a_deleted_branch_halt() {
    let world = World::new();
    let mut mirror = world.mirror();
    assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "empty-repository");
    world.commit("other", &[("a", Some("1"))]);
    assert_eq!(mirror.fetch(&[]).unwrap_err(), RepoError::NoSuchBranch { branch: "main".into() });
    let head = world.commit("main", &[("a", Some("1"))]);
    mirror.fetch(&[]).unwrap();
    world.delete_branch("main");
    assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "no-such-branch");
    assert_eq!(mirror.history().resolve_branch("main"), Ok(head));
}

#[test]
fn while_it_cannot_be_rebuilt_everything_is_unknown() {
    let world = World::new();
    let head = big(&world);
    world.mirror().fetch(&[]).unwrap();
    let pack = packs(&world.mirror_path()).pop().unwrap();
    writable(&pack).set_len(100).unwrap();
    fs::rename(world.source_path(), world.path("away")).unwrap();
    let mut mirror = world.mirror();
    for _ in 0..2 {
        assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "corrupt");
        assert_eq!(mirror.history().tree(head).map(|_| ()).unwrap_err().label(), "corrupt");
    }
    fs::rename(world.path("away"), world.source_path()).unwrap();
    assert!(mirror.fetch(&[]).unwrap().rebuilt.is_some());
    assert!(mirror.history().tree(head).is_ok());
}

#[test]
fn a_rebuild_keeps_commits_that_the_source_has_no_more() {
    let world = World::new();
    let old = world.commit("main", &[("a", Some("old"))]);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    world.delete_branch("main");
    big(&world);
    mirror.fetch(&[]).unwrap();
    drop(mirror);
    // Nothing names the old commit at the source, and a garbage collection has been.
    let id = old.to_string();
    fs::remove_file(world.source_path().join("objects").join(&id[..2]).join(&id[2..])).unwrap();
    let pack = packs(&world.mirror_path()).pop().unwrap();
    writable(&pack).set_len(100).unwrap();
    let mut mirror = world.mirror();
    assert!(mirror.fetch(&[]).unwrap().rebuilt.is_some());
    assert_eq!(&*mirror.history().tree(old).unwrap().read("a").unwrap().unwrap(), b"old");
}

#[test]
fn locks_and_half_packs_of_a_killed_fetch_heal_within_a_cycle() {
    let world = World::new();
    world.commit("main", &[("a", Some("1"))]);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    let head = world.commit("main", &[("a", Some("2"))]);
    let leftovers = [
        "refs/heads/main.lock",
        "packed-refs.lock",
        "HEAD.lock",
        "config.lock",
        "objects/pack/tmp_pack_x1",
        "objects/pack/pack_git2_ab12",
    ];
    for left in leftovers {
        fs::write(world.mirror_path().join(left), b"").unwrap();
    }
    assert_eq!(mirror.fetch(&[]).unwrap().head, head);
    for left in leftovers {
        assert!(!world.mirror_path().join(left).exists(), "{left}");
    }
    // And at a start, before anything is read.
    drop(mirror);
    fs::write(world.mirror_path().join("config.lock"), b"").unwrap();
    let head = world.commit("main", &[("a", Some("3"))]);
    assert_eq!(world.mirror().fetch(&[]).unwrap().head, head);
}

#[test]
fn killed_between_the_renames_of_a_rebuild() {
    let world = World::new();
    let head = world.commit("main", &[("a", Some("1"))]);
    world.mirror().fetch(&[]).unwrap();
    let (mirror, old, new) = (world.mirror_path(), world.path("mirror.old"), world.path("mirror.new"));
    // After the first rename: the new one is complete, the old one is aside.
    fs::rename(&mirror, &new).unwrap();
    fs::create_dir(&old).unwrap();
    assert_eq!(world.mirror().head(), Some(head));
    // Before it: the new one may be anything, the old one counts.
    fs::create_dir(&new).unwrap();
    assert_eq!(world.mirror().head(), Some(head));
    assert!(!old.exists() && !new.exists());
}

#[test]
fn a_mirror_beyond_opening_is_made_anew() {
    let world = World::new();
    let head = world.commit("main", &[("a", Some("1"))]);
    world.mirror().fetch(&[]).unwrap();
    fs::write(world.mirror_path().join("HEAD"), b"").unwrap();
    fs::remove_dir_all(world.mirror_path().join("refs")).unwrap();
    let mut mirror = world.mirror();
    assert_eq!(mirror.fetch(&[]).unwrap().head, head);
    // A folder that Fairlead did not make is left alone.
    drop(mirror);
    let foreign = world.path("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("precious"), b"1").unwrap();
    assert!(super::Mirror::open(&world.settings(), &foreign).is_err());
    assert!(foreign.join("precious").exists());
}

#[test]
fn refs_a_then_a_b_and_back() {
    let world = World::new();
    let main = world.commit("main", &[("x", Some("1"))]);
    let mut mirror = world.mirror();
    let also = ["a".to_owned(), "a/b".to_owned()];
    world.set_branch("a", main);
    world.tag("t", main, false);
    mirror.fetch(&also).unwrap();
    world.delete_branch("a");
    world.set_branch("a/b", main);
    world.source.tag_delete("t").unwrap();
    world.tag("t/u", main, false);
    mirror.fetch(&also).unwrap();
    let history = mirror.history();
    assert_eq!((history.resolve_branch("a/b"), history.resolve_branch("a").is_err()), (Ok(main), true));
    assert_eq!(history.tags().unwrap().iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), ["t/u"]);
    world.delete_branch("a/b");
    world.set_branch("a", main);
    mirror.fetch(&also).unwrap();
    assert_eq!((history.resolve_branch("a"), history.resolve_branch("a/b").is_err()), (Ok(main), true));
}

#[test]
fn a_moved_tag_is_told_and_its_old_commit_stays() {
    let world = World::new();
    let first = world.commit("main", &[("x", Some("1"))]);
    world.set_branch("side", first);
    let side = world.commit("side", &[("x", Some("side"))]);
    world.tag("v1.0.0", side, true);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    world.tag("v1.0.0", first, true);
    let changed = mirror.fetch(&[]).unwrap().changed;
    assert_eq!(
        changed.iter().map(|c| (c.name.as_str(), c.old, c.new)).collect::<Vec<_>>(),
        [("v1.0.0", Some(side), Some(first))]
    );
    assert!(mirror.history().tree(side).unwrap().read("x").unwrap().is_some());
}

#[test]
fn a_source_beyond_the_limit_is_refused_before_it_is_copied() {
    let world = World::new();
    world.commit("main", &[("a", Some(&"x".repeat(10_000)))]);
    let mut settings = world.settings();
    settings.limits.bytes = 5_000;
    let mut mirror = super::Mirror::open(&settings, &world.mirror_path()).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "too-large");
    assert!(packs(&world.mirror_path()).is_empty());
}

#[test]
fn a_damaged_source_is_named_and_the_last_good_stays() {
    let world = World::new();
    let head = world.commit("main", &[("a", Some("1"))]);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    world.commit("main", &[("a", Some("2"))]);
    let blob = world.blob(b"2").to_string();
    let file = world.source_path().join("objects").join(&blob[..2]).join(&blob[2..]);
    fs::remove_file(&file).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "source-corrupt");
    assert_eq!(mirror.head(), Some(head));
    // Other bytes under its name are found out too.
    let other = world.blob(b"other").to_string();
    fs::copy(world.source_path().join("objects").join(&other[..2]).join(&other[2..]), &file).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "source-corrupt");
    assert_eq!(mirror.head(), Some(head));
}

#[test]
fn a_shallow_source_is_refused_with_what_to_do() {
    let world = World::new();
    world.commit("main", &[("a", Some("1"))]);
    let head = world.commit("main", &[("a", Some("2"))]);
    fs::write(world.source_path().join("shallow"), format!("{head}\n")).unwrap();
    let error = world.mirror().fetch(&[]).unwrap_err();
    assert_eq!(error.label(), "shallow");
    assert!(error.to_string().contains("--unshallow"));
}

#[test]
fn many_small_fetches_end_in_one_pack_and_lose_nothing() {
    let world = World::new();
    let old = world.commit("main", &[("a", Some("rewritten"))]);
    world.tag("v1.0.0", old, true);
    let mut mirror = world.mirror();
    mirror.fetch(&[]).unwrap();
    world.delete_branch("main");
    let mut heads = vec![];
    for n in 0..3 {
        heads.push(world.commit("main", &[("a", Some(&format!("{n}")))]));
        mirror.fetch(&[]).unwrap();
    }
    let tree = mirror.history().tree(heads[0]).unwrap();
    // The count of one folder of objects stands for all 256.
    for n in 0..30 {
        let folder = world.mirror_path().join("objects/17");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{n:038x}")), b"").unwrap();
    }
    mirror.fetch(&[]).unwrap();
    assert_eq!(packs(&world.mirror_path()).len(), 1);
    assert!(!world.mirror_path().join("objects/17").exists());
    assert!(tree.read("a").unwrap().is_some());
    heads.push(world.commit("main", &[("a", Some("last"))]));
    mirror.fetch(&[]).unwrap();
    for head in heads.into_iter().chain([old]) {
        assert!(mirror.history().tree(head).unwrap().read("a").unwrap().is_some());
    }
    assert_eq!(mirror.history().tags().unwrap().len(), 1);
    drop(mirror);
    assert_eq!(world.mirror().fetch(&[]).unwrap().rebuilt, None);
}

const LIMITED: &str = "FAIRLEAD_TEST_LIMITED_DIR";

#[test]
fn a_full_disk_keeps_the_last_good_and_resumes() {
    let world = World::new();
    let first = world.commit("main", &[("a", Some("1"))]);
    world.mirror().fetch(&[]).unwrap();
    // Bytes that don't compress, in one file that is too large for what the child may write.
    let mut random = fastrand::Rng::with_seed(9);
    let text: String = std::iter::repeat_with(|| random.alphanumeric()).take(400_000).collect();
    let second = world.commit("main", &[("big", Some(&text))]);
    // A limit on file sizes stands for a disk that is full: a disk of a chosen size takes root to make.
    let child = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" --ignored --exact --nocapture \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("repo::tests::faults::in_a_process_that_may_write_little")
        .env(LIMITED, world.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    let mut mirror = world.mirror();
    assert_eq!(mirror.head(), Some(first));
    let fetched = mirror.fetch(&[]).unwrap();
    assert_eq!((fetched.head, fetched.rebuilt), (second, None));
    assert_eq!(mirror.history().tree(second).unwrap().read("big").unwrap().unwrap().len(), text.len());
}

#[test]
#[ignore = "a part of a_full_disk_keeps_the_last_good_and_resumes, in a process of its own"]
fn in_a_process_that_may_write_little() {
    let dir = std::path::PathBuf::from(std::env::var_os(LIMITED).unwrap());
    let url = dir.join("source.git").to_str().unwrap().parse().unwrap();
    let mut mirror =
        super::Mirror::open(&super::MirrorSettings::new(url, "main"), &dir.join("mirror")).unwrap();
    let first = mirror.head().unwrap();
    let error = mirror.fetch(&[]).unwrap_err();
    assert_eq!(error.label(), "disk-full", "{error}");
    assert_eq!(mirror.head(), Some(first));
    assert!(mirror.history().tree(first).unwrap().read("a").unwrap().is_some());
}

#[test]
fn what_nothing_reads_is_left_out_and_named_when_asked_for() {
    let world = World::new();
    let huge = "x".repeat(usize::try_from(super::super::MAX_FILE).unwrap() + 1);
    world.commit("main", &[("assets/disk.img", Some(&huge)), ("clusters/a.yaml", Some("a: 1\n"))]);
    world.commit("main", &[("assets/disk.img", None)]);
    let head = world.commit("main", &[("assets/other.img", Some(&huge.replace('x', "y")))]);
    let mut settings = world.settings();
    // Neither counts.
    settings.limits.bytes = 100_000;
    let mut mirror = super::Mirror::open(&settings, &world.mirror_path()).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap().head, head);
    let tree = mirror.history().tree(head).unwrap();
    assert!(tree.read("clusters/a.yaml").unwrap().is_some());
    let refused = tree.read("assets/other.img").unwrap_err();
    assert!(
        matches!(&refused, TreeError::Refused { path, reason } if path == "assets/other.img" && reason.contains("8388609")),
        "{refused:?}"
    );
    drop(mirror);
    // Neither at the next start, nor when it is packed anew.
    let mut mirror = super::Mirror::open(&settings, &world.mirror_path()).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap().rebuilt, None);
    let store = &mirror.history().store;
    let repo = git2::Repository::open_bare(world.mirror_path()).unwrap();
    super::super::maintain::repack(&repo, store).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap().rebuilt, None);
    assert!(mirror.history().tree(head).unwrap().read("clusters/a.yaml").unwrap().is_some());
    assert_eq!(packs(&world.mirror_path()).len(), 1);
}

#[test]
fn commits_and_tags_that_libgit2_can_not_parse_stop_nothing() {
    let world = World::new();
    let first = world.commit("main", &[("a", Some("1"))]);
    let tree = world.source.find_commit(git2::Oid::from_bytes(first.as_bytes()).unwrap()).unwrap().tree_id();
    let odb = world.source.odb().unwrap();
    let text = format!("tree {tree}\nparent {first}\nauthor Nobody\ncommitter \n\nimported\n");
    let odd = odb.write(git2::ObjectType::Commit, text.as_bytes()).unwrap();
    world.source.reference("refs/heads/main", odd, true, "test").unwrap();
    let odd = super::commit_of(odd);
    let head = world.commit_tree("refs/heads/next", tree, &[git2::Oid::from_bytes(odd.as_bytes()).unwrap()]);
    let text = format!("object {head}\ntype commit\ntag v1.0.0\ntagger \n\n");
    let tag = odb.write(git2::ObjectType::Tag, text.as_bytes()).unwrap();
    world.source.reference("refs/tags/v1.0.0", tag, true, "test").unwrap();
    let mut mirror = world.mirror();
    let fetched = mirror.fetch(&["next".into()]).unwrap();
    assert_eq!((fetched.head, fetched.rebuilt), (odd, None));
    let history = mirror.history();
    assert_eq!(history.resolve_branch("next"), Ok(head));
    assert_eq!(history.tags().unwrap().iter().map(|tag| tag.commit).collect::<Vec<_>>(), [head]);
    assert!(history.tree(odd).unwrap().read("a").unwrap().is_some());
    assert_eq!(history.is_ancestor(first, head), Ok(true));
    assert_eq!(history.commit_info(odd).unwrap().summary, "imported");
    assert_eq!(mirror.fetch(&[]).unwrap().rebuilt, None);
}

#[test]
fn a_panic_fails_the_work_that_it_came_from() {
    let error =
        super::super::guarded("fetch", || -> Result<(), RepoError> { panic!("a name\u{7} that is none") });
    let error = error.unwrap_err();
    assert_eq!(error.label(), "fault");
    assert!(error.to_string().contains("a name that is none"), "{error}");
}

//! Rendered layers and releases on disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fairlead_core::catalog::{Catalog, Folders};
use fairlead_core::model::release::Release;
use fairlead_core::model::tree::{Entry, MemoryTree, Tree, TreeError};
use fairlead_core::release::render::DiskCache;
use fairlead_core::release::{LayerCache, ProfileAt, Request, compile};

const DOCUMENTS: [(&str, &str); 4] = [
    (
        "profiles/p/profile.yaml",
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterProfile\nmetadata: {name: p}\nspec:\n  version: 1.0.0\n  variables: {type: object, properties: {n: {type: integer}}}\n  layers:\n  - {name: fixed, type: cni, manifests: {path: fixed}}\n  - {name: open, type: addon, manifests: {path: open}}\n",
    ),
    ("profiles/p/fixed/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fixed}\n"),
    (
        "profiles/p/open/b.yaml",
        "# first\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: open}\ndata: {n: '<${{ var.n }}>'}\n",
    ),
    (
        "fleets/f.yaml",
        "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec: {clusters: {}, profiles: [{name: p}]}\n",
    ),
];

/// A repository whose layers' files are counted as they are read.
struct Repository {
    tree: MemoryTree,
    reads: AtomicUsize,
}

impl Repository {
    fn new() -> Self {
        Self { tree: MemoryTree::new(DOCUMENTS), reads: AtomicUsize::new(0) }
    }

    fn with(mut self, path: &str, content: &str) -> Self {
        self.tree = self.tree.with(path, content);
        self
    }

    /// The release of a target whose variable `n` is this, and how many of the layers' files were read for it.
    fn release(&self, n: u32, cache: &LayerCache) -> (Release, usize) {
        let target = format!(
            "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {{name: t{n}}}\nspec: {{variables: {{n: {n}}}}}\n"
        );
        let documents =
            Catalog::read(&self.tree.clone().with("clusters/t.yaml", target), &Folders::default());
        assert_eq!(documents.diagnostics(), []);
        let target = documents.targets().next().unwrap();
        let profile = ProfileAt { profile: documents.profiles().next().unwrap(), tree: self };
        let fleet = documents.fleets().next().unwrap();
        self.reads.store(0, Ordering::Relaxed);
        let release = compile(Request { fleet, target, profiles: &[profile] }, cache).unwrap();
        (release, self.reads.load(Ordering::Relaxed))
    }
}

impl Tree for Repository {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        self.tree.entry(path)
    }
    fn list(&self, folder: &str) -> Result<Option<Vec<Result<Entry, TreeError>>>, TreeError> {
        self.tree.list(folder)
    }
    fn read(&self, file: &str) -> Result<Option<Arc<[u8]>>, TreeError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.tree.read(file)
    }
}

fn open(folder: &Path, limit: u64) -> (DiskCache, LayerCache) {
    let disk = DiskCache::open(folder, limit).unwrap();
    (disk.clone(), LayerCache::new(Some(Box::new(disk))))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let inside = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = inside(folder.to_owned()).flat_map(inside).collect();
    files.sort();
    files
}

#[test]
fn a_restart_renders_nothing_again() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::new();
    let (first, reads) = repository.release(1, &open(folder.path(), u64::MAX).1);
    assert_eq!(reads, 2);
    let (second, reads) = repository.release(1, &open(folder.path(), u64::MAX).1);
    assert_eq!((&first, reads), (&second, 0));
    assert_eq!(second.layers[1].content.objects[0].place.to_string(), "profiles/p/open/b.yaml:2:1");
    // Another value needs just the layer that reads it.
    let (third, reads) = repository.release(2, &open(folder.path(), u64::MAX).1);
    assert_eq!((third.digest == first.digest, reads), (false, 1));
}

#[test]
fn layers_with_equal_bytes_keep_their_own_places() {
    let folder = tempfile::tempdir().unwrap();
    Repository::new().release(1, &open(folder.path(), u64::MAX).1);
    let moved = Repository::new().with(
        "profiles/p/fixed/a.yaml",
        "\n\n# moved\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: fixed}\n",
    );
    let (first, _) = moved.release(1, &open(folder.path(), u64::MAX).1);
    let (again, reads) = moved.release(1, &open(folder.path(), u64::MAX).1);
    assert_eq!((&first, reads), (&again, 0));
    assert_eq!(again.layers[0].content.objects[0].place.line, 4);
    assert_eq!(fs::read_dir(folder.path().join("layers")).unwrap().count(), 2);
}

#[test]
fn any_damage_means_rendered_anew() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::new();
    let (disk, cache) = open(folder.path(), u64::MAX);
    let (release, _) = repository.release(1, &cache);
    disk.keep_release(&release).unwrap();
    for file in files(folder.path()) {
        let bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        let mut flipped = bytes.clone();
        flipped[middle] ^= 1;
        for damage in [&bytes[..middle], b"", &bytes[1..], &flipped, &[bytes.as_slice(), b"x"].concat()] {
            fs::write(&file, damage).unwrap();
            let (disk, cache) = open(folder.path(), u64::MAX);
            let found = disk.release(release.digest, &release.target, &release.fleet);
            assert!(found.is_none_or(|found| found == release), "{file:?}");
            assert_eq!(repository.release(1, &cache).0, release, "{file:?}");
            disk.keep_release(&release).unwrap();
            let found = disk.release(release.digest, &release.target, &release.fleet);
            assert_eq!(found.as_ref(), Some(&release), "{file:?}");
        }
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_release_is_had_again_without_its_repository() {
    let folder = tempfile::tempdir().unwrap();
    let (release, _) = Repository::new().release(1, &LayerCache::default());
    let disk = DiskCache::open(folder.path(), u64::MAX).unwrap();
    assert_eq!(disk.release(release.digest, &release.target, &release.fleet), None);
    disk.keep_release(&release).unwrap();
    let disk = DiskCache::open(folder.path(), u64::MAX).unwrap();
    assert_eq!(disk.release(release.digest, &release.target, &release.fleet), Some(release.clone()));
    // The digest names no target: another one gets the same content.
    let other = disk.release(release.digest, &"other".parse().unwrap(), &release.fleet).unwrap();
    assert_eq!((other.target.as_str(), other.layers), ("other", release.layers));
}

#[test]
fn sweeping_takes_the_oldest_and_never_what_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::new();
    let (disk, cache) = open(folder.path(), 0);
    let releases: Vec<Release> = (1..=4).map(|n| repository.release(n, &cache).0).collect();
    releases.iter().for_each(|release| disk.keep_release(release).unwrap());
    let get = |release: &Release| disk.release(release.digest, &release.target, &release.fleet);
    let pinned = BTreeSet::from([releases[0].digest, releases[2].digest]);
    let swept = disk.retain(&pinned).unwrap();
    assert!(swept.removed > 0);
    assert_eq!(releases.iter().map(|r| get(r).is_some()).collect::<Vec<_>>(), [true, false, true, false]);
    // Two releases, and three layers: the fixed one is shared.
    assert_eq!(files(folder.path()).len(), 5);
    let left: u64 = files(folder.path()).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    assert_eq!(swept.bytes, left);
    // Within the limit nothing goes.
    let disk = DiskCache::open(folder.path(), left).unwrap();
    assert_eq!(disk.retain(&BTreeSet::new()).unwrap().removed, 0);
}

#[test]
fn half_written_files_go_at_the_start_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (disk, cache) = open(folder.path(), u64::MAX);
    disk.keep_release(&Repository::new().release(1, &cache).0).unwrap();
    let half = folder.path().join("layers/.7");
    fs::write(&half, "half").unwrap();
    DiskCache::open(folder.path(), u64::MAX).unwrap();
    assert!(!half.exists());
    for file in files(folder.path()) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_disk_that_takes_nothing_costs_only_time() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, cache) = open(folder.path(), u64::MAX);
    for name in ["layers", "inputs", "files", "releases"] {
        fs::remove_dir(folder.path().join(name)).unwrap();
        // A file where the folder was: nothing can be written below it, not even by root.
        fs::write(folder.path().join(name), "").unwrap();
    }
    let (release, _) = Repository::new().release(1, &cache);
    assert_eq!(release, Repository::new().release(1, &LayerCache::default()).0);
    assert!(disk.keep_release(&release).is_err());
    assert!(disk.retain(&BTreeSet::new()).is_err());
}

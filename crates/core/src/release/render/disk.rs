//! The folder: `layers/<layer digest>`, `inputs/<input digest>` (which layer, and where its objects are
//! written), `files/<digest>` (what a layer's files refer to) and `releases/<release digest>`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec;
use crate::model::digest::{InputDigest, LayerDigest, ReleaseDigest};
use crate::model::name::{FleetName, TargetName};
use crate::model::profile::LayerType;
use crate::model::release::{LayerId, Release, ReleaseLayer, RenderedLayer};
use crate::release::canonical::release_digest;
use crate::release::{LayerStore, References};

/// Why something could not be kept or swept. What can't be *found* is no error: see [`DiskCache::release`].
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("cannot {doing} {path}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot write the release {digest} as JSON")]
    Json { digest: ReleaseDigest, source: serde_json::Error },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::Io { doing, path, source }
}

/// What [`DiskCache::retain`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub removed: usize,
    /// Bytes that are left.
    pub bytes: u64,
}

const FOLDERS: [&str; 4] = ["layers", "inputs", "files", "releases"];

/// Layers and releases on disk. Files are readable by their owner only: manifests may hold Secrets.
#[derive(Debug, Clone)]
pub struct DiskCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// Bytes that [`DiskCache::retain`] shrinks to, pinned releases apart.
    limit: u64,
    /// Held while files are written or dropped, so that a sweep does not take what a release is about to name.
    writing: Mutex<Known>,
    temporary: AtomicU64,
}

/// The layers that this process wrote, or read in full; and whether each is on the disk for sure, or may still be in
/// the system's memory.
type Known = BTreeMap<LayerDigest, bool>;

/// How many layers are remembered; after that, files are read again.
const KNOWN: usize = 20_000;
/// So many files are brought to the disk one by one; more by telling the system to write all of it, for each takes
/// the disk a few milliseconds.
const ONE_BY_ONE: usize = 12;

#[derive(Serialize, Deserialize)]
struct LayerRecord {
    id: LayerId,
    #[serde(rename = "type")]
    layer_type: LayerType,
    depends_on: Vec<LayerId>,
    adopt: bool,
    layer: LayerDigest,
}

#[derive(Serialize, Deserialize)]
struct InputRecord {
    layer: LayerDigest,
    places: codec::Places,
}

impl DiskCache {
    /// Opens or makes the folder, and removes what an end in the middle of a write has left.
    ///
    /// # Errors
    /// The folder can't be made or read.
    pub fn open(folder: impl Into<PathBuf>, limit: u64) -> Result<Self, DiskError> {
        let folder = folder.into();
        for name in FOLDERS {
            let path = folder.join(name);
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&path).map_err(failed("create", &path))?;
            for entry in fs::read_dir(&path).map_err(failed("list", &path))? {
                let entry = entry.map_err(failed("list", &path))?;
                if entry.file_name().to_string_lossy().starts_with('.') {
                    fs::remove_file(entry.path()).map_err(failed("remove", &entry.path()))?;
                }
            }
        }
        let inner = Inner { folder, limit, writing: Mutex::default(), temporary: AtomicU64::new(0) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Keeps a release, so that it can be had again though its renderer has changed or Git can't be reached.
    /// Once this returns it is on the disk, not only in the system's memory.
    ///
    /// # Errors
    /// It could not be written in full; then it is not there at all, or was there before.
    pub fn keep_release(&self, release: &Release) -> Result<(), DiskError> {
        self.keep_releases(std::iter::once(release))
    }

    /// Keeps several: the disk is waited for once, not for each.
    ///
    /// # Errors
    /// The first that could not be written; the others are kept.
    pub fn keep_releases<'a>(&self, releases: impl Iterator<Item = &'a Release>) -> Result<(), DiskError> {
        let (mut unsynced, mut failure) = (Unsynced::default(), None);
        for release in releases {
            // Not held for all: compilers wait for it.
            if let Err(error) = self.put_release(release, &mut unsynced) {
                failure.get_or_insert(error);
            }
        }
        self.sync(&unsynced)?;
        let mut known = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in unsynced.layers {
            known.entry(layer).and_modify(|synced| *synced = true);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Writes what is missing of a release, and notes what the disk may not have yet.
    fn put_release(&self, release: &Release, unsynced: &mut Unsynced) -> Result<(), DiskError> {
        let mut known = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let json = |source| DiskError::Json { digest: release.digest, source };
        let mut records = Vec::new();
        for layer in &release.layers {
            let digest = layer.content.digest;
            if !self.has(&known, digest) {
                self.write(&self.path("layers", digest), &codec::encode(&layer.content).map_err(json)?)?;
                known.remove(&digest);
            }
            // Another write of it may still be in the system's memory.
            if !know(&mut known, digest) {
                unsynced.layers.insert(digest);
            }
            records.push(LayerRecord {
                id: layer.id.clone(),
                layer_type: layer.layer_type,
                depends_on: layer.depends_on.clone(),
                adopt: layer.adopt,
                layer: digest,
            });
        }
        let path = self.path("releases", release.digest);
        let mut bytes = serde_json::to_vec(&records).map_err(json)?;
        codec::seal(&mut bytes);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        self.write(&path, &bytes)?;
        unsynced.releases.push(path);
        Ok(())
    }

    fn sync(&self, unsynced: &Unsynced) -> Result<(), DiskError> {
        if unsynced.layers.is_empty() && unsynced.releases.is_empty() {
            return Ok(());
        }
        let folder = &self.inner.folder;
        #[cfg(target_os = "linux")]
        if unsynced.layers.len() + unsynced.releases.len() > ONE_BY_ONE {
            let all = |folder: File| Ok(rustix::fs::syncfs(folder)?);
            return File::open(folder).and_then(all).map_err(failed("sync", folder));
        }
        let one =
            |path: PathBuf| File::open(&path).and_then(|file| file.sync_all()).map_err(failed("sync", &path));
        let layers = unsynced.layers.iter().map(|layer| self.path("layers", layer));
        let folders = ["layers", "releases"].iter().map(|name| folder.join(name));
        layers.chain(unsynced.releases.iter().cloned()).chain(folders).try_for_each(one)
    }

    /// A release by its digest; none if it, or a layer of it, is not there or damaged.
    pub fn release(&self, digest: ReleaseDigest, target: &TargetName, fleet: &FleetName) -> Option<Release> {
        let records: Vec<LayerRecord> = self.read_json(&self.path("releases", digest))?;
        let layers: Option<Vec<_>> = records
            .into_iter()
            .map(|record| {
                Some(ReleaseLayer {
                    id: record.id,
                    layer_type: record.layer_type,
                    depends_on: record.depends_on,
                    adopt: record.adopt,
                    content: Arc::new(self.read_layer(record.layer)?),
                })
            })
            .collect();
        let layers = layers?;
        let right = release_digest(&layers) == digest;
        right.then_some(Release { target: target.clone(), fleet: fleet.clone(), digest, layers })
    }

    /// Drops what was written longest ago until the limit is kept; never a pinned release (one that is
    /// assigned, a base, or in a history) or a layer of one.
    ///
    /// # Errors
    /// The folder can't be read or a file not be removed. When it is unknown what a pinned release needs,
    /// nothing is dropped.
    pub fn retain(&self, pinned: &BTreeSet<ReleaseDigest>) -> Result<Swept, DiskError> {
        let mut writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut needed: BTreeSet<LayerDigest> = BTreeSet::new();
        for release in pinned {
            let path = self.path("releases", release);
            match fs::read(&path) {
                Ok(bytes) => {
                    let records: Option<Vec<LayerRecord>> = parse(&bytes);
                    needed.extend(records.unwrap_or_default().into_iter().map(|record| record.layer));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("read", &path)(error)),
            }
        }
        let mut files: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        let mut bytes = 0;
        for name in FOLDERS {
            let folder = self.inner.folder.join(name);
            for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
                let entry = entry.map_err(failed("list", &folder))?;
                let metadata = entry.metadata().map_err(failed("read", &entry.path()))?;
                bytes += metadata.len();
                if !is_kept(name, &entry.file_name().to_string_lossy(), &needed, pinned) {
                    let written = metadata.modified().map_err(failed("read", &entry.path()))?;
                    files.push((written, entry.path(), metadata.len()));
                }
            }
        }
        files.sort();
        let mut swept = Swept { removed: 0, bytes };
        for (_, path, length) in files {
            if swept.bytes <= self.inner.limit {
                break;
            }
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            writing.clear();
            swept.removed += 1;
            swept.bytes -= length;
        }
        Ok(swept)
    }

    fn path(&self, folder: &str, digest: impl ToString) -> PathBuf {
        self.inner.folder.join(folder).join(digest.to_string())
    }

    /// Whether a layer is there in full. Once that is known, the file is not read again.
    fn has(&self, known: &Known, digest: LayerDigest) -> bool {
        match known.contains_key(&digest) {
            true => self.path("layers", digest).exists(),
            false => self.read_layer(digest).is_some(),
        }
    }

    fn read_layer(&self, digest: LayerDigest) -> Option<RenderedLayer> {
        let bytes = fs::read(self.path("layers", digest)).ok()?;
        codec::decode(Bytes::from(bytes)).filter(|layer| layer.digest == digest)
    }

    fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        parse(&fs::read(path).ok()?)
    }

    /// Writes a file whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let number = self.inner.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_file_name(format!(".{number}"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&temporary).and_then(|mut file| file.write_all(bytes));
        let renamed = written.and_then(|()| fs::rename(&temporary, path));
        renamed.map_err(|error| {
            // It is removed at the next start if that fails too.
            let _ = fs::remove_file(&temporary);
            failed("write", path)(error)
        })
    }

    /// For what can be computed again: a failure is said, and costs time later.
    fn try_write_json(&self, path: &Path, value: &impl Serialize) {
        let Ok(mut bytes) = serde_json::to_vec(value) else { return };
        codec::seal(&mut bytes);
        self.try_write(path, &bytes);
    }

    fn try_write(&self, path: &Path, bytes: &[u8]) -> bool {
        let written = self.write(path, bytes);
        if let Err(error) = &written {
            let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, source, "a rendered layer is not kept on disk");
        }
        written.is_ok()
    }
}

/// What may still be in the system's memory only.
#[derive(Default)]
struct Unsynced {
    layers: BTreeSet<LayerDigest>,
    releases: Vec<PathBuf>,
}

/// Remembers a layer; whether it is on the disk for sure.
fn know(known: &mut Known, layer: LayerDigest) -> bool {
    if known.len() >= KNOWN {
        known.clear();
    }
    *known.entry(layer).or_insert(false)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(codec::unseal(bytes)?).ok()
}

fn is_kept(
    folder: &str,
    name: &str,
    layers: &BTreeSet<LayerDigest>,
    releases: &BTreeSet<ReleaseDigest>,
) -> bool {
    match folder {
        "layers" => LayerDigest::from_str(name).is_ok_and(|digest| layers.contains(&digest)),
        "releases" => ReleaseDigest::from_str(name).is_ok_and(|digest| releases.contains(&digest)),
        _ => false,
    }
}

impl LayerStore for DiskCache {
    fn layer(&self, inputs: &InputDigest) -> Option<RenderedLayer> {
        let record: InputRecord = self.read_json(&self.path("inputs", inputs))?;
        let mut layer = self.read_layer(record.layer)?;
        record.places.put(&mut layer)?;
        Some(layer)
    }

    fn keep_layer(&self, inputs: &InputDigest, layer: &RenderedLayer) {
        let mut writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path("layers", layer.digest);
        if !self.has(&writing, layer.digest) {
            let Ok(bytes) = codec::encode(layer) else { return };
            if !self.try_write(&path, &bytes) {
                return;
            }
        }
        know(&mut writing, layer.digest);
        self.try_write_json(
            &self.path("inputs", inputs),
            &InputRecord { layer: layer.digest, places: codec::Places::of(layer) },
        );
    }

    fn references(&self, files: &InputDigest) -> Option<References> {
        self.read_json(&self.path("files", files))
    }

    fn keep_references(&self, files: &InputDigest, references: &References) {
        let _writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.try_write_json(&self.path("files", files), references);
    }
}

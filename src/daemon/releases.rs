//! Where workers get releases from: compiled on the spot, or, where that gives other bytes than were assigned
//! (another renderer, a repository that can't be read), from the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tracing::warn;

use super::library::{CompileError, Library};
use fairlead_cluster::{ReleaseMissing, ReleaseSource};
use fairlead_core::model::assignment::Assignment;
use fairlead_core::model::digest::ReleaseDigest;
use fairlead_core::model::release::Release;
use fairlead_core::release::render::DiskCache;

pub struct Releases {
    library: Arc<Library>,
    disk: DiskCache,
    keeper: Arc<Keeper>,
    /// Compiling is work for processors: more at a time than there are would only take memory.
    places: Arc<Semaphore>,
}

/// Keeps releases on disk beside the work, those that came meanwhile together.
#[derive(Default)]
struct Keeper {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    releases: BTreeMap<ReleaseDigest, Arc<Release>>,
    /// A writer is running and re-checks the queue before exiting.
    running: bool,
}

impl Keeper {
    /// Keeps it soon: until it is on disk, the repository still has it.
    fn keep(self: &Arc<Self>, release: Arc<Release>, disk: &DiskCache) {
        let mut waiting = self.lock();
        waiting.releases.insert(release.digest, release);
        if !std::mem::replace(&mut waiting.running, true) {
            let (keeper, disk) = (Arc::clone(self), disk.clone());
            tokio::task::spawn_blocking(move || keeper.work(&disk));
        }
    }

    fn work(&self, disk: &DiskCache) {
        loop {
            let mut waiting = self.lock();
            let releases = std::mem::take(&mut waiting.releases);
            waiting.running = !releases.is_empty();
            drop(waiting);
            if releases.is_empty() {
                return;
            }
            if let Err(error) = disk.keep_releases(releases.values().map(|release| &**release)) {
                warn!(error = super::chain(&error), "a release could not be kept on disk");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Releases {
    pub fn new(library: Arc<Library>, disk: DiskCache) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let places = Arc::new(Semaphore::new(cores));
        Self { library, disk, keeper: Arc::default(), places }
    }

    /// Drops what the disk holds beyond its limit; never a release in `kept`.
    pub fn sweep(&self, kept: &BTreeSet<ReleaseDigest>) {
        if let Err(error) = self.disk.retain(kept) {
            warn!(error = super::chain(&error), "the cache of releases could not be swept");
        }
    }
}

fn find(
    library: &Library,
    disk: &DiskCache,
    assignment: &Assignment,
) -> Result<Arc<Release>, ReleaseMissing> {
    let Assignment { target, fleet, release: wanted, .. } = assignment;
    let compiled = library.compile(fleet, target, &wanted.revisions);
    let (message, temporary) = match compiled {
        Ok(release) if release.digest == wanted.digest => {
            return Ok(Arc::new(release));
        }
        Ok(release) => {
            let (commit, found) = (wanted.revisions.control.commit.short(), release.digest.short());
            (format!("{commit} renders {found} by now, and {} is not on disk", wanted.digest.short()), false)
        }
        Err(CompileError::Repository(error)) => (super::chain(&error), true),
        Err(error) => (error.to_string(), false),
    };
    match disk.release(wanted.digest, target, fleet) {
        Some(release) => Ok(Arc::new(release)),
        None => Err(ReleaseMissing { message, temporary }),
    }
}

impl ReleaseSource for Releases {
    fn get(&self, assignment: &Assignment) -> BoxFuture<'static, Result<Arc<Release>, ReleaseMissing>> {
        let (library, disk, assignment) = (self.library.clone(), self.disk.clone(), assignment.clone());
        let (keeper, places) = (self.keeper.clone(), self.places.clone());
        Box::pin(async move {
            // It is never closed.
            let place = places.acquire_owned().await.ok();
            let keep = disk.clone();
            let found = tokio::task::spawn_blocking(move || {
                let _place = place;
                find(&library, &disk, &assignment)
            });
            let found = found
                .await
                .unwrap_or_else(|error| Err(ReleaseMissing { message: error.to_string(), temporary: true }));
            if let Ok(release) = &found {
                keeper.keep(release.clone(), &keep);
            }
            found
        })
    }
}

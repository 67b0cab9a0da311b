//! Where workers get releases from: compiled on the spot, or, where that gives other bytes than were assigned
//! (another renderer, a repository that can't be read), from the disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use tracing::warn;

use super::library::{CompileError, Library};
use crate::cluster::{ReleaseMissing, ReleaseSource};
use crate::model::assignment::Assignment;
use crate::model::digest::ReleaseDigest;
use crate::model::release::Release;
use crate::release::render::DiskCache;

pub struct Releases {
    library: Arc<Library>,
    disk: DiskCache,
}

impl Releases {
    pub fn new(library: Arc<Library>, disk: DiskCache) -> Self {
        Self { library, disk }
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
        Box::pin(async move {
            let keep = disk.clone();
            let found = tokio::task::spawn_blocking(move || find(&library, &disk, &assignment)).await;
            let found = found
                .unwrap_or_else(|error| Err(ReleaseMissing { message: error.to_string(), temporary: true }));
            if let Ok(release) = &found {
                // Beside the work, not before it: until it is on disk the repository still has it.
                let release = release.clone();
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = keep.keep_release(&release) {
                        warn!(error = super::chain(&error), "a release could not be kept on disk");
                    }
                });
            }
            found
        })
    }
}

//! Fetching from a repository on this machine.
//!
//! Not by libgit2's local transport, which packs every branch and walks whole trees for each fetch; and not
//! by alternates, which would let a `git gc` in somebody's clone take away what a cluster's base needs. What
//! the mirror lacks is found by comparing tree ids, and copied. Children are written before what names them,
//! so that an object in the mirror always has everything below it, whenever the process is killed.

use std::collections::HashSet;
use std::io::Write;

use git2::{ObjectType, Odb, OdbLookupFlags, Oid, Repository};

use super::error::{RepoError, clean};
use super::folder::{SUBMODULE, raw_entries};
use super::loose;
use super::refs::{self, Refs};
use super::settings::FetchLimits;
use super::store::oid_of;
use super::url::RepositoryUrl;

/// From here on one pack is cheaper than single files.
const LOOSE_OBJECTS: usize = 500;
/// Largest object that is copied; forges refuse files from 100 MiB on.
pub(super) const MAX_OBJECT: u64 = 100 << 20;

/// The branches and tags of a local repository.
pub(super) fn list(source: &Repository, url: &RepositoryUrl) -> Result<Refs, RepoError> {
    if source.is_shallow() {
        return Err(RepoError::Shallow { url: url.clone() });
    }
    refs::read(source)
}

pub(super) struct Copy<'a> {
    pub source: &'a Repository,
    pub mirror: &'a Repository,
    pub url: &'a RepositoryUrl,
    pub limits: FetchLimits,
}

impl Copy<'_> {
    /// Brings everything below `tips` that the mirror lacks.
    pub(super) fn bring(&self, tips: impl IntoIterator<Item = Oid>) -> Result<(), RepoError> {
        let failed = |error: git2::Error| RepoError::disk("open the objects", &error);
        let (from, to) = (self.source.odb().map_err(failed)?, self.mirror.odb().map_err(failed)?);
        let mut search =
            Search { copy: self, from: &from, to: &to, seen: HashSet::new(), missing: Vec::new(), bytes: 0 };
        for tip in tips {
            search.tip(tip)?;
        }
        let missing = search.missing;
        if missing.len() <= LOOSE_OBJECTS {
            missing.into_iter().try_for_each(|id| self.copy_one(&from, &to, id))
        } else {
            self.copy_pack(&to, &missing)
        }
    }

    fn copy_one(&self, from: &Odb<'_>, to: &Odb<'_>, id: Oid) -> Result<(), RepoError> {
        let object = from.read(id).map_err(|error| self.damaged(id, &error))?;
        let written = to.write(object.kind(), object.data());
        let written = written.map_err(|error| RepoError::disk("write an object", &error))?;
        if written == id { Ok(()) } else { Err(self.corrupt(format!("object {id} has another hash"))) }
    }

    fn copy_pack(&self, to: &Odb<'_>, missing: &[Oid]) -> Result<(), RepoError> {
        let failed = |error: git2::Error| RepoError::disk("write a pack", &error);
        let mut builder = self.source.packbuilder().map_err(failed)?;
        for id in missing {
            builder.insert_object(*id, None).map_err(|error| self.damaged(*id, &error))?;
        }
        let mut writer = to.packwriter().map_err(failed)?;
        let mut broken = None;
        let built = builder.foreach(|chunk| match writer.write_all(chunk) {
            Ok(()) => true,
            Err(_) => {
                // The writer's own error says only that there was one.
                broken = Some(git2::Error::last_error(-1));
                false
            }
        });
        if let Some(error) = broken {
            return Err(failed(error));
        }
        built.map_err(|error| self.corrupt(clean(error.message())))?;
        writer.commit().map_err(failed)?;
        Ok(())
    }

    fn damaged(&self, id: Oid, error: &git2::Error) -> RepoError {
        match RepoError::damaged(&format!("object {id}"), error) {
            RepoError::Corrupt { what } => self.corrupt(what),
            other => other,
        }
    }

    fn corrupt(&self, what: String) -> RepoError {
        RepoError::SourceCorrupt { url: self.url.clone(), what }
    }
}

/// Finds what the mirror lacks, children before what names them.
struct Search<'a> {
    copy: &'a Copy<'a>,
    from: &'a Odb<'a>,
    to: &'a Odb<'a>,
    seen: HashSet<Oid>,
    missing: Vec<Oid>,
    bytes: u64,
}

/// A step of a walk: look at an object, or take it after all that it names.
enum Step {
    Look(Oid),
    Take(Oid),
}

impl Search<'_> {
    fn tip(&mut self, tip: Oid) -> Result<(), RepoError> {
        let mut todo = vec![Step::Look(tip)];
        while let Some(step) = todo.pop() {
            match step {
                Step::Take(id) => self.take(id)?,
                Step::Look(id) if self.lacks(id) => {
                    todo.push(Step::Take(id));
                    self.children(id)?.into_iter().for_each(|child| todo.push(Step::Look(child)));
                }
                Step::Look(_) => {}
            }
        }
        Ok(())
    }

    /// Whether the mirror lacks it and it was not met before. Nobody else writes to the mirror, so libgit2
    /// need not look for new packs.
    fn lacks(&mut self, id: Oid) -> bool {
        !self.to.exists_ext(id, OdbLookupFlags::NO_REFRESH) && self.seen.insert(id)
    }

    fn children(&self, id: Oid) -> Result<Vec<Oid>, RepoError> {
        let damaged = |error: git2::Error| self.copy.damaged(id, &error);
        loose::is_whole(self.copy.source, id).map_err(|error| match error {
            RepoError::Corrupt { what } => self.copy.corrupt(what),
            other => other,
        })?;
        let (_, kind) = self.from.read_header(id).map_err(damaged)?;
        match kind {
            ObjectType::Blob | ObjectType::Any => Ok(Vec::new()),
            ObjectType::Tag => Ok(vec![self.copy.source.find_tag(id).map_err(damaged)?.target_id()]),
            ObjectType::Commit => {
                let commit = self.copy.source.find_commit(id).map_err(damaged)?;
                Ok(commit.parent_ids().chain([commit.tree_id()]).collect())
            }
            ObjectType::Tree => {
                let tree = self.from.read(id).map_err(damaged)?;
                let named =
                    raw_entries(tree.data()).map_while(Result::ok).filter(|entry| entry.mode != SUBMODULE);
                named.map(|entry| oid_of(entry.id.as_bytes())).collect()
            }
        }
    }

    fn take(&mut self, id: Oid) -> Result<(), RepoError> {
        let (size, _) = self.from.read_header(id).map_err(|error| self.copy.damaged(id, &error))?;
        let size = size as u64;
        if size > MAX_OBJECT {
            return Err(RepoError::TooLarge { what: format!("object {id}"), size, limit: MAX_OBJECT });
        }
        self.bytes += size;
        if self.bytes > self.copy.limits.bytes {
            let what = self.copy.url.to_string();
            return Err(RepoError::TooLarge { what, size: self.bytes, limit: self.copy.limits.bytes });
        }
        self.missing.push(id);
        Ok(())
    }
}

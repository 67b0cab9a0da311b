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
use super::git_tree::MAX_FILE;
use super::left_out::LeftOut;
use super::refs::{self, Refs};
use super::settings::FetchLimits;
use super::url::RepositoryUrl;
use super::{links, loose, source};

/// From here on one pack is cheaper than single files.
const LOOSE_OBJECTS: usize = 500;
/// Largest folder, commit or tag that is copied; a folder of a million entries is smaller. Files of more than
/// [`MAX_FILE`] are left out, for nothing ever reads them.
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
        let mut search = Search {
            copy: self,
            from: &from,
            to: &to,
            left_out: LeftOut::read(self.mirror.path())?,
            seen: HashSet::new(),
            missing: Vec::new(),
            too_large: Vec::new(),
            bytes: 0,
        };
        for tip in tips {
            search.tip(tip)?;
        }
        let Search { missing, too_large, .. } = search;
        LeftOut::add(self.mirror.path(), &too_large)?;
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
        if error.code() == git2::ErrorCode::NotFound && source::is_partial(self.source) {
            return RepoError::Partial { url: self.url.clone(), what: format!("object {id}") };
        }
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
    left_out: LeftOut,
    seen: HashSet<Oid>,
    missing: Vec<Oid>,
    /// Files that are left out from now on, with their sizes.
    too_large: Vec<(Oid, u64)>,
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
                    if let Some(children) = self.children(id, tip)? {
                        todo.push(Step::Take(id));
                        children.into_iter().for_each(|child| todo.push(Step::Look(child)));
                    }
                }
                Step::Look(_) => {}
            }
        }
        Ok(())
    }

    /// Whether the mirror lacks it and it was not met before. Nobody else writes to the mirror, so libgit2
    /// need not look for new packs.
    fn lacks(&mut self, id: Oid) -> bool {
        // A folder may name one object a million times: it is looked for once.
        self.seen.insert(id) && !self.left_out.has(id) && !self.to.exists_ext(id, OdbLookupFlags::NO_REFRESH)
    }

    /// What an object names; none for a file that is left out.
    fn children(&mut self, id: Oid, tip: Oid) -> Result<Option<Vec<Oid>>, RepoError> {
        let damaged = |error: git2::Error| self.copy.damaged(id, &error);
        let head = loose::head(self.copy.source, id)?;
        if let Some((ObjectType::Blob, size)) = head
            && size > MAX_FILE
        {
            self.too_large.push((id, size));
            return Ok(None);
        }
        loose::is_whole(self.copy.source, id).map_err(|error| match error {
            RepoError::Corrupt { what } => self.copy.corrupt(what),
            other => other,
        })?;
        let (size, kind) = loose::header(self.from, id).map_err(damaged)?;
        if kind == ObjectType::Blob && size > MAX_FILE {
            self.too_large.push((id, size));
            return Ok(None);
        }
        if size > MAX_OBJECT {
            let what = source::name_of(self.copy.source, tip, id);
            return Err(RepoError::TooLarge { what, size, limit: MAX_OBJECT });
        }
        if kind == ObjectType::Blob {
            return Ok(Some(Vec::new()));
        }
        let object = self.from.read(id).map_err(damaged)?;
        Ok(Some(links::of_object(kind, object.data())))
    }

    fn take(&mut self, id: Oid) -> Result<(), RepoError> {
        let (size, _) = loose::header(self.from, id).map_err(|error| self.copy.damaged(id, &error))?;
        self.bytes += size;
        if self.bytes > self.copy.limits.bytes {
            let what = self.copy.url.to_string();
            return Err(RepoError::TooLarge { what, size: self.bytes, limit: self.copy.limits.bytes });
        }
        self.missing.push(id);
        Ok(())
    }
}

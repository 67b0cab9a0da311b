//! A pull request's head, beside what is followed.

use std::time::Duration;

use super::{Depth, Mirror};
use crate::repo::error::{RepoError, clean};
use crate::repo::refs;
use crate::repo::remote;
use crate::repo::settings::FetchLimits;
use crate::repo::store::commit_of;
use fairlead_core::model::digest::CommitId;

/// What a stranger may make us fetch: the branch is here already, and a change of the documents of 5,000 clusters has a
/// few megabytes.
const LIMITS: FetchLimits = FetchLimits { bytes: 256 << 20, time: Duration::from_secs(60) };

impl Mirror {
    /// Fetches one more ref of the source, such as `refs/pull/7/head`, from the same address and within narrower limits,
    /// and checks that all of it is there. It gets no ref here: nothing follows from it but what is asked now, and the
    /// next time the mirror is packed it is gone.
    ///
    /// # Errors
    /// As for [`Mirror::fetch`]; `NoSuchBranch` if the source has no such ref.
    pub fn fetch_pull(&mut self, reference: &str) -> Result<CommitId, RepoError> {
        let missing = || RepoError::NoSuchBranch { branch: clean(reference) };
        if !git2::Reference::is_valid_name(reference) || reference.starts_with('-') {
            return Err(RepoError::InvalidBranch { name: clean(reference) });
        }
        let (access, ours) = (&self.settings.access, self.settings.limits);
        let limits = FetchLimits { bytes: ours.bytes.min(LIMITS.bytes), time: ours.time.min(LIMITS.time) };
        let repo = &self.bare.repo;
        let tip = match access.url.local() {
            None => remote::download_one(repo, access, limits, reference)?.ok_or_else(missing)?,
            Some(path) => {
                let source = super::open_source(path, access)?;
                let found = source.find_reference(reference).map_err(|_| missing())?;
                let tip = refs::peel(&source, found.target().ok_or_else(missing)?).ok_or_else(missing)?;
                super::copy::Copy { source: &source, mirror: repo, url: &access.url, limits }.bring([tip])?;
                tip
            }
        };
        let known: Vec<_> = self.bare.refs.values().filter_map(|id| refs::peel(repo, *id)).collect();
        self.bare.verified.check(repo, tip, known, Depth::Present)?;
        Ok(commit_of(tip))
    }
}

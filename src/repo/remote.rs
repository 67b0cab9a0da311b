//! Fetching over https and ssh.

use git2::{AutotagOption, FetchOptions, Oid, Repository};

use super::advertisement::Shown;
use super::error::{RepoError, clean, guarded};
use super::refs::{self, Refs, TAGS};
use super::settings::{Access, FetchLimits};

/// Downloads what the mirror lacks of `branches` and of all tags, sets no refs, and returns all branches and
/// tags that the server has and that can be kept here.
pub(super) fn download(
    mirror: &Repository,
    access: &Access,
    limits: FetchLimits,
    branches: &[String],
) -> Result<Refs, RepoError> {
    let mut specs: Vec<String> = branches.iter().map(|branch| format!("+{branch}:{branch}")).collect();
    specs.push(format!("+{TAGS}*:{TAGS}*"));
    let shown = Shown { names: branches.to_vec(), all_tags: true };
    fetch(mirror, access, limits, &specs, shown)
}

/// Downloads what the mirror lacks of one ref, and returns what it names on the server.
pub(super) fn download_one(
    mirror: &Repository,
    access: &Access,
    limits: FetchLimits,
    reference: &str,
) -> Result<Option<Oid>, RepoError> {
    let specs = [format!("+{reference}:{reference}")];
    let shown = Shown { names: vec![reference.to_owned()], all_tags: false };
    Ok(fetch(mirror, access, limits, &specs, shown)?.remove(reference))
}

/// Downloads what is shown, sets no refs, and returns the server's branches and tags and what is shown.
fn fetch(
    mirror: &Repository,
    access: &Access,
    limits: FetchLimits,
    specs: &[String],
    shown: Shown,
) -> Result<Refs, RepoError> {
    let session = access.prepare()?;
    let way = session.go(limits, Some(shown));
    let failed = |error: git2::Error| session.error(&error);
    let url = access.url.as_str();
    let mut remote = mirror.remote_anonymous(url).map_err(failed)?;
    if remote.url().ok() != Some(url) {
        let reason = "Git's configuration (insteadOf) turns it into another one".to_owned();
        return Err(RepoError::UrlNotAllowed { url: clean(url), reason });
    }
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(session.callbacks(limits))
        .download_tags(AutotagOption::None)
        .update_fetchhead(false);
    guarded("fetch", || remote.download(specs, Some(&mut options)).map_err(failed))?;
    let (found, passed_over) = way.refs(&remote).map_err(failed)?;
    if passed_over > 0 {
        tracing::debug!(url, passed_over, "refs of names that can't be kept are passed over");
    }
    // A connection that does not end well has still told us everything.
    let _ = remote.disconnect();
    Ok(refs::without_conflicts(found))
}

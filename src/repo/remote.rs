//! Fetching over https and ssh.

use git2::{AutotagOption, FetchOptions, Oid, Repository};

use super::error::{RepoError, clean};
use super::refs::{HEADS, Refs, TAGS};
use super::settings::{Access, FetchLimits};

/// Downloads what the mirror lacks of `branches` and of all tags, sets no refs, and returns all branches and
/// tags that the server has.
pub(super) fn download(
    mirror: &Repository,
    access: &Access,
    limits: FetchLimits,
    branches: &[String],
) -> Result<Refs, RepoError> {
    let mut specs: Vec<String> = branches.iter().map(|branch| format!("+{branch}:{branch}")).collect();
    specs.push(format!("+{TAGS}*:{TAGS}*"));
    let wanted = |name: &str| name.starts_with(HEADS) || (name.starts_with(TAGS) && !name.ends_with("^{}"));
    fetch(mirror, access, limits, &specs, wanted)
}

/// Downloads what the mirror lacks of one ref, and returns what it names on the server.
pub(super) fn download_one(
    mirror: &Repository,
    access: &Access,
    limits: FetchLimits,
    reference: &str,
) -> Result<Option<Oid>, RepoError> {
    let specs = [format!("+{reference}:{reference}")];
    Ok(fetch(mirror, access, limits, &specs, |name| name == reference)?.remove(reference))
}

/// Downloads, sets no refs, and returns those of the server's refs that are wanted.
fn fetch(
    mirror: &Repository,
    access: &Access,
    limits: FetchLimits,
    specs: &[String],
    wanted: impl Fn(&str) -> bool,
) -> Result<Refs, RepoError> {
    let session = access.prepare()?;
    let _way = session.go(limits);
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
    remote.download(specs, Some(&mut options)).map_err(failed)?;
    let heads = remote.list().map_err(failed)?;
    let refs = heads.iter().filter(|head| wanted(head.name()) && git2::Reference::is_valid_name(head.name()));
    let refs = refs.map(|head| (head.name().to_owned(), head.oid())).collect();
    // A connection that does not end well has still told us everything.
    let _ = remote.disconnect();
    Ok(refs)
}

//! Addresses of repositories, as people and forges write them.

/// Host and path of an address with a scheme, or of scp's form; the path without slashes at its ends and without
/// `.git`. None of a local path.
pub(super) fn place(address: &str) -> Option<(&str, &str)> {
    let (authority, path) = match address.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?,
        None => address.split_once(':').filter(|(before, _)| !before.contains('/'))?,
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then(|| (host, bare(path)))
}

/// Without slashes at its ends and without `.git`.
pub(super) fn bare(path: &str) -> &str {
    let path = path.trim_matches('/');
    path.strip_suffix(".git").unwrap_or(path)
}

//! Addresses of repositories, as people and forges write them, and what follows from one.

use super::api::Forge;
use super::{ForgeError, ForgeSettings};
use crate::repo::RepositoryUrl;

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

/// Where a repository is on its forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// `owner/name`, where it is known.
    pub name: Option<String>,
    /// The address of the forge's pages, without a slash at its end.
    pub pages: Option<String>,
}

impl Site {
    /// What follows from the repository's address, where the settings don't say otherwise.
    pub(super) fn of(settings: &ForgeSettings, repository: &RepositoryUrl) -> Self {
        let forge = settings.kind.forge();
        let path = place(repository.as_str()).map(|(_, path)| path.to_owned());
        let (folder, name) = match (&settings.repository, path) {
            (Some(name), Some(path)) => (folder_before(&path, bare(name)), Some(bare(name).to_owned())),
            (Some(name), None) => (None, Some(bare(name).to_owned())),
            (None, Some(path)) => split(&path, forge, settings.url.as_deref()),
            (None, None) => (None, None),
        };
        // Over ssh, the path says nothing of the pages'.
        let folder = folder.filter(|_| !repository.is_ssh()).map(|folder| format!("/{folder}"));
        let pages = host_and_port(repository, forge).map(|authority| {
            let scheme = if repository.is_plain() { "http" } else { "https" };
            format!("{scheme}://{authority}{}", folder.unwrap_or_default())
        });
        Self { name, pages }
    }

    /// The name, which must be known.
    pub(super) fn named(&self) -> Result<String, ForgeError> {
        self.name.clone().ok_or_else(|| {
            let text = "the repository's url does not say its name; set forge.repository: owner/name";
            ForgeError::Settings(text.to_owned())
        })
    }
}

/// The folder that a forge is in on its host, and the repository's name.
fn split(path: &str, forge: Option<&dyn Forge>, api: Option<&str>) -> (Option<String>, Option<String>) {
    let Some(forge) = forge else { return (None, Some(path.to_owned())) };
    let folder = match forge.name_parts() {
        Some(parts) => {
            let mut from_the_end = path.rmatch_indices('/');
            from_the_end.nth(parts - 1).map(|(at, _)| &path[..at])
        }
        // Only the API's address tells it from a group.
        None => api
            .and_then(|api| api.trim_end_matches('/').strip_suffix(forge.base_path()))
            .and_then(|pages| pages.split_once("://")?.1.split_once('/'))
            .map(|(_, folder)| folder.trim_matches('/'))
            .filter(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))),
    };
    match folder.filter(|folder| !folder.is_empty()) {
        Some(folder) => (Some(folder.to_owned()), Some(path[folder.len() + 1..].to_owned())),
        None => (None, Some(path.to_owned())),
    }
}

/// What stands before a name at the end of a path.
fn folder_before(path: &str, name: &str) -> Option<String> {
    let at = path.len().checked_sub(name.len())?;
    let (before, found) = (path.get(..at)?, path.get(at..)?);
    let folder = before.strip_suffix('/').filter(|folder| !folder.is_empty())?;
    found.eq_ignore_ascii_case(name).then(|| folder.to_owned())
}

/// Where a repository's pages are: beside Git over https; of ssh, at the same host.
fn host_and_port(repository: &RepositoryUrl, forge: Option<&dyn Forge>) -> Option<String> {
    let host = repository.host()?;
    let host = forge.map_or(host, |forge| forge.pages_host(host));
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let usual = if repository.is_plain() { 80 } else { 443 };
    match repository.port().filter(|port| !repository.is_ssh() && *port != usual) {
        Some(port) => Some(format!("{host}:{port}")),
        None => Some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, pages and API of a repository.
    fn site(kind: &str, url: &str, api: Option<&str>, repository: Option<&str>) -> (String, String, String) {
        let settings = serde_json::json!({"kind": kind, "url": api, "repository": repository});
        let settings: ForgeSettings = serde_json::from_value(settings).unwrap();
        let Site { name, pages } = Site::of(&settings, &RepositoryUrl::parse(url, true).unwrap());
        let (name, pages) = (name.unwrap_or_default(), pages.unwrap_or_default());
        let base = settings.kind.forge().unwrap().base(&pages);
        (name, pages, base)
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn name_pages_and_api_follow_from_the_repositorys_address() {
        let cases = [
            (
                "github",
                "https://github.com/org/fleet.git",
                "org/fleet",
                "https://github.com",
                "https://api.github.com",
            ),
            (
                "github",
                "git@github.com:org/fleet.git",
                "org/fleet",
                "https://github.com",
                "https://api.github.com",
            ),
            (
                "github",
                "ssh://git@ssh.github.com:443/org/fleet.git",
                "org/fleet",
                "https://github.com",
                "https://api.github.com",
            ),
            (
                "github",
                "https://ghe.example.com/org/fleet",
                "org/fleet",
                "https://ghe.example.com",
                "https://ghe.example.com/api/v3",
            ),
            (
                "github",
                "https://octo.ghe.com/org/fleet",
                "org/fleet",
                "https://octo.ghe.com",
                "https://api.octo.ghe.com",
            ),
            (
                "gitlab",
                "ssh://git@altssh.gitlab.com:443/g/s/fleet.git",
                "g/s/fleet",
                "https://gitlab.com",
                "https://gitlab.com/api/v4",
            ),
            (
                "gitlab",
                "https://git.example.com:8443/g/s/fleet.git",
                "g/s/fleet",
                "https://git.example.com:8443",
                "https://git.example.com:8443/api/v4",
            ),
            (
                "gitea",
                "https://example.com/gitea/org/fleet.git",
                "org/fleet",
                "https://example.com/gitea",
                "https://example.com/gitea/api/v1",
            ),
            (
                "gitea",
                "https://example.com/a/b/org/fleet/",
                "org/fleet",
                "https://example.com/a/b",
                "https://example.com/a/b/api/v1",
            ),
            (
                "gitea",
                "ssh://git@example.com:2222/org/fleet.git",
                "org/fleet",
                "https://example.com",
                "https://example.com/api/v1",
            ),
            (
                "gitea",
                "http://gitea.gitea.svc:3000/org/fleet.git",
                "org/fleet",
                "http://gitea.gitea.svc:3000",
                "http://gitea.gitea.svc:3000/api/v1",
            ),
            (
                "gitea",
                "http://gitea.gitea.svc/org/fleet.git",
                "org/fleet",
                "http://gitea.gitea.svc",
                "http://gitea.gitea.svc/api/v1",
            ),
            (
                "gitea",
                "https://[2001:db8::1]:3000/org/fleet.git",
                "org/fleet",
                "https://[2001:db8::1]:3000",
                "https://[2001:db8::1]:3000/api/v1",
            ),
        ];
        for (kind, url, name, pages, base) in cases {
            let wanted = (name.to_owned(), pages.to_owned(), base.to_owned());
            assert_eq!(site(kind, url, None, None), wanted, "{kind} {url}");
        }
        let nested = "https://example.com/gitlab/g/s/fleet.git";
        assert_eq!(site("gitlab", nested, Some("https://example.com/gitlab/api/v4"), None).0, "g/s/fleet");
        assert_eq!(site("gitlab", nested, None, Some("g/s/fleet")).1, "https://example.com/gitlab");
        assert_eq!(site("gitlab", nested, None, None).0, "gitlab/g/s/fleet");
        assert_eq!(site("gitea", "https://git.internal/x.git", None, Some("org/fleet")).0, "org/fleet");
        assert_eq!(site("gitea", "https://git.internal/x.git", None, None).0, "x");
    }
}

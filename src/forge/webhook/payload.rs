//! What a delivery whose signature was good says.

use http::HeaderMap;
use serde::Deserialize;

use super::signature::single;
use super::{Hint, Watched};
use crate::forge::ForgeKind;
use crate::model::digest::CommitId;

/// Longest name of a branch or tag that is looked at.
const MAX_REF: usize = 1_024;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Push,
    Pull,
    /// Something that concerns nobody here; its body is not even read.
    Other,
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    after: Option<String>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    repository: Repository,
}

/// GitLab's push names the repository twice; only `project` has all addresses.
#[derive(Deserialize)]
struct GitlabPush {
    #[serde(rename = "ref")]
    reference: String,
    after: Option<String>,
    project: Repository,
}

#[derive(Deserialize)]
struct GitlabMerge {
    object_attributes: GitlabMergeAttributes,
    project: Repository,
}

#[derive(Deserialize)]
struct GitlabMergeAttributes {
    iid: u64,
}

/// Forges name a repository by several addresses; one that is ours is enough.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Repository {
    clone_url: Option<String>,
    ssh_url: Option<String>,
    html_url: Option<String>,
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
    web_url: Option<String>,
}

impl Repository {
    fn is(&self, watched: &Watched) -> bool {
        let Self { clone_url, ssh_url, html_url, git_http_url, git_ssh_url, web_url } = self;
        let addresses = [clone_url, ssh_url, html_url, git_http_url, git_ssh_url, web_url];
        addresses.into_iter().flatten().any(|address| watched.is(address))
    }
}

/// Reads a delivery.
///
/// # Errors
/// What is malformed, for the sender's log.
pub(super) fn read(
    kind: ForgeKind,
    headers: &HeaderMap,
    body: &[u8],
    watched: &Watched,
) -> Result<Hint, String> {
    match (event(kind, headers)?, kind) {
        (Event::Other, _) => Ok(Hint::Ignored("this event concerns nobody here")),
        (Event::Push, ForgeKind::Gitlab) => {
            let GitlabPush { reference, after, project } = json(body)?;
            push(reference, after, project.is(watched))
        }
        (Event::Push, ForgeKind::Generic) => {
            let Push { reference, after, repository } = json(body)?;
            push(reference, after, repository.is_none_or(|repository| repository.is(watched)))
        }
        (Event::Push, _) => {
            let Push { reference, after, repository } = json(body)?;
            let repository = repository.ok_or("the push names no repository")?;
            push(reference, after, repository.is(watched))
        }
        (Event::Pull, ForgeKind::Gitlab) => {
            let GitlabMerge { object_attributes, project } = json(body)?;
            Ok(pull(object_attributes.iid, project.is(watched)))
        }
        (Event::Pull, _) => {
            let Pull { number, repository } = json(body)?;
            Ok(pull(number, repository.is(watched)))
        }
    }
}

fn event(kind: ForgeKind, headers: &HeaderMap) -> Result<Event, String> {
    let named = |names: &[&str]| names.iter().find_map(|name| single(headers, name));
    let event = match kind {
        ForgeKind::Generic => return Ok(Event::Push),
        ForgeKind::Github => named(&["x-github-event"]),
        ForgeKind::Gitea | ForgeKind::Forgejo => named(&["x-gitea-event", "x-forgejo-event"]),
        ForgeKind::Gitlab => named(&["x-gitlab-event"]),
    };
    Ok(match event.ok_or("no header names the event")? {
        "Push Hook" | "Tag Push Hook" | "push" => Event::Push,
        "Merge Request Hook" => Event::Pull,
        // Of Gitea's kinds of events about pull requests, those two change its commits or its state.
        "pull_request" | "pull_request_sync" => Event::Pull,
        _ => Event::Other,
    })
}

fn json<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, String> {
    // The error names keys and places of the body, never a value that is longer than a word.
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        format!("the body is not the JSON of this event ({place}); choose the content type application/json")
    })
}

fn push(reference: String, after: Option<String>, ours: bool) -> Result<Hint, String> {
    if !ours {
        return Ok(Hint::Ignored("a push to another repository"));
    }
    if reference.len() > MAX_REF {
        return Err("the name of the ref is too long".to_owned());
    }
    // All zeros: it was deleted. A hash of another length is of a repository that can't be followed anyway.
    let after = after.and_then(|hash| hash.parse::<CommitId>().ok()).filter(|id| id.as_bytes() != &[0; 20]);
    if let Some(branch) = reference.strip_prefix("refs/heads/") {
        return Ok(Hint::Branch { branch: branch.to_owned(), after });
    }
    if reference.starts_with("refs/tags/") {
        return Ok(Hint::Tag);
    }
    Ok(Hint::Ignored("neither a branch nor a tag"))
}

fn pull(number: u64, ours: bool) -> Hint {
    if ours { Hint::Pull { number } } else { Hint::Ignored("a pull request of another repository") }
}

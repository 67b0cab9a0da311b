//! What the body of a delivery says; and what the generic webhook's says.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Hint, Watched};
use crate::forge::api::Event;
use crate::model::digest::CommitId;

/// Longest name of a branch or tag that is looked at.
const MAX_REF: usize = 1_024;

/// What an event hints at.
///
/// # Errors
/// What is malformed, for the sender's log.
pub(super) fn hint(event: Event, watched: &Watched) -> Result<Hint, String> {
    let ours = |addresses: &[String]| addresses.iter().any(|address| watched.is(address));
    match event {
        Event::Other => Ok(Hint::Ignored("this event concerns nobody here")),
        Event::Push { repository, reference, after } if ours(&repository) => {
            push(&reference, after.as_deref())
        }
        Event::Push { .. } => Ok(Hint::Ignored("a push to another repository")),
        Event::Pull { repository, number } if ours(&repository) => Ok(Hint::Pull { number }),
        Event::Pull { .. } => Ok(Hint::Ignored("a pull request of another repository")),
    }
}

/// As the generic webhook has it; it may leave out the repository.
#[derive(Deserialize)]
struct Generic {
    #[serde(rename = "ref")]
    reference: String,
    after: Option<String>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    clone_url: Option<String>,
}

pub(super) fn generic(body: &[u8], watched: &Watched) -> Result<Hint, String> {
    let Generic { reference, after, repository } = json(body)?;
    let named = repository.and_then(|repository| repository.clone_url);
    if named.is_some_and(|address| !watched.is(&address)) {
        return Ok(Hint::Ignored("a push to another repository"));
    }
    push(&reference, after.as_deref())
}

/// Reads a body.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // The error names keys and places of the body, never a value that is longer than a word.
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        format!("the body is not the JSON of this event ({place}); choose the content type application/json")
    })
}

fn push(reference: &str, after: Option<&str>) -> Result<Hint, String> {
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

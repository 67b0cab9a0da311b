//! What the body of a delivery says; and what the generic webhook's says.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Hint, Watched};
use crate::forge::api::{Event, Named};
use fairlead_core::model::digest::CommitId;

/// Longest name of a branch or tag that is looked at.
const MAX_REF: usize = 1_024;

/// What an event hints at.
///
/// # Errors
/// What is malformed, for the sender's log.
pub(super) fn hint(event: Event, watched: &Watched) -> Result<Hint, String> {
    match event {
        Event::Other => Ok(Hint::Ignored("this event concerns nobody here")),
        Event::Push { repository, .. } | Event::Pull { repository, .. } if !watched.is(&repository) => {
            Ok(other(repository))
        }
        Event::Push { reference, after, .. } => push(&reference, after.as_deref()),
        Event::Pull { number, .. } => Ok(Hint::Pull { number }),
    }
}

/// Of a repository that is not ours: its name, cut and without what could not be printed.
fn other(repository: Named) -> Hint {
    let Named { name, addresses } = repository;
    let named = name.or_else(|| addresses.into_iter().next()).unwrap_or_default();
    let plain = named.chars().filter(|c| c.is_ascii_alphanumeric() || "-._/:@~".contains(*c));
    Hint::OtherRepository { named: plain.take(100).collect() }
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
    full_name: Option<String>,
    #[serde(default)]
    clone_url: Option<String>,
}

pub(super) fn generic(body: &[u8], watched: &Watched) -> Result<Hint, String> {
    let Generic { reference, after, repository } = json(body)?;
    let named = repository.map(|repository| Named::new(repository.full_name, [repository.clone_url]));
    if let Some(named) = named.filter(|named| *named != Named::default() && !watched.is(named)) {
        return Ok(other(named));
    }
    push(&reference, after.as_deref())
}

/// Reads a body.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // The error names keys and places of the body, never a value that is longer than a word.
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        format!("the body is not the JSON of this event ({place})")
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

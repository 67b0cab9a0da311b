//! A commit's status, on its way to a forge.

use serde::{Deserialize, Serialize};

use crate::model::digest::CommitId;
use crate::rollout::CommitState;

/// What a forge shows beside a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// With the commit, so that a setting that changes meanwhile sends nothing to a stranger.
    pub repository: String,
    pub commit: CommitId,
    /// Who says it: `fairlead/<instance>/<fleet>`, or `.../validate`.
    pub context: String,
    pub state: CommitState,
    /// At most 140 characters.
    pub description: String,
    /// Where more is to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Status {
    /// Of each commit and context only the newest counts.
    pub fn key(&self) -> String {
        status_key(&self.context, self.commit)
    }
}

pub(super) fn status_key(context: &str, commit: CommitId) -> String {
    format!("{context}@{commit}")
}

/// What was said last, as far as it decides whether something else is worth a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub state: CommitState,
    pub description: String,
}

impl Said {
    /// Whether a status says something new: another state or text, but of a count that goes up only each tenth.
    pub fn differs(&self, state: CommitState, description: &str) -> bool {
        if self.state != state {
            return true;
        }
        if self.description == description {
            return false;
        }
        match (Count::find(&self.description), Count::find(description)) {
            (Some(old), Some(new)) if old.around == new.around && old.all == new.all => {
                old.tenth() != new.tenth()
            }
            _ => true,
        }
    }
}

/// `37 of 120 converged`, somewhere in a text that is otherwise the same.
struct Count<'t> {
    /// The text before and after the first number.
    around: (&'t str, &'t str),
    done: u64,
    all: u64,
}

impl<'t> Count<'t> {
    fn find(text: &'t str) -> Option<Self> {
        let at = text.find(" of ")?;
        let (head, tail) = text.split_at(at);
        let digits = head.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (before, done) = head.split_at(head.len() - digits);
        let all = tail[" of ".len()..].split_once(" converged")?.0;
        Some(Self { around: (before, tail), done: done.parse().ok()?, all: all.parse().ok()? })
    }

    fn tenth(&self) -> u64 {
        self.done.saturating_mul(10).checked_div(self.all).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(texts: &[&str]) -> Vec<String> {
        let mut said: Option<Said> = None;
        let mut told = Vec::new();
        for text in texts {
            let state = if text.ends_with('!') { CommitState::Success } else { CommitState::Pending };
            if said.as_ref().is_none_or(|said| said.differs(state, text)) {
                said = Some(Said { state, description: (*text).to_owned() });
                told.push((*text).to_owned());
            }
        }
        told
    }

    #[test]
    fn a_count_is_told_at_steps_of_a_tenth_and_everything_else_when_it_changes() {
        let texts: Vec<String> = (0..=120).map(|n| format!("wave rest: {n} of 120 converged")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(told(&texts).len(), 11);
        assert_eq!(told(&["7 of 8 converged", "7 of 8 converged", "8 of 8 converged!"]).len(), 2);
        // The rest of the text counts as before.
        let held =
            ["70 of 100 converged", "71 of 100 converged; 1 held: edge-001 asks", "72 of 101 converged"];
        assert_eq!(told(&held).len(), 3);
        assert_eq!(told(&["2 of 8 failed: a", "3 of 8 failed: a", "no cluster affected"]).len(), 3);
        assert_eq!(
            told(&["0 of 0 converged", " of  converged", "9 of 99999999999999999999999 converged"]).len(),
            3
        );
    }
}

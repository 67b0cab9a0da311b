//! A commit's status, on its way to a forge.

use serde::{Deserialize, Serialize};

use fairlead_core::model::digest::CommitId;
use fairlead_core::rollout::CommitState;

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
    /// Whether a status says something new: another state or text, but of counts that go up only each tenth.
    pub fn differs(&self, state: CommitState, description: &str) -> bool {
        if self.state != state {
            return true;
        }
        if self.description == description {
            return false;
        }
        match (Counts::find(&self.description), Counts::find(description)) {
            (Some(old), Some(new)) => old != new,
            _ => true,
        }
    }
}

/// What a text with a count like `37 of 120 converged, 3 offline` says, as coarsely as it is told.
#[derive(PartialEq, Eq)]
struct Counts<'t> {
    /// The words, and numbers that are told exactly.
    words: Vec<&'t str>,
    all: u64,
    /// The other numbers, in tenths of all.
    tenths: Vec<u64>,
}

impl<'t> Counts<'t> {
    /// None of a text that counts nothing.
    fn find(text: &'t str) -> Option<Self> {
        let mut words: Vec<&str> = text.split(' ').collect();
        let is_count = |window: &[&str]| window[0] == "of" && window[2].starts_with("converged");
        let all = words.windows(3).find(|window| is_count(window))?[1].parse().ok()?;
        let mut tenths = Vec::new();
        for at in 0..words.len() {
            // A failure and what waits for a person are worth a word each.
            let next = words.get(at + 1).map_or("", |next| next.trim_end_matches([':', ',', ';']));
            let Ok(number) = words[at].parse::<u64>() else { continue };
            if !["failed", "held"].contains(&next) {
                tenths.push(number.saturating_mul(10).checked_div(all).unwrap_or_default());
                words[at] = "";
            }
        }
        Some(Self { words, all, tenths })
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
        // Other counts go the same way; none begins or ends without a word.
        let absent: Vec<String> = (0..=100)
            .map(|n| match 100 - n {
                0 => "100 of 100 converged".to_owned(),
                left => format!("{n} of 100 converged, {left} to catch up"),
            })
            .collect();
        let absent: Vec<&str> = absent.iter().map(String::as_str).collect();
        assert!((11..=21).contains(&told(&absent).len()), "{:?}", told(&absent));
        assert_eq!(told(&["5 of 100 converged, 1 failed: a", "5 of 100 converged, 2 failed: a"]).len(), 2);
        assert_eq!(told(&["5 of 100 converged; 1 held: a", "6 of 100 converged; 2 held: a"]).len(), 2);
        assert_eq!(told(&["2 of 8 failed: a", "3 of 8 failed: a", "no cluster affected"]).len(), 3);
        assert_eq!(
            told(&["0 of 0 converged", " of  converged", "9 of 99999999999999999999999 converged"]).len(),
            3
        );
    }
}

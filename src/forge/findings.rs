//! What is wrong with a commit, on its way to the lines that it is about.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::Write;
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::digest::CommitId;

/// Findings that are sent at most; the comment lists them, too.
const MAX_FINDINGS: usize = 500;

/// Findings for a forge that shows them at their lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingsRecord {
    pub repository: String,
    pub commit: CommitId,
    /// Who says it: `fairlead/<instance>/findings`.
    pub name: String,
    /// All of them in a line.
    pub title: String,
    pub findings: Vec<Diagnostic>,
    /// Where more is to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl FindingsRecord {
    /// The outbox's kind of findings.
    pub const KIND: &str = "findings";

    /// For the outbox. A commit does not change, and so neither do its findings.
    pub fn write(mut self, now: Timestamp) -> Option<Write> {
        self.findings.truncate(MAX_FINDINGS);
        // Of strings and numbers: it can't fail.
        let payload = serde_json::to_vec(&self).ok()?;
        let key = format!("{}@{}", self.name, self.commit);
        Some(Write::Report { kind: Self::KIND.to_owned(), key, payload, next_at: now })
    }
}

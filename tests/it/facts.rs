//! What real workers said, recorded: `tests/facts/*.jsonl`, a fact a line with the seconds since the one before.
//! `cluster::recordings` checks each against the worker; the scenarios play them to the state machine.
//!
//! `FAIRLEAD_BLESS=1 cargo test --test it recordings` records anew.

use std::path::PathBuf;

use fairlead_core::model::assignment::{Assignment, FactBody, LedgerSummary};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// One line of a recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Fact {
        /// Seconds since the line before.
        after: f64,
        fact: FactBody,
    },
    /// Something was done from outside, which the worker answers with what follows.
    Done { done: String },
}

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/facts").join(format!("{name}.jsonl"))
}

pub fn read(name: &str) -> Result<Vec<Line>, String> {
    let path = path(name);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|e| format!("{name}: {e}: {line}"))).collect()
}

type Timed = Vec<(SignedDuration, FactBody)>;

/// What was said before the last thing that was done, and after it.
pub fn halves(lines: Vec<Line>) -> (Timed, Timed) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Fact { after, fact } => second.push((SignedDuration::from_secs_f64(after), fact)),
            Line::Done { .. } => first.append(&mut second),
        }
    }
    (first, second)
}

/// A fact as the same worker would say it of another order.
pub fn about(fact: FactBody, order: &Assignment, ledger: Option<&LedgerSummary>) -> FactBody {
    let (at, of) = (order.generation, order.release.digest);
    match fact {
        FactBody::Online { ledger: Some(_) } => FactBody::Online { ledger: ledger.cloned().map(Box::new) },
        FactBody::Progress { progress, .. } => FactBody::Progress { generation: at, progress },
        FactBody::Stalled { reason, .. } => FactBody::Stalled { generation: at, reason },
        FactBody::Converged { .. } => FactBody::Converged { generation: at, release: of },
        FactBody::Failed { cause, .. } => FactBody::Failed { generation: at, release: of, cause },
        FactBody::Held { reason, .. } => FactBody::Held { generation: at, release: of, reason },
        FactBody::Unhealthy { cause, .. } => FactBody::Unhealthy { generation: at, release: of, cause },
        FactBody::Kept { objects, .. } => FactBody::Kept { generation: at, objects },
        other => other,
    }
}

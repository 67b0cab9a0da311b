//! What was last said of each commit.

use super::Record;
use crate::rollout::effect::Effect;
use crate::rollout::status::{CommitStatus, MAX_DESCRIPTION, shorten};

/// So many commits' statuses are remembered.
const REMEMBERED: usize = 10;

/// Says a commit's status if it is not what was said last.
pub fn said(record: &mut Record, status: CommitStatus, effects: &mut Vec<Effect>) {
    let status = CommitStatus { description: shorten(&status.description, MAX_DESCRIPTION), ..status };
    match record.said.iter_mut().find(|known| known.revision == status.revision) {
        Some(known) if *known == status => return,
        Some(known) => *known = status.clone(),
        None => record.said.insert(0, status.clone()),
    }
    record.said.truncate(REMEMBERED.max(record.head.as_ref().map_or(0, |head| head.subjects.len() + 1)));
    effects.push(Effect::Report(status));
}

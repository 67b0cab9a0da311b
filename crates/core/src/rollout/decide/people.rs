//! What people say: pause, retry, and whether the fleet waits for their word.

use super::{commit, failure, removal, waves};
use crate::rollout::event::Person;
use crate::rollout::state::target::{Link, Phase, Target};
use crate::rollout::state::{FleetState, Run};

pub fn retry(state: &mut FleetState) {
    let mut again = failure::forgive_all(&mut state.record);
    for target in &mut state.record.targets {
        if let Link::Left { .. } = target.link {
            target.link = Link::Online;
            again = true;
        }
    }
    if again && let Some(head) = &mut state.record.head {
        head.attempt += 1;
        if let Run::Accepted { .. } = head.run {
            commit::leave_behind(&mut state.record);
        } else {
            head.run = Run::Rolling;
            commit::choose_members(&mut state.record, true);
        }
    }
    state.recount();
}

pub fn pause(state: &mut FleetState, by: Person) {
    state.record.paused.get_or_insert(by);
}

impl FleetState {
    /// Whether a person must approve something before the fleet, or a cluster of it, goes on.
    pub fn awaits_approval(&self) -> bool {
        let deletions = |target: &Target| {
            let phase = target.order.as_ref().map(|order| &order.phase);
            matches!(phase, Some(Phase::Held { deletions: true, .. }))
        };
        let leaves = |target: &Target| {
            target.leaving.as_ref().is_some_and(|leaving| leaving.held.is_some() && !leaving.approved)
        };
        removal::gate(&self.record, &self.index).is_some()
            || waves::awaits_approval(self)
            || self.record.targets.iter().any(leaves)
            || self.index.held.iter().any(|index| self.record.targets.get(*index).is_some_and(deletions))
    }
}

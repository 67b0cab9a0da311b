//! What of a batch's effects is worth saving at once, and worth saying.

use std::collections::BTreeSet;

use fairlead_core::model::name::FleetName;
use fairlead_core::model::revision::Revision;
use fairlead_core::rollout::{CommitState, Effect};

/// Whether the state must be on the disk before this is carried out. A count that moves and a wake-up are derived from
/// the state again after a crash, and what clusters said they say again.
pub(super) fn binds(effect: &Effect) -> bool {
    match effect {
        Effect::Report(status) => status.state != CommitState::Pending,
        Effect::WakeAt(_) => false,
        Effect::Assign(_) | Effect::Remove { .. } | Effect::Suspend { .. } | Effect::Hold { .. } => true,
    }
}

/// Drops what a later effect of the same batch says better: of the counts of one commit the last, and the last
/// wake-up. A thousand clusters that converge together are one piece of news.
pub(super) fn keep_last(effects: &mut Vec<(FleetName, Effect)>) {
    let (mut told, mut woken): (BTreeSet<(FleetName, Revision)>, BTreeSet<FleetName>) = Default::default();
    let mut kept: Vec<bool> = effects
        .iter()
        .rev()
        .map(|(fleet, effect)| match effect {
            Effect::Report(status) => {
                let first = told.insert((fleet.clone(), status.revision.clone()));
                first || status.state != CommitState::Pending
            }
            Effect::WakeAt(_) => woken.insert(fleet.clone()),
            _ => true,
        })
        .collect();
    effects.retain(|_| kept.pop().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::model::digest::CommitId;
    use fairlead_core::rollout::CommitStatus;

    fn report(commit: u8, state: CommitState, text: &str) -> Effect {
        let revision = Revision::control(CommitId::from_bytes([commit; 20]));
        Effect::Report(CommitStatus { revision, state, description: text.to_owned() })
    }

    fn wake(second: i64) -> Effect {
        Effect::WakeAt(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn of_what_is_said_again_the_last_counts() {
        use CommitState::{Pending, Success, Superseded};
        let (ours, theirs): (FleetName, FleetName) = ("ours".parse().unwrap(), "theirs".parse().unwrap());
        let effects = [
            (&ours, report(1, Pending, "1 of 3")),
            (&ours, wake(1)),
            (&theirs, report(1, Pending, "of another fleet")),
            (&ours, report(2, Superseded, "over")),
            (&ours, report(1, Pending, "2 of 3")),
            (&ours, report(1, Success, "3 of 3")),
            (&theirs, wake(2)),
            (&ours, wake(3)),
            (&ours, report(2, Pending, "again")),
        ];
        let mut kept: Vec<_> =
            effects.iter().map(|(fleet, effect)| ((*fleet).clone(), effect.clone())).collect();
        keep_last(&mut kept);
        let expected: Vec<_> =
            [2, 3, 5, 6, 7, 8].map(|n: usize| (effects[n].0.clone(), effects[n].1.clone())).into();
        assert_eq!(kept, expected);
        let binding: Vec<bool> = kept.iter().map(|(_, effect)| binds(effect)).collect();
        assert_eq!(binding, [false, true, true, false, false, false]);
    }
}

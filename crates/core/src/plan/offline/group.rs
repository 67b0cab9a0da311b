//! Equal changes put together, also those that differ by nothing but the target's own name.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Group, Member};
use crate::model::name::{FleetName, TargetName};

/// What stands for a target's own name where a diff is that of many.
const OWN_NAME: &str = "${{ cluster.name }}";

type Groups = BTreeMap<(FleetName, Change), BTreeSet<TargetName>>;

/// Groups changes, none of them empty.
pub(super) fn group(changes: impl IntoIterator<Item = (Member, Change)>) -> Vec<Group> {
    let mut groups = Groups::new();
    for (member, change) in changes {
        groups.entry((member.fleet, change)).or_default().insert(member.target);
    }
    let (alone, mut groups): (Groups, Groups) =
        groups.into_iter().partition(|(_, targets)| targets.len() == 1);
    let mut alike: BTreeMap<(FleetName, Change), Vec<(TargetName, Change)>> = BTreeMap::new();
    for ((fleet, change), targets) in alone {
        for target in targets {
            let general = without_name(&change, &target);
            alike.entry((fleet.clone(), general)).or_default().push((target, change.clone()));
        }
    }
    for ((fleet, general), mut members) in alike {
        match members.pop() {
            // Nobody is like it: it is shown as it is.
            Some((target, change)) if members.is_empty() => {
                groups.entry((fleet, change)).or_default().insert(target);
            }
            Some((target, _)) => {
                let targets = members.into_iter().map(|(target, _)| target).chain([target]);
                groups.entry((fleet, general)).or_default().extend(targets);
            }
            None => {}
        }
    }
    let group = |((fleet, change), targets): (_, BTreeSet<_>)| Group {
        fleet,
        targets: targets.into_iter().collect(),
        change,
    };
    groups.into_iter().map(group).collect()
}

/// The change with another word in its diffs wherever the target's name stands as a word of its own.
fn without_name(change: &Change, target: &TargetName) -> Change {
    let mut change = change.clone();
    for object in change.layers.iter_mut().flat_map(|layer| &mut layer.objects) {
        object.diff = replace_word(&object.diff, target.as_str(), OWN_NAME);
    }
    change
}

fn replace_word(text: &str, word: &str, with: &str) -> String {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '-');
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, found) in text.match_indices(word) {
        let end = at + found.len();
        // A diff's own sign in the first column is no part of a word.
        let before = text[..at].chars().next_back().filter(|_| !text[..at].ends_with("\n-"));
        if !inside(before) && !inside(text[end..].chars().next()) {
            out.push_str(&text[done..at]);
            out.push_str(with);
            done = end;
        }
    }
    out.push_str(&text[done..]);
    out
}

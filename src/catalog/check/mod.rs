//! What a schema can't say: rules inside one document, and between documents.

mod cross;
mod fleet;
mod profile;
mod waves;

pub(super) use cross::cross;
pub(super) use fleet::fleet;
pub(super) use profile::profile;

use std::collections::{BTreeMap, BTreeSet};

/// The first circle in a graph, beginning and ending with the same name.
fn circle<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in edges.keys() {
        // Depth first, with the way on a stack of our own: names are input, so is their number.
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((node, next)) = way.last_mut() {
            let node: &'a str = edges.get_key_value(*node).map_or("", |(name, _)| *name);
            let child = edges.get(node).and_then(|list| list.get(*next)).copied();
            *next += 1;
            match child {
                None => {
                    done.insert(node);
                    way.pop();
                }
                Some(child) if done.contains(child) || !edges.contains_key(child) => {}
                Some(child) => {
                    if let Some(at) = way.iter().position(|(name, _)| *name == child) {
                        let names = way.iter().skip(at).map(|(name, _)| *name);
                        let names = names.filter_map(|n| edges.get_key_value(n).map(|(name, _)| *name));
                        return Some(names.chain([child]).collect());
                    }
                    way.push((child, 0));
                }
            }
        }
    }
    None
}

//! What a schema can't say: rules inside one document, and between documents.

mod cross;
mod fleet;
mod profile;
mod waves;

pub(super) use cross::cross;
pub(super) use fleet::fleet;
pub(super) use profile::profile;

use std::collections::{BTreeMap, BTreeSet};

/// Most circles that are named.
const MAX_CIRCLES: usize = 100;

/// The circles in a graph, each beginning and ending with the same name: one for each edge that closes one.
fn circles<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut found: Vec<Vec<&'a str>> = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in edges.keys() {
        if done.contains(start) {
            continue;
        }
        // Depth first, with the way on a stack of our own: names are input, so is their number.
        let mut way: Vec<(&'a str, usize)> = vec![(start, 0)];
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
                Some(child) => match way.iter().position(|(name, _)| *name == child) {
                    Some(at) if found.len() < MAX_CIRCLES => {
                        found.push(way[at..].iter().map(|(name, _)| *name).chain([child]).collect());
                    }
                    Some(_) => {}
                    None => way.push((child, 0)),
                },
            }
        }
    }
    found
}

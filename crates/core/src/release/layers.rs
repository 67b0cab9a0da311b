//! The order of layers.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::name::LayerName;
use crate::model::profile::LayerType;
use crate::model::release::LayerId;

/// A layer as its profile describes it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) id: LayerId,
    pub(super) layer_type: LayerType,
    /// `dependsOn`, if the layer has it.
    pub(super) explicit: Option<Vec<LayerName>>,
    pub(super) place: Place,
}

/// For each layer what must be healthy first, and an order in which every layer comes after what it depends
/// on: by type, then as profiles and layers are written.
///
/// A layer without `dependsOn` comes after all layers of earlier types, of every profile, but for those that
/// themselves wait for it: `cni: dependsOn: [certificates]` puts the add-on before the network.
///
/// # Errors
/// Names that are not there or there twice, and cycles: all of them.
pub(super) fn order(nodes: &[Node]) -> Result<Vec<(usize, Vec<LayerId>)>, Vec<Diagnostic>> {
    let mut by_id = BTreeMap::new();
    let mut findings = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        if by_id.insert(&node.id, n).is_some() {
            let message = format!("the layer {} is in this release twice", node.id);
            findings.push(Diagnostic::error(node.place.clone(), "duplicate-layer", message));
        }
    }
    let mut explicit: Vec<Option<BTreeSet<usize>>> = Vec::new();
    for node in nodes {
        let found = node.explicit.as_ref().map(|names| {
            let ids =
                names.iter().map(|layer| LayerId { profile: node.id.profile.clone(), layer: layer.clone() });
            ids.filter_map(|id| {
                let found = by_id.get(&id).copied();
                if found.is_none() {
                    let message = format!("'{}' is no layer of this profile", id.layer);
                    findings.push(Diagnostic::error(node.place.clone(), "unknown-layer", message));
                }
                found
            })
            .collect()
        });
        explicit.push(found);
    }
    let depends: Vec<BTreeSet<usize>> = (0..nodes.len())
        .map(|n| match &explicit[n] {
            Some(explicit) => explicit.clone(),
            None => {
                let earlier = (0..nodes.len()).filter(|m| nodes[*m].layer_type < nodes[n].layer_type);
                earlier.filter(|m| !reaches(&explicit, *m, n)).collect()
            }
        })
        .collect();
    let sorted = match sort(nodes, &depends) {
        Ok(sorted) if findings.is_empty() => sorted,
        sorted => {
            findings.extend(sorted.err().into_iter().flatten());
            return Err(findings);
        }
    };
    Ok(sorted.into_iter().map(|n| (n, depends[n].iter().map(|m| nodes[*m].id.clone()).collect())).collect())
}

/// Whether `from` waits for `to` by what profiles say outright.
fn reaches(explicit: &[Option<BTreeSet<usize>>], from: usize, to: usize) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(next) = open.pop() {
        for other in explicit[next].iter().flatten() {
            if *other == to {
                return true;
            }
            if seen.insert(*other) {
                open.push(*other);
            }
        }
    }
    false
}

fn sort(nodes: &[Node], depends: &[BTreeSet<usize>]) -> Result<Vec<usize>, Vec<Diagnostic>> {
    let mut sorted = Vec::with_capacity(nodes.len());
    let mut left: BTreeSet<usize> = (0..nodes.len()).collect();
    while !left.is_empty() {
        let ready = left.iter().filter(|n| depends[**n].is_disjoint(&left));
        let Some(next) = ready.min_by_key(|n| (nodes[**n].layer_type, **n)).copied() else {
            let names: Vec<String> = left.iter().map(|n| nodes[*n].id.to_string()).collect();
            let place = left.first().map(|n| nodes[*n].place.clone()).unwrap_or_default();
            let message = format!("layers wait for each other: {}", names.join(", "));
            let hint = "a layer without dependsOn waits for all layers of earlier types; give one of them a dependsOn";
            return Err(vec![Diagnostic::error(place, "dependency-cycle", message).hint(hint)]);
        };
        left.remove(&next);
        sorted.push(next);
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, layer_type: LayerType, explicit: Option<&[&str]>) -> Node {
        let (profile, layer) = id.split_once('/').unwrap();
        let id = LayerId { profile: profile.parse().unwrap(), layer: layer.parse().unwrap() };
        let explicit = explicit.map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
        Node { id, layer_type, explicit, place: Place::file("profile.yaml") }
    }

    fn ordered(nodes: &[Node]) -> Vec<String> {
        let line = |(n, depends): (usize, Vec<LayerId>)| {
            let depends: Vec<_> = depends.iter().map(LayerId::to_string).collect();
            format!("{} < {}", nodes[n].id, depends.join(" "))
        };
        order(nodes).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn types_give_the_order_across_profiles() {
        use LayerType::*;
        let nodes = [
            node("a/shop", Addon, None),
            node("a/net", Cni, None),
            node("b/disk", Csi, None),
            node("b/dns", Addon, Some(&[])),
            node("b/web", Addon, Some(&["dns"])),
        ];
        assert_eq!(
            ordered(&nodes),
            ["a/net < ", "b/disk < a/net", "a/shop < a/net b/disk", "b/dns < ", "b/web < b/dns",]
        );
    }

    #[test]
    fn a_layer_can_be_put_before_an_earlier_type() {
        use LayerType::*;
        let nodes =
            [node("a/net", Cni, Some(&["certs"])), node("a/certs", Addon, None), node("a/web", Addon, None)];
        assert_eq!(ordered(&nodes), ["a/certs < ", "a/net < a/certs", "a/web < a/net"]);
    }

    #[test]
    fn cycles_unknown_and_double_layers_are_errors() {
        use LayerType::*;
        for (nodes, code) in [
            (vec![node("a/x", Cni, Some(&["y"])), node("a/y", Cni, Some(&["x"]))], "dependency-cycle"),
            (vec![node("a/x", Cni, Some(&["x"]))], "dependency-cycle"),
            (vec![node("a/x", Cni, Some(&["z"]))], "unknown-layer"),
            (vec![node("a/x", Cni, None), node("a/x", Csi, None)], "duplicate-layer"),
        ] {
            assert_eq!(order(&nodes).unwrap_err()[0].code, code);
        }
    }
}

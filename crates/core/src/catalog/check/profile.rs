//! A profile by itself: its layers.

use std::collections::{BTreeMap, BTreeSet};

use super::circles;
use crate::catalog::document::{Located, inside};
use crate::catalog::explain::shorten;
use crate::catalog::read::tree_error;
use crate::catalog::yaml::Places;
use crate::model::diagnostic::Diagnostic;
use crate::model::profile::{ClusterProfile, LayerSpec};
use crate::model::suggest::nearest;
use crate::model::tree::{EntryKind, Tree};

/// All that is wrong with a profile's layers; `folder` is the profile's.
pub(in crate::catalog) fn profile(
    tree: &dyn Tree,
    folder: &str,
    document: &Located<ClusterProfile>,
) -> Vec<Diagnostic> {
    let (layers, places) = (&document.spec.layers, &document.places);
    let mut findings = Vec::new();
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (n, layer) in layers.iter().enumerate() {
        let at = format!("/spec/layers/{n}");
        let name = layer.name.as_str();
        if let Some(other) = first.get(name) {
            let other = places.value(&format!("/spec/layers/{other}/name"));
            let message = format!("the layer name '{name}' is taken twice; the first is at {other}");
            findings.push(Diagnostic::error(places.value(&format!("{at}/name")), "duplicate-name", message));
        } else {
            first.insert(name, n);
        }
        findings.extend(source(layer, places, &at));
        if let Some(manifests) = &layer.manifests {
            findings.extend(path(tree, folder, &manifests.path, places, &format!("{at}/manifests/path")));
        }
    }
    findings.extend(order(layers, places));
    findings
}

/// Exactly one source, and one that this version can render.
fn source(layer: &LayerSpec, places: &Places, at: &str) -> Vec<Diagnostic> {
    let given: Vec<&str> = [
        ("manifests", layer.manifests.is_some()),
        ("kustomize", layer.kustomize.is_some()),
        ("helm", layer.helm.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect();
    let mut findings = Vec::new();
    if given.len() != 1 {
        let message = match given.as_slice() {
            [] => format!("the layer '{}' says nothing about where its objects come from", layer.name),
            several => format!("the layer '{}' has several sources: {}", layer.name, several.join(" and ")),
        };
        let place = places.value(&format!("{at}/{}", given.get(1).unwrap_or(&"name")));
        let finding = Diagnostic::error(place, "layer-source", message);
        findings.push(finding.expected("exactly one of manifests, kustomize and helm"));
    }
    for source in given.iter().filter(|s| **s != "manifests") {
        let message = format!("{source} layers are not supported by this version yet");
        let finding = Diagnostic::error(places.key(&format!("{at}/{source}")), "unsupported", message);
        findings.push(finding.hint("render it into a folder of manifests, and name that in 'manifests'"));
    }
    findings
}

fn path(tree: &dyn Tree, folder: &str, path: &str, places: &Places, pointer: &str) -> Option<Diagnostic> {
    let error = |code: &str, message: String| Diagnostic::error(places.value(pointer), code, message);
    let full = match inside(folder, path) {
        Ok(full) => full,
        Err(why) => {
            let finding = error("path-outside", format!("the path '{}' {why}", shorten(path)));
            return Some(finding.expected(format!("a folder or file below {folder}/")));
        }
    };
    match tree.entry(&full) {
        Ok(Some(entry)) if entry.kind == EntryKind::Folder => None,
        Ok(Some(_)) if [".yaml", ".yml", ".json"].iter().any(|end| full.ends_with(end)) => None,
        Ok(Some(_)) => {
            let finding = error("path-kind", format!("'{full}' is not a manifest"));
            Some(finding.expected("a folder, or a .yaml, .yml or .json file"))
        }
        Ok(None) => {
            let finding = error("path-missing", format!("there is no '{full}'"));
            Some(finding.hint("paths are relative to the profile's folder; Git keeps no empty folders"))
        }
        Err(tree) => {
            let cause = tree_error(&tree);
            Some(error(&cause.code, format!("'{full}': {}", cause.message)))
        }
    }
}

/// `dependsOn`: layers that are there, in no circle.
fn order(layers: &[LayerSpec], places: &Places) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let names: Vec<String> = layers.iter().map(|l| l.name.to_string()).collect();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (n, layer) in layers.iter().enumerate() {
        for (m, wanted) in layer.depends_on.iter().flatten().enumerate() {
            if !layers.iter().any(|l| l.name == *wanted) {
                let place = places.value(&format!("/spec/layers/{n}/dependsOn/{m}"));
                let message = format!("this profile has no layer '{wanted}'");
                let mut finding = Diagnostic::error(place, "unknown-layer", message);
                finding.hint = nearest(wanted.as_str(), &names).map(|near| format!("did you mean '{near}'?"));
                findings.push(finding);
            }
        }
        // Without `dependsOn`: all layers of earlier types.
        let before = match &layer.depends_on {
            Some(names) => names.iter().map(|name| name.as_str()).collect(),
            None => {
                let earlier = layers.iter().filter(|l| l.layer_type < layer.layer_type);
                earlier.map(|l| l.name.as_str()).collect()
            }
        };
        // Of two layers of one name, which is a mistake of its own, the first counts.
        edges.entry(layer.name.as_str()).or_insert(before);
    }
    let mut said = BTreeSet::new();
    for way in circles(&edges) {
        // Some layer of the circle says so itself: order by type has no circles.
        let explicit =
            |name: &&str| layers.iter().position(|l| l.name.as_str() == *name && l.depends_on.is_some());
        let n = way.iter().find_map(explicit).unwrap_or_default();
        // By way of layers that say nothing there may be more of them, out of one mistake.
        if !said.insert(n) {
            continue;
        }
        let message = format!("these layers wait for each other: {}", way.join(" -> "));
        let finding = Diagnostic::error(
            places.key(&format!("/spec/layers/{n}/dependsOn")),
            "dependency-circle",
            message,
        );
        findings.push(finding.hint("a layer without dependsOn waits for all layers of earlier types"));
    }
    findings
}

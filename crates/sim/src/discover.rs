//! What a cluster serves: aggregated discovery, and the old one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::ask::{Ask, Place};
use super::cluster::State;
use super::kind::{Kind, Version};

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// A group's versions, best first, with their kinds and the index of the version in each.
type Versions = Vec<(String, Vec<(Arc<Kind>, usize)>)>;
/// Groups by name; the core group's is empty.
type Groups = BTreeMap<String, Versions>;

fn all(state: &State) -> Groups {
    let mut groups = Groups::new();
    for kind in state.kinds() {
        let versions = groups.entry(kind.group.to_string()).or_default();
        for (index, version) in kind.versions.iter().enumerate().filter(|(_, version)| version.served) {
            let entry = (Arc::clone(kind), index);
            match versions.iter_mut().find(|(name, _)| **name == *version.name) {
                Some((_, kinds)) => kinds.push(entry),
                None => versions.push((version.name.to_string(), vec![entry])),
            }
        }
    }
    groups.retain(|_, versions| !versions.is_empty());
    for versions in groups.values_mut() {
        versions.sort_by_key(|(name, _)| std::cmp::Reverse(rank(name)));
        for (_, kinds) in versions {
            kinds.sort_by(|a, b| a.0.plural.cmp(&b.0.plural));
        }
    }
    groups
}

/// Stable versions before betas before alphas, later before earlier.
pub fn rank(version: &str) -> (u8, u32, u32) {
    let rest = version.strip_prefix('v').unwrap_or_default();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let number = |text: &str| text.parse().unwrap_or(0);
    let (major, tail) = (number(&rest[..end]), &rest[end..]);
    match (tail, tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
        ("", ..) if major > 0 => (3, major, 0),
        (_, Some(minor), _) => (2, major, number(minor)),
        (_, _, Some(minor)) => (1, major, number(minor)),
        _ => (0, 0, 0),
    }
}

/// The type of an answer to discovery: an aggregated one says that it is one, or clients take it for the old form.
pub fn content_type(ask: &Ask) -> String {
    match (&ask.place, is_aggregated(ask)) {
        (Place::Core | Place::Groups, Some(api)) => {
            format!("application/json;g=apidiscovery.k8s.io;v={api};as=APIGroupDiscoveryList")
        }
        _ => "application/json".to_owned(),
    }
}

fn is_aggregated(ask: &Ask) -> Option<&'static str> {
    let first = ask.accept.split(',').map(str::trim).find(|one| one.starts_with("application/json"))?;
    let list = first.contains("as=APIGroupDiscoveryList");
    list.then_some(if first.contains("v=v2beta1") { "v2beta1" } else { "v2" })
}

fn aggregated(groups: &[(&String, &Versions)], api: &str) -> Value {
    let items = groups.iter().map(|(group, versions)| {
        let versions = versions.iter().map(|(name, kinds)| {
            let resources = kinds.iter().map(|(kind, index)| aggregated_kind(kind, &kind.versions[*index]));
            json!({"version": name, "freshness": "Current", "resources": resources.collect::<Vec<_>>()})
        });
        let mut item = json!({"metadata": {}, "versions": versions.collect::<Vec<_>>()});
        if !group.is_empty() {
            item["metadata"]["name"] = json!(group);
        }
        item
    });
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{api}"),
        "metadata": {}, "items": items.collect::<Vec<_>>()})
}

fn aggregated_kind(kind: &Kind, version: &Version) -> Value {
    let itself = json!({"group": kind.group, "version": version.name, "kind": kind.kind});
    let mut resource = json!({
        "resource": kind.plural,
        "responseKind": itself,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": VERBS,
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let mut subresources = Vec::new();
    if version.scale.is_some() {
        let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        subresources.push(json!({"subresource": "scale", "responseKind": scale, "verbs": STATUS_VERBS}));
    }
    if version.status {
        let itself = &resource["responseKind"];
        subresources.push(json!({"subresource": "status", "responseKind": itself, "verbs": STATUS_VERBS}));
    }
    if !subresources.is_empty() {
        resource["subresources"] = json!(subresources);
    }
    resource
}

/// `/api`
pub fn core(state: &State, ask: &Ask) -> Value {
    match is_aggregated(ask) {
        Some(api) => {
            aggregated(&all(state).iter().filter(|(group, _)| group.is_empty()).collect::<Vec<_>>(), api)
        }
        None => json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}]}),
    }
}

/// `/apis`
pub fn groups(state: &State, ask: &Ask) -> Value {
    let all = all(state);
    let named: Vec<_> = all.iter().filter(|(group, _)| !group.is_empty()).collect();
    match is_aggregated(ask) {
        Some(api) => aggregated(&named, api),
        None => {
            let groups: Vec<Value> =
                named.iter().map(|(group, versions)| old_group(group, versions)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
    }
}

fn old_group(group: &str, versions: &Versions) -> Value {
    let version = |name: &str| json!({"groupVersion": format!("{group}/{name}"), "version": name});
    let all: Vec<Value> = versions.iter().map(|(name, _)| version(name)).collect();
    json!({"name": group, "versions": all, "preferredVersion": all.first()})
}

/// `/apis/<group>`
pub fn group(state: &State, name: &str) -> Option<Value> {
    let mut found = old_group(name, all(state).get(name).filter(|_| !name.is_empty())?);
    found["kind"] = json!("APIGroup");
    found["apiVersion"] = json!("v1");
    Some(found)
}

/// `/api/v1` and `/apis/<group>/<version>`
pub fn version(state: &State, group: &str, name: &str) -> Option<Value> {
    let groups = all(state);
    let (_, kinds) = groups.get(group)?.iter().find(|(version, _)| version == name)?;
    let mut resources = Vec::new();
    for (kind, index) in kinds {
        let entry = |suffix: &str, verbs: &[&str]| {
            json!({"name": format!("{}{suffix}", kind.plural), "singularName": kind.singular, "kind": kind.kind,
                "namespaced": kind.namespaced, "verbs": verbs})
        };
        let mut itself = entry("", &VERBS);
        for (field, names) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
            if !names.is_empty() {
                itself[field] = json!(names);
            }
        }
        resources.push(itself);
        if kind.versions[*index].scale.is_some() {
            let mut scale = entry("/scale", &STATUS_VERBS);
            scale["singularName"] = json!("");
            scale["group"] = json!("autoscaling");
            scale["version"] = json!("v1");
            scale["kind"] = json!("Scale");
            resources.push(scale);
        }
        if kind.versions[*index].status {
            resources.push(entry("/status", &STATUS_VERBS));
        }
    }
    let group_version = if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") };
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_version_comes_first() {
        let mut versions = ["v1alpha1", "v1", "v2beta2", "v10", "v2beta1", "other"];
        versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
        assert_eq!(versions, ["v10", "v1", "v2beta2", "v2beta1", "v1alpha1", "other"]);
    }
}

//! The example fleet, through to releases.

use serde_json::Value;

use super::folder;
use crate::catalog::{Catalog, Folders};
use crate::release::{LayerCache, ProfileAt, Request, compile};

#[test]
fn every_target_of_the_example_has_a_release() {
    let tree = folder("examples/fleet");
    let catalog = Catalog::read(&tree, &Folders::default());
    let cache = LayerCache::new(None);
    let fleet = catalog.fleets().next().unwrap();
    let named = fleet.spec.profiles.iter().map(|used| catalog.profile(&used.name).unwrap());
    let profiles: Vec<_> = named.map(|profile| ProfileAt { profile, tree: &tree }).collect();
    for target in catalog.targets_of(fleet) {
        let release = compile(Request { fleet, target, profiles: &profiles }, &cache).unwrap();
        let object = |kind: &str, name: &str| -> Value {
            let found = release.objects().find(|(_, o)| o.key.kind == kind && o.key.name == name);
            serde_json::from_slice(&found.unwrap().1.bytes).unwrap()
        };
        let replicas = if target.metadata.name.as_str() == "edge-003" { 3 } else { 2 };
        assert_eq!(object("Deployment", "web")["spec"]["replicas"], replicas);
        let settings = object("ConfigMap", "shop-settings");
        assert_eq!(settings["data"]["store"], target.metadata.name.as_str());
        assert_eq!(settings["data"]["log-level"], "info");
        assert_eq!(
            object("Namespace", "shop")["metadata"]["labels"]["region"],
            target.metadata.labels["region"].as_str()
        );
        assert_eq!(release.objects().count(), 14);
    }
}

//! What holds for every plan.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::plan::Verb;

const NAMES: [&str; 10] = [
    "ConfigMap shop/a",
    "ConfigMap shop/b",
    "ConfigMap shop/app-7f9c8d6b5k",
    "ConfigMap shop/app-8h2kk7m2f4",
    "Secret shop/s",
    "Deployment.apps shop/web",
    "Database.example.com shop/db",
    "PersistentVolumeClaim shop/data",
    "Namespace shop",
    "CustomResourceDefinition.apiextensions.k8s.io databases.example.com",
];

/// One object's part in a world: in the release (layer, changed), in the inventory (origin), seen (owner).
#[derive(Debug, Clone)]
struct Part {
    wanted: Option<(usize, bool)>,
    remembered: Option<u8>,
    seen: Option<u8>,
    flags: u8,
}

fn part() -> impl Strategy<Value = Part> {
    let wanted = proptest::option::of((0..3usize, any::<bool>()));
    (wanted, proptest::option::of(0..5u8), proptest::option::of(0..4u8), any::<u8>())
        .prop_map(|(wanted, remembered, seen, flags)| Part { wanted, remembered, seen, flags })
}

fn variant(name: &str, changed: bool) -> ReleaseObject {
    let mut manifest = manifest(name);
    if changed {
        manifest["data"] = json!({"changed": "yes"});
    }
    object(&manifest)
}

fn build(parts: &[Part], purpose: Purpose, approved: bool) -> (World, Release) {
    let mut world = World::new();
    world.assignment.purpose = purpose;
    world.assignment.deletions_approved = approved;
    world.back_to = Some(2);
    let mut layers: [Vec<ReleaseObject>; 3] = Default::default();
    let mut sibling_wants = Vec::new();
    for (name, part) in NAMES.iter().zip(parts) {
        if let Some((layer, changed)) = part.wanted {
            layers[layer].push(variant(name, changed));
        }
        let base = variant(name, false);
        if let Some(how) = part.remembered {
            let mut entry = entry(["p/l0", "p/l1", "q/gone"][usize::from(how) % 3], &base);
            entry.origin = match how {
                0 => Origin::Intended { at: at(NOW + i64::from(part.flags & 1)), generation: 5 },
                1 => Origin::Created { generation: 1 },
                2 => Origin::Created { generation: 4 },
                3 => Origin::Adopted,
                _ => Origin::Taken,
            };
            if how == 0 {
                entry.applied = None;
            }
            world.inventory.objects.insert(key(name), entry);
        }
        if let Some(owner) = part.seen {
            let mut seen = seen(&variant(name, part.flags & 1 != 0));
            seen.part_of =
                [Some(SET), None, Some(SIBLING), Some("foreign")][usize::from(owner)].map(Arc::from);
            seen.terminating = part.flags & 6 == 6;
            seen.prune_allowed = part.flags & 8 != 0;
            world.observed.objects.insert(key(name), seen);
        }
        if part.flags & 0x30 == 0x30 {
            sibling_wants.push(*name);
        }
        if part.flags & 0xc0 == 0xc0 {
            world.observed.unread.insert(key(name).group_kind());
        }
    }
    world.sibling(&sibling_wants, &[]);
    let layers = layers.into_iter().enumerate().map(|(n, objects)| layer(&format!("l{n}"), &[], objects));
    (world, release(layers.collect()))
}

fn worlds() -> impl Strategy<Value = (World, Release)> {
    let purpose = prop_oneof![Just(Purpose::Change), Just(Purpose::Return), Just(Purpose::Revert)];
    (proptest::collection::vec(part(), NAMES.len()), purpose, any::<bool>())
        .prop_map(|(parts, purpose, approved)| build(&parts, purpose, approved))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_object_stands_in_exactly_one_place((world, release) in worlds()) {
        let plan = world.plan(&release);
        let mut placed = BTreeSet::new();
        for key in plan.actions().map(|a| &a.key).chain(plan.kept.iter().map(|k| &k.key)) {
            prop_assert!(placed.insert(key.clone()), "{key} twice");
        }
        let wanted = release.objects().map(|(_, o)| o.key.clone());
        let all: BTreeSet<_> = wanted.chain(world.inventory.objects.keys().cloned()).collect();
        prop_assert_eq!(placed, all);
    }

    #[test]
    fn nothing_is_deleted_but_our_own_that_the_release_dropped((world, release) in worlds()) {
        let plan = world.plan(&release);
        let wanted: BTreeSet<_> = release.objects().map(|(_, o)| &o.key).collect();
        let mut counted = 0;
        for action in plan.actions().filter(|a| a.verb == Verb::Delete) {
            let entry = &world.inventory.objects[&action.key];
            let seen = &world.observed.objects[&action.key];
            prop_assert_eq!(seen.part_of.as_deref(), Some(SET));
            prop_assert!(!wanted.contains(&action.key));
            prop_assert!(entry.origin != Origin::Adopted);
            prop_assert!(!world.siblings[SIBLING].wants.contains(&action.key));
            let precondition = action.precondition.as_ref().unwrap();
            prop_assert_eq!((&*precondition.uid, &*precondition.resource_version), ("u", "1"));
            counted += usize::from(action.why == crate::plan::Why::Dropped);
        }
        let budget = world.assignment.policy.prune.budget(world.inventory.objects.len());
        prop_assert!(counted <= budget || plan.hold.is_some() || world.assignment.deletions_approved);
    }

    #[test]
    fn what_is_applied_comes_from_the_release_and_force_needs_a_claim((world, release) in worlds()) {
        let plan = world.plan(&release);
        for (planned, layer) in plan.layers.iter().zip(&release.layers) {
            prop_assert_eq!(&planned.id, &layer.id);
            for action in &planned.actions {
                let object = &layer.content.objects[action.object.unwrap()];
                prop_assert_eq!(&object.key, &action.key);
                let seen = world.observed.objects.get(&action.key);
                let ours = seen.is_some_and(|s| s.part_of.as_deref().is_some_and(|p| p == SET || p == SIBLING));
                prop_assert!(!action.force || ours || world.inventory.objects.contains_key(&action.key));
            }
        }
    }
}

//! Release against release, and how plans print.

use proptest::prelude::*;

use super::*;
use crate::model::fleet::OnRemoval;
use crate::plan::notes::{NoteKind, NoteSeverity};
use crate::plan::offline::{FleetPlan, Rules, Unplanned, What, compare, print};

fn no_rules() -> BTreeMap<crate::model::name::FleetName, Rules> {
    BTreeMap::new()
}

fn retail(rules: Rules) -> BTreeMap<crate::model::name::FleetName, Rules> {
    BTreeMap::from([("retail".parse().unwrap(), rules)])
}

fn fleet(targets: std::ops::Range<u32>, layers: impl Fn(u32) -> Vec<ReleaseLayer>) -> Vec<Release> {
    targets.map(|n| release_of(&format!("edge-{n:03}"), layers(n))).collect()
}

#[test]
fn equal_changes_are_grouped_and_printed_once() {
    let from = fleet(1..46, |n| {
        let objects =
            vec![object(&web(1, "web")), plain("ConfigMap shop/old"), plain("ConfigMap shop/moves")];
        let own = vec![plain(&format!("ConfigMap shop/own-{n}"))];
        vec![layer("base", &[], vec![]), layer("shop", &["base"], objects), layer("own", &[], own)]
    });
    let to = fleet(1..46, |n| {
        let replicas = if n == 7 { 3 } else { 2 };
        let objects = vec![object(&web(replicas, "web")), plain("ConfigMap shop/new")];
        let own = vec![plain(&format!("ConfigMap shop/own-{n}"))];
        let base = vec![plain("ConfigMap shop/moves")];
        vec![layer("base", &[], base), layer("shop", &["base"], objects), layer("own", &[], own)]
    });
    let mut from = from;
    from[44] = to[44].clone();
    let unplanned = Unplanned {
        fleet: "retail".parse().unwrap(),
        target: "edge-099".parse().unwrap(),
        reason: "clusters/eu.yaml:3:1: unknown variable 'vipp'".into(),
    };
    let plan = compare(&from, &to, &no_rules()).unplanned([unplanned]);
    assert_eq!(print::plain(&plan), include_str!("golden/grouped.txt"));
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<FleetPlan>(&json).unwrap(), plan);
    let mut one = plan.clone();
    one.keep_targets(&["edge-007".parse().unwrap(), "edge-045".parse().unwrap()]);
    assert_eq!((one.groups.len(), one.unchanged.len(), one.unplanned.len()), (1, 1, 0));
    one.keep_targets(&[]);
    assert_eq!(one.groups.len(), 1);
}

#[test]
fn what_differs_by_the_targets_own_name_is_one_change_and_values_read_as_kubectl_reads_them() {
    let settings = |n: u32, value: &str| {
        let mut map = manifest("ConfigMap shop/settings");
        let other = if n == 4 { "edge-0041" } else { "edge" };
        map["data"] =
            json!({"self": format!("https://edge-{n:03}.example.com"), "on": value, "other": other});
        object(&map)
    };
    let from = fleet(1..5, |n| vec![layer("shop", &[], vec![settings(n, "no")])]);
    let to = fleet(1..5, |n| vec![layer("shop", &[], vec![settings(n, "yes")])]);
    let plan = compare(&from, &to, &no_rules());
    let text = print::plain(&plan);
    assert_eq!(plan.groups.len(), 2, "{text}");
    for part in [
        "edge-001, edge-002 and edge-003 (fleet retail)",
        "edge-004 (fleet retail)",
        "   self: https://${{ cluster.name }}.example.com",
        "   self: https://edge-004.example.com",
        "-  'on': 'no'",
        "+  'on': 'yes'",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
}

#[test]
fn colours_are_ansi_and_nothing_else_differs() {
    let from = release(vec![layer("shop", &[], vec![object(&web(1, "web")), plain("Namespace shop")])]);
    let to = release(vec![layer("shop", &[], vec![object(&web(2, "api"))])]);
    let plan = compare([&from], [&to], &no_rules());
    let text = print::text(&plan);
    assert!(text.contains("\x1b[31m-  replicas: 1\x1b[0m"), "{text:?}");
    assert_eq!(anstream::adapter::strip_str(&text).to_string(), print::plain(&plan));
}

#[test]
fn markdown_folds_and_cannot_be_broken_out_of() {
    let mut evil = manifest("ConfigMap shop/a");
    evil["metadata"]["name"] = "<img src=x>`*[a](b)".into();
    evil["data"] = json!({"k": "```\n</details>\n\u{202e}````"});
    let from = fleet(1..6, |_| vec![layer("shop", &[], vec![])]);
    let to = fleet(1..6, |_| vec![layer("shop", &[], vec![object(&evil)])]);
    let text = print::markdown(&compare(&from, &to, &no_rules()));
    assert_eq!(text, include_str!("golden/fold.md"));
    let long = (0..500).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let mut big = manifest("ConfigMap shop/big");
    big["data"] = long.into();
    let to = release(vec![layer("shop", &[], vec![object(&big)])]);
    let from = release(vec![layer("shop", &[], vec![])]);
    let text = print::markdown(&compare([&from], [&to], &no_rules()));
    assert!(text.contains("… and 307 more lines"), "{}", &text[text.len() - 200..]);
}

#[test]
fn targets_that_join_and_leave_list_their_objects_without_diffs() {
    let edge = release(vec![layer("shop", &[], vec![plain("ConfigMap shop/a"), plain("Namespace shop")])]);
    let joins = compare([], [&edge], &no_rules());
    assert_eq!(
        print::plain(&joins),
        "\
edge-001 (new in the fleet) (fleet retail)
  p/shop
    + ConfigMap shop/a  profiles/p/a.yaml:1:1
    + Namespace shop  profiles/p/a.yaml:1:1

1 of 1 target would change
"
    );
    let leaves = print::plain(&compare([&edge], [], &no_rules()));
    assert!(leaves.contains("warning: leaves the fleet: its 2 objects stay as they are"), "{leaves}");
    let deletes = Rules { on_removal: OnRemoval::Delete, ..Rules::default() };
    let leaves = print::plain(&compare([&edge], [], &retail(deletes)));
    assert!(leaves.contains("danger: leaves the fleet: all 2 objects are deleted"), "{leaves}");
}

fn notes(from: Vec<ReleaseObject>, to: Vec<ReleaseObject>, rules: Rules) -> Vec<NoteKind> {
    let [from, to] = [from, to].map(|objects| release(vec![layer("shop", &[], objects)]));
    let plan = compare([&from], [&to], &retail(rules));
    let notes = plan.groups.into_iter().flat_map(|group| group.change.notes).collect::<Vec<_>>();
    assert!(notes.is_sorted_by_key(|note| note.severity));
    notes.into_iter().map(|note| note.what).collect()
}

#[test]
fn notes_say_what_to_look_at_twice() {
    let stay = || plain("ConfigMap shop/stay");
    let unprotected = || {
        let mut rules = Rules::default();
        rules.prune.protect.clear();
        rules
    };
    let object_of = |text: &str| key(text);
    for (text, deletes) in [
        ("Namespace shop", NoteKind::DeletesNamespace { object: object_of("Namespace shop") }),
        (
            "PersistentVolumeClaim shop/data",
            NoteKind::DeletesVolume { object: object_of("PersistentVolumeClaim shop/data") },
        ),
    ] {
        let protected = NoteKind::Protected { object: key(text) };
        assert_eq!(notes(vec![stay(), plain(text)], vec![stay()], Rules::default()), [protected]);
        assert_eq!(notes(vec![stay(), plain(text)], vec![stay()], unprotected()), [deletes]);
    }
    let crd = "CustomResourceDefinition.apiextensions.k8s.io a.b.c";
    assert_eq!(
        notes(vec![stay(), plain(crd)], vec![stay()], unprotected()),
        [NoteKind::DeletesCrd { object: key(crd) }]
    );
    let (deployment, fields) = (key("Deployment.apps shop/web"), vec!["/spec/selector".to_owned()]);
    let immutable = NoteKind::Immutable { object: deployment.clone(), fields: fields.clone() };
    assert_eq!(notes(vec![object(&web(1, "a"))], vec![object(&web(1, "b"))], Rules::default()), [immutable]);
    let mut allowed = web(1, "b");
    allowed["metadata"]["annotations"] = json!({"fairlead.dev/replace": "allow"});
    let replaces = NoteKind::Replaces { object: deployment, fields };
    assert_eq!(notes(vec![object(&web(1, "a"))], vec![object(&allowed)], Rules::default()), [replaces]);

    let many: Vec<_> = (0..12).map(|n| plain(&format!("ConfigMap shop/c{n}"))).collect();
    let budget = NoteKind::Budget { count: 7, of: 12, budget: 6 };
    assert_eq!(notes(many.clone(), many[..5].to_vec(), Rules::default()), [budget]);
    assert_eq!(notes(many.clone(), many[..6].to_vec(), Rules::default()), []);
    assert_eq!(
        notes(many[..4].to_vec(), vec![], Rules::default()),
        [NoteKind::LosesEverything { of: 4, allowed: false }]
    );
    let hashed = |suffix: &str| vec![plain(&format!("ConfigMap shop/app-{suffix}"))];
    let mut none = Rules::default();
    none.prune.max_deletions = crate::model::units::Amount::Count(0);
    assert_eq!(notes(hashed("7f9c8d6b5k"), hashed("8h2kk7m2f4"), none), []);
}

#[test]
fn a_namespace_that_a_manifest_leaves_out_is_default() {
    let [from, to] = ["ConfigMap a", "ConfigMap default/a"]
        .map(|text| release(vec![layer("shop", &[], vec![plain(text)])]));
    let plan = compare([&from], [&to], &no_rules());
    let change = &plan.groups[0].change.layers[0].objects;
    assert_eq!((change.len(), &change[0].what), (1, &What::Changed));
}

// ---- properties

fn releases() -> impl Strategy<Value = Vec<Release>> {
    let names = ["ConfigMap shop/a", "Secret shop/s", "Deployment.apps shop/web", "Namespace shop"];
    let part = proptest::option::of((0..2usize, 0..3u8));
    proptest::collection::vec(proptest::option::of(proptest::collection::vec(part, names.len())), 3).prop_map(
        move |targets| {
            let present = targets.into_iter().enumerate().filter_map(|(n, parts)| Some((n, parts?)));
            present
                .map(|(n, parts)| {
                    let mut layers: [Vec<ReleaseObject>; 2] = Default::default();
                    for (name, part) in names.iter().zip(parts) {
                        let Some((layer, value)) = part else { continue };
                        let mut manifest = manifest(name);
                        manifest["data"] = json!({"value": value.to_string()});
                        layers[layer].push(object(&manifest));
                    }
                    let layers = layers
                        .into_iter()
                        .enumerate()
                        .map(|(n, objects)| layer(&format!("l{n}"), &[], objects));
                    release_of(&format!("edge-{n}"), layers.collect())
                })
                .collect()
        },
    )
}

/// What of a plan must come back the other way round: who, which object, and how.
fn essence(plan: &FleetPlan, mirrored: bool) -> BTreeSet<(String, String, String, String)> {
    let mut all = BTreeSet::new();
    for group in &plan.groups {
        for (layer, object) in
            group.change.layers.iter().flat_map(|l| l.objects.iter().map(move |o| (&l.layer, o)))
        {
            let (place, what) = match (&object.what, mirrored) {
                (What::Added, false) | (What::Removed, true) => (layer.to_string(), "added".to_owned()),
                (What::Removed, false) | (What::Added, true) => (layer.to_string(), "removed".to_owned()),
                (What::Moved { from }, false) => (layer.to_string(), format!("from {from}")),
                (What::Moved { from }, true) => (from.to_string(), format!("from {layer}")),
                (other, _) => (layer.to_string(), format!("{other:?}")),
            };
            for target in &group.targets {
                all.insert((target.to_string(), place.clone(), object.object.to_string(), what.clone()));
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_back_mirrors_the_plan_there(from in releases(), to in releases()) {
        let there = compare(&from, &to, &no_rules());
        let back = compare(&to, &from, &no_rules());
        prop_assert_eq!(essence(&there, false), essence(&back, true));
        prop_assert_eq!(&there.unchanged, &back.unchanged);
        prop_assert!(compare(&from, &from, &no_rules()).groups.is_empty());
        // Every target stands in exactly one place.
        let in_groups = there.groups.iter().map(|g| g.targets.len()).sum::<usize>();
        let all: BTreeSet<_> = from.iter().chain(&to).map(|r| &r.target).collect();
        prop_assert_eq!(in_groups + there.unchanged.len(), all.len());
        for note in there.groups.iter().flat_map(|g| &g.change.notes) {
            prop_assert_eq!(note.severity == NoteSeverity::Info, matches!(note.what, NoteKind::Protected { .. }), "{:?}", note);
        }
    }
}

//! Whole plans: keys, layers, order.

use super::*;
use crate::model::assignment::{Cause, Hold};
use crate::plan::applied;
use crate::plan::{Precondition, Served, Verb};

fn crd(scope: &str) -> ReleaseObject {
    let mut crd = manifest("CustomResourceDefinition.apiextensions.k8s.io queues.example.com");
    crd["spec"] = json!({"group": "example.com", "scope": scope, "names": {"kind": "Queue"}});
    object(&crd)
}

#[test]
fn a_converged_cluster_needs_nothing() {
    let objects = vec![plain("Namespace shop"), plain(WEB), plain("ConfigMap shop/a")];
    let release = release(vec![layer("shop", &[], objects)]);
    let plan = World::at(&release).plan(&release);
    assert!(plan.is_noop() && !plan.layers[0].changes);
    assert_eq!((plan.hold, plan.fail, plan.prune, plan.kept), (None, None, vec![], vec![]));
}

const WEB: &str = "Deployment.apps shop/web";

#[test]
fn a_change_touches_one_object_and_moves_keep_theirs() {
    let before = release(vec![
        layer("a", &[], vec![plain("ConfigMap shop/one"), plain("ConfigMap shop/two")]),
        layer("b", &[], vec![]),
    ]);
    let mut two = manifest("ConfigMap shop/two");
    two["data"] = json!({"k": "v"});
    let after = release(vec![
        layer("a", &[], vec![]),
        layer("b", &[], vec![object(&two), plain("ConfigMap shop/one")]),
    ]);
    let plan = World::at(&before).plan(&after);
    assert_eq!(
        lines(&plan),
        [
            "b: update! ConfigMap shop/two (the release changes it)",
            "b: unchanged ConfigMap shop/one (as it should be)"
        ]
    );
    assert_eq!(plan.hold, None);
}

#[test]
fn namespaces_and_crds_come_first_and_actions_know_their_bytes() {
    let release =
        release(vec![layer("shop", &[], vec![plain(WEB), crd("Namespaced"), plain("Namespace shop")])]);
    let plan = World::new().plan(&release);
    let layer = &plan.layers[0];
    let order: Vec<_> = layer.actions.iter().map(|a| (a.key.kind(), a.object)).collect();
    assert_eq!(
        order,
        [("CustomResourceDefinition", Some(1)), ("Namespace", Some(2)), ("Deployment", Some(0))]
    );
    assert_eq!(layer.first, 2);
}

#[test]
fn keys_take_the_scope_of_the_cluster_or_of_the_releases_own_crds() {
    let queue = |namespace: Option<&str>| {
        let mut queue = manifest("Queue.example.com q");
        if let Some(namespace) = namespace {
            queue["metadata"]["namespace"] = namespace.into();
        }
        object(&queue)
    };
    let mut namespace = manifest("Namespace shop");
    namespace["metadata"]["namespace"] = "nonsense".into();
    let objects =
        vec![crd("Namespaced"), queue(None), plain("ConfigMap a"), object(&namespace), plain("Thing.x.y z")];
    let release = release(vec![layer("shop", &[], objects)]);
    let plan = World::new().plan(&release);
    let all: BTreeMap<_, _> = plan.actions().map(|a| (a.key.to_string(), a.served.clone())).collect();
    let by = Served::By(key("CustomResourceDefinition.apiextensions.k8s.io queues.example.com"));
    let expected = [
        ("ConfigMap default/a", Served::Yes),
        ("CustomResourceDefinition queues.example.com", Served::Yes),
        ("Namespace shop", Served::Yes),
        ("Queue default/q", by),
        ("Thing z", Served::No),
    ];
    assert_eq!(all, expected.map(|(key, served)| (key.to_owned(), served)).into());
}

#[test]
fn one_object_in_two_places_fails_with_both() {
    let first = vec![plain("ConfigMap a")];
    let release = release(vec![layer("x", &[], first), layer("y", &[], vec![plain("ConfigMap default/a")])]);
    let plan = World::new().plan(&release);
    let Some(Cause::Refused { object, message }) = &plan.fail else { panic!("{:?}", plan.fail) };
    assert_eq!(object.to_string(), "ConfigMap default/a");
    assert_eq!(
        message,
        "stands twice in the release: profiles/p/a.yaml:1:1 and profiles/p/a.yaml:1:1; remove one"
    );
    assert_eq!(plan.actions().count(), 1);
}

/// Also where an object came past the first check.
#[test]
fn threat_fairleads_own_records_are_no_content() {
    for own in ["ConfigMap fairlead-system/fairlead-default.g", "Namespace fairlead-system"] {
        let release = release(vec![layer("x", &[], vec![plain("ConfigMap shop/a"), plain(own)])]);
        let plan = World::new().plan(&release);
        let Some(Cause::Refused { object, message }) = &plan.fail else { panic!("{:?}", plan.fail) };
        assert_eq!(*object, key(own));
        assert!(message.contains("is where Fairlead keeps its own records; remove it at"), "{message}");
        assert!(plan.actions().all(|action| action.key != key(own)), "{:?}", plan.actions().count());
        // Nor is it healed because it stands in an older release.
        let world = World::at(&release);
        let standing = applied(&[&release], &world.inventory, &world.observed.kinds).unwrap();
        assert!(standing.objects().all(|(_, object)| object.key != key(own)));
    }
    // What is not there is not meant.
    let others = ["Namespace fairlead-systems", "ConfigMap shop/fairlead-system"];
    let release = release(vec![layer("x", &[], others.iter().map(|other| plain(other)).collect())]);
    assert_eq!(World::new().plan(&release).fail, None);
}

#[test]
fn layers_wait_for_the_dependencies_that_change() {
    let layers = |changed: &str| {
        let object = |name: &str| {
            let mut one = manifest(&format!("ConfigMap shop/{name}"));
            if name == changed {
                one["data"] = json!({"k": "v"});
            }
            vec![object(&one)]
        };
        release(vec![
            layer("cni", &[], object("cni")),
            layer("csi", &["cni"], object("csi")),
            layer("app", &["csi"], object("app")),
            layer("side", &[], object("side")),
        ])
    };
    let waits = |world: &World, changed: &str| {
        let plan = world.plan(&layers(changed));
        let names = |ids: &[LayerId]| ids.iter().map(|id| id.layer.to_string()).collect::<Vec<_>>().join("+");
        plan.layers.iter().map(|l| names(&l.waits)).collect::<Vec<_>>()
    };
    let converged = World::at(&layers(""));
    assert_eq!(waits(&converged, ""), ["", "", "", ""]);
    // Through a layer that does not change itself.
    assert_eq!(waits(&converged, "cni"), ["", "cni", "cni", ""]);
    assert_eq!(waits(&converged, "csi"), ["", "", "csi", ""]);
    assert_eq!(waits(&World::new(), ""), ["", "cni", "cni+csi", ""]);
    // Killed after the apply: the layer is as the release wants it, but the result is not recorded.
    let mut resumed = World::at(&layers("cni"));
    resumed.remembers("ConfigMap shop/cni").applied = Some(plain("ConfigMap shop/cni").digest);
    assert_eq!(waits(&resumed, "cni"), ["", "cni", "cni", ""]);
    // Drift of another layer is a change of it too, but no lost proof is.
    let mut drifted = World::at(&layers(""));
    drifted.remembers("ConfigMap shop/cni").fields = None;
    assert_eq!(waits(&drifted, ""), ["", "", "", ""]);
}

#[test]
fn replacing_must_be_allowed_on_the_object() {
    let plan = |mark: Option<&str>, live: bool| {
        let mut web = manifest(WEB);
        if let Some(mark) = mark {
            web["metadata"]["annotations"] = json!({"fairlead.dev/replace": mark});
        }
        let release = release(vec![layer("shop", &[], vec![object(&web)])]);
        let mut world = World::at(&release);
        world.see(WEB).replace_allowed = live;
        let action = world.plan(&release).layers[0].actions[0].clone();
        (action.may_replace, action.precondition.is_some())
    };
    assert_eq!(plan(None, false), (false, false));
    assert_eq!(plan(Some("deny"), false), (false, false));
    assert_eq!(plan(Some("allow"), false), (true, true));
    assert_eq!(plan(None, true), (true, true));
}

#[test]
fn a_foreign_owner_holds_everything() {
    let release = release(vec![layer("shop", &[], vec![plain(WEB), plain("ConfigMap shop/a")])]);
    let mut world = World::at(&release);
    world.inventory.objects.remove(&key(WEB));
    world.see(WEB).part_of = Some("applyset-x-v1".into());
    let plan = world.plan(&release);
    let owner = "applyset-x-v1".to_owned();
    assert_eq!(plan.hold, Some(Hold::ForeignOwner { object: key(WEB), owner }));
    assert_eq!(plan.layers[0].actions[0].verb, Verb::Held);
}

#[test]
fn a_plan_prints_as_json() {
    let before = release(vec![layer("shop", &[], vec![plain(WEB)])]);
    let after = release(vec![layer("shop", &[], vec![plain("ConfigMap shop/a")])]);
    let plan = World::at(&before).plan(&after);
    let value = serde_json::to_value(&plan).unwrap();
    assert_eq!(value.pointer("/layers/0/actions/0/verb"), Some(&json!("create")));
    assert_eq!(value.pointer("/prune/0/0/why"), Some(&json!("dropped")));
    let precondition = Precondition { uid: "u".into(), resource_version: "1".into() };
    assert_eq!(plan.prune[0][0].precondition, Some(precondition));
}

#[test]
fn what_stands_is_put_together_from_the_releases_that_have_its_bytes() {
    let with = |name: &str, value: &str| {
        let mut map = manifest(name);
        map["data"] = json!({"k": value});
        object(&map)
    };
    let (one, two) = ("ConfigMap shop/one", "ConfigMap shop/two");
    let old = release(vec![layer("a", &[], vec![with(one, "old"), with(two, "old"), plain(WEB)])]);
    let new = release(vec![layer("a", &[], vec![with(one, "new")]), layer("b", &[], vec![with(two, "new")])]);
    // The new release got as far as the first object; a third was never applied.
    let mut world = World::at(&old);
    world.remembers(one).applied = Some(with(one, "new").digest);
    world.remembers(WEB).applied = None;
    let applied = crate::plan::applied(&[&new, &old], &world.inventory, &world.observed.kinds).unwrap();
    let found =
        applied.objects().map(|(layer, object)| (layer.id.to_string(), object.key.clone(), object.digest));
    let in_a = layer_id("a").to_string();
    let expected = [(one, "new"), (two, "old")];
    let expected = expected.map(|(name, value)| (in_a.clone(), key(name), with(name, value).digest));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(crate::plan::applied(&[], &world.inventory, &world.observed.kinds).is_none());
}

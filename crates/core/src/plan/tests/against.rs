//! Release against live objects.

use super::*;
use crate::plan::offline::{FleetPlan, LayerChange, Member, What, against, covers, fold_string_data, print};

fn live_change(
    desired: &Value,
    live: Option<Value>,
    owned: &[&str],
    change: impl FnOnce(&mut World),
) -> String {
    let release = release(vec![layer("shop", &[], vec![object(desired)])]);
    let mut world = World::at(&release);
    let key = release.layers[0].content.objects[0].key.clone();
    if live.is_none() {
        world.observed.objects.clear();
        world.inventory.objects.clear();
    }
    change(&mut world);
    let plan = world.plan(&release);
    let values = live.map(|live| (key, live)).into_iter().collect();
    let owned: Vec<String> = owned.iter().map(|p| (*p).to_owned()).collect();
    let change = against(&release, &plan, &world.inventory, &values, |_| owned.clone());
    let member = Member { fleet: "retail".parse().unwrap(), target: "edge-001".parse().unwrap() };
    print::plain(&FleetPlan::of([(member, change)]))
}

fn live_web() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "managedFields": [],
            "annotations": {"fairlead.dev/digest": "x", "deployment.kubernetes.io/revision": "1"},
            "labels": {"applyset.kubernetes.io/part-of": "y"}},
        "spec": {"replicas": 5, "selector": {"matchLabels": {"app": "web"}}, "strategy": {"type": "RollingUpdate"},
            "minReadySeconds": 3, "progressDeadlineSeconds": 600},
        "status": {"replicas": 5},
    })
}

#[test]
fn only_what_we_say_or_own_is_compared_with_live_objects() {
    let drifted = |w: &mut World| w.see("Deployment.apps shop/web").fields = None;
    let owned = [
        "/spec/minReadySeconds",
        "/metadata/annotations/fairlead.dev~1digest",
        "/metadata/labels/applyset.kubernetes.io~1part-of",
    ];
    assert_eq!(
        live_change(&web(2, "web"), Some(live_web()), &owned, drifted),
        "\
edge-001 (fleet retail)
  p/shop
    ~ Deployment shop/web  (put right: someone else changed it)  profiles/p/a.yaml:1:1
        @@ -4,8 +4,7 @@
           name: web
           namespace: shop
         spec:
        -  minReadySeconds: 3
        -  replicas: 5
        +  replicas: 2
           selector:
             matchLabels:
               app: web

1 of 1 target would change
"
    );
    let ignored = live_change(&web(2, "web"), Some(live_web()), &[], |w| {
        drifted(w);
        w.ignore("/spec/replicas");
        w.see("Deployment.apps shop/web").yielded = vec!["/spec/replicas".into()];
    });
    assert!(ignored.starts_with("No changes"), "what others own is not sent: {ignored}");
    assert!(live_change(&web(5, "web"), Some(live_web()), &[], |_| {}).starts_with("No changes (1 target)"));
    let fresh = live_change(&web(2, "web"), None, &[], |_| {});
    assert!(
        fresh.starts_with("edge-001 (new in the fleet)")
            && fresh.contains("+ Deployment shop/web  (new in the release)")
    );
    let held = live_change(&web(2, "web"), Some(live_web()), &[], |w| {
        w.inventory.objects.clear();
        w.see("Deployment.apps shop/web").part_of = Some("x".into());
    });
    assert!(
        held.contains("danger: waits for a person: Deployment shop/web is managed by another set (x)"),
        "{held}"
    );
}

#[test]
fn what_leaves_is_shown_with_its_fate() {
    let before = release(vec![layer(
        "shop",
        &[],
        vec![plain("ConfigMap shop/a"), plain("Namespace shop"), plain("ConfigMap shop/b")],
    )]);
    let after = release(vec![layer("shop", &[], vec![plain("ConfigMap shop/b")])]);
    let world = World::at(&before);
    let live =
        json!({"metadata": {"name": "a", "namespace": "shop", "uid": "u"}, "data": {"k": "v"}, "status": {}});
    let values = BTreeMap::from([(key("ConfigMap shop/a"), live)]);
    let change = against(&after, &world.plan(&after), &world.inventory, &values, |_| vec![]);
    let [LayerChange { objects, .. }] = &change.layers[..] else { panic!("{change:?}") };
    let what: Vec<_> =
        objects.iter().map(|o| (o.object.to_string(), o.what.clone(), o.diff.as_str())).collect();
    let diff = "@@ -1,5 +0,0 @@\n-metadata:\n-  name: a\n-  namespace: shop\n-data:\n-  k: v\n";
    assert_eq!(
        what,
        [("ConfigMap shop/a".to_owned(), What::Removed, diff), ("Namespace shop".to_owned(), What::Kept, "")]
    );
}

#[test]
fn covering_knows_what_servers_write_otherwise() {
    let container =
        |cpu: Value| json!({"name": "web", "resources": {"limits": {"cpu": cpu, "memory": "1024Mi"}}});
    let pod = |containers: Vec<Value>| json!({"spec": {"containers": containers}});
    let sidecar = json!({"name": "sidecar", "image": "x"});
    let live = pod(vec![
        sidecar.clone(),
        json!({"name": "web", "image": "d", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}),
    ]);
    let table = [
        (pod(vec![container(json!("1000m"))]), live.clone(), true),
        (pod(vec![container(json!(1))]), live.clone(), true),
        (pod(vec![container(json!("1001m"))]), live.clone(), false),
        (pod(vec![json!({"name": "gone"})]), live, false),
        // Not a quantity: text is text.
        (json!({"data": {"k": "1000m"}}), json!({"data": {"k": "1"}}), false),
        (json!({"data": {"k": "v"}}), json!({"data": {"k": "v", "more": "x"}}), true),
        (json!({"data": {"k": "v"}}), json!({"data": {}}), false),
        (json!({"data": {}, "list": [], "none": null}), json!({}), true),
        (json!({"args": ["a", "b"]}), json!({"args": ["a", "b"]}), true),
        (json!({"args": ["a", "b"]}), json!({"args": ["b", "a"]}), false),
        (json!({"args": ["a"]}), json!({"args": ["a", "b"]}), false),
        (
            json!({"ports": [{"port": 80}, {"port": 443, "name": "tls"}]}),
            json!({"ports": [{"port": 443, "name": "tls", "protocol": "TCP"}, {"port": 80, "protocol": "TCP"}]}),
            true,
        ),
        (
            json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"k": "v"}}),
            json!({"data": {"k": "dg=="}}),
            true,
        ),
        (
            json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"k": "w"}}),
            json!({"kind": "Secret", "data": {"k": "dg=="}}),
            false,
        ),
        (
            json!({"apiVersion": "a/v1", "kind": "A", "spec": 1}),
            json!({"apiVersion": "a/v2", "spec": 1}),
            true,
        ),
    ];
    for (desired, live, expected) in table {
        assert_eq!(covers(&desired, &live), expected, "{desired} {live}");
    }
}

#[test]
fn string_data_becomes_data_as_a_server_does_it() {
    let secret = |more: Value| {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret"});
        secret.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        secret
    };
    let table = [
        (json!({"stringData": {"a": "b"}}), json!({"data": {"a": "Yg=="}})),
        (
            json!({"stringData": {"a": "b"}, "data": {"a": "eA==", "c": "ZA=="}}),
            json!({"data": {"a": "Yg==", "c": "ZA=="}}),
        ),
        (json!({"stringData": {"a": "b"}, "data": null}), json!({"data": {"a": "Yg=="}})),
        (json!({"data": {"c": "ZA=="}}), json!({"data": {"c": "ZA=="}})),
        // For the server to refuse.
        (json!({"stringData": {"a": 1}, "data": {}}), json!({"stringData": {"a": 1}, "data": {}})),
        (json!({"stringData": "x"}), json!({"stringData": "x"})),
    ];
    for (before, after) in table {
        let mut folded = secret(before);
        fold_string_data(&mut folded);
        assert_eq!(folded, secret(after));
    }
    let mut other = json!({"apiVersion": "v1", "kind": "ConfigMap", "stringData": {"a": "b"}});
    fold_string_data(&mut other);
    assert_eq!(other["stringData"]["a"], "b");
}

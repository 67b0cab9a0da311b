//! What happens without being asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{World, config_map};
use crate::{Clock, Fleet, SimSettings};
use fairlead_cluster::health::{Verdict, verdict};
use fairlead_core::model::object::GroupKind;

fn workload(kind: &str, fail: Option<&str>) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]}}});
    if kind == "Job" {
        spec.as_object_mut().unwrap().remove("selector");
        spec["template"]["spec"]["restartPolicy"] = json!("Never");
    }
    if kind == "StatefulSet" {
        spec["serviceName"] = json!("web");
    }
    if let Some(fail) = fail {
        spec["template"]["metadata"]["annotations"] = json!({crate::FAIL: fail});
    }
    if kind == "Pod" {
        let mut pod = spec["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!("web");
        return pod;
    }
    let group = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    json!({"apiVersion": group, "kind": kind, "metadata": {"name": "web"}, "spec": spec})
}

fn path(object: &Value) -> String {
    let (kind, api_version) = (object["kind"].as_str().unwrap(), object["apiVersion"].as_str().unwrap());
    let root = if api_version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{api_version}") };
    format!("{root}/namespaces/default/{}s/web", kind.to_lowercase())
}

fn judge(world: &World, object: &Value) -> Verdict {
    let group = object["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
    let kind = GroupKind { group: group.into(), kind: object["kind"].as_str().unwrap().into() };
    verdict(&kind, &world.get(&path(object)).1)
}

#[test]
fn workloads_become_healthy_after_a_while() {
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod"] {
        let world = World::new();
        let object = workload(kind, None);
        let (code, made) = world.apply(&path(&object), "us", &object);
        assert_eq!(code, 201, "{made:#}");
        world.advance(1);
        assert!(matches!(judge(&world, &object), Verdict::Progressing(_)), "{kind}");
        world.advance(2);
        let live = world.get(&path(&object)).1;
        assert_eq!(judge(&world, &object), Verdict::Healthy, "{live:#}");
        let entries = live["metadata"]["managedFields"].as_array().unwrap();
        assert!(
            entries.iter().any(|entry| entry["subresource"] == "status" && entry["operation"] == "Update")
        );
        world.advance(60);
        assert_eq!(world.get(&path(&object)).1, live, "{kind} comes to rest");

        if matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet") {
            let mut new = object.clone();
            new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/web:2");
            world.apply(&path(&object), "us", &new);
            assert!(matches!(judge(&world, &object), Verdict::Progressing(_)), "{kind}");
            world.advance(3);
            assert_eq!(judge(&world, &object), Verdict::Healthy, "{kind}");
        }
    }
}

#[test]
fn what_is_told_to_fail_fails() {
    let world = World::new();
    let web = workload("Deployment", Some("crash"));
    world.apply(&path(&web), "us", &web);
    world.advance(300);
    assert!(matches!(judge(&world, &web), Verdict::Progressing(_)));
    world.advance(301);
    assert!(matches!(judge(&world, &web), Verdict::Failed(_)));
    let good = workload("Deployment", None);
    world.apply(&path(&web), "us", &good);
    world.advance(3);
    assert_eq!(judge(&world, &web), Verdict::Healthy);
    for (fail, failed) in [("crash", true), ("pull", false), ("unready", false)] {
        let world = World::new();
        let pod = workload("Pod", Some(fail));
        world.apply(&path(&pod), "us", &pod);
        world.advance(10);
        let verdict = judge(&world, &pod);
        assert_eq!(matches!(verdict, Verdict::Failed(_)), failed, "{fail}: {verdict:?}");
        assert_ne!(verdict, Verdict::Healthy);
    }
}

#[test]
fn a_namespace_goes_with_what_is_in_it() {
    let world = World::new();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    assert_eq!(world.post("/api/v1/namespaces", &namespace).0, 201);
    let maps = "/api/v1/namespaces/shop/configmaps";
    world.post(maps, &config_map("free", json!({})));
    let mut held = config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post(maps, &held);
    let (code, going) = world.delete("/api/v1/namespaces/shop", &Value::Null);
    assert_eq!((code, &going["status"]["phase"]), (200, &json!("Terminating")));
    world.advance(1);
    assert_eq!(world.get(&format!("{maps}/free")).0, 404);
    let (code, refused) = world.post(maps, &config_map("late", json!({})));
    assert_eq!(
        (code, &refused["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating")),
        "{refused}"
    );
    world.merge(&format!("{maps}/held"), &json!({"metadata": {"finalizers": null}}));
    world.advance(1);
    assert_eq!(world.get("/api/v1/namespaces/shop").0, 404);
}

#[test]
fn a_custom_kind_is_served_once_its_definition_is_established() {
    let world = World::new();
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{"name": "v1", "served": true, "storage": true,
            "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "size": {"type": "integer", "default": 3},
                    "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                        "items": {"type": "object", "required": ["id"],
                            "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}}}}},
                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}});
    let (code, made) = world.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd);
    assert_eq!(code, 201, "{made:#}");
    let one = "/apis/example.com/v1/namespaces/default/widgets/one";
    assert_eq!(world.get(one).0, 404);
    world.advance(1);
    let widget = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": spec});
    let (code, made) = world.apply(one, "us", &widget(json!({"parts": [{"id": "a", "n": 1}]})));
    assert_eq!(
        (code, &made["spec"]["size"], &made["metadata"]["generation"]),
        (201, &json!(3), &json!(1)),
        "{made:#}"
    );
    let (_, two) = world.apply(one, "them", &widget(json!({"parts": [{"id": "b", "n": 1}]})));
    assert_eq!((&two["spec"]["parts"][1]["id"], &two["metadata"]["generation"]), (&json!("b"), &json!(2)));
    let (_, reported) =
        world.merge(&format!("{one}/status"), &json!({"spec": {"size": 9}, "status": {"any": "thing"}}));
    assert_eq!((&reported["spec"]["size"], &reported["status"]["any"]), (&json!(3), &json!("thing")));
    assert_eq!(reported["metadata"]["generation"], 2);
    assert_eq!(world.merge(one, &json!({"spec": {"size": "big"}})).0, 422);
    let (_, discovery) = world.get("/apis/example.com/v1");
    assert_eq!(discovery["resources"][0]["kind"], "Widget");

    world.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com", &Value::Null);
    world.advance(1);
    assert_eq!(world.get(one), (404, json!("404 page not found\n")));
}

#[test]
fn what_is_owned_goes_with_its_owner() {
    for (policy, left) in [("Background", 404), ("Foreground", 404), ("Orphan", 200)] {
        let world = World::new();
        let maps = "/api/v1/namespaces/default/configmaps";
        let (_, owner) = world.post(maps, &config_map("owner", json!({})));
        let mut owned = config_map("owned", json!({}));
        owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true}]);
        world.post(maps, &owned);
        world.delete(&format!("{maps}/owner"), &json!({"propagationPolicy": policy}));
        world.advance(1);
        assert_eq!(
            (world.get(&format!("{maps}/owner")).0, world.get(&format!("{maps}/owned")).0),
            (404, left),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_nothing_from_happening() {
    let clock = Arc::new(AtomicU64::new(3_600_000));
    let millis = Arc::clone(&clock);
    let now = move || {
        Timestamp::UNIX_EPOCH.checked_add(Duration::from_millis(millis.load(Ordering::SeqCst))).unwrap()
    };
    let settings = SimSettings { ready_after: Duration::from_millis(50), ..SimSettings::default() };
    let fleet = Fleet::new(settings, Clock::given(now));
    let world = World { cluster: fleet.cluster("one"), fleet: fleet.clone() };
    let driving = tokio::spawn(async move { fleet.drive().await });
    let mut object = workload("Deployment", None);
    let pass = async || {
        tokio::time::sleep(Duration::from_millis(10)).await;
        clock.fetch_add(10, Ordering::SeqCst);
    };
    let healthy = async |object: &Value| {
        for _ in 0..1_000 {
            if judge(&world, object) == Verdict::Healthy {
                return;
            }
            pass().await;
        }
        panic!("{:#}", world.get(&path(object)).1);
    };
    world.apply(&path(&object), "us", &object);
    pass().await;
    clock.store(0, Ordering::SeqCst);
    healthy(&object).await;

    // What was ready stays so when something else of it changes.
    clock.store(7_200_000, Ordering::SeqCst);
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/web:2");
    world.apply(&path(&object), "us", &object);
    pass().await;
    pass().await;
    healthy(&object).await;
    clock.store(0, Ordering::SeqCst);
    object["metadata"]["labels"] = json!({"touched": "yes"});
    world.apply(&path(&object), "us", &object);
    healthy(&object).await;
    driving.abort();
}

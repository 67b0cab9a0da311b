//! Server-side apply.

use serde_json::{Value, json};

use super::{World, config_map, map, owned};

const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

fn web() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
            {"name": "main", "image": "registry.example/web:1", "ports": [{"containerPort": 80}],
             "resources": {"limits": {"cpu": "1000m"}}}]}}}})
}

#[test]
fn what_is_applied_is_owned_and_what_is_dropped_goes() {
    let world = World::new();
    let (code, made) = world.apply(&map("one"), "us", &config_map("one", json!({"a": "1", "b": "2"})));
    assert_eq!((code, owned(&made, "us")), (201, json!({"f:data": {"f:a": {}, "f:b": {}}})), "{made:#}");
    world.merge(&map("one"), &json!({"data": {"c": "theirs"}}));
    let (code, less) = world.apply(&map("one"), "us", &config_map("one", json!({"a": "1"})));
    assert_eq!((code, &less["data"]), (200, &json!({"a": "1", "c": "theirs"})));
    let (_, none) = world.apply(&map("one"), "us", &config_map("one", json!({})));
    assert_eq!(none["data"], json!({"c": "theirs"}));

    world.advance(5);
    let (_, again) = world.apply(&map("one"), "us", &config_map("one", json!({})));
    assert_eq!(again, none, "an apply that changes nothing is no write");
}

#[test]
fn what_others_own_conflicts_until_it_is_forced() {
    let world = World::new();
    world.apply(&map("one"), "helm", &config_map("one", json!({"a": "1", "b": "1"})));
    let mine = config_map("one", json!({"a": "2", "b": "1"}));
    let (code, refused) = world.apply(&map("one"), "us", &mine);
    assert_eq!(code, 409);
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"helm\": .data.a");
    let cause =
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"helm\"", "field": ".data.a"}]);
    assert_eq!(refused["details"], json!({"causes": cause}));
    let (_, forced) = world.apply(&format!("{}?force=true", map("one")), "us", &mine);
    assert_eq!(forced["data"]["a"], "2");
    assert_eq!(owned(&forced, "helm"), json!({"f:data": {"f:b": {}}}));
    assert_eq!(owned(&forced, "us"), json!({"f:data": {"f:a": {}, "f:b": {}}}));
    // A field that two own stays until both have dropped it.
    let (_, both) = world.apply(&map("one"), "us", &config_map("one", json!({"a": "2"})));
    assert_eq!(both["data"], json!({"a": "2", "b": "1"}));
    let (_, one) = world.apply(&map("one"), "helm", &config_map("one", json!({})));
    assert_eq!(one["data"], json!({"a": "2"}));

    world.merge(&map("one"), &json!({"data": {"a": "meddled"}}));
    let (_, live) = world.get(&map("one"));
    assert_eq!(owned(&live, "us"), Value::Null);
    let (_, refused) = world.apply(&map("one"), "us", &mine);
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"tester\" using v1: .data.a"
    );
}

#[test]
fn containers_are_merged_by_name_and_ports_by_their_keys() {
    let world = World::new();
    let (code, made) = world.apply(WEB, "us", &web());
    assert_eq!(code, 201, "{made:#}");
    let container = "k:{\"name\":\"main\"}";
    let port = "k:{\"containerPort\":80,\"protocol\":\"TCP\"}";
    let mine = owned(&made, "us");
    assert_eq!(
        mine["f:spec"]["f:template"]["f:spec"]["f:containers"][container]["f:ports"][port],
        json!({".": {}, "f:containerPort": {}})
    );
    assert_eq!(mine["f:spec"]["f:selector"], json!({}));
    let spec = &made["spec"];
    assert_eq!(
        (&spec["strategy"]["type"], &spec["progressDeadlineSeconds"]),
        (&json!("RollingUpdate"), &json!(600))
    );
    let main = &spec["template"]["spec"]["containers"][0];
    assert_eq!(
        (&main["resources"]["limits"]["cpu"], &main["ports"][0]["protocol"]),
        (&json!("1"), &json!("TCP"))
    );

    let mut side = web();
    side["spec"] =
        json!({"template": {"spec": {"containers": [{"name": "side", "image": "registry.example/side:1"}]}}});
    let (code, two) = world.apply(WEB, "injector", &side);
    assert_eq!(code, 200, "{two:#}");
    let names = |object: &Value| {
        let all = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&two), &two["metadata"]["generation"]),
        (vec!["main".into(), "side".into()], &json!(2))
    );
    side["spec"] = json!({});
    let (_, one) = world.apply(WEB, "injector", &side);
    assert_eq!((names(&one), &one["metadata"]["generation"]), (vec!["main".into()], &json!(3)));
    let (_, again) = world.apply(WEB, "us", &web());
    assert_eq!(again, one, "what a server writes in its own words is no change");
}

#[test]
fn a_dry_run_leaves_no_trace() {
    let world = World::new();
    world.apply(&map("one"), "us", &config_map("one", json!({"a": "1"})));
    let before = world.get(&map("one")).1;
    let (code, would) =
        world.apply(&format!("{}?dryRun=All", map("one")), "us", &config_map("one", json!({"a": "2"})));
    assert_eq!((code, &would["data"]["a"]), (200, &json!("2")));
    let (code, _) = world.apply(&format!("{}?dryRun=All", map("two")), "us", &config_map("two", json!({})));
    assert_eq!((code, world.get(&map("two")).0, world.get(&map("one")).1), (201, 404, before));
}

#[test]
fn managers_can_be_replaced_and_cleared() {
    let world = World::new();
    world.apply(&map("one"), "us", &config_map("one", json!({"a": "1"})));
    let nobody = json!({"metadata": {"managedFields": [{}]}});
    let (code, cleared) = world.merge(&map("one"), &nobody);
    assert_eq!((code, &cleared["metadata"]["managedFields"]), (200, &Value::Null));
    let (code, taken) = world.apply(&map("one"), "us", &config_map("one", json!({"a": "1"})));
    assert_eq!((code, owned(&taken, "before-first-apply")), (200, json!({"f:data": {".": {}, "f:a": {}}})));
}

#[test]
fn what_is_wrong_is_refused() {
    let world = World::new();
    let mut unknown = web();
    unknown["spec"]["nonsense"] = json!(1);
    let (code, refused) = world.apply(WEB, "us", &unknown);
    assert_eq!(code, 500, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains(".spec.nonsense: field not declared in schema"));
    let mut bare = web();
    bare["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    assert_eq!(world.apply(WEB, "us", &bare).0, 422);
    world.apply(WEB, "us", &web());
    let mut moved = web();
    moved["spec"]["selector"] = json!({"matchLabels": {"app": "web", "x": "y"}});
    moved["spec"]["template"]["metadata"]["labels"] = json!({"app": "web", "x": "y"});
    let (code, refused) = world.apply(WEB, "us", &moved);
    assert_eq!(code, 422);
    assert!(refused["message"].as_str().unwrap().ends_with("field is immutable"), "{refused}");
    assert_eq!(world.ask(http::Method::PATCH, WEB, "application/apply-patch+yaml", &web()).0, 422);
}

//! Create, read, change, delete.

use http::Method;
use serde_json::{Value, json};

use super::{MAPS, World, config_map, map, owned};

#[test]
fn an_object_is_made_read_changed_and_deleted() {
    let world = World::new();
    let (code, made) = world.post(MAPS, &config_map("one", json!({"a": "1"})));
    assert_eq!(
        (code, &made["metadata"]["creationTimestamp"]),
        (201, &json!("2026-11-23T08:00:00Z")),
        "{made:#}"
    );
    assert_eq!(owned(&made, "tester"), json!({"f:data": {".": {}, "f:a": {}}}));
    let (code, read) = world.get(&map("one"));
    assert_eq!((code, &read), (200, &made));

    let mut new = read.clone();
    new["data"] = json!({"a": "2"});
    let (code, changed) = world.ask(Method::PUT, &map("one"), "application/json", &new);
    assert_eq!((code, &changed["data"]), (200, &json!({"a": "2"})));
    assert_ne!(changed["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let (code, stale) = world.ask(Method::PUT, &map("one"), "application/json", &new);
    assert_eq!((code, &stale["reason"]), (409, &json!("Conflict")), "{stale:#}");
    let (_, same) = world.merge(&map("one"), &json!({"data": {"a": "2"}}));
    assert_eq!(same, changed);

    let wrong = json!({"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}});
    assert_eq!(world.delete(&map("one"), &wrong).0, 409);
    let (code, status) = world.delete(&map("one"), &Value::Null);
    assert_eq!(
        (code, &status["status"], &status["details"]["kind"]),
        (200, &json!("Success"), &json!("configmaps"))
    );
    let (code, gone) = world.get(&map("one"));
    assert_eq!((code, &gone["message"]), (404, &json!("configmaps \"one\" not found")));
    let none = world.post("/api/v1/namespaces/none/configmaps", &config_map("one", json!({})));
    assert_eq!((none.0, &none.1["details"]["kind"]), (404, &json!("namespaces")));
}

#[test]
fn lists_come_in_pages_of_one_moment() {
    let world = World::new();
    for number in 0..5 {
        let mut object = config_map(&format!("cm-{number}"), json!({"a": "b"}));
        object["metadata"]["labels"] = json!({"odd": (number % 2 == 1).to_string()});
        world.post(MAPS, &object);
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let (_, first) = world.get(&format!("{MAPS}?limit=2"));
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["cm-0".into(), "cm-1".into()], &json!(3))
    );
    assert_eq!(first["items"][0]["kind"], Value::Null);
    world.delete(&map("cm-2"), &Value::Null);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = world.get(&format!("{MAPS}?limit=9&continue={token}"));
    assert_eq!(names(&second), ["cm-2", "cm-3", "cm-4"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let (_, odd) = world.get("/api/v1/configmaps?labelSelector=odd%3Dtrue");
    assert_eq!(names(&odd), ["cm-1", "cm-3"]);
    world.cluster.compact();
    let (code, expired) = world.get(&format!("{MAPS}?limit=9&continue={token}"));
    assert_eq!((code, &expired["reason"]), (410, &json!("Expired")));
}

#[test]
fn a_finalizer_holds_an_object() {
    let world = World::new();
    let mut object = config_map("held", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post(MAPS, &object);
    let (code, held) = world.delete(&map("held"), &Value::Null);
    assert_eq!((code, &held["kind"]), (200, &json!("ConfigMap")));
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    let (code, gone) = world.merge(&map("held"), &json!({"metadata": {"finalizers": null}}));
    assert_eq!((code, &gone["metadata"]["finalizers"]), (200, &Value::Null));
    assert_eq!(world.get(&map("held")).0, 404);
}

#[test]
fn what_is_asked_of_nothing_is_refused_in_plain_text() {
    let world = World::new();
    assert_eq!(world.get("/apis/none.example/v1/things"), (404, json!("404 page not found\n")));
    assert_eq!(world.ask(Method::POST, &map("one"), "application/json", &json!({})).0, 405);
    assert_eq!(world.ask(Method::PATCH, &map("one"), "application/x-unknown", &json!({})).0, 415);
    let (_, version) = world.get("/version");
    assert_eq!(version["gitVersion"], "v1.37.2");
}

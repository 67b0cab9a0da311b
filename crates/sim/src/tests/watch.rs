//! Watches.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::task::noop_waker;
use http::Method;
use http_body::Body as _;
use serde_json::{Value, json};

use super::{MAPS, World, config_map, map};
use crate::Body;

/// A watch that a test reads step by step.
struct Watch(Body);

impl Watch {
    fn open(world: &World, query: &str) -> Self {
        let answer =
            world.raw(Method::GET, &format!("/api/v1/configmaps?watch=1&{query}"), "", String::new());
        assert_eq!(answer.status(), 200);
        Self(answer.into_body())
    }

    /// What it says now; None once it is over.
    fn read(&mut self) -> Option<Vec<(String, Value)>> {
        let waker = noop_waker();
        let mut events = Vec::new();
        loop {
            match Pin::new(&mut self.0).poll_frame(&mut Context::from_waker(&waker)) {
                Poll::Pending => return Some(events),
                Poll::Ready(None) => return if events.is_empty() { None } else { Some(events) },
                Poll::Ready(Some(frame)) => {
                    let data = frame.unwrap().into_data().unwrap();
                    for line in data.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                        let event: Value = serde_json::from_slice(line).unwrap();
                        events.push((event["type"].as_str().unwrap().to_owned(), event["object"].clone()));
                    }
                }
            }
        }
    }

    /// Types and names of what it says now.
    fn names(&mut self) -> Vec<String> {
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let events = self.read().unwrap_or_default();
        events.iter().map(|(what, object)| format!("{what} {}", name(object)).trim().to_owned()).collect()
    }
}

fn labelled(name: &str, on: bool) -> Value {
    let mut object = config_map(name, json!({"a": "b"}));
    object["metadata"]["labels"] = json!({"on": on.to_string()});
    object
}

#[test]
fn a_watch_tells_what_happens_after_a_version() {
    let world = World::new();
    let (_, first) = world.post(MAPS, &config_map("one", json!({})));
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Watch::open(&world, &format!("resourceVersion={version}"));
    assert!(watch.names().is_empty());
    world.post(MAPS, &config_map("two", json!({})));
    world.merge(&map("one"), &json!({"data": {"a": "b"}}));
    world.delete(&map("two"), &Value::Null);
    world.post(
        "/api/v1/namespaces/default/secrets",
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
    );
    assert_eq!(watch.names(), ["ADDED two", "MODIFIED one", "DELETED two"]);
    let mut late = Watch::open(&world, &format!("resourceVersion={version}"));
    assert_eq!(late.names(), ["ADDED two", "MODIFIED one", "DELETED two"]);
    let mut now = Watch::open(&world, "");
    assert_eq!(now.names(), ["ADDED one"]);
}

#[test]
fn an_object_that_loses_its_label_is_deleted_for_those_who_select_by_it() {
    let world = World::new();
    let mut watch = Watch::open(&world, "labelSelector=on%3Dtrue&resourceVersion=0");
    world.post(MAPS, &labelled("one", true));
    world.post(MAPS, &labelled("two", false));
    assert_eq!(watch.names(), ["ADDED one"]);
    world.merge(&map("one"), &labelled("one", false));
    world.merge(&map("two"), &labelled("two", true));
    let events = watch.read().unwrap();
    let versions: Vec<&Value> =
        events.iter().map(|(_, object)| &object["metadata"]["resourceVersion"]).collect();
    assert_eq!((events[0].0.as_str(), events[1].0.as_str()), ("DELETED", "ADDED"));
    assert_eq!(events[0].1["metadata"]["labels"]["on"], "true");
    assert!(versions[0].as_str() < versions[1].as_str());
}

#[test]
fn a_watch_from_a_version_that_is_forgotten_is_told_so() {
    let world = World::new();
    let (_, first) = world.post(MAPS, &config_map("one", json!({})));
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    world.merge(&map("one"), &json!({"data": {"a": "b"}}));
    let mut open = Watch::open(&world, "resourceVersion=0");
    open.read();
    world.advance(700);
    let mut watch = Watch::open(&world, &format!("resourceVersion={version}"));
    let (what, status) = watch.read().unwrap().remove(0);
    assert_eq!(
        (what.as_str(), &status["code"], &status["reason"]),
        ("ERROR", &json!(410), &json!("Expired"))
    );
    assert!(watch.read().is_none());
    // Who was told everything misses nothing.
    world.merge(&map("one"), &json!({"data": {"a": "c"}}));
    assert_eq!(open.names(), ["MODIFIED one"]);
}

#[test]
fn bookmarks_come_and_watches_end_in_time() {
    let world = World::new();
    let mut watch = Watch::open(&world, "resourceVersion=0&allowWatchBookmarks=true&timeoutSeconds=90");
    assert!(watch.names().is_empty());
    world.advance(61);
    let (what, object) = watch.read().unwrap().remove(0);
    assert_eq!((what.as_str(), &object["kind"]), ("BOOKMARK", &json!("ConfigMap")));
    world.advance(30);
    assert!(watch.read().is_none());
    let mut watch = Watch::open(&world, "resourceVersion=0");
    assert!(watch.names().is_empty());
    world.cluster.close_watches();
    assert!(watch.read().is_none());
}

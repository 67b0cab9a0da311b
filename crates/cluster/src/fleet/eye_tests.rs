//! What is kept of what a cluster says, and what not.

use std::convert::Infallible;

use kube::client::Body;
use serde_json::json;

use super::*;
use crate::brake::Brake;
use crate::health::Observer;
use crate::memory::Memory;

/// Without a server: what it sees is told by the test.
fn eye(most: usize) -> Eye {
    let service = tower::service_fn(|_: http::Request<Body>| {
        std::future::pending::<Result<http::Response<Body>, Infallible>>()
    });
    let client = kube::Client::new(service, "default");
    let api = Api::new(client, "test", Brake::default(), Memory::default().share());
    let mut eye = Eye::new(api, Arc::from("set"), "fairlead-main");
    eye.room.set_most(most);
    eye.add(Resource {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        scope: fairlead_core::plan::Scope::Namespaced,
        watchable: true,
    });
    eye
}

fn map() -> GroupKind {
    GroupKind { group: String::new(), kind: "ConfigMap".into() }
}

fn seen(name: &str, version: u64, uid: &str) -> Reduced {
    let object = json!({"metadata": {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": version.to_string()}});
    Observer { manager: "fairlead-main", set: None, ignored: &[] }.reduce(&map(), &object).unwrap()
}

fn hear(eye: &mut Eye, news: News) -> Vec<Change> {
    eye.take(news)
}

fn listed(eye: &Eye, found: Vec<Reduced>, version: u64, went_back: bool) -> News {
    News::Listed { kind: map(), found, version, went_back, _room: eye.room.begin() }
}

#[tokio::test]
async fn what_is_beyond_the_bound_is_not_kept_and_the_kind_is_unknown() {
    let mut eye = eye(10);
    let first = listed(&eye, (0..8).map(|n| seen(&format!("n-{n}"), 1, "u")).collect(), 1, false);
    hear(&mut eye, first);
    assert!(eye.is_listed(&map()) && eye.seen.len() == 8);
    let mut unread = 0;
    for n in 8..500 {
        let changes = hear(&mut eye, News::Seen(Box::new(seen(&format!("n-{n}"), n, "u"))));
        unread += changes.iter().filter(|change| matches!(change, Change::Unread)).count();
    }
    assert_eq!((eye.seen.len(), unread), (10, 1), "and that is said once");
    assert!(eye.is_unread(&map()) && !eye.is_listed(&map()));
    // What is known already is followed all the same, and what we wrote ourselves is kept.
    assert_eq!(hear(&mut eye, News::Seen(Box::new(seen("n-3", 900, "u")))).len(), 1);
    eye.wrote(seen("ours", 901, "u"));
    assert!(eye.get(&seen("ours", 1, "u").key).is_some());
    // A list that fits makes all well again.
    let again = listed(&eye, vec![seen("n-3", 900, "u")], 902, false);
    hear(&mut eye, again);
    assert!(eye.is_listed(&map()) && !eye.is_unread(&map()));
    assert_eq!((eye.seen.len(), eye.kept), (1, 1));
}

#[tokio::test]
async fn a_list_beyond_the_bound_leaves_the_kind_unknown() {
    let mut eye = eye(10);
    let first = listed(&eye, (0..50).map(|n| seen(&format!("n-{n}"), 1, "u")).collect(), 1, false);
    let changes = hear(&mut eye, first);
    assert!(eye.is_unread(&map()) && !eye.is_listed(&map()));
    assert!(!changes.iter().any(|change| matches!(change, Change::Listed { .. })));
    assert_eq!(eye.seen.len(), 10);
}

#[tokio::test]
async fn an_object_with_long_texts_takes_more_of_the_room() {
    let mut eye = eye(10);
    hear(&mut eye, News::Seen(Box::new(seen(&"n".repeat(5_000), 1, "u"))));
    assert_eq!(eye.kept, 5);
    hear(&mut eye, News::Seen(Box::new(seen(&"m".repeat(9_000), 1, "u"))));
    assert!(eye.is_unread(&map()) && eye.kept == 5);
    eye.close();
    assert_eq!(eye.kept, 0);
}

#[tokio::test]
async fn a_server_that_went_back_is_believed() {
    let mut eye = eye(100);
    let first = listed(&eye, vec![seen("a", 900, "old"), seen("b", 901, "old")], 1_000, false);
    hear(&mut eye, first);
    // An older list alone is one that another server of the cluster gave, and says nothing new.
    let older = listed(&eye, vec![seen("a", 3, "new")], 5, false);
    hear(&mut eye, older);
    assert_eq!(&*eye.get(&seen("a", 1, "").key).unwrap().object.uid, "old");
    let back = listed(&eye, vec![seen("a", 3, "new")], 5, true);
    let changes = hear(&mut eye, back);
    assert_eq!(&*eye.get(&seen("a", 1, "").key).unwrap().object.uid, "new");
    assert!(changes.iter().any(|change| matches!(change, Change::Vanished(key) if key.name() == "b")));
    assert_eq!(eye.seen.len(), 1);
}

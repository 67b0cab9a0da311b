use proptest::prelude::*;
use serde_json::json;

use super::*;

fn path(pointer: &str) -> Vec<String> {
    tokens(pointer).unwrap()
}

fn manifest() -> Value {
    json!({"metadata": {"finalizers": ["a/x", "b"]}, "spec": {"replicas": 2, "containers": [
        {"name": "web", "image": "i", "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]},
        {"name": "side", "image": "j"},
    ]}})
}

#[test]
fn patterns_name_items_by_gits_own_list_by_keys_or_all() {
    let web = r#"/spec/containers/k:{"name":"web"}/image"#;
    let tcp = r#"/spec/containers/k:{"name":"web"}/ports/k:{"containerPort":80,"protocol":"TCP"}/name"#;
    let table: &[(&str, &str, bool)] = &[
        ("/spec/replicas", "/spec/replicas", true),
        ("/spec", "/spec/replicas", true),
        ("/spec/paused", "/spec/replicas", false),
        ("/spec/containers/0/image", web, true),
        ("/spec/containers/1/image", web, false),
        ("/spec/containers/7/image", web, false),
        ("/spec/containers/*/image", web, true),
        ("/spec/containers/[name=web]/image", web, true),
        ("/spec/containers/[name=side]/image", web, false),
        ("/spec/containers/[name]/image", web, false),
        (web, web, true),
        ("/spec/containers", web, true),
        // A key's default may be left out in Git.
        ("/spec/containers/0/ports/0/name", tcp, true),
        ("/spec/containers/0/ports/1/name", tcp, false),
        ("/spec/containers/[name=web]/ports/[containerPort=80]/name", tcp, true),
        ("/spec/containers/[name=web]/ports/[containerPort=80, protocol=UDP]/name", tcp, false),
        ("/metadata/finalizers/0", r#"/metadata/finalizers/v:"a~1x""#, true),
        ("/metadata/finalizers/1", r#"/metadata/finalizers/v:"a~1x""#, false),
        // Owned as a whole: an item of an atomic list.
        ("/spec/args/1", "/spec/args", true),
        // A field that is called like a token of a list.
        ("/data/k:x", "/data/f:k:x", true),
        ("/data/0", "/data/0", true),
        ("/data/*", "/data/other", false),
    ];
    for (pattern, field, expected) in table {
        assert_eq!(names(&path(pattern), &path(field), &manifest()), *expected, "{pattern} {field}");
    }
    assert!(tokens("spec/replicas").is_none() && tokens("").is_none());
}

#[test]
fn fields_are_removed_by_what_they_are() {
    let without = |paths: &[&str]| {
        let mut object = manifest();
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        remove(&mut object, &paths);
        object
    };
    assert_eq!(without(&[]), manifest());
    assert_eq!(without(&["/spec/none/deeper", r#"/spec/containers/k:{"name":"gone"}/image"#]), manifest());
    let one = without(&[r#"/spec/containers/k:{"name":"side"}/image"#, "/spec/replicas"]);
    assert_eq!(one["spec"]["containers"][1], json!({"name": "side"}));
    assert_eq!(one["spec"]["containers"][0], manifest()["spec"]["containers"][0]);
    assert_eq!(one["spec"].get("replicas"), None);
    let both = without(&[r#"/spec/containers/k:{"name":"web"}"#, r#"/spec/containers/k:{"name":"side"}"#]);
    assert_eq!(both["spec"]["containers"], json!([]));
    assert_eq!(
        without(&["/metadata/finalizers/i:0", "/metadata/finalizers/i:1"])["metadata"]["finalizers"],
        json!([])
    );
    let mut twice = json!({"l": ["a", "b", "a"]});
    remove(&mut twice, &[r#"/l/v:"a""#.to_owned()]);
    assert_eq!(twice, json!({"l": ["b"]}));
}

#[test]
fn people_read_paths_as_the_server_writes_them() {
    let path = r#"/spec/containers/k:{"name":"web"}/ports/k:{"containerPort":80,"protocol":"TCP"}"#;
    assert_eq!(for_people(path), r#".spec.containers[name="web"].ports[containerPort=80,protocol="TCP"]"#);
    assert_eq!(for_people(r#"/metadata/finalizers/v:"a~1x""#), r#".metadata.finalizers["a/x"]"#);
    assert_eq!(for_people("/data/a~1b"), ".data.a/b");
}

/// A list of maps with distinct names, in any order.
fn items() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::hash_set("[a-e]{1,2}", 1..8).prop_map(|names| names.into_iter().collect())
}

proptest! {
    /// Whatever is removed, in whatever order: just the named items lose just the named field, and the others stay as
    /// and where they are.
    #[test]
    fn just_what_is_named_goes(names in items(), gone in proptest::collection::vec(0_usize..8, 0..8), whole in any::<bool>()) {
        let list: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": "i", "n": 1})).collect();
        let mut object = json!({"l": list});
        let gone: Vec<&String> = gone.iter().filter_map(|index| names.get(*index)).collect();
        let tail = if whole { "" } else { "/image" };
        let paths: Vec<String> = gone.iter().map(|name| format!("/l/k:{{\"name\":\"{name}\"}}{tail}")).collect();
        remove(&mut object, &paths);
        let expected: Vec<Value> = names
            .iter()
            .filter(|name| !(whole && gone.contains(name)))
            .map(|name| if gone.contains(&name) { json!({"name": name, "n": 1}) } else { json!({"name": name, "image": "i", "n": 1}) })
            .collect();
        prop_assert_eq!(object, json!({"l": expected}));
    }

    /// An index means the item that stands there in Git, however the live list is ordered.
    #[test]
    fn an_index_counts_in_git(names_in_git in items(), index in 0_usize..10) {
        let manifest = json!({"l": names_in_git.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
        let pattern = path(&format!("/l/{index}/image"));
        for (at, name) in names_in_git.iter().enumerate() {
            let field = path(&format!("/l/k:{{\"name\":\"{name}\"}}/image"));
            prop_assert_eq!(super::names(&pattern, &field, &manifest), at == index);
        }
    }

    #[test]
    fn nothing_panics(pointer in "[/~\\[\\]=,*kvi:{}\"a0-2]{0,40}", other in "[/~kvif:{}\"a0-2]{0,40}") {
        let (Some(pattern), Some(field)) = (tokens(&pointer), tokens(&other)) else { return Ok(()) };
        let mut object = manifest();
        let _ = super::names(&pattern, &field, &object);
        let _ = for_people(&other);
        remove(&mut object, &[pointer, other]);
    }
}

use serde_json::json;

use super::*;
use crate::schema::built_ins;

fn with<T>(kind: &str, act: impl FnOnce(Typed<'_>) -> T) -> T {
    let table = built_ins();
    let root = table.kinds.iter().find(|one| one.kind == kind).map(|one| one.root).unwrap();
    act(Typed { schema: &table.schema, root })
}

fn set(value: Value) -> FieldSet {
    FieldSet::from_value(&value)
}

#[test]
fn an_object_has_the_fields_that_a_server_would_write_down() {
    let object = json!({"data": {"a": "x"}, "metadata": {"labels": {}, "finalizers": ["f"]}});
    let expected = set(json!({"f:data": {"f:a": {}},
        "f:metadata": {"f:labels": {}, "f:finalizers": {"v:\"f\"": {}}}}));
    assert_eq!(with("ConfigMap", |typed| typed.fields(&object)), expected);
    let object = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {
        "nodeSelector": {"x": "y"},
        "containers": [{"name": "main", "args": ["a"], "ports": [{"containerPort": 80}]}]}}}});
    let expected = set(json!({"f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:nodeSelector": {},
        "f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:name": {}, "f:args": {}, "f:ports": {
            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}}));
    assert_eq!(with("Deployment", |typed| typed.fields(&object)), expected);
}

#[test]
fn lists_with_keys_are_merged_in_an_order_that_both_can_live_with() {
    let pod = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"spec": {"containers": containers}})
    };
    let merged = |live: &[&str], config: &[&str]| {
        let merged = with("Pod", |typed| typed.merge(&pod(live), &pod(config)));
        let names = merged["spec"]["containers"].as_array().unwrap().clone();
        names.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("")
    };
    for (live, config, expected) in [
        ("ab", "ab", "ab"),
        ("ab", "ba", "ba"),
        ("ab", "c", "abc"),
        ("axb", "ba", "xba"),
        ("ab", "acb", "acb"),
        ("", "ab", "ab"),
    ] {
        let split = |text: &'static str| text.split("").filter(|c| !c.is_empty()).collect::<Vec<_>>();
        assert_eq!(merged(&split(live), &split(config)), expected, "{live} with {config}");
    }
}

#[test]
fn differences_name_what_was_added_removed_and_modified() {
    let old = json!({"data": {"a": "1", "b": "2"}, "metadata": {"labels": {"x": "y"}}});
    let new = json!({"data": {"a": "1", "b": "3", "c": "4"}, "metadata": {}});
    let changes = with("ConfigMap", |typed| typed.compare(&old, &new));
    let expected = Changes {
        added: set(json!({"f:data": {"f:c": {}}})),
        modified: set(json!({"f:data": {"f:b": {}}})),
        removed: set(json!({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}})),
    };
    assert_eq!(changes, expected);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let object = json!({"spec": {"replicas": "three", "nonsense": 1,
        "template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}});
    let errors = with("Deployment", |typed| typed.validate(&object));
    let said = [
        ".spec.nonsense: field not declared in schema",
        ".spec.replicas: expected numeric (int or float), got",
        ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
    ];
    assert_eq!(errors.len(), said.len(), "{errors:?}");
    for (error, said) in errors.iter().zip(said) {
        assert!(error.starts_with(said), "{error}");
    }
}

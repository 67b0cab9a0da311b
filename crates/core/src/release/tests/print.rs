use proptest::prelude::*;
use serde_json::{Value, json};

use super::Case;
use super::fixture::{release, repository};
use crate::catalog::yaml::{Dialect, parse};
use crate::release::{LayerCache, object_to_yaml, to_yaml};

#[test]
fn a_release_is_printed_with_layers_and_places() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, annotations: {kubectl.kubernetes.io/last-applied-configuration: canary}}\nstringData: {password: canary}\n";
    let tree =
        repository().with("profiles/other/disk/sub/s.yaml", secret).without("profiles/edge/shop/shop.yaml");
    let release = release(&tree, "a", &LayerCache::default()).unwrap();
    let yaml = to_yaml(&release, false).unwrap();
    assert_eq!(
        yaml,
        r#"---
# edge/net: profiles/edge/net/all.yaml:2:1
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: net
  namespace: kube-system
  labels:
    a: '1'
    b: '2'
spec:
  template:
    spec:
      big: 1000
      hostNetwork: true
      priority: 420
      ratio: 1.5
---
# other/disk: profiles/other/disk/sub/class.json:1:1
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: fast
---
# other/disk: profiles/other/disk/sub/s.yaml:1:1
apiVersion: v1
kind: Secret
metadata:
  name: s
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: (redacted)
stringData:
  password: (redacted)
"#
    );
    assert!(to_yaml(&release, true).unwrap().contains("password: canary"));
}

#[test]
fn a_file_name_cannot_leave_its_comment() {
    let mut case = Case::new("", json!({}));
    case.tree =
        case.tree.with("layer/x\nkind: Evil.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}");
    let yaml = to_yaml(&super::release_of_layer(case.render().unwrap()), false).unwrap();
    assert!(yaml.starts_with("---\n# p/l: layer/x?kind: Evil.yaml:1:1\napiVersion"), "{yaml}");
}

#[test]
fn long_texts_stand_as_blocks() {
    let value = json!({"a": "one\n  two\n", "b": "one\n\n", "c": "x\ny", "d": " x\ny", "e": "tab\t\u{7}"});
    let yaml = "a: |\n  one\n    two\nb: |+\n  one\n\nc: |-\n  x\n  y\nd: \" x\\ny\"\ne: \"tab\\t\\u0007\"\n";
    assert_eq!(object_to_yaml(&value), yaml);
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,12}",
        "[-:#&*!|>'\"%@`,? \n\t~.=<a0_+xe]{0,8}",
        prop::sample::select(vec![
            "yes",
            "No",
            "on",
            "y",
            "0644",
            "0o17",
            "0x1f",
            "1_000",
            "1e3",
            ".inf",
            "~",
            "null",
            "true",
            "60:30",
            "2001-01-01",
            "<<",
            "=",
            "-",
            "+1",
            "0b1",
            "08",
            ""
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e6..1e6f64).prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What is printed means to kubectl what is sent.
    #[test]
    fn what_is_printed_reads_back_the_same(value in any_json()) {
        let manifest = json!({"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "a"}, "data": value});
        let case = Case::new(&manifest.to_string(), json!({}));
        let mut case = case;
        case.expressions = false;
        let layer = case.render().unwrap();
        let release = super::release_of_layer(layer);
        let yaml = to_yaml(&release, false).unwrap();
        let parsed = parse("out.yaml", yaml.as_bytes(), Dialect::Kubernetes);
        prop_assert_eq!(&parsed.diagnostics, &[], "{}", yaml);
        prop_assert_eq!(crate::release::canonical_bytes(&parsed.docs[0].value), crate::release::canonical_bytes(&manifest), "{}", yaml);
    }
}

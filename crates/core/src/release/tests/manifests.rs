use serde_json::json;

use super::Case;

const OK: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

fn names(case: &Case) -> Vec<String> {
    case.render().unwrap().objects.iter().map(|o| format!("{} {}", o.version, o.key)).collect()
}

#[test]
fn files_documents_and_lists_give_objects_in_the_order_of_paths() {
    let mut case = Case::new(
        "---\n---\n# empty\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: b}}\n",
        json!({}),
    );
    case.tree = case.tree
        .with("layer/a/z.yml", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: ns}}\n- apiVersion: v1\n  kind: List\n  items: [{apiVersion: v1, kind: Secret, metadata: {name: s}}]\n")
        .with("layer/b.json", r#"{"apiVersion":"v1","kind":"ConfigMapList","items":[{"metadata":{"name":"x"}},{"metadata":{"name":"y"}}]}"#)
        .with("layer/c.yaml", "apiVersion: x.io/v1\nkind: AllowList\nmetadata: {name: no-items}\nspec: {}\n")
        .with("layer/notes.txt", "kind: Nothing");
    assert_eq!(
        names(&case),
        [
            "v1 Namespace b",
            "v1 Deployment ns/d",
            "v1 Secret s",
            "v1 ConfigMap x",
            "v1 ConfigMap y",
            "v1 AllowList no-items",
        ]
    );
}

#[test]
fn objects_that_are_none_are_refused_with_their_place() {
    for (manifest, expected) in [
        ("- a\n", "layer/a.yaml:1:1: a Kubernetes object is a map"),
        ("text\n", "layer/a.yaml:1:1: a Kubernetes object is a map"),
        ("kind: A\nmetadata: {name: a}\n", "layer/a.yaml:1:1: apiVersion is missing"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "layer/a.yaml:1:1: kind is missing"),
        ("apiVersion: v1\nkind: A\n", "layer/a.yaml:1:1: metadata.name is missing"),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: 1}\n",
            "layer/a.yaml:3:18: metadata.name must be a text (hint: put it in quotes)",
        ),
        ("apiVersion: 1\nkind: A\nmetadata: {name: a}\n", "layer/a.yaml:1:13: apiVersion must be a text"),
        (
            "apiVersion: v1\nkind: A\nmetadata: {generateName: a-}\n",
            "layer/a.yaml:3:26: generateName makes another object on each apply (hint: give",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a/b}\n",
            "layer/a.yaml:3:18: metadata.name must not hold '/'",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: B}\n",
            "layer/a.yaml:3:32: metadata.namespace is not a name",
        ),
        (
            "apiVersion: a/b/c\nkind: A\nmetadata: {name: a}\n",
            "layer/a.yaml:1:13: 'a/b/c' is not an apiVersion; expected v1, or group/v1",
        ),
        ("apiVersion: v1\nkind: A b\nmetadata: {name: a}\n", "layer/a.yaml:2:7: 'A b' is not a kind"),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: {x: yes}}\n",
            "layer/a.yaml:3:33: metadata.labels.x must be a text, and 'yes' means true in YAML 1.1 (hint: put it in quotes)",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, annotations: [x]}\n",
            "metadata.annotations must be a map",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, resourceVersion: '1'}\n",
            "metadata.resourceVersion is set by the API server (hint: remove",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: {applyset.kubernetes.io/part-of: x}}\n",
            "'applyset.kubernetes.io/part-of' in metadata.labels is reserved",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, annotations: {fairlead.dev/digest: x}}\n",
            "'fairlead.dev/digest' in metadata.annotations is reserved (hint: Fairlead sets it itself; remove it)",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, annotations: {fairlead.dev/prunes: allow}}\n",
            "did you mean 'fairlead.dev/prune'?",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: {fairlead.dev/prune: allow}}\n",
            "it is read as an annotation: move it",
        ),
        (
            "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {name: a}\n",
            "a Fleet of Fairlead's own can't be an object of a layer",
        ),
        ("apiVersion: v1\nkind: List\nitems: {a: 1}\n", "the items of a list must be a list"),
        (
            "apiVersion: v1\nkind: List\nitems: ${{ var.l }}\n",
            "layer/a.yaml:3:8: the items of a list must be written out",
        ),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a}\nx: [\n", "yaml-syntax"),
    ] {
        let found = Case::new(manifest, json!({"l": []})).render().unwrap_err();
        let text = format!("{} {}", found[0], found[0].code);
        assert!(found.len() == 1 && text.contains(expected), "{manifest}: {found:?}");
    }
}

#[test]
fn values_are_checked_as_written_ones_are() {
    let manifest =
        "apiVersion: v1\nkind: A\nmetadata: {name: '${{ var.n }}', annotations: {'x': '${{ var.i }}'}}\n";
    let errors = Case::new(manifest, json!({"n": "a/b", "i": [3]})).errors();
    assert_eq!(
        errors,
        [
            "layer/a.yaml:3:18: metadata.name must not hold '/' or '%'",
            "layer/a.yaml:3:53: the value of 'x' in metadata.annotations must be a text",
        ]
    );
}

#[test]
fn names_of_all_kinds_and_allowed_annotations_pass() {
    for manifest in [
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'system:aggregate-to-view'}\n",
        "apiVersion: v1\nkind: A\nmetadata: {name: a, creationTimestamp: null, annotations: {fairlead.dev/replace: allow, fairlead.dev/prune: allow}}\n",
    ] {
        assert_eq!(names(&Case::new(manifest, json!({}))).len(), 1, "{manifest}");
    }
}

#[test]
fn a_stray_kustomization_says_where_it_belongs() {
    let mut case = Case::new(OK, json!({}));
    case.tree = case.tree.with("layer/kustomization.yaml", "resources: [a.yaml]\n");
    assert!(case.errors()[0].contains("hint: a kustomization belongs into a layer with kustomize"));
}

#[test]
fn an_object_beyond_what_a_server_takes_is_refused() {
    let manifest = "apiVersion: v1\nkind: A\nmetadata: {name: a}\ndata:\n  a: ${{ var.big }}\n  b: ${{ var.big }}\n  c: ${{ var.big }}\n  d: ${{ var.big }}\n";
    let errors = Case::new(manifest, json!({"big": "x".repeat(900_000)})).errors();
    assert!(errors[0].starts_with("layer/a.yaml:8:6: the object grows to more than"), "{errors:?}");
    let errors = Case::new(manifest, json!({"big": "x".repeat(1_100_000)})).errors();
    assert!(errors[0].contains("'var.big' gives more than 1048576 bytes"), "{errors:?}");
}

/// Fairlead's own records are no content, however an object comes to its namespace or name.
#[test]
fn nothing_of_ours_is_in_a_layer() {
    for manifest in [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fairlead-default.g, namespace: fairlead-system}\n",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: fairlead-system}\n",
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a, namespace: fairlead-system}}\n",
        "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: a, namespace: '${{ var.ns }}'}}]\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: 'fairlead-${{ var.part }}'}\n",
        "apiVersion: v1\nkind: '${{ var.kind }}'\nmetadata: {name: '${{ var.ns }}'}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: '${{ var.metadata }}'\n",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a, namespace: fairlead-system}\n",
    ] {
        let variables = json!({
            "ns": "fairlead-system", "part": "system", "kind": "Namespace",
            "metadata": {"name": "a", "namespace": "fairlead-system"},
        });
        let found = Case::new(manifest, variables).render().unwrap_err();
        assert!(found.iter().any(|finding| finding.code == "own-namespace"), "{manifest}: {found:?}");
    }
    for manifest in [
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: fairlead-systems}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fairlead-system}\n",
    ] {
        assert!(Case::new(manifest, json!({})).render().is_ok(), "{manifest}");
    }
}

/// What users of other tools met as an error of a decoder, with an offset into a JSON that they never wrote.
#[test]
fn a_value_that_should_be_text_is_named_with_its_place() {
    let pod = |part: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  {part}\n");
    for (manifest, expected) in [
        (pod("containers: [{name: c, env: [{name: E, value: true}]}]"), "layer/a.yaml:5:49: spec.containers.0.env.0.value must be a text, and this is the truth value true"),
        (pod("nodeSelector: {echo: yes}"), "layer/a.yaml:5:24: spec.nodeSelector.echo must be a text, and 'yes' means true in YAML 1.1"),
        (pod("containers: [{name: c, command: [redis, --appendonly, yes]}]"), "layer/a.yaml:5:57: spec.containers.0.command.2 must be a text, and 'yes' means true in YAML 1.1"),
        (pod("containers: [{name: c, image: 1.10}]"), "layer/a.yaml:5:33: spec.containers.0.image must be a text, and '1.10' is the number 1.1"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {metadata: {labels: {release: false}}}}\n".to_owned(), "layer/a.yaml:4:48: spec.template.metadata.labels.release must be a text, and this is the truth value false"),
        ("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: {ingress: [{from: [{podSelector: {matchLabels: {access: true}}}]}]}\n".to_owned(), "layer/a.yaml:4:63: spec.ingress.0.from.0.podSelector.matchLabels.access must be a text"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {port: 8080}\n".to_owned(), "layer/a.yaml:4:14: data.port must be a text, and this is the number 8080"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {id: 0123}\n".to_owned(), "layer/a.yaml:4:18: stringData.id must be a text, and '0123' is the number 83"),
    ] {
        let errors = Case::new(&manifest, json!({})).errors();
        assert!(errors.len() == 1 && errors[0].starts_with(expected), "{manifest}: {errors:?}");
        assert!(errors[0].ends_with("(hint: put it in quotes)"), "{errors:?}");
    }
    // Merge keys as kubectl reads them: several, and entries of the map's own before and after.
    let merged = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx: &x {a: '1'}\nz: &z {b: '2', c: '2'}\ndata:\n  <<: *x\n  <<: *z\n  c: '3'\n";
    assert_eq!(Case::new(merged, json!({})).object()["data"], json!({"a": "1", "b": "2", "c": "3"}));
}

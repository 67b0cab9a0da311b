use proptest::prelude::*;
use serde_json::{Value, json};

use super::Case;

fn variables() -> Value {
    json!({
        "n": 3, "f": 1.5, "whole": 2.0, "on": true, "s": "text", "nothing": null, "big": u64::MAX,
        "list": [1, "two"], "map": {"b": 1, "a": {"x": 2}}, "with-dash": "d", "ports": [80, 443],
    })
}

#[test]
fn a_whole_scalar_takes_the_type() {
    for (scalar, expected) in [
        ("${{ var.n }}", json!(3)),
        ("${{var.n+1}}", json!(4)),
        ("'${{ var.f * 2.0 }}'", json!(3)),
        ("${{ var.big }}", json!(u64::MAX)),
        ("${{ var.on && !false }}", json!(true)),
        ("${{ var.s }}", json!("text")),
        ("${{ var.nothing }}", json!(null)),
        ("${{ var.list }}", json!([1, "two"])),
        ("${{ var.map }}", json!({"a": {"x": 2}, "b": 1})),
        ("${{ var['with-dash'] }}", json!("d")),
        ("${{ cluster.name }}", json!("edge-1")),
        ("${{ cluster.labels.region }}", json!("eu")),
        ("${{ cluster.labels['a.b/c'] }}", json!("d")),
        ("${{ cluster['labels'][\"a.b/c\"] }}", json!("d")),
        ("'${{ {\"a\": [var.n, {\"b\": var.s}]} }}'", json!({"a": [3, {"b": "text"}]})),
        ("\"${{ has(var.unset) ? var.unset : 'none' }}\"", json!("none")),
        ("\"${{ has(cluster.labels.zone) ? cluster.labels.zone : 'none' }}\"", json!("none")),
        ("\"${{ 'zone' in cluster.labels }}\"", json!(false)),
        ("\"${{ cluster.labels[?'zone'].orValue('none') }}\"", json!("none")),
    ] {
        assert_eq!(Case::scalar(scalar, variables()).object()["data"]["v"], expected, "{scalar}");
    }
}

#[test]
fn functions_and_macros_work_and_have_an_order() {
    for (expression, expected) in [
        (
            "var.ports.map(p, {'port': p, 'name': 'p' + string(p)})",
            json!([{"name": "p80", "port": 80}, {"name": "p443", "port": 443}]),
        ),
        ("var.map.map(k, k)", json!(["a", "b"])),
        ("{'z': 1, 'y': 2, 'x': 3, 'w': 4, 'v': 5, 'u': 6}.map(k, k).join('')", json!("uvwxyz")),
        ("var.map.filter(k, k != 'a')", json!(["b"])),
        ("var.ports.exists(p, p == 443) && var.ports.all(p, p > 1)", json!(true)),
        ("'a,b'.split(',').map(x, x.upperAscii())", json!(["A", "B"])),
        ("cluster.name.replace('edge', 'e').substring(0, 2)", json!("e-")),
        ("base64.encode(bytes(var.s))", json!("dGV4dA==")),
        ("cluster.name.matches('^edge-[0-9]+$')", json!(true)),
        ("type(var.n) == int", json!(true)),
        ("size(var.list) + size(var.s)", json!(6)),
        (r#"r"\d" + "}}" + 'x'"#, json!("\\d}}x")),
    ] {
        let scalar = format!("|-\n    ${{{{ {expression} }}}}");
        assert_eq!(Case::scalar(&scalar, variables()).object()["data"]["v"], expected, "{expression}");
    }
}

/// In a field that holds text for Kubernetes a number can be meant as nothing else.
#[test]
fn where_text_belongs_a_value_becomes_its_text() {
    let manifest = r#"
apiVersion: batch/v1
kind: CronJob
metadata: {name: "${{ var.n }}", labels: {tier: "${{ var.n }}"}, annotations: "${{ var.texts }}"}
spec:
  suspend: ${{ var.on }}
  jobTemplate:
    spec:
      backoffLimit: ${{ var.n }}
      template:
        spec:
          nodeSelector: {zone: "${{ var.n }}"}
          containers:
          - name: a
            args: ["${{ var.n }}", "${{ var.on }}"]
            command: ${{ var.ports }}
            env: [{name: E, value: "${{ var.f }}"}]
            ports: [{containerPort: "${{ var.n }}"}]
            resources: {limits: {cpu: "${{ var.n }}"}}
"#;
    let mut variables = variables();
    variables["texts"] = json!({"a": 1, "b": true});
    let object = Case::new(manifest, variables).object();
    assert_eq!(
        object["metadata"],
        json!({"name": "3", "labels": {"tier": "3"}, "annotations": {"a": "1", "b": "true"}})
    );
    assert_eq!(object["spec"]["suspend"], true);
    let job = &object["spec"]["jobTemplate"]["spec"];
    assert_eq!(job["backoffLimit"], 3);
    let pod = &job["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"zone": "3"}));
    assert_eq!(
        pod["containers"][0],
        json!({
            "name": "a", "args": ["3", "true"], "command": ["80", "443"], "env": [{"name": "E", "value": "1.5"}],
            "ports": [{"containerPort": 3}], "resources": {"limits": {"cpu": 3}},
        })
    );
    // What kind it is may come from an expression, and an item of a list is one as well.
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: '${{ var.kind }}', metadata: {name: a}, data: {v: '${{ var.n }}'}}\n";
    assert_eq!(Case::new(list, json!({"kind": "ConfigMap", "n": 3})).object()["data"]["v"], "3");
    assert_eq!(Case::new(list, json!({"kind": "Widget", "n": 3})).object()["data"]["v"], 3);
    // Null is no text, and is left for the server.
    assert_eq!(Case::new(list, json!({"kind": "ConfigMap", "n": null})).object()["data"]["v"], json!(null));
}

/// What users of other tools met: numbers that change on their way into a text, and texts that become numbers.
#[test]
fn numbers_and_texts_arrive_as_they_were_given() {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {v: '${{ var.v }}'}}\ndata: {v: '${{ var.v }}', w: 'x-${{ var.v }}'}\n";
    for (value, expected) in [
        (json!(1_000_000), "1000000"),
        (json!(356_136_738), "356136738"),
        (json!(71_111_111_117_u64), "71111111117"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(2.4), "2.4"),
        (json!("0999991"), "0999991"),
        (json!("20161216"), "20161216"),
        (json!("1e7"), "1e7"),
        (json!("yes"), "yes"),
        (json!(true), "true"),
    ] {
        let object = Case::new(map, json!({"v": value})).object();
        assert_eq!(object["metadata"]["labels"]["v"], *expected, "{value}");
        assert_eq!(object["data"], json!({"v": expected, "w": format!("x-{expected}")}), "{value}");
    }
}

#[test]
fn in_a_longer_text_values_are_formatted() {
    for (scalar, expected) in [
        ("n=${{ var.n }}, on=${{ var.on }}", "n=3, on=true"),
        ("${{ var.s }}!", "text!"),
        ("${{ var.whole }}/${{ var.f }}", "2/1.5"),
        ("'${{ var.s }} '", "text "),
        ("$${{ var.n }} ${{ var.n }}", "${{ var.n }} 3"),
        ("$${{ var.nope }}", "${{ var.nope }}"),
        ("${HOME} {{ .Values.x }} $(POD_IP) $$", "${HOME} {{ .Values.x }} $(POD_IP) $$"),
    ] {
        assert_eq!(Case::scalar(scalar, variables()).object()["data"]["v"], json!(expected), "{scalar}");
    }
}

#[test]
fn switched_off_nothing_is_read() {
    let mut case = Case::scalar("${{ var.n }} $${{", variables());
    case.expressions = false;
    assert_eq!(case.object()["data"]["v"], json!("${{ var.n }} $${{"));
}

#[test]
fn names_and_items_can_be_expressions() {
    let manifest = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: 'x-${{ cluster.name }}'}}\n";
    assert_eq!(Case::new(manifest, json!({})).object()["metadata"]["name"], "x-edge-1");
}

#[test]
fn errors_say_where_and_what() {
    for (scalar, expected) in [
        (
            "${{ var.s2 }}",
            "layer/a.yaml:5:6: the profile p declares no variable 's2' (hint: did you mean 'var.s'?)",
        ),
        (
            "a ${{ var.n }} b ${{ vra.n }}",
            "layer/a.yaml:5:23: 'vra' is not known (hint: did you mean 'var'?)",
        ),
        (
            "\"é ${{ cluster.labels.regio }}\"",
            "layer/a.yaml:5:9: the cluster edge-1 has no label 'regio' (hint: did you mean 'region'?)",
        ),
        (
            "|\n    one\n    two ${{ cluster.nam }}",
            "layer/a.yaml:7:9: 'cluster.nam' is not known (hint: did you mean 'cluster.name'?)",
        ),
        ("'it''s $${{ x }} ${{ 1 + }}'", "layer/a.yaml:5:23: '1 +' is not an expression"),
        ("${{ var.unset }}", "layer/a.yaml:5:6: the variable 'unset' has no value (hint: set it in"),
        ("a${{ var.list }}", "layer/a.yaml:5:7: 'var.list' is a list, which has no text"),
        ("a${{ var.nothing }}", "'var.nothing' is null, which has no text"),
        ("${{ b'x' }}", "'b'x'' gives bytes"),
        ("${{ 1.0 / 0.0 }}", "infinite"),
        ("${{ var.n + var.s }}", "there is no 'add' of int and string"),
        ("${{ frobnicate(1) }}", "there is no function 'frobnicate'"),
        ("${{ var.s.upperascii() }}", "there is no function 'upperascii' (hint: did you mean 'upperAscii'?)"),
        ("${{ n }}", "'n' is not known (hint: did you mean 'var.n'?"),
        ("${{ var.n", "layer/a.yaml:5:6: the expression has no end (hint: close it"),
        ("${{ 1/0 }}", "'1/0' can't be evaluated: division by zero"),
    ] {
        let errors = Case::scalar(scalar, variables()).errors();
        assert!(errors.len() == 1 && errors[0].contains(expected), "{scalar}: {errors:?}");
    }
}

#[test]
fn every_error_is_told_at_once() {
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: ${{ nope }}\n  y: ${{ 1 + }}\n  ${{ var.n }}: z\n---\nkind: ConfigMap\n";
    let mut errors = Case::new(manifest, variables()).errors();
    errors.sort();
    let places: Vec<_> = errors.iter().map(|e| e.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["layer/a.yaml:5:6", "layer/a.yaml:6:6", "layer/a.yaml:7:3", "layer/a.yaml:9:1", "layer/a.yaml:9:1"],
        "{errors:?}"
    );
}

#[test]
fn no_message_holds_a_value() {
    let secret = json!({"s": "TOP-SECRET", "m": {"TOP-SECRET": 1}, "n": 1, "l": ["TOP-SECRET"]});
    for expression in [
        "var.s + 1",
        "var.m[var.s + 'x']",
        "var.m.x",
        "var.s < 1",
        "int(var.s)",
        "var.s.matches(var.s + '(')",
        "var.l[7]",
        "{var.s: 1, var.s: 2}",
        "{var.l: 1}",
        "var.m ? 1 : 2",
        "-var.s",
        "var.s * var.s",
        "double(var.s)",
        "cluster.labels[var.s]",
        "var.l + var.m",
        "var.s[0]",
        "var.s.x",
        "var.l.map(x, x.y)",
        "bytes(var.s)",
        "var.s.substring(99)",
        "b'x' + var.s",
        "'x'.charAt(var.n + 99)",
        "base64.decode(var.s)",
        "var.n / 0",
        "!var.s",
        "var.s in var.n",
        "var.s.map(x, x)",
        "bool(var.s)",
        "var[var.s]",
        "'a'.join(var.s)",
        "timestamp(var.s)",
    ] {
        let errors = Case::scalar(&format!("|-\n    ${{{{ {expression} }}}}"), secret.clone()).errors();
        assert!(errors.len() == 1 && !errors[0].contains("TOP"), "{expression}: {errors:?}");
    }
}

#[test]
fn a_value_is_never_evaluated() {
    let case = Case::scalar("a ${{ var.s }}", json!({"s": "${{ cluster.name }}"}));
    assert_eq!(case.object()["data"]["v"], json!("a ${{ cluster.name }}"));
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,20}",
        "[-\\[\\]{}:#&*!|>'\"%@`,? \n\t$.a0]{0,24}",
        prop::sample::select(vec![
            "\n---\nkind: Evil\n",
            "${{ cluster.name }}",
            "$${{",
            "}}",
            "yes",
            "0644",
            "null",
            "{a: b}",
            "a: b",
            "'",
            "\"\\u0000",
            "\u{0}",
            "\u{feff}",
            "\u{2028}",
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a variable holds, it stands exactly where its expression stood, and nothing else changes.
    #[test]
    fn no_value_breaks_out_of_its_place(whole in any_text(), part in any_text(), key in any_text()) {
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {x: '${{ var.part }}'}}\ndata:\n  whole: ${{ var.whole }}\n  part: <${{ var.part }}>\n  both: \"${{ var.part + var.whole }}\"\n  map: ${{ var.map }}\n";
        let case = Case::new(manifest, json!({"whole": whole, "part": part, "map": {key.clone(): part.clone()}}));
        let expected = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "annotations": {"x": part}},
            "data": {"whole": whole, "part": format!("<{part}>"), "both": format!("{part}{whole}"), "map": {key: part}},
        });
        prop_assert_eq!(case.object(), expected);
    }
}

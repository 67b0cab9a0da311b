//! The values that a target gets.

use serde_json::{Value, json};

use super::findings::base;
use crate::catalog::{Catalog, Folders, variables};
use crate::model::tree::MemoryTree;

fn profile(schema: &str) -> String {
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterProfile\nmetadata: {{name: edge}}\nspec:\n  version: 1.0.0\n  \
         variables: {schema}\n"
    )
}

fn tree(schema: &str, fleet: &str, target: &str) -> MemoryTree {
    let head = "apiVersion: fairlead.dev/v1alpha1\nkind:";
    base()
        .with("profiles/edge/profile.yaml", profile(schema))
        .with(
            "fleets/retail.yaml",
            format!(
                "{head} Fleet\nmetadata: {{name: retail}}\nspec:\n  clusters: {{}}\n  profiles: [{{name: edge}}]\n  \
                 variables: {fleet}\n"
            ),
        )
        .with(
            "clusters/one.yaml",
            format!("{head} ClusterTarget\nmetadata: {{name: one}}\nspec:\n  variables: {target}\n"),
        )
}

/// The values, or the findings.
fn values(tree: &MemoryTree) -> Result<Value, Vec<String>> {
    let catalog = Catalog::read(tree, &Folders::default());
    let text = |found: &crate::model::diagnostic::Diagnostic| found.to_string();
    if catalog.has_errors() {
        return Err(catalog.diagnostics().iter().map(text).collect());
    }
    let fleet = catalog.fleets().next().unwrap();
    let target = catalog.targets().next().unwrap();
    let found = variables(catalog.profiles().next().unwrap(), fleet, target);
    found.map(Value::Object).map_err(|list| list.iter().map(text).collect())
}

#[test]
fn default_then_fleet_then_target() {
    let schema = "{type: object, properties: {a: {default: 1}, b: {default: 1}, c: {default: 1}, d: {}}}";
    let found = values(&tree(schema, "{b: 2, c: 2, other: 2}", "{c: 3}")).unwrap();
    assert_eq!(found, json!({"a": 1, "b": 2, "c": 3}));
}

#[test]
fn defaults_of_nested_mappings_and_of_referred_schemas() {
    let schema = "{type: object, $defs: {port: {type: integer, default: 80}}, \
                  allOf: [{properties: {e: {default: true}}}], \
                  properties: {a: {type: object, properties: {p: {$ref: '#/$defs/port'}, q: {}}}, b: {$ref: '#/$defs/port'}}}";
    assert_eq!(
        values(&tree(schema, "{}", "{a: {q: 1}}")).unwrap(),
        json!({"a": {"p": 80, "q": 1}, "b": 80, "e": true})
    );
    assert_eq!(values(&tree(schema, "{}", "{}")).unwrap(), json!({"b": 80, "e": true}));
    let wrong = values(&tree(schema, "{b: x}", "{a: {p: y}}")).unwrap_err();
    assert_eq!(
        wrong,
        [
            "clusters/one.yaml:5:22: variable 'a': 'y' is a string; expected a whole number \
         (profile edge, profiles/edge/profile.yaml:6:132)",
            "fleets/retail.yaml:7:18: variable 'b': 'x' is a string; expected a whole number \
         (profile edge, profiles/edge/profile.yaml:6:199)",
        ]
    );
}

#[test]
fn references_to_files_below_the_profile() {
    let schema = "{type: object, properties: {p: {$ref: 'schemas/net.yaml#/$defs/port'}, v: {$ref: schemas/net.yaml}}}";
    let net = "$id: https://example.com/net\ntype: string\n$defs:\n  port: {$ref: '../more/n.json#/$defs/n', default: 8}\n";
    let files = tree(schema, "{}", "{v: x}")
        .with("profiles/edge/schemas/net.yaml", net)
        .with("profiles/edge/more/n.json", "{\"$defs\": {\"n\": {\"type\": \"integer\"}}}");
    assert_eq!(values(&files).unwrap(), json!({"p": 8, "v": "x"}));
    let wrong = values(&files.clone().with("fleets/more.yaml", "").with(
        "profiles/edge/more/n.json",
        "{\"$defs\": {\"n\": {\"type\": \"integer\", \"$ref\": \"../../x.yaml\", \"maximum\": 5}}}",
    ));
    assert_eq!(
        wrong.unwrap_err(),
        ["profiles/edge/more/n.json:1:45: the reference '../../x.yaml' leaves the profile's folder \
         (hint: copy the schema into the profile's folder)",]
    );
    let wrong =
        values(&files.with(
            "profiles/edge/more/n.json",
            "{\"$defs\": {\"n\": {\"type\": \"integer\", \"maximum\": 5}}}",
        ));
    assert_eq!(
        wrong.unwrap_err(),
        ["profiles/edge/profile.yaml:6:42: the default of 'p': 8 is out of range; expected at most 5"]
    );
}

/// Schemas that would keep a validator busy, or bring it down.
#[test]
#[allow(clippy::disallowed_methods, reason = "measures")]
fn hostile_schemas_are_refused_or_bounded() {
    let itself = "{type: object, allOf: [{$ref: '#'}]}";
    let circle = "{type: object, $defs: {a: {$ref: '#/$defs/b'}, b: {anyOf: [{$ref: '#/$defs/a'}]}}, properties: {x: {$ref: '#/$defs/a'}}}";
    for schema in [itself, circle] {
        let wrong = values(&tree(schema, "{}", "{x: 1}")).unwrap_err();
        assert!(wrong[0].contains("refers to itself"), "{wrong:?}");
    }
    let powers: String = (0..40)
        .map(|n| {
            format!("a{n}: {{allOf: [{{$ref: '#/$defs/a{m}'}}, {{$ref: '#/$defs/a{m}'}}]}}, ", m = n + 1)
        })
        .collect();
    let doubling = format!(
        "{{type: object, $defs: {{{powers} a40: {{type: integer}}}}, properties: {{x: {{$ref: '#/$defs/a0'}}}}}}"
    );
    let start = std::time::Instant::now();
    let wrong = values(&tree(&doubling, "{}", "{x: 1}")).unwrap_err();
    assert!(wrong[0].contains("too many schemas"), "{wrong:?}");
    let pattern = "{type: object, properties: {x: {type: string, pattern: '^(a|aa)+(?!b)$'}}}";
    let _ = values(&tree(pattern, "{}", &format!("{{x: {}}}", "a".repeat(200))));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn legitimate_recursion_is_read() {
    let schema = "{type: object, $defs: {tree: {type: object, properties: {left: {$ref: '#/$defs/tree'}, n: {type: integer, default: 1}}}}, \
                  properties: {t: {$ref: '#/$defs/tree'}}}";
    let found = values(&tree(schema, "{}", "{t: {left: {left: {n: 3}}}}")).unwrap();
    assert_eq!(found, json!({"t": {"n": 1, "left": {"n": 1, "left": {"n": 3}}}}));
}

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
        [
            "profiles/edge/more/n.json:1:45: the reference '../../x.yaml' leaves the profile's folder \
             (hint: copy the schema into the profile's folder)",
            "profiles/edge/profile.yaml:6:42: the default of 'p': 8 is out of range; expected at most 5",
        ]
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
        assert!(wrong.iter().any(|line| line.contains("refers to itself")), "{wrong:?}");
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
    assert!(wrong.iter().any(|line| line.contains("too many schemas")), "{wrong:?}");
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

#[test]
fn a_default_is_completed_by_the_defaults_inside_it() {
    let schema = "{type: object, properties: {\
        db: {type: object, default: {}, properties: {port: {type: integer, default: 5432}, \
            tls: {type: object, default: {mode: on}, properties: {mode: {}, version: {default: 3}}}}}, \
        list: {type: array, default: [{a: 1}, {}], items: {type: object, properties: {a: {default: 9}, b: {default: {}, properties: {c: {default: x}}}}}}, \
        pair: {type: array, prefixItems: [{properties: {l: {default: 1}}}], items: {properties: {r: {default: 2}}}}, \
        map: {type: object, additionalProperties: {properties: {n: {default: 7}}}}, \
        all: {type: object, default: {}, allOf: [{properties: {x: {default: 1}}}, {$ref: '#/$defs/more'}]}}, \
        $defs: {more: {properties: {y: {default: {}, properties: {z: {default: true}}}}}}}";
    let found = values(&tree(schema, "{}", "{pair: [{}, {}], map: {q: {}, r: {n: 8}}}")).unwrap();
    assert_eq!(
        found,
        json!({
            "db": {"port": 5432, "tls": {"mode": "on", "version": 3}},
            "list": [{"a": 1, "b": {"c": "x"}}, {"a": 9, "b": {"c": "x"}}],
            "pair": [{"l": 1}, {"r": 2}],
            "map": {"q": {"n": 7}, "r": {"n": 8}},
            "all": {"x": 1, "y": {"z": true}},
        })
    );
    let given = values(&tree(schema, "{}", "{db: {port: 1}, list: [], all: {y: {}}}")).unwrap();
    assert_eq!(given["db"], json!({"port": 1, "tls": {"mode": "on", "version": 3}}));
    assert_eq!((&given["list"], &given["all"]), (&json!([]), &json!({"x": 1, "y": {"z": true}})));
    // One that makes itself anew is no default.
    let endless = "{type: object, $defs: {t: {type: object, default: {}, properties: {t: {$ref: '#/$defs/t'}}}}, properties: {t: {$ref: '#/$defs/t'}}}";
    let wrong = values(&tree(endless, "{}", "{}")).unwrap_err();
    assert!(wrong[0].contains("go on without end"), "{wrong:?}");
}

#[test]
fn keywords_of_other_drafts_are_applied_or_refused_in_words() {
    let check = |schema: &str, target: &str| {
        values(&tree(
            &format!("{{type: object, properties: {{n: {{}}, m: {{}}, l: {{}}}}, {schema}}}"),
            "{}",
            target,
        ))
    };
    for (schema, target, expected) in [
        ("dependencies: {n: [m]}", "{n: x}", "'m' is missing"),
        ("dependencies: {n: {required: [l]}}", "{n: x}", "'l' is missing"),
        ("dependentRequired: {n: [m]}, dependencies: {n: [l]}", "{n: x}", "'l' is missing"),
        (
            "additionalItems: false",
            "{}",
            "'additionalItems' is not a keyword of draft 2020-12, and is not applied (hint: what comes after 'prefixItems'",
        ),
        (
            "$recursiveRef: '#'",
            "{}",
            "'$recursiveRef' is not a keyword of draft 2020-12, and is not applied (hint: use $ref",
        ),
        ("extends: {}", "{}", "(hint: use 'allOf')"),
    ] {
        let found = check(schema, target).unwrap_err();
        assert!(found.iter().any(|line| line.contains(expected)), "{schema}: {found:?}");
        assert!(!found.iter().any(|line| line.contains("says nothing")), "{schema}: {found:?}");
    }
    assert!(check("dependencies: {n: [m]}", "{n: x, m: y}").is_ok());
    assert!(check("dependencies: {n: [m]}", "{m: y}").is_ok());
    let whole = |schema: &str, target: &str| values(&tree(schema, "{}", target));
    let nullable = "{type: object, properties: {n: {type: string, nullable: true}}}";
    assert_eq!(whole(nullable, "{n: null}").unwrap(), json!({"n": null}));
    assert!(whole(nullable, "{n: 1}").is_err());
    let tuple =
        whole("{type: object, properties: {n: {type: array, items: [{type: string}]}}}", "{}").unwrap_err();
    assert!(tuple[0].contains("'prefixItems' in draft 2020-12"), "{tuple:?}");
    let old =
        whole("{type: object, properties: {n: {type: integer, minimum: 0, exclusiveMinimum: true}}}", "{}");
    assert!(old.unwrap_err()[0].contains("it is the limit itself"));
    let definitions =
        "{type: object, definitions: {p: {type: integer}}, properties: {n: {$ref: '#/definitions/p'}}}";
    assert!(whole(definitions, "{n: x}").unwrap_err()[0].contains("expected a whole number"));
}

#[test]
fn of_several_choices_the_one_that_was_meant_is_explained() {
    let stores = "{type: object, properties: {n: {oneOf: [\
        {type: object, required: [kind, bucket], properties: {kind: {const: s3}, bucket: {type: string}, region: {enum: [eu, us]}}}, \
        {type: object, required: [kind, server], properties: {kind: {enum: [nfs, nfs4]}, server: {type: string}}}]}}}";
    let by_reference = stores
        .replace("oneOf: [{type: object, required: [kind, bucket]", "anyOf: [{$ref: '#/$defs/s3'}, {type: object, required: [kind, bucket]")
        .replace("properties: {n:", "$defs: {s3: {type: object, required: [kind, path], properties: {kind: {const: file}, path: {type: string}}}}, properties: {n:");
    for (schema, target, expected) in [
        (stores, "{n: {kind: s3, server: x}}", &["'bucket' is missing"][..]),
        (stores, "{n: {kind: nfs4, bucket: x}}", &["'server' is missing"]),
        (stores, "{n: {kind: s3, bucket: 1, region: mars}}", &["1 is a number", "'mars' is not"]),
        (stores, "{n: {kind: nsf, server: x}}", &["'nsf' is not allowed; expected one of s3, nfs, nfs4"]),
        (stores, "{n: {bucket: x}}", &["'kind' is missing"]),
        (stores, "{n: x}", &["'x' is a string"]),
        (&by_reference, "{n: {kind: file, bucket: x}}", &["'path' is missing"]),
        (&by_reference, "{n: {kind: s3, server: x}}", &["'bucket' is missing"]),
        (
            "{type: object, properties: {n: {anyOf: [{type: integer, minimum: 1}, {type: string, pattern: '%$'}]}}}",
            "{n: 0}",
            &["0 is out of range; expected at least 1"],
        ),
    ] {
        let found = values(&tree(schema, "{}", target)).unwrap_err();
        assert_eq!(found.len(), expected.len(), "{target}: {found:?}");
        for part in expected {
            assert!(found.iter().any(|line| line.contains(part)), "{target}: {found:?}");
        }
    }
}

#[test]
fn numbers_that_lose_digits_are_refused_where_they_stand() {
    let schema = "{type: object, properties: {n: {}}}";
    for (number, kept) in [
        ("18446744073709551617", "does not fit into 64 bits"),
        ("-9223372036854775809", "does not fit into 64 bits"),
        ("0x1ffffffffffffffff", "does not fit into 64 bits"),
        ("1e999", "does not fit into 64 bits"),
        ("0.12345678901234567890123", "more digits than 64 bits hold: it is kept as 1.2345678901234568e-1"),
    ] {
        let found = values(&tree(schema, "{}", &format!("{{n: {number}}}"))).unwrap_err();
        assert!(found[0].starts_with("clusters/one.yaml:5:18: ") && found[0].contains(kept), "{found:?}");
        for keyword in ["const", "minimum", "default", "enum"] {
            let value = if keyword == "enum" { format!("[{number}]") } else { number.to_owned() };
            let schema = format!("{{type: object, properties: {{n: {{{keyword}: {value}}}}}}}");
            let found = values(&tree(&schema, "{}", "{}")).unwrap_err();
            let said =
                |line: &String| line.starts_with("profiles/edge/profile.yaml:6:") && line.contains(kept);
            assert!(found.iter().any(said), "{found:?}");
        }
    }
    for number in
        ["18446744073709551615", "-9223372036854775808", "0.1", "1.10", "1e3", "1e22", "3.141592653589793"]
    {
        assert!(values(&tree(schema, "{}", &format!("{{n: {number}}}"))).is_ok(), "{number}");
    }
}

#[test]
fn a_number_where_text_belongs_is_shown_as_it_is_written() {
    let found =
        values(&tree("{type: object, properties: {v: {type: string}}}", "{}", "{v: 1.10}")).unwrap_err();
    assert!(
        found[0].contains("variable 'v': 1.10 is a number with a fraction; expected a string"),
        "{found:?}"
    );
}

/// Many schemas times many values: neither alone is much.
#[test]
#[allow(clippy::disallowed_methods, reason = "measures")]
fn checks_and_findings_are_counted() {
    let start = std::time::Instant::now();
    let bomb = format!(
        "{{type: object, properties: {{l: {{type: array, items: {{allOf: [{}]}}}}}}}}",
        vec!["{type: string}"; 8_000].join(", ")
    );
    let numbers = format!("{{l: [{}]}}", vec!["1"; 8_000].join(", "));
    let found = values(&tree(&bomb, "{}", &numbers)).unwrap_err();
    assert!(found.len() == 1 && found[0].contains("checking the values could take"), "{found:?}");
    let many = "{type: object, properties: {l: {type: array, items: {type: string}}}}";
    let found = values(&tree(many, "{}", &numbers)).unwrap_err();
    assert_eq!(found.len(), 101);
    assert!(
        found.iter().any(|line| line.contains("7900 more findings about this are not shown")),
        "{:?}",
        found[0]
    );
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

//! What a repository may hold, at random: nothing of it panics, takes long, or is kept in memory.
//!
//! A few cases run with every test. For as long as wanted:
//! `FAIRLEAD_FUZZ_MINUTES=11 cargo test -p fairlead-core --lib fuzz::long -- --ignored --nocapture --test-threads 1`.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::catalog::{Catalog, Folders, yaml};
use crate::model::budget::{Budget, enter};
use crate::model::tree::MemoryTree;
use crate::release::{LayerCache, ProfileAt, Request, compile};

/// The longest that a case may take on a slow machine, without optimisation.
const LONGEST: Duration = Duration::from_secs(30);

/// Runs a target on `count` inputs, or until the time is over; how many there were.
fn run<S: Strategy>(inputs: &S, until: Option<Instant>, count: u64, check: impl Fn(S::Value))
where
    S::Value: std::fmt::Debug + Clone,
{
    // Each long run has inputs of its own; the short one has always the same.
    let mut runner = match until {
        None => TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::default(),
    };
    let (mut cases, mut slowest, mut resident) = (0, Duration::ZERO, 0);
    while until.map_or(cases < count, |until| Instant::now() < until) {
        let input = inputs.new_tree(&mut runner).unwrap().current();
        let start = Instant::now();
        let case = std::panic::AssertUnwindSafe(|| {
            let _counted = enter(Budget::default().into());
            check(input.clone());
        });
        if let Err(panic) = std::panic::catch_unwind(case) {
            eprintln!("case {cases} panics: {input:#?}");
            std::panic::resume_unwind(panic);
        }
        slowest = slowest.max(start.elapsed());
        assert!(start.elapsed() < LONGEST, "case {cases} takes {:?}: {input:#?}", start.elapsed());
        cases += 1;
        if cases == 2_000 {
            resident = resident_kib();
        }
    }
    let grown = resident_kib().saturating_sub(resident);
    if until.is_some() {
        println!("{cases} cases, the slowest took {slowest:?}, memory grew by {grown} KiB");
        assert!(resident == 0 || grown < 64 << 10, "memory grew by {grown} KiB in {cases} cases");
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

const PROFILE: &str = "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterProfile\nmetadata: {name: p}\nspec:\n  version: 1.0.0\n  variables:\n    type: object\n    properties:\n      n: {type: integer, default: 2}\n      l: {type: array, items: {type: string}}\n  layers:\n  - {name: a, type: addon, manifests: {path: a}}\n  - {name: b, type: cni, dependsOn: [a], manifests: {path: b}}\n";
const TARGET: &str = "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {name: t, labels: {a: b}}\nspec:\n  timeZone: Europe/Berlin\n  variables: {n: 3, l: [x, y]}\n  pin: {commit: 0123456789012345678901234567890123456789, until: 2026-01-01T00:00:00Z}\n";
const FLEET: &str = "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec:\n  clusters: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [b]}]}\n  profiles: [{name: p, revision: {tag: '>=1.0.0 <2'}}]\n  windows: [{schedule: '0 2 * * 1-5', duration: 2h, timeZone: UTC}]\n  rollout: {progressDeadline: 5m, waves: [{name: c, count: 1}, {name: r, percent: 50}]}\n";
const MANIFEST: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: &l {app: web}}\nspec:\n  replicas: ${{ var.n }}\n  template:\n    metadata: {labels: *l}\n    spec: {containers: [{name: c, image: 'x:${{ var.l[0] }}', env: [{name: E, value: yes}]}]}\n---\napiVersion: v1\nkind: List\nitems:\n- <<: {apiVersion: v1}\n  kind: ConfigMap\n  metadata: {name: c}\n  data: {t: |\n    text\n  }\n";

const PIECES: &[&str] = &[
    "&a ",
    "*a",
    "<<: ",
    "? ",
    ": ",
    ", ",
    "[",
    "]",
    "{",
    "}",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "\\x41",
    "\\u",
    "!!int ",
    "!!binary ",
    "! ",
    "%YAML 1.1\n",
    "%TAG ! x\n",
    "---\n",
    "...\n",
    "\t",
    "\u{feff}",
    "\u{2028}",
    "0x",
    "0o17",
    "1e999",
    ".inf",
    "9223372036854775808",
    "-",
    "~",
    "#",
    "\n",
    "\n  ",
    "\r\n",
    "\r",
    "${{ ",
    " }}",
    "var.",
    "$${{",
    "y",
    "NO",
    "null",
    "x: &b [*b]",
    "kind: Fleet\n",
    "metadata: {}",
    "name: ",
    "\u{0}",
    "\u{7f}",
    "é",
    "\\",
    "- - - ",
    "a: ",
    "=",
    "2001-01-01",
    "1:30",
    "_",
    "@",
    "`",
];

type Edit = (u8, Index, Index, Index);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec((0u8..6, any::<Index>(), any::<Index>(), any::<Index>()), 0..16)
}

/// A text with bytes, lines and pieces put in, taken out and moved.
fn edited(seed: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut text = seed.to_vec();
    for (kind, a, b, c) in edits {
        let (a, b) = (a.index(text.len() + 1), b.index(text.len() + 1));
        let (from, to) = (a.min(b), a.max(b));
        match kind {
            0 => drop(text.splice(from..from, c.get(PIECES).bytes())),
            1 => drop(text.splice(from..to.min(from + 40), [])),
            2 => {
                let copy = text[from..to.min(from + 300)].to_vec();
                let at = c.index(text.len() + 1);
                drop(text.splice(at..at, copy));
            }
            3 => drop(text.splice(from..from, [u8::try_from(c.index(256)).unwrap_or(0)])),
            4 => {
                let piece = c.get(PIECES).repeat(1 + b % 200);
                drop(text.splice(from..from, piece.bytes()));
            }
            _ => {
                if let Some(byte) = text.get_mut(from) {
                    *byte = byte.wrapping_add(1);
                }
            }
        }
        text.truncate(64 << 10);
    }
    text
}

/// Everything that can be read of a repository of four files.
fn whole(profile: &[u8], target: &[u8], fleet: &[u8], manifest: &[u8]) {
    let tree = MemoryTree::default()
        .with("profiles/p/profile.yaml", profile)
        .with("profiles/p/a/a.yaml", manifest)
        .with("profiles/p/b/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n")
        .with("clusters/t.yaml", target)
        .with("fleets/f.yaml", fleet);
    let catalog = Catalog::read(&tree, &Folders::default());
    let cache = LayerCache::default();
    for profile in catalog.profiles() {
        crate::release::lint(ProfileAt { profile, tree: &tree }, &cache);
    }
    for fleet in catalog.fleets() {
        for target in catalog.targets() {
            let profiles: Vec<_> =
                catalog.profiles().map(|profile| ProfileAt { profile, tree: &tree }).collect();
            let request = Request { fleet, target, profiles: &profiles };
            let Ok(release) = compile(request, &cache) else { continue };
            for (_, object) in release.objects() {
                let value: Value = serde_json::from_slice(&object.bytes).unwrap();
                assert!(value.is_object() && !object.key.is_own_record(), "{value}");
            }
        }
    }
}

fn documents() -> impl Strategy<Value = (usize, Vec<Edit>)> {
    (0usize..4, edits())
}

fn document((which, edits): (usize, Vec<Edit>)) {
    let mut files = [PROFILE, TARGET, FLEET, MANIFEST].map(|text| text.as_bytes().to_vec());
    let text = edited(&files[which], &edits);
    for dialect in [yaml::Dialect::Fairlead, yaml::Dialect::Kubernetes] {
        let parsed = yaml::parse("f.yaml", &text, dialect);
        assert!(parsed.complete || !parsed.diagnostics.is_empty());
        assert!(parsed.diagnostics.iter().all(|finding| finding.place.file == "f.yaml"));
    }
    files[which] = text;
    let [profile, target, fleet, manifest] = &files;
    whole(profile, target, fleet, manifest);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["", "a", "x-1", "é", "10.0.0.0/8", "aaaaaaaaaaaaaaaaaaaaaaaa!"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-c]{1,2}", inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

fn schema() -> impl Strategy<Value = Value> {
    let pattern = prop::sample::select(vec![
        "^a*$",
        "(a+)+$",
        "(a|a)*b",
        "[",
        "\\w{60}",
        "(?=a)b",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "\\p{L}+",
        "(a{50}){50}",
        "\\1(a)",
        "(?<n>a)\\k<n>",
        "",
    ]);
    let reference = prop::sample::select(vec![
        "#/$defs/a",
        "#/$defs/b",
        "#",
        "#/nowhere",
        "#/properties/a",
        "other.json",
        "../x.json",
        "https://x/y",
    ]);
    let kind =
        prop::sample::select(vec!["string", "integer", "number", "array", "object", "boolean", "null", "x"]);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        kind.clone().prop_map(|kind| json!({"type": kind})),
        prop::collection::vec(kind, 0..3).prop_map(|kinds| json!({"type": kinds})),
        pattern.prop_map(|pattern| json!({"pattern": pattern})),
        reference.prop_map(|to| json!({"$ref": to})),
        json_value().prop_map(|value| json!({"const": value})),
        prop::collection::vec(json_value(), 0..3).prop_map(|values| json!({"enum": values})),
        json_value().prop_map(|value| json!({"default": value})),
        (any::<i32>(), any::<u8>()).prop_map(|(n, m)| json!({"minimum": n, "maxLength": m, "multipleOf": m})),
        prop::sample::select(vec![
            "uniqueItems",
            "nullable",
            "dependencies",
            "unevaluatedProperties",
            "format"
        ])
        .prop_map(|key| json!({key: true})),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5);
        let map = prop::collection::btree_map("[a-c]{1,2}", inner.clone(), 0..4);
        let on_list = prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]);
        let on_one = prop::sample::select(vec![
            "items",
            "not",
            "if",
            "then",
            "else",
            "additionalProperties",
            "propertyNames",
            "contains",
        ]);
        prop_oneof![
            (on_list, list).prop_map(|(key, list)| json!({key: list})),
            (on_one, inner.clone()).prop_map(|(key, schema)| json!({key: schema})),
            map.clone().prop_map(|map| json!({"properties": map})),
            map.prop_map(|map| json!({"patternProperties": map})),
            (inner.clone(), inner).prop_map(|(a, b)| match (a, b) {
                (Value::Object(mut a), Value::Object(b)) => {
                    a.extend(b);
                    Value::Object(a)
                }
                (a, _) => a,
            }),
        ]
    })
}

fn schemas() -> impl Strategy<Value = (Vec<Value>, Vec<Value>)> {
    (prop::collection::vec(schema(), 4), prop::collection::vec(json_value(), 4))
}

fn schema_with_values((schemas, values): (Vec<Value>, Vec<Value>)) {
    let [a, b, c, d] = &schemas[..] else { return };
    let variables = json!({"type": "object", "$defs": {"a": a, "b": b}, "properties": {"a": c, "b": d, "c": {"$ref": "#/$defs/a"}}});
    let [a, b, c, d] = &values[..] else { return };
    let profile = PROFILE.split("  variables:").next().unwrap_or_default().to_owned()
        + &format!(
            "  variables: {variables}\n  layers: [{{name: a, type: addon, manifests: {{path: a}}}}]\n"
        );
    let head = "apiVersion: fairlead.dev/v1alpha1\nkind: ";
    let target = format!(
        "{head}ClusterTarget\nmetadata: {{name: t}}\nspec: {{variables: {}}}\n",
        json!({"a": a, "b": b})
    );
    let fleet = format!(
        "{head}Fleet\nmetadata: {{name: f}}\nspec: {{clusters: {{}}, profiles: [{{name: p}}], variables: {}}}\n",
        json!({"c": c, "d": d})
    );
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 'x${{ string(var.a) }}', c: '${{ var.c }}'}\n";
    whole(profile.as_bytes(), target.as_bytes(), fleet.as_bytes(), manifest.as_bytes());
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "var.n",
        "var.l",
        "var.s",
        "var.m",
        "var.unset",
        "cluster.name",
        "cluster.labels.a",
        "cluster.labels['a']",
        "cluster",
        "var",
        "1",
        "-1",
        "9223372036854775807",
        "1u",
        "1.5",
        "1e308",
        "'x'",
        "\"\\u00e9\"",
        "b'x'",
        "null",
        "true",
        "[]",
        "{}",
        "[1, 2]",
        "{'a': 1}",
        "''",
        "x",
        "y",
        "duration('1h')",
        "timestamp('2026-01-01T00:00:00Z')",
        "[var.l, var.l]",
        "int",
        "type(1)",
        "@each",
        ".n",
        "has(var.m.a)",
        "r'(a+)+$'",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(6, 40, 3, |inner| {
        let binary = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in", ".", "?",
        ]);
        let function = prop::sample::select(vec![
            "size",
            "string",
            "int",
            "double",
            "bytes",
            "dyn",
            "type",
            "base64.encode",
            "base64.decode",
            "has",
            "uint",
            "bool",
            "duration",
            "timestamp",
            "optional.of",
            "cel.bind",
            "nope",
        ]);
        let method = prop::sample::select(vec![
            "map",
            "filter",
            "all",
            "exists",
            "exists_one",
            "matches",
            "contains",
            "startsWith",
            "split",
            "join",
            "replace",
            "substring",
            "lowerAscii",
            "indexOf",
            "charAt",
            "trim",
            "format",
            "reverse",
            "getHours",
            "orValue",
            "quote",
        ]);
        prop_oneof![
            (inner.clone(), binary, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (inner.clone(), method.clone(), inner.clone()).prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
            (inner.clone(), method, inner.clone()).prop_map(|(a, f, b)| format!("{a}.{f}(x, {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            inner.prop_map(|a| format!("!{a}")),
        ]
    })
}

fn expressions() -> impl Strategy<Value = (Vec<String>, usize, Vec<Edit>)> {
    (
        prop::collection::vec(expression(), 1..4),
        0usize..6,
        prop::collection::vec((0u8..6, any::<Index>(), any::<Index>(), any::<Index>()), 0..3),
    )
}

fn expression_with_manifest((expressions, place, edits): (Vec<String>, usize, Vec<Edit>)) {
    let quoted = |text: &str| text.replace('\'', "''");
    let holes: Vec<String> = expressions.iter().map(|text| format!("${{{{ {} }}}}", quoted(text))).collect();
    let (one, all) = (&holes[0], holes.concat());
    let manifest = match place {
        0 => format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{a: '{one}', b: '-{all}-'}}\n"
        ),
        1 => format!("apiVersion: v1\nkind: '{one}'\nmetadata: {{name: '{all}'}}\n"),
        2 => format!(
            "apiVersion: v1\nkind: List\nitems: ['{one}', {{apiVersion: v1, kind: ConfigMap, metadata: '{one}'}}]\n"
        ),
        3 => format!(
            "apiVersion: x.io/v1\nkind: Thing\nmetadata: {{name: a, namespace: '{all}'}}\nspec: ['{one}', ['{all}']]\n"
        ),
        4 => format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: a, annotations: {{'{one}': '{one}'}}}}\nstringData: '{one}'\n"
        ),
        _ => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {{replicas: '{one}', template: '{all}'}}\n"
        ),
    };
    let manifest = edited(manifest.as_bytes(), &edits);
    let profile = PROFILE.replace(
        "      l: {type: array, items: {type: string}}\n",
        "      l: {default: [a, b, c]}\n      s: {default: text}\n      m: {default: {a: 1, namespace: fairlead-system, name: x}}\n      unset: {}\n",
    );
    whole(
        profile.as_bytes(),
        TARGET.replace(", l: [x, y]", "").as_bytes(),
        FLEET.split("  windows").next().unwrap_or_default().as_bytes(),
        &manifest,
    );
}

#[test]
fn a_few_of_each() {
    run(&documents(), None, 200, document);
    run(&schemas(), None, 100, schema_with_values);
    run(&expressions(), None, 200, expression_with_manifest);
}

#[allow(clippy::disallowed_methods, reason = "its only setting")]
fn end() -> Option<Instant> {
    let minutes = std::env::var("FAIRLEAD_FUZZ_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    Some(Instant::now() + Duration::from_secs(60 * minutes))
}

#[test]
#[ignore = "runs for minutes"]
fn long_documents() {
    run(&documents(), end(), 0, document);
}

#[test]
#[ignore = "runs for minutes"]
fn long_schemas() {
    run(&schemas(), end(), 0, schema_with_values);
}

#[test]
#[ignore = "runs for minutes"]
fn long_expressions() {
    run(&expressions(), end(), 0, expression_with_manifest);
}

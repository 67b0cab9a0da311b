use serde_json::{Value, json};

use crate::catalog::yaml::{Dialect, MAX_BYTES, MAX_DEPTH, Parsed, parse};

fn fairlead(text: &str) -> Parsed {
    parse("f.yaml", text.as_bytes(), Dialect::Fairlead)
}

fn kubernetes(text: &str) -> Parsed {
    parse("f.yaml", text.as_bytes(), Dialect::Kubernetes)
}

fn only(parsed: Parsed) -> Value {
    assert!(parsed.complete && parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let [doc] = <[_; 1]>::try_from(parsed.docs).unwrap();
    doc.value
}

fn findings(parsed: &Parsed) -> Vec<String> {
    parsed.diagnostics.iter().map(ToString::to_string).collect()
}

/// Numbers compared as numbers: Go writes `-0` and `100000000000000000000`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        _ => a == b,
    }
}

#[test]
fn manifests_mean_what_kubectl_means() {
    let mut wrong = Vec::new();
    for line in include_str!("kubectl.tsv").lines().filter(|l| !l.starts_with('#')) {
        let mut columns = line.split('\t');
        let text: String = serde_json::from_str(columns.next().unwrap()).unwrap();
        let kubectl = columns.next().unwrap();
        let expected = columns.next().unwrap_or(kubectl);
        let parsed = kubernetes(&text);
        let fits = match serde_json::from_str::<Value>(expected) {
            Ok(value) => {
                parsed.docs.first().is_some_and(|doc| same(&doc.value, &value))
                    && parsed.diagnostics.iter().all(|found| !found.is_error())
            }
            Err(_) => expected == "error" && parsed.docs.is_empty() && !parsed.diagnostics.is_empty(),
        };
        if !fits {
            let got = parsed.docs.first().map(|d| d.value.to_string());
            wrong.push(format!("{text:?}: expected {expected}, got {got:?} {:?}", findings(&parsed)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn own_documents_are_strict_yaml_1_2() {
    let table = [
        ("yes", json!("yes")),
        ("on", json!("on")),
        ("True", json!(true)),
        ("0644", json!(644)),
        ("0o644", json!(420)),
        ("0b11", json!("0b11")),
        ("0x1f", json!(31)),
        ("1_000", json!("1_000")),
        ("1.0", json!(1)),
        ("1.5", json!(1.5)),
        ("~", json!(null)),
        ("-12", json!(-12)),
        ("18446744073709551615", json!(u64::MAX)),
        ("2001-01-01", json!("2001-01-01")),
        ("4f2c91a0", json!("4f2c91a0")),
        ("!!str 1", json!("1")),
    ];
    for (text, value) in table {
        assert_eq!(only(fairlead(&format!("a: {text}"))), json!({ "a": value }), "{text}");
    }
    assert_eq!(only(fairlead("{\"a\":\t[1, true, \"\\/\\uD834\\uDD1E\"]}")), json!({"a": [1, true, "/𝄞"]}));
    assert_eq!(only(fairlead("a: &x {b: 1}\nc: *x")), json!({"a": {"b": 1}, "c": {"b": 1}}));
}

#[test]
fn what_is_wrong_says_where() {
    let table: &[(&str, &[&str])] = &[
        (
            "a: 1\nb:\n  c: 1\n  c: 2",
            &["f.yaml:4:3: the key 'c' is here twice; the first is on line 3 (hint: remove one of them)"],
        ),
        (
            "a: .inf",
            &[
                "f.yaml:1:4: '.inf' is not a number that JSON can hold (hint: put it in quotes if it is meant as a text)",
            ],
        ),
        ("a: [1, 2", &["f.yaml:1:4: not valid YAML: unclosed bracket '['"]),
        ("a: *x", &["f.yaml:1:4: an alias to an anchor that is not there"]),
        ("a: &x [*x]", &["f.yaml:1:8: the anchor's value contains itself"]),
        (
            "[a]: 1",
            &[
                "f.yaml:1:1: only texts, numbers and booleans can be keys (hint: put it in quotes if it is meant as a text)",
            ],
        ),
        (
            "a: &x {b: 1}\nc: {<<: *x}",
            &[
                "f.yaml:2:5: merge keys are not read here (hint: write the entries out; merge keys are not part of YAML 1.2)",
            ],
        ),
        (
            "a: !foo 1\nb: !!int x",
            &["f.yaml:1:9: the tag !foo has no meaning here", "f.yaml:2:10: 'x' is not a !!int"],
        ),
        (
            "a: 'x\n---\nb: 1\n",
            &[
                "f.yaml:1:4: not valid YAML: while scanning a quoted scalar, found unexpected document indicator",
            ],
        ),
    ];
    for (text, expected) in table {
        let parsed = fairlead(text);
        assert_eq!(findings(&parsed), *expected, "{text}");
        assert!(parsed.docs.is_empty() || text.contains("---"));
    }
}

#[test]
fn keys_that_mean_true_or_false_say_so() {
    for (text, expected) in [
        (
            "y: 1\non: 2\n",
            "f.yaml:2:1: the keys 'on' and 'y' (line 1) both mean true in YAML 1.1: the same key is here twice (hint: put them in quotes)",
        ),
        ("no: 1\nNO: 2\n", "f.yaml:2:1: the keys 'NO' and 'no' (line 1) both mean false in YAML 1.1"),
        ("true: 1\nyes: 2\n", "f.yaml:2:1: the keys 'yes' and 'true' (line 1) both mean true in YAML 1.1"),
        (
            "on: 1\non: 2\n",
            "f.yaml:2:1: the key 'on' is here twice; the first is on line 1 (hint: remove one of them)",
        ),
        (
            "y: 1\n",
            "f.yaml:1:1: warning: the key 'y' means true in YAML 1.1, and so to kubectl (hint: put it in quotes if 'y' is meant, else write true)",
        ),
    ] {
        let found = findings(&kubernetes(text));
        assert!(found.iter().any(|line| line.starts_with(expected)), "{text}: {found:?}");
    }
    assert_eq!(findings(&kubernetes("'y': 1\n\"on\": 2\ntrue: 3\n")), [""; 0]);
    assert_eq!(findings(&fairlead("y: 1\non: 2\n")), [""; 0]);
}

#[test]
fn a_broken_document_hides_no_other() {
    let parsed = fairlead("a: 1\n---\n# nothing\n---\nb: [\n---\nc: 1\nc: 2\n---\n---\nd: 4\n");
    let values: Vec<_> = parsed.docs.iter().map(|d| d.value.to_string()).collect();
    assert_eq!(values, ["{\"a\":1}", "{\"d\":4}"]);
    assert_eq!(parsed.broken.iter().map(|d| d.value.to_string()).collect::<Vec<_>>(), ["{\"c\":1}"]);
    assert!(!parsed.complete);
    assert_eq!(parsed.docs[1].places.key("/d").to_string(), "f.yaml:11:1");
}

#[test]
fn every_key_and_value_has_its_place() {
    let parsed = kubernetes("kind: X\nspec:\n  äö: [1, {x/y: 2}]\n  more:\n  - z: |\n      text\n");
    let places = &parsed.docs[0].places;
    let table = [
        ("", "1:1", "1:1"),
        ("/kind", "1:1", "1:7"),
        ("/spec", "2:1", "3:3"),
        ("/spec/äö", "3:3", "3:7"),
        ("/spec/äö/1", "3:11", "3:11"),
        ("/spec/äö/1/x~1y", "3:12", "3:17"),
        ("/spec/more/0/z", "5:5", "6:7"),
        ("/spec/none/deeper", "2:1", "2:1"),
        ("/none", "1:1", "1:1"),
    ];
    for (pointer, key, value) in table {
        assert_eq!(places.key(pointer).to_string(), format!("f.yaml:{key}"), "key of {pointer}");
        assert_eq!(places.value(pointer).to_string(), format!("f.yaml:{value}"), "value of {pointer}");
    }
    assert!(places.has("/spec/more/0/z") && !places.has("/spec/none"));
}

/// Bombs: refused by a finding with a place, in a time that a slow machine without optimisation also keeps.
#[test]
#[allow(clippy::disallowed_methods, reason = "measures")]
fn threat_bombs_are_refused_fast() {
    let billion = (0..10).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        format!("{text}a{}: &a{} [{}]\n", n + 1, n + 1, format!("*a{n}, ").repeat(10))
    });
    let merges = (0..30).fold("a0: &a0 {k: v}\n".to_owned(), |text, n| {
        format!("{text}a{}: &a{}\n  <<: [{}]\n", n + 1, n + 1, format!("*a{n}, ").repeat(9))
    });
    let long = format!("a: &a \"{}\"\nb: [{}]", "x".repeat(1 << 20), "*a, ".repeat(100_000));
    let indented: String = (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let twice = "a: 1\n".repeat(200_000);
    let table = [
        ("f.yaml:6:", "yaml-too-large", billion),
        ("f.yaml:", "yaml-too-large", merges),
        ("f.yaml:2:", "yaml-too-large", long),
        ("f.yaml:1:", "yaml-too-deep", "[".repeat(100_000)),
        ("f.yaml:1:", "yaml-too-deep", "{a: ".repeat(100_000)),
        ("f.yaml:1:", "yaml-too-deep", "- ".repeat(100_000)),
        ("f.yaml:1:", "yaml-too-deep", "? ".repeat(100_000)),
        ("f.yaml:101:", "yaml-too-deep", indented),
        ("f.yaml", "file-too-large", "a: b\n".repeat(10 << 20)),
        ("f.yaml:1:", "yaml-too-large", format!("[{}", "1,".repeat(MAX_BYTES / 2 - 1))),
        ("f.yaml:", "too-many-documents", "---\na\n".repeat(20_000)),
        ("f.yaml:2:1", "yaml-duplicate-key", twice),
        ("f.yaml:1:", "yaml-syntax", "--- [\n".repeat(200_000)),
    ];
    for (place, code, text) in table {
        let start = std::time::Instant::now();
        let parsed = kubernetes(&text);
        let taken = start.elapsed();
        let first = parsed.diagnostics.first().unwrap();
        assert!(
            first.code == code && first.place.to_string().starts_with(place) && taken.as_secs_f32() < 30.0,
            "{first} after {taken:?} for {}",
            text.chars().take(40).collect::<String>()
        );
        assert!(!parsed.complete || parsed.docs.is_empty());
        assert!(parsed.diagnostics.len() <= 101);
    }
    let deep = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    let value = only(kubernetes(&deep));
    assert!(serde_json::from_str::<Value>(&value.to_string()).is_ok());
}

proptest::proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        for dialect in [Dialect::Fairlead, Dialect::Kubernetes] {
            parse("f", &bytes, dialect);
        }
    }

    #[test]
    fn mutated_yaml_never_panics(
        cuts in proptest::collection::vec((0usize..200, "[-?:,\\[\\]{}#&*!|>'\"%@`a0 \n\t<]{0,4}"), 0..8)
    ) {
        let mut text = "a: &x {b: [1, 'c'], d: \"e\"}\nf:\n- <<: *x\n  g: |\n    h\n- !!int 3\n---\n? i\n: j # k\n".to_owned();
        for (at, insert) in cuts {
            let at = at.min(text.len());
            let end = (at + insert.len() / 2).min(text.len());
            text.replace_range(at..end, &insert);
        }
        for dialect in [Dialect::Fairlead, Dialect::Kubernetes] {
            let parsed = parse("f", text.as_bytes(), dialect);
            assert!(parsed.complete || !parsed.diagnostics.is_empty());
        }
    }
}

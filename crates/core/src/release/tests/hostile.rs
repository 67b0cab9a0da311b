//! Expressions that are written to do harm: they are refused, or done in bounded time on a small stack.

use proptest::prelude::*;
use serde_json::json;

use super::Case;

fn evaluate(expression: &str) -> Result<(), String> {
    let numbers: Vec<u32> = (0..5_000).collect();
    let variables = json!({"l": numbers, "s": "a".repeat(50_000), "m": {"a": {"b": [1, 2]}}});
    let mut case = Case::scalar(&format!("|-\n    ${{{{ {expression} }}}}"), variables);
    case.expressions = true;
    // A worker thread has 2 MiB.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        case.render().map(|_| ()).map_err(|found| found.iter().map(ToString::to_string).collect::<String>())
    });
    thread.unwrap().join().unwrap()
}

#[test]
fn costly_expressions_are_refused() {
    for expression in [
        "var.l.map(a, var.l.map(b, a + b))",
        "var.l.map(a, var.l.map(b, var.l.map(c, a)))",
        "var.l.filter(a, a in var.l).size()",
        "var.l.map(a, var.s)",
        "var.s.replace('a', var.s)",
        "var.l.map(a, 'x').join(var.s)",
        "[var.s + var.s].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a)",
        "var.s.split('').map(a, var.s)",
        "var.l.exists(a, var.s.matches('(a*)*b'))",
    ] {
        let error = evaluate(expression).unwrap_err();
        assert!(error.contains("could take too long"), "{expression}: {error}");
    }
}

/// A pattern is compiled once, whatever asks for it how often; what is not written out is not read.
#[test]
#[allow(clippy::disallowed_methods, reason = "measures")]
fn patterns_cost_what_they_are() {
    let loops = |pattern: &str| {
        let list = format!("[{}]", ["1"; 40].join(","));
        format!("string({list}.exists(x, {list}.exists(y, 'a'.matches({pattern}))))")
    };
    let start = std::time::Instant::now();
    for (pattern, expected) in [
        (r"r'\w{60}\d{30}'", "is larger than 65536 bytes when it is compiled"),
        ("r'(a{100}){100}'", "is larger than 65536 bytes when it is compiled"),
        ("'('", "is not a regular expression"),
        ("var.s", "the pattern of 'matches' must be written out as a text"),
        ("'a' + 'b'", "the pattern of 'matches' must be written out as a text"),
    ] {
        let error = evaluate(&loops(pattern)).unwrap_err();
        assert!(error.contains(expected), "{pattern}: {error}");
    }
    assert_eq!(evaluate(&loops("r'^[a-z]{1,20}-\\d+$'")), Ok(()));
    assert_eq!(evaluate("string(matches('abc', '^a.c$'))"), Ok(()));
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

/// What many expressions of many layers take together is counted.
#[test]
fn a_reading_has_one_budget_of_steps() {
    use crate::model::budget::{Budget, Cost, enter};
    let numbers: Vec<u32> = (0..2_000).collect();
    let case = Case::scalar("${{ string(var.l.map(a, a * 2).size()) }}", json!({"l": numbers}));
    let budget = std::sync::Arc::new(Budget::default());
    let _counted = enter(budget.clone());
    assert!(case.render().is_ok());
    let spent = budget.spent(Cost::Steps);
    budget.spend(Cost::Steps, Cost::Steps.limit().0 - spent - spent / 2).unwrap();
    let errors = case.errors();
    assert!(errors[0].contains("the commit needs more than 1000000000 steps of expressions"), "{errors:?}");
}

#[test]
fn ordinary_loops_are_not() {
    for expression in [
        "var.l.map(a, a * 2)",
        "var.l.filter(a, a % 2 == 0).map(a, string(a)).join(',')",
        "['a', 'b'].map(x, ['c', 'd'].map(y, x + y))",
        "var.m.map(k, var.m[k].map(j, var.m[k][j]))",
        "var.s.split('').size()",
    ] {
        assert_eq!(evaluate(expression), Ok(()), "{expression}");
    }
}

#[test]
fn deep_and_long_expressions_fit_a_small_stack() {
    let repeat = |text: &str, n: usize| text.repeat(n);
    for expression in [
        format!("1{}", repeat("+1", 120)),
        format!("{}true", repeat("!", 200)),
        format!("{}1", repeat("-", 201)),
        format!("{}1", repeat("true?1:", 60)),
        format!("var.m{}", repeat(".a", 120)),
        format!("var.m{}", repeat("['a']", 60)),
        format!("{}1{}", repeat("(", 12), repeat(")", 12)),
        format!("{}1{}", repeat("[", 12), repeat("]", 12)),
        format!("{}1{}", repeat("{'a':", 12), repeat("}", 12)),
        format!("true{}", repeat("&&true", 80)),
        format!("1{}", repeat("==1", 120)),
        format!("'a'{}", repeat(".trim()", 60)),
        format!("{}[1]{}", repeat("[1].map(x,", 10), repeat(")", 10)),
        repeat("a.", 120),
        repeat("a(", 12),
        repeat("? ", 120),
    ] {
        // Whether it is right is CEL's business: it ends, and nothing breaks.
        let _ = evaluate(&expression);
    }
}

fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "var",
        "cluster",
        ".",
        "l",
        "s",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "==",
        "<",
        "&&",
        "||",
        "in",
        "1",
        "2.5",
        "1u",
        "0x",
        "1e",
        "'a'",
        "\"b\"",
        "r'c'",
        "b'd'",
        "'''",
        "\\",
        "true",
        "null",
        "has",
        "map",
        "filter",
        "all",
        "x",
        "x,",
        "size",
        "matches",
        "`",
        "@",
        "#",
        "é",
        "\u{0}",
        "9223372036854775808",
        "-9223372036854775808",
        "'\\x'",
        "'\\u12'",
        "'\\777'",
        "//",
        "\n",
        "optional",
        "of",
        "?.",
        "[?",
        "dyn",
        "type",
    ]);
    prop::collection::vec(token, 0..30).prop_map(|tokens| tokens.join(" "))
}

const LEAVES: &str = "var.l var.s var.m var.m.a var.n var.f var.unset cluster.name cluster.labels var 1 -1 0 \
    9223372036854775807 -9223372036854775807 1u 2.5 1e300 'a' '' 'é😀' b'x' true null [] {} [1,'a'] {'a':1,'b':[2]} x \
    optional.none() optional.of(1) int";
const OPERATORS: &str = "+ - * / % == != < >= && || in";
const METHODS: &str = "size contains startsWith endsWith matches charAt indexOf lastIndexOf join lowerAscii upperAscii \
    replace split substring trim hasValue value or orValue";
const FUNCTIONS: &str = "size int uint double string bytes bool type dyn base64.encode base64.decode optional.of \
    optional.ofNonZeroValue";
const MACROS: &str = "map filter all exists exists_one";

fn one_of(words: &'static str) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words.split_whitespace().collect::<Vec<_>>())
}

/// Expressions that the grammar allows, whether they make sense or not.
fn expression() -> impl Strategy<Value = String> {
    one_of(LEAVES).prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let two = || (inner.clone(), inner.clone());
        let arguments = prop::collection::vec(inner.clone(), 0..3).prop_map(|a| a.join(", "));
        prop_oneof![
            (two(), one_of(OPERATORS)).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            (inner.clone(), one_of(METHODS), arguments).prop_map(|(a, m, b)| format!("{a}.{m}({b})")),
            (one_of(FUNCTIONS), inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (two(), one_of(MACROS)).prop_map(|((a, b), m)| format!("{a}.{m}(x, {b})")),
            two().prop_map(|(a, b)| format!("{a}[{b}]")),
            two().prop_map(|(a, b)| format!("{a}[?{b}]")),
            (two(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            inner.clone().prop_map(|a| format!("{a}.a")),
            two().prop_map(|(a, b)| format!("[{a}, {{'k': {b}}}]")),
        ]
    })
}

#[test]
fn a_cache_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<crate::release::LayerCache>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_soup_of_tokens_breaks_the_parser(text in soup(), tight in any::<bool>()) {
        let text = if tight { text.replace(' ', "") } else { text };
        for part in super::super::scan::split(&format!("${{{{ {text} }}}}")) {
            if let super::super::scan::Part::Expression(found) = part {
                let _ = super::super::expression::Expression::compile(&found);
            }
        }
    }

    /// It gives a value or an error, and the same one again.
    #[test]
    fn every_run_gives_the_same(text in expression()) {
        let map: serde_json::Map<_, _> = (0..20).map(|n| (format!("k{n}"), json!(n))).collect();
        let variables = json!({"l": [3, "b", null], "s": "some text", "m": {"a": map}, "n": 7, "f": 0.5});
        let manifest = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"v": format!("${{{{ {text} }}}}")},
        });
        let case = Case::new(&manifest.to_string(), variables);
        let first = case.render();
        for _ in 0..2 {
            prop_assert_eq!(&case.render(), &first, "{}", text);
        }
    }

    #[test]
    fn no_short_expression_breaks_the_evaluation(text in soup()) {
        let variables = json!({"l": [1, 2], "s": "a", "x": {"y": null}});
        let case = Case::new(&serde_json::to_string(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"v": format!("${{{{ {text} }}}}")},
        })).unwrap(), variables);
        let _ = case.render();
    }
}

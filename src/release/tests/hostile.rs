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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_soup_of_tokens_breaks_the_parser(text in soup(), tight in any::<bool>()) {
        let text = if tight { text.replace(' ', "") } else { text };
        if let Ok(parts) = super::super::scan::split(&format!("${{{{ {text} }}}}")) {
            for part in parts {
                if let super::super::scan::Part::Expression(found) = part {
                    let _ = super::super::expression::Expression::compile(&found);
                }
            }
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

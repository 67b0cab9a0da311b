use serde_json::{Value, json};

use crate::catalog::report;
use crate::model::diagnostic::{Diagnostic, Place};

fn two() -> Vec<Diagnostic> {
    vec![
        Diagnostic::error(Place::at("a b/ä.yaml", 2, 6), "unknown-key", "unknown key 'x\u{1b}[31m'")
            .expected("one of a, b")
            .hint("did you mean 'a'?"),
        Diagnostic::warning(Place::file("clusters"), "no-folder", "there is no folder 'clusters'"),
    ]
}

#[test]
fn text_is_one_line_a_finding_and_steers_no_terminal() {
    assert_eq!(
        report::text(&two()),
        "a b/ä.yaml:2:6: unknown key 'x [31m'; expected one of a, b (hint: did you mean 'a'?)\n\
         clusters: warning: there is no folder 'clusters'\n"
    );
    assert_eq!(report::summary(&two()), "1 error, 1 warning");
}

#[test]
fn a_terminal_gets_the_line_and_a_mark_below() {
    let source = |file: &str| {
        (file == "a b/ä.yaml").then(|| format!("first\n\tä: {{\u{1b}x: 1}}{}\n", "y".repeat(200)))
    };
    let text = report::coloured(&two(), &source);
    let plain = anstream::adapter::strip_str(&text).to_string();
    let lines: Vec<&str> = plain.lines().collect();
    assert_eq!(lines[0], "a b/ä.yaml:2:6: error: unknown key 'x [31m'");
    assert!(lines[1].starts_with("2 |  ä: { x: 1}yyy") && lines[1].chars().count() == 124, "{}", lines[1]);
    assert_eq!(lines[2], "  |      ^");
    assert_eq!(
        lines[3..],
        [
            "  expected one of a, b",
            "  hint: did you mean 'a'?",
            "",
            "clusters: warning: there is no folder 'clusters'",
            ""
        ]
    );
    assert!(text.contains("\u{1b}[1m"));
}

#[test]
fn json_and_sarif_name_the_place() {
    let value: Value = serde_json::from_str(&report::json(&two())).unwrap();
    assert_eq!((&value["errors"], &value["warnings"]), (&json!(1), &json!(1)));
    assert_eq!(value["diagnostics"][0]["place"], json!({"file": "a b/ä.yaml", "line": 2, "column": 6}));
    let value: Value = serde_json::from_str(&report::sarif(&two())).unwrap();
    let results = &value["runs"][0]["results"];
    assert_eq!(
        results[0]["locations"][0]["physicalLocation"],
        json!({
            "artifactLocation": {"uri": "a%20b/%C3%A4.yaml", "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": 2, "startColumn": 6},
        })
    );
    assert_eq!((&results[0]["ruleIndex"], &results[1]["level"]), (&json!(1), &json!("warning")));
    assert_eq!(
        value["runs"][0]["tool"]["driver"]["rules"],
        json!([{"id": "no-folder"}, {"id": "unknown-key"}])
    );
    assert_eq!(results[1]["locations"][0]["physicalLocation"].get("region"), None);
}

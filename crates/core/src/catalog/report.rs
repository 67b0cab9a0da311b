//! Diagnostics as text, JSON and SARIF.

use std::collections::BTreeSet;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::model::diagnostic::{Diagnostic, Severity};

/// Widest piece of a source line that is shown.
const WIDTH: usize = 120;

/// One line a finding: `file:line:column: what is wrong; expected ... (hint: ...)`.
pub fn text(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| clean(&d.to_string()) + "\n").collect()
}

/// For terminals: colours, and the line of the source with a mark below. `source` gives a file's text.
pub fn coloured(diagnostics: &[Diagnostic], source: &dyn Fn(&str) -> Option<String>) -> String {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let mut out = String::new();
    for finding in diagnostics {
        let (word, colour) = match finding.severity {
            Severity::Error => ("error", AnsiColor::Red),
            Severity::Warning => ("warning", AnsiColor::Yellow),
        };
        let accent = colour.on_default().bold();
        let (place, message) = (clean(&finding.place.to_string()), clean(&finding.message));
        let _ = writeln!(out, "{bold}{place}{bold:#}: {accent}{word}{accent:#}: {bold}{message}{bold:#}");
        if let Some((line, column)) = snippet(finding, source) {
            let number = finding.place.line.to_string();
            let space = " ".repeat(number.len());
            let _ = writeln!(out, "{dim}{number} |{dim:#} {line}");
            let _ = writeln!(out, "{dim}{space} |{dim:#} {}{accent}^{accent:#}", " ".repeat(column));
        }
        if let Some(expected) = &finding.expected {
            let _ = writeln!(out, "  expected {}", clean(expected));
        }
        if let Some(hint) = &finding.hint {
            let _ = writeln!(out, "  hint: {}", clean(hint));
        }
        out.push('\n');
    }
    out
}

/// The line of a finding and the column of its mark in it, from 0.
fn snippet(finding: &Diagnostic, source: &dyn Fn(&str) -> Option<String>) -> Option<(String, usize)> {
    let index = (finding.place.line as usize).checked_sub(1)?;
    let text = source(&finding.place.file)?;
    let line = clean(text.lines().nth(index)?);
    let column = (finding.place.column as usize).saturating_sub(1).min(line.chars().count());
    let skipped = if column >= WIDTH { column - WIDTH / 2 } else { 0 };
    Some((line.chars().skip(skipped).take(WIDTH).collect(), column - skipped))
}

/// `2 errors, 1 warning`.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    format!("{}, {}", count(errors, "error"), count(diagnostics.len() - errors, "warning"))
}

/// A JSON object: `diagnostics`, `errors` and `warnings` (their numbers).
pub fn json(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let value = json!({
        "diagnostics": diagnostics,
        "errors": errors,
        "warnings": diagnostics.len() - errors,
    });
    pretty(&value)
}

/// SARIF 2.1.0 (OASIS), as forges read it.
pub fn sarif(diagnostics: &[Diagnostic]) -> String {
    let codes: BTreeSet<&str> = diagnostics.iter().map(|d| d.code.as_str()).collect();
    let codes: Vec<&str> = codes.into_iter().collect();
    let rules: Vec<Value> = codes.iter().map(|code| json!({ "id": code })).collect();
    let results: Vec<Value> = diagnostics.iter().map(|finding| result(finding, &codes)).collect();
    let value = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "fairlead", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    pretty(&value)
}

fn result(finding: &Diagnostic, codes: &[&str]) -> Value {
    let mut message = finding.message.clone();
    if let Some(expected) = &finding.expected {
        let _ = write!(message, "; expected {expected}");
    }
    if let Some(hint) = &finding.hint {
        let _ = write!(message, " (hint: {hint})");
    }
    let mut place = json!({"artifactLocation": {"uri": uri(&finding.place.file), "uriBaseId": "%SRCROOT%"}});
    if finding.place.line > 0 {
        let region = json!({"startLine": finding.place.line, "startColumn": finding.place.column.max(1)});
        place["region"] = region;
    }
    json!({
        "ruleId": finding.code,
        "ruleIndex": codes.binary_search(&finding.code.as_str()).unwrap_or_default(),
        "level": match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": {"text": message},
        "locations": [{"physicalLocation": place}],
    })
}

/// A path as a relative reference (RFC 3986).
fn uri(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().fold(String::new(), |mut uri, byte| {
        if plain(byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
        uri
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Names and lines come from the repository: nothing in them may steer a terminal. Columns stay.
fn clean(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

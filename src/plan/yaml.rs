//! Objects and their differences as YAML.

use serde_json::Value;
use similar::TextDiff;

use super::redact::Shown;

/// Lines of YAML around a change.
const CONTEXT: usize = 3;

/// `apiVersion`, `kind` and `metadata` first, as everyone writes them; the rest by name.
fn yaml(shown: Option<&Shown>) -> String {
    let Some(shown) = shown else { return String::new() };
    let mut out = String::new();
    let Value::Object(map) = shown.value() else { return section(shown.value()) };
    let first = ["apiVersion", "kind", "metadata"];
    let rest = map.keys().map(String::as_str).filter(|name| !first.contains(name));
    for name in first.into_iter().chain(rest) {
        if let Some(value) = map.get(name) {
            out.push_str(&section(&serde_json::json!({ name: value })));
        }
    }
    out
}

/// The writer knows no JSON value that it can't write.
fn section(value: &Value) -> String {
    serde_norway::to_string(value).unwrap_or_else(|error| format!("# can't be written as YAML: {error}\n"))
}

/// A unified diff of two objects of a kind as YAML, secrets redacted; empty if nothing differs. Characters that would change
/// how a terminal or a page shows their neighbours are written out.
pub fn diff(kind: &str, old: Option<&Value>, new: Option<&Value>) -> String {
    let (old, new) = Shown::pair(kind, old, new);
    let (old, new) = (yaml(old.as_ref()), yaml(new.as_ref()));
    let text = TextDiff::from_lines(&old, &new).unified_diff().context_radius(CONTEXT).to_string();
    visible(&text)
}

/// Control characters but for line feeds and tabs, bidirectional controls and zero-width characters as `\u{202e}`.
pub(super) fn visible(text: &str) -> String {
    let hidden = |c: char| {
        let control = c.is_control() && c != '\n' && c != '\t';
        control
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(hidden) {
        return text.to_owned();
    }
    text.chars().map(|c| if hidden(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

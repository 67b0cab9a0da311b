//! Objects and their differences as YAML.

use serde_json::Value;
use similar::TextDiff;

use super::redact::Shown;
use crate::release::object_to_yaml;

/// Lines of YAML around a change.
const CONTEXT: usize = 3;

/// A unified diff of two objects of a kind as YAML, secrets redacted; empty if nothing differs. Characters that would change
/// how a terminal or a page shows their neighbours are written out.
pub fn diff(kind: &str, old: Option<&Value>, new: Option<&Value>) -> String {
    let (old, new) = Shown::pair(kind, old, new);
    let yaml = |shown: Option<Shown>| shown.map(|shown| object_to_yaml(shown.value())).unwrap_or_default();
    let (old, new) = (yaml(old), yaml(new));
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

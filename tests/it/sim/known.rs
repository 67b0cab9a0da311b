//! What differs on purpose: `differences.yaml`.

use serde::Deserialize;

use super::compare::Difference;

/// Differences that are meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The request, as `METHOD path`; `*` stands for any text.
    request: String,
    /// The place in the answer; `*` as above.
    path: String,
    /// Only in answers of this code on the real cluster.
    #[serde(default)]
    code: Option<u16>,
    reason: String,
}

/// All that is listed.
pub fn listed() -> Vec<Known> {
    let listed: Vec<Known> =
        serde_norway::from_str(include_str!("differences.yaml")).expect("differences.yaml");
    for known in &listed {
        assert!(known.reason.len() > 20, "a listed difference without a reason: {known:?}");
    }
    listed
}

impl Known {
    pub fn covers(&self, request: &str, code: u16, difference: &Difference) -> bool {
        self.code.is_none_or(|wanted| wanted == code)
            && matches(&self.request, request)
            && matches(&self.path, &difference.path)
    }
}

/// Whether a text is as a pattern, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    (0..=rest.len()).filter(|n| rest.is_char_boundary(*n)).any(|n| matches(tail, &rest[n..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("GET /apis", "GET /apis", true),
            ("GET /apis", "GET /api", false),
            ("* /api/*/services*", "PATCH /api/v1/namespaces/{ns}/services/a", true),
            ("*/status/*", "/spec/a", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}

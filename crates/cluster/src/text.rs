//! Text that came from an API server: untrusted, for people only.

use super::library;

/// Longest text that is passed on, in characters.
const MAX_CHARS: usize = 600;

/// Makes foreign text safe to print and store: no control or bidirectional-override characters, white space
/// runs become one space, cut at 600 characters.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut chars = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            gap = !out.is_empty();
            continue;
        }
        if is_invisible(c) {
            continue;
        }
        if chars >= MAX_CHARS {
            out.push('…');
            break;
        }
        if std::mem::take(&mut gap) {
            out.push(' ');
            chars += 1;
        }
        out.push(c);
        chars += 1;
    }
    out
}

/// Characters that change how their neighbours look without being seen themselves (Unicode's bidirectional
/// controls and zero-width characters).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// An error and its causes in one line, cleaned. What libraries say of connections is put in words.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let (text, source) = match library::explain(error) {
            Some(known) => (known.text, known.source),
            None => (Some(error.to_string()), error.source()),
        };
        // Libraries that repeat their source in their own text are not repeated once more.
        parts.extend(text.filter(|text| !parts.last().is_some_and(|last| last.contains(text))));
        next = source;
    }
    clean(&parts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_length_do_not_pass() {
        assert_eq!(clean("a\x1b[31mb\r\nc\u{202e}d\0"), "a [31mb cd");
        assert_eq!(clean("  a \n b  "), "a b");
        let long = clean(&"ä".repeat(5_000));
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
    }
}

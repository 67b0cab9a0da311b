//! Text that came from an API server: untrusted, for people only.

use std::error::Error;

use fairlead_net as net;

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
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        // kube's own error says nothing of a connection that what it wraps does not say.
        if let Some(kube::Error::Service(inner)) = error.downcast_ref() {
            if let Some(failure) = net::explain_known(&**inner) {
                parts.push(failure.text);
                break;
            }
            continue;
        }
        if let Some(kube::Error::HyperError(_)) = error.downcast_ref() {
            parts.push(net::explain(error).text);
            break;
        }
        let of_system = error.downcast_ref::<std::io::Error>().filter(|io| io.raw_os_error().is_some());
        let text = of_system.map_or_else(|| error.to_string(), net::io_words);
        // Libraries that repeat their source in their own text are not repeated once more.
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
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

//! Finds `${{ ... }}` in a text.
//!
//! The end of an expression is found as CEL reads it: `}}` inside a string or closing two maps does not end
//! it. What could make the CEL parser slow or deep is refused here, before it sees it.

/// Longest expression, in bytes between the braces.
pub const MAX_LENGTH: usize = 2_000;
/// Most tokens in an expression: the depth of what CEL's parser builds is bounded by it.
pub const MAX_TOKENS: usize = 250;
/// Deepest nesting of brackets.
pub const MAX_DEPTH: usize = 12;
/// Most expressions in one text.
pub const MAX_IN_TEXT: usize = 64;

pub const OPENING: &str = "${{";
/// What makes an opening a text.
const ESCAPE: char = '$';

/// CEL reserves the word `var`, so that its parser refuses it: it is given this name of equal length.
pub const VAR: &str = "__v";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Escapes are resolved.
    Text(String),
    Expression(Found),
    /// An expression that does not end or is beyond a limit.
    Wrong(ScanError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As it is written between the braces, trimmed.
    pub source: String,
    /// The same for CEL's parser: `var` as [`VAR`].
    pub cel: String,
    /// Which `${{` of the text it is, escaped ones counted, from 0.
    pub nth: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanError {
    /// Which `${{` of the text.
    pub nth: usize,
    pub message: String,
    pub hint: &'static str,
}

/// Splits a text into literal parts and expressions. A text without expressions is at most one part. After an
/// expression that is wrong it goes on at the next one, so that no mistake hides another.
pub fn split(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    let mut nth = 0;
    while let Some(start) = rest.find(OPENING) {
        // By its end: one byte before the opening is not where a character begins, if it is not ASCII.
        if let Some(before) = rest[..start].strip_suffix(ESCAPE) {
            literal.push_str(before);
            literal.push_str(OPENING);
            rest = &rest[start + OPENING.len()..];
        } else {
            literal.push_str(&rest[..start]);
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            let body = &rest[start + OPENING.len()..];
            match expression(body, nth) {
                Ok((found, end)) => {
                    parts.push(Part::Expression(found));
                    rest = &body[end..];
                }
                Err(error) => {
                    parts.push(Part::Wrong(error));
                    // Its closing braces may be those of the next one: what is between them is not looked at.
                    rest = &body[body.find(OPENING).unwrap_or(body.len())..];
                }
            }
        }
        nth += 1;
        if nth > MAX_IN_TEXT {
            let message = format!("more than {MAX_IN_TEXT} expressions in one text");
            parts.push(Part::Wrong(ScanError { nth, message, hint: "build the text in fewer expressions" }));
            return parts;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    parts
}

/// Reads an expression up to its `}}`; the number of bytes read, braces included.
fn expression(body: &str, nth: usize) -> Result<(Found, usize), ScanError> {
    let error = |message: String, hint| ScanError { nth, message, hint };
    let mut lexer = Lexer { text: body, at: 0, cel: String::new(), tokens: 0, depth: 0 };
    loop {
        if lexer.depth == 0 && body[lexer.at..].starts_with("}}") {
            break;
        }
        if lexer.at > MAX_LENGTH {
            let message =
                format!("the expression is longer than {MAX_LENGTH} bytes, or its '}}}}' is missing");
            return Err(error(message, "write $${{ for a literal ${{"));
        }
        if !lexer.token() {
            let hint =
                "close it with }} (and close its quotes and brackets), or write $${{ for a literal ${{";
            return Err(error("the expression has no end".to_owned(), hint));
        }
        if lexer.depth > MAX_DEPTH {
            let message = format!("the expression has brackets nested deeper than {MAX_DEPTH}");
            return Err(error(message, "give the profile a variable that is nearer to what is needed"));
        }
        if lexer.tokens > MAX_TOKENS {
            let message = format!("the expression has more than {MAX_TOKENS} words and signs");
            return Err(error(message, "give the profile a variable that is nearer to what is needed"));
        }
    }
    let source = body[..lexer.at].trim().to_owned();
    if source.is_empty() {
        return Err(error("the expression is empty".to_owned(), "write $${{ for a literal ${{"));
    }
    Ok((Found { source, cel: lexer.cel.trim().to_owned(), nth }, lexer.at + "}}".len()))
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    cel: String,
    tokens: usize,
    depth: usize,
}

impl Lexer<'_> {
    /// Takes the next token; false at the end of the text, or where a string does not end.
    fn token(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return false };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = match first {
            '"' | '\'' => match string_end(rest, false) {
                Some(end) => end,
                None => return false,
            },
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if is_word(first) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let raw = rest[..end].eq_ignore_ascii_case("r")
                    || rest[..end].eq_ignore_ascii_case("br")
                    || rest[..end].eq_ignore_ascii_case("rb");
                if raw && rest[end..].starts_with(['"', '\'']) {
                    match string_end(&rest[end..], true) {
                        Some(string) => end + string,
                        None => return false,
                    }
                } else {
                    end
                }
            }
            _ => first.len_utf8(),
        };
        let token = &rest[..length];
        match first {
            '(' | '[' | '{' => self.depth += 1,
            ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        // A comment is left out: it could hide the end of the expression from CEL's parser.
        if !token.starts_with("//") {
            let field = self.cel.trim_end().ends_with('.');
            self.cel.push_str(if token == "var" && !field { VAR } else { token });
        }
        self.tokens += usize::from(!first.is_whitespace());
        self.at += length;
        true
    }
}

/// Length of the CEL string that `text` begins with, quotes included.
fn string_end(text: &str, raw: bool) -> Option<usize> {
    let quote = text.get(..1)?;
    let triple = quote.repeat(3);
    let closing = if text.starts_with(&triple) { triple.as_str() } else { quote };
    let mut at = closing.len();
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(closing) {
            return Some(at + closing.len());
        }
        let next = rest.chars().next()?;
        at += next.len_utf8();
        if next == '\\' && !raw {
            at += text.get(at..)?.chars().next()?.len_utf8();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        split(text)
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => format!("t:{text}"),
                Part::Expression(found) => format!("e{}:{}", found.nth, found.source),
                Part::Wrong(error) => format!("w{}:{}", error.nth, error.message),
            })
            .collect()
    }

    #[test]
    fn expressions_end_where_cel_says() {
        for (text, expected) in [
            ("", &[][..]),
            ("plain ${HOME} {{ .Values.x }} $(x)", &["t:plain ${HOME} {{ .Values.x }} $(x)"]),
            ("${{ var.a }}", &["e0:var.a"]),
            ("a-${{var.a}}-${{ var.b }}.c", &["t:a-", "e0:var.a", "t:-", "e1:var.b", "t:.c"]),
            ("$${{ var.a }}", &["t:${{ var.a }}"]),
            ("x$${{y${{ var.a }}", &["t:x${{y", "e1:var.a"]),
            (
                "é${{ var.a }}\u{feff}$${{\u{2028}${{",
                &["t:é", "e0:var.a", "t:\u{feff}${{\u{2028}", "w2:the expression has no end"],
            ),
            (r#"${{ "}}" + '}}' }}"#, &[r#"e0:"}}" + '}}'"#]),
            (r#"${{ "\"}}" }}!"#, &[r#"e0:"\"}}""#, "t:!"]),
            (r#"${{ r"\" }}!"#, &[r#"e0:r"\""#, "t:!"]),
            (r#"${{ """a"}}""" }}"#, &[r#"e0:"""a"}}""""#]),
            ("${{ {'a': {'b': 1}} }}", &["e0:{'a': {'b': 1}}"]),
            ("${{ {'a': {'b': 1}}.a.b}}}", &["e0:{'a': {'b': 1}}.a.b", "t:}"]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn var_is_renamed_only_as_a_name() {
        let Part::Expression(found) = &split("${{ var.a + var . var + 'var' + variable // var }}\n}}")[0]
        else {
            panic!("no expression");
        };
        assert_eq!(found.cel, "__v.a + __v . var + 'var' + variable");
    }

    #[test]
    fn what_does_not_end_or_is_too_much_is_an_error() {
        for (text, expected) in [
            ("${{ var.a", "no end"),
            ("${{ 'a }}", "no end"),
            ("${{ (a }}", "no end"),
            ("${{ }}", "empty"),
            (&format!("${{{{ {} }}}}", "a".repeat(MAX_LENGTH + 1)), "longer"),
            (&format!("${{{{ {}1{} }}}}", "(".repeat(20), ")".repeat(20)), "nested deeper"),
            (&format!("${{{{ {}1 }}}}", "1+".repeat(200)), "words and signs"),
            (&"${{ 1 }}".repeat(MAX_IN_TEXT + 1), "in one text"),
        ] {
            let parts = split(text);
            let found =
                parts.iter().any(|part| matches!(part, Part::Wrong(e) if e.message.contains(expected)));
            assert!(found, "{text}: {parts:?}");
        }
        assert_eq!(
            parts("a ${{ }} b ${{ 'c }} ${{ var.d }}"),
            ["t:a ", "w0:the expression is empty", "w1:the expression has no end", "e2:var.d"]
        );
    }
}

//! What the bytes of a file are: text in one of its encodings, or something else by its name. Pure.
//!
//! What is text follows kubectl: it turns UTF-16 with a byte order mark into UTF-8 and drops the mark, also that of a
//! second document, as two files put together have it (k8s.io/cli-runtime's `FileVisitor`, and go-yaml for each document);
//! and a file that begins with `{` is JSON documents, one after another.

use std::borrow::Cow;

/// Why bytes are not read as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotText {
    pub code: &'static str,
    pub message: String,
    pub hint: &'static str,
    pub line: Option<u32>,
}

const BOM: char = '\u{feff}';

/// The text of a file, without byte order marks.
pub(super) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    if let Some(found) = something_else(bytes) {
        return Err(found);
    }
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes).map(Cow::Owned),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes).map(Cow::Owned),
        bytes => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(unmarked(text)),
            Err(error) => Err(not_utf8(bytes, error.valid_up_to())),
        },
    }
}

fn not_utf8(bytes: &[u8], valid: usize) -> NotText {
    let line = bytes[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
    NotText {
        code: "not-utf8",
        message: "the file is not UTF-8 text".to_owned(),
        hint: "save it as UTF-8",
        line: Some(u32::try_from(line).unwrap_or(u32::MAX)),
    }
}

fn wide(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, NotText> {
    let not_utf16 = || NotText {
        code: "not-utf8",
        message: "the file begins as UTF-16 text, and is not".to_owned(),
        hint: "save it as UTF-8",
        line: None,
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(not_utf16());
    }
    let text: Result<String, _> = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect();
    text.map(|text| unmarked(&text).into_owned()).map_err(|_| not_utf16())
}

/// Takes the byte order marks from the heads of documents: of the file, and of what follows a line `---`.
fn unmarked(text: &str) -> Cow<'_, str> {
    if !text.contains(BOM) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut head) = (String::with_capacity(text.len()), true);
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start_matches(BOM);
        // A mark before `---` is where one file was put behind another.
        let line = if head || bare.starts_with("---") { bare } else { line };
        out.push_str(line);
        // Comments and empty lines are still the head.
        let ends = line.trim_end();
        head = ends == "---"
            || ends.starts_with("--- #")
            || (head && (ends.is_empty() || ends.starts_with('#')));
    }
    Cow::Owned(out)
}

/// What people commit under a manifest's name that is none.
fn something_else(bytes: &[u8]) -> Option<NotText> {
    let found =
        |code, message: &str, hint| Some(NotText { code, message: message.to_owned(), hint, line: None });
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        let size = bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"size "));
        let size = size
            .map(|size| format!(" of {} bytes", String::from_utf8_lossy(size).trim()))
            .unwrap_or_default();
        return Some(NotText {
            code: "lfs-pointer",
            message: format!("this is a Git LFS pointer to a file{size}, which is not in the repository"),
            hint: "only what is in Git is read; keep the file itself in Git ('git lfs migrate export --include=FILE')",
            line: None,
        });
    }
    if bytes.starts_with(b"\0GITCRYPT\0") {
        return found(
            "git-crypt",
            "this is encrypted by git-crypt",
            "Fairlead has no key for it; keep secrets in the cluster, or out of this folder",
        );
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return found("binary", "this is a gzip archive, not text", "put its content here");
    }
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    if !utf16 && bytes.contains(&0) {
        return found(
            "binary",
            "this is a binary file, not text (or UTF-16 without a byte order mark)",
            "take it out of the folder, or save it as UTF-8",
        );
    }
    None
}

/// The documents of a file that begins with `{` and has several one after another, each with how many lines come before
/// it. A file that is anything else is one part, or none: then it is for the YAML parser as a whole.
pub(super) fn json_documents(text: &str) -> Vec<(u32, &str)> {
    let mut parts = Vec::new();
    if !text.trim_start().starts_with('{') {
        return parts;
    }
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let (mut from, mut line) = (0, 0u32);
    while let Some(found) = stream.next() {
        if found.is_err() {
            return Vec::new();
        }
        let end = stream.byte_offset();
        let part = &text[from..end];
        // Each begins on the line that it begins on.
        let blank = part.len() - part.trim_start().len();
        line += lines(&part[..blank]);
        // What stands before it on its line keeps its place as blanks do.
        parts.push((line, &part[blank..]));
        line += lines(&part[blank..]);
        from = end;
    }
    parts
}

fn lines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, parse};
    use super::*;

    fn code(bytes: &[u8]) -> &'static str {
        text(bytes).map(|_| "text").unwrap_or_else(|found| found.code)
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let parsed = parse("x.yaml", bytes, Dialect::Kubernetes);
        assert!(parsed.complete && parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
        parsed.docs.iter().map(|doc| name(&doc.value)).collect()
    }

    #[test]
    fn what_is_no_text_is_named() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12345\n";
        assert_eq!(code(lfs), "lfs-pointer");
        assert!(text(lfs).unwrap_err().message.contains("12345 bytes"));
        assert_eq!(code(b"\0GITCRYPT\0\x8a\x91"), "git-crypt");
        assert_eq!(code(b"\x1f\x8b\x08\0"), "binary");
        assert_eq!(code(b"\x7fELF\0\0"), "binary");
        assert_eq!(code(b"a: \xe9\n"), "not-utf8");
        assert_eq!(code(&[0xff, 0xfe, 0x61]), "not-utf8");
        assert_eq!(code("a: \u{e9}\r\nb: 1\r\n".as_bytes()), "text");
    }

    #[test]
    fn what_kubectl_reads_is_read() {
        let two = "name: a\n---\nname: b\n";
        let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{two}").encode_utf16().flat_map(bytes).collect()
        };
        for bytes in [
            two.as_bytes().to_vec(),
            two.replace('\n', "\r\n").into_bytes(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
            "\u{feff}name: a\n---\n\u{feff}name: b\n".into(),
            "\u{feff}name: a\n\u{feff}---\nname: b\n".into(),
            "\u{feff}name: a\r\n---\r\n\u{feff}# two\r\nname: b\r\n".into(),
            b"{\"name\": \"a\"}\n{\"name\": \"b\"}\n".to_vec(),
            b"\n {\"name\": \"a\"} {\n \"name\": \"b\"}".to_vec(),
        ] {
            assert_eq!(names(&bytes), ["a", "b"], "{:?}", String::from_utf8_lossy(&bytes));
        }
        // A mark inside a text is part of it.
        let parsed = parse("x.yaml", "name: \"\u{feff}a\"\n".as_bytes(), Dialect::Kubernetes);
        assert_eq!(parsed.docs[0].value["name"], "\u{feff}a");
    }

    #[test]
    fn places_in_a_later_document_are_those_of_the_file() {
        let parsed = parse("x.json", b"{\"name\": 1}\n\n{\n  \"a\": 2,\n  \"a\": 3}\n", Dialect::Kubernetes);
        assert_eq!(parsed.diagnostics[0].place.to_string(), "x.json:5:3");
        assert_eq!(parsed.docs.len(), 1);
        assert_eq!(json_documents("{a: 1}").len(), 0, "flow YAML");
        assert_eq!(json_documents("{\"a\": 1}\nb: 2").len(), 0);
    }
}

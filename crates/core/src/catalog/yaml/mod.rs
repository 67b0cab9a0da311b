//! The one reader of YAML and JSON.
//!
//! In: the bytes of a file of the repository. Out: its documents as JSON values with the place of every
//! key and value, and diagnostics. Guarantees: never panics; a file that is too large, too deep or that
//! expands too far is a diagnostic, found in bounded time and memory; a document is in `docs` only if
//! nothing is wrong with it; after a syntax error `complete` is false, because nobody can know what else
//! the file was meant to hold. What kubectl reads is read (UTF-16 with a byte order mark, JSON documents one after
//! another), and what is no text at all is named as what it is. Assumes nothing. Pure.

mod compose;
mod content;
mod places;
mod scalar;

use granit_parser::{Event, Parser, ScanError, StrInput, options};
use serde_json::Value;

use crate::model::budget::{self, Cost, OVER_BUDGET};
use crate::model::diagnostic::{Diagnostic, Place};

pub use places::Places;
pub(crate) use places::token;

/// Largest file. The largest manifests that people keep in Git, bundles of CRDs, are 5 MB; the API
/// server's own limit for one object is 3 MB (etcd's is 1.5 MB).
pub const MAX_BYTES: usize = 8 << 20;

/// What a file may grow to in memory, aliases expanded: 64 for each value plus the bytes of its texts. An
/// ordinary file weighs about five times its size; one of [`MAX_BYTES`] made of two-byte values is refused.
pub const MAX_WEIGHT: usize = 64 << 20;

/// Deepest nesting of collections. `serde_json` reads back at most 127; CRDs, the deepest of ordinary
/// documents, stay below 50.
pub const MAX_DEPTH: usize = 100;

/// Most documents in a file: 5,000 targets in one file, and room.
pub const MAX_DOCUMENTS: usize = 10_000;

/// Most findings reported for one file.
pub const MAX_FINDINGS: usize = 100;

/// What scalars without quotes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Fairlead's own documents: YAML 1.2, core schema. `yes` is a string; merge keys are refused.
    Fairlead,
    /// Manifests: what kubectl (sigs.k8s.io/yaml) means. `yes` is true, `0644` is 420, `<<` merges. Only
    /// duplicate keys differ: kubectl takes the last one, here they are refused.
    Kubernetes,
}

/// One document.
#[derive(Debug, Clone)]
pub struct Doc {
    pub value: Value,
    pub places: Places,
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The documents that nothing is wrong with, in order; empty ones are left out.
    pub docs: Vec<Doc>,
    /// Documents that can't be used (a duplicate key, a value that JSON doesn't know), as far as they
    /// could be read: good for learning what they are called, and for nothing else.
    pub broken: Vec<Doc>,
    pub diagnostics: Vec<Diagnostic>,
    /// Whether every document of the file is in `docs` or `broken`.
    pub complete: bool,
}

/// Why the reading of a document ends early.
enum Halt {
    Syntax(ScanError),
    /// Said already; the rest of the file may be fine.
    Document,
    /// Said already; nothing more of this file is read.
    File,
}

impl From<ScanError> for Halt {
    fn from(error: ScanError) -> Self {
        Halt::Syntax(error)
    }
}

/// Reads the documents of a file; `file` is its path, for places.
pub fn parse(file: &str, bytes: &[u8], dialect: Dialect) -> Parsed {
    let whole = |code: &str, message: String, hint: &str| Parsed {
        diagnostics: vec![Diagnostic::error(Place::file(file), code, message).hint(hint)],
        ..Parsed::default()
    };
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than the {MAX_BYTES} that are read", bytes.len());
        return whole("file-too-large", message, "split it into several files");
    }
    if let Err(exceeded) = budget::spend(Cost::Bytes, bytes.len()) {
        return whole(OVER_BUDGET, exceeded.to_string(), "keep less in one repository");
    }
    let text = match content::text(bytes) {
        Ok(text) => text,
        Err(found) => {
            let mut parsed = whole(found.code, found.message, found.hint);
            if let (Some(first), Some(line)) = (parsed.diagnostics.first_mut(), found.line) {
                first.place = Place::at(file, line, 1);
            }
            return parsed;
        }
    };
    let parts = content::json_documents(&text);
    if parts.len() < 2 {
        return parse_text(file, &text, dialect, &mut Read::default());
    }
    let mut all = Parsed { complete: true, ..Parsed::default() };
    let mut read = Read::default();
    for (line, part) in parts {
        read.lines = line;
        let one = parse_text(file, part, dialect, &mut read);
        all.docs.extend(one.docs);
        all.broken.extend(one.broken);
        all.diagnostics.extend(one.diagnostics);
        all.complete &= one.complete;
        if all.docs.len() + all.broken.len() > MAX_DOCUMENTS || all.diagnostics.len() > MAX_FINDINGS {
            all.complete = false;
            let message =
                format!("the file has more than {MAX_DOCUMENTS} documents or {MAX_FINDINGS} findings");
            all.diagnostics.push(Diagnostic::error(Place::file(file), "too-many-documents", message));
            break;
        }
    }
    all
}

/// What of a file comes before a text in it.
#[derive(Debug, Default)]
struct Read {
    lines: u32,
    /// See [`MAX_WEIGHT`].
    weight: usize,
}

fn parse_text(file: &str, text: &str, dialect: Dialect, before: &mut Read) -> Parsed {
    let options = options! {
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
        // As libyaml, and so kubectl, reads them.
        bom_inside_document_as_content: dialect == Dialect::Kubernetes,
        block_scalar_eof_without_line_feed: dialect == Dialect::Kubernetes,
        emit_comments: false,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut composer = compose::Composer::new(file, parser, dialect, before.lines, before.weight);
    let mut out = Parsed { complete: true, ..Parsed::default() };
    loop {
        let again = match next_document(&mut composer) {
            Ok(None) => false,
            Ok(Some(doc)) => {
                let broken = composer.take_broken();
                match (doc.value.is_null(), broken) {
                    (_, true) => out.broken.push(doc),
                    (false, false) => out.docs.push(doc),
                    (true, false) => {}
                }
                true
            }
            Err(halt) => {
                out.complete = false;
                composer.take_broken();
                composer.recover(halt)
            }
        };
        if again && out.docs.len() + out.broken.len() > MAX_DOCUMENTS {
            composer.too_many_documents();
            out.complete = false;
            break;
        }
        if !again {
            break;
        }
    }
    if let Err(exceeded) = composer.settle() {
        let finding = Diagnostic::error(Place::file(file), OVER_BUDGET, exceeded.to_string());
        return Parsed { diagnostics: vec![finding], ..Parsed::default() };
    }
    before.weight = composer.weight();
    out.diagnostics = composer.into_findings();
    out
}

fn next_document<'a>(composer: &mut compose::Composer<'a, StrInput<'a>>) -> Result<Option<Doc>, Halt> {
    while let Some((event, span)) = composer.next()? {
        match event {
            Event::StreamStart | Event::DocumentEnd | Event::DocumentStart(..) => {}
            Event::StreamEnd => return Ok(None),
            event => return composer.document(event, span).map(Some),
        }
    }
    Ok(None)
}

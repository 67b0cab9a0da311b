//! The one reader of YAML and JSON.
//!
//! In: the bytes of a file of the repository. Out: its documents as JSON values with the place of every
//! key and value, and diagnostics. Guarantees: never panics; a file that is too large, too deep or that
//! expands too far is a diagnostic, found in bounded time and memory; a document is in `docs` only if
//! nothing is wrong with it; after a syntax error `complete` is false, because nobody can know what else
//! the file was meant to hold. Assumes nothing. Pure.

mod compose;
mod places;
mod scalar;

use granit_parser::{Event, Parser, ScanError, StrInput, options};
use serde_json::Value;

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
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_text(file, text, dialect),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            let mut parsed = whole("not-utf8", "the file is not UTF-8 text".to_owned(), "save it as UTF-8");
            if let Some(first) = parsed.diagnostics.first_mut() {
                first.place = Place::at(file, u32::try_from(line).unwrap_or(u32::MAX), 1);
            }
            parsed
        }
    }
}

fn parse_text(file: &str, text: &str, dialect: Dialect) -> Parsed {
    let options = options! {
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
        // As libyaml, and so kubectl, reads them.
        bom_inside_document_as_content: dialect == Dialect::Kubernetes,
        block_scalar_eof_without_line_feed: dialect == Dialect::Kubernetes,
        emit_comments: false,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut composer = compose::Composer::new(file, parser, dialect);
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

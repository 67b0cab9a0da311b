//! Where in a file the parts of a document are.

use std::sync::Arc;

use granit_parser::Span;

use crate::model::diagnostic::Place;

/// Line and column, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    line: u32,
    column: u32,
}

impl From<Span> for Mark {
    fn from(span: Span) -> Self {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: small(span.start.line()), column: small(span.start.col()).saturating_add(1) }
    }
}

impl Mark {
    /// The same in a text that comes after so many lines.
    pub(super) fn after_lines(self, lines: u32) -> Self {
        Self { line: self.line.saturating_add(lines), ..self }
    }

    pub(super) fn in_file(self, file: &str) -> Place {
        Place::at(file, self.line, self.column)
    }
}

/// The places of one value and of all that is in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) at: Mark,
    pub(super) inside: Inside,
}

#[derive(Debug, Clone, Default)]
pub(super) enum Inside {
    #[default]
    Nothing,
    /// A scalar that is written otherwise than JSON would have it: `yes`, `1.10`, `0644`.
    Written(Box<str>),
    Items(Vec<Node>),
    /// In the order of the text.
    Entries(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: Box<str>,
    /// How the key is written, where that is not its name: `on`.
    pub(super) written: Option<Box<str>>,
    pub(super) at: Mark,
    pub(super) node: Node,
}

/// The place of every key and value of one document, by JSON pointer (RFC 6901; `` is the document).
#[derive(Debug, Clone)]
pub struct Places {
    pub(super) file: Arc<str>,
    pub(super) root: Node,
}

impl Places {
    /// The file's path from the repository's root.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where the value is; if there is none, where the innermost of its parents that is there has its key.
    pub fn value(&self, pointer: &str) -> Place {
        let (key, value, found) = self.find(pointer);
        if found { value.in_file(&self.file) } else { key.in_file(&self.file) }
    }

    /// Where the value's key is (or the item of a list); if there is none, as for [`Self::value`].
    pub fn key(&self, pointer: &str) -> Place {
        self.find(pointer).0.in_file(&self.file)
    }

    /// Whether the text has a value there.
    pub fn has(&self, pointer: &str) -> bool {
        self.find(pointer).2
    }

    /// How a scalar is written, where JSON would write its value otherwise: `yes`, `1.10`, `0644`.
    pub fn written(&self, pointer: &str) -> Option<&str> {
        match &self.node(pointer)?.inside {
            Inside::Written(text) => Some(text),
            _ => None,
        }
    }

    fn node(&self, pointer: &str) -> Option<&Node> {
        pointer.split('/').skip(1).try_fold(&self.root, |node, token| Some(child(node, token)?.1))
    }

    fn find(&self, pointer: &str) -> (Mark, Mark, bool) {
        let mut node = &self.root;
        let mut key = node.at;
        for token in pointer.split('/').skip(1) {
            let Some((at, child)) = child(node, token) else { return (key, node.at, false) };
            (key, node) = (at, child);
        }
        (key, node.at, true)
    }
}

/// What a token of a JSON pointer leads to, and where its key is.
fn child<'a>(node: &'a Node, token: &str) -> Option<(Mark, &'a Node)> {
    match &node.inside {
        Inside::Nothing | Inside::Written(_) => None,
        Inside::Items(items) => token.parse().ok().and_then(|n: usize| items.get(n)).map(|n| (n.at, n)),
        // The last one, as for the value: a later entry takes the place of a merged one.
        Inside::Entries(entries) => {
            let token = token.replace("~1", "/").replace("~0", "~");
            entries.iter().rev().find(|e| *e.name == *token).map(|e| (e.at, &e.node))
        }
    }
}

/// Escapes a key for use in a JSON pointer.
pub(crate) fn token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

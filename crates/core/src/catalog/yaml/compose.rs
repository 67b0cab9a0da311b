//! Events to values with places, within the limits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{BorrowedInput, Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::places::{Entry, Inside, Mark, Node, Places};
use super::scalar::{self, Scalar, shortened};
use super::{Dialect, Doc, Halt, MAX_DEPTH, MAX_DOCUMENTS, MAX_FINDINGS, MAX_WEIGHT};
use crate::model::budget::{self, Cost, Exceeded, OVER_BUDGET};
use crate::model::diagnostic::Diagnostic;

/// How much is weighed before it is taken from the budget, which would cost more for each value than the value does.
const CHUNK: usize = 64 << 10;
/// What each value weighs beyond its text.
const VALUE_WEIGHT: usize = 64;

/// A value under construction.
#[derive(Clone)]
struct Part {
    value: Value,
    node: Node,
    /// See [`MAX_WEIGHT`].
    weight: usize,
    /// How many collections stand in each other, itself included.
    height: usize,
    /// What it is as a key; none for collections and null.
    key: Option<String>,
    /// A word without quotes that is true or false in YAML 1.1 alone: `on`.
    word: Option<Box<str>>,
}

pub(super) struct Composer<'input, I: BorrowedInput<'input>> {
    file: Arc<str>,
    parser: Parser<'input, I>,
    dialect: Dialect,
    findings: Vec<Diagnostic>,
    suppressed: usize,
    suppressed_warnings: usize,
    /// Anchored values of this document.
    anchors: HashMap<usize, Part>,
    /// Of all of the file.
    weight: usize,
    /// What of it is not yet taken from the budget.
    unspent: usize,
    documents: usize,
    last: Mark,
    broken: bool,
    /// Lines of the file before the text.
    lines: u32,
}

impl<'input, I: BorrowedInput<'input>> Composer<'input, I> {
    pub(super) fn new(
        file: &str,
        parser: Parser<'input, I>,
        dialect: Dialect,
        lines: u32,
        weight: usize,
    ) -> Self {
        Self {
            file: file.into(),
            parser,
            dialect,
            findings: Vec::new(),
            suppressed: 0,
            suppressed_warnings: 0,
            anchors: HashMap::new(),
            weight,
            unspent: 0,
            documents: 0,
            last: Mark::default(),
            broken: false,
            lines,
        }
    }

    /// Where it is in the file.
    fn mark(&self, span: Span) -> Mark {
        Mark::from(span).after_lines(self.lines)
    }

    /// What was read so far weighs; see [`MAX_WEIGHT`].
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn next(&mut self) -> Result<Option<(Event<'input>, Span)>, Halt> {
        let next = self.parser.next_event().transpose()?;
        if let Some((_, span)) = &next {
            self.last = self.mark(*span);
        }
        Ok(next)
    }

    fn expect(&mut self) -> Result<(Event<'input>, Span), Halt> {
        // The parser ends every collection and document that it began, or fails.
        self.next()?.ok_or(Halt::File)
    }

    /// Whether something was wrong since the last call.
    pub(super) fn take_broken(&mut self) -> bool {
        std::mem::take(&mut self.broken)
    }

    pub(super) fn into_findings(mut self) -> Vec<Diagnostic> {
        if self.suppressed_warnings > 0 {
            let message = format!("{} more warnings of this file are not shown", self.suppressed_warnings);
            let place = crate::model::diagnostic::Place::file(&*self.file);
            self.findings.push(Diagnostic::warning(place, "too-many-findings", message));
        }
        if self.suppressed > 0 {
            let message = format!("{} more findings in this file are not shown", self.suppressed);
            let place = crate::model::diagnostic::Place::file(&*self.file);
            self.findings.push(Diagnostic::error(place, "too-many-findings", message));
        }
        self.findings
    }

    fn report(&mut self, at: Mark, code: &str, message: impl Into<String>, hint: Option<&str>) {
        self.broken = true;
        if self.findings.len() >= MAX_FINDINGS {
            self.suppressed += 1;
            return;
        }
        let mut finding = Diagnostic::error(at.in_file(&self.file), code, message);
        finding.hint = hint.map(str::to_owned);
        self.findings.push(finding);
    }

    /// The same for what can be used.
    fn warn(&mut self, at: Mark, code: &str, message: impl Into<String>, hint: &str) {
        if self.findings.len() >= MAX_FINDINGS {
            self.suppressed_warnings += 1;
            return;
        }
        self.findings.push(Diagnostic::warning(at.in_file(&self.file), code, message).hint(hint));
    }

    pub(super) fn too_many_documents(&mut self) {
        let message = format!("the file has more than {MAX_DOCUMENTS} documents");
        self.report(self.last, "too-many-documents", message, Some("split it into several files"));
    }

    /// Says why a document ended early, and goes on to the next one; false if there is none.
    pub(super) fn recover(&mut self, halt: Halt) -> bool {
        self.anchors.clear();
        // Empty documents are not counted as they are read; here they bound the work.
        self.documents += 1;
        match halt {
            Halt::File => return false,
            Halt::Document => {}
            Halt::Syntax(error) => {
                let at = self.mark(Span::empty(*error.marker()));
                use granit_parser::ErrorKind::{RecursionLimitExceeded, UnknownAnchor};
                match error.kind() {
                    RecursionLimitExceeded => self.too_deep(at),
                    UnknownAnchor => {
                        self.report(at, "yaml-syntax", "an alias to an anchor that is not there", None);
                    }
                    _ => self.report(at, "yaml-syntax", format!("not valid YAML: {}", error.info()), None),
                }
            }
        }
        if self.documents > MAX_FINDINGS {
            return false;
        }
        match self.parser.proceed_next_document() {
            Ok(more) => more,
            Err(error) => {
                let at = self.mark(Span::empty(*error.marker()));
                self.report(at, "yaml-syntax", format!("not valid YAML: {}", error.info()), None);
                false
            }
        }
    }

    fn too_deep(&mut self, at: Mark) {
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        self.report(at, "yaml-too-deep", message, None);
    }

    fn cost(&self) -> Cost {
        match self.dialect {
            Dialect::Fairlead => Cost::Values,
            Dialect::Kubernetes => Cost::LayerValues,
        }
    }

    /// Takes what was weighed from the budget.
    pub(super) fn settle(&mut self) -> Result<(), Exceeded> {
        budget::spend(self.cost(), std::mem::take(&mut self.unspent))
    }

    /// Counts what is about to be kept.
    fn weigh(&mut self, at: Mark, weight: usize) -> Result<(), Halt> {
        self.weight = self.weight.saturating_add(weight);
        self.unspent = self.unspent.saturating_add(weight);
        if self.unspent >= CHUNK
            && let Err(exceeded) = self.settle()
        {
            self.report(at, OVER_BUDGET, exceeded.to_string(), None);
            return Err(Halt::File);
        }
        if self.weight <= MAX_WEIGHT {
            return Ok(());
        }
        let message = format!("the file's values, aliases expanded, need more than {} MiB", MAX_WEIGHT >> 20);
        self.report(at, "yaml-too-large", message, Some("split the file, or use fewer aliases"));
        Err(Halt::File)
    }

    /// Composes one document from its first event on.
    pub(super) fn document(&mut self, event: Event<'input>, span: Span) -> Result<Doc, Halt> {
        self.anchors.clear();
        let part = self.part(event, span, 0)?;
        self.anchors.clear();
        Ok(Doc { value: part.value, places: Places { file: self.file.clone(), root: part.node } })
    }

    fn part(&mut self, event: Event<'input>, span: Span, depth: usize) -> Result<Part, Halt> {
        let at = self.mark(span);
        let (part, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), at)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            Event::SequenceStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), at);
                (self.sequence(at, depth + 1)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), at);
                (self.mapping(at, depth + 1)?, anchor)
            }
            _ => {
                self.report(at, "yaml-syntax", "a value was expected here", None);
                return Err(Halt::Document);
            }
        };
        if anchor != 0 {
            self.weigh(at, part.weight)?;
            self.anchors.insert(anchor, part.clone());
        }
        Ok(part)
    }

    fn alias(&mut self, anchor: usize, at: Mark, depth: usize) -> Result<Part, Halt> {
        let Some((weight, height)) = self.anchors.get(&anchor).map(|p| (p.weight, p.height)) else {
            self.report(at, "yaml-alias", "the anchor's value contains itself", None);
            return Err(Halt::Document);
        };
        // What aliases make of a text is counted apart: files without them are read whatever others hold.
        if let Err(exceeded) = budget::spend(Cost::Aliases, weight) {
            self.report(at, OVER_BUDGET, exceeded.to_string(), Some("write fewer aliases"));
            return Err(Halt::File);
        }
        self.weigh(at, weight)?;
        if depth + height > MAX_DEPTH {
            self.too_deep(at);
            return Err(Halt::Document);
        }
        let mut part = self.anchors.get(&anchor).cloned().ok_or(Halt::Document)?;
        // The alias is where people look for the value; what is in it stays where it was written.
        part.node.at = at;
        Ok(part)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Mark) -> Result<Part, Halt> {
        let weight = VALUE_WEIGHT + text.len();
        self.weigh(at, weight)?;
        let name = tag.filter(|t| t.original() != "!").map(tag_name);
        let plain = style == ScalarStyle::Plain && tag.is_none();
        let scalar = match scalar::resolve(text, plain, name.as_deref(), self.dialect) {
            Ok(scalar) => scalar,
            Err(message) => {
                self.report(at, "yaml-tag", message, None);
                Scalar::Null
            }
        };
        let key = match self.dialect {
            Dialect::Kubernetes => scalar.clone().into_key(),
            Dialect::Fairlead => (scalar != Scalar::Null).then(|| text.to_owned()),
        };
        if name.is_none()
            && let Some(loss) = plain.then(|| scalar::loss(text, &scalar, self.dialect)).flatten()
        {
            let hint = "put it in quotes if every digit counts, and give the field a text";
            match self.dialect {
                Dialect::Fairlead => self.report(at, "yaml-number", loss, Some(hint)),
                Dialect::Kubernetes => self.warn(at, "yaml-number", loss, hint),
            }
        }
        let word = (plain && matches!(scalar, Scalar::Bool(_)) && !is_json_word(text)).then(|| text.into());
        let value = scalar.into_value().unwrap_or_else(|| {
            let message = format!("'{}' is not a number that JSON can hold", shortened(text));
            self.report(at, "yaml-not-finite", message, Some("put it in quotes if it is meant as a text"));
            Value::Null
        });
        let inside = match &value {
            Value::Bool(_) | Value::Number(_) => {
                let printed = value.to_string();
                if printed == text { Inside::Nothing } else { Inside::Written(text.into()) }
            }
            _ => Inside::Nothing,
        };
        Ok(Part { value, node: Node { at, inside }, weight, height: 0, key, word })
    }

    /// Tags of collections say nothing that JSON could hold; kubectl ignores them.
    fn collection_tag(&mut self, tag: Option<&Tag>, at: Mark) {
        if let Some(tag) = tag.filter(|t| !matches!(t.core_suffix(), Some("map" | "seq")))
            && self.dialect == Dialect::Fairlead
        {
            let message = format!("the tag {} has no meaning here", tag.original());
            self.report(at, "yaml-tag", message, None);
        }
    }

    fn enter(&mut self, at: Mark, depth: usize) -> Result<(), Halt> {
        self.weigh(at, VALUE_WEIGHT)?;
        if depth > MAX_DEPTH {
            self.too_deep(at);
            return Err(Halt::Document);
        }
        Ok(())
    }

    fn sequence(&mut self, at: Mark, depth: usize) -> Result<Part, Halt> {
        self.enter(at, depth)?;
        let (mut values, mut nodes, mut weight, mut height) = (Vec::new(), Vec::new(), VALUE_WEIGHT, 0);
        loop {
            let (event, span) = self.expect()?;
            if event == Event::SequenceEnd {
                break;
            }
            let part = self.part(event, span, depth)?;
            weight += part.weight;
            height = height.max(part.height);
            values.push(part.value);
            nodes.push(part.node);
        }
        let node = Node { at, inside: Inside::Items(nodes) };
        Ok(Part { value: Value::Array(values), node, weight, height: height + 1, key: None, word: None })
    }

    fn mapping(&mut self, at: Mark, depth: usize) -> Result<Part, Halt> {
        self.enter(at, depth)?;
        let mut building = Mapping { weight: VALUE_WEIGHT, ..Mapping::default() };
        loop {
            let (event, span) = self.expect()?;
            if event == Event::MappingEnd {
                break;
            }
            let key_at = self.mark(span);
            let merge = is_merge(&event);
            let key = self.part(event, span, depth)?;
            let (event, span) = self.expect()?;
            let value = self.part(event, span, depth)?;
            building.height = building.height.max(value.height);
            match (merge, self.dialect) {
                (true, Dialect::Kubernetes) => self.merge(&mut building, value, key_at)?,
                (true, Dialect::Fairlead) => {
                    let hint = "write the entries out; merge keys are not part of YAML 1.2";
                    self.report(key_at, "yaml-merge", "merge keys are not read here", Some(hint));
                }
                (false, _) => self.entry(&mut building, key, value, key_at),
            }
        }
        let node = Node { at, inside: Inside::Entries(building.entries) };
        let Mapping { values, weight, height, .. } = building;
        Ok(Part { value: Value::Object(values), node, weight, height: height + 1, key: None, word: None })
    }

    fn entry(&mut self, building: &mut Mapping, key: Part, value: Part, at: Mark) {
        let Some(name) = key.key else {
            let hint = "put it in quotes if it is meant as a text";
            self.report(at, "yaml-key", "only texts, numbers and booleans can be keys", Some(hint));
            return;
        };
        building.weight += key.weight + value.weight;
        let word = key.word.filter(|_| self.dialect == Dialect::Kubernetes);
        if !building.own.insert(name.clone()) {
            self.twice(building, &name, word.as_deref(), at);
            return;
        }
        if let Some(word) = &word {
            let message = format!("the key '{word}' means {name} in YAML 1.1, and so to kubectl");
            let hint = format!("put it in quotes if '{word}' is meant, else write {name}");
            self.warn(at, "yaml-boolean-key", message, &hint);
        }
        building.put(name, word, value.value, value.node, at);
    }

    /// Says that a key is there twice, and how it came to that where that can't be seen.
    fn twice(&mut self, building: &Mapping, name: &str, word: Option<&str>, at: Mark) {
        let mut message = format!("the key '{}' is here twice", shortened(name));
        let mut hint = "remove one of them".to_owned();
        // Looking for the first takes time; beyond the cap nobody would see it.
        if self.findings.len() < MAX_FINDINGS
            && let Some(first) = building.entries.iter().find(|e| *e.name == *name)
        {
            let line = first.at.in_file("").line;
            let (one, two) = (first.written.as_deref().unwrap_or(name), word.unwrap_or(name));
            if one == name && two == name {
                message = format!("{message}; the first is on line {line}");
            } else if one == two {
                message = format!("the key '{two}' is here twice; the first is on line {line}");
            } else {
                message = format!(
                    "the keys '{two}' and '{one}' (line {line}) both mean {name} in YAML 1.1: the same key is here twice"
                );
                hint = "put them in quotes".to_owned();
            }
        }
        self.report(at, "yaml-duplicate-key", message, Some(&hint));
    }

    /// Merges as kubectl does: in the order of the text, so an entry before `<<` gives way, one after it
    /// doesn't; in a list of mappings the earlier ones win.
    fn merge(&mut self, building: &mut Mapping, value: Part, at: Mark) -> Result<(), Halt> {
        let sources = match (value.value, value.node.inside) {
            (Value::Object(map), Inside::Entries(entries)) => Some(vec![(map, entries)]),
            (Value::Array(values), Inside::Items(nodes)) => {
                let both = values.into_iter().zip(nodes).rev();
                let maps = both.map(|pair| match pair {
                    (Value::Object(map), Node { inside: Inside::Entries(entries), .. }) => {
                        Some((map, entries))
                    }
                    _ => None,
                });
                maps.collect()
            }
            _ => None,
        };
        let Some(sources) = sources else {
            self.report(at, "yaml-merge", "a merge key takes a mapping, or a list of mappings", None);
            return Ok(());
        };
        building.weight += value.weight;
        for (mut map, entries) in sources {
            for entry in entries {
                if let Some(value) = map.remove(&*entry.name) {
                    building.put(entry.name.into(), entry.written, value, entry.node, entry.at);
                }
            }
        }
        Ok(())
    }
}

/// A mapping under construction.
#[derive(Default)]
struct Mapping {
    values: Map<String, Value>,
    entries: Vec<Entry>,
    /// Keys written in the mapping itself, not merged into it.
    own: HashSet<String>,
    weight: usize,
    height: usize,
}

impl Mapping {
    fn put(&mut self, name: String, written: Option<Box<str>>, value: Value, node: Node, at: Mark) {
        self.entries.push(Entry { name: name.as_str().into(), written, at, node });
        self.values.insert(name, value);
    }
}

/// `true` and `false` in the ways that people recognize as such.
fn is_json_word(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

/// `<<` without quotes.
fn is_merge(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, _, None) => text == "<<",
        Event::Scalar(text, _, _, Some(tag)) => text == "<<" && tag.original() == "!!merge",
        _ => false,
    }
}

fn tag_name(tag: &Tag) -> String {
    match tag.suffix_in_namespace("tag:yaml.org,2002:") {
        Some(name) => name.into_owned(),
        None => tag.original(),
    }
}

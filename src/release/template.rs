//! A layer's objects before a target's values are in them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::catalog::yaml::{Doc, Places};
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::release::{ReleaseObject, RenderedLayer};

use super::canonical::{canonical_bytes, layer_digest, object_digest};
use super::evaluate::{Evaluator, Inputs, in_text};
use super::expression::{Expression, References, Wrong};
use super::lists;
use super::object::{self, MAX_OBJECT};
use super::scan::{self, OPENING, Part};

/// Most objects in a layer.
pub const MAX_OBJECTS: usize = 50_000;
/// Most different expressions in a layer.
pub const MAX_EXPRESSIONS: usize = 5_000;
/// Most bytes that a layer renders to.
pub const MAX_LAYER: usize = 256 << 20;

/// A finding in a scalar: `nth` says which of its expressions it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) diagnostic: Diagnostic,
    pub(super) nth: Option<usize>,
}

impl From<Diagnostic> for Finding {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, nth: None }
    }
}

impl Finding {
    fn of(wrong: Wrong, scalar: Place, nth: usize) -> Self {
        let mut diagnostic = Diagnostic::error(scalar, wrong.code, wrong.message);
        diagnostic.hint = wrong.hint;
        Self { diagnostic, nth: Some(nth) }
    }
}

/// The objects of a layer, and what they refer to.
#[derive(Debug, Default)]
pub(super) struct Templates {
    slots: Vec<Slot>,
    expressions: Vec<Expression>,
    by_source: HashMap<String, usize>,
    pub(super) references: References,
    pub(super) warnings: Vec<Diagnostic>,
    /// About how many bytes of memory it takes.
    pub(super) weight: usize,
}

/// A moment while templates are filled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    slots: usize,
    warnings: usize,
}

#[derive(Debug)]
enum Slot {
    /// Without expressions: all targets share it.
    Ready(ReleaseObject),
    Open(Template),
}

#[derive(Debug)]
struct Template {
    value: Value,
    holes: Vec<Hole>,
    places: Arc<Places>,
    /// JSON pointer to the object from its document.
    within: String,
}

/// A scalar with expressions in it.
#[derive(Debug)]
struct Hole {
    pointer: String,
    place: Place,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// Index of the expression, and which `${{` of the scalar it is.
    Value(usize, usize),
}

impl Templates {
    /// Adds the objects of a document; `expressions` says whether they may hold any.
    pub(super) fn add(&mut self, doc: Doc, expressions: bool) -> Result<(), Vec<Finding>> {
        let places = Arc::new(doc.places);
        let mut objects = Vec::new();
        lists::expand(doc.value, String::new(), &places, &mut objects, 0)?;
        let mut findings = Vec::new();
        for (value, within) in objects {
            if let Err(found) = self.add_object(value, within, &places, expressions) {
                findings.extend(found);
            }
        }
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    /// Adds the objects of a file that was read before.
    pub(super) fn add_ready(&mut self, objects: &[ReleaseObject]) -> Result<(), Vec<Diagnostic>> {
        for object in objects {
            if self.slots.len() >= MAX_OBJECTS {
                return Err(vec![too_many(object.place.clone())]);
            }
            self.push_ready(object.clone());
        }
        Ok(())
    }

    fn push_ready(&mut self, object: ReleaseObject) {
        self.weight += object.bytes.len() + 300;
        self.slots.push(Slot::Ready(object));
    }

    /// Whether no object holds an expression.
    pub(super) fn is_plain(&self) -> bool {
        self.expressions.is_empty()
    }

    /// How far it has been filled.
    pub(super) fn mark(&self) -> Mark {
        Mark { slots: self.slots.len(), warnings: self.warnings.len() }
    }

    /// What was added since then, if it is the same for all targets and nothing was to be said about it.
    pub(super) fn plain_since(&self, mark: Mark) -> Option<Arc<[ReleaseObject]>> {
        if self.warnings.len() > mark.warnings {
            return None;
        }
        let ready = |slot: &Slot| match slot {
            Slot::Ready(object) => Some(object.clone()),
            Slot::Open(_) => None,
        };
        self.slots.get(mark.slots..)?.iter().map(ready).collect()
    }

    fn add_object(
        &mut self,
        mut value: Value,
        within: String,
        places: &Arc<Places>,
        expressions: bool,
    ) -> Result<(), Vec<Finding>> {
        let place = |pointer: &str| places.value(&format!("{within}{pointer}"));
        if self.slots.len() >= MAX_OBJECTS {
            return Err(vec![too_many(place("")).into()]);
        }
        if value.get("status").is_some_and(|status| !status.is_null()) {
            let warning = Diagnostic::warning(
                place("/status"),
                "status-in-content",
                "status is written by controllers",
            );
            self.warnings.push(warning.hint("remove it; of Kubernetes' own kinds it is not sent"));
        }
        let mut holes = Vec::new();
        if expressions {
            let mut finder =
                Finder { templates: self, places, within: &within, holes: &mut holes, findings: Vec::new() };
            let mut pointer = String::new();
            finder.visit(&mut value, &mut pointer);
            let findings = finder.findings;
            if !findings.is_empty() {
                return Err(findings);
            }
        }
        if holes.is_empty() {
            let object = finish(&value, &place)
                .map_err(|found| found.into_iter().map(Finding::from).collect::<Vec<_>>())?;
            self.push_ready(object);
        } else {
            // A parsed value takes about five times its text, and so do the places.
            self.weight += least_size(&value) * 10;
            self.slots.push(Slot::Open(Template { value, holes, places: places.clone(), within }));
        }
        Ok(())
    }

    fn expression(&mut self, found: &scan::Found) -> Result<usize, Wrong> {
        if let Some(index) = self.by_source.get(&found.cel) {
            return Ok(*index);
        }
        if self.expressions.len() >= MAX_EXPRESSIONS {
            let message = format!("the layer has more than {MAX_EXPRESSIONS} different expressions");
            return Err(Wrong::new("too-many-expressions", message));
        }
        let expression = Expression::compile(found)?;
        self.references.extend(&expression.references);
        self.expressions.push(expression);
        self.by_source.insert(found.cel.clone(), self.expressions.len() - 1);
        Ok(self.expressions.len() - 1)
    }

    /// The uses of variables that the profile does not declare.
    pub(super) fn undeclared(
        &self,
        declares: &dyn Fn(&str) -> bool,
        wrong: &dyn Fn(&str) -> Wrong,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for hole in self.slots.iter().flat_map(Slot::holes) {
            for piece in &hole.pieces {
                if let Piece::Value(index, nth) = piece
                    && let Some(name) =
                        self.expressions.get(*index).and_then(|e| e.references.undeclared(declares))
                {
                    findings.push(Finding::of(wrong(name), hole.place.clone(), *nth));
                }
            }
        }
        findings
    }

    /// The layer for one target.
    ///
    /// # Errors
    /// Every expression that has no value here, and every object that is not one with these values.
    pub(super) fn render(&self, inputs: Inputs<'_>) -> Result<RenderedLayer, Vec<Finding>> {
        let mut evaluator = Evaluator::new(inputs, &self.references);
        let values: Vec<_> =
            self.expressions.iter().map(|expression| evaluator.evaluate(expression)).collect();
        let mut objects = Vec::with_capacity(self.slots.len());
        let mut findings = Vec::new();
        let mut room = MAX_LAYER;
        for slot in &self.slots {
            let object = match slot {
                Slot::Ready(object) => Ok(object.clone()),
                Slot::Open(template) => template.fill(&self.expressions, &values),
            };
            match object {
                Ok(object) if object.bytes.len() <= room => {
                    room -= object.bytes.len();
                    objects.push(object);
                }
                Ok(object) => {
                    let message = format!("the layer renders to more than {MAX_LAYER} bytes");
                    findings.push(Diagnostic::error(object.place, "layer-too-large", message).into());
                    break;
                }
                Err(found) => findings.extend(found),
            }
        }
        if findings.is_empty() {
            Ok(RenderedLayer { digest: layer_digest(&objects), objects })
        } else {
            Err(findings)
        }
    }
}

impl Slot {
    fn holes(&self) -> &[Hole] {
        match self {
            Slot::Ready(_) => &[],
            Slot::Open(template) => &template.holes,
        }
    }
}

impl Template {
    fn fill(
        &self,
        expressions: &[Expression],
        values: &[Result<Value, Wrong>],
    ) -> Result<ReleaseObject, Vec<Finding>> {
        let place = |pointer: &str| self.places.value(&format!("{}{pointer}", self.within));
        let mut value = self.value.clone();
        let mut findings = Vec::new();
        let mut room = MAX_OBJECT;
        for hole in &self.holes {
            match hole.fill(expressions, values, &mut room) {
                Ok(filled) => {
                    if let Some(slot) = value.pointer_mut(&hole.pointer) {
                        *slot = filled;
                    }
                }
                Err((wrong, nth)) => findings.push(Finding::of(wrong, hole.place.clone(), nth)),
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        finish(&value, &place).map_err(|found| found.into_iter().map(Finding::from).collect())
    }
}

impl Hole {
    fn fill(
        &self,
        expressions: &[Expression],
        values: &[Result<Value, Wrong>],
        room: &mut usize,
    ) -> Result<Value, (Wrong, usize)> {
        let internal = || Wrong::new("expression-failed", "the expression is not there");
        let mut text = String::new();
        for piece in &self.pieces {
            let (index, nth) = match piece {
                Piece::Text(literal) => {
                    text.push_str(literal);
                    continue;
                }
                Piece::Value(index, nth) => (*index, *nth),
            };
            let value = values.get(index).ok_or_else(|| (internal(), nth))?;
            let value = value.as_ref().map_err(|wrong| (wrong.clone(), nth))?;
            let too_large = || {
                let message =
                    format!("the object grows to more than the {MAX_OBJECT} bytes that an API server takes");
                (Wrong::new("object-too-large", message), nth)
            };
            *room = room.checked_sub(least_size(value)).ok_or_else(too_large)?;
            if self.pieces.len() == 1 {
                return Ok(value.clone());
            }
            let source = expressions.get(index).map_or("", |expression| expression.source.as_str());
            let inner = in_text(value)
                .map_err(|what| (Wrong::new("expression-value", format!("'{source}' {what}")), nth))?;
            text.push_str(&inner);
        }
        Ok(Value::String(text))
    }
}

fn too_many(place: Place) -> Diagnostic {
    let message = format!("the layer has more than {MAX_OBJECTS} objects");
    Diagnostic::error(place, "too-many-objects", message)
}

/// No more than the value's canonical bytes.
fn least_size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 1,
        Value::Array(items) => items.iter().map(least_size).sum::<usize>() + 1,
        Value::Object(map) => map.iter().map(|(key, item)| key.len() + least_size(item)).sum::<usize>() + 1,
        _ => 1,
    }
}

/// Checks an object and writes its bytes.
fn finish(value: &Value, place: &dyn Fn(&str) -> Place) -> Result<ReleaseObject, Vec<Diagnostic>> {
    let (key, version) = object::check(value, place)?;
    let bytes = canonical_bytes(value);
    if bytes.len() > MAX_OBJECT {
        let message = format!("the object has {} bytes; an API server takes {MAX_OBJECT}", bytes.len());
        return Err(vec![Diagnostic::error(place(""), "object-too-large", message)]);
    }
    Ok(ReleaseObject { key, version, digest: object_digest(&bytes), bytes, place: place("") })
}

/// Finds expressions in the values of an object.
struct Finder<'a> {
    templates: &'a mut Templates,
    places: &'a Places,
    within: &'a str,
    holes: &'a mut Vec<Hole>,
    findings: Vec<Finding>,
}

impl Finder<'_> {
    fn visit(&mut self, value: &mut Value, pointer: &mut String) {
        let length = pointer.len();
        match value {
            Value::String(text) if text.contains(OPENING) => {
                if let Some(literal) = self.scalar(text, pointer) {
                    *text = literal;
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    pointer.push_str(&format!("/{n}"));
                    self.visit(item, pointer);
                    pointer.truncate(length);
                }
            }
            Value::Object(map) => {
                for (key, item) in map.iter_mut() {
                    pointer.push('/');
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    if key.contains(OPENING) {
                        let place = self.places.key(&format!("{}{pointer}", self.within));
                        let hint = "expressions stand in values; 'expressions: false' on the layer switches them off";
                        let message = "a key can't hold an expression";
                        let finding = Diagnostic::error(place, "expression-in-key", message).hint(hint);
                        self.findings.push(finding.into());
                    }
                    self.visit(item, pointer);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Takes note of a scalar's expressions; its text, if it holds only escapes.
    fn scalar(&mut self, text: &str, pointer: &str) -> Option<String> {
        let place = self.places.value(&format!("{}{pointer}", self.within));
        let parts = match scan::split(text) {
            Ok(parts) => parts,
            Err(error) => {
                let wrong = Wrong::new("expression-syntax", error.message).hint(error.hint);
                self.findings.push(Finding::of(wrong, place, error.nth));
                return None;
            }
        };
        if let [Part::Text(literal)] = parts.as_slice() {
            return Some(literal.clone());
        }
        let mut pieces = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Text(literal) => pieces.push(Piece::Text(literal)),
                Part::Expression(found) => match self.templates.expression(&found) {
                    Ok(index) => pieces.push(Piece::Value(index, found.nth)),
                    Err(wrong) => self.findings.push(Finding::of(wrong, place.clone(), found.nth)),
                },
            }
        }
        self.holes.push(Hole { pointer: pointer.to_owned(), place, pieces });
        None
    }
}

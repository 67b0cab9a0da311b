//! A layer's objects before a target's values are in them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::catalog::yaml::{Doc, Places};
use crate::model::budget::{self, Cost, OVER_BUDGET};
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::release::ReleaseObject;

use super::canonical::{canonical_bytes, object_digest};
use super::evaluate::{Evaluator, Inputs, in_text};
use super::expression::{Expression, References, Wrong};
use super::lists;
use super::object::{self, MAX_OBJECT};
use super::scan::{self, OPENING, Part};
use super::text_fields;

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
    /// What is wrong whatever the values are. What is not wrong is here all the same, so that no finding
    /// hides another; but no layer is made of it.
    pub(super) errors: Vec<Diagnostic>,
    /// About how many bytes of memory it takes.
    pub(super) weight: usize,
}

/// A moment while templates are filled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    slots: usize,
    said: usize,
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
    /// Said already.
    Broken,
}

impl Templates {
    /// Adds the objects of a document; `expressions` says whether they may hold any. All that is wrong with them.
    pub(super) fn add(&mut self, doc: Doc, expressions: bool) -> Vec<Finding> {
        let places = Arc::new(doc.places);
        let mut objects = Vec::new();
        let mut findings = lists::expand(doc.value, String::new(), &places, &mut objects, 0);
        for (value, within) in objects {
            if self.slots.len() >= MAX_OBJECTS {
                findings.push(too_many(places.value(&within)).into());
                break;
            }
            findings.extend(self.add_object(value, within, &places, expressions));
        }
        findings
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
        Mark { slots: self.slots.len(), said: self.warnings.len() + self.errors.len() }
    }

    /// What was added since then, if it is the same for all targets and nothing was to be said about it.
    pub(super) fn plain_since(&self, mark: Mark) -> Option<Arc<[ReleaseObject]>> {
        if self.warnings.len() + self.errors.len() > mark.said {
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
    ) -> Vec<Finding> {
        let place = |pointer: &str| places.value(&format!("{within}{pointer}"));
        if value.get("status").is_some_and(|status| !status.is_null()) {
            let warning = Diagnostic::warning(
                place("/status"),
                "status-in-content",
                "status is written by controllers",
            );
            self.warnings.push(warning.hint("remove it; of Kubernetes' own kinds it is not sent"));
        }
        let (mut holes, mut findings) = (Vec::new(), Vec::new());
        if expressions {
            let mut finder =
                Finder { templates: self, places, within: &within, holes: &mut holes, findings: Vec::new() };
            let mut pointer = String::new();
            finder.visit(&mut value, &mut pointer);
            findings = finder.findings;
        }
        findings.extend(misplaced(&value, places, &within));
        if holes.is_empty() {
            match finish(&value, &place) {
                Ok(object) => self.push_ready(object),
                Err(found) => findings.extend(found.into_iter().map(Finding::from)),
            }
        } else {
            // Without values as much can be said as does not depend on them.
            let open = |pointer: &str| holes.iter().any(|hole: &Hole| hole.holds(pointer));
            if let Err(found) = object::check(&value, &place, &open) {
                findings.extend(found.into_iter().map(Finding::from));
            }
            // A parsed value takes about five times its text, and so do the places.
            self.weight += least_size(&value) * 10;
            self.slots.push(Slot::Open(Template { value, holes, places: places.clone(), within }));
        }
        findings
    }

    fn expression(&mut self, found: &scan::Found) -> Result<usize, Wrong> {
        if let Some(index) = self.by_source.get(&found.cel) {
            return Ok(*index);
        }
        if self.expressions.len() >= MAX_EXPRESSIONS {
            let message = format!("the layer has more than {MAX_EXPRESSIONS} different expressions");
            return Err(Wrong::new("too-many-expressions", message));
        }
        let expression = Expression::compile(found);
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
                let Piece::Value(index, nth) = piece else { continue };
                let Some(expression) = self.expressions.get(*index) else { continue };
                for name in expression.references.undeclared(declares) {
                    findings.push(Finding::of(wrong(name), hole.place.clone(), *nth));
                }
            }
        }
        findings
    }

    /// The objects for one target, and every expression that has no value here and every object that is not one
    /// with these values. `skip` says which expressions can't be asked; nothing is said of them.
    pub(super) fn render(
        &self,
        inputs: Inputs<'_>,
        skip: &dyn Fn(&References) -> bool,
    ) -> (Vec<ReleaseObject>, Vec<Finding>) {
        let mut evaluator = Evaluator::new(inputs, &self.references);
        let values: Vec<_> = self
            .expressions
            .iter()
            .map(|expression| match expression.wrong.is_empty() && !skip(&expression.references) {
                true => evaluator.evaluate(expression).map_err(Some),
                false => Err(None),
            })
            .collect();
        let mut objects = Vec::with_capacity(self.slots.len());
        let mut findings = Vec::new();
        let mut room = MAX_LAYER;
        for slot in &self.slots {
            let object = match slot {
                Slot::Ready(object) => Ok(object.clone()),
                Slot::Open(template) => template.fill(&self.expressions, &values),
            };
            let bytes = object.as_ref().map_or(0, |object| object.bytes.len());
            if let Err(exceeded) =
                budget::spend(Cost::Objects, 1).and_then(|()| budget::spend(Cost::Rendered, bytes))
            {
                let place = object.map(|object| object.place).unwrap_or_default();
                findings.push(Diagnostic::error(place, OVER_BUDGET, exceeded.to_string()).into());
                break;
            }
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
        (objects, findings)
    }
}

/// What an expression gives; an error without words was said already.
type Evaluated = Result<Value, Option<Wrong>>;

impl Slot {
    fn holes(&self) -> &[Hole] {
        match self {
            Slot::Ready(_) => &[],
            Slot::Open(template) => &template.holes,
        }
    }
}

impl Template {
    fn fill(&self, expressions: &[Expression], values: &[Evaluated]) -> Result<ReleaseObject, Vec<Finding>> {
        let place = |pointer: &str| self.places.value(&format!("{}{pointer}", self.within));
        let mut value = self.value.clone();
        let (mut findings, mut failed) = (Vec::new(), Vec::new());
        let mut room = MAX_OBJECT;
        for hole in &self.holes {
            let (filled, wrong) = hole.fill(expressions, values, &mut room);
            findings
                .extend(wrong.into_iter().map(|(wrong, nth)| Finding::of(wrong, hole.place.clone(), nth)));
            match (filled, value.pointer_mut(&hole.pointer)) {
                (Some(filled), Some(slot)) => *slot = filled,
                _ => failed.push(hole),
            }
        }
        self.give_text(&mut value);
        if failed.is_empty() {
            let finished = finish(&value, &place);
            return finished.map_err(|found| found.into_iter().map(Finding::from).collect());
        }
        let open = |pointer: &str| failed.iter().any(|hole| hole.holds(pointer));
        if let Err(found) = object::check(&value, &place, &open) {
            findings.extend(found.into_iter().map(Finding::from));
        }
        Err(findings)
    }

    /// Numbers and truth values that expressions gave become texts where they can be nothing else.
    fn give_text(&self, value: &mut Value) {
        let mut filled: Vec<(&str, Value)> = Vec::new();
        for hole in self.holes.iter().filter(|hole| hole.is_whole()) {
            if let Some(slot) = value.pointer_mut(&hole.pointer)
                && !slot.is_string()
            {
                filled.push((&hole.pointer, slot.take()));
            }
        }
        // What the object is may come from an expression itself.
        for (pointer, part) in &mut filled {
            let mut path: Vec<String> =
                pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
            text_fields::to_text(text_fields::Of::object(value), &mut path, part);
        }
        for (pointer, part) in filled {
            if let Some(slot) = value.pointer_mut(pointer) {
                *slot = part;
            }
        }
    }
}

impl Hole {
    /// Whether the value is just what one expression gives.
    fn is_whole(&self) -> bool {
        matches!(self.pieces.as_slice(), [Piece::Value(..)])
    }

    /// Whether what stands at `pointer` is what the expressions give, or a part of it.
    fn holds(&self, pointer: &str) -> bool {
        let below = pointer.strip_prefix(self.pointer.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The value, if all of it can be had, and what is wrong with its expressions.
    fn fill(
        &self,
        expressions: &[Expression],
        values: &[Evaluated],
        room: &mut usize,
    ) -> (Option<Value>, Vec<(Wrong, usize)>) {
        let (mut text, mut whole, mut wrong) = (String::new(), true, Vec::new());
        for piece in &self.pieces {
            match self.piece(piece, expressions, values, room) {
                Ok(Value::String(part)) => text.push_str(&part),
                Ok(value) => return (Some(value), wrong),
                Err(found) => {
                    whole = false;
                    wrong.extend(found);
                }
            }
        }
        (whole.then_some(Value::String(text)), wrong)
    }

    /// A piece as a text; with its type where it stands alone.
    fn piece(
        &self,
        piece: &Piece,
        expressions: &[Expression],
        values: &[Evaluated],
        room: &mut usize,
    ) -> Result<Value, Option<(Wrong, usize)>> {
        let (index, nth) = match piece {
            Piece::Text(literal) => return Ok(literal.as_str().into()),
            Piece::Broken => return Err(None),
            Piece::Value(index, nth) => (*index, *nth),
        };
        let value = values.get(index).ok_or(None)?;
        let value = value.as_ref().map_err(|wrong| wrong.clone().map(|wrong| (wrong, nth)))?;
        *room = room.checked_sub(least_size(value)).ok_or_else(|| {
            let message =
                format!("the object grows to more than the {MAX_OBJECT} bytes that an API server takes");
            Some((Wrong::new("object-too-large", message), nth))
        })?;
        if self.is_whole() {
            return Ok(value.clone());
        }
        let source = expressions.get(index).map_or("", |expression| expression.source.as_str());
        in_text(value)
            .map(Value::String)
            .map_err(|what| Some((Wrong::new("expression-value", format!("'{source}' {what}")), nth)))
    }
}

/// Numbers and truth values that are written, without quotes, where Kubernetes takes text.
fn misplaced(value: &Value, places: &Places, within: &str) -> Vec<Finding> {
    let finding = |path: Vec<String>| {
        let pointer: String =
            path.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect();
        let found = value.pointer(&pointer).unwrap_or(&Value::Null);
        let at = format!("{within}{pointer}");
        let what = match (places.written(&at), found) {
            (Some(written), Value::Bool(_)) => format!("'{written}' means {found} in YAML 1.1"),
            (Some(written), _) => format!("'{written}' is the number {found}"),
            (None, Value::Bool(_)) => format!("this is the truth value {found}"),
            (None, _) => format!("this is the number {found}"),
        };
        let message = format!("{} must be a text, and {what}", path.join("."));
        Diagnostic::error(places.value(&at), "wrong-type", message).hint("put it in quotes").into()
    };
    text_fields::misplaced(value).into_iter().map(finding).collect()
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
    let checked = object::check(value, place, &|_| false);
    let bytes = canonical_bytes(value);
    let mut found = Vec::new();
    if bytes.len() > MAX_OBJECT {
        let message = format!("the object has {} bytes; an API server takes {MAX_OBJECT}", bytes.len());
        found.push(Diagnostic::error(place(""), "object-too-large", message));
    }
    let (key, version) = match checked {
        Ok(checked) if found.is_empty() => checked,
        checked => {
            found.extend(checked.err().into_iter().flatten());
            return Err(found);
        }
    };
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
        let parts = scan::split(text);
        if let [Part::Text(literal)] = parts.as_slice() {
            return Some(literal.clone());
        }
        let mut pieces = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Text(literal) => pieces.push(Piece::Text(literal)),
                Part::Expression(found) => match self.templates.expression(&found) {
                    Ok(index) => {
                        let wrong = self.templates.expressions.get(index).map(|e| e.wrong.clone());
                        for wrong in wrong.into_iter().flatten() {
                            self.findings.push(Finding::of(wrong, place.clone(), found.nth));
                        }
                        pieces.push(Piece::Value(index, found.nth));
                    }
                    Err(wrong) => {
                        self.findings.push(Finding::of(wrong, place.clone(), found.nth));
                        pieces.push(Piece::Broken);
                    }
                },
                Part::Wrong(error) => {
                    let wrong = Wrong::new("expression-syntax", error.message).hint(error.hint);
                    self.findings.push(Finding::of(wrong, place.clone(), error.nth));
                    pieces.push(Piece::Broken);
                }
            }
        }
        self.holes.push(Hole { pointer: pointer.to_owned(), place, pieces });
        None
    }
}

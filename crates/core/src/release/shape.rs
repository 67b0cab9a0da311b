//! How much work an expression can be, before it is done.
//!
//! CEL always ends, but a macro inside a macro over a long list takes its time. The bound is computed from
//! the expression and from how large the values are that it reads. It errs on the side of too much.

use std::rc::Rc;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use serde_json::Value;

use super::environment::{EACH, MATCHES, TERM};
use super::expression::CLUSTER;
use super::scan::VAR;

/// Most steps of one expression; a step is about a value visited or a byte compared.
pub(super) const MAX_STEPS: u64 = 20_000_000;
/// Largest value, in bytes, that an expression may build on its way.
pub(super) const MAX_SIZE: u64 = 16 << 20;
/// Steps that a regular expression costs before it sees its text; it was compiled before.
const REGEX: u64 = 500;

/// Bounds of a value's size.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    /// Bytes of all that is in it, and one for each value.
    total: u64,
    /// Items or entries; 0 for a scalar.
    count: u64,
    /// Bounds of each item; none for a scalar.
    inside: Option<Rc<Shape>>,
}

impl Shape {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::scalar(text.len()),
            Value::Array(items) => Self::collection(items.iter().map(|item| (0, Self::of(item)))),
            Value::Object(map) => Self::collection(map.iter().map(|(key, item)| (key.len(), Self::of(item)))),
            _ => Self::scalar(8),
        }
    }

    fn scalar(bytes: usize) -> Self {
        Self { total: bytes as u64 + 1, count: 0, inside: None }
    }

    fn collection(items: impl Iterator<Item = (usize, Shape)>) -> Self {
        items.fold(Self { total: 1, count: 0, inside: None }, |mut all, (key, item)| {
            // A macro over a map visits its keys.
            let item = item.larger(&Self::scalar(key));
            all.total = all.total.saturating_add(item.total + key as u64);
            all.count += 1;
            all.inside = Some(Rc::new(match &all.inside {
                Some(inside) => inside.larger(&item),
                None => item,
            }));
            all
        })
    }

    fn item(&self) -> Self {
        match &self.inside {
            Some(inside) => (**inside).clone(),
            // The characters of a text, or of what a function made of one.
            None => self.clone(),
        }
    }

    fn larger(&self, other: &Self) -> Self {
        let inside = match (&self.inside, &other.inside) {
            (Some(a), Some(b)) => Some(Rc::new(a.larger(b))),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Self { total: self.total.max(other.total), count: self.count.max(other.count), inside }
    }

    /// Both, one after the other.
    fn plus(&self, other: &Self) -> Self {
        let total = self.total.saturating_add(other.total);
        Self { total, count: self.count.saturating_add(other.count), ..self.larger(other) }
    }

    fn times(&self, n: u64) -> Self {
        let total = self.total.saturating_mul(n).saturating_add(1);
        Self { total, count: self.count.saturating_mul(n), inside: self.inside.clone() }
    }

    /// A list of texts out of one: `split`.
    fn texts(&self) -> Self {
        let text = Rc::new(Self { total: self.total, count: 0, inside: None });
        Self { total: self.total.saturating_mul(2), count: self.total, inside: Some(text) }
    }
}

/// What is known of the values.
pub(super) struct Sizes {
    pub(super) variables: Value,
    pub(super) cluster: Value,
}

/// Whether the expression stays within the bounds; the number of steps it may take.
pub(super) fn steps(expression: &IdedExpr, sizes: &Sizes) -> Option<u64> {
    let mut bound = Bound { sizes, names: Vec::new(), steps: 0, largest: 0 };
    bound.visit(expression);
    (bound.steps <= MAX_STEPS && bound.largest <= MAX_SIZE).then_some(bound.steps)
}

struct Bound<'a> {
    sizes: &'a Sizes,
    names: Vec<(&'a str, Shape)>,
    steps: u64,
    largest: u64,
}

impl<'a> Bound<'a> {
    fn visit(&mut self, node: &'a IdedExpr) -> Shape {
        self.steps = self.steps.saturating_add(1);
        let shape = match self.known(node) {
            Some(value) => Shape::of(value),
            None => self.compute(node),
        };
        self.largest = self.largest.max(shape.total);
        shape
    }

    fn compute(&mut self, node: &'a IdedExpr) -> Shape {
        match &node.expr {
            Expr::Ident(name) => self.bound(name).cloned().unwrap_or_default(),
            Expr::Literal(LiteralValue::String(text)) => Shape::scalar(text.inner().len()),
            Expr::Literal(LiteralValue::Bytes(bytes)) => Shape::scalar(bytes.inner().len()),
            Expr::Unspecified | Expr::Literal(_) => Shape::scalar(8),
            Expr::Select(select) => self.visit(&select.operand).item(),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let items: Vec<_> = list.elements.iter().map(|element| (0, self.visit(element))).collect();
                Shape::collection(items.into_iter())
            }
            Expr::Map(map) => self.entries(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Struct(made) => self.entries(made.entries.iter().map(|entry| &entry.expr)),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn entries(&mut self, entries: impl Iterator<Item = &'a EntryExpr>) -> Shape {
        let shapes: Vec<_> = entries
            .map(|entry| match entry {
                EntryExpr::StructField(field) => (field.field.len(), self.visit(&field.value)),
                EntryExpr::MapEntry(entry) => {
                    let key = self.visit(&entry.key);
                    (usize::try_from(key.total).unwrap_or(usize::MAX), self.visit(&entry.value))
                }
            })
            .collect();
        Shape::collection(shapes.into_iter())
    }

    fn call(&mut self, call: &'a CallExpr) -> Shape {
        let target = call.target.iter().map(|target| self.visit(target));
        let target: Vec<Shape> = target.collect();
        let arguments: Vec<Shape> = call.args.iter().map(|argument| self.visit(argument)).collect();
        let all: Vec<&Shape> = target.iter().chain(&arguments).collect();
        let sum = all.iter().fold(0u64, |sum, shape| sum.saturating_add(shape.total));
        let product = all.iter().fold(1u64, |product, shape| product.saturating_mul(shape.total));
        let first = all.first().copied().cloned().unwrap_or_default();
        let (steps, shape) = match (call.func_name.as_str(), all.as_slice()) {
            (MATCHES, _) => (product.saturating_add(REGEX), Shape::scalar(1)),
            ("_+_", [a, b]) => (sum, a.plus(b)),
            ("_?_:_", [_, a, b]) => (1, a.larger(b)),
            ("_[_]" | "_[?_]" | "_?._", _) => (1, first.item()),
            ("orValue" | "or", [a, b]) => (1, a.larger(b)),
            (EACH | TERM | "value" | "of" | "ofNonZeroValue" | "dyn", _) => (1, first),
            ("split", _) => (sum, first.texts()),
            ("replace" | "join", _) => (product, Shape { total: product, count: 0, inside: None }),
            (
                "encode" | "decode" | "string" | "bytes" | "lowerAscii" | "upperAscii" | "trim" | "substring",
                _,
            ) => (sum, Shape { total: sum.saturating_mul(4), count: 0, inside: None }),
            _ => (sum, Shape::scalar(8)),
        };
        self.steps = self.steps.saturating_add(steps);
        self.largest = self.largest.max(shape.total);
        shape
    }

    fn comprehension(&mut self, c: &'a ComprehensionExpr) -> Shape {
        let range = self.visit(&c.iter_range);
        let start = self.visit(&c.accu_init);
        let before = (self.names.len(), self.steps);
        self.names.push((&c.iter_var, range.item()));
        if let Some(second) = &c.iter_var2 {
            self.names.push((second, range.item()));
        }
        self.names.push((&c.accu_var, start));
        self.steps = 0;
        self.visit(&c.loop_cond);
        let step = self.visit(&c.loop_step);
        // A text or a function's result counts no items: then its bytes bound them.
        let n = if range.inside.is_some() || range.total <= 1 { range.count } else { range.total };
        self.steps = before.1.saturating_add(self.steps.saturating_mul(n));
        let whole = step.times(n);
        if let Some(accumulated) = self.names.last_mut() {
            accumulated.1 = whole.clone();
        }
        self.visit(&c.result);
        self.names.truncate(before.0);
        whole
    }

    fn bound(&self, name: &str) -> Option<&Shape> {
        self.names.iter().rev().find(|(bound, _)| *bound == name).map(|(_, shape)| shape)
    }

    /// The value itself, where the expression names it outright.
    fn known(&self, node: &IdedExpr) -> Option<&'a Value> {
        match &node.expr {
            Expr::Ident(name) if self.bound(name).is_none() => match name.strip_prefix('.').unwrap_or(name) {
                VAR => Some(&self.sizes.variables),
                CLUSTER => Some(&self.sizes.cluster),
                _ => None,
            },
            Expr::Select(select) if !select.test => self.known(&select.operand)?.get(&select.field),
            _ => None,
        }
    }
}

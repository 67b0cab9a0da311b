//! One expression, compiled: what it refers to, and what is wrong with it whatever the values are.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use serde::{Deserialize, Serialize};

use super::environment::{ENVIRONMENT, PATTERN_SIZE, pattern, put_in_order};
use super::scan::{Found, VAR};
use crate::model::suggest::nearest;

pub(super) const CLUSTER: &str = "cluster";

/// The functions of CEL's standard library, its strings library and its base64 library, less `format`
/// (its output is not bounded by its input's length) and `reverse`. A fixed list, so that a newer library
/// does not change what a profile may use.
const FUNCTIONS: [&str; 50] = [
    "!_",
    "-_",
    "_!=_",
    "_%_",
    "_&&_",
    "_*_",
    "_+_",
    "_-_",
    "_/_",
    "_<=_",
    "_<_",
    "_==_",
    "_>=_",
    "_>_",
    "_?._",
    "_?_:_",
    "_[_]",
    "_[?_]",
    "_||_",
    "@in",
    "@not_strictly_false",
    "bool",
    "bytes",
    "charAt",
    "contains",
    "decode",
    "double",
    "dyn",
    "encode",
    "endsWith",
    "hasValue",
    "indexOf",
    "int",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "matches",
    "none",
    "of",
    "ofNonZeroValue",
    "or",
    "orValue",
    "replace",
    "size",
    "split",
    "startsWith",
    "string",
    "substring",
    "trim",
    "type",
];
const MORE_FUNCTIONS: [&str; 4] = ["uint", "upperAscii", "value", "in"];
/// First parts of functions' names.
const NAMESPACES: [&str; 2] = ["base64", "optional"];
/// Names of types, for comparison with `type(x)`.
const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];

/// What an expression, or all expressions of a layer, can read. Nothing else is given to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct References {
    /// Variables by name.
    pub variables: BTreeSet<String>,
    /// Whether `var` is used as a whole, or by a name that is computed.
    pub all_variables: bool,
    /// Whether the cluster's name is used.
    pub name: bool,
    /// Labels by key.
    pub labels: BTreeSet<String>,
    /// Whether the labels are used as a whole, or by a key that is computed.
    pub all_labels: bool,
}

impl References {
    pub(super) fn extend(&mut self, other: &References) {
        self.variables.extend(other.variables.iter().cloned());
        self.labels.extend(other.labels.iter().cloned());
        self.all_variables |= other.all_variables;
        self.all_labels |= other.all_labels;
        self.name |= other.name;
    }

    /// The variables that are not among the declared ones.
    pub(super) fn undeclared<'a>(
        &'a self,
        declares: &'a dyn Fn(&str) -> bool,
    ) -> impl Iterator<Item = &'a str> {
        self.variables.iter().map(String::as_str).filter(|name| !declares(name))
    }
}

/// The beginning of a text, on one line.
fn shorten(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
}

impl Wrong {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[derive(Debug)]
pub(super) struct Expression {
    /// As it is written.
    pub source: String,
    /// None where it is no CEL.
    pub cel: Option<IdedExpr>,
    /// As far as they could be found.
    pub references: References,
    /// What is wrong with it whatever the values are; then it is never evaluated.
    pub wrong: Vec<Wrong>,
}

impl Expression {
    pub(super) fn compile(found: &Found) -> Self {
        let source = found.source.clone();
        let program = match ENVIRONMENT.compile(&found.cel) {
            Ok(program) => program,
            Err(errors) => {
                let first = errors.errors.first().map(|e| e.msg.replace(VAR, "var")).unwrap_or_default();
                let message = format!("'{source}' is not an expression: {first}");
                let names = "expected CEL over var.<name>, cluster.name and cluster.labels.<key>";
                let wrong = vec![Wrong::new("expression-syntax", message).hint(names)];
                return Self { source, cel: None, references: References::default(), wrong };
            }
        };
        let mut walk = Walk { references: References::default(), bound: Vec::new(), wrong: Vec::new() };
        walk.visit(program.expression());
        let mut cel = program.expression().clone();
        put_in_order(&mut cel);
        Self { source, cel: Some(cel), references: walk.references, wrong: walk.wrong }
    }
}

/// Collects references. Whatever is not understood counts as a use of everything.
struct Walk {
    references: References,
    /// Names that macros bind.
    bound: Vec<String>,
    wrong: Vec<Wrong>,
}

impl Walk {
    fn visit(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.identifier(name),
            Expr::Select(select) => self.member(&select.operand, &select.field),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(made) => {
                let message =
                    format!("'{}{{...}}' makes an object of a type that is not there", made.type_name);
                self.fail(Wrong::new("expression-unknown", message));
            }
            Expr::Comprehension(c) => {
                self.visit(&c.iter_range);
                self.visit(&c.accu_init);
                let before = self.bound.len();
                self.bound.extend([c.iter_var.clone(), c.accu_var.clone()]);
                self.bound.extend(c.iter_var2.clone());
                self.visit(&c.loop_cond);
                self.visit(&c.loop_step);
                self.visit(&c.result);
                self.bound.truncate(before);
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key);
                self.visit(&entry.value);
            }
        }
    }

    fn call(&mut self, call: &CallExpr) {
        let name = call.func_name.as_str();
        if !FUNCTIONS.contains(&name) && !MORE_FUNCTIONS.contains(&name) {
            let functions = FUNCTIONS.iter().chain(&MORE_FUNCTIONS).copied();
            let wrong = Wrong::new("expression-unknown", format!("there is no function '{name}'"));
            self.fail(match nearest(name, functions) {
                Some(near) => wrong.hint(format!("did you mean '{near}'?")),
                None => wrong,
            });
        }
        if name == "matches" {
            self.pattern(call);
        }
        if let ("_[_]" | "_[?_]" | "_?._", [operand, index]) = (name, call.args.as_slice())
            && let Expr::Literal(LiteralValue::String(key)) = &index.expr
        {
            return self.member(operand, key.inner());
        }
        match call.target.as_deref() {
            Some(IdedExpr { expr: Expr::Ident(root), .. })
                if NAMESPACES.contains(&root.as_str()) && !self.bound.contains(root) => {}
            Some(target) => self.visit(target),
            None => {}
        }
        call.args.iter().for_each(|argument| self.visit(argument));
    }

    /// A pattern costs what compiling it costs: it is written out, so that this is known, and done once.
    fn pattern(&mut self, call: &CallExpr) {
        let Some(IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }) = call.args.last() else {
            let wrong =
                Wrong::new("expression-pattern", "the pattern of 'matches' must be written out as a text");
            return self.fail(wrong.hint("a pattern out of a variable, or put together, is not read"));
        };
        if let Err(error) = pattern(text.inner()) {
            let why = match error {
                regex::Error::CompiledTooBig(_) => {
                    format!("is larger than {PATTERN_SIZE} bytes when it is compiled")
                }
                _ => "is not a regular expression".to_owned(),
            };
            let message = format!("the pattern '{}' {why}", shorten(text.inner()));
            self.fail(
                Wrong::new("expression-pattern", message).hint("write fewer repetitions, such as \\d{1,3}"),
            );
        }
    }

    /// `operand.field`, in any way of writing it.
    fn member(&mut self, operand: &IdedExpr, field: &str) {
        match &operand.expr {
            Expr::Ident(root) if self.is_root(root, VAR) => {
                self.references.variables.insert(field.to_owned());
            }
            Expr::Ident(root) if self.is_root(root, CLUSTER) => match field {
                "name" => self.references.name = true,
                "labels" => self.references.all_labels = true,
                _ => {
                    let message = format!("'cluster.{field}' is not known");
                    let hint = match nearest(field, ["name", "labels"]) {
                        Some(near) => format!("did you mean 'cluster.{near}'?"),
                        None => "a cluster has cluster.name and cluster.labels".to_owned(),
                    };
                    self.fail(Wrong::new("expression-unknown", message).hint(hint));
                }
            },
            _ if self.is_labels(operand) => {
                self.references.labels.insert(field.to_owned());
            }
            _ => self.visit(operand),
        }
    }

    fn is_root(&self, name: &str, root: &str) -> bool {
        name.strip_prefix('.').unwrap_or(name) == root && !self.bound.iter().any(|bound| bound == name)
    }

    fn is_labels(&self, node: &IdedExpr) -> bool {
        let is_cluster =
            |node: &IdedExpr| matches!(&node.expr, Expr::Ident(root) if self.is_root(root, CLUSTER));
        match &node.expr {
            Expr::Select(select) => !select.test && select.field == "labels" && is_cluster(&select.operand),
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                ("_[_]", [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }]) => {
                    key.inner() == "labels" && is_cluster(operand)
                }
                _ => false,
            },
            _ => false,
        }
    }

    fn identifier(&mut self, name: &str) {
        if name.starts_with('@') || self.bound.iter().any(|bound| bound == name) {
        } else if self.is_root(name, VAR) {
            self.references.all_variables = true;
        } else if self.is_root(name, CLUSTER) {
            (self.references.name, self.references.all_labels) = (true, true);
        } else if !TYPES.contains(&name) {
            let hint = match nearest(name, ["var", "cluster"]) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!(
                    "did you mean 'var.{name}'? expressions know var.<name>, cluster.name and cluster.labels.<key>"
                ),
            };
            self.fail(Wrong::new("expression-unknown", format!("'{name}' is not known")).hint(hint));
        }
    }

    fn fail(&mut self, wrong: Wrong) {
        if !self.wrong.contains(&wrong) {
            self.wrong.push(wrong);
        }
    }
}

//! Expressions to values.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, ExecutionError, Value as Cel};
use serde_json::{Map as JsonMap, Number, Value};

use super::environment::{EACH, ENVIRONMENT, MATCHES};
use super::expression::{CLUSTER, Expression, References, Wrong};
use super::scan::VAR;
use super::shape::{self, Sizes};
use crate::model::budget::{self, Cost, OVER_BUDGET};
use crate::model::labels::Labels;
use crate::model::suggest::nearest;
use crate::model::target::Variables;

/// Largest value that an expression may put into a manifest, in bytes.
pub const MAX_VALUE: usize = 1 << 20;

/// What a target gives to expressions.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Projected to what the profile declares, with defaults.
    pub variables: &'a Variables,
    pub cluster_name: &'a str,
    pub labels: &'a Labels,
}

impl Inputs<'_> {
    /// Just what is referenced, as canonical JSON would have it: it goes into the digest, and nothing else
    /// goes into the evaluation.
    pub(super) fn projected(&self, references: &References) -> (Value, Value) {
        let named = |name: &String| references.all_variables || references.variables.contains(name);
        let variables = self.variables.iter().filter(|(name, _)| named(name));
        let variables: JsonMap<_, _> = variables.map(|(name, value)| (name.clone(), value.clone())).collect();
        let keyed = |key: &String| references.all_labels || references.labels.contains(key);
        let labels = self.labels.iter().filter(|(key, _)| keyed(key));
        let labels: JsonMap<_, _> = labels.map(|(key, value)| (key.clone(), value.clone().into())).collect();
        let mut cluster = JsonMap::new();
        if references.name {
            cluster.insert("name".to_owned(), self.cluster_name.into());
        }
        cluster.insert("labels".to_owned(), labels.into());
        (variables.into(), cluster.into())
    }
}

/// Evaluates expressions for one target, within one budget of work.
pub(super) struct Evaluator<'a> {
    inputs: Inputs<'a>,
    references: &'a References,
    context: Context<'static, 'static>,
    sizes: Sizes,
    steps_left: u64,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(inputs: Inputs<'a>, references: &'a References) -> Self {
        let (variables, cluster) = inputs.projected(references);
        let mut context = Context::with_env(ENVIRONMENT.clone());
        context.add_variable_from_value(VAR, to_cel(&variables));
        context.add_variable_from_value(CLUSTER, to_cel(&cluster));
        let sizes = Sizes { variables, cluster };
        Self { inputs, references, context, sizes, steps_left: shape::MAX_STEPS.saturating_mul(5) }
    }

    /// The value of an expression. No message holds a value.
    pub(super) fn evaluate(&mut self, expression: &Expression) -> Result<Value, Wrong> {
        let Some(cel) = &expression.cel else {
            return Err(Wrong::new("expression-failed", format!("'{}' is no CEL", expression.source)));
        };
        let too_much = || {
            Wrong::new(
                "expression-too-costly",
                format!("'{}' could take too long on these values", expression.source),
            )
            .hint("loop over shorter lists, or don't loop inside a loop")
        };
        let steps = shape::steps(cel, &self.sizes).ok_or_else(too_much)?;
        self.steps_left = self.steps_left.checked_sub(steps).ok_or_else(too_much)?;
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        budget::spend(Cost::Steps, steps)
            .map_err(|exceeded| Wrong::new(OVER_BUDGET, exceeded.to_string()))?;
        let result = Cel::resolve(cel, &self.context);
        let value = result.map_err(|error| self.explain(expression, &error))?;
        let mut room = MAX_VALUE;
        to_json(&value, &mut room, 0)
            .map_err(|what| Wrong::new("expression-value", format!("'{}' {what}", expression.source)))
    }

    /// CEL's own messages hold values: said anew without them.
    fn explain(&self, expression: &Expression, error: &ExecutionError) -> Wrong {
        let failed = |why: &str| {
            Wrong::new("expression-failed", format!("'{}' can't be evaluated: {why}", expression.source))
        };
        match error {
            ExecutionError::NoSuchKey(key) => self.missing(expression, key),
            ExecutionError::NoSuchOverload(error) => {
                failed(&error.to_string().replace(EACH, "a macro").replace(MATCHES, "matches"))
            }
            ExecutionError::UndeclaredReference(name) => failed(&format!("'{name}' is not known")),
            ExecutionError::UnsupportedBinaryOperator(operator, a, b) => {
                failed(&format!("there is no '{operator}' of {} and {}", a.type_of(), b.type_of()))
            }
            ExecutionError::InvalidArgumentCount { expected, actual } => {
                failed(&format!("a function takes {expected} arguments and got {actual}"))
            }
            ExecutionError::UnexpectedType { got, want } => {
                failed(&format!("a {got} where a {want} is expected"))
            }
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                failed("division by zero")
            }
            ExecutionError::Overflow(..) => failed("a number is too large"),
            ExecutionError::IndexOutOfBounds(_) => failed("the list has no such item"),
            ExecutionError::DuplicateKey(_) => failed("a map has one key twice"),
            ExecutionError::FunctionError { function, .. } => {
                failed(&format!("{function}() refused its input"))
            }
            ExecutionError::ValuesNotComparable(..) => {
                failed("it compares values of kinds that don't compare")
            }
            ExecutionError::UnsupportedKeyType(_) => failed("a map's key must be a text, a number or a bool"),
            _ => failed("an operation does not fit its values"),
        }
    }

    fn missing(&self, expression: &Expression, key: &str) -> Wrong {
        if self.references.variables.contains(key) && !self.inputs.variables.contains_key(key) {
            return Wrong::new("variable-without-value", format!("the variable '{key}' has no value")).hint(
                format!("set it in the target or the fleet, give it a default, or ask has(var.{key})"),
            );
        }
        if self.references.labels.contains(key) && !self.inputs.labels.contains_key(key) {
            let message = format!("the cluster {} has no label '{key}'", self.inputs.cluster_name);
            let near = nearest(key, self.inputs.labels.keys().map(String::as_str));
            return Wrong::new("unknown-label", message).hint(match near {
                Some(near) => format!("did you mean '{near}'?"),
                None => "add the label to the target, or ask has(cluster.labels.<key>) first".to_owned(),
            });
        }
        // The key may come out of a variable: it is not named.
        let message = format!("'{}' can't be evaluated: a map has no such key", expression.source);
        Wrong::new("expression-failed", message)
    }
}

/// A value as it stands inside a longer text.
pub(super) fn in_text(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(_) => {
            let bytes = super::canonical::canonical_bytes(value);
            String::from_utf8(bytes.to_vec()).map_err(|_| "is not a text")
        }
        Value::Null => Err("is null, which has no text"),
        Value::Array(_) => Err("is a list, which has no text; join it, or let it stand alone in its value"),
        Value::Object(_) => Err("is a map, which has no text; let it stand alone in its value"),
    }
}

pub(super) fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Cel::Int(n),
            (None, Some(n)) => Cel::UInt(n),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(map) => {
            let entries: HashMap<Key, Cel> =
                map.iter().map(|(k, v)| (Key::from(k.as_str()), to_cel(v))).collect();
            Cel::Map(Map { map: Arc::new(entries) })
        }
    }
}

/// `room` is how many bytes there may still be.
fn to_json(value: &Cel, room: &mut usize, depth: usize) -> Result<Value, String> {
    const DEEPEST: usize = 64;
    let mut take = |bytes: usize| -> Result<(), String> {
        *room = room.checked_sub(bytes + 1).ok_or(format!("gives more than {MAX_VALUE} bytes"))?;
        Ok(())
    };
    if depth > DEEPEST {
        return Err(format!("gives a value nested deeper than {DEEPEST}"));
    }
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(flag) => Value::Bool(*flag),
        Cel::Int(n) => Value::Number((*n).into()),
        Cel::UInt(n) => Value::Number((*n).into()),
        Cel::Float(f) => {
            let number = Number::from_f64(*f).ok_or("gives a number that is infinite or none at all")?;
            Value::Number(number)
        }
        Cel::String(text) => {
            take(text.len())?;
            Value::String((**text).clone())
        }
        Cel::List(items) => {
            take(items.len())?;
            let items: Result<Vec<_>, _> = items.iter().map(|item| to_json(item, room, depth + 1)).collect();
            Value::Array(items?)
        }
        Cel::Map(map) => {
            let mut object = JsonMap::new();
            for (key, item) in map.map.iter() {
                let Key::String(key) = key else {
                    return Err("gives a map with keys that are not texts".to_owned());
                };
                *room =
                    room.checked_sub(key.len() + 1).ok_or(format!("gives more than {MAX_VALUE} bytes"))?;
                object.insert((**key).clone(), to_json(item, room, depth + 1)?);
            }
            Value::Object(object)
        }
        Cel::Bytes(_) => return Err("gives bytes; use base64.encode or string".to_owned()),
        other => {
            return Err(format!("gives a value of type {}, which no manifest can hold", other.type_of()));
        }
    })
}

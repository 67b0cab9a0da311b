//! CEL's environment, and what keeps its results the same on every run.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};
use cel::common::types::{CelBool, CelList, DYN_TYPE, LIST_TYPE, MAP_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::{Env, ExecutionError, Value, extensions};
use regex::{Regex, RegexBuilder};

/// The environment that expressions are compiled and evaluated in.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    // They fail only on names that are taken, which a test would see as functions that don't work.
    let _ = environment.add_extension(extensions::strings);
    let _ = environment.add_extension(extensions::encoders);
    let _ = environment.add_overload(EACH, "each_list", vec![LIST_TYPE], |mut arguments| {
        arguments.pop().ok_or_else(ExecutionError::missing_argument_or_target)
    });
    let _ = environment.add_overload(EACH, "each_map", vec![MAP_TYPE], sorted_keys);
    let _ = environment.add_overload(MATCHES, "matches_once", vec![STRING_TYPE, STRING_TYPE], matches);
    let _ = environment.add_overload(TERM, "term", vec![DYN_TYPE], no_map);
    Arc::new(environment)
});

/// What a macro loops over is wrapped in a call of this: CEL's maps have no order, so that a macro would
/// give another list of a map's keys on each run.
pub(super) const EACH: &str = "@each";

/// What is added is wrapped in a call of this: `list + map` would append the map's keys in no order.
pub(super) const TERM: &str = "@term";

/// `text.matches(pattern)` becomes a call of this, which compiles each pattern once.
pub(super) const MATCHES: &str = "@matches";
/// Bytes that a compiled pattern may take.
pub(super) const PATTERN_SIZE: usize = 64 << 10;
/// Most patterns that are kept.
const PATTERNS: usize = 256;

static COMPILED: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

/// A pattern, compiled.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn pattern(text: &str) -> Result<Regex, regex::Error> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = compiled.get(text) {
        return Ok(regex.clone());
    }
    let regex = RegexBuilder::new(text).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build()?;
    if compiled.len() >= PATTERNS {
        compiled.clear();
    }
    compiled.insert(text.to_owned(), regex.clone());
    Ok(regex)
}

fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = |n: usize| {
        let argument = arguments.get(n).ok_or_else(ExecutionError::missing_argument_or_target)?;
        match Value::try_from(&**argument)? {
            Value::String(text) => Ok(text),
            other => Err(ExecutionError::UnexpectedType {
                got: other.type_of().to_string(),
                want: "string".to_owned(),
            }),
        }
    };
    let (value, expression) = (text(0)?, text(1)?);
    let regex = pattern(&expression).map_err(|_| ExecutionError::FunctionError {
        function: "matches".to_owned(),
        message: "not a pattern".to_owned(),
    })?;
    Ok(CowVal::owned(CelBool::from(regex.is_match(&value))))
}

fn no_map<'b, 'v>(mut arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let term = arguments.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    match term.get_type() == &MAP_TYPE {
        true => Err(ExecutionError::UnexpectedType { got: "map".to_owned(), want: "list".to_owned() }),
        false => Ok(term),
    }
}

fn sorted_keys<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let map = arguments.first().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let mut keys = Vec::new();
    let mut iterator = map.as_iterable().ok_or_else(ExecutionError::missing_argument_or_target)?.iter();
    while let Some(key) = iterator.next() {
        let order = match Value::try_from(key)? {
            Value::String(text) => (2, 0, text.to_string()),
            Value::Int(n) => (1, i128::from(n), String::new()),
            Value::UInt(n) => (1, i128::from(n), String::new()),
            Value::Bool(flag) => (0, i128::from(flag), String::new()),
            other => return Err(ExecutionError::unsupported_key_type(other)),
        };
        keys.push((order, key.clone_as_boxed()));
    }
    drop(iterator);
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    let keys: Vec<_> = keys.into_iter().map(|(_, key)| key).collect();
    Ok(CowVal::owned(CelList::from(keys)))
}

/// Gives every macro of the expression an order.
pub(super) fn put_in_order(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select(select) => put_in_order(&mut select.operand),
        Expr::Call(call) => {
            call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(put_in_order);
            if call.func_name == "matches" {
                call.func_name = MATCHES.to_owned();
                if let Some(target) = call.target.take() {
                    call.args.insert(0, *target);
                }
            }
            // A literal list is one, and is what CEL looks for to append fast.
            if call.func_name == "_+_"
                && let Some(term) = call.args.get_mut(1).filter(|term| !matches!(term.expr, Expr::List(_)))
            {
                wrap(term, TERM);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(put_in_order),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| order_entry(&mut entry.expr)),
        Expr::Struct(made) => made.entries.iter_mut().for_each(|entry| order_entry(&mut entry.expr)),
        Expr::Comprehension(c) => {
            for part in
                [&mut c.iter_range, &mut c.accu_init, &mut c.loop_cond, &mut c.loop_step, &mut c.result]
            {
                put_in_order(part);
            }
            wrap(&mut c.iter_range, EACH);
        }
    }
}

fn wrap(node: &mut IdedExpr, function: &str) {
    let call = CallExpr { func_name: function.to_owned(), target: None, args: vec![std::mem::take(node)] };
    node.expr = Expr::Call(call);
}

fn order_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => put_in_order(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            put_in_order(&mut entry.key);
            put_in_order(&mut entry.value);
        }
    }
}

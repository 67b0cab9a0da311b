//! CEL's environment, and what keeps its results the same on every run.

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};
use cel::common::types::{CelList, DYN_TYPE, LIST_TYPE, MAP_TYPE};
use cel::common::value::CowVal;
use cel::{Env, ExecutionError, Value, extensions};

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
    let _ = environment.add_overload(TERM, "term", vec![DYN_TYPE], no_map);
    Arc::new(environment)
});

/// What a macro loops over is wrapped in a call of this: CEL's maps have no order, so that a macro would
/// give another list of a map's keys on each run.
pub(super) const EACH: &str = "@each";

/// What is added is wrapped in a call of this: `list + map` would append the map's keys in no order.
pub(super) const TERM: &str = "@term";

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

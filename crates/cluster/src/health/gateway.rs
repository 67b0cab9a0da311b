//! Kinds of the Gateway API, by the conditions that its specification asks of every implementation.

use serde_json::Value;

use super::{Condition, Status, Verdict};

/// A class waits for its controller as long as it likes: that may come in a later layer. Only a refusal counts.
pub(super) fn class(status: &Status<'_>) -> Verdict {
    match status.condition_is("Accepted", "False") {
        Some(c) => Verdict::progressing(c.say()),
        None => Verdict::Healthy,
    }
}

/// A gateway is healthy when it is programmed: its data plane serves, or will within moments, and has its addresses.
pub(super) fn gateway(status: &Status<'_>) -> Verdict {
    let old = |c: &Condition<'_>| c.is_older_than(status.generation());
    if let Some(c) = status.condition_is("Accepted", "False").filter(|c| !old(c)) {
        return Verdict::progressing(c.say());
    }
    match status.condition("Programmed") {
        Some(c) if old(&c) => Verdict::progressing("Programmed is not of the newest generation yet"),
        Some(c) if c.text("status") == "True" => Verdict::Healthy,
        Some(c) => Verdict::progressing(c.say()),
        None => Verdict::progressing("no controller has taken it yet"),
    }
}

/// A route is healthy when each of its parents has accepted it and finds what it refers to.
pub(super) fn route(status: &Status<'_>) -> Verdict {
    let wanted = status.0.pointer("/spec/parentRefs").and_then(Value::as_array).map_or(0, Vec::len);
    attached(status, "parents").unwrap_or_else(|| {
        if wanted == 0 { Verdict::Healthy } else { Verdict::progressing("no gateway has taken it yet") }
    })
}

/// A policy that nobody looks at yet does no harm.
pub(super) fn policy(status: &Status<'_>) -> Verdict {
    attached(status, "ancestors").unwrap_or(Verdict::Healthy)
}

/// What the parents say, if there are any.
fn attached(status: &Status<'_>, list: &str) -> Option<Verdict> {
    let parents = status.0.pointer(&format!("/status/{list}"))?.as_array().filter(|list| !list.is_empty())?;
    for parent in parents {
        let conditions = parent["conditions"].as_array().into_iter().flatten().map(Condition);
        for condition in conditions.filter(|c| ["Accepted", "ResolvedRefs"].contains(&c.text("type"))) {
            let name = parent.pointer("/parentRef/name").or_else(|| parent.pointer("/ancestorRef/name"));
            let name = name.and_then(Value::as_str).unwrap_or_default();
            if condition.is_older_than(status.generation()) {
                return Some(Verdict::progressing(format!(
                    "{name} has not looked at its newest generation yet"
                )));
            }
            if condition.text("status") != "True" {
                return Some(Verdict::progressing(format!("{name}: {}", condition.say())));
            }
        }
    }
    Some(Verdict::Healthy)
}

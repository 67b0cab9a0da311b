//! Kinds that are judged by conditions and phases.

use super::{Status, Verdict};

/// Standard conditions: `Stalled` fails, `Reconciling` progresses, then `Ready`, else `Available`, must be True.
/// An object without any of them is healthy once it is observed.
pub(super) fn standard(status: &Status<'_>) -> Verdict {
    let current = |name| status.condition_is(name, "True").filter(|c| !c.is_older_than(status.generation()));
    if let Some(stalled) = current("Stalled") {
        return Verdict::failed(stalled.say());
    }
    if let Some(reconciling) = current("Reconciling") {
        return Verdict::progressing(reconciling.say());
    }
    let Some(main) = status.condition("Ready").or_else(|| status.condition("Available")) else {
        return Verdict::Healthy;
    };
    if main.is_older_than(status.generation()) {
        let what = main.text("type");
        let generation = status.generation();
        return Verdict::progressing(format!("{what} is not of generation {generation} yet"));
    }
    if main.text("status") == "True" { Verdict::Healthy } else { Verdict::progressing(main.say()) }
}

/// The aggregator tries each server that it is told of; local ones are available at once.
pub(super) fn api_service(status: &Status<'_>) -> Verdict {
    match status.condition("Available") {
        Some(c) if c.text("status") == "True" => Verdict::Healthy,
        Some(c) => Verdict::progressing(c.say()),
        None => Verdict::progressing("its server has not been tried yet"),
    }
}

/// Healthy once its controller has seen it.
pub(super) fn observed(status: &Status<'_>) -> Verdict {
    status.must_be_observed().unwrap_or(Verdict::Healthy)
}

pub(super) fn crd(status: &Status<'_>) -> Verdict {
    if let Some(names) = status.condition_is("NamesAccepted", "False") {
        return Verdict::failed(names.say());
    }
    match status.condition("Established") {
        Some(c) if c.text("status") == "True" => Verdict::Healthy,
        Some(c) if c.text("status") == "False" && c.text("reason") != "Installing" => {
            Verdict::failed(c.say())
        }
        _ => Verdict::progressing("is being installed"),
    }
}

/// A load balancer is healthy when it has an address; kstatus asks for the cluster's own address alone, but what
/// depends on the service needs the other.
pub(super) fn service(status: &Status<'_>) -> Verdict {
    if status.text("/spec/type") != "LoadBalancer" {
        return Verdict::Healthy;
    }
    let addresses = status.0.pointer("/status/loadBalancer/ingress").and_then(|list| list.as_array());
    if addresses.is_some_and(|list| !list.is_empty()) {
        return Verdict::Healthy;
    }
    Verdict::progressing("the load balancer has no address yet")
}

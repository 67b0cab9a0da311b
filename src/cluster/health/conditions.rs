//! Kinds that are judged by conditions and phases.

use super::{Status, Verdict};

/// Standard conditions: `Stalled` fails, `Reconciling` progresses, then `Ready`, else `Available`, must be True.
/// An object without any of them is healthy once it is observed.
pub(super) fn standard(status: &Status<'_>) -> Verdict {
    if let Some(stalled) = status.condition_is("Stalled", "True") {
        return Verdict::failed(stalled.say());
    }
    if let Some(reconciling) = status.condition_is("Reconciling", "True") {
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

pub(super) fn volume_claim(status: &Status<'_>) -> Verdict {
    match status.text("/status/phase") {
        "Bound" => Verdict::Healthy,
        "Lost" => Verdict::failed("its volume is lost"),
        _ => Verdict::progressing("is not bound to a volume yet"),
    }
}

/// Volumes may wait for a claim as long as they like.
pub(super) fn volume(status: &Status<'_>) -> Verdict {
    match status.text("/status/phase") {
        "Failed" => Verdict::failed(format!("reclaiming failed: {}", status.text("/status/message"))),
        _ => Verdict::Healthy,
    }
}

//! Claims and volumes.

use super::{Status, Verdict};

/// Where the scheduler notes for which node a volume is to be made: from then on the claim does not wait for a Pod.
const NODE: &str = "volume.kubernetes.io/selected-node";
/// What named a claim's class before there was a field; it still counts first (`GetPersistentVolumeClaimClass` of
/// k8s.io/component-helpers).
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// A claim without a volume may be right so: the class says whether it waits for a Pod (`syncUnboundClaim` of the
/// PersistentVolume controller). kstatus waits for `Bound`, for ever if nothing uses the claim.
pub(super) fn claim(status: &Status<'_>) -> Verdict {
    match status.text("/status/phase") {
        "Bound" => resized(status),
        "Lost" => Verdict::failed("its volume is lost"),
        _ => unbound(status),
    }
}

fn unbound(status: &Status<'_>) -> Verdict {
    let volume = status.text("/spec/volumeName");
    if !volume.is_empty() {
        return Verdict::progressing(format!("is not bound to volume {volume} yet"));
    }
    let annotation = |name: &str| status.0.pointer("/metadata/annotations")?.get(name)?.as_str();
    if let Some(node) = annotation(NODE) {
        return Verdict::progressing(format!(
            "is not bound to a volume yet; one is to be made for node {node}"
        ));
    }
    let class = annotation(CLASS).or_else(|| status.0.pointer("/spec/storageClassName")?.as_str());
    match class {
        Some("") => Verdict::progressing(
            "is not bound to a volume yet; its class is \"\": only a volume without a class fits it",
        ),
        class => Verdict::Unbound(class.map(Into::into)),
    }
}

/// A bound claim that was to grow, or to change its attributes, and can't.
fn resized(status: &Status<'_>) -> Verdict {
    let errors = ["ControllerResizeError", "NodeResizeError", "ModifyVolumeError"];
    let error = errors.iter().find_map(|name| status.condition_is(name, "True"));
    error.map_or(Verdict::Healthy, |error| Verdict::progressing(error.say()))
}

/// Volumes may wait for a claim as long as they like.
pub(super) fn volume(status: &Status<'_>) -> Verdict {
    match status.text("/status/phase") {
        "Failed" => Verdict::failed(format!("reclaiming failed: {}", status.text("/status/message"))),
        _ => Verdict::Healthy,
    }
}

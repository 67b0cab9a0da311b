//! Objects that can keep other objects from being written, deleted or found.
//!
//! A release that drops such an object, or takes its sting, must have that done before everything else: what it keeps
//! from being written may be just what the release wants next. Source: Kubernetes' admission chain
//! (`pkg/kubeapiserver/options/plugins.go`), priority and fairness, aggregation; the policies of Kyverno, Gatekeeper
//! and Kubewarden, whose webhooks refuse what a policy forbids.

use serde_json::Value;

use super::order::is_crd;
use crate::model::object::ObjectKey;
use crate::model::release::ReleaseObject;

const ADMISSION: &str = "admissionregistration.k8s.io";

/// Kinds that block, by group. An exception from a policy is no policy.
const BLOCKERS: [(&str, &[&str]); 9] = [
    (
        ADMISSION,
        &[
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
        ],
    ),
    ("apiregistration.k8s.io", &["APIService"]),
    ("", &["ResourceQuota", "LimitRange"]),
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("kyverno.io", &["ClusterPolicy", "Policy"]),
    (
        "policies.kyverno.io",
        &["ValidatingPolicy", "NamespacedValidatingPolicy", "MutatingPolicy", "ImageValidatingPolicy"],
    ),
    ("templates.gatekeeper.sh", &["ConstraintTemplate"]),
    ("mutations.gatekeeper.sh", &["Assign", "AssignMetadata", "AssignImage", "ModifySet"]),
    (
        "policies.kubewarden.io",
        &["ClusterAdmissionPolicy", "AdmissionPolicy", "ClusterAdmissionPolicyGroup", "AdmissionPolicyGroup"],
    ),
];

/// Each of its kinds is brought by a ConstraintTemplate.
const CONSTRAINTS: &str = "constraints.gatekeeper.sh";

/// Whether an object of this kind can block others.
pub(super) fn is_blocker(key: &ObjectKey) -> bool {
    key.group() == CONSTRAINTS
        || BLOCKERS.iter().any(|(group, kinds)| key.group() == *group && kinds.contains(&key.kind()))
}

/// Whether a change of an object of this kind may end what keeps a write from going through: also a CRD's, whose
/// conversion webhook may be dead.
pub fn may_unblock(key: &ObjectKey) -> bool {
    is_blocker(key) || is_crd(key)
}

pub(super) fn is_api_service(key: &ObjectKey) -> bool {
    key.is("apiregistration.k8s.io", "APIService")
}

/// The group that an APIService brings: its name is `<version>.<group>`.
pub(super) fn api_group(service: &ObjectKey) -> &str {
    service.name().split_once('.').map_or("", |(_, group)| group)
}

/// Whether an object, as the release wants it, can block nothing that it did not block before: then its change goes
/// before everything else. A quota or a range of limits changes nothing for what is there.
pub(super) fn blocks_no_more(object: &ReleaseObject) -> bool {
    let key = &object.key;
    if !is_blocker(key) {
        return false;
    }
    if key.group().is_empty() {
        return true;
    }
    if key.group() != ADMISSION {
        return false;
    }
    let Ok(manifest) = serde_json::from_slice::<Value>(&object.bytes) else { return false };
    let ignores = |of: &Value| of["failurePolicy"] == "Ignore";
    match key.kind() {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            manifest["webhooks"].as_array().is_none_or(|hooks| hooks.iter().all(ignores))
        }
        "MutatingAdmissionPolicy" => ignores(&manifest["spec"]),
        "ValidatingAdmissionPolicyBinding" => {
            let actions = manifest["spec"]["validationActions"].as_array();
            actions.is_some_and(|actions| !actions.iter().any(|action| action == "Deny"))
        }
        _ => false,
    }
}

//! What comes before what.

use crate::model::object::ObjectKey;

/// Groups that a Kubernetes API server serves without any CRD.
const BUILT_IN_GROUPS: [&str; 23] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

pub(super) fn is_namespace(key: &ObjectKey) -> bool {
    key.is("", "Namespace")
}

pub(super) fn is_crd(key: &ObjectKey) -> bool {
    key.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

/// Namespaces and CRDs come before everything else of their layer.
pub(super) fn apply_rank(key: &ObjectKey) -> u8 {
    u8::from(!is_namespace(key) && !is_crd(key))
}

/// Custom resources go before anything that may be their controller, then everything else, then CRDs, then
/// namespaces.
pub(super) fn prune_rank(key: &ObjectKey) -> u8 {
    if is_namespace(key) {
        3
    } else if is_crd(key) {
        2
    } else {
        u8::from(BUILT_IN_GROUPS.contains(&key.group()))
    }
}

/// The group of a CRD's instances: its name is `<plural>.<group>`.
pub(super) fn crd_group(crd: &ObjectKey) -> &str {
    crd.name().split_once('.').map_or("", |(_, group)| group)
}

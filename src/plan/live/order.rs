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
        u8::from(BUILT_IN_GROUPS.contains(&key.group.as_str()))
    }
}

/// The group of a CRD's instances: its name is `<plural>.<group>`.
pub(super) fn crd_group(crd: &ObjectKey) -> &str {
    crd.name.split_once('.').map_or("", |(_, group)| group)
}

/// The name without a kustomize generator's suffix: `app-7f9c8d6b5k` is `app`. A suffix is ten of the letters and
/// digits that kustomize's hash encoding leaves (hex with `0 1 3 a e` written as `g h k m t`).
pub(super) fn without_hash_suffix(key: &ObjectKey) -> Option<&str> {
    let generated = key.is("", "ConfigMap") || key.is("", "Secret");
    let (base, suffix) = key.name.rsplit_once('-').filter(|_| generated)?;
    let fits = suffix.len() == 10 && suffix.bytes().all(|b| b"2456789bcdfghkmt".contains(&b));
    fits.then_some(base)
}

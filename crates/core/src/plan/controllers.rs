//! Fields that a controller or the API server owns by definition, whatever Git says: they are not sent, so nobody is
//! fought over them. One table, which docs/format.md prints.
//!
//! What is not in the table is Git's, if Git has it; a field that something else changes too is given away with
//! `drift.ignore`. A field that Git does not have is never sent. Pure.

use std::fmt;

use base64::Engine as _;
use serde_json::Value;

use crate::model::field_path::tokens;
use crate::model::object::{is_built_in_group, split_api_version};

/// When a field of the table is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// Git has no value: null, `""`, 0, or a list or map of such.
    Empty,
    /// Git has null.
    Null,
    /// Git has no certificate: nothing, or white space (the placeholder `Cg==`); or an annotation has it injected.
    NoBundle,
    /// The role has an `aggregationRule`.
    Aggregated,
    /// `spec.manualSelector` is not true.
    GeneratedSelector,
    /// The Secret's type is `kubernetes.io/service-account-token`.
    TokenSecret,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::Empty => "where Git has no value (null, empty, 0)",
            Self::Null => "where Git has null",
            Self::NoBundle => "where Git has no certificate (nothing, or white space as `Cg==`), or an annotation of cert-manager or OpenShift has it injected",
            Self::Aggregated => "where the role has an `aggregationRule`",
            Self::GeneratedSelector => "unless `spec.manualSelector` is true",
            Self::TokenSecret => "where the type is `kubernetes.io/service-account-token`",
        })
    }
}

/// One row: the kind (`""`: every kind; with `status`, every kind of Kubernetes' own groups), the field (`*`: every item
/// of a list), when it is left out, and who owns it.
pub type Row = (&'static str, &'static str, &'static str, When, &'static str);

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// Group, kind, field, when, owner. Sources: the types of k8s.io/api and the strategies of pkg/registry of Kubernetes
/// 1.37; for annotations, "Well-Known Labels, Annotations and Taints" of its documentation.
pub const TABLE: &[Row] = {
    use When::{Aggregated, Always, Empty, GeneratedSelector, NoBundle, Null, TokenSecret};
    &[
        ("", "", "/status", Always, "the kind's controller, through the subresource"),
        (
            "",
            "",
            "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
            Always,
            "kubectl apply",
        ),
        (
            "",
            "",
            "/metadata/annotations/control-plane.alpha.kubernetes.io~1leader",
            Always,
            "leader election",
        ),
        (RBAC, "ClusterRole", "/rules", Aggregated, "clusterrole-aggregation-controller"),
        ("", "Service", "/spec/clusterIP", Empty, "the API server's allocator"),
        ("", "Service", "/spec/clusterIPs", Empty, "the API server's allocator"),
        ("", "Service", "/spec/ports/*/nodePort", Empty, "the API server's allocator"),
        ("", "Service", "/spec/healthCheckNodePort", Empty, "the API server's allocator"),
        ("", "Service", "/spec/ipFamilies", Empty, "the API server's allocator"),
        ("", "Service", "/spec/ipFamilyPolicy", Empty, "the API server's allocator"),
        ("", "PersistentVolumeClaim", "/spec/volumeName", Empty, "persistentvolume-binder"),
        (
            "",
            "PersistentVolumeClaim",
            "/metadata/annotations/pv.kubernetes.io~1bind-completed",
            Always,
            "persistentvolume-binder",
        ),
        (
            "",
            "PersistentVolumeClaim",
            "/metadata/annotations/pv.kubernetes.io~1bound-by-controller",
            Always,
            "persistentvolume-binder",
        ),
        (
            "",
            "PersistentVolumeClaim",
            "/metadata/annotations/volume.kubernetes.io~1storage-provisioner",
            Always,
            "persistentvolume-binder",
        ),
        (
            "",
            "PersistentVolumeClaim",
            "/metadata/annotations/volume.beta.kubernetes.io~1storage-provisioner",
            Always,
            "persistentvolume-binder",
        ),
        (
            "",
            "PersistentVolumeClaim",
            "/metadata/annotations/volume.kubernetes.io~1selected-node",
            Always,
            "kube-scheduler",
        ),
        ("", "PersistentVolume", "/spec/claimRef", Empty, "persistentvolume-binder"),
        ("", "PersistentVolume", "/spec/claimRef/uid", Always, "persistentvolume-binder"),
        ("", "PersistentVolume", "/spec/claimRef/resourceVersion", Always, "persistentvolume-binder"),
        (
            "",
            "PersistentVolume",
            "/metadata/annotations/pv.kubernetes.io~1bound-by-controller",
            Always,
            "persistentvolume-binder",
        ),
        (
            ADMISSION,
            "MutatingWebhookConfiguration",
            "/webhooks/*/clientConfig/caBundle",
            NoBundle,
            "cert-manager's cainjector, or the webhook itself",
        ),
        (
            ADMISSION,
            "ValidatingWebhookConfiguration",
            "/webhooks/*/clientConfig/caBundle",
            NoBundle,
            "cert-manager's cainjector, or the webhook itself",
        ),
        (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "/spec/conversion/webhook/clientConfig/caBundle",
            NoBundle,
            "cert-manager's cainjector, or the webhook itself",
        ),
        (
            "apiregistration.k8s.io",
            "APIService",
            "/spec/caBundle",
            NoBundle,
            "cert-manager's cainjector, or the server itself",
        ),
        ("", "Secret", "/data/token", TokenSecret, "serviceaccount-token controller"),
        ("", "Secret", "/data/ca.crt", TokenSecret, "serviceaccount-token controller"),
        ("", "Secret", "/data/namespace", TokenSecret, "serviceaccount-token controller"),
        (
            "",
            "Secret",
            "/metadata/annotations/kubernetes.io~1service-account.uid",
            TokenSecret,
            "serviceaccount-token controller",
        ),
        ("", "ServiceAccount", "/secrets", Empty, "serviceaccount-token controller"),
        ("", "ServiceAccount", "/imagePullSecrets", Empty, "controllers that add pull secrets (OpenShift)"),
        ("", "Namespace", "/spec/finalizers", Always, "the API server and namespace-controller"),
        ("", "Node", "/spec/podCIDR", Always, "nodeipam-controller"),
        ("", "Node", "/spec/podCIDRs", Always, "nodeipam-controller"),
        ("", "Node", "/spec/providerID", Empty, "kubelet and cloud-node-controller"),
        ("", "Node", "/spec/taints", Empty, "node-lifecycle-controller"),
        ("", "Pod", "/spec/nodeName", Empty, "kube-scheduler"),
        ("batch", "Job", "/spec/selector", GeneratedSelector, "the API server"),
        (
            "batch",
            "Job",
            "/spec/template/metadata/labels/controller-uid",
            GeneratedSelector,
            "the API server",
        ),
        (
            "batch",
            "Job",
            "/spec/template/metadata/labels/batch.kubernetes.io~1controller-uid",
            GeneratedSelector,
            "the API server",
        ),
        ("batch", "Job", "/spec/template/metadata/labels/job-name", GeneratedSelector, "the API server"),
        (
            "batch",
            "Job",
            "/spec/template/metadata/labels/batch.kubernetes.io~1job-name",
            GeneratedSelector,
            "the API server",
        ),
        ("batch", "Job", "/metadata/annotations/batch.kubernetes.io~1job-tracking", Always, "job-controller"),
        (
            "apps",
            "Deployment",
            "/metadata/annotations/deployment.kubernetes.io~1revision",
            Always,
            "deployment-controller",
        ),
        ("apps", "Deployment", "/spec/replicas", Null, "an autoscaler, through the subresource scale"),
        (
            "apps",
            "ReplicaSet",
            "/metadata/annotations/deployment.kubernetes.io~1revision",
            Always,
            "deployment-controller",
        ),
        (
            "apps",
            "ReplicaSet",
            "/metadata/annotations/deployment.kubernetes.io~1revision-history",
            Always,
            "deployment-controller",
        ),
        (
            "apps",
            "ReplicaSet",
            "/metadata/annotations/deployment.kubernetes.io~1desired-replicas",
            Always,
            "deployment-controller",
        ),
        (
            "apps",
            "ReplicaSet",
            "/metadata/annotations/deployment.kubernetes.io~1max-replicas",
            Always,
            "deployment-controller",
        ),
        ("apps", "ReplicaSet", "/spec/replicas", Null, "an autoscaler, through the subresource scale"),
        ("apps", "StatefulSet", "/spec/replicas", Null, "an autoscaler, through the subresource scale"),
        (
            "apps",
            "StatefulSet",
            "/spec/volumeClaimTemplates/*/status",
            Always,
            "nobody: it is that of a claim",
        ),
        ("", "ReplicationController", "/spec/replicas", Null, "an autoscaler, through the subresource scale"),
        (
            "apps",
            "DaemonSet",
            "/metadata/annotations/deprecated.daemonset.template.generation",
            Always,
            "the API server",
        ),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            "/metadata/annotations/autoscaling.alpha.kubernetes.io~1conditions",
            Always,
            "the API server",
        ),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            "/metadata/annotations/autoscaling.alpha.kubernetes.io~1current-metrics",
            Always,
            "the API server",
        ),
        (
            "",
            "Endpoints",
            "/metadata/annotations/endpoints.kubernetes.io~1last-change-trigger-time",
            Always,
            "endpoint-controller",
        ),
        (
            "discovery.k8s.io",
            "EndpointSlice",
            "/metadata/annotations/endpoints.kubernetes.io~1last-change-trigger-time",
            Always,
            "endpointslice-controller",
        ),
        ("certificates.k8s.io", "CertificateSigningRequest", "/spec/username", Always, "the API server"),
        ("certificates.k8s.io", "CertificateSigningRequest", "/spec/uid", Always, "the API server"),
        ("certificates.k8s.io", "CertificateSigningRequest", "/spec/groups", Always, "the API server"),
        ("certificates.k8s.io", "CertificateSigningRequest", "/spec/extra", Always, "the API server"),
        ("coordination.k8s.io", "Lease", "/spec/holderIdentity", Always, "whoever holds the lease"),
        ("coordination.k8s.io", "Lease", "/spec/acquireTime", Always, "whoever holds the lease"),
        ("coordination.k8s.io", "Lease", "/spec/renewTime", Always, "whoever holds the lease"),
        ("coordination.k8s.io", "Lease", "/spec/leaseTransitions", Always, "whoever holds the lease"),
    ]
};

/// Annotations that have a certificate injected, whatever Git has in its place.
const INJECTED: [&str; 5] = [
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
    "certmanager.k8s.io/inject-ca-from",
    "service.beta.openshift.io/inject-cabundle",
];

/// Takes out of a manifest what controllers own by definition.
pub fn leave_to_controllers(manifest: &mut Value) {
    let text = |field: &str| manifest.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, _) = split_api_version(&api_version);
    for (of_group, of_kind, field, when, _) in TABLE {
        let every = of_kind.is_empty() && (*field != "/status" || is_built_in_group(group));
        if !every && (*of_group, *of_kind) != (group, &*kind) {
            continue;
        }
        let leaves = values_that_go(*when, manifest);
        if let Some(path) = tokens(field) {
            take_out(manifest, &path, &leaves);
        }
    }
}

/// Which values of a field go, in this manifest.
fn values_that_go(when: When, manifest: &Value) -> Box<dyn Fn(&Value) -> bool> {
    let all = |goes: bool| -> Box<dyn Fn(&Value) -> bool> { Box::new(move |_| goes) };
    match when {
        When::Always => all(true),
        When::Empty => Box::new(is_empty),
        When::Null => Box::new(Value::is_null),
        When::NoBundle if is_injected(manifest) => all(true),
        When::NoBundle => Box::new(is_no_certificate),
        When::Aggregated => all(manifest.get("aggregationRule").is_some_and(|rule| !rule.is_null())),
        When::GeneratedSelector => all(manifest.pointer("/spec/manualSelector") != Some(&Value::Bool(true))),
        When::TokenSecret => all(manifest["type"] == "kubernetes.io/service-account-token"),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(map) => map.values().all(is_empty),
        Value::Bool(_) => false,
    }
}

fn is_injected(manifest: &Value) -> bool {
    let annotations = manifest.pointer("/metadata/annotations").and_then(Value::as_object);
    annotations.is_some_and(|annotations| INJECTED.iter().any(|name| annotations.contains_key(*name)))
}

/// Charts fill the place of a certificate with an encoded line end, which no server would accept alone.
fn is_no_certificate(value: &Value) -> bool {
    let encoded: String = value.as_str().unwrap_or_default().split_whitespace().collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
    value.is_null() || decoded.is_ok_and(|bytes| bytes.trim_ascii().is_empty())
}

fn take_out(value: &mut Value, path: &[String], goes: &dyn Fn(&Value) -> bool) {
    match (value, path) {
        (Value::Object(map), [last]) if map.get(last).is_some_and(goes) => {
            map.remove(last);
        }
        (Value::Object(map), [first, rest @ ..]) => {
            if let Some(inner) = map.get_mut(first) {
                take_out(inner, rest, goes);
            }
        }
        (Value::Array(items), [all, rest @ ..]) if all == "*" => {
            items.iter_mut().for_each(|item| take_out(item, rest, goes));
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "tests/controllers.rs"]
mod tests;

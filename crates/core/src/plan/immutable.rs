//! Fields that an API server refuses to change.
//!
//! Source: the `ValidateXUpdate` functions of Kubernetes' `pkg/apis/*/validation` and of apiextensions.

use serde_json::Value;

use crate::model::object::ObjectKey;

enum Rule {
    /// These fields, by JSON pointer, once they are set.
    Fields(&'static [&'static str]),
    /// Everything below `spec` but these.
    SpecBut(&'static [&'static str]),
    /// What a function finds.
    Found(fn(&Value, &Value) -> Vec<String>),
}

const RULES: [(&str, &str, Rule); 21] = [
    ("apps", "Deployment", Rule::Fields(&["/spec/selector"])),
    ("apps", "DaemonSet", Rule::Fields(&["/spec/selector"])),
    ("apps", "ReplicaSet", Rule::Fields(&["/spec/selector"])),
    (
        "apps",
        "StatefulSet",
        Rule::SpecBut(&[
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ]),
    ),
    ("batch", "Job", Rule::Found(job)),
    ("", "Pod", Rule::Found(pod)),
    ("", "Service", Rule::Found(service)),
    ("", "PersistentVolumeClaim", Rule::Found(volume_claim)),
    ("", "ConfigMap", Rule::Found(sealed)),
    ("", "Secret", Rule::Found(secret)),
    ("rbac.authorization.k8s.io", "RoleBinding", Rule::Fields(&["/roleRef"])),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", Rule::Fields(&["/roleRef"])),
    (
        "storage.k8s.io",
        "StorageClass",
        Rule::Fields(&["/provisioner", "/parameters", "/reclaimPolicy", "/volumeBindingMode"]),
    ),
    ("storage.k8s.io", "VolumeAttachment", Rule::SpecBut(&[])),
    ("scheduling.k8s.io", "PriorityClass", Rule::Fields(&["/value", "/preemptionPolicy"])),
    ("node.k8s.io", "RuntimeClass", Rule::Fields(&["/handler"])),
    ("networking.k8s.io", "IngressClass", Rule::Fields(&["/spec/controller"])),
    ("discovery.k8s.io", "EndpointSlice", Rule::Fields(&["/addressType"])),
    ("certificates.k8s.io", "CertificateSigningRequest", Rule::SpecBut(&[])),
    ("", "PersistentVolume", Rule::Fields(&["/spec/volumeMode", "/spec/csi", "/spec/nfs", "/spec/local"])),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        Rule::Fields(&["/spec/group", "/spec/scope", "/spec/names/kind", "/spec/names/plural"]),
    ),
];

/// The immutable fields, by JSON pointer, that differ between two manifests of one object. Only the fields that
/// both sides know can be judged: a field that a manifest leaves out has the server's default.
pub fn immutable_changes(key: &ObjectKey, old: &Value, new: &Value) -> Vec<String> {
    let rule = RULES.iter().find(|(group, kind, _)| key.is(group, kind)).map(|(_, _, rule)| rule);
    match rule {
        None => Vec::new(),
        Some(Rule::Fields(fields)) => differing(old, new, fields.iter().copied()),
        Some(Rule::SpecBut(mutable)) => spec_but(old, new, mutable),
        Some(Rule::Found(find)) => find(old, new),
    }
}

fn differing<'a>(old: &Value, new: &Value, fields: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let differs = |field: &&str| match (old.pointer(field), new.pointer(field)) {
        (Some(old), Some(new)) => old != new,
        _ => false,
    };
    fields.into_iter().filter(differs).map(str::to_owned).collect()
}

fn spec_but(old: &Value, new: &Value, mutable: &[&str]) -> Vec<String> {
    let fields = new.get("spec").and_then(Value::as_object).into_iter().flatten();
    let fields = fields.map(|(name, _)| name).filter(|name| !mutable.contains(&name.as_str()));
    let pointers: Vec<String> = fields.map(|name| format!("/spec/{name}")).collect();
    differing(old, new, pointers.iter().map(String::as_str))
}

/// `completions` of an indexed job may change together with `parallelism`.
fn job(old: &Value, new: &Value) -> Vec<String> {
    let indexed = new.pointer("/spec/completionMode").and_then(Value::as_str) == Some("Indexed");
    let fields = [
        "/spec/selector",
        "/spec/template",
        "/spec/completionMode",
        "/spec/podFailurePolicy",
        "/spec/successPolicy",
        "/spec/managedBy",
        "/spec/completions",
    ];
    differing(old, new, fields.into_iter().filter(|f| !(indexed && *f == "/spec/completions")))
}

/// Of a pod's spec only images and a few numbers may change.
fn pod(old: &Value, new: &Value) -> Vec<String> {
    let without_images = |pod: &Value| {
        let mut pod = pod.clone();
        for list in ["/spec/containers", "/spec/initContainers"] {
            for container in pod.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(container) = container.as_object_mut() {
                    container.remove("image");
                }
            }
        }
        pod
    };
    let mutable =
        ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates"];
    spec_but(&without_images(old), &without_images(new), &mutable)
}

/// An address of a service stays, unless the service points elsewhere by name.
fn service(old: &Value, new: &Value) -> Vec<String> {
    let text = |value: &Value, field| value.pointer(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let external = [old, new].iter().any(|side| text(side, "/spec/type") == "ExternalName");
    let (before, after) = (text(old, "/spec/clusterIP"), text(new, "/spec/clusterIP"));
    let changed = !external && !after.is_empty() && before != after;
    if changed { vec!["/spec/clusterIP".to_owned()] } else { Vec::new() }
}

/// A claim may ask for more.
fn volume_claim(old: &Value, new: &Value) -> Vec<String> {
    let mut found = spec_but(old, new, &["resources", "volumeAttributesClassName"]);
    found.extend(differing(old, new, ["/spec/resources/limits"]));
    found
}

/// ConfigMaps and Secrets that say `immutable: true`.
fn sealed(old: &Value, new: &Value) -> Vec<String> {
    if old.get("immutable") != Some(&Value::Bool(true)) {
        return Vec::new();
    }
    let fields = ["data", "binaryData", "stringData", "immutable"];
    let differs = fields.iter().filter(|field| old.get(**field) != new.get(**field));
    differs.map(|field| format!("/{field}")).collect()
}

fn secret(old: &Value, new: &Value) -> Vec<String> {
    let mut found = sealed(old, new);
    found.extend(differing(old, new, ["/type"]));
    found
}

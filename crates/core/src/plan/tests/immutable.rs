//! Fields that an API server refuses to change.

use super::*;
use crate::plan::immutable_changes;

/// `before` and `after` are the bodies without names.
fn row(kind: &str, before: Value, after: Value, expected: &[&str]) {
    assert_eq!(
        immutable_changes(&key(&format!("{kind} a/b")), &before, &after),
        expected,
        "{kind} {before} {after}"
    );
}

#[test]
fn workloads() {
    let spec = |spec: Value| json!({"spec": spec});
    let selector =
        |app: &str| spec(json!({"selector": {"matchLabels": {"app": app}}, "replicas": app.len()}));
    for kind in ["Deployment.apps", "DaemonSet.apps", "ReplicaSet.apps"] {
        row(kind, selector("a"), selector("bb"), &["/spec/selector"]);
        row(kind, spec(json!({"replicas": 1})), spec(json!({"replicas": 2})), &[]);
    }
    row("Deployment.example.com", selector("a"), selector("b"), &[]);
    row(
        "StatefulSet.apps",
        spec(json!({"serviceName": "a", "replicas": 1, "template": 1, "podManagementPolicy": "Parallel"})),
        spec(
            json!({"serviceName": "b", "replicas": 2, "template": 2, "updateStrategy": {}, "podManagementPolicy": "OrderedReady"}),
        ),
        &["/spec/podManagementPolicy", "/spec/serviceName"],
    );
    row(
        "Job.batch",
        spec(json!({"template": 1, "parallelism": 1})),
        spec(json!({"template": 2, "parallelism": 2})),
        &["/spec/template"],
    );
    row(
        "Job.batch",
        spec(json!({"completions": 1})),
        spec(json!({"completions": 2})),
        &["/spec/completions"],
    );
    row(
        "Job.batch",
        spec(json!({"completions": 1})),
        spec(json!({"completions": 2, "completionMode": "Indexed"})),
        &[],
    );
    let pod = |image: &str, node: &str| {
        spec(json!({"containers": [{"name": "a", "image": image}], "nodeName": node}))
    };
    row("Pod", pod("a", "n"), pod("b", "n"), &[]);
    row("Pod", pod("a", "n"), pod("b", "m"), &["/spec/nodeName"]);
}

#[test]
fn addresses_and_volumes() {
    let service = |kind: &str, ip: &str| json!({"spec": {"type": kind, "clusterIP": ip}});
    row("Service", service("ClusterIP", "10.0.0.1"), service("ClusterIP", "10.0.0.2"), &["/spec/clusterIP"]);
    row("Service", json!({"spec": {}}), service("ClusterIP", "None"), &["/spec/clusterIP"]);
    row("Service", service("ClusterIP", "None"), json!({"spec": {}}), &[]);
    row("Service", service("ExternalName", ""), service("ClusterIP", "10.0.0.2"), &[]);
    let claim = |class: &str, size: &str| json!({"spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}});
    row("PersistentVolumeClaim", claim("a", "1Gi"), claim("a", "2Gi"), &[]);
    row("PersistentVolumeClaim", claim("a", "1Gi"), claim("b", "1Gi"), &["/spec/storageClassName"]);
    row(
        "StorageClass.storage.k8s.io",
        json!({"provisioner": "a", "allowVolumeExpansion": false}),
        json!({"provisioner": "b", "allowVolumeExpansion": true}),
        &["/provisioner"],
    );
}

#[test]
fn sealed_data_and_references() {
    let data = |immutable: bool, value: &str| json!({"immutable": immutable, "data": {"k": value}});
    row("ConfigMap", data(false, "a"), data(true, "b"), &[]);
    row("ConfigMap", data(true, "a"), data(true, "b"), &["/data"]);
    row("Secret", data(true, "a"), data(false, "a"), &["/immutable"]);
    row("Secret", json!({"type": "Opaque"}), json!({"type": "kubernetes.io/tls"}), &["/type"]);
    for kind in ["RoleBinding.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io"] {
        row(
            kind,
            json!({"roleRef": {"name": "a"}}),
            json!({"roleRef": {"name": "b"}, "subjects": []}),
            &["/roleRef"],
        );
    }
    let crd =
        |scope: &str, kind: &str| json!({"spec": {"group": "x.y", "scope": scope, "names": {"kind": kind}}});
    row(
        "CustomResourceDefinition.apiextensions.k8s.io",
        crd("Cluster", "A"),
        crd("Namespaced", "B"),
        &["/spec/scope", "/spec/names/kind"],
    );
}

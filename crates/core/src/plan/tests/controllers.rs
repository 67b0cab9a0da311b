use serde_json::{Value, json};

use super::*;

fn left(mut manifest: Value) -> Value {
    leave_to_controllers(&mut manifest);
    manifest
}

/// Before, and what is sent; a name of what it shows.
#[allow(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<(&'static str, Value, Value)> {
    let of = |api_version: &str, kind: &str, rest: Value| {
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
        for (field, value) in rest.as_object().unwrap() {
            object[field] = value.clone();
        }
        object
    };
    let rbac = "rbac.authorization.k8s.io/v1";
    let webhooks = "admissionregistration.k8s.io/v1";
    let rule = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    let same = |name, object: Value| (name, object.clone(), object);
    vec![
        (
            "rules of an aggregated role",
            of(rbac, "ClusterRole", json!({"aggregationRule": rule, "rules": [{"verbs": ["get"]}]})),
            of(rbac, "ClusterRole", json!({"aggregationRule": rule})),
        ),
        same("rules of a role", of(rbac, "ClusterRole", json!({"rules": [], "aggregationRule": null}))),
        same("rules of a Role", of(rbac, "Role", json!({"rules": [], "aggregationRule": {}}))),
        (
            "what a Service is given",
            of(
                "v1",
                "Service",
                json!({"spec": {"clusterIP": "", "clusterIPs": [""], "healthCheckNodePort": 0, "ports": [{"port": 1, "nodePort": 0}, {"port": 2, "nodePort": 30000}]}}),
            ),
            of("v1", "Service", json!({"spec": {"ports": [{"port": 1}, {"port": 2, "nodePort": 30000}]}})),
        ),
        same(
            "what a Service asks for",
            of("v1", "Service", json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"], "ports": []}})),
        ),
        (
            "the volume of a claim",
            of(
                "v1",
                "PersistentVolumeClaim",
                json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes", "a": "b"}}, "spec": {"volumeName": null}}),
            ),
            of("v1", "PersistentVolumeClaim", json!({"metadata": {"annotations": {"a": "b"}}, "spec": {}})),
        ),
        same(
            "a claim on one volume",
            of("v1", "PersistentVolumeClaim", json!({"spec": {"volumeName": "one"}})),
        ),
        (
            "the claim of a volume",
            of(
                "v1",
                "PersistentVolume",
                json!({"spec": {"claimRef": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1"}}}),
            ),
            of("v1", "PersistentVolume", json!({"spec": {"claimRef": {"name": "a", "namespace": "b"}}})),
        ),
        (
            "placeholders of certificates",
            of(
                webhooks,
                "ValidatingWebhookConfiguration",
                json!({"webhooks": [{"name": "a", "clientConfig": {"caBundle": "Cg=="}}, {"name": "b", "clientConfig": {"caBundle": ""}}, {"name": "c", "clientConfig": {"caBundle": null}}, {"name": "d", "clientConfig": {"caBundle": "YWJj"}}]}),
            ),
            of(
                webhooks,
                "ValidatingWebhookConfiguration",
                json!({"webhooks": [{"name": "a", "clientConfig": {}}, {"name": "b", "clientConfig": {}}, {"name": "c", "clientConfig": {}}, {"name": "d", "clientConfig": {"caBundle": "YWJj"}}]}),
            ),
        ),
        (
            "an injected certificate",
            of(
                webhooks,
                "MutatingWebhookConfiguration",
                json!({"metadata": {"annotations": {"cert-manager.io/inject-ca-from": "a/b"}}, "webhooks": [{"clientConfig": {"caBundle": "YWJj"}}]}),
            ),
            of(
                webhooks,
                "MutatingWebhookConfiguration",
                json!({"metadata": {"annotations": {"cert-manager.io/inject-ca-from": "a/b"}}, "webhooks": [{"clientConfig": {}}]}),
            ),
        ),
        (
            "a conversion's certificate",
            of(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"caBundle": "Cg=="}}}}, "status": {"storedVersions": []}}),
            ),
            of(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {}}}}}),
            ),
        ),
        (
            "an API service's certificate",
            of("apiregistration.k8s.io/v1", "APIService", json!({"spec": {"caBundle": "", "group": "g"}})),
            of("apiregistration.k8s.io/v1", "APIService", json!({"spec": {"group": "g"}})),
        ),
        (
            "a token",
            of(
                "v1",
                "Secret",
                json!({"type": "kubernetes.io/service-account-token", "data": {"token": "a", "ca.crt": "b", "namespace": "c", "more": "d"}}),
            ),
            of("v1", "Secret", json!({"type": "kubernetes.io/service-account-token", "data": {"more": "d"}})),
        ),
        same("data called token", of("v1", "Secret", json!({"type": "Opaque", "data": {"token": "a"}}))),
        (
            "a Job's selector",
            of(
                "batch/v1",
                "Job",
                json!({"spec": {"selector": {"matchLabels": {}}, "template": {"metadata": {"labels": {"controller-uid": "u", "job-name": "x", "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "x", "app": "x"}}}}}),
            ),
            of("batch/v1", "Job", json!({"spec": {"template": {"metadata": {"labels": {"app": "x"}}}}})),
        ),
        same(
            "a Job's own selector",
            of(
                "batch/v1",
                "Job",
                json!({"spec": {"manualSelector": true, "selector": {}, "template": {"metadata": {"labels": {"job-name": "x"}}}}}),
            ),
        ),
        (
            "a Deployment as it was exported",
            of(
                "apps/v1",
                "Deployment",
                json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "3", "kubectl.kubernetes.io/last-applied-configuration": "{}"}}, "spec": {"replicas": null}, "status": {"replicas": 1}}),
            ),
            of("apps/v1", "Deployment", json!({"metadata": {"annotations": {}}, "spec": {}})),
        ),
        same("no replicas", of("apps/v1", "Deployment", json!({"spec": {"replicas": 0}}))),
        (
            "a namespace's finalizers",
            of(
                "v1",
                "Namespace",
                json!({"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}),
            ),
            of("v1", "Namespace", json!({"spec": {}})),
        ),
        same("a custom resource's status", of("example.com/v1", "Widget", json!({"status": {"a": 1}}))),
        same(
            "what is of another type than expected",
            of("v1", "Service", json!({"spec": {"ports": {"*": {"nodePort": "x"}}, "clusterIP": true}})),
        ),
    ]
}

#[test]
fn what_controllers_own_is_not_sent() {
    for (name, before, after) in cases() {
        assert_eq!(left(before), after, "{name}");
    }
}

#[test]
fn the_table_is_well_formed() {
    for (group, kind, field, _, owner) in TABLE {
        assert!(tokens(field).is_some() && !owner.is_empty(), "{group} {kind} {field}");
        assert!(kind.is_empty() || is_built_in_group(group), "{group} {kind}");
    }
    assert_eq!(left(json!(null)), json!(null));
    assert_eq!(left(json!({"apiVersion": 1, "kind": []})), json!({"apiVersion": 1, "kind": []}));
}

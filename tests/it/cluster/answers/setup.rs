//! What must stand in a cluster before it gives the answers that are wanted.

use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use super::server::{GROUP, Server};

/// A namespace for each thing that stands in a namespace's way.
pub const NAMESPACES: [&str; 6] = ["plain", "ending", "full", "bounded", "limited", "restricted"];

/// Paths of the webhook server, each called for the namespace of its name.
pub const WEBHOOKS: [(&str, &str); 12] = [
    ("deny-400", "deny/400"),
    ("deny-401", "deny/401"),
    ("deny-403", "deny/403"),
    ("deny-404", "deny/404"),
    ("deny-409", "deny/409"),
    ("deny-429", "deny/429"),
    ("deny-500", "deny/500"),
    ("deny-503", "deny/503"),
    ("hook-timeout", "webhook/timeout"),
    ("hook-nonsense", "webhook/nonsense"),
    ("hook-uid", "webhook/uid"),
    ("hook-error", "webhook/error"),
];

/// Webhooks that can't be called at all: nobody listens, and a certificate that nobody trusts.
pub const DEAD: [&str; 2] = ["hook-down", "hook-untrusted"];

/// Policies that deny with a reason of their own, each in the namespace of its name.
pub const POLICIES: [(&str, &str, &str); 5] = [
    ("policy-default", "", "false"),
    ("policy-forbidden", "Forbidden", "false"),
    ("policy-large", "RequestEntityTooLarge", "false"),
    ("policy-error", "", "object.data.nothing == 'x'"),
    ("policy-params", "", "params.data.a == 'x'"),
];

/// Makes an object; one that is there already is left.
async fn create(client: &kube::Client, path: &str, object: Value) {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(object.to_string().into_bytes()))
        .unwrap();
    let code = client.send(request).await.unwrap().status().as_u16();
    assert!(code == 201 || code == 409, "{code} {path} {object}");
}

/// Asks until it works: some objects need others that take effect by and by.
async fn patch(client: &kube::Client, path: &str, kind: &str, object: &Value) {
    let mut last = String::new();
    for _ in 0..40 {
        let request = http::Request::patch(path)
            .header("content-type", kind)
            .body(Body::from(object.to_string().into_bytes()))
            .unwrap();
        let answer = client.send(request).await.unwrap();
        if answer.status().is_success() {
            return;
        }
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        last = String::from_utf8_lossy(&body).into_owned();
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("{path} {object}: {last}");
}

async fn apply(client: &kube::Client, path: &str, object: Value) {
    patch(client, &format!("{path}?fieldManager=setup&force=true"), "application/apply-patch+yaml", &object)
        .await;
}

pub async fn run(client: &kube::Client, server: &Server) {
    let hooks = WEBHOOKS.iter().map(|(name, _)| *name).chain(DEAD).chain(["deny-delete", "hook-patch"]);
    let policies = POLICIES.iter().map(|(name, ..)| *name);
    for name in NAMESPACES.into_iter().chain(hooks).chain(policies) {
        let labels = match name {
            "restricted" => json!({"pod-security.kubernetes.io/enforce": "restricted"}),
            _ => json!({}),
        };
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        create(client, "/api/v1/namespaces", namespace).await;
    }
    objects(client).await;
    limits(client).await;
    definitions(client).await;
    rights(client).await;
    // Last: from here on some writes are refused.
    policies_and_hooks(client, server).await;
    borrowed(client, server).await;
    let end = http::Request::delete("/api/v1/namespaces/ending").body(Body::empty()).unwrap();
    assert!(client.send(end).await.unwrap().status().is_success());
    let end = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/fadings.answers.example.com";
    let end = http::Request::delete(end).body(Body::empty()).unwrap();
    assert!(client.send(end).await.unwrap().status().is_success());
    let mut crd = kiln("dead", true);
    crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/convert"}}});
    apply(client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/deads.answers.example.com", crd)
        .await;
}

/// Objects whose fields can't be changed, or that others own.
async fn objects(client: &kube::Client) {
    let plain = |kind: &str, api: &str, name: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "plain"}});
    let with = |mut object: Value, field: &str, value: Value| {
        object[field] = value;
        object
    };
    let core = "/api/v1/namespaces/plain";
    let map = with(plain("ConfigMap", "v1", "there"), "data", json!({"a": "1"}));
    apply(client, &format!("{core}/configmaps/there"), map).await;
    let map = with(plain("ConfigMap", "v1", "fixed"), "immutable", json!(true));
    apply(client, &format!("{core}/configmaps/fixed"), map).await;
    let secret = with(plain("Secret", "v1", "typed"), "type", json!("Opaque"));
    apply(client, &format!("{core}/secrets/typed"), secret).await;
    let service = json!({"type": "NodePort", "selector": {"a": "b"}, "clusterIP": "10.0.7.7",
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 31_777}]});
    let service = with(plain("Service", "v1", "web"), "spec", service);
    apply(client, &format!("{core}/services/web"), service).await;
    let claim = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "one", "resources": {"requests": {"storage": "1Gi"}}});
    let claim = with(plain("PersistentVolumeClaim", "v1", "disk"), "spec", claim);
    apply(client, &format!("{core}/persistentvolumeclaims/disk"), claim).await;
    let pod = json!({"containers": [{"name": "c", "image": "example.com/i"}], "automountServiceAccountToken": false});
    apply(client, &format!("{core}/pods/one"), with(plain("Pod", "v1", "one"), "spec", pod)).await;
    let template = super::cases::template();
    let selector = json!({"matchLabels": {"a": "b"}});
    let spec = json!({"replicas": 1, "selector": selector, "template": template});
    let apps = "/apis/apps/v1/namespaces/plain";
    let deployment = with(plain("Deployment", "apps/v1", "web"), "spec", spec.clone());
    apply(client, &format!("{apps}/deployments/web"), deployment).await;
    let mut set = with(plain("StatefulSet", "apps/v1", "db"), "spec", spec);
    set["spec"]["serviceName"] = json!("db");
    apply(client, &format!("{apps}/statefulsets/db"), set).await;
    let mut once = template.clone();
    once["spec"]["restartPolicy"] = json!("Never");
    let job = with(plain("Job", "batch/v1", "once"), "spec", json!({"template": once}));
    apply(client, "/apis/batch/v1/namespaces/plain/jobs/once", job).await;
    let binding = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    let binding = with(plain("RoleBinding", "rbac.authorization.k8s.io/v1", "readers"), "roleRef", binding);
    apply(client, "/apis/rbac.authorization.k8s.io/v1/namespaces/plain/rolebindings/readers", binding).await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "one"}, "provisioner": "example.com/a"});
    apply(client, "/apis/storage.k8s.io/v1/storageclasses/one", class).await;
    let priority = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "one"}, "value": 7});
    apply(client, "/apis/scheduling.k8s.io/v1/priorityclasses/one", priority).await;
}

async fn limits(client: &kube::Client) {
    let quota = |namespace: &str, hard: Value| json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": hard}});
    for (namespace, hard) in
        [("full", json!({"count/configmaps": "1"})), ("bounded", json!({"requests.cpu": "1"}))]
    {
        let path = format!("/api/v1/namespaces/{namespace}/resourcequotas/q");
        apply(client, &path, quota(namespace, hard.clone())).await;
        // There is no controller that counts.
        let used =
            if namespace == "full" { json!({"count/configmaps": "1"}) } else { json!({"requests.cpu": "0"}) };
        let status = json!({"status": {"hard": hard, "used": used}});
        patch(client, &format!("{path}/status"), "application/merge-patch+json", &status).await;
    }
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l", "namespace": "limited"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}});
    apply(client, "/api/v1/namespaces/limited/limitranges/l", range).await;
}

/// `kilns.answers.example.com`, or another name; with a second version that is stored.
pub fn kiln(singular: &str, two: bool) -> Value {
    let kind = format!("{}{}", singular[..1].to_uppercase(), &singular[1..]);
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
        "required": ["heat"],
        "x-kubernetes-validations": [
            {"rule": "self.heat < 1300", "message": "too hot"},
            {"rule": "!has(oldSelf.wall) || self.wall == oldSelf.wall", "message": "wall is immutable"}],
        "properties": {
            "heat": {"type": "integer"},
            "wall": {"type": "string"},
            "glaze": {"type": "string", "enum": ["clear", "matt"]},
            "note": {"type": "string"},
            "shelves": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}}}}}});
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema});
    let versions =
        if two { json!([version("v1", false), version("v2", true)]) } else { json!([version("v1", true)]) };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.answers.example.com")},
        "spec": {"group": "answers.example.com", "scope": "Namespaced",
            "names": {"kind": kind, "singular": singular, "plural": format!("{singular}s"), "listKind": format!("{kind}List")},
            "versions": versions}})
}

async fn definitions(client: &kube::Client) {
    for (singular, two) in [("kiln", false), ("dead", true), ("fading", false)] {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        apply(client, &format!("{path}/{singular}s.answers.example.com"), kiln(singular, two)).await;
        let (kind, version) = match singular {
            "dead" => ("Dead", "v2"),
            "fading" => ("Fading", "v1"),
            _ => ("Kiln", "v1"),
        };
        let object = json!({"apiVersion": format!("answers.example.com/{version}"), "kind": kind,
            "metadata": {"name": "one", "namespace": "plain", "finalizers": ["example.com/stay"]}, "spec": {"heat": 900, "wall": "brick"}});
        let path = format!("/apis/answers.example.com/{version}/namespaces/plain/{singular}s/one");
        apply(client, &path, object).await;
    }
}

async fn rights(client: &kube::Client) {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "clerk"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"],
                "verbs": ["get", "create", "patch", "update"]}]});
    apply(client, &format!("{rbac}/clusterroles/clerk"), role).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "clerk"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "clerk"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "clerk"}]});
    apply(client, &format!("{rbac}/clusterrolebindings/clerk"), binding).await;
    // Who gets no turn keeps his one seat busy himself: see `Clients::keep_busy`.
    let slow = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "slow", "namespace": "hook-timeout"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "queued"}]});
    apply(client, &format!("{rbac}/namespaces/hook-timeout/rolebindings/slow"), slow).await;
    let flow = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let level = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "nothing"}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0,
            "lendablePercent": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}}});
    apply(client, &format!("{flow}/prioritylevelconfigurations/nothing"), level).await;
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "queued"},
        "spec": {"priorityLevelConfiguration": {"name": "nothing"}, "matchingPrecedence": 2,
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "queued"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}]}]}});
    apply(client, &format!("{flow}/flowschemas/queued"), schema).await;
}

fn hook(name: &str, config: Value, operations: &[&str]) -> Value {
    json!({"name": format!("{name}.answers.example.com"), "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail", "timeoutSeconds": 1, "clientConfig": config,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": ["configmaps"]}]})
}

async fn policies_and_hooks(client: &kube::Client, server: &Server) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "deny-delete"}});
    apply(client, "/api/v1/namespaces/deny-delete/configmaps/kept", map).await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let writes = ["CREATE", "UPDATE"];
    let mut hooks: Vec<Value> =
        WEBHOOKS.iter().map(|(name, path)| hook(name, server.client_config(path), &writes)).collect();
    hooks.push(hook("hook-down", json!({"url": "https://127.0.0.1:1/"}), &writes));
    hooks.push(hook(
        "hook-untrusted",
        json!({"url": format!("https://127.0.0.1:{}/webhook/allow", server.port)}),
        &writes,
    ));
    hooks.push(hook("deny-delete", server.client_config("deny/403"), &["DELETE"]));
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "answers"}, "webhooks": hooks});
    apply(client, &format!("{admission}/validatingwebhookconfigurations/answers"), configuration).await;
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "answers"}, "webhooks": [hook("hook-patch", server.client_config("webhook/patch"), &writes)]});
    apply(client, &format!("{admission}/mutatingwebhookconfigurations/answers"), configuration).await;
    for (name, reason, expression) in POLICIES {
        let mut validation = json!({"expression": expression, "message": "not on a Friday"});
        if !reason.is_empty() {
            validation["reason"] = json!(reason);
        }
        let mut policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name}, "spec": {"failurePolicy": "Fail", "validations": [validation],
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                    "operations": writes, "resources": ["configmaps"]}]}}});
        let mut binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}}});
        if name == "policy-params" {
            policy["spec"]["paramKind"] = json!({"apiVersion": "v1", "kind": "ConfigMap"});
            binding["spec"]["paramRef"] =
                json!({"name": "missing", "namespace": "plain", "parameterNotFoundAction": "Deny"});
        }
        apply(client, &format!("{admission}/validatingadmissionpolicies/{name}"), policy).await;
        apply(client, &format!("{admission}/validatingadmissionpolicybindings/{name}"), binding).await;
    }
}

/// Two aggregated API servers: the test's own, and one that nobody runs.
async fn borrowed(client: &kube::Client, server: &Server) {
    let service = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "plain"}, "spec": spec});
    let port = server.port;
    let spec = json!({"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]});
    apply(client, "/api/v1/namespaces/plain/services/borrowed", service("borrowed", spec)).await;
    let spec = json!({"ports": [{"port": 443}], "selector": {"a": "nobody"}});
    apply(client, "/api/v1/namespaces/plain/services/away", service("away", spec)).await;
    for (group, name, port) in [(GROUP, "borrowed", port), ("away.answers.example.com", "away", 443)] {
        let object = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("v1.{group}")},
            "spec": {"group": group, "version": "v1", "groupPriorityMinimum": 1_000, "versionPriority": 15,
                "insecureSkipTLSVerify": true, "service": {"name": name, "namespace": "plain", "port": port}}});
        apply(client, &format!("/apis/apiregistration.k8s.io/v1/apiservices/v1.{group}"), object).await;
    }
}

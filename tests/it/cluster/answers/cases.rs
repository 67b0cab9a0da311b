//! The requests, and how their answers are to be judged.

use fairlead_cluster::answers::Verdict::{self, Again, Cluster, Commit, Person};
use serde_json::{Value, json};

use super::server::GROUP;
use super::setup::{DEAD, POLICIES, WEBHOOKS};
use super::{Case, Who};

const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const SCHEMA: &str = "does not fit the schema";

/// The pod template of every workload here.
pub fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "example.com/i"}]}})
}

fn case(name: &'static str, method: &'static str, path: &str, body: String, expected: Expected) -> Case {
    let (path, content_type) = (path.to_owned(), JSON);
    Case { name, who: Who::Admin, method, path, content_type, accept: JSON, body, expected }
}

type Expected = (u16, &'static str, Verdict);

fn get(name: &'static str, path: &str, expected: Expected) -> Case {
    case(name, "GET", path, String::new(), expected)
}

fn post(name: &'static str, path: &str, body: &Value, expected: Expected) -> Case {
    case(name, "POST", path, body.to_string(), expected)
}

fn delete(name: &'static str, path: &str, options: &Value, expected: Expected) -> Case {
    case(name, "DELETE", path, options.to_string(), expected)
}

/// A server-side apply as a worker sends it.
fn apply(name: &'static str, path: &str, body: &Value, expected: Expected) -> Case {
    let path = format!("{path}?fieldManager=answers&force=true&fieldValidation=Strict");
    Case { content_type: APPLY, ..case(name, "PATCH", &path, body.to_string(), expected) }
}

fn by(who: Who, case: Case) -> Case {
    Case { who, ..case }
}

/// Path and body of an object in a namespace.
fn object(api: &str, kind: &str, namespace: &str, name: &str, fields: Value) -> (String, Value) {
    let prefix = if api.contains('/') { format!("/apis/{api}") } else { format!("/api/{api}") };
    let place = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
    let plural = match kind {
        "Ingress" => "ingresses".to_owned(),
        "NetworkPolicy" => "networkpolicies".to_owned(),
        kind if kind.ends_with("Class") => format!("{}es", kind.to_lowercase()),
        kind if kind.ends_with("Policy") => format!("{}ies", kind.to_lowercase().trim_end_matches('y')),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let mut body = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        body["metadata"]["namespace"] = json!(namespace);
    }
    for (field, value) in fields.as_object().into_iter().flatten() {
        match (field.as_str(), value.as_object()) {
            ("metadata", Some(more)) => more.iter().for_each(|(k, v)| body["metadata"][k] = v.clone()),
            _ => body[field] = value.clone(),
        }
    }
    (format!("{prefix}{place}/{plural}/{name}"), body)
}

/// An apply of such an object.
fn applied(
    name: &'static str,
    (api, kind, namespace, object_name): (&str, &str, &str, &str),
    fields: Value,
    expected: Expected,
) -> Case {
    let (path, body) = object(api, kind, namespace, object_name, fields);
    apply(name, &path, &body, expected)
}

fn map(name: &'static str, namespace: &str, fields: Value, expected: Expected) -> Case {
    applied(name, ("v1", "ConfigMap", namespace, "new-{try}"), fields, expected)
}

fn plain(name: &'static str, api: &str, kind: &str, fields: Value, expected: Expected) -> Case {
    applied(name, (api, kind, "plain", "new"), fields, expected)
}

fn deployment(name: &'static str, change: impl Fn(&mut Value), expected: Expected) -> Case {
    let mut spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template()});
    change(&mut spec);
    plain(name, "apps/v1", "Deployment", json!({"spec": spec}), expected)
}

fn pod(name: &'static str, namespace: &str, spec: Value, expected: Expected) -> Case {
    let mut whole = json!({"containers": [{"name": "c", "image": "example.com/i"}]});
    spec.as_object().into_iter().flatten().for_each(|(field, value)| whole[field] = value.clone());
    applied(name, ("v1", "Pod", namespace, "new"), json!({"spec": whole}), expected)
}

fn kiln(name: &'static str, spec: Value, expected: Expected) -> Case {
    plain(name, "answers.example.com/v1", "Kiln", json!({"spec": spec}), expected)
}

pub fn all() -> Vec<Case> {
    [
        schemas(),
        sizes(),
        values(),
        immutables(),
        custom(),
        requests(),
        conflicts(),
        missing(),
        rights(),
        limits(),
        admission(),
        servers(),
        reads(),
    ]
    .concat()
}

fn schemas() -> Vec<Case> {
    let no = (500, SCHEMA, Commit);
    vec![
        deployment("text for a number", |spec| spec["replicas"] = json!("2"), no),
        deployment("a mistyped field", |spec| spec["replica"] = json!(2), no),
        deployment(
            "equal env names",
            |spec| {
                let env = json!([{"name": "A", "value": "x"}, {"name": "A", "value": "y"}]);
                spec["template"]["spec"]["containers"][0]["env"] = env;
            },
            no,
        ),
        deployment("a list for a map", |spec| spec["selector"] = json!(["a"]), no),
        deployment("a map for a list", |spec| spec["template"]["spec"]["containers"] = json!({"c": {}}), no),
        deployment(
            "a field deep down",
            |spec| spec["template"]["spec"]["containers"][0]["imagee"] = json!("x"),
            no,
        ),
        deployment(
            "a list item without its key",
            |spec| spec["template"]["spec"]["containers"] = json!([{"image": "x"}]),
            (422, "invalid", Commit),
        ),
        deployment(
            "a quantity that is none",
            |spec| spec["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "one"}}),
            no,
        ),
        map("a number for a text", "plain", json!({"data": {"a": 1}}), no),
        map("an unknown field at the top", "plain", json!({"dat": {"a": "1"}}), no),
        map("labels that are no map", "plain", json!({"metadata": {"labels": "a"}}), no),
        map("a label that is a number", "plain", json!({"metadata": {"labels": {"a": 1}}}), no),
        map(
            "an annotation that is a truth value",
            "plain",
            json!({"metadata": {"annotations": {"a": true}}}),
            no,
        ),
        map("binary data that is no base64", "plain", json!({"binaryData": {"a": "?"}}), no),
        plain("a Secret's data that is no base64", "v1", "Secret", json!({"data": {"a": "?"}}), no),
        plain(
            "equal ports",
            "v1",
            "Service",
            json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "TCP"}]}}),
            no,
        ),
        plain("a truth value for a port", "v1", "Service", json!({"spec": {"ports": [{"port": true}]}}), no),
        plain(
            "a time that is none",
            "coordination.k8s.io/v1",
            "Lease",
            json!({"spec": {"renewTime": "soon"}}),
            no,
        ),
        plain(
            "a number too large for its field",
            "v1",
            "Service",
            json!({"spec": {"ports": [{"port": 99_999_999_999_i64}]}}),
            (422, "invalid", Commit),
        ),
        plain(
            "a status that is a text",
            "apps/v1",
            "DaemonSet",
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template()}, "status": "new"}),
            no,
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let text = |size: usize| "x".repeat(size);
    vec![
        map(
            "a ConfigMap of more than 1 MiB",
            "plain",
            json!({"data": {"a": text((1 << 20) + 1)}}),
            (422, "invalid", Commit),
        ),
        plain(
            "a Secret of more than 1 MiB",
            "v1",
            "Secret",
            json!({"stringData": {"a": text((1 << 20) + 1)}}),
            (422, "invalid", Commit),
        ),
        map(
            "annotations of more than 256 KiB",
            "plain",
            json!({"metadata": {"annotations": {"a": text(300 << 10)}}}),
            (422, "invalid", Commit),
        ),
        kiln(
            "more than etcd takes",
            json!({"heat": 1, "note": text(1_600_000)}),
            (500, "too large to store", Commit),
        ),
        kiln(
            "more than is sent to etcd",
            json!({"heat": 1, "note": text(2_300_000)}),
            (500, "too large to store", Commit),
        ),
        kiln(
            "more than a request may hold",
            json!({"heat": 1, "note": text(3 << 20)}),
            (413, "too large to send", Commit),
        ),
    ]
}

/// What validation refuses.
#[allow(clippy::too_many_lines, reason = "a table")]
fn values() -> Vec<Case> {
    let no = (422, "invalid", Commit);
    let named = |name, kind: &str, api: &str, object_name: &str| {
        applied(name, (api, kind, "plain", object_name), json!({}), no)
    };
    let meta = |name, metadata: Value| map(name, "plain", json!({"metadata": metadata}), no);
    let owner = |controller: bool| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "there", "uid": "1", "controller": controller});
    vec![
        named("a name in capitals", "ConfigMap", "v1", "New"),
        named("a name too long", "ConfigMap", "v1", &"n".repeat(254)),
        named("a Service's name that begins with a digit", "Service", "v1", "1web"),
        meta("a label's value with spaces", json!({"labels": {"a": "b c"}})),
        meta("a label's value too long", json!({"labels": {"a": "b".repeat(64)}})),
        meta("a label's key with spaces", json!({"labels": {"a b": "c"}})),
        meta("an annotation's key with two slashes", json!({"annotations": {"a/b/c": "d"}})),
        meta("a finalizer without a domain", json!({"finalizers": ["mine"]})),
        meta(
            "an owner without a uid",
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "there", "uid": ""}]}),
        ),
        meta(
            "two controllers",
            json!({"ownerReferences": [owner(true), {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "2", "controller": true}]}),
        ),
        deployment("fewer than no replicas", |spec| spec["replicas"] = json!(-1), no),
        deployment(
            "a selector that finds nothing",
            |spec| spec["selector"]["matchLabels"]["a"] = json!("c"),
            no,
        ),
        deployment("no containers", |spec| spec["template"]["spec"]["containers"] = json!([]), no),
        deployment(
            "an unknown restart policy",
            |spec| spec["template"]["spec"]["restartPolicy"] = json!("Never"),
            no,
        ),
        deployment(
            "a volume that is not there",
            |spec| {
                spec["template"]["spec"]["containers"][0]["volumeMounts"] =
                    json!([{"name": "v", "mountPath": "/v"}])
            },
            no,
        ),
        plain("a port too high", "v1", "Service", json!({"spec": {"ports": [{"port": 70_000}]}}), no),
        plain(
            "a node port that is taken",
            "v1",
            "Service",
            json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 31_777}]}}),
            no,
        ),
        plain(
            "an address that is taken",
            "v1",
            "Service",
            json!({"spec": {"clusterIP": "10.0.7.7", "ports": [{"port": 80}]}}),
            no,
        ),
        plain(
            "an address out of range",
            "v1",
            "Service",
            json!({"spec": {"clusterIP": "192.168.0.1", "ports": [{"port": 80}]}}),
            no,
        ),
        plain(
            "a path without a type",
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"rules": [{"http": {"paths": [{"path": "/", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}}),
            no,
        ),
        plain(
            "a schedule that is none",
            "batch/v1",
            "CronJob",
            json!({"spec": {"schedule": "now", "jobTemplate": {"spec": {"template": template()}}}}),
            no,
        ),
        plain(
            "two budgets at once",
            "policy/v1",
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": 1, "maxUnavailable": 1, "selector": {}}}),
            no,
        ),
        plain(
            "a block that is no CIDR",
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]}}),
            no,
        ),
        plain(
            "more at least than at most",
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"spec": {"minReplicas": 5, "maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}),
            no,
        ),
        plain(
            "a rule without verbs",
            "rbac.authorization.k8s.io/v1",
            "Role",
            json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": []}]}),
            no,
        ),
        plain(
            "a claim for nothing",
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {}}}),
            no,
        ),
        applied(
            "a definition whose name does not fit",
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "kilns.example.com"),
            json!({"spec": super::setup::kiln("kiln", false)["spec"]}),
            no,
        ),
        applied(
            "a definition without a schema",
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "vats.answers.example.com"),
            json!({"spec": {"group": "answers.example.com", "scope": "Namespaced", "names": {"kind": "Vat", "plural": "vats"},
                "versions": [{"name": "v1", "served": true, "storage": true}]}}),
            no,
        ),
        applied(
            "a policy whose expression can't be read",
            ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "", "broken"),
            json!({"spec": {"validations": [{"expression": "object.("}], "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}}}),
            no,
        ),
        applied(
            "a webhook without side effects said",
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "broken"),
            json!({"webhooks": [{"name": "a.example.com", "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1"}}]}),
            no,
        ),
    ]
}

fn immutables() -> Vec<Case> {
    let no = (422, "immutable", Commit);
    let there = |name, (api, kind, object_name): (&str, &str, &str), fields: Value| {
        let namespace = if kind.ends_with("Class") || kind.ends_with("Definition") { "" } else { "plain" };
        applied(name, (api, kind, namespace, object_name), fields, no)
    };
    let spec = |change: fn(&mut Value)| {
        let mut spec = json!({"selector": {"matchLabels": {"a": "c"}}, "template": template()});
        spec["template"]["metadata"]["labels"] = json!({"a": "c"});
        change(&mut spec);
        json!({"spec": spec})
    };
    let mut job = template();
    job["spec"]["restartPolicy"] = json!("Never");
    job["spec"]["containers"][0]["image"] = json!("example.com/other");
    let mut cluster_wide = super::setup::kiln("kiln", false)["spec"].clone();
    cluster_wide["scope"] = json!("Cluster");
    vec![
        there("a Deployment's selector", ("apps/v1", "Deployment", "web"), spec(|_| {})),
        there(
            "a StatefulSet's service",
            ("apps/v1", "StatefulSet", "db"),
            spec(|spec| {
                spec["serviceName"] = json!("other");
                spec["selector"]["matchLabels"]["a"] = json!("b");
                spec["template"]["metadata"]["labels"]["a"] = json!("b");
            }),
        ),
        there(
            "a Service's address",
            ("v1", "Service", "web"),
            json!({"spec": {"clusterIP": "10.0.7.8", "ports": [{"port": 80, "protocol": "TCP"}]}}),
        ),
        there(
            "a binding's role",
            ("rbac.authorization.k8s.io/v1", "RoleBinding", "readers"),
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}}),
        ),
        there("an immutable ConfigMap", ("v1", "ConfigMap", "fixed"), json!({"data": {"a": "2"}})),
        there("a Secret's type", ("v1", "Secret", "typed"), json!({"type": "example.com/other"})),
        there("a Job's template", ("batch/v1", "Job", "once"), json!({"spec": {"template": job}})),
        there(
            "a claim's class",
            ("v1", "PersistentVolumeClaim", "disk"),
            json!({"spec": {"storageClassName": "two"}}),
        ),
        there(
            "a Pod's command",
            ("v1", "Pod", "one"),
            json!({"spec": {"containers": [{"name": "c", "image": "example.com/i", "command": ["x"]}]}}),
        ),
        there(
            "a storage class's provisioner",
            ("storage.k8s.io/v1", "StorageClass", "one"),
            json!({"provisioner": "example.com/b"}),
        ),
        there("a priority's value", ("scheduling.k8s.io/v1", "PriorityClass", "one"), json!({"value": 8})),
        there(
            "a definition's scope",
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "kilns.answers.example.com"),
            json!({"spec": cluster_wide}),
        ),
        applied(
            "a custom field by a rule",
            ("answers.example.com/v1", "Kiln", "plain", "one"),
            json!({"spec": {"heat": 900, "wall": "steel"}}),
            no,
        ),
    ]
}

fn custom() -> Vec<Case> {
    let (schema, no) = ((500, SCHEMA, Commit), (422, "invalid", Commit));
    vec![
        kiln("a custom text for a number", json!({"heat": "900"}), schema),
        kiln("an unknown custom field", json!({"heat": 900, "heet": 1}), schema),
        kiln(
            "equal names of custom items",
            json!({"heat": 900, "shelves": [{"name": "a"}, {"name": "a"}]}),
            schema,
        ),
        kiln("a custom item without its name", json!({"heat": 900, "shelves": [{}]}), schema),
        kiln("a custom rule", json!({"heat": 2_000}), no),
        kiln("a value that is not in the list", json!({"heat": 900, "glaze": "pink"}), no),
        kiln("a required custom field", json!({"wall": "brick"}), no),
        post(
            "a custom text for a number, created",
            "/apis/answers.example.com/v1/namespaces/plain/kilns",
            &object("answers.example.com/v1", "Kiln", "plain", "new", json!({"spec": {"heat": "9"}})).1,
            no,
        ),
    ]
}

/// Requests that don't fit together.
#[allow(clippy::too_many_lines, reason = "a table")]
fn requests() -> Vec<Case> {
    let no = (400, "bad request", Commit);
    let (path, body) = object("v1", "ConfigMap", "plain", "new", json!({}));
    let with = |pointer: &str, value: Value| {
        let mut body = body.clone();
        if let Some(field) = body.pointer_mut(pointer) {
            *field = value;
        }
        body
    };
    let raw = |name, content_type, text: &str, expected| Case {
        content_type,
        body: text.to_owned(),
        ..apply(name, &path, &body, expected)
    };
    vec![
        apply("another namespace", &path, &with("/metadata/namespace", json!("full")), no),
        apply("another name", &path, &with("/metadata/name", json!("other")), no),
        apply("another kind", &path, &with("/kind", json!("Secret")), no),
        apply("another version", &path, &with("/apiVersion", json!("v2")), no),
        raw("a body that can't be read", APPLY, "{", no),
        raw("a body that is a list", APPLY, "[]", no),
        raw("a body in an unknown form", "text/plain", "x", (415, "other refusal", Commit)),
        Case {
            path: path.clone(),
            ..apply("an apply without a manager", "", &body, (422, "invalid", Commit))
        },
        post(
            "a version in what is created",
            "/api/v1/namespaces/plain/configmaps",
            &with("/metadata", json!({"name": "new", "resourceVersion": "1"})),
            (500, "server error", Cluster),
        ),
        post(
            "a field twice, created strictly",
            "/api/v1/namespaces/plain/configmaps?fieldValidation=Strict",
            &with("/metadata", json!({"name": "new", "nam": "x"})),
            no,
        ),
        apply(
            "managed fields in an apply",
            &path,
            &with("/metadata", json!({"name": "new", "managedFields": [{"manager": "x"}]})),
            no,
        ),
        Case {
            content_type: "application/merge-patch+json",
            ..case(
                "a patch without a body",
                "PATCH",
                "/api/v1/namespaces/plain/configmaps/there",
                "x".into(),
                no,
            )
        },
        Case {
            content_type: "application/json-patch+json",
            ..case(
                "a patch of what is not there",
                "PATCH",
                "/api/v1/namespaces/plain/configmaps/there",
                r#"[{"op":"remove","path":"/data/none"}]"#.into(),
                (422, "invalid", Commit),
            )
        },
        case(
            "a method that is not allowed",
            "PUT",
            "/api/v1/namespaces/plain/configmaps",
            body.to_string(),
            (405, "method not allowed", Commit),
        ),
        plain(
            "a kind that is only created",
            "authorization.k8s.io/v1",
            "LocalSubjectAccessReview",
            json!({}),
            (404, "no such resource", Again),
        ),
        delete(
            "an unknown way of deleting",
            "/api/v1/namespaces/plain/configmaps/there",
            &json!({"propagationPolicy": "Sideways"}),
            (422, "invalid", Commit),
        ),
    ]
}

fn conflicts() -> Vec<Case> {
    let core = "/api/v1/namespaces/plain/configmaps";
    let there = |metadata: Value, data: &str| {
        object("v1", "ConfigMap", "plain", "there", json!({"metadata": metadata, "data": {"a": data}})).1
    };
    let stale = (409, "changed or there already", Again);
    let path = format!("{core}/there?fieldManager=answers&fieldValidation=Strict");
    vec![
        Case {
            content_type: APPLY,
            ..case(
                "a field of another manager",
                "PATCH",
                &path,
                there(json!({}), "9").to_string(),
                (409, "field conflict", Person),
            )
        },
        apply(
            "an old version, applied",
            &format!("{core}/there"),
            &there(json!({"resourceVersion": "1"}), "1"),
            stale,
        ),
        apply(
            "another uid, applied",
            &format!("{core}/there"),
            &there(json!({"uid": "1"}), "1"),
            (422, "another object of the name", Again),
        ),
        apply(
            "a version of what is not there",
            &format!("{core}/new"),
            &object("v1", "ConfigMap", "plain", "new", json!({"metadata": {"resourceVersion": "1"}})).1,
            stale,
        ),
        post("what is there already", core, &there(json!({}), "1"), stale),
        case(
            "an old version, replaced",
            "PUT",
            &format!("{core}/there"),
            there(json!({"resourceVersion": "1"}), "1").to_string(),
            stale,
        ),
        delete(
            "another uid, deleted",
            &format!("{core}/there"),
            &json!({"preconditions": {"uid": "1"}}),
            stale,
        ),
        delete(
            "an old version, deleted",
            &format!("{core}/there"),
            &json!({"preconditions": {"resourceVersion": "1"}}),
            stale,
        ),
    ]
}

fn missing() -> Vec<Case> {
    let gone = (404, "not found", Again);
    let none = (404, "no such resource", Again);
    vec![
        get("an object that is not there", "/api/v1/namespaces/plain/configmaps/none", gone),
        delete(
            "a deletion of what is not there",
            "/api/v1/namespaces/plain/configmaps/none",
            &json!({}),
            gone,
        ),
        case(
            "a replacement of what is not there",
            "PUT",
            "/api/v1/namespaces/plain/configmaps/none",
            object("v1", "ConfigMap", "plain", "none", json!({"metadata": {"resourceVersion": "1"}}))
                .1
                .to_string(),
            gone,
        ),
        map("a namespace that is not there", "nowhere", json!({}), (404, "namespace missing", Again)),
        post(
            "a namespace that is not there, created",
            "/api/v1/namespaces/nowhere/configmaps",
            &object("v1", "ConfigMap", "nowhere", "new", json!({})).1,
            (404, "namespace missing", Again),
        ),
        map(
            "a namespace that is being deleted",
            "ending",
            json!({}),
            (403, "namespace terminating", Cluster),
        ),
        plain("an unknown kind", "v1", "Unicorn", json!({}), none),
        plain("an unknown group", "unicorns.example.com/v1", "Unicorn", json!({}), none),
        plain("a version that is not served", "apps/v1beta1", "Deployment", json!({}), none),
        plain("a custom version that is not served", "answers.example.com/v9", "Kiln", json!({}), none),
        plain(
            "a kind whose definition is being deleted",
            "answers.example.com/v1",
            "Fading",
            json!({"spec": {"heat": 1}}),
            (403, "definition of the kind terminating", Cluster),
        ),
        get("a list of an unknown kind", "/apis/answers.example.com/v1/unicorns?limit=1", none),
        by(
            Who::Clerk,
            plain(
                "a binding to a role that is not there",
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "none"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "x"}]}),
                gone,
            ),
        ),
    ]
}

fn rights() -> Vec<Case> {
    let no = (403, "right missing", Person);
    let role = |rules: Value| json!({"rules": rules});
    vec![
        by(Who::Clerk, map("an apply without the right", "plain", json!({}), no)),
        by(Who::Clerk, get("a list without the right", "/api/v1/secrets?limit=1", no)),
        by(Who::Clerk, get("a watch without the right", "/api/v1/secrets?watch=1&timeoutSeconds=1", no)),
        by(
            Who::Clerk,
            delete(
                "a deletion without the right",
                "/api/v1/namespaces/plain/configmaps/there",
                &json!({}),
                no,
            ),
        ),
        by(
            Who::Clerk,
            applied("a namespace without the right", ("v1", "Namespace", "", "new"), json!({}), no),
        ),
        by(
            Who::Clerk,
            plain(
                "a role beyond one's own rights",
                "rbac.authorization.k8s.io/v1",
                "Role",
                role(json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}])),
                (403, "right to grant missing", Person),
            ),
        ),
        by(
            Who::Clerk,
            plain(
                "a binding beyond one's own rights",
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": []}),
                (403, "right to grant missing", Person),
            ),
        ),
        by(
            Who::Nobody,
            map(
                "credentials that are not accepted",
                "plain",
                json!({}),
                (401, "credentials not accepted", Cluster),
            ),
        ),
        by(
            Who::Nobody,
            get(
                "a list with such credentials",
                "/api/v1/configmaps?limit=1",
                (401, "credentials not accepted", Cluster),
            ),
        ),
        delete(
            "a namespace that may not go",
            "/api/v1/namespaces/default",
            &json!({}),
            (403, "forbidden", Commit),
        ),
    ]
}

fn limits() -> Vec<Case> {
    let (no, quota) = ((403, "forbidden", Commit), (403, "quota or limit", Commit));
    let memory = json!({"containers": [{"name": "c", "image": "example.com/i", "resources": {"limits": {"memory": "1Gi"}}}]});
    vec![
        map("a quota that is used up", "full", json!({}), quota),
        pod("a quota without a request", "bounded", json!({}), quota),
        pod("more than a limit range allows", "limited", memory, quota),
        pod("a pod that a security standard forbids", "restricted", json!({"hostNetwork": true}), no),
        pod("a priority that is not there", "plain", json!({"priorityClassName": "none"}), no),
        pod("a runtime that is not there", "plain", json!({"runtimeClassName": "none"}), no),
        // A write is too quick to be refused on every machine: the one seat that a level without shares has is free again.
        by(
            Who::Queued,
            get("no turn for a list", "/api/v1/configmaps?limit=1", (429, "too many requests", Cluster)),
        ),
    ]
}

fn admission() -> Vec<Case> {
    let called = "admission webhook can't be called";
    let mut cases = Vec::new();
    for (namespace, path) in WEBHOOKS {
        let expected = match path.strip_prefix("deny/") {
            Some(code) => (code.parse().unwrap(), "admission webhook denies", Commit),
            None => (500, called, Cluster),
        };
        cases.push(map(namespace, namespace, json!({}), expected));
    }
    for namespace in DEAD {
        cases.push(map(namespace, namespace, json!({}), (500, called, Cluster)));
    }
    cases.push(map(
        "hook-patch",
        "hook-patch",
        json!({}),
        (500, "admission webhook's patch does not fit", Cluster),
    ));
    cases.push(delete(
        "a deletion that a webhook denies",
        "/api/v1/namespaces/deny-delete/configmaps/kept",
        &json!({}),
        (403, "admission webhook denies", Commit),
    ));
    for (namespace, reason, _) in POLICIES {
        let expected = match reason {
            "Forbidden" => (403, "admission policy denies", Commit),
            "RequestEntityTooLarge" => (413, "admission policy denies", Commit),
            _ if namespace == "policy-params" => (422, "policy can't be evaluated", Person),
            _ => (422, "admission policy denies", Commit),
        };
        cases.push(map(namespace, namespace, json!({}), expected));
    }
    cases
}

/// Conversion webhooks and aggregated API servers that are away, or say what they like.
fn servers() -> Vec<Case> {
    let convert = (500, "conversion webhook can't be called", Cluster);
    let away = "away.answers.example.com/v1";
    let down = (503, "aggregated API server down", Cluster);
    let dead = |name, expected| {
        applied(
            name,
            ("answers.example.com/v1", "Dead", "plain", "one"),
            json!({"spec": {"heat": 1}}),
            expected,
        )
    };
    let code = |name, code: u16, rule, verdict| {
        get(name, &format!("/apis/{GROUP}/v1/code{code}?limit=1"), (code, rule, verdict))
    };
    vec![
        dead("an apply before a dead conversion", convert),
        get(
            "a read before a dead conversion",
            "/apis/answers.example.com/v1/namespaces/plain/deads/one",
            convert,
        ),
        get("a list before a dead conversion", "/apis/answers.example.com/v1/deads?limit=9", convert),
        get(
            "a list from a cache that can't be filled",
            "/apis/answers.example.com/v1/deads?resourceVersion=0",
            (429, "storage of a kind initializing", Cluster),
        ),
        plain("an apply to an aggregated server that is away", away, "Boat", json!({}), down),
        get("a list from such a server", &format!("/apis/{away}/boats?limit=1"), down),
        code("an aggregated server that takes no credentials", 401, "credentials not accepted", Cluster),
        code("an aggregated server's own error", 500, "server error", Cluster),
        code("an aggregated server's own conflict", 409, "changed or there already", Again),
    ]
}

fn reads() -> Vec<Case> {
    let no = (400, "bad request", Commit);
    let maps = "/api/v1/configmaps";
    vec![
        get(
            "a watch from a forgotten version",
            "/apis/answers.example.com/v1/kilns?watch=1&resourceVersion=1&timeoutSeconds=2",
            (410, "version forgotten", Again),
        ),
        get(
            "a version of the future",
            &format!("{maps}?limit=1&resourceVersion=999999999&resourceVersionMatch=NotOlderThan"),
            (504, "gateway", Cluster),
        ),
        get("a version that is no number", &format!("{maps}?limit=1&resourceVersion=abc"), no),
        get("a selector that can't be read", &format!("{maps}?labelSelector=%3D%3D"), no),
        get("a token that can't be read", &format!("{maps}?limit=1&continue=abc"), no),
        get(
            "a selector of fields that are not there",
            &format!("{maps}?limit=1&fieldSelector=spec.x%3Dy"),
            no,
        ),
        Case {
            accept: "text/html",
            ..get(
                "a form that is not spoken",
                &format!("{maps}?limit=1"),
                (406, "form of answer unknown", Person),
            )
        },
    ]
}

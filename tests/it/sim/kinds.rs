//! The kinds whose objects random sequences write: what each needs, and what may be added to it.

use serde_json::{Value, json};

/// One kind.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
    /// Whether it has a status that random sequences write.
    pub status: Option<&'static str>,
    /// Without it the server takes no new object.
    pub core: &'static str,
    /// What different managers may want of it, valid each by itself.
    pub parts: &'static [&'static str],
}

/// What any object may have.
pub const COMMON: &[&str] = &[
    r#"{"metadata":{"labels":{"app":"a"}}}"#,
    r#"{"metadata":{"labels":{"app":"b"}}}"#,
    r#"{"metadata":{"labels":{"tier":"x"}}}"#,
    r#"{"metadata":{"annotations":{"example.com/note":"one"}}}"#,
    r#"{"metadata":{"annotations":{"example.com/note":"two","other":""}}}"#,
    r#"{"metadata":{"finalizers":["example.com/hold"]}}"#,
    r#"{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}"#,
];

const fn kind(
    (api_version, kind, plural): (&'static str, &'static str, &'static str),
    namespaced: bool,
    status: Option<&'static str>,
    core: &'static str,
    parts: &'static [&'static str],
) -> Kind {
    Kind { api_version, kind, plural, namespaced, status, core, parts }
}

/// Parts of what has a pod template.
const WORKLOAD: &[&str] = &[
    r#"{"spec":{"template":{"metadata":{"annotations":{"rolled":"1"}}}}}"#,
    r#"{"spec":{"template":{"metadata":{"labels":{"version":"2"}}}}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"example.com/main:2"}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"A","value":"1"}]}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"A","value":"2"},{"name":"B","value":"x"}]}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","ports":[{"containerPort":80}]}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","ports":[{"containerPort":80,"name":"web"},{"containerPort":53,"protocol":"UDP"}]}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"example.com/side","args":["a","b"]}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","resources":{"limits":{"cpu":"1500m","memory":"1024Mi"}}}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","readinessProbe":{"httpGet":{"path":"/","port":80}}}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","volumeMounts":[{"name":"v","mountPath":"/v"}]}],"volumes":[{"name":"v","configMap":{"name":"m"}}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"nodeSelector":{"disk":"fast"}}}}}"#,
    r#"{"spec":{"template":{"spec":{"tolerations":[{"key":"edge","operator":"Exists"}]}}}}"#,
    r#"{"spec":{"template":{"spec":{"securityContext":{"runAsNonRoot":true}}}}}"#,
    r#"{"spec":{"template":{"spec":{"serviceAccountName":"sa"}}}}"#,
];

/// Kinds that every server has.
pub const KINDS: &[Kind] = &[
    kind(
        ("v1", "ConfigMap", "configmaps"),
        true,
        None,
        "{}",
        &[
            r#"{"data":{"a":"1"}}"#,
            r#"{"data":{"a":"2","b":""}}"#,
            r#"{"data":{"c":"x"}}"#,
            r#"{"binaryData":{"bin":"AAEC"}}"#,
            r#"{"immutable":true}"#,
        ],
    ),
    kind(
        ("v1", "Secret", "secrets"),
        true,
        None,
        "{}",
        &[
            r#"{"data":{"a":"YQ=="}}"#,
            r#"{"data":{"a":"Yg==","b":"Yw=="}}"#,
            r#"{"stringData":{"plain":"text"}}"#,
            r#"{"type":"example.com/key"}"#,
            r#"{"data":{"bad":"?"}}"#,
        ],
    ),
    kind(
        ("v1", "ServiceAccount", "serviceaccounts"),
        true,
        None,
        "{}",
        &[
            r#"{"automountServiceAccountToken":false}"#,
            r#"{"imagePullSecrets":[{"name":"one"}]}"#,
            r#"{"secrets":[{"name":"one"},{"name":"two"}]}"#,
        ],
    ),
    kind(
        ("v1", "Service", "services"),
        true,
        None,
        r#"{"spec":{"ports":[{"port":80}]}}"#,
        &[
            r#"{"spec":{"selector":{"app":"a"}}}"#,
            r#"{"spec":{"selector":{"app":"b","tier":"x"}}}"#,
            r#"{"spec":{"ports":[{"name":"dns","port":53,"protocol":"UDP"},{"name":"web","port":80}]}}"#,
            r#"{"spec":{"ports":[{"name":"web","port":80,"targetPort":8080}]}}"#,
            r#"{"spec":{"sessionAffinity":"ClientIP"}}"#,
            r#"{"spec":{"clusterIP":"None"}}"#,
        ],
    ),
    kind(
        ("apps/v1", "Deployment", "deployments"),
        true,
        Some(r#"{"status":{"replicas":1,"observedGeneration":1}}"#),
        r#"{"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"main","image":"example.com/main:1"}]}}}}"#,
        &[
            r#"{"spec":{"replicas":0}}"#,
            r#"{"spec":{"replicas":3}}"#,
            r#"{"spec":{"minReadySeconds":5,"revisionHistoryLimit":2}}"#,
            r#"{"spec":{"strategy":{"type":"Recreate"}}}"#,
            r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":1}}}}"#,
            r#"{"spec":{"paused":true}}"#,
        ],
    ),
    kind(
        ("apps/v1", "StatefulSet", "statefulsets"),
        true,
        Some(r#"{"status":{"replicas":1,"observedGeneration":1}}"#),
        r#"{"spec":{"serviceName":"s","selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"main","image":"example.com/main:1"}]}}}}"#,
        &[
            r#"{"spec":{"replicas":2}}"#,
            r#"{"spec":{"podManagementPolicy":"Parallel"}}"#,
            r#"{"spec":{"updateStrategy":{"type":"OnDelete"}}}"#,
        ],
    ),
    kind(
        ("apps/v1", "DaemonSet", "daemonsets"),
        true,
        Some(
            r#"{"status":{"numberReady":1,"observedGeneration":1,"currentNumberScheduled":1,"numberMisscheduled":0,"desiredNumberScheduled":1}}"#,
        ),
        r#"{"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"main","image":"example.com/main:1"}]}}}}"#,
        &[r#"{"spec":{"minReadySeconds":1}}"#, r#"{"spec":{"updateStrategy":{"type":"OnDelete"}}}"#],
    ),
    kind(
        ("batch/v1", "CronJob", "cronjobs"),
        true,
        None,
        r#"{"spec":{"schedule":"0 3 * * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"main","image":"example.com/main:1"}]}}}}}}"#,
        &[
            r#"{"spec":{"schedule":"*/5 * * * *"}}"#,
            r#"{"spec":{"suspend":true}}"#,
            r#"{"spec":{"concurrencyPolicy":"Forbid","jobTemplate":{"spec":{"backoffLimit":1}}}}"#,
        ],
    ),
    kind(
        ("rbac.authorization.k8s.io/v1", "Role", "roles"),
        true,
        None,
        "{}",
        &[
            r#"{"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}"#,
            r#"{"rules":[{"apiGroups":["apps"],"resources":["deployments"],"verbs":["get","list"]},{"apiGroups":[""],"resources":["configmaps"],"resourceNames":["a"],"verbs":["*"]}]}"#,
        ],
    ),
    kind(
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
        true,
        None,
        r#"{"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"a"}}"#,
        &[
            r#"{"subjects":[{"kind":"ServiceAccount","name":"sa","namespace":"{ns}"}]}"#,
            r#"{"subjects":[{"kind":"User","name":"ada","apiGroup":"rbac.authorization.k8s.io"}]}"#,
            r#"{"subjects":[{"kind":"Group","name":"team"}]}"#,
            r#"{"roleRef":{"name":"b"}}"#,
        ],
    ),
    kind(
        ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"),
        false,
        None,
        "{}",
        &[
            r#"{"rules":[{"apiGroups":[""],"resources":["nodes"],"verbs":["get"]}]}"#,
            r#"{"rules":[{"nonResourceURLs":["/healthz"],"verbs":["get"]}]}"#,
        ],
    ),
    kind(
        ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
        true,
        None,
        r#"{"spec":{"podSelector":{}}}"#,
        &[
            r#"{"spec":{"podSelector":{"matchLabels":{"app":"a"}}}}"#,
            r#"{"spec":{"ingress":[{"from":[{"namespaceSelector":{}}],"ports":[{"port":80}]}]}}"#,
            r#"{"spec":{"policyTypes":["Egress"],"egress":[{"to":[{"ipBlock":{"cidr":"10.0.0.0/8"}}]}]}}"#,
        ],
    ),
    kind(
        ("networking.k8s.io/v1", "Ingress", "ingresses"),
        true,
        None,
        r#"{"spec":{"defaultBackend":{"service":{"name":"a","port":{"number":80}}}}}"#,
        &[
            r#"{"spec":{"ingressClassName":"x"}}"#,
            r#"{"spec":{"rules":[{"host":"a.example.com","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"a","port":{"name":"web"}}}}]}}]}}"#,
            r#"{"spec":{"tls":[{"hosts":["a.example.com"],"secretName":"tls"}]}}"#,
        ],
    ),
    kind(
        ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
        true,
        None,
        r#"{"spec":{"selector":{"matchLabels":{"app":"a"}}}}"#,
        &[r#"{"spec":{"minAvailable":1}}"#, r#"{"spec":{"minAvailable":"50%"}}"#],
    ),
    kind(
        ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        true,
        None,
        r#"{"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"slow","resources":{"requests":{"storage":"1Gi"}}}}"#,
        &[
            r#"{"spec":{"storageClassName":"fast"}}"#,
            r#"{"spec":{"resources":{"requests":{"storage":"2048Mi"}}}}"#,
        ],
    ),
    kind(
        ("coordination.k8s.io/v1", "Lease", "leases"),
        true,
        None,
        "{}",
        &[
            r#"{"spec":{"holderIdentity":"one","leaseDurationSeconds":30}}"#,
            r#"{"spec":{"holderIdentity":"two"}}"#,
        ],
    ),
    kind(
        ("v1", "Namespace", "namespaces"),
        false,
        None,
        "{}",
        &[r#"{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}"#],
    ),
];

/// A kind that has its parts and those of workloads.
pub fn parts(kind: &Kind) -> Vec<Value> {
    let workload = ["Deployment", "StatefulSet", "DaemonSet"].contains(&kind.kind);
    let more = if workload { WORKLOAD } else { &[] };
    kind.parts.iter().chain(more).map(|text| parse(text)).collect()
}

pub fn common() -> Vec<Value> {
    COMMON.iter().map(|text| parse(text)).collect()
}

pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The definition of a kind of the sequence's own, and the kind.
pub fn custom() -> (Value, Kind) {
    let list = |more: Value| {
        let mut list = json!({"type": "array", "items": {"type": "string"}});
        list.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        list
    };
    let port = json!({"type": "object", "required": ["port"], "properties": {
        "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "note": {"type": "string"}}});
    let ports = json!({"type": "array", "items": port, "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"]});
    let map = |kind: &str| json!({"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": kind});
    let spec = json!({"type": "object", "properties": {
        "level": {"type": "integer", "minimum": 1, "maximum": 9},
        "mode": {"type": "string", "enum": ["on", "off"], "default": "on"},
        "plain": list(json!({})),
        "tags": list(json!({"x-kubernetes-list-type": "set"})),
        "ports": ports,
        "whole": map("atomic"),
        "each": map("granular"),
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "size": {"x-kubernetes-int-or-string": true}}});
    let status = json!({"type": "object", "properties": {"ready": {"type": "boolean"}}});
    let schema = json!({"type": "object", "properties": {"spec": spec, "status": status}});
    let version = json!({"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.{ns}.example.com"},
        "spec": {"group": "{ns}.example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"}, "versions": [version]}});
    let widget = kind(
        ("{ns}.example.com/v1", "Widget", "widgets"),
        true,
        Some(r#"{"status":{"ready":true}}"#),
        "{}",
        &[
            r#"{"spec":{"level":3}}"#,
            r#"{"spec":{"level":5,"mode":"off"}}"#,
            r#"{"spec":{"level":12}}"#,
            r#"{"spec":{"plain":["a","b"]}}"#,
            r#"{"spec":{"tags":["x"]}}"#,
            r#"{"spec":{"tags":["y","z"]}}"#,
            r#"{"spec":{"ports":[{"port":80}]}}"#,
            r#"{"spec":{"ports":[{"port":80,"protocol":"UDP","note":"n"},{"port":81}]}}"#,
            r#"{"spec":{"whole":{"a":"1"}}}"#,
            r#"{"spec":{"whole":{"b":"2"}}}"#,
            r#"{"spec":{"each":{"a":"1"}}}"#,
            r#"{"spec":{"each":{"b":"2"}}}"#,
            r#"{"spec":{"free":{"any":{"thing":[1,2]}}}}"#,
            r#"{"spec":{"size":"10%"}}"#,
            r#"{"spec":{"size":7}}"#,
            r#"{"status":{"ready":false}}"#,
        ],
    );
    (definition, widget)
}

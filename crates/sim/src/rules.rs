//! What the server does with an object whoever writes it: what it resets, counts, refuses.

use serde_json::{Map, Value, json};

use super::codec;
use super::defaults::TEMPLATES;
use super::fields::FieldSet;
use super::kind::{Kind, Version};
use super::refuse::Invalid;

/// Built-in kinds whose changes are counted, and in which fields.
const COUNTED: [(&str, &str, &[&str]); 19] = [
    ("apps", "Deployment", &["/spec", "/metadata/annotations"]),
    ("apps", "StatefulSet", &["/spec"]),
    ("apps", "DaemonSet", &["/spec"]),
    ("apps", "ReplicaSet", &["/spec"]),
    ("batch", "Job", &["/spec"]),
    ("batch", "CronJob", &["/spec"]),
    ("", "Pod", &["/spec"]),
    ("networking.k8s.io", "NetworkPolicy", &["/spec"]),
    ("networking.k8s.io", "Ingress", &["/spec"]),
    ("networking.k8s.io", "IngressClass", &["/spec"]),
    ("policy", "PodDisruptionBudget", &["/spec"]),
    ("scheduling.k8s.io", "PriorityClass", &["/value"]),
    ("apiextensions.k8s.io", "CustomResourceDefinition", &["/spec"]),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", &["/webhooks"]),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", &["/webhooks"]),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", &["/spec"]),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", &["/spec"]),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", &["/spec"]),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", &["/spec"]),
];

fn counted(kind: &Kind) -> Option<&'static [&'static str]> {
    COUNTED.iter().find(|(group, name, _)| kind.is(group, name)).map(|(_, _, fields)| *fields)
}

/// Whether objects of a kind have `metadata.generation`.
pub fn has_generation(kind: &Kind) -> bool {
    kind.is_custom || counted(kind).is_some()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn bump_generation(kind: &Kind, version: &Version, live: &Value, value: &mut Value) {
    let changed = if kind.is_custom {
        let spec = |object: &Value| {
            let mut map = object.as_object().cloned().unwrap_or_default();
            map.remove("metadata");
            if version.status {
                map.remove("status");
            }
            map
        };
        spec(live) != spec(value)
    } else {
        counted(kind)
            .is_some_and(|fields| fields.iter().any(|field| live.pointer(field) != value.pointer(field)))
    };
    if kind.is("apps", "DaemonSet") {
        let number =
            live["metadata"]["annotations"][TEMPLATES].as_str().and_then(|text| text.parse::<u64>().ok());
        let more = u64::from(live["spec"]["template"] != value["spec"]["template"]);
        value["metadata"]["annotations"][TEMPLATES] = json!((number.unwrap_or_default() + more).to_string());
    }
    if changed && let Some(generation) = live.pointer("/metadata/generation").and_then(Value::as_i64) {
        value["metadata"]["generation"] = json!(generation + 1);
    }
}

/// What no writer can change.
pub fn keep_system_fields(live: &Value, value: &mut Value) {
    const FIELDS: [&str; 6] = [
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ];
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for field in FIELDS {
        set(metadata, field, live["metadata"].get(field).cloned());
    }
    metadata.remove("selfLink");
}

fn set(map: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(map.insert(field.to_owned(), value)),
        None => drop(map.remove(field)),
    }
}

/// How much of the metadata a write to `status` can't touch.
fn kept_metadata(kind: &Kind) -> &'static [&'static str] {
    match &*kind.kind {
        _ if kind.is_custom => &["metadata"],
        "CustomResourceDefinition" | "ValidatingAdmissionPolicy" => &["metadata"],
        "Deployment" => &["metadata", "labels"],
        _ => &[],
    }
}

/// The fields that a write of `subresource` resets to what they were.
pub fn reset_fields(kind: &Kind, version: &Version, subresource: &str) -> FieldSet {
    let mut set = FieldSet::default();
    match subresource {
        "status" => {
            set.insert_fields(&["spec"]);
            set.insert_fields(kept_metadata(kind));
        }
        _ if version.status => set.insert_fields(&["status"]),
        _ => {}
    }
    set
}

/// Whether a PUT makes an object that is not there.
pub fn is_made_by_update(kind: &Kind) -> bool {
    !kind.is_custom
        && (*kind.group == *"rbac.authorization.k8s.io"
            || matches!(&*kind.kind, "Lease" | "LimitRange" | "Event" | "Service"))
}

/// Whether a PUT must say which version it replaces.
pub fn must_name_version(kind: &Kind) -> bool {
    const KINDS: [&str; 5] =
        ["PodDisruptionBudget", "CSIDriver", "Lease", "CustomResourceDefinition", "APIService"];
    kind.is_custom || *kind.group == *"admissionregistration.k8s.io" || KINDS.contains(&&*kind.kind)
}

/// Puts back what a write to this place can't touch.
pub fn reset(kind: &Kind, version: &Version, subresource: &str, live: &Value, value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    match subresource {
        "status" => {
            let status = map.remove("status");
            let metadata = map.remove("metadata");
            *map = live.as_object().cloned().unwrap_or_default();
            set(map, "status", status);
            match (kept_metadata(kind), metadata) {
                (["metadata"], _) | (_, None) => {}
                (kept, Some(mut metadata)) => {
                    if let (Some(field), Some(fields)) = (kept.get(1), metadata.as_object_mut()) {
                        set(fields, field, live["metadata"].get(*field).cloned());
                    }
                    map.insert("metadata".to_owned(), metadata);
                }
            }
        }
        "finalize" => {
            let finalizers = map.get("spec").and_then(|spec| spec.get("finalizers").cloned());
            *map = live.as_object().cloned().unwrap_or_default();
            if let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut) {
                set(spec, "finalizers", finalizers);
            }
        }
        _ => {
            if version.status {
                set(map, "status", live.get("status").cloned());
            }
            if kind.is("", "Namespace") {
                set(map, "spec", live.get("spec").cloned());
            }
            if kind.is("", "Service")
                && let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut)
                && spec.get("type") == live["spec"].get("type")
            {
                // What was given out stays given, also to a writer who does not name it.
                for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                    if !spec.contains_key(field) {
                        set(spec, field, live["spec"].get(field).cloned());
                    }
                }
            }
        }
    }
}

/// Whether nobody holds an object that is to go.
pub fn is_free(kind: &Kind, value: &Value) -> bool {
    let none = |pointer: &str| value.pointer(pointer).and_then(Value::as_array).is_none_or(Vec::is_empty);
    none("/metadata/finalizers") && (!kind.is("", "Namespace") || none("/spec/finalizers"))
}

/// What a new object has that nobody wrote.
pub fn prepare_create(kind: &Kind, version: &Version, value: &mut Value, address: impl FnOnce() -> String) {
    if version.status && !kind.is("", "Node") {
        // Nobody has reported anything yet.
        let zero = version.schema.field(version.root, "status").filter(|_| !kind.is_custom);
        let zero = zero.map(|ty| codec::normalise(&version.schema, ty, json!({})).unwrap_or_default());
        if let Some(map) = value.as_object_mut() {
            set(map, "status", zero);
        }
    }
    match (&*kind.group, &*kind.kind) {
        ("", "Namespace") => {
            value["spec"] = json!({"finalizers": ["kubernetes"]});
            value["status"] = json!({"phase": "Active"});
        }
        ("", "Pod") => {
            value["status"] = json!({"phase": "Pending", "qosClass": quality(value)});
        }
        ("", "PersistentVolumeClaim") => protect(value, "kubernetes.io/pvc-protection"),
        ("", "PersistentVolume") => protect(value, "kubernetes.io/pv-protection"),
        ("", "Service") => {
            if text(value, "/spec/clusterIP").is_empty() && text(value, "/spec/type") != "ExternalName" {
                value["spec"]["clusterIP"] = json!(address());
            }
            if !text(value, "/spec/clusterIP").is_empty() {
                value["spec"]["clusterIPs"] = json!([value["spec"]["clusterIP"]]);
            }
            if text(value, "/spec/type") != "ExternalName" {
                let anywhere =
                    text(value, "/spec/clusterIP") == "None" && value["spec"].get("selector").is_none();
                let (families, policy) = if anywhere {
                    (json!(["IPv4", "IPv6"]), "RequireDualStack")
                } else {
                    (json!(["IPv4"]), "SingleStack")
                };
                value["spec"]["ipFamilies"] = families;
                value["spec"]["ipFamilyPolicy"] = json!(policy);
            }
            value["status"] = json!({"loadBalancer": {}});
        }
        ("apps", "DaemonSet") => {
            value["metadata"]["annotations"][TEMPLATES] = json!("1");
        }
        ("batch", "Job") => job_labels(value),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let versions = value["spec"]["versions"].as_array().into_iter().flatten();
            let stored =
                versions.filter(|version| version["storage"] == true).map(|version| version["name"].clone());
            value["status"]["storedVersions"] = stored.collect();
        }
        _ => {}
    }
}

/// A volume, or a claim for one, is held while it is in use.
fn protect(value: &mut Value, finalizer: &str) {
    value["status"] = json!({"phase": "Pending"});
    let list = &mut value["metadata"]["finalizers"];
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|one| one == finalizer)
    {
        list.push(json!(finalizer));
    }
}

/// How much of what a pod may use it has asked for.
fn quality(pod: &Value) -> &'static str {
    let all = pod.pointer("/spec/containers").and_then(Value::as_array);
    let resources: Vec<&Value> = all.into_iter().flatten().map(|container| &container["resources"]).collect();
    let has = |one: &Value, what: &str| one[what].as_object().is_some_and(|map| !map.is_empty());
    let guaranteed = |one: &&Value| {
        one["limits"]["cpu"].is_string()
            && one["limits"]["memory"].is_string()
            && one["limits"] == one["requests"]
    };
    if resources.iter().all(|one| !has(one, "limits") && !has(one, "requests")) {
        "BestEffort"
    } else if resources.iter().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn job_labels(job: &mut Value) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let (uid, name) = (job["metadata"]["uid"].clone(), job["metadata"]["name"].clone());
    job["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    for prefix in ["", "batch.kubernetes.io/"] {
        labels[format!("{prefix}controller-uid")] = uid.clone();
        labels[format!("{prefix}job-name")] = name.clone();
    }
}

/// What is wrong with a new object.
pub fn check_create(kind: &Kind, value: &Value) -> Vec<Invalid> {
    let mut wrong = Vec::new();
    name(kind, value, &mut wrong);
    common(kind, value, &mut wrong);
    wrong
}

fn is_dns_label(part: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edge = |b: Option<&u8>| b.is_some_and(|b| lower(*b));
    let bytes = part.as_bytes();
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|b| lower(*b) || *b == b'-')
}

fn name(kind: &Kind, value: &Value, wrong: &mut Vec<Invalid>) {
    let name = text(value, "/metadata/name");
    if name.is_empty() {
        wrong.push(Invalid::required("metadata.name", "name or generateName is required"));
        return;
    }
    let label = is_dns_label;
    let refused = match (&*kind.group, &*kind.kind) {
        ("rbac.authorization.k8s.io", _) => (name == "." || name == ".." || name.contains(['/', '%']))
            .then_some("may not contain '/' or '%'"),
        ("", "Namespace") => (!label(name) || name.len() > 63).then_some("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character"),
        ("", "Service") => (!label(name) || name.len() > 63 || name.starts_with(|c: char| c.is_ascii_digit()))
            .then_some("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character"),
        _ => (!name.split('.').all(label) || name.len() > 253).then_some("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"),
    };
    if let Some(why) = refused {
        wrong.push(Invalid::value("metadata.name", &json!(name), why));
    }
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        let expected = format!("{}.{}", text(value, "/spec/names/plural"), text(value, "/spec/group"));
        if name != expected {
            let why = "must be spec.names.plural+\".\"+spec.group";
            wrong.push(Invalid::value("metadata.name", &json!(name), why));
        }
    }
}

/// What is wrong with an object, new or old.
fn common(kind: &Kind, value: &Value, wrong: &mut Vec<Invalid>) {
    for (field, values) in [("labels", true), ("annotations", false)] {
        for (key, value) in value["metadata"][field].as_object().into_iter().flatten() {
            if !is_qualified(key) {
                let why = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
                wrong.push(Invalid::value(format!("metadata.{field}"), &json!(key), why));
            }
            if values && !value.as_str().is_some_and(is_label_value) {
                let why = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
                wrong.push(Invalid::value(format!("metadata.{field}"), value, why));
            }
        }
    }
    sizes(kind, value, wrong);
    if *kind.group == *"apps" {
        selector(kind, value, wrong);
    }
    let strategy = &value["spec"]["strategy"];
    if kind.is("apps", "Deployment")
        && strategy["type"] == "Recreate"
        && strategy["rollingUpdate"].is_object()
    {
        let why = "may not be specified when strategy `type` is 'Recreate'";
        wrong.push(Invalid::forbidden("spec.strategy.rollingUpdate", why));
    }
    let template = match (&*kind.group, &*kind.kind) {
        ("", "Pod") => Some(("spec", "")),
        ("apps", _) | ("batch", "Job") => Some(("spec.template.spec", "/spec/template")),
        ("batch", "CronJob") => {
            Some(("spec.jobTemplate.spec.template.spec", "/spec/jobTemplate/spec/template"))
        }
        _ => None,
    };
    if let Some((path, pointer)) = template {
        containers(path, value.pointer(pointer).unwrap_or(&Value::Null), wrong);
    }
    if kind.is("", "PersistentVolumeClaim") {
        let spec = &value["spec"];
        if spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
            wrong.push(Invalid::required("spec.accessModes", "at least 1 access mode is required"));
        }
        if spec["resources"]["requests"].get("storage").is_none() {
            wrong.push(Invalid::required("spec.resources[storage]", ""));
        }
    }
    if kind.is("", "Service") {
        ports(&value["spec"], wrong);
    }
    if kind.is("", "Secret") {
        for key in value["data"].as_object().into_iter().flatten().map(|(key, _)| key) {
            data_key(key, wrong);
        }
    }
    if kind.is("", "ConfigMap") {
        for field in ["data", "binaryData"] {
            value[field].as_object().into_iter().flatten().for_each(|(key, _)| data_key(key, wrong));
        }
    }
}

/// Largest content of a ConfigMap or a Secret (`MaxSecretSize` of k8s.io/kubernetes/pkg/apis/core), in bytes.
const MAX_CONTENT: usize = 1 << 20;
/// Largest annotations of an object together (`TotalAnnotationSizeLimitB` of k8s.io/apimachinery).
const MAX_ANNOTATIONS: usize = 256 << 10;

/// What is too large.
fn sizes(kind: &Kind, value: &Value, wrong: &mut Vec<Invalid>) {
    let texts = |map: &Value| -> Vec<(usize, String)> {
        let entries = map.as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.len(), value.as_str().unwrap_or_default().to_owned())).collect()
    };
    // Content in base64 counts as what it stands for.
    let decoded = |text: &str| {
        let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
        (text.len() / 4 * 3).saturating_sub(padding)
    };
    let annotations = texts(&value["metadata"]["annotations"]);
    let size: usize = annotations.iter().map(|(key, text)| key + text.len()).sum();
    if size > MAX_ANNOTATIONS {
        wrong.push(Invalid::too_long("metadata.annotations", MAX_ANNOTATIONS));
    }
    if kind.is("", "Secret") {
        let size: usize = texts(&value["data"]).iter().map(|(_, text)| decoded(text)).sum();
        if size > MAX_CONTENT {
            wrong.push(Invalid::too_long("data", MAX_CONTENT));
        }
    }
    if kind.is("", "ConfigMap") {
        let plain: usize = texts(&value["data"]).iter().map(|(_, text)| text.len()).sum();
        let binary: usize = texts(&value["binaryData"]).iter().map(|(_, text)| decoded(text)).sum();
        if plain + binary > MAX_CONTENT {
            wrong.push(Invalid::too_long("[]", MAX_CONTENT));
        }
    }
}

fn ports(spec: &Value, wrong: &mut Vec<Invalid>) {
    let all = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() && spec["type"] != "ExternalName" && spec["clusterIP"] != "None" {
        wrong.push(Invalid::required("spec.ports", ""));
    }
    for (index, port) in all.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let name = text(port, "/name");
        if name.is_empty() && all.len() > 1 {
            wrong.push(Invalid::required(format!("{field}.name"), ""));
        }
        let before = &all[..index];
        if !name.is_empty() && before.iter().any(|other| text(other, "/name") == name) {
            wrong.push(Invalid::duplicate(format!("{field}.name"), &port["name"]));
        }
        let same = |other: &Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        if before.iter().any(same) {
            wrong.push(Invalid::duplicate(field, port));
        }
    }
}

fn data_key(key: &str, wrong: &mut Vec<Invalid>) {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if key.is_empty() || key.len() > 253 || !key.chars().all(fits) || key == "." || key == ".." {
        let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        wrong.push(Invalid::value(format!("data[{key}]"), &json!(key), why));
    }
}

fn is_label_value(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.is_empty()
        || (text.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner))
}

fn is_qualified(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    !name.is_empty()
        && is_label_value(name)
        && prefix.is_none_or(|prefix| prefix.split('.').all(is_dns_label))
}

fn containers(path: &str, pod: &Value, wrong: &mut Vec<Invalid>) {
    let all =
        pod.pointer("/spec/containers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        wrong.push(Invalid::required(format!("{path}.containers"), ""));
    }
    for (index, container) in all.iter().enumerate() {
        for field in ["name", "image"] {
            if text(container, &format!("/{field}")).is_empty() {
                wrong.push(Invalid::required(format!("{path}.containers[{index}].{field}"), ""));
            }
        }
    }
}

fn selector(kind: &Kind, value: &Value, wrong: &mut Vec<Invalid>) {
    let selector = &value["spec"]["selector"];
    if !selector.is_object() && *kind.kind != *"DaemonSet" {
        wrong.push(Invalid::required("spec.selector", ""));
    }
    let labels = &value["spec"]["template"]["metadata"]["labels"];
    let fits = |(key, wanted): (&String, &Value)| labels.get(key) == Some(wanted);
    let is_empty = selector.as_object().is_some_and(Map::is_empty);
    if is_empty {
        let why = format!("empty selector is invalid for {}", kind.kind.to_lowercase());
        wrong.push(Invalid::value("spec.selector", selector, &why));
    } else if !selector.is_object() || !selector["matchLabels"].as_object().into_iter().flatten().all(fits) {
        let why = "`selector` does not match template `labels`";
        wrong.push(Invalid::value("spec.template.metadata.labels", labels, why));
    }
}

/// Fields that can't change, with the words for it.
const IMMUTABLE: [(&str, &str, &[&str]); 8] = [
    ("apps", "Deployment", &["/spec/selector"]),
    ("apps", "DaemonSet", &["/spec/selector"]),
    ("apps", "ReplicaSet", &["/spec/selector"]),
    ("batch", "Job", &["/spec/completionMode", "/spec/selector", "/spec/template"]),
    ("", "Secret", &["/type"]),
    ("networking.k8s.io", "IngressClass", &["/spec/controller"]),
    ("apiextensions.k8s.io", "CustomResourceDefinition", &["/spec/group", "/spec/scope", "/spec/names/kind"]),
    ("storage.k8s.io", "CSIDriver", &["/spec/attachRequired"]),
];

/// What is wrong with a change.
pub fn check_update(kind: &Kind, subresource: &str, live: &Value, value: &Value) -> Vec<Invalid> {
    let mut wrong = Vec::new();
    if !subresource.is_empty() || live == value {
        return wrong;
    }
    common(kind, value, &mut wrong);
    no_new_finalizers(live, value, &mut wrong);
    let fields = IMMUTABLE.iter().find(|(group, name, _)| kind.is(group, name)).map(|(_, _, fields)| *fields);
    for field in fields.into_iter().flatten() {
        if live.pointer(field) != value.pointer(field) {
            let path = field.trim_start_matches('/').replace('/', ".");
            wrong.push(Invalid::immutable(path, value.pointer(field).unwrap_or(&Value::Null)));
        }
    }
    let differs = |field: &str| live.pointer(field) != value.pointer(field);
    match (&*kind.group, &*kind.kind) {
        ("apps", "StatefulSet") => stateful_set(live, value, &mut wrong),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") if differs("/roleRef") => {
            wrong.push(Invalid::value("roleRef", &value["roleRef"], "cannot change roleRef"));
        }
        ("", "ConfigMap" | "Secret") if live["immutable"] == true => {
            for field in ["data", "binaryData", "immutable"] {
                if live.get(field) != value.get(field) {
                    wrong.push(Invalid::forbidden(field, "field is immutable when `immutable` is set"));
                }
            }
        }
        ("", "Service") if differs("/spec/clusterIP") && !text(live, "/spec/clusterIP").is_empty() => {
            let field = "spec.clusterIPs[0]";
            wrong.push(Invalid::value(field, &value["spec"]["clusterIP"], "may not change once set"));
        }
        ("", "PersistentVolumeClaim") => claim(live, value, &mut wrong),
        ("", "Pod") => pod(live, value, &mut wrong),
        ("storage.k8s.io", "StorageClass") => {
            for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
                if live.get(field) != value.get(field) {
                    wrong.push(Invalid::forbidden(field, &format!("updates to {field} are forbidden.")));
                }
            }
        }
        ("scheduling.k8s.io", "PriorityClass") if differs("/value") => {
            wrong.push(Invalid::forbidden("value", "may not be changed in an update."));
        }
        _ => {}
    }
    wrong
}

/// What is to go can't be held by anyone new.
fn no_new_finalizers(live: &Value, value: &Value, wrong: &mut Vec<Invalid>) {
    if text(live, "/metadata/deletionTimestamp").is_empty() {
        return;
    }
    let list = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let had = list(live);
    let new: Vec<String> =
        list(value).iter().filter(|one| !had.contains(one)).map(ToString::to_string).collect();
    if !new.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            new.join(", ")
        );
        wrong.push(Invalid::forbidden("metadata.finalizers", &why));
    }
}

fn without(value: &Value, fields: &[&str]) -> Map<String, Value> {
    let mut map = value.as_object().cloned().unwrap_or_default();
    fields.iter().for_each(|field| drop(map.remove(*field)));
    map
}

fn stateful_set(live: &Value, value: &Value, wrong: &mut Vec<Invalid>) {
    const FREE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if without(&live["spec"], &FREE) != without(&value["spec"], &FREE) {
        let names: Vec<String> = FREE.iter().map(|name| format!("'{name}'")).collect();
        let (last, others) = names.split_last().map(|(l, o)| (l.clone(), o.join(", "))).unwrap_or_default();
        let why =
            format!("updates to statefulset spec for fields other than {others} and {last} are forbidden");
        wrong.push(Invalid::forbidden("spec", &why));
    }
}

fn claim(live: &Value, value: &Value, wrong: &mut Vec<Invalid>) {
    const FREE: [&str; 2] = ["resources", "volumeAttributesClassName"];
    if without(&live["spec"], &FREE) != without(&value["spec"], &FREE) {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        wrong.push(Invalid::forbidden("spec", why));
    }
}

fn pod(live: &Value, value: &Value, wrong: &mut Vec<Invalid>) {
    const FREE: [&str; 5] = [
        "activeDeadlineSeconds",
        "terminationGracePeriodSeconds",
        "tolerations",
        "containers",
        "initContainers",
    ];
    let images = |pod: &Value| {
        let mut all = pod["spec"]["containers"].clone();
        for container in all.as_array_mut().into_iter().flatten() {
            container["image"] = Value::Null;
        }
        all
    };
    if without(&live["spec"], &FREE) != without(&value["spec"], &FREE) || images(live) != images(value) {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        wrong.push(Invalid::forbidden("spec", why));
    }
}

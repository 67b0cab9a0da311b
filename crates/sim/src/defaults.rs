//! Values that the server sets where a manifest is silent.

use serde_json::{Map, Value, json};

use super::kind::Kind;

/// The annotation in which the number of templates that a DaemonSet had lives on.
pub const TEMPLATES: &str = "deprecated.daemonset.template.generation";

/// Sets the defaults of a built-in kind in an object as [`codec`](super::codec) leaves it.
pub fn apply(kind: &Kind, value: &mut Value) {
    match (&*kind.group, &*kind.kind) {
        ("", "Namespace") => {
            let name = value["metadata"]["name"].clone();
            if name.is_string() {
                default(&mut value["metadata"]["labels"], "kubernetes.io/metadata.name", name);
            }
        }
        ("", "Secret") => secret(value),
        ("", "Service") => service(&mut value["spec"]),
        ("", "Pod") => {
            default(&mut value["spec"], "enableServiceLinks", json!(true));
            pod(&mut value["spec"]);
            requests(&mut value["spec"]);
        }
        ("", "PersistentVolumeClaim") => {
            default(&mut value["spec"], "volumeMode", json!("Filesystem"));
            default(&mut value["status"], "phase", json!("Pending"));
        }
        ("", "PersistentVolume") => {
            default(&mut value["spec"], "volumeMode", json!("Filesystem"));
            default(&mut value["spec"], "persistentVolumeReclaimPolicy", json!("Retain"));
        }
        ("", "LimitRange") => list(&mut value["spec"], "limits").for_each(limit),
        ("apps", "DaemonSet") => {
            workload(&kind.kind, &mut value["spec"]);
            default(&mut value["metadata"]["annotations"], TEMPLATES, json!("0"));
        }
        ("apps", _) => workload(&kind.kind, &mut value["spec"]),
        ("batch", "Job") => job(&mut value["spec"]),
        ("batch", "CronJob") => {
            let spec = &mut value["spec"];
            for (field, set) in [
                ("concurrencyPolicy", json!("Allow")),
                ("suspend", json!(false)),
                ("successfulJobsHistoryLimit", json!(3)),
                ("failedJobsHistoryLimit", json!(1)),
            ] {
                default(spec, field, set);
            }
            pod(&mut spec["jobTemplate"]["spec"]["template"]["spec"]);
        }
        ("networking.k8s.io", "NetworkPolicy") => network_policy(&mut value["spec"]),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(value),
        ("storage.k8s.io", "StorageClass") => {
            default(value, "reclaimPolicy", json!("Delete"));
            default(value, "volumeBindingMode", json!("Immediate"));
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            default(value, "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        ("autoscaling", "HorizontalPodAutoscaler") => default(&mut value["spec"], "minReplicas", json!(1)),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd(&mut value["spec"]),
        ("admissionregistration.k8s.io", name) => admission(name, value),
        _ => {}
    }
}

/// Sets a field that is not there.
fn default(map: &mut Value, field: &str, set: Value) {
    if map.is_null() {
        *map = json!({});
    }
    if let Some(map) = map.as_object_mut()
        && map.get(field).is_none_or(|there| there.is_null() || there == "")
    {
        map.insert(field.to_owned(), set);
    }
}

fn items(all: &mut Value) -> impl Iterator<Item = &mut Value> {
    all.as_array_mut().into_iter().flatten()
}

/// The items of a list in a field, if it is there.
fn list<'a>(map: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    map.get_mut(field).into_iter().flat_map(items)
}

fn some<'a>(value: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    value.pointer_mut(pointer).filter(|there| !there.is_null())
}

fn secret(value: &mut Value) {
    use base64::Engine as _;
    default(value, "type", json!("Opaque"));
    let written = value.as_object_mut().and_then(|map| map.remove("stringData"));
    let Some(Value::Object(written)) = written else { return };
    if !value["data"].is_object() {
        value["data"] = json!({});
    }
    for (key, text) in written {
        let text = text.as_str().unwrap_or_default();
        value["data"][key] = json!(base64::engine::general_purpose::STANDARD.encode(text));
    }
}

fn service(spec: &mut Value) {
    default(spec, "type", json!("ClusterIP"));
    default(spec, "sessionAffinity", json!("None"));
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    for port in list(spec, "ports") {
        default(port, "protocol", json!("TCP"));
        if matches!(port["targetPort"].as_i64(), Some(0)) || port["targetPort"] == "" {
            port["targetPort"] = port["port"].clone();
        }
    }
    if kind == "ExternalName" {
        return;
    }
    default(spec, "internalTrafficPolicy", json!("Cluster"));
    if kind == "NodePort" || kind == "LoadBalancer" {
        default(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if spec["sessionAffinity"] == "ClientIP" {
        default(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
    } else if let Some(map) = spec.as_object_mut() {
        map.remove("sessionAffinityConfig");
    }
}

fn workload(kind: &str, spec: &mut Value) {
    pod(&mut spec["template"]["spec"]);
    if kind != "DaemonSet" {
        default(spec, "replicas", json!(1));
    }
    if kind != "ReplicaSet" {
        default(spec, "revisionHistoryLimit", json!(10));
    }
    match kind {
        "Deployment" => {
            default(spec, "progressDeadlineSeconds", json!(600));
            default(&mut spec["strategy"], "type", json!("RollingUpdate"));
            if spec["strategy"]["type"] == "RollingUpdate" {
                let rolling = &mut spec["strategy"]["rollingUpdate"];
                default(rolling, "maxUnavailable", json!("25%"));
                default(rolling, "maxSurge", json!("25%"));
            }
        }
        "StatefulSet" => {
            default(spec, "podManagementPolicy", json!("OrderedReady"));
            default(&mut spec["updateStrategy"], "type", json!("RollingUpdate"));
            if spec["updateStrategy"]["type"] == "RollingUpdate" {
                let rolling = &mut spec["updateStrategy"]["rollingUpdate"];
                default(rolling, "partition", json!(0));
                default(rolling, "maxUnavailable", json!(1));
            }
            let retention = &mut spec["persistentVolumeClaimRetentionPolicy"];
            default(retention, "whenDeleted", json!("Retain"));
            default(retention, "whenScaled", json!("Retain"));
            for claim in list(spec, "volumeClaimTemplates") {
                default(claim, "apiVersion", json!("v1"));
                default(claim, "kind", json!("PersistentVolumeClaim"));
                default(&mut claim["spec"], "volumeMode", json!("Filesystem"));
                default(&mut claim["status"], "phase", json!("Pending"));
            }
        }
        "DaemonSet" => {
            default(&mut spec["updateStrategy"], "type", json!("RollingUpdate"));
            if spec["updateStrategy"]["type"] == "RollingUpdate" {
                let rolling = &mut spec["updateStrategy"]["rollingUpdate"];
                default(rolling, "maxUnavailable", json!(1));
                default(rolling, "maxSurge", json!(0));
            }
        }
        _ => {}
    }
}

fn job(spec: &mut Value) {
    pod(&mut spec["template"]["spec"]);
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        default(spec, "completions", json!(1));
    }
    for (field, set) in [
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("manualSelector", json!(false)),
    ] {
        default(spec, field, set);
    }
    let policy = if spec["podFailurePolicy"].is_object() { "Failed" } else { "TerminatingOrFailed" };
    default(spec, "podReplacementPolicy", json!(policy));
}

fn pod(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    for (field, set) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
        ("terminationGracePeriodSeconds", json!(30)),
    ] {
        default(spec, field, set);
    }
    // The old name of a field is kept beside the new one.
    if let Some(account) = spec["serviceAccountName"].as_str().map(str::to_owned) {
        spec["serviceAccount"] = json!(account);
    } else if let Some(account) = spec["serviceAccount"].as_str().map(str::to_owned) {
        spec["serviceAccountName"] = json!(account);
    }
    if let Some(map) = spec.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    let on_host = spec["hostNetwork"] == true;
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        list(spec, field).for_each(|one| container(one, on_host));
    }
    list(spec, "volumes").for_each(volume);
    if let Some(map) = spec.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}

fn container(container: &mut Value, on_host: bool) {
    default(container, "terminationMessagePath", json!("/dev/termination-log"));
    default(container, "terminationMessagePolicy", json!("File"));
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    default(container, "imagePullPolicy", json!(if latest { "Always" } else { "IfNotPresent" }));
    for port in list(container, "ports") {
        default(port, "protocol", json!("TCP"));
        if on_host {
            let number = port["containerPort"].clone();
            default(port, "hostPort", number);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(name) else { continue };
        for (field, set) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            default(probe, field, json!(set));
        }
        action(probe);
    }
    for pointer in ["/lifecycle/postStart", "/lifecycle/preStop"] {
        container.pointer_mut(pointer).into_iter().for_each(action);
    }
    for variable in list(container, "env") {
        if let Some(field) = some(variable, "/valueFrom/fieldRef") {
            default(field, "apiVersion", json!("v1"));
        }
    }
}

fn action(handler: &mut Value) {
    if let Some(get) = some(handler, "/httpGet") {
        default(get, "path", json!("/"));
        default(get, "scheme", json!("HTTP"));
    }
    if let Some(grpc) = handler.pointer_mut("/grpc").and_then(Value::as_object_mut) {
        grpc.entry("service").or_insert(json!(""));
    }
}

fn volume(volume: &mut Value) {
    let Some(map) = volume.as_object_mut() else { return };
    if map.keys().all(|name| name == "name") {
        map.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["secret", "configMap", "projected", "downwardAPI"] {
        if let Some(source) = map.get_mut(source) {
            default(source, "defaultMode", json!(420));
        }
    }
    if let Some(host) = map.get_mut("hostPath").and_then(Value::as_object_mut) {
        host.entry("type").or_insert(json!(""));
    }
    for file in volume.pointer_mut("/downwardAPI/items").into_iter().flat_map(items) {
        some(file, "/fieldRef").into_iter().for_each(|field| default(field, "apiVersion", json!("v1")));
    }
    for source in volume.pointer_mut("/projected/sources").into_iter().flat_map(items) {
        if let Some(token) = some(source, "/serviceAccountToken") {
            default(token, "expirationSeconds", json!(3600));
        }
        for file in source.pointer_mut("/downwardAPI/items").into_iter().flat_map(items) {
            some(file, "/fieldRef").into_iter().for_each(|field| default(field, "apiVersion", json!("v1")));
        }
    }
}

/// What a pod's container is limited to it also asks for.
fn requests(spec: &mut Value) {
    for field in ["containers", "initContainers"] {
        for container in list(spec, field) {
            let limits = container.pointer("/resources/limits").and_then(Value::as_object).cloned();
            for (name, limit) in limits.into_iter().flatten() {
                default(&mut container["resources"]["requests"], &name, limit);
            }
        }
    }
}

fn limit(item: &mut Value) {
    if item["type"] != "Container" {
        return;
    }
    let map = |item: &Value, name: &str| item[name].as_object().cloned().unwrap_or_default();
    let set = |item: &mut Value, name: &str, from: Map<String, Value>| {
        for (resource, value) in from {
            default(&mut item[name], &resource, value);
        }
    };
    let max = map(item, "max");
    set(item, "default", max);
    let limit = map(item, "default");
    set(item, "defaultRequest", limit);
    let min = map(item, "min");
    set(item, "defaultRequest", min);
}

fn network_policy(spec: &mut Value) {
    for field in ["ingress", "egress"] {
        for rule in list(spec, field) {
            for port in list(rule, "ports") {
                default(port, "protocol", json!("TCP"));
            }
        }
    }
    let types = if spec.get("egress").is_some() { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    default(spec, "policyTypes", types);
}

fn binding(value: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    default(&mut value["roleRef"], "apiGroup", json!(GROUP));
    for subject in list(value, "subjects") {
        if matches!(subject["kind"].as_str(), Some("User" | "Group")) {
            default(subject, "apiGroup", json!(GROUP));
        }
    }
}

fn crd(spec: &mut Value) {
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    default(&mut spec["names"], "singular", json!(kind.to_lowercase()));
    default(&mut spec["names"], "listKind", json!(format!("{kind}List")));
    default(&mut spec["conversion"], "strategy", json!("None"));
}

fn admission(kind: &str, value: &mut Value) {
    let rules = |all: &mut Value| items(all).for_each(|rule| default(rule, "scope", json!("*")));
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            for hook in list(value, "webhooks") {
                for (field, set) in [
                    ("failurePolicy", json!("Fail")),
                    ("matchPolicy", json!("Equivalent")),
                    ("namespaceSelector", json!({})),
                    ("objectSelector", json!({})),
                    ("timeoutSeconds", json!(10)),
                ] {
                    default(hook, field, set);
                }
                if kind == "MutatingWebhookConfiguration" {
                    default(hook, "reinvocationPolicy", json!("Never"));
                }
                if let Some(service) = some(hook, "/clientConfig/service") {
                    default(service, "port", json!(443));
                }
                hook.get_mut("rules").into_iter().for_each(rules);
            }
        }
        "ValidatingAdmissionPolicy" => {
            default(&mut value["spec"], "failurePolicy", json!("Fail"));
            if let Some(matching) = some(value, "/spec/matchConstraints") {
                default(matching, "matchPolicy", json!("Equivalent"));
                default(matching, "namespaceSelector", json!({}));
                default(matching, "objectSelector", json!({}));
                matching.get_mut("resourceRules").into_iter().for_each(rules);
            }
        }
        _ => {
            if let Some(matching) = some(value, "/spec/matchResources") {
                default(matching, "matchPolicy", json!("Equivalent"));
                default(matching, "namespaceSelector", json!({}));
                default(matching, "objectSelector", json!({}));
                matching.get_mut("resourceRules").into_iter().for_each(rules);
            }
        }
    }
}

//! The cells of each kind, in the order of its columns.

use serde_json::{Value, json};

use super::words::{access_modes, ago, duration, labels, list, number, or, seconds, selector, text};

/// The cells of an object of a built-in kind.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn built_in(kind: &str, object: &Value, now: i64) -> Vec<Value> {
    let name = json!(text(object, "/metadata/name"));
    let age = || json!(ago(text(object, "/metadata/creationTimestamp"), now));
    let at = |pointer: &str| json!(text(object, pointer));
    let count = |pointer: &str| json!(number(object, pointer));
    let size = |pointer: &str| object.pointer(pointer).map_or(0, length);
    match kind {
        "ConfigMap" => vec![name, json!(size("/data") + size("/binaryData")), age()],
        "Secret" => vec![name, at("/type"), json!(size("/data")), age()],
        "Namespace" => vec![name, at("/status/phase"), age()],
        "ServiceAccount" => vec![name, age()],
        "Service" => service(object, name, age()),
        "Pod" => pod(object, name, now),
        "Node" => node(object, name, age()),
        "PersistentVolumeClaim" => claim(object, name, age()),
        "PersistentVolume" => volume(object, name, age()),
        "Event" => event(object, name, now),
        "ResourceQuota" => quota(object, name, age()),
        "Deployment" => {
            let wanted = number(object, "/spec/replicas");
            let ready = format!("{}/{wanted}", number(object, "/status/readyReplicas"));
            let mut cells = vec![
                name,
                json!(ready),
                count("/status/updatedReplicas"),
                count("/status/availableReplicas"),
                age(),
            ];
            cells.extend(template(object, "/spec/template"));
            cells.push(json!(selector(object.pointer("/spec/selector"))));
            cells
        }
        "StatefulSet" => {
            let ready =
                format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas"));
            let mut cells = vec![name, json!(ready), age()];
            cells.extend(template(object, "/spec/template"));
            cells
        }
        "DaemonSet" => {
            let mut cells = vec![
                name,
                count("/status/desiredNumberScheduled"),
                count("/status/currentNumberScheduled"),
                count("/status/numberReady"),
                count("/status/updatedNumberScheduled"),
                count("/status/numberAvailable"),
                json!(labels(object.pointer("/spec/template/spec/nodeSelector"))),
                age(),
            ];
            cells.extend(template(object, "/spec/template"));
            cells.push(json!(selector(object.pointer("/spec/selector"))));
            cells
        }
        "ReplicaSet" => {
            let mut cells = vec![
                name,
                count("/spec/replicas"),
                count("/status/replicas"),
                count("/status/readyReplicas"),
                age(),
            ];
            cells.extend(template(object, "/spec/template"));
            cells.push(json!(selector(object.pointer("/spec/selector"))));
            cells
        }
        "Job" => job(object, name, now),
        "CronJob" => {
            let last = text(object, "/status/lastScheduleTime");
            let last = if last.is_empty() { "<none>".to_owned() } else { ago(last, now) };
            let mut cells = vec![
                name,
                at("/spec/schedule"),
                json!(or(text(object, "/spec/timeZone"), "<none>")),
                json!(object.pointer("/spec/suspend") == Some(&json!(true))),
                json!(size("/status/active")),
                json!(last),
                age(),
            ];
            cells.extend(template(object, "/spec/jobTemplate/spec/template"));
            cells.push(json!(selector(object.pointer("/spec/jobTemplate/spec/selector"))));
            cells
        }
        "NetworkPolicy" => vec![name, json!(selector(object.pointer("/spec/podSelector"))), age()],
        "Ingress" => ingress(object, name, age()),
        "IngressClass" => {
            let parameters = object.pointer("/spec/parameters").map(|p| {
                let group = text(p, "/apiGroup");
                let group = if group.is_empty() { String::new() } else { format!(".{group}") };
                format!("{}{group}/{}", text(p, "/kind"), text(p, "/name"))
            });
            vec![
                name,
                at("/spec/controller"),
                json!(parameters.unwrap_or_else(|| "<none>".to_owned())),
                age(),
            ]
        }
        "RoleBinding" | "ClusterRoleBinding" => binding(object, name, age()),
        "PodDisruptionBudget" => {
            let bound = |pointer: &str| match object.pointer(pointer) {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => "N/A".to_owned(),
            };
            vec![
                name,
                json!(bound("/spec/minAvailable")),
                json!(bound("/spec/maxUnavailable")),
                count("/status/disruptionsAllowed"),
                age(),
            ]
        }
        "HorizontalPodAutoscaler" => autoscaler(object, name, age()),
        "StorageClass" => {
            let default = [
                "storageclass.kubernetes.io/is-default-class",
                "storageclass.beta.kubernetes.io/is-default-class",
            ];
            let annotations = object.pointer("/metadata/annotations");
            let is_default = default.iter().any(|key| annotations.is_some_and(|all| all[*key] == "true"));
            let shown = text(object, "/metadata/name");
            let shown = if is_default { format!("{shown} (default)") } else { shown.to_owned() };
            vec![
                json!(shown),
                at("/provisioner"),
                json!(or(text(object, "/reclaimPolicy"), "Delete")),
                json!(or(text(object, "/volumeBindingMode"), "Immediate")),
                json!(object["allowVolumeExpansion"] == true),
                age(),
            ]
        }
        "CSIDriver" => driver(object, name, age()),
        "PriorityClass" => vec![
            name,
            count("/value"),
            json!(object["globalDefault"] == true),
            age(),
            json!(or(text(object, "/preemptionPolicy"), "PreemptLowerPriority")),
        ],
        "Lease" => vec![name, at("/spec/holderIdentity"), age()],
        "CustomResourceDefinition" => definition(object, name),
        "APIService" => {
            let service = match object.pointer("/spec/service") {
                Some(service) => format!("{}/{}", text(service, "/namespace"), text(service, "/name")),
                None => "Local".to_owned(),
            };
            let found = list(object, "/status/conditions").find(|c| c["type"] == "Available");
            let available = match found.map(|c| (text(c, "/status"), text(c, "/reason"))) {
                Some(("True", _)) => "True".to_owned(),
                Some((status, reason)) => format!("{status} ({reason})"),
                None => "Unknown".to_owned(),
            };
            vec![name, json!(service), json!(available), age()]
        }
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            vec![name, json!(size("/webhooks")), age()]
        }
        "ValidatingAdmissionPolicy" => {
            let param = object.pointer("/spec/paramKind");
            let param = param.map(|p| format!("{}/{}", text(p, "/apiVersion"), text(p, "/kind")));
            vec![
                name,
                json!(size("/spec/validations")),
                json!(param.unwrap_or_else(|| "<unset>".to_owned())),
                age(),
            ]
        }
        "ValidatingAdmissionPolicyBinding" => {
            let param = object.pointer("/spec/paramRef").map(|p| match text(p, "/namespace") {
                "" => format!("*/{}", text(p, "/name")),
                namespace => format!("{namespace}/{}", text(p, "/name")),
            });
            vec![name, at("/spec/policyName"), json!(param.unwrap_or_else(|| "<unset>".to_owned())), age()]
        }
        _ => vec![name, at("/metadata/creationTimestamp")],
    }
}

fn length(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    }
}

/// Names and images of a template's containers.
fn template(object: &Value, pointer: &str) -> [Value; 2] {
    let all = |field: &str| {
        let containers = list(object, &format!("{pointer}/spec/containers"));
        let texts: Vec<&str> = containers.map(|c| text(c, field)).collect();
        json!(texts.join(","))
    };
    [all("/name"), all("/image")]
}

fn service(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let kind = text(object, "/spec/type");
    let own: Vec<&str> = list(object, "/spec/externalIPs").filter_map(Value::as_str).collect();
    let given = list(object, "/status/loadBalancer/ingress");
    let given: Vec<&str> = given.map(|one| or(text(one, "/ip"), text(one, "/hostname"))).collect();
    let external = match kind {
        "ExternalName" => text(object, "/spec/externalName").to_owned(),
        "LoadBalancer" if given.is_empty() && own.is_empty() => "<pending>".to_owned(),
        "LoadBalancer" => given.into_iter().chain(own).collect::<Vec<_>>().join(","),
        _ => own.join(","),
    };
    let ports = list(object, "/spec/ports").map(|port| {
        let node = number(port, "/nodePort");
        let node = if node > 0 { format!(":{node}") } else { String::new() };
        format!("{}{node}/{}", number(port, "/port"), or(text(port, "/protocol"), "TCP"))
    });
    let ports: Vec<String> = ports.collect();
    vec![
        name,
        json!(kind),
        json!(or(text(object, "/spec/clusterIP"), "<none>")),
        json!(or(&external, "<none>")),
        json!(or(&ports.join(","), "<none>")),
        age,
        json!(labels(object.pointer("/spec/selector"))),
    ]
}

fn pod(object: &Value, name: Value, now: i64) -> Vec<Value> {
    let statuses: Vec<&Value> = list(object, "/status/containerStatuses").collect();
    let total = list(object, "/spec/containers").count();
    let ready = statuses.iter().filter(|s| s["ready"] == true).count();
    let restarts: i64 = statuses.iter().map(|s| number(s, "/restartCount")).sum();
    let node = text(object, "/spec/nodeName");
    let gates = list(object, "/spec/readinessGates").count();
    let gates = if gates == 0 { "<none>".to_owned() } else { format!("0/{gates}") };
    vec![
        name,
        json!(format!("{ready}/{total}")),
        json!(pod_status(object, &statuses)),
        json!(restarts.to_string()),
        json!(ago(text(object, "/metadata/creationTimestamp"), now)),
        json!(or(text(object, "/status/podIP"), "<none>")),
        json!(or(node, "<none>")),
        json!(or(text(object, "/status/nominatedNodeName"), "<none>")),
        json!(gates),
    ]
}

/// The most telling of a pod's phase, its reason and what its containers wait for.
fn pod_status(object: &Value, statuses: &[&Value]) -> String {
    let mut status = or(text(object, "/status/reason"), text(object, "/status/phase")).to_owned();
    for (number, init) in list(object, "/status/initContainerStatuses").enumerate() {
        let total = list(object, "/spec/initContainers").count();
        match (text(init, "/state/waiting/reason"), init.pointer("/state/terminated")) {
            (_, Some(ended)) if ended["exitCode"] == 0 => continue,
            ("", _) | ("PodInitializing", _) => status = format!("Init:{number}/{total}"),
            (reason, _) => status = format!("Init:{reason}"),
        }
        return status;
    }
    for container in statuses.iter().rev() {
        let waiting = text(container, "/state/waiting/reason");
        let ended = text(container, "/state/terminated/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut status);
        } else if !ended.is_empty() {
            ended.clone_into(&mut status);
        }
    }
    if !text(object, "/metadata/deletionTimestamp").is_empty() {
        return "Terminating".to_owned();
    }
    status
}

fn node(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let ready = list(object, "/status/conditions").find(|c| c["type"] == "Ready");
    let mut status = match ready.map(|c| text(c, "/status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object.pointer("/spec/unschedulable") == Some(&json!(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let roles: Vec<&str> = labels
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .filter(|r| !r.is_empty())
        .collect();
    let address = |kind: &str| {
        let found = list(object, "/status/addresses").find(|a| a["type"] == kind);
        json!(or(found.map_or("", |a| text(a, "/address")), "<none>"))
    };
    let info = |field: &str| text(object, &format!("/status/nodeInfo/{field}"));
    let kernel = match (info("kernelVersion"), info("architecture")) {
        ("", _) => "<unknown>".to_owned(),
        (kernel, "") => kernel.to_owned(),
        (kernel, architecture) => format!("{kernel} ({architecture})"),
    };
    vec![
        name,
        json!(status),
        json!(or(&roles.join(","), "<none>")),
        age,
        json!(info("kubeletVersion")),
        address("InternalIP"),
        address("ExternalIP"),
        json!(or(info("osImage"), "<unknown>")),
        json!(kernel),
        json!(or(info("containerRuntimeVersion"), "<unknown>")),
    ]
}

fn claim(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let deleting = !text(object, "/metadata/deletionTimestamp").is_empty();
    let bound = !text(object, "/spec/volumeName").is_empty();
    let capacity = if bound { text(object, "/status/capacity/storage") } else { "" };
    let modes = list(object, "/status/accessModes").filter(|_| bound).filter_map(Value::as_str);
    vec![
        name,
        json!(if deleting { "Terminating" } else { text(object, "/status/phase") }),
        json!(text(object, "/spec/volumeName")),
        json!(capacity),
        json!(access_modes(modes)),
        json!(text(object, "/spec/storageClassName")),
        json!(or(text(object, "/spec/volumeAttributesClassName"), "<unset>")),
        age,
        json!(or(text(object, "/spec/volumeMode"), "<unset>")),
    ]
}

fn volume(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let deleting = !text(object, "/metadata/deletionTimestamp").is_empty();
    let claim = object.pointer("/spec/claimRef");
    let claim = claim.map(|c| format!("{}/{}", text(c, "/namespace"), text(c, "/name"))).unwrap_or_default();
    vec![
        name,
        json!(text(object, "/spec/capacity/storage")),
        json!(access_modes(list(object, "/spec/accessModes").filter_map(Value::as_str))),
        json!(text(object, "/spec/persistentVolumeReclaimPolicy")),
        json!(if deleting { "Terminating" } else { text(object, "/status/phase") }),
        json!(claim),
        json!(text(object, "/spec/storageClassName")),
        json!(or(text(object, "/spec/volumeAttributesClassName"), "<unset>")),
        json!(text(object, "/status/reason")),
        age,
        json!(or(text(object, "/spec/volumeMode"), "<unset>")),
    ]
}

fn event(object: &Value, name: Value, now: i64) -> Vec<Value> {
    let first = or(text(object, "/firstTimestamp"), text(object, "/eventTime"));
    let last = or(text(object, "/lastTimestamp"), or(text(object, "/series/lastObservedTime"), first));
    let of = format!(
        "{}/{}",
        text(object, "/involvedObject/kind").to_lowercase(),
        text(object, "/involvedObject/name")
    );
    let component = or(text(object, "/source/component"), text(object, "/reportingComponent"));
    let host = or(text(object, "/source/host"), text(object, "/reportingInstance"));
    let source = if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") };
    let count = number(object, "/series/count").max(number(object, "/count")).max(1);
    vec![
        json!(ago(last, now)),
        json!(text(object, "/type")),
        json!(text(object, "/reason")),
        json!(of),
        json!(text(object, "/involvedObject/fieldPath")),
        json!(source),
        json!(text(object, "/message").trim()),
        json!(ago(first, now)),
        json!(count),
        name,
    ]
}

fn quota(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let hard = object.pointer("/status/hard").and_then(Value::as_object).into_iter().flatten();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in hard {
        let used = object.pointer("/status/used").and_then(|used| used.get(resource)).and_then(Value::as_str);
        let text = format!("{resource}: {}/{}", used.unwrap_or("0"), hard.as_str().unwrap_or_default());
        if resource.contains("limits") { limits.push(text) } else { requests.push(text) }
    }
    vec![name, json!(requests.join(", ")), json!(limits.join(", ")), age]
}

fn job(object: &Value, name: Value, now: i64) -> Vec<Value> {
    let is =
        |kind: &str| list(object, "/status/conditions").any(|c| c["type"] == kind && c["status"] == "True");
    let status = match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if !text(object, "/metadata/deletionTimestamp").is_empty() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    };
    let done = number(object, "/status/succeeded");
    let completions = match (object.pointer("/spec/completions"), number(object, "/spec/parallelism")) {
        (Some(all), _) => format!("{done}/{all}"),
        (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    };
    let end = seconds(text(object, "/status/completionTime")).unwrap_or(now);
    let took = seconds(text(object, "/status/startTime")).map(|start| duration(end - start));
    let mut cells = vec![
        name,
        json!(status),
        json!(completions),
        json!(took.unwrap_or_default()),
        json!(ago(text(object, "/metadata/creationTimestamp"), now)),
    ];
    cells.extend(template(object, "/spec/template"));
    cells.push(json!(selector(object.pointer("/spec/selector"))));
    cells
}

fn ingress(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let hosts: Vec<&str> =
        list(object, "/spec/rules").map(|rule| text(rule, "/host")).filter(|host| !host.is_empty()).collect();
    let shown = match hosts.len() {
        0 => "*".to_owned(),
        1..=3 => hosts.join(","),
        more => format!("{} + {} more...", hosts[..3].join(","), more - 3),
    };
    let given = list(object, "/status/loadBalancer/ingress");
    let given: Vec<&str> = given.map(|one| or(text(one, "/ip"), text(one, "/hostname"))).collect();
    let ports = if list(object, "/spec/tls").next().is_some() { "80, 443" } else { "80" };
    vec![
        name,
        json!(or(text(object, "/spec/ingressClassName"), "<none>")),
        json!(shown),
        json!(given.join(",")),
        json!(ports),
        age,
    ]
}

fn binding(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let of = |kind: &str| {
        let subjects = list(object, "/subjects").filter(|s| s["kind"] == kind);
        let names: Vec<String> = subjects
            .map(|s| match kind {
                "ServiceAccount" => format!("{}/{}", text(s, "/namespace"), text(s, "/name")),
                _ => text(s, "/name").to_owned(),
            })
            .collect();
        json!(names.join(", "))
    };
    let role = format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name"));
    vec![name, json!(role), age, of("User"), of("Group"), of("ServiceAccount")]
}

fn autoscaler(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        text(object, "/spec/scaleTargetRef/kind"),
        text(object, "/spec/scaleTargetRef/name")
    );
    let targets: Vec<String> = list(object, "/spec/metrics")
        .map(|metric| {
            let wanted = metric.pointer("/resource/target/averageUtilization").and_then(Value::as_i64);
            let resource = text(metric, "/resource/name");
            match wanted {
                Some(wanted) => format!("{resource}: <unknown>/{wanted}%"),
                None => "<unknown>".to_owned(),
            }
        })
        .collect();
    let min = object.pointer("/spec/minReplicas").map_or("<unset>".to_owned(), Value::to_string);
    vec![
        name,
        json!(reference),
        json!(or(&targets.join(", "), "<none>")),
        json!(min),
        json!(number(object, "/spec/maxReplicas")),
        json!(number(object, "/status/currentReplicas")),
        age,
    ]
}

fn driver(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let is = |field: &str, default: bool| {
        let value = object["spec"].get(field).and_then(Value::as_bool);
        json!(value.unwrap_or(default))
    };
    let tokens: Vec<&str> = list(object, "/spec/tokenRequests").map(|t| text(t, "/audience")).collect();
    let modes: Vec<&str> = list(object, "/spec/volumeLifecycleModes").filter_map(Value::as_str).collect();
    vec![
        name,
        is("attachRequired", true),
        is("podInfoOnMount", false),
        is("storageCapacity", false),
        json!(or(&tokens.join(","), "<unset>")),
        is("requiresRepublish", false),
        json!(or(&modes.join(","), "<none>")),
        age,
    ]
}

fn definition(object: &Value, name: Value) -> Vec<Value> {
    let versions: Vec<String> = list(object, "/spec/versions")
        .map(|version| {
            let storage = if version["storage"] == true { "(storage)" } else { "" };
            format!("{}{storage}", text(version, "/name"))
        })
        .collect();
    let short: Vec<&str> = list(object, "/spec/names/shortNames").filter_map(Value::as_str).collect();
    let established =
        list(object, "/status/conditions").any(|c| c["type"] == "Established" && c["status"] == "True");
    vec![
        name,
        json!(text(object, "/spec/scope")),
        json!(versions.join(",")),
        json!(text(object, "/metadata/creationTimestamp")),
        json!(text(object, "/spec/group")),
        json!(text(object, "/spec/names/kind")),
        json!(short.join(",")),
        json!(established),
    ]
}

/// The cells of a custom object: what the paths of its CRD's columns lead to.
pub fn custom(columns: &[Value], object: &Value, now: i64) -> Vec<Value> {
    let mut cells = vec![json!(text(object, "/metadata/name"))];
    if columns.is_empty() {
        cells.push(json!(ago(text(object, "/metadata/creationTimestamp"), now)));
    }
    for column in columns {
        let found = path(object, column["jsonPath"].as_str().unwrap_or_default());
        cells.push(match (column["type"].as_str().unwrap_or_default(), found) {
            (_, None) => Value::Null,
            ("date", Some(Value::String(at))) => json!(ago(&at, now)),
            ("string", Some(value)) if !value.is_string() => json!(value.to_string()),
            (_, Some(value)) => value,
        });
    }
    cells
}

/// A JSON path of names and one kind of filter (`[?(@.type=="Ready")]`): all that columns use in practice.
fn path(object: &Value, path: &str) -> Option<Value> {
    let mut at = object;
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            at = at.get(&tail[..end])?;
            rest = &tail[end..];
            continue;
        }
        let inner = rest.strip_prefix('[')?;
        let end = inner.find(']')?;
        let (term, tail) = (&inner[..end], &inner[end + 1..]);
        at = match term.strip_prefix("?(@.").and_then(|term| term.strip_suffix(')')) {
            Some(filter) => {
                let (field, value) = filter.split_once("==")?;
                let value = value.trim().trim_matches(['"', '\'']);
                at.as_array()?.iter().find(|item| item[field.trim()] == value)?
            }
            None => match term.trim_matches(['"', '\'']) {
                "*" => at.as_array()?.first()?,
                name => name.parse::<usize>().ok().and_then(|n| at.get(n)).or_else(|| at.get(name))?,
            },
        };
        rest = tail;
    }
    Some(at.clone())
}

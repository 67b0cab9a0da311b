//! Objects as tables: what `kubectl get` prints is made by the server.
//!
//! In: objects, and the time. Out: `Table`s of `meta.k8s.io/v1`. The columns of built-in kinds are those of a real
//! server of 1.37 (a test compares them); those of custom kinds are what their CRD says.

mod cells;
mod words;

use serde_json::{Value, json};

use super::kind::{Kind, Version};

/// A column: name, type, and priority (1: only in wide output).
type Column = (&'static str, &'static str, u8);

/// What a table shows of each object besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    /// Reads the query parameter `includeObject`.
    pub fn read(text: &str) -> Self {
        match text {
            "None" => Self::None,
            "Object" => Self::Object,
            _ => Self::Metadata,
        }
    }
}

const NAME: Column = ("Name", "string", 0);
const AGE: Column = ("Age", "string", 0);
const CREATED: Column = ("Created At", "date", 0);

const fn text(name: &'static str) -> Column {
    (name, "string", 0)
}

const fn number(name: &'static str) -> Column {
    (name, "integer", 0)
}

const fn boolean(name: &'static str) -> Column {
    (name, "boolean", 0)
}

const fn wide(name: &'static str) -> Column {
    (name, "string", 1)
}

/// The columns of built-in kinds; those that are not here have a name and a time of creation.
#[rustfmt::skip]
const COLUMNS: &[(&str, &[Column])] = &[
    ("ConfigMap", &[NAME, text("Data"), AGE]),
    ("Secret", &[NAME, text("Type"), text("Data"), AGE]),
    ("Namespace", &[NAME, text("Status"), AGE]),
    ("ServiceAccount", &[NAME, AGE]),
    ("Service", &[NAME, text("Type"), text("Cluster-IP"), text("External-IP"), text("Port(s)"), AGE, wide("Selector")]),
    ("Pod", &[NAME, text("Ready"), text("Status"), text("Restarts"), AGE, wide("IP"), wide("Node"), wide("Nominated Node"), wide("Readiness Gates")]),
    ("Node", &[NAME, text("Status"), text("Roles"), AGE, text("Version"), wide("Internal-IP"), wide("External-IP"), wide("OS-Image"), wide("Kernel-Version"), wide("Container-Runtime")]),
    ("PersistentVolumeClaim", &[NAME, text("Status"), text("Volume"), text("Capacity"), text("Access Modes"), text("StorageClass"), text("VolumeAttributesClass"), AGE, wide("VolumeMode")]),
    ("PersistentVolume", &[NAME, text("Capacity"), text("Access Modes"), text("Reclaim Policy"), text("Status"), text("Claim"), text("StorageClass"), text("VolumeAttributesClass"), text("Reason"), AGE, wide("VolumeMode")]),
    ("Event", &[text("Last Seen"), text("Type"), text("Reason"), text("Object"), wide("Subobject"), wide("Source"), text("Message"), wide("First Seen"), wide("Count"), wide("Name")]),
    ("ResourceQuota", &[NAME, text("Request"), text("Limit"), AGE]),
    ("Deployment", &[NAME, text("Ready"), text("Up-to-date"), text("Available"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    ("StatefulSet", &[NAME, text("Ready"), AGE, wide("Containers"), wide("Images")]),
    ("DaemonSet", &[NAME, number("Desired"), number("Current"), number("Ready"), number("Up-to-date"), number("Available"), text("Node Selector"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    ("ReplicaSet", &[NAME, number("Desired"), number("Current"), number("Ready"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    ("Job", &[NAME, text("Status"), text("Completions"), text("Duration"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    ("CronJob", &[NAME, text("Schedule"), text("Timezone"), boolean("Suspend"), number("Active"), text("Last Schedule"), AGE, wide("Containers"), wide("Images"), wide("Selector")]),
    ("NetworkPolicy", &[NAME, text("Pod-Selector"), AGE]),
    ("Ingress", &[NAME, text("Class"), text("Hosts"), text("Address"), text("Ports"), AGE]),
    ("IngressClass", &[NAME, text("Controller"), text("Parameters"), AGE]),
    ("RoleBinding", &[NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")]),
    ("ClusterRoleBinding", &[NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")]),
    ("PodDisruptionBudget", &[NAME, text("Min Available"), text("Max Unavailable"), number("Allowed Disruptions"), AGE]),
    ("HorizontalPodAutoscaler", &[NAME, text("Reference"), text("Targets"), text("MinPods"), text("MaxPods"), text("Replicas"), AGE]),
    ("StorageClass", &[NAME, text("Provisioner"), text("ReclaimPolicy"), text("VolumeBindingMode"), text("AllowVolumeExpansion"), AGE]),
    ("CSIDriver", &[NAME, boolean("AttachRequired"), boolean("PodInfoOnMount"), boolean("StorageCapacity"), text("TokenRequests"), boolean("RequiresRepublish"), text("Modes"), AGE]),
    ("PriorityClass", &[NAME, number("Value"), boolean("Global-Default"), AGE, text("PreemptionPolicy")]),
    ("Lease", &[NAME, text("Holder"), AGE]),
    ("CustomResourceDefinition", &[NAME, text("Scope"), text("Versions"), CREATED, wide("Group"), wide("Kind"), wide("ShortNames"), ("Established", "boolean", 1)]),
    ("APIService", &[NAME, text("Service"), text("Available"), AGE]),
    ("ValidatingWebhookConfiguration", &[NAME, number("Webhooks"), AGE]),
    ("MutatingWebhookConfiguration", &[NAME, number("Webhooks"), AGE]),
    ("ValidatingAdmissionPolicy", &[NAME, number("Validations"), text("ParamKind"), AGE]),
    ("ValidatingAdmissionPolicyBinding", &[NAME, text("PolicyName"), text("ParamRef"), AGE]),
];

const PLAIN: &[Column] = &[NAME, CREATED];

/// The columns of a kind, as a table defines them.
pub fn columns(kind: &Kind, version: &Version) -> Value {
    let one = |name: &str, ty: &str, priority: u8| {
        let format = if name == "Name" { "name" } else { "" };
        json!({"name": name, "type": ty, "format": format, "description": "", "priority": priority})
    };
    if kind.is_custom {
        let mut all = vec![one("Name", "string", 0)];
        for column in version.columns() {
            let field = |name: &str| column.get(name).and_then(Value::as_str).unwrap_or_default();
            let priority = column["priority"].as_u64().unwrap_or_default();
            all.push(json!({"name": field("name"), "type": field("type"), "format": field("format"),
                "description": field("description"), "priority": priority}));
        }
        if version.columns().is_empty() {
            all.push(one("Age", "date", 0));
        }
        return Value::Array(all);
    }
    let found = COLUMNS.iter().find(|(name, _)| **name == *kind.kind).map_or(PLAIN, |(_, columns)| columns);
    found.iter().map(|(name, ty, priority)| one(name, ty, *priority)).collect()
}

/// One object's row; `now` in seconds since 1970.
pub fn row(kind: &Kind, version: &Version, object: &Value, now: i64, shown: Option<Value>) -> Value {
    let cells = match kind.is_custom {
        true => cells::custom(version.columns(), object, now),
        false => cells::built_in(&kind.kind, object, now),
    };
    let mut row = json!({"cells": cells});
    row["object"] = shown.unwrap_or(Value::Null);
    row
}

/// A table with its rows.
pub fn table(metadata: Value, columns: Value, rows: Vec<Value>) -> Value {
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows})
}

#[cfg(test)]
mod tests {
    use super::super::kind::all_built_in;
    use super::*;

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        for kind in all_built_in() {
            let version = &kind.versions[0];
            let object = json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}});
            let (columns, row) = (columns(kind, version), row(kind, version, &object, 1_800_000_000, None));
            let count = |value: &Value| value.as_array().map_or(0, Vec::len);
            assert_eq!(count(&columns), count(&row["cells"]), "{}: {row}", kind.kind);
        }
    }
}

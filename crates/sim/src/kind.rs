//! Kinds that a cluster serves.

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::crd::Rules;
use super::scale::ScalePaths;
use super::schema::{Schema, TypeId, built_ins};
use super::typed::Typed;

/// A kind, built in or of a CRD.
#[derive(Debug, Clone)]
pub struct Kind {
    /// `<plural>.<group>`, or the plural alone in the core group: unique in a cluster.
    pub resource: Arc<str>,
    pub group: Box<str>,
    pub kind: Box<str>,
    pub list_kind: Box<str>,
    pub plural: Box<str>,
    pub singular: Box<str>,
    pub short_names: Box<[Box<str>]>,
    /// Groups of kinds that clients name together, such as `all`.
    pub categories: Box<[Box<str>]>,
    pub namespaced: bool,
    pub is_custom: bool,
    /// Best first.
    pub versions: Vec<Version>,
}

/// One version of a kind.
#[derive(Debug, Clone)]
pub struct Version {
    pub name: Box<str>,
    pub served: bool,
    /// Has the subresource `status`.
    pub status: bool,
    pub schema: Arc<Schema>,
    pub root: TypeId,
    /// Has the subresource `scale`.
    pub scale: Option<ScalePaths>,
    /// Of a custom kind.
    pub rules: Option<Arc<Rules>>,
}

impl Version {
    pub fn typed(&self) -> Typed<'_> {
        Typed { schema: &self.schema, root: self.root }
    }

    /// The columns that a CRD adds to the name in tables.
    pub fn columns(&self) -> &[Value] {
        self.rules.as_ref().map_or(&[][..], |rules| rules.columns())
    }

    /// The schema as a CRD has it.
    pub fn open_schema(&self) -> Option<&Value> {
        self.rules.as_ref().map(|rules| rules.open_schema())
    }
}

impl Kind {
    pub fn api_version(&self, version: &Version) -> String {
        if self.group.is_empty() {
            version.name.to_string()
        } else {
            format!("{}/{}", self.group, version.name)
        }
    }

    /// `Deployment.apps`, as refusals of an object name it.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_string() } else { format!("{}.{}", self.kind, self.group) }
    }

    pub fn is(&self, group: &str, kind: &str) -> bool {
        *self.group == *group && *self.kind == *kind
    }
}

pub fn resource_name(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// Short names of built-in kinds, as the server's discovery says them.
const SHORT_NAMES: &[(&str, &[&str])] = &[
    ("ConfigMap", &["cm"]),
    ("Event", &["ev"]),
    ("LimitRange", &["limits"]),
    ("Namespace", &["ns"]),
    ("Node", &["no"]),
    ("PersistentVolumeClaim", &["pvc"]),
    ("PersistentVolume", &["pv"]),
    ("Pod", &["po"]),
    ("ResourceQuota", &["quota"]),
    ("ServiceAccount", &["sa"]),
    ("Service", &["svc"]),
    ("DaemonSet", &["ds"]),
    ("Deployment", &["deploy"]),
    ("ReplicaSet", &["rs"]),
    ("StatefulSet", &["sts"]),
    ("CronJob", &["cj"]),
    ("Ingress", &["ing"]),
    ("NetworkPolicy", &["netpol"]),
    ("PodDisruptionBudget", &["pdb"]),
    ("HorizontalPodAutoscaler", &["hpa"]),
    ("StorageClass", &["sc"]),
    ("PriorityClass", &["pc"]),
    ("CustomResourceDefinition", &["crd", "crds"]),
];

/// The same of their categories.
const CATEGORIES: &[(&str, &[&str])] = &[
    ("Pod", &["all"]),
    ("Service", &["all"]),
    ("DaemonSet", &["all"]),
    ("Deployment", &["all"]),
    ("ReplicaSet", &["all"]),
    ("StatefulSet", &["all"]),
    ("CronJob", &["all"]),
    ("Job", &["all"]),
    ("HorizontalPodAutoscaler", &["all"]),
    ("CustomResourceDefinition", &["api-extensions"]),
    ("APIService", &["api-extensions"]),
    ("ValidatingWebhookConfiguration", &["api-extensions"]),
    ("MutatingWebhookConfiguration", &["api-extensions"]),
    ("ValidatingAdmissionPolicy", &["api-extensions"]),
    ("ValidatingAdmissionPolicyBinding", &["api-extensions"]),
];

fn words(table: &[(&str, &[&str])], kind: &str) -> Box<[Box<str>]> {
    let found = table.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, words)| *words);
    found.iter().map(|word| Box::from(*word)).collect()
}

/// The built-in kinds.
pub fn all_built_in() -> &'static [Arc<Kind>] {
    static ALL: LazyLock<Vec<Arc<Kind>>> = LazyLock::new(|| {
        let table = built_ins();
        let kinds = table.kinds.iter().map(|kind| {
            Arc::new(Kind {
                resource: resource_name(kind.group, kind.plural).into(),
                group: kind.group.into(),
                kind: kind.kind.into(),
                list_kind: format!("{}List", kind.kind).into(),
                plural: kind.plural.into(),
                singular: kind.kind.to_lowercase().into(),
                short_names: words(SHORT_NAMES, kind.kind),
                categories: words(CATEGORIES, kind.kind),
                namespaced: kind.namespaced,
                is_custom: false,
                versions: vec![Version {
                    name: kind.version.into(),
                    served: true,
                    status: kind.status,
                    scale: ScalePaths::built_in(kind.group, kind.kind),
                    schema: Arc::clone(&table.schema),
                    root: kind.root,
                    rules: None,
                }],
            })
        });
        kinds.collect()
    });
    &ALL
}

/// A built-in kind by its group and name.
pub fn built_in(group: &str, kind: &str) -> Option<&'static Arc<Kind>> {
    all_built_in().iter().find(|one| one.is(group, kind))
}

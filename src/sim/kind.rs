//! Kinds that a cluster serves.

use std::sync::{Arc, LazyLock};

use super::crd::Rules;
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
    /// Of a custom kind.
    pub rules: Option<Arc<Rules>>,
}

impl Version {
    pub fn typed(&self) -> Typed<'_> {
        Typed { schema: &self.schema, root: self.root }
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
                short_names: Box::default(),
                namespaced: kind.namespaced,
                is_custom: false,
                versions: vec![Version {
                    name: kind.version.into(),
                    served: true,
                    status: kind.status,
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

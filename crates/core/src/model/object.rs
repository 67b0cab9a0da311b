//! Kubernetes objects by name.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

/// Where Fairlead keeps its own records in each cluster. No content may write there.
pub const OWN_NAMESPACE: &str = "fairlead-system";

/// A kind of object without its version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct GroupKind {
    /// Empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    pub kind: String,
}

/// One object of a cluster, without the version in which it is written.
///
/// Kept many times over for each object of each cluster: clones share one text, in which the parts stand one after
/// the other with a NUL in between. Ordered by group, kind, namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "Parts")]
pub struct ObjectKey(Arc<str>);

const SEPARATOR: char = '\0';

/// As it is written in JSON.
#[derive(Deserialize, JsonSchema)]
#[schemars(
    rename = "ObjectKey",
    description = "One object of a cluster, without the version in which it is written."
)]
struct Parts {
    /// Empty for the core group.
    #[serde(default)]
    group: String,
    kind: String,
    /// None for a cluster-scoped kind, and in a release where the manifest names no namespace.
    #[serde(default)]
    namespace: Option<String>,
    name: String,
}

impl ObjectKey {
    /// `group` is empty for the core group, `namespace` for a cluster-scoped kind and where a manifest names none.
    pub fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let mut text = String::with_capacity(group.len() + kind.len() + namespace.len() + name.len() + 3);
        for (n, part) in [group, kind, namespace, name].into_iter().enumerate() {
            if n > 0 {
                text.push(SEPARATOR);
            }
            // No API server has names with a NUL in them; what claims to have must not shift the parts.
            text.extend(part.chars().map(|c| if c == SEPARATOR { char::REPLACEMENT_CHARACTER } else { c }));
        }
        Self(text.into())
    }

    fn part(&self, n: usize) -> &str {
        self.0.splitn(4, SEPARATOR).nth(n).unwrap_or_default()
    }

    /// Empty for the core group.
    pub fn group(&self) -> &str {
        self.part(0)
    }

    pub fn kind(&self) -> &str {
        self.part(1)
    }

    /// None for a cluster-scoped kind, and in a release where the manifest names no namespace.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.part(2)).filter(|namespace| !namespace.is_empty())
    }

    pub fn name(&self) -> &str {
        self.part(3)
    }

    /// The same object in another namespace, or in none.
    #[must_use]
    pub fn with_namespace(&self, namespace: Option<&str>) -> Self {
        if self.namespace() == namespace {
            return self.clone();
        }
        Self::new(self.group(), self.kind(), namespace.unwrap_or_default(), self.name())
    }

    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group().to_owned(), kind: self.kind().to_owned() }
    }

    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group() == group && self.kind() == kind
    }

    /// Whether it is in [`OWN_NAMESPACE`], or is that namespace.
    pub fn is_own_record(&self) -> bool {
        self.namespace() == Some(OWN_NAMESPACE) || (self.is("", "Namespace") && self.name() == OWN_NAMESPACE)
    }
}

impl From<Parts> for ObjectKey {
    fn from(parts: Parts) -> Self {
        Self::new(&parts.group, &parts.kind, parts.namespace.as_deref().unwrap_or_default(), &parts.name)
    }
}

/// As `Parts` are read.
impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (group, namespace) = (Some(self.group()).filter(|group| !group.is_empty()), self.namespace());
        let fields = 2 + usize::from(group.is_some()) + usize::from(namespace.is_some());
        let mut parts = serializer.serialize_struct("ObjectKey", fields)?;
        if let Some(group) = group {
            parts.serialize_field("group", group)?;
        }
        parts.serialize_field("kind", self.kind())?;
        if let Some(namespace) = namespace {
            parts.serialize_field("namespace", namespace)?;
        }
        parts.serialize_field("name", self.name())?;
        parts.end()
    }
}

impl JsonSchema for ObjectKey {
    fn schema_name() -> Cow<'static, str> {
        Parts::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Parts::json_schema(generator)
    }
}

/// `Deployment shop/web`, as people say it; the group is left out.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind(), self.name()),
            None => write!(f, "{} {}", self.kind(), self.name()),
        }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({} {self})", self.group())
    }
}

/// `Deployment.apps`, as kubectl writes it.
impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.kind)
        } else {
            write!(f, "{}.{}", self.kind, self.group)
        }
    }
}

/// `apps/v1` to (`apps`, `v1`); `v1` to (``, `v1`).
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Groups that every API server serves by itself. Others may end in `.k8s.io` too, so they are listed.
pub fn is_built_in_group(group: &str) -> bool {
    const DOTTED: [&str; 18] = [
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "internal.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
        "storagemigration",
    ];
    let plain = matches!(group, "" | "apps" | "autoscaling" | "batch" | "extensions" | "policy");
    plain || group.strip_suffix(".k8s.io").is_some_and(|group| DOTTED.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_parts_and_stand_in_the_order_of_them() {
        let parts = |key: &ObjectKey| {
            let namespace = key.namespace().map(str::to_owned);
            (key.group().to_owned(), key.kind().to_owned(), namespace, key.name().to_owned())
        };
        let mut keys = Vec::new();
        for group in ["", "a", "a.b", "ab"] {
            for kind in ["A", "Aa"] {
                for namespace in ["", "a", "a-b"] {
                    keys.extend(
                        ["a", "a.b", "b\0c"].map(|name| ObjectKey::new(group, kind, namespace, name)),
                    );
                }
            }
        }
        assert_eq!(parts(&keys[5]), ("".into(), "A".into(), Some("a".into()), "b\u{fffd}c".into()));
        keys.sort();
        let mut by_parts = keys.clone();
        by_parts.sort_by_key(parts);
        assert_eq!(keys, by_parts);
        for key in keys {
            let json = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<ObjectKey>(&json).unwrap(), key);
            assert_eq!(key.with_namespace(Some("x")).with_namespace(key.namespace()), key);
        }
    }
}

//! Which kind lives in a namespace, and which is served.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::object::{GroupKind, ObjectKey};
use crate::model::release::{Release, ReleaseObject};

use super::order::is_crd;
use super::types::{Observed, Scope, Served};

/// The namespace of an object whose kind has one and whose manifest names none, as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// The key under which a cluster knows an object: namespaced kinds get `default` where the manifest names no
/// namespace, cluster-scoped ones lose what it names.
pub fn resolve_key(key: &ObjectKey, scope: Scope) -> ObjectKey {
    key.with_namespace(match scope {
        Scope::Cluster => None,
        Scope::Namespaced => Some(key.namespace().unwrap_or(DEFAULT_NAMESPACE)),
    })
}

#[derive(Debug)]
pub(super) struct Resolved {
    pub key: ObjectKey,
    pub served: Served,
}

/// Knows the kinds of a cluster and those that a release brings.
pub(super) struct Resolver<'a> {
    observed: &'a Observed,
    brought: BTreeMap<GroupKind, (Scope, ObjectKey)>,
}

impl<'a> Resolver<'a> {
    pub fn new(release: &Release, observed: &'a Observed) -> Self {
        let crds = release.objects().filter(|(_, object)| is_crd(&object.key));
        Self { observed, brought: crds.filter_map(|(_, object)| brings(object)).collect() }
    }

    pub fn resolve(&self, key: &ObjectKey) -> Resolved {
        let kind = key.group_kind();
        if let Some(scope) = self.observed.kinds.get(&kind) {
            return Resolved { key: resolve_key(key, *scope), served: Served::Yes };
        }
        match self.brought.get(&kind) {
            Some((scope, crd)) => Resolved { key: resolve_key(key, *scope), served: Served::By(crd.clone()) },
            None => Resolved { key: key.clone(), served: Served::No },
        }
    }
}

#[derive(Deserialize)]
struct Crd {
    spec: CrdSpec,
}

#[derive(Deserialize)]
struct CrdSpec {
    group: String,
    names: CrdNames,
    scope: Scope,
}

#[derive(Deserialize)]
struct CrdNames {
    kind: String,
}

/// The kind that a CRD brings. One that can't be read brings none; the server will refuse it with the reason.
fn brings(object: &ReleaseObject) -> Option<(GroupKind, (Scope, ObjectKey))> {
    let crd: Crd = serde_json::from_slice(&object.bytes).ok()?;
    let kind = GroupKind { group: crd.spec.group, kind: crd.spec.names.kind };
    Some((kind, (crd.spec.scope, resolve_key(&object.key, Scope::Cluster))))
}

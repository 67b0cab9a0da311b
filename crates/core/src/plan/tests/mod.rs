//! A small world to plan in.

mod against;
mod immutable;
mod judge;
mod live;
mod offline;
mod properties;
mod prune;
mod redact;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::assignment::{Assignment, ClusterPolicy, Purpose};
use crate::model::diagnostic::Place;
use crate::model::digest::{CommitId, FieldsDigest, LayerDigest, ObjectDigest, ReleaseDigest};
use crate::model::fleet::IgnoredPath;
use crate::model::object::{GroupKind, ObjectKey, split_api_version};
use crate::model::profile::LayerType;
use crate::model::release::{LayerId, Release, ReleaseLayer, ReleaseObject, ReleaseRef, RenderedLayer};
use crate::model::revision::{Revision, Revisions};
use crate::plan::{Context, Inventory, InventoryEntry, Observed, ObservedObject, Origin, Scope, Sibling};

pub(super) const SET: &str = "applyset-ours-v1";
pub(super) const SIBLING: &str = "applyset-sibling-v1";
pub(super) const NOW: i64 = 1_000_000;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn layer_id(text: &str) -> LayerId {
    let (profile, layer) = text.split_once('/').unwrap_or(("p", text));
    LayerId { profile: profile.parse().unwrap(), layer: layer.parse().unwrap() }
}

/// `Deployment.apps shop/web`, `Namespace shop`.
pub(super) fn key(text: &str) -> ObjectKey {
    let (kind, name) = text.split_once(' ').unwrap();
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => ("", name),
    };
    ObjectKey::new(group, kind, namespace, name)
}

/// An object of a release from its manifest.
pub(super) fn object(manifest: &Value) -> ReleaseObject {
    let (group, version) = split_api_version(manifest["apiVersion"].as_str().unwrap());
    let metadata = &manifest["metadata"];
    let bytes = Bytes::from(serde_json::to_vec(manifest).unwrap());
    ReleaseObject {
        key: ObjectKey::new(
            group,
            manifest["kind"].as_str().unwrap(),
            metadata["namespace"].as_str().unwrap_or_default(),
            metadata["name"].as_str().unwrap(),
        ),
        version: version.into(),
        digest: ObjectDigest::of([&*bytes]),
        bytes,
        place: Place::at("profiles/p/a.yaml", 1, 1),
    }
}

/// A manifest with nothing but its name; `text` as for [`key`].
pub(super) fn manifest(text: &str) -> Value {
    let key = key(text);
    let api_version = if key.group().is_empty() { "v1".to_owned() } else { format!("{}/v1", key.group()) };
    let mut metadata = json!({"name": key.name()});
    if let Some(namespace) = key.namespace() {
        metadata["namespace"] = namespace.into();
    }
    json!({"apiVersion": api_version, "kind": key.kind(), "metadata": metadata})
}

pub(super) fn plain(text: &str) -> ReleaseObject {
    object(&manifest(text))
}

pub(super) fn layer(id: &str, depends_on: &[&str], objects: Vec<ReleaseObject>) -> ReleaseLayer {
    let digest = LayerDigest::of(objects.iter().map(|o| &o.digest.as_bytes()[..]));
    ReleaseLayer {
        id: layer_id(id),
        layer_type: LayerType::Addon,
        depends_on: depends_on.iter().map(|id| layer_id(id)).collect(),
        adopt: false,
        content: Arc::new(RenderedLayer { digest, objects }),
    }
}

pub(super) fn release(layers: Vec<ReleaseLayer>) -> Release {
    release_of("edge-001", layers)
}

pub(super) fn release_of(target: &str, layers: Vec<ReleaseLayer>) -> Release {
    let digest = ReleaseDigest::of(layers.iter().map(|l| &l.content.digest.as_bytes()[..]));
    Release { target: target.parse().unwrap(), fleet: "retail".parse().unwrap(), digest, layers }
}

pub(super) fn fields(n: u8) -> FieldsDigest {
    FieldsDigest::from_bytes([n; 16])
}

/// What a converged cluster shows of an object of ours.
pub(super) fn seen(object: &ReleaseObject) -> ObservedObject {
    ObservedObject {
        uid: "u".into(),
        resource_version: "1".into(),
        created: Some(at(NOW)),
        digest: Some(object.digest),
        part_of: Some(SET.into()),
        fields: Some(fields(1)),
        ..ObservedObject::default()
    }
}

/// What a ledger remembers of an object that was applied.
pub(super) fn entry(layer: &str, object: &ReleaseObject) -> InventoryEntry {
    InventoryEntry {
        version: object.version.clone(),
        uid: Some("u".into()),
        layer: layer_id(layer),
        applied: Some(object.digest),
        fields: Some(fields(1)),
        origin: Origin::Created { generation: 1 },
        left_out: Vec::new(),
        stays: Vec::new(),
        finished: false,
    }
}

/// A cluster, its ledger and an assignment, to be changed by a test before it plans.
#[derive(Debug)]
pub(super) struct World {
    pub observed: Observed,
    pub inventory: Inventory,
    pub assignment: Assignment,
    pub siblings: BTreeMap<Arc<str>, Sibling>,
    pub back_to: Option<u64>,
    pub adopt: BTreeSet<ObjectKey>,
}

impl World {
    pub fn new() -> Self {
        let revisions = Revisions {
            control: Revision::control(CommitId::from_bytes([1; 20])),
            profiles: BTreeMap::new(),
        };
        let kinds = [
            ("", "ConfigMap", Scope::Namespaced),
            ("", "Secret", Scope::Namespaced),
            ("", "Namespace", Scope::Cluster),
            ("", "PersistentVolumeClaim", Scope::Namespaced),
            ("apps", "Deployment", Scope::Namespaced),
            ("apiextensions.k8s.io", "CustomResourceDefinition", Scope::Cluster),
            ("example.com", "Database", Scope::Namespaced),
        ];
        let kinds = kinds.map(|(g, k, scope)| (GroupKind { group: g.into(), kind: k.into() }, scope));
        Self {
            observed: Observed { kinds: kinds.into(), ..Observed::default() },
            inventory: Inventory::default(),
            assignment: Assignment {
                target: "edge-001".parse().unwrap(),
                fleet: "retail".parse().unwrap(),
                generation: 5,
                release: ReleaseRef { digest: ReleaseDigest::of([]), revisions },
                purpose: Purpose::Change,
                base: None,
                quarantined: Vec::new(),
                deletions_approved: false,
                adopt: false,
                policy: ClusterPolicy::default(),
            },
            siblings: BTreeMap::new(),
            back_to: None,
            adopt: BTreeSet::new(),
        }
    }

    /// A cluster that has converged at a release.
    pub fn at(release: &Release) -> Self {
        let mut world = Self::new();
        for (layer, object) in release.objects() {
            world.inventory.objects.insert(object.key.clone(), entry(&layer.id.to_string(), object));
            world.observed.objects.insert(object.key.clone(), seen(object));
        }
        world.inventory.layers = release.layers.iter().map(|l| l.id.clone()).collect();
        world
    }

    pub fn sibling(&mut self, wants: &[&str], adopted: &[&str]) {
        let keys = |texts: &[&str]| texts.iter().map(|text| key(text)).collect();
        let sibling = Sibling {
            fleet: "other".parse().unwrap(),
            wants: keys(wants),
            adopted: keys(adopted),
            left: false,
        };
        self.siblings.insert(SIBLING.into(), sibling);
    }

    pub fn ctx(&self) -> Context<'_> {
        Context {
            assignment: &self.assignment,
            inventory: &self.inventory,
            set: SET,
            siblings: &self.siblings,
            back_to: self.back_to,
            adopt: &self.adopt,
            now: at(NOW),
        }
    }

    pub fn plan(&self, release: &Release) -> crate::plan::LivePlan {
        crate::plan::live(release, &self.observed, &self.ctx())
    }

    pub fn see(&mut self, text: &str) -> &mut ObservedObject {
        self.observed.objects.get_mut(&key(text)).unwrap()
    }

    /// Lets others own a field.
    pub fn ignore(&mut self, path: &str) {
        let ignored = IgnoredPath { kind: None, group: None, name: None, path: path.into() };
        self.assignment.policy.drift.ignore.push(ignored);
    }

    pub fn remembers(&mut self, text: &str) -> &mut InventoryEntry {
        self.inventory.objects.get_mut(&key(text)).unwrap()
    }
}

/// A plan's actions on objects of the release, one a line: `layer: verb key (why)`, with `!` for force.
pub(super) fn lines(plan: &crate::plan::LivePlan) -> Vec<String> {
    let line = |layer: &str, a: &crate::plan::Action| {
        let force = if a.force { "!" } else { "" };
        format!("{layer}: {}{force} {} ({})", a.verb, a.key, a.why)
    };
    let layers = plan.layers.iter().flat_map(|l| {
        let id = l.id.layer.to_string();
        l.actions.iter().map(move |a| line(&id, a))
    });
    let first = plan.unblock.iter().map(|a| line("first", a));
    let stages = plan.prune.iter().enumerate();
    let prune = stages.flat_map(|(n, stage)| stage.iter().map(move |a| line(&format!("prune {n}"), a)));
    let kept = plan.kept.iter().map(|k| format!("kept: {} ({})", k.key, k.why));
    first.chain(layers).chain(prune).chain(kept).collect()
}

pub(super) fn web(replicas: u32, app: &str) -> Value {
    let mut web = manifest("Deployment.apps shop/web");
    web["spec"] = json!({"replicas": replicas, "selector": {"matchLabels": {"app": app}}});
    web
}

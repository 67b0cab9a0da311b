//! A small fleet repository, and a tree that counts and fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::catalog::{Catalog, Folders};
use crate::model::diagnostic::Diagnostic;
use crate::model::release::Release;
use crate::model::tree::{Entry, MemoryTree, Tree, TreeError};
use crate::release::{LayerCache, ProfileAt, Request, compile};

pub const PROFILE: &str = r#"
apiVersion: fairlead.dev/v1alpha1
kind: ClusterProfile
metadata: {name: edge}
spec:
  version: 1.0.0
  variables:
    type: object
    required: [region]
    properties:
      region: {type: string, enum: [eu, us]}
      replicas: {type: integer, default: 2}
      logLevel: {type: string, default: warn}
  layers:
  - {name: shop, type: addon, manifests: {path: shop}}
  - {name: net, type: cni, adopt: true, manifests: {path: net/all.yaml}}
"#;

const OTHER: &str = r#"
apiVersion: fairlead.dev/v1alpha1
kind: ClusterProfile
metadata: {name: other}
spec:
  version: 0.1.0
  layers:
  - {name: disk, type: csi, manifests: {path: disk}}
"#;

const FLEET: &str = r#"
apiVersion: fairlead.dev/v1alpha1
kind: Fleet
metadata: {name: retail}
spec:
  clusters: {matchLabels: {segment: retail}}
  profiles: [{name: edge}, {name: other}]
  variables: {logLevel: info}
"#;

const NET: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: net, namespace: kube-system, labels: {b: "2", a: "1"}}
spec: {template: {spec: {hostNetwork: yes, priority: 0644, ratio: 1.50, big: 1e3}}}
"#;

const SHOP: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: shop, namespace: shop}
data:
  region: ${{ var.region }}
  text: "level ${{ var.logLevel }}, é\t\"quoted\""
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {replicas: "${{ var.replicas * 2 }}"}
"#;

fn target(name: &str, region: &str, ring: &str) -> String {
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {{name: {name}, labels: {{segment: retail, ring: {ring}}}}}\nspec: {{variables: {{region: {region}}}}}\n"
    )
}

/// Two profiles, one fleet, three targets: `a` and `b` have equal values, `c` another region.
pub fn repository() -> MemoryTree {
    MemoryTree::default()
        .with("profiles/edge/profile.yaml", PROFILE)
        .with("profiles/edge/net/all.yaml", NET)
        .with("profiles/edge/shop/shop.yaml", SHOP)
        .with("profiles/edge/shop/README.md", "no manifest")
        .with("profiles/other/profile.yaml", OTHER)
        .with(
            "profiles/other/disk/sub/class.json",
            r#"{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"fast"}}"#,
        )
        .with("fleets/retail.yaml", FLEET)
        .with(
            "clusters/all.yaml",
            [target("a", "eu", "x"), target("b", "eu", "y"), target("c", "us", "x")].join("---\n"),
        )
}

/// Compiles `target` for the fleet `retail`, at one commit.
pub fn release(tree: &dyn Tree, target: &str, cache: &LayerCache) -> Result<Release, Vec<Diagnostic>> {
    release_of(tree, "retail", target, cache)
}

pub fn release_of(
    tree: &dyn Tree,
    fleet: &str,
    target: &str,
    cache: &LayerCache,
) -> Result<Release, Vec<Diagnostic>> {
    let catalog = Catalog::read(tree, &Folders::default());
    let fleet = catalog.fleet(&fleet.parse().unwrap()).unwrap();
    let target = catalog.target(&target.parse().unwrap()).unwrap();
    let profiles: Vec<_> =
        fleet.spec.profiles.iter().map(|used| catalog.profile(&used.name).unwrap()).collect();
    let profiles: Vec<_> = profiles.iter().map(|profile| ProfileAt { profile, tree }).collect();
    compile(Request { fleet, target, profiles: &profiles }, cache)
}

/// Counts reads of layers' files, and fails where told.
#[derive(Default)]
pub struct Watched {
    pub tree: MemoryTree,
    pub reads: AtomicUsize,
    /// Paths that can't be read, listed or looked up.
    pub broken: BTreeMap<String, TreeError>,
}

impl Watched {
    pub fn new(tree: MemoryTree) -> Self {
        Self { tree, ..Self::default() }
    }

    pub fn reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }

    fn check(&self, path: &str) -> Result<(), TreeError> {
        self.broken.get(path).map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl Tree for Watched {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        self.tree.entry(path)
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Result<Entry, TreeError>>>, TreeError> {
        self.check(folder)?;
        let entries = self.tree.list(folder)?;
        Ok(entries.map(|entries| {
            let refused = |entry: Entry| match self.broken.get(&format!("{folder}/{}", entry.name)) {
                Some(error @ TreeError::Refused { .. }) => Err(error.clone()),
                _ => Ok(entry),
            };
            entries.into_iter().map(|entry| entry.and_then(refused)).collect()
        }))
    }

    fn read(&self, file: &str) -> Result<Option<Arc<[u8]>>, TreeError> {
        self.check(file)?;
        if ["/net/", "/shop/", "/disk/"].iter().any(|folder| file.contains(folder)) {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        self.tree.read(file)
    }
}

//! S8: how long a release of 4,000 objects takes: cold, from the cache on disk, from memory, and for 1,000 targets.
#![allow(clippy::unwrap_used, reason = "what is compiled here is known to be good")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use fairlead_core::catalog::{Catalog, Folders};
use fairlead_core::model::tree::MemoryTree;
use fairlead_core::release::render::DiskCache;
use fairlead_core::release::{LayerCache, ProfileAt, Request, compile};

use crate::figures::Figures;

const LAYERS: usize = 4;
const FILES: usize = 50;
const OBJECTS_IN_FILE: usize = 20;
const TARGETS: usize = 1_000;

fn config_map(out: &mut String, n: usize) {
    let text = "every object says something about itself, at some length\\n".repeat(6);
    let _ = write!(
        out,
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config-{n}, namespace: bench, labels: {{app: bench}}}}\ndata:\n  name: ${{{{ cluster.name }}}}\n  text: \"{text}\"\n"
    );
}

fn deployment(out: &mut String, n: usize) {
    let _ = write!(
        out,
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web-{n}\n  namespace: bench\n  labels: {{app: web-{n}}}\nspec:\n  replicas: ${{{{ var.replicas }}}}\n  selector: {{matchLabels: {{app: web-{n}}}}}\n  template:\n    metadata:\n      labels: {{app: web-{n}}}\n    spec:\n      containers:\n"
    );
    for c in 0..3 {
        let _ = write!(
            out,
            "      - name: c{c}\n        image: registry.example.com/shop/web:1.2.{c}\n        args: [--level=info, --region=eu]\n        env:\n        - {{name: A, value: b}}\n        - {{name: C, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}\n        resources:\n          requests: {{cpu: 100m, memory: 64Mi}}\n          limits: {{memory: 128Mi}}\n        readinessProbe:\n          httpGet: {{path: /healthz, port: 8080}}\n          periodSeconds: 5\n"
        );
    }
}

/// `open` layers read the cluster's name, others only a variable that all targets share.
fn repository(open: bool) -> MemoryTree {
    let mut layers = String::new();
    let mut tree = MemoryTree::default();
    for layer in 0..LAYERS {
        let _ = writeln!(layers, "  - {{name: l{layer}, type: addon, manifests: {{path: l{layer}}}}}");
        for file in 0..FILES {
            let mut text = String::new();
            for object in 0..OBJECTS_IN_FILE {
                let n = (layer * FILES + file) * OBJECTS_IN_FILE + object;
                if n.is_multiple_of(5) { deployment(&mut text, n) } else { config_map(&mut text, n) }
            }
            let text = if open { text } else { text.replace("cluster.name", "var.region") };
            tree = tree.with(&format!("profiles/p/l{layer}/f{file}.yaml"), text);
        }
    }
    let profile = format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterProfile\nmetadata: {{name: p}}\nspec:\n  version: 1.0.0\n  variables:\n    type: object\n    properties: {{replicas: {{type: integer, default: 2}}, region: {{type: string, default: eu}}}}\n  layers:\n{layers}"
    );
    let mut targets = String::new();
    for n in 0..TARGETS {
        let _ = write!(
            targets,
            "---\napiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {{name: t{n}}}\n"
        );
    }
    let fleet = "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec: {clusters: {}, profiles: [{name: p}]}\n";
    tree.with("profiles/p/profile.yaml", profile)
        .with("clusters/t.yaml", targets)
        .with("fleets/f.yaml", fleet)
}

struct Bench {
    tree: MemoryTree,
    catalog: Catalog,
}

impl Bench {
    fn new(open: bool) -> Self {
        let tree = repository(open);
        let catalog = Catalog::read(&tree, &Folders::default());
        assert!(!catalog.has_errors(), "{:?}", catalog.diagnostics());
        Self { tree, catalog }
    }

    fn compile(&self, target: usize, cache: &LayerCache) -> usize {
        let target = self.catalog.target(&format!("t{target}").parse().unwrap()).unwrap();
        let profile = ProfileAt { profile: self.catalog.profiles().next().unwrap(), tree: &self.tree };
        let fleet = self.catalog.fleets().next().unwrap();
        compile(Request { fleet, target, profiles: &[profile] }, cache).unwrap().objects().count()
    }
}

fn runs(figures: &mut Figures, what: &str, runs: usize, mut run: impl FnMut() -> Duration) {
    let times = (0..runs).map(|_| run().as_secs_f64() * 1_000.0).collect();
    figures.add(what, "ms", times);
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

pub fn measure(figures: &mut Figures) {
    figures.scenario("S8");
    let open = Bench::new(true);
    runs(figures, "4,000 objects, cold", 5, || {
        let cache = LayerCache::default();
        timed(|| assert_eq!(open.compile(0, &cache), 4_000))
    });
    let folder = tempfile::tempdir().unwrap();
    let disk = DiskCache::open(folder.path(), u64::MAX).unwrap();
    let with_disk = || LayerCache::new(Some(Box::new(disk.clone())));
    runs(figures, "4,000 objects, cold, kept on disk", 1, || {
        timed(|| assert_eq!(open.compile(0, &with_disk()), 4_000))
    });
    runs(figures, "4,000 objects, after a restart (index and layers on disk)", 9, || {
        let cache = with_disk();
        timed(|| assert_eq!(open.compile(0, &cache), 4_000))
    });
    let cache = LayerCache::default();
    open.compile(0, &cache);
    runs(figures, "4,000 objects, from memory", 9, || timed(|| assert_eq!(open.compile(0, &cache), 4_000)));
    runs(figures, "4,000 objects, other values, files read before", 5, || {
        let cache = LayerCache::default();
        open.compile(0, &cache);
        timed(|| assert_eq!(open.compile(1, &cache), 4_000))
    });
    let shared = Bench::new(false);
    runs(figures, "1,000 targets that share 4 layers of 1,000 objects, cold", 3, || {
        let cache = LayerCache::default();
        timed(|| (0..TARGETS).for_each(|n| assert_eq!(shared.compile(n, &cache), 4_000)))
    });
}

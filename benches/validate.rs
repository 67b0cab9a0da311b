//! How long validating takes: `cargo bench --bench validate`.
//!
//! The documents of 1,000 targets with 20 profiles, and YAML bombs. Prints the median and the spread of 11
//! runs; fails if a limit of the project is broken.

#![allow(clippy::disallowed_methods, reason = "measures")]

use std::time::{Duration, Instant};

use fairlead_core::catalog::yaml::{Dialect, parse};
use fairlead_core::catalog::{Catalog, Folders};
use fairlead_core::model::tree::MemoryTree;

const RUNS: usize = 11;

fn main() {
    let tree = fleet(1_000, 20);
    let mut slow = Vec::new();
    let mut limit = |name: &str, limit: Duration, run: &dyn Fn()| {
        let (least, median, most) = measure(run);
        println!("{name}: median {median:?} ({least:?} to {most:?}), limit {limit:?}");
        if median > limit {
            slow.push(name.to_owned());
        }
    };
    limit("validate 1,000 targets, 20 profiles", Duration::from_secs(1), &|| {
        let catalog = Catalog::read(&tree, &Folders::default());
        assert_eq!((catalog.targets().count(), catalog.profiles().count()), (1_000, 20));
        assert!(catalog.diagnostics().is_empty(), "{:?}", catalog.diagnostics().first());
    });
    for (name, text) in bombs() {
        limit(&format!("bomb: {name}"), Duration::from_secs(1), &|| {
            let parsed = parse("bomb.yaml", text.as_bytes(), Dialect::Kubernetes);
            assert!(!parsed.complete && !parsed.diagnostics.is_empty());
        });
    }
    let manifests =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n  labels: {app: web}\ndata:\n  \
                     a: \"1\"\n  b: text\n---\n"
            .repeat(4_000);
    limit("read 4,000 manifests in one file", Duration::from_millis(400), &|| {
        assert_eq!(parse("m.yaml", manifests.as_bytes(), Dialect::Kubernetes).docs.len(), 4_000);
    });
    assert!(slow.is_empty(), "too slow: {slow:?}");
}

fn measure(run: &dyn Fn()) -> (Duration, Duration, Duration) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    (times[0], times[RUNS / 2], times[RUNS - 1])
}

/// Each fleet gives two profiles to its targets; every profile has layers and ten variables.
fn fleet(targets: usize, profiles: usize) -> MemoryTree {
    let head = "apiVersion: fairlead.dev/v1alpha1\nkind:";
    let mut tree = MemoryTree::default();
    for n in 0..profiles {
        let variables: String = (0..7)
            .map(|v| format!("      v{v}: {{type: string, pattern: '^[a-z-]+$', default: value}}\n"))
            .collect();
        let layers: String = ["os", "kubernetes", "cni", "csi", "addon"]
            .map(|layer| format!("  - {{name: {layer}, type: {layer}, manifests: {{path: {layer}}}}}\n"))
            .concat();
        let text = format!(
            "{head} ClusterProfile\nmetadata: {{name: p{n}}}\nspec:\n  version: 1.0.0\n  variables:\n    type: object\n    \
             required: [region]\n    properties:\n      region: {{type: string, enum: [eu, us]}}\n      \
             replicas: {{type: integer, minimum: 1, maximum: 9, default: 2}}\n      vip: {{type: string, format: ipv4}}\n\
             {variables}  layers:\n{layers}"
        );
        tree = tree.with(&format!("profiles/p{n}/profile.yaml"), text);
        for layer in ["os", "kubernetes", "cni", "csi", "addon"] {
            tree = tree.with(&format!("profiles/p{n}/{layer}/all.yaml"), "a: b");
        }
    }
    for n in 0..profiles / 2 {
        let text = format!(
            "{head} Fleet\nmetadata: {{name: f{n}}}\nspec:\n  clusters: {{matchLabels: {{fleet: f{n}}}}}\n  profiles:\n  \
             - name: p{}\n  - name: p{}\n  variables: {{v0: info}}\n",
            2 * n,
            2 * n + 1
        );
        tree = tree.with(&format!("fleets/f{n}.yaml"), text);
    }
    let of = |n: usize| n % (profiles / 2).max(1);
    for n in 0..targets {
        let text = format!(
            "# yaml-language-server: $schema=../../schemas/clustertarget.json\n{head} ClusterTarget\nmetadata:\n  name: edge-{n:04}\n  labels: {{segment: retail, \
             region: eu, ring: stable, fleet: f{}}}\nspec:\n  variables: {{region: eu, vip: 10.20.{}.{}, replicas: 3}}\n  \
             timeZone: Europe/Berlin\n",
            of(n),
            n / 250,
            n % 250
        );
        tree = tree.with(&format!("clusters/eu/edge-{n:04}.yaml"), text);
    }
    tree
}

fn bombs() -> Vec<(&'static str, String)> {
    let aliases = (0..10).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        format!("{text}a{}: &a{} [{}]\n", n + 1, n + 1, format!("*a{n}, ").repeat(10))
    });
    vec![
        ("aliases of aliases", aliases),
        (
            "an alias of a long text",
            format!("a: &a \"{}\"\nb: [{}]", "x".repeat(1 << 20), "*a, ".repeat(100_000)),
        ),
        ("100,000 nested lists", "[".repeat(100_000)),
        ("100,000 nested mappings", "{a: ".repeat(100_000)),
        ("100,000 nested block lists", "- ".repeat(100_000)),
        ("50 MB", "a: b\n".repeat(10 << 20)),
        ("8 MB of two-byte values", format!("[{}", "1,".repeat((4 << 20) - 1))),
        ("20,000 documents", "---\na\n".repeat(20_000)),
        ("200,000 broken documents", "--- [\n".repeat(200_000)),
    ]
}

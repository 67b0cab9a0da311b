//! What the fleet consists of: a profile of three layers and 50 objects, which each cluster gets with values of its
//! own, as fleets do.
//!
//! `base` is the same everywhere, `shop` depends on the region, `site` on the cluster. What changes is in `site`: then
//! every cluster gets other bytes than the next.

use std::fmt::Write as _;

pub const OBJECTS: usize = 50;
pub const NAMESPACE: &str = "shop";
pub const FLEET: &str = "retail";
/// The object that commits change.
pub const CHANGED: &str = "site-settings-0";
pub const CHANGED_FILE: &str = "profiles/edge/site/settings-0.yaml";

pub const FLEET_FILE: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: Fleet
metadata: {name: retail}
spec:
  clusters: {matchLabels: {segment: retail}}
  profiles: [{name: edge}]
  rollout: {progressDeadline: 10m}
";
const PROFILE_FILE: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: ClusterProfile
metadata: {name: edge}
spec:
  version: 1.0.0
  variables:
    type: object
    required: [region]
    properties:
      region: {type: string, enum: [eu, us, ap, sa]}
      replicas: {type: integer, minimum: 1, default: 2}
  layers:
  - {name: base, type: addon, manifests: {path: base}}
  - {name: shop, type: addon, dependsOn: [base], manifests: {path: shop}}
  - {name: site, type: addon, dependsOn: [shop], manifests: {path: site}}
";
const REGIONS: [&str; 4] = ["eu", "us", "ap", "sa"];

/// As `fairlead sim` names them.
pub fn names(count: usize) -> Vec<String> {
    let width = count.to_string().len().max(3);
    (1..=count).map(|number| format!("edge-{number:0width$}")).collect()
}

/// Every file of the repository, but for the one that changes.
pub fn files(names: &[String]) -> Vec<(String, String)> {
    let mut files = vec![
        ("fleets/retail.yaml".to_owned(), FLEET_FILE.to_owned()),
        ("profiles/edge/profile.yaml".to_owned(), PROFILE_FILE.to_owned()),
    ];
    for (number, name) in names.iter().enumerate() {
        let region = REGIONS[number % REGIONS.len()];
        files.push((format!("clusters/{region}/{name}.yaml"), target(name, region)));
    }
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n");
    files.push(("profiles/edge/base/namespace.yaml".to_owned(), namespace));
    let mut layer = |layer: &str, value: &str, counts: [usize; 5]| {
        let [maps, secrets, accounts, deployments, services] = counts;
        let mut put = |kind: &str, count: usize, text: &dyn Fn(usize) -> String| {
            for number in 0..count {
                files.push((format!("profiles/edge/{layer}/{kind}-{number}.yaml"), text(number)));
            }
        };
        put("settings", maps, &|n| config_map(layer, n, value));
        put("secret", secrets, &|n| secret(layer, n, value));
        put("account", accounts, &|n| head("v1", "ServiceAccount", &format!("{layer}-{n}")));
        put("web", deployments, &|n| deployment(layer, n, value));
        put("service", services, &|n| service(layer, n));
    };
    layer("base", "everywhere", [19, 3, 4, 2, 1]);
    layer("shop", "${{ var.region }}", [6, 2, 1, 3, 3]);
    layer("site", "${{ cluster.name }}", [4, 0, 0, 0, 1]);
    files.retain(|(path, _)| path != CHANGED_FILE);
    files
}

fn target(name: &str, region: &str) -> String {
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata:\n  name: {name}\n  labels: {{segment: retail, region: {region}}}\nspec:\n  variables: {{region: {region}}}\n"
    )
}

/// The object that changes, at a value.
pub fn changed(value: &str) -> String {
    let mut text = config_map("site", 0, "${{ cluster.name }}");
    let _ = writeln!(text, "  changed: {value:?}");
    text
}

fn head(version: &str, kind: &str, name: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\n  labels: {{app: {name}}}\n"
    )
}

/// About half a kilobyte.
fn config_map(layer: &str, number: usize, value: &str) -> String {
    let text = "every object says something about itself, at some length. ".repeat(5);
    let head = head("v1", "ConfigMap", &format!("{layer}-settings-{number}"));
    format!("{head}data:\n  text: {text:?}\n  value: {value}\n")
}

fn secret(layer: &str, number: usize, value: &str) -> String {
    let head = head("v1", "Secret", &format!("{layer}-secret-{number}"));
    format!("{head}type: Opaque\nstringData:\n  token: not-very-secret-{value}\n")
}

fn service(layer: &str, number: usize) -> String {
    let name = format!("{layer}-{number}");
    let head = head("v1", "Service", &name);
    format!(
        "{head}spec:\n  selector: {{app: {name}}}\n  ports: [{{name: http, port: 80, targetPort: 8080}}]\n"
    )
}

fn deployment(layer: &str, number: usize, value: &str) -> String {
    let name = format!("{layer}-web-{number}");
    let head = head("apps/v1", "Deployment", &name);
    format!(
        "{head}spec:\n  replicas: ${{{{ var.replicas }}}}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n      containers:\n      - name: main\n        image: registry.example.com/shop/web:1.2.3\n        env: [{{name: PLACE, value: {value:?}}}]\n        resources:\n          requests: {{cpu: 100m, memory: 64Mi}}\n"
    )
}

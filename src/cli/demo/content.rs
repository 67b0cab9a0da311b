//! The fleet repository of the demo: the profiles of `examples/fleet`, over as many clusters as one wants.

use std::collections::BTreeMap;

/// A file that the tour changes.
pub const WEB: &str = "profiles/retail-edge/shop/web.yaml";
/// A file that the tour adds.
pub const PROMOTION: &str = "profiles/retail-edge/shop/promotion.yaml";
/// A file that concerns no cluster.
pub const README: &str = "README.md";

/// Name, time zone, and the second byte of its clusters' addresses.
const REGIONS: [(&str, &str, u8); 3] =
    [("eu", "Europe/Berlin", 20), ("us", "America/Chicago", 21), ("ap", "Asia/Singapore", 22)];
/// In each region one cluster in so many is a hub; the rest are shops.
const HUB_EVERY: usize = 8;
/// In each region one cluster in so many, the first among them, is a canary.
const CANARY_EVERY: usize = 48;

macro_rules! profiles {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../examples/fleet/profiles/", $path)))),*]
    };
}

const PROFILES: [(&str, &str); 8] = profiles![
    "platform/profile.yaml",
    "platform/access/rbac.yaml",
    "platform/agent/agent.yaml",
    "platform/agent/namespace.yaml",
    "retail-edge/profile.yaml",
    "retail-edge/network/settings.yaml",
    "retail-edge/shop/namespace.yaml",
    "retail-edge/shop/rbac.yaml",
];
const WEB_TEXT: &str = include_str!("../../../examples/fleet/profiles/retail-edge/shop/web.yaml");

/// `CONCURRENCY` and `DEADLINE` follow from the number of clusters.
const RETAIL: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: Fleet
metadata:
  name: retail
spec:
  clusters:
    matchLabels: {segment: retail}
  profiles:
  - name: platform
  - name: retail-edge
  variables: {logLevel: info}          # profile default < fleet < target
  rollout:
    waves:
    - {name: canary, clusters: {matchLabels: {ring: canary}}, minSuccessTime: 2s}
    - {name: rest, maxConcurrency: CONCURRENCY}
    progressDeadline: DEADLINE         # short, so that you can watch it
    onFailure: Rollback
  drift: {mode: Heal}
";

const HUBS: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: Fleet
metadata:
  name: hubs
spec:
  clusters:
    matchLabels: {segment: hub}
  profiles:
  - name: platform
  rollout:
    waves:
    - {name: all, maxConcurrency: CONCURRENCY}
    progressDeadline: DEADLINE
    onFailure: Rollback
  drift: {mode: Heal}
";

/// One cluster of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub name: String,
    pub hub: bool,
    pub canary: bool,
    region: usize,
    number: usize,
}

/// The clusters, region by region.
pub fn clusters(count: usize) -> Vec<Cluster> {
    let width = if count.div_ceil(REGIONS.len()) > 999 { 4 } else { 3 };
    let in_region = |region: usize| (count + REGIONS.len() - 1 - region) / REGIONS.len();
    let all = (0..REGIONS.len()).flat_map(|region| (1..=in_region(region)).map(move |n| (region, n)));
    all.map(|(region, number)| {
        let hub = number.is_multiple_of(HUB_EVERY);
        let (place, kind) = (REGIONS[region].0, if hub { "hub" } else { "shop" });
        let name = format!("{place}-{kind}-{number:0width$}");
        Cluster { name, hub, canary: !hub && number % CANARY_EVERY == 1, region, number }
    })
    .collect()
}

/// Every file of the repository.
pub fn files(count: usize) -> BTreeMap<String, String> {
    let clusters = clusters(count);
    let mut files: BTreeMap<_, _> = PROFILES
        .iter()
        .map(|(path, text)| (format!("profiles/{path}"), without_schema(text)))
        .chain([(WEB.to_owned(), WEB_TEXT.to_owned())])
        .collect();
    files.insert("fleets/retail.yaml".into(), fleet(RETAIL, count));
    // A fleet without clusters would hold, and ask.
    if clusters.iter().any(|cluster| cluster.hub) {
        files.insert("fleets/hubs.yaml".into(), fleet(HUBS, count));
    }
    files.insert(README.into(), readme(count));
    for cluster in clusters {
        let region = REGIONS[cluster.region].0;
        files.insert(format!("clusters/{region}/{}.yaml", cluster.name), target(&cluster));
    }
    files
}

/// A machine that simulates many clusters is slow to each: fewer at once, and more time.
fn fleet(text: &str, count: usize) -> String {
    let concurrency = if count > 300 { "100" } else { "34%" };
    let deadline = format!("{}s", 8 + count / 25);
    text.replace("CONCURRENCY", concurrency).replace("DEADLINE", &deadline)
}

/// The example names its schemas by a path that is not there in the demo's folder.
fn without_schema(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("# yaml-language-server") => rest.to_owned(),
        _ => text.to_owned(),
    }
}

fn target(cluster: &Cluster) -> String {
    let (region, zone, net) = REGIONS[cluster.region];
    let Cluster { name, hub, canary, number, .. } = cluster;
    let segment = if *hub { "hub" } else { "retail" };
    let ring = if *canary { "canary" } else { "stable" };
    let variables = match hub {
        true => String::new(),
        false => {
            format!(
                "  variables: {{region: {region}, vip: 10.{net}.{}.{}}}\n",
                number / 250,
                number % 250 + 1
            )
        }
    };
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata:\n  name: {name}\n  \
         labels: {{segment: {segment}, region: {region}, ring: {ring}}}\nspec:\n{variables}  timeZone: {zone}\n"
    )
}

fn readme(count: usize) -> String {
    format!(
        "# A fleet of {count}\n\nMade by `fairlead demo`. `profiles/` says what a cluster runs, `clusters/` which \
         there are, `fleets/` who runs what.\nEdit, `git commit`, and watch.\n"
    )
}

/// The settings of the demo's daemon.
pub const SETTINGS: &str = "\
# The demo's daemon. `fairlead status --config <this file>` asks it while it runs.
instance: demo
repository: {url: fleet, branch: main, poll: 5s}
clusters:
- simulated: {}
state: state
server: {listen: \"127.0.0.1:0\"}
";

/// The shop's version in a manifest.
fn image(text: &str) -> Option<&str> {
    let at = text.find("shop/web:")? + "shop/web:".len();
    text[at..].split_whitespace().next()
}

/// The next version of the shop: 1.4.0 to 1.5.0. None if the text names no version.
pub fn next_version(text: &str) -> Option<(String, String)> {
    let old: semver::Version = image(text)?.parse().ok()?;
    let new = semver::Version::new(old.major, old.minor + 1, 0);
    Some((text.replacen(&format!("shop/web:{old}"), &format!("shop/web:{new}"), 1), new.to_string()))
}

/// The same shop, but its pods crash: simulated clusters read the annotation.
pub fn crashing(text: &str) -> Option<String> {
    let labels = "      labels: {app: web}\n";
    let bad = format!("{labels}      annotations: {{sim.fairlead.dev/fail: crash}}\n");
    text.contains(labels).then(|| text.replacen(labels, &bad, 1))
}

/// One more object, with a value of each cluster's own.
pub const PROMOTION_TEXT: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: promotion
  namespace: shop
data:
  text: Only in ${{ cluster.name }}
";

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::catalog::{Catalog, Folders};
    use fairlead_core::model::tree::MemoryTree;

    #[test]
    fn clusters_spread_over_regions_with_hubs_and_canaries() {
        let all = clusters(24);
        let count = |wanted: fn(&&Cluster) -> bool| all.iter().filter(wanted).count();
        assert_eq!((all.len(), count(|c| c.hub), count(|c| c.canary)), (24, 3, 3));
        assert_eq!((all[0].name.as_str(), all[23].name.as_str()), ("eu-shop-001", "ap-hub-008"));
        for count in [1, 2, 3, 7, 23, 1000, 5000] {
            let names: std::collections::BTreeSet<_> = clusters(count).into_iter().map(|c| c.name).collect();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn every_size_of_repository_is_valid() {
        for count in [1, 2, 24, 1000] {
            let catalog = Catalog::read(&MemoryTree::new(files(count)), &Folders::default());
            assert!(catalog.diagnostics().is_empty(), "{count}: {:?}", catalog.diagnostics());
            assert_eq!(catalog.targets().count(), count);
        }
    }

    #[test]
    fn the_tour_finds_what_it_edits() {
        let (better, version) = next_version(WEB_TEXT).unwrap();
        assert_eq!((version.as_str(), better.matches("shop/web:1.5.0").count()), ("1.5.0", 1));
        assert_eq!(next_version(&better).unwrap().1, "1.6.0");
        assert!(crashing(&better).unwrap().contains("sim.fairlead.dev/fail: crash"));
        assert_eq!((next_version("image: x"), crashing("kind: Service")), (None, None));
    }
}

//! What one bad document does to others, and what is never taken as removed.

use std::sync::Arc;

use super::findings::{base, findings};
use crate::catalog::{Catalog, Folders, Kind, Presence};
use crate::model::tree::{Entry, EntryKind, MemoryTree, Tree, TreeError};

fn read(tree: &dyn Tree) -> Catalog {
    Catalog::read(tree, &Folders::default())
}

fn problems(catalog: &Catalog, fleet: &str, target: &str) -> Vec<String> {
    let found = catalog.problems_for(&fleet.parse().unwrap(), &target.parse().unwrap());
    found.into_iter().map(ToString::to_string).collect()
}

fn target(name: &str, more: &str) -> String {
    format!(
        "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\nmetadata: {{name: {name}, labels: {{segment: retail}}}}\n\
         spec: {{variables: {{region: eu{more}}}}}\n"
    )
}

fn hundred() -> MemoryTree {
    (0..100).fold(base().without("clusters/one.yaml"), |tree, n| {
        tree.with(&format!("clusters/eu/edge-{n:03}.yaml"), target(&format!("edge-{n:03}"), ""))
    })
}

/// Every target but number 7 goes on.
fn only_seven_is_held(tree: &dyn Tree) -> Vec<String> {
    let catalog = read(tree);
    let (mut held, mut going) = (Vec::new(), 0);
    for n in 0..100 {
        let found = problems(&catalog, "retail", &format!("edge-{n:03}"));
        if found.is_empty() { going += 1 } else { held.extend(found.into_iter().map(|text| (n, text))) }
    }
    assert_eq!(going, 99, "{held:?}");
    assert!(held.iter().all(|(n, _)| *n == 7));
    assert_ne!(catalog.target_presence(&"edge-007".parse().unwrap()), Presence::Absent);
    held.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn threat_one_bad_file_of_a_hundred_stops_no_other() {
    let table = [
        (target("edge-007", ", replicas: 99"), "is out of range"),
        (target("edge-007", ", region: us"), "is here twice"),
        (target("edge-007", "}, suspned: {"), "unknown key 'suspned'"),
        ("a: [".to_owned(), "not valid YAML"),
        ("\u{0}".to_owned(), "binary file"),
        ("metadata: {name: edge-007}".to_owned(), "is missing"),
        ("name: edge-007".to_owned(), "is missing"),
    ];
    for (text, wrong) in table {
        let held = only_seven_is_held(&hundred().with("clusters/eu/edge-007.yaml", &text));
        assert!(held.iter().any(|found| found.contains(wrong)), "{text}: {held:?}");
        assert!(held.iter().all(|found| found.contains("clusters/eu/edge-007.yaml")), "{held:?}");
    }
}

/// A tree in which some entries are refused, or can't be read.
struct Broken {
    tree: MemoryTree,
    path: &'static str,
    error: TreeError,
}

impl Tree for Broken {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        if path == self.path { Err(self.error.clone()) } else { self.tree.entry(path) }
    }
    fn list(&self, folder: &str) -> Result<Option<Vec<Result<Entry, TreeError>>>, TreeError> {
        if folder == self.path {
            return Err(self.error.clone());
        }
        let entries = self.tree.list(folder)?;
        let refused = matches!(self.error, TreeError::Refused { .. });
        let entry = |entry: Result<Entry, TreeError>| match entry {
            Ok(entry) if refused && format!("{folder}/{}", entry.name) == self.path => {
                Err(self.error.clone())
            }
            other => other,
        };
        Ok(entries.map(|list| list.into_iter().map(entry).collect()))
    }
    fn read(&self, file: &str) -> Result<Option<Arc<[u8]>>, TreeError> {
        if file == self.path { Err(self.error.clone()) } else { self.tree.read(file) }
    }
}

fn refused(path: &'static str) -> Broken {
    let error = TreeError::Refused { path: path.to_owned(), reason: "a symbolic link".to_owned() };
    Broken { tree: hundred(), path, error }
}

fn unreadable(path: &'static str) -> Broken {
    let error = TreeError::Unreadable { path: path.to_owned(), reason: "object is corrupt".to_owned() };
    Broken { tree: hundred(), path, error }
}

#[test]
fn a_symlink_is_named_and_never_taken_as_removal() {
    let held = only_seven_is_held(&refused("clusters/eu/edge-007.yaml"));
    assert_eq!(
        held,
        [
            "clusters/eu/edge-007.yaml: this is not read: a symbolic link (hint: use an ordinary file or folder)"
        ]
    );
    let tree = refused("profiles/edge/profile.yaml");
    let catalog = read(&tree);
    assert_eq!(catalog.profile_presence(&"edge".parse().unwrap()), Presence::Unknown);
    assert_eq!(catalog.unreadable(Kind::Profile), ["profiles/edge/profile.yaml"]);
    assert_eq!(problems(&catalog, "retail", "edge-000").len(), 2);
}

#[test]
fn what_cannot_be_read_is_unknown_not_gone() {
    only_seven_is_held(&unreadable("clusters/eu/edge-007.yaml"));
    for path in ["clusters", "clusters/eu"] {
        let catalog = read(&unreadable(path));
        assert_eq!(catalog.targets().count(), 0);
        assert_eq!(catalog.target_presence(&"edge-000".parse().unwrap()), Presence::Unknown);
        let found: Vec<_> = catalog.diagnostics().iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [format!("{path}: cannot be read: object is corrupt")],
            "no warning that nothing is chosen"
        );
    }
    let catalog = read(&unreadable("fleets/retail.yaml"));
    assert_eq!(catalog.fleet_presence(&"retail".parse().unwrap()), Presence::Unknown);
    assert_eq!(catalog.target_presence(&"edge-000".parse().unwrap()), Presence::Present);
    assert_eq!(problems(&catalog, "retail", "edge-000").len(), 1);
}

#[test]
fn what_is_read_in_full_and_not_there_is_absent() {
    let catalog = read(&hundred());
    assert_eq!(catalog.target_presence(&"edge-100".parse().unwrap()), Presence::Absent);
    assert_eq!(catalog.fleet_presence(&"other".parse().unwrap()), Presence::Absent);
    let catalog = read(&MemoryTree::default());
    assert_eq!(catalog.target_presence(&"edge-000".parse().unwrap()), Presence::Absent);
    let begun = MemoryTree::default().with("clusters/edge.yaml", "");
    assert_eq!(
        findings(&begun),
        [
            "fleets: warning: there is no folder 'fleets', and so no fleet",
            "profiles: warning: there is no folder 'profiles', and so no profile"
        ]
    );
    assert_eq!(
        findings(&MemoryTree::default()),
        [
            ".: there is none of the folders 'profiles', 'clusters', 'fleets', so nothing is read (hint: name the root of \
             the fleet repository, or the folders in the daemon's settings)"
        ]
    );
}

#[test]
fn a_name_taken_twice_holds_both_and_nobody_else() {
    let tree = hundred().with("clusters/us/seven.yaml", target("edge-007", ""));
    let held = only_seven_is_held(&tree);
    assert_eq!(
        held,
        [
            "clusters/eu/edge-007.yaml:3:18: the target name 'edge-007' is taken twice, here and at \
         clusters/us/seven.yaml:3:18 (hint: rename or remove one of them)",
            "clusters/us/seven.yaml:3:18: the target name 'edge-007' is taken twice, here and at \
         clusters/eu/edge-007.yaml:3:18 (hint: rename or remove one of them)",
        ]
    );
    // Nobody knows which of them is meant, also if one is not valid.
    only_seven_is_held(&hundred().with("clusters/us/seven.yaml", target("edge-007", "}, x: {")));
}

#[test]
fn one_profile_from_two_fleets() {
    let fleet = "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {name: second}\nspec:\n  \
                 clusters: {matchLabels: {ring: canary}}\n  profiles: [{name: edge}]\n";
    let seven = target("edge-007", "").replace("segment: retail", "segment: retail, ring: canary");
    let tree = hundred().with("fleets/second.yaml", fleet).with("clusters/eu/edge-007.yaml", seven);
    let held = only_seven_is_held(&tree);
    assert_eq!(
        held,
        [
            "fleets/retail.yaml:7:11: the fleets 'retail' and 'second' both give the profile 'edge' to edge-007 \
         (hint: let the selectors choose different targets, or the fleets different profiles)",
            "fleets/second.yaml:6:21: the fleets 'second' and 'retail' both give the profile 'edge' to edge-007 \
         (hint: let the selectors choose different targets, or the fleets different profiles)",
        ]
    );
    assert_eq!(problems(&read(&tree), "second", "edge-007").len(), 2);
}

#[test]
fn a_bad_profile_or_fleet_holds_those_who_use_it() {
    let other = "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterProfile\nmetadata: {name: other}\n\
                 spec: {version: 1.0.0, layers: [{name: a, type: cni, manifests: {path: none}}]}\n";
    let fleet = |name: &str, profile: &str| {
        format!(
            "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: {name}}}\n\
             spec: {{clusters: {{}}, profiles: [{{name: {profile}}}]}}\n"
        )
    };
    let tree = hundred()
        .with("profiles/group/other/profile.yaml", other)
        .with("fleets/more.yaml", format!("{}---\n{}", fleet("others", "other"), fleet("lost", "none")));
    let catalog = read(&tree);
    assert_eq!(problems(&catalog, "retail", "edge-000"), [""; 0]);
    assert_eq!(problems(&catalog, "lost", "edge-000"), ["fleets/more.yaml:9:40: there is no profile 'none'"]);
    let missing = "profiles/group/other/profile.yaml:4:72: there is no 'profiles/group/other/none' \
                   (hint: paths are relative to the profile's folder; Git keeps no empty folders)";
    assert_eq!(problems(&catalog, "others", "edge-000"), [missing]);
    // A profile of another commit is that commit's.
    let elsewhere = fleet("others", "other, revision: {branch: main}");
    assert_eq!(problems(&read(&tree.with("fleets/more.yaml", elsewhere)), "others", "edge-000"), [""; 0]);
}

#[test]
fn layers_are_no_documents() {
    let tree = base()
        .with("profiles/edge/net/profile.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
        .with("clusters/README.md", "not a document")
        .with("clusters/.hidden.yaml", "not a document");
    assert_eq!(findings(&tree), [""; 0]);
    assert_eq!(tree.entry("profiles/edge/net").unwrap().unwrap().kind, EntryKind::Folder);
}

#[test]
fn targets_that_did_not_change_are_taken_from_the_catalog_before() {
    let folders = Folders::default();
    let first = hundred();
    let before = read(&first);
    let same = |tree: &dyn Tree, before: &Catalog| {
        let catalog = Catalog::read_after(tree, &folders, Some(before));
        assert_eq!(catalog.diagnostics(), read(tree).diagnostics());
        let shared = catalog.targets().zip(before.targets()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        (shared, catalog)
    };
    let other = first.clone().with("README.md", "Something else");
    assert_eq!(same(&other, &before).0, 100);
    // A target more, one less, one that is broken: all are read, and read again when that is mended.
    let more = first.clone().with("clusters/eu/edge-100.yaml", target("edge-100", ""));
    let (shared, catalog) = same(&more, &before);
    assert_eq!((shared, catalog.targets().count()), (0, 101));
    assert_eq!(same(&first.clone().without("clusters/eu/edge-007.yaml"), &before).0, 0);
    let (shared, broken) = same(&first.clone().with("clusters/eu/edge-007.yaml", "kind: ["), &before);
    assert_eq!(shared, 0);
    assert!(broken.has_errors());
    assert_eq!(same(&first, &broken).0, 0);
    // Findings are found again.
    let wrong = first.with("clusters/eu/edge-007.yaml", target("edge-007", ", colour: red"));
    let found = read(&wrong);
    assert!(!found.diagnostics().is_empty());
    same(&wrong, &found);
}

/// A tree of `wide` folders in each of `deep` levels, out of as many objects; beside it, what `tree` has.
struct Bomb {
    tree: MemoryTree,
    at: &'static str,
    wide: usize,
    deep: usize,
}

impl Bomb {
    fn level(&self, path: &str) -> Option<usize> {
        let below = path.strip_prefix(self.at)?;
        (below.is_empty() || below.starts_with('/')).then(|| below.matches('/').count())
    }
}

impl Tree for Bomb {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        self.tree.entry(path)
    }
    fn list(&self, folder: &str) -> Result<Option<Vec<Result<Entry, TreeError>>>, TreeError> {
        let folder_of = |name: String| {
            Ok(Entry { name, kind: EntryKind::Folder, id: crate::model::digest::TreeId::from_bytes([1; 20]) })
        };
        if let Some(level) = self.level(folder) {
            return Ok(Some(if level < self.deep {
                (0..self.wide).map(|n| folder_of(format!("{n:02}"))).collect()
            } else {
                Vec::new()
            }));
        }
        let mut entries = self.tree.list(folder)?;
        let (parent, name) = self.at.rsplit_once('/').unwrap_or(("", self.at));
        if let (true, Some(entries)) = (parent == folder, &mut entries) {
            entries.insert(0, folder_of(name.to_owned()));
        }
        Ok(entries)
    }
    fn read(&self, file: &str) -> Result<Option<Arc<[u8]>>, TreeError> {
        self.tree.read(file)
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "measures")]
fn threat_a_tree_without_end_stops_nothing_beside_it() {
    for at in ["clusters/deep", "fleets/deep", "profiles/deep"] {
        let start = std::time::Instant::now();
        let catalog = read(&Bomb { tree: hundred(), at, wide: 20, deep: 10 });
        let found: Vec<String> = catalog.diagnostics().iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].contains("too many folders and files"), "{found:?}");
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
        // What is nearer to the top is read, and nobody is held back by the bomb.
        for n in 0..100 {
            assert_eq!(problems(&catalog, "retail", &format!("edge-{n:03}")), [""; 0]);
        }
        // Whether something is in the bomb is not known.
        let presence = match at {
            "clusters/deep" => catalog.target_presence(&"nobody".parse().unwrap()),
            "fleets/deep" => catalog.fleet_presence(&"nobody".parse().unwrap()),
            _ => catalog.profile_presence(&"nobody".parse().unwrap()),
        };
        assert_eq!(presence, Presence::Unknown, "{at}");
    }
}

#[test]
fn threat_aliases_in_many_files_have_one_budget() {
    use crate::model::budget::{Budget, enter};
    let bomb = |n: usize| {
        let row =
            |name: &str, of: &str, n: usize| format!("    {name}: &{name} [{}]\n", vec![of; n].join(","));
        let head = "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarget\n";
        format!(
            "{head}metadata: {{name: bomb-{n}}}\nspec:\n  variables:\n{}{}    c: [{}]\n",
            row("a", "1", 100),
            row("b", "*a", 100),
            vec!["*b"; 20].join(",")
        )
    };
    let tree = (0..40).fold(hundred(), |tree, n| tree.with(&format!("clusters/b{n:02}.yaml"), bomb(n)));
    let _counted = enter(Arc::new(Budget::default()));
    let catalog = read(&tree);
    let over: Vec<_> = catalog.diagnostics().iter().filter(|found| found.code == "over-budget").collect();
    assert!(over.len() > 20 && over.len() < 40, "{}", over.len());
    assert!(over.iter().all(|found| found.place.file.starts_with("clusters/b")), "{over:?}");
    for n in 0..100 {
        assert_eq!(problems(&catalog, "retail", &format!("edge-{n:03}")), [""; 0]);
    }
}

/// One small blob, put at many names.
#[test]
fn threat_findings_without_end_are_counted() {
    use crate::model::budget::{Budget, Cost, enter};
    let bad = format!("kind: ClusterTarget\nmetadata: {{name: NO}}\nspec:\n{}", "  unknown: 1\n".repeat(60));
    let tree =
        (0..2_000).fold(hundred(), |tree, n| tree.with(&format!("clusters/bad-{n:04}.yaml"), bad.clone()));
    let budget = Arc::new(Budget::default());
    let _counted = enter(budget.clone());
    budget.spend(Cost::Findings, Cost::Findings.limit().0 - 1_000).unwrap();
    let catalog = read(&tree);
    let wrong = catalog.diagnostics().iter().filter(|found| found.place.file.starts_with("clusters/bad-"));
    assert!((2_000..8_000).contains(&wrong.count()), "{}", catalog.diagnostics().len());
    // None of them is taken for valid because what was wrong with it is not said.
    assert_eq!(catalog.targets().count(), 100);
}

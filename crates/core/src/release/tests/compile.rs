use std::sync::Arc;

use super::fixture::{PROFILE, Watched, release, release_of, repository};
use crate::model::diagnostic::Diagnostic;
use crate::model::tree::{MemoryTree, TreeError};
use crate::release::{LayerCache, collisions};

fn texts(found: &[Diagnostic]) -> Vec<String> {
    found.iter().map(Diagnostic::to_string).collect()
}

/// These bytes and digests are in ledgers: a new version of Fairlead must give the same.
#[test]
fn bytes_and_digests_never_change() {
    let release = release(&repository(), "a", &LayerCache::default()).unwrap();
    let lines: Vec<String> = release
        .objects()
        .map(|(layer, object)| {
            format!("{} {} {}", layer.id, object.place, std::str::from_utf8(&object.bytes).unwrap())
        })
        .collect();
    assert_eq!(
        lines,
        [
            r#"edge/net profiles/edge/net/all.yaml:2:1 {"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"labels":{"a":"1","b":"2"},"name":"net","namespace":"kube-system"},"spec":{"template":{"spec":{"big":1000,"hostNetwork":true,"priority":420,"ratio":1.5}}}}"#,
            r#"other/disk profiles/other/disk/sub/class.json:1:1 {"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"fast"}}"#,
            r#"edge/shop profiles/edge/shop/shop.yaml:2:1 {"apiVersion":"v1","data":{"region":"eu","text":"level info, é\t\"quoted\""},"kind":"ConfigMap","metadata":{"name":"shop","namespace":"shop"}}"#,
            r#"edge/shop profiles/edge/shop/shop.yaml:9:1 {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":4}}"#,
        ]
    );
    let digests: Vec<String> = release.objects().map(|(_, object)| object.digest.to_string()).collect();
    let layers: Vec<String> = release.layers.iter().map(|layer| layer.content.digest.to_string()).collect();
    assert_eq!(
        digests,
        [
            "a35f28aa263123afed700563735ff9e0c58b63674c86b49c772ab6fb7df51fb8",
            "eae6943e4091a07b091fea17bb57c1279ac6190749c342d662d9fcca07897b2c",
            "3191d895efa7e77317b3ea1d5d4c88bc536468b5353f43f4580494e0bba2871b",
            "0867cadacc9d12ef84aaaf0195f11461e3da0787837edf958bdf920adf4bcc16",
        ]
    );
    assert_eq!(
        layers,
        [
            "9b875f89aaa409cb3e6c823c7dc23e21b55eb098dd295d2c105b8ddcbdd54c23",
            "57b2d1dee84523b260fe7d563f011ef99b3275ff97572d1204a38e4bca631467",
            "7f0abe3e220ab8687a5444a7ea8747d6b54da7335a2f8e965c098e14e1337e04",
        ]
    );
    assert_eq!(
        release.digest.to_string(),
        "f3c2efedcef91fca4ec7a1b1879cd0dd878e5bc034b8b3fce0e7b1519373be00"
    );
}

#[test]
fn layers_come_after_what_they_depend_on() {
    let release = release(&repository(), "a", &LayerCache::default()).unwrap();
    let layers: Vec<String> = release
        .layers
        .iter()
        .map(|l| {
            format!(
                "{} adopt={} after {:?}",
                l.id,
                l.adopt,
                l.depends_on.iter().map(ToString::to_string).collect::<Vec<_>>()
            )
        })
        .collect();
    assert_eq!(
        layers,
        [
            r#"edge/net adopt=true after []"#,
            r#"other/disk adopt=false after ["edge/net"]"#,
            r#"edge/shop adopt=false after ["edge/net", "other/disk"]"#,
        ]
    );
}

#[test]
fn equal_inputs_share_a_layer_and_are_read_once() {
    let tree = Watched::new(repository());
    let cache = LayerCache::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| release(&tree, name, &cache).unwrap());
    assert_eq!(tree.reads(), 3);
    assert_eq!((a.digest == b.digest, a.digest == c.digest), (true, false));
    for n in 0..3 {
        assert!(Arc::ptr_eq(&a.layers[n].content, &b.layers[n].content));
    }
    // Only the shop reads the region.
    let shared: Vec<bool> = (0..3).map(|n| Arc::ptr_eq(&a.layers[n].content, &c.layers[n].content)).collect();
    assert_eq!(shared, [true, true, false]);
    // Objects without expressions share their bytes anyway.
    assert_eq!(release(&repository(), "c", &LayerCache::default()).unwrap(), c);
}

#[test]
fn what_a_layer_does_not_read_does_not_touch_it() {
    let cache = LayerCache::default();
    let before = release(&repository(), "a", &cache).unwrap();
    for (path, content) in [
        ("README.md", "new"),
        ("profiles/edge/other/x.yaml", "apiVersion: v1\nkind: Nonsense\n"),
        ("profiles/edge/net/other.yaml", "not: read"),
        (
            "profiles/edge/profile.yaml",
            &PROFILE
                .replace("1.0.0", "1.0.1")
                .replace("default: 2}", "default: 2}\n      more: {default: 1}"),
        ),
    ] {
        let tree = Watched::new(repository().with(path, content));
        let after = release(&tree, "a", &cache).unwrap();
        assert_eq!((&before, tree.reads()), (&after, 0), "{path}");
    }
}

#[test]
fn every_file_of_a_layer_is_an_input() {
    let cache = LayerCache::default();
    let before = release(&repository(), "a", &cache).unwrap();
    for (path, content, changed) in [
        ("profiles/edge/shop/shop.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n", true),
        (
            "profiles/edge/shop/deep/er/x.yml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n",
            true,
        ),
        ("profiles/edge/shop/README.md", "changed", false),
        ("profiles/edge/shop/empty.yaml", "# nothing\n---\n", false),
    ] {
        let tree = Watched::new(repository().with(path, content));
        let after = release(&tree, "a", &cache).unwrap();
        assert_eq!((before.digest != after.digest, tree.reads() > 0), (changed, true), "{path}");
    }
    let moved = repository().without("profiles/other/disk/sub/class.json").with(
        "profiles/other/disk/moved.yaml",
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast}}",
    );
    let moved = release(&moved, "a", &cache).unwrap();
    assert_eq!(moved.digest, before.digest);
    assert_eq!(moved.layers[1].content.objects[0].place.file, "profiles/other/disk/moved.yaml");
}

#[test]
fn a_file_without_expressions_is_read_again_only_when_it_or_its_place_changes() {
    let cache = LayerCache::default();
    let map = |name: &str, value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{v: \"{value}\"}}\n")
    };
    let plain = |file: &str, text: String| (format!("profiles/edge/shop/plain/{file}.yaml"), text);
    let mut tree = repository();
    for (path, text) in [plain("a", map("a", "1")), plain("b", map("b", "1")), plain("c", map("c", "1"))] {
        tree = tree.with(&path, text);
    }
    release(&tree, "a", &cache).unwrap();
    let reads = |tree: &MemoryTree| {
        let watched = Watched::new(tree.clone());
        let after = release(&watched, "a", &cache).unwrap();
        let fresh = release(tree, "a", &LayerCache::default()).unwrap();
        // Places too.
        assert_eq!(format!("{after:?}"), format!("{fresh:?}"));
        watched.reads()
    };
    // The file with expressions is read with each change of its layer.
    let (path, text) = plain("b", map("b", "2"));
    assert_eq!(reads(&tree.clone().with(&path, text)), 2);
    let (moved, text) = plain("d", map("c", "1"));
    let tree = tree.without(&plain("c", String::new()).0).with(&moved, text);
    assert_eq!(reads(&tree), 2);
    assert_eq!(reads(&tree), 0);
}

#[test]
fn what_cannot_be_read_is_an_error_and_asked_for_again() {
    let cache = LayerCache::default();
    let unreadable =
        |path: &str| TreeError::Unreadable { path: path.into(), reason: "the pack is corrupt".into() };
    for path in ["profiles/edge/shop", "profiles/edge/shop/shop.yaml"] {
        let mut tree = Watched::new(repository());
        tree.broken.insert(path.into(), unreadable(path));
        let found = release(&tree, "a", &cache).unwrap_err();
        assert_eq!(texts(&found), [format!("{path}: cannot be read: the pack is corrupt")]);
        assert_eq!(found[0].code, "unreadable");
    }
    assert!(release(&repository(), "a", &cache).is_ok());

    let mut tree = Watched::new(repository().with("profiles/edge/shop/link", "../../secret"));
    let path = "profiles/edge/shop/link";
    tree.broken.insert(path.into(), TreeError::Refused { path: path.into(), reason: "is a symlink".into() });
    assert_eq!(texts(&release(&tree, "a", &cache).unwrap_err()), [format!("{path}: is a symlink")]);
}

#[test]
fn a_path_with_nothing_there_is_an_error_at_the_profile() {
    let tree = repository().without("profiles/other/disk/sub/class.json");
    let found = release(&tree, "a", &LayerCache::default()).unwrap_err();
    assert_eq!(texts(&found), ["profiles/other/profile.yaml:8:47: there is nothing at profiles/other/disk"]);
}

#[test]
fn all_that_is_wrong_is_told_over_layers_and_profiles() {
    let tree = repository()
        .with("profiles/edge/shop/bad.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${{ var.regoin }}}\n")
        .with("profiles/edge/net/all.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  labels: {a: ${{ cluster.labels.zone }}}\n")
        .with("profiles/other/disk/bad.yaml", "a: 1\na: 2\n");
    let found = release(&tree, "a", &LayerCache::default()).unwrap_err();
    let codes: Vec<_> = found.iter().map(|f| (f.place.to_string(), f.code.as_str())).collect();
    assert_eq!(
        codes,
        [
            ("profiles/edge/shop/bad.yaml:3:19".to_owned(), "yaml-syntax"),
            ("profiles/edge/net/all.yaml:5:16".to_owned(), "yaml-syntax"),
            ("profiles/other/disk/bad.yaml:2:1".to_owned(), "yaml-duplicate-key"),
            ("profiles/other/disk/bad.yaml:1:1".to_owned(), "missing-field"),
            ("profiles/other/disk/bad.yaml:1:1".to_owned(), "missing-field"),
            ("profiles/other/disk/bad.yaml:1:1".to_owned(), "missing-field"),
        ],
        "{:?}",
        texts(&found)
    );
    assert!(found[0].hint.as_deref().unwrap().contains("in quotes"));
}

#[test]
fn an_object_has_one_source() {
    let shop = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop, namespace: shop}\n";
    let found = release(&repository().with("profiles/other/disk/cm.yaml", shop), "a", &LayerCache::default())
        .unwrap_err();
    assert_eq!(
        texts(&found),
        [
            "profiles/edge/shop/shop.yaml:2:1: ConfigMap shop/shop is in the layer edge/shop and, at profiles/other/disk/cm.yaml:1:1, in the layer other/disk (hint: an object of a cluster has one source: remove one of them)",
        ]
    );
    // A namespace that is not named is `default`; another version is the same object.
    let twice = "{apiVersion: batch/v1, kind: Job, metadata: {name: j}}\n---\n{apiVersion: batch/v1beta1, kind: Job, metadata: {name: j, namespace: default}}\n";
    let found = release(&repository().with("profiles/other/disk/j.yaml", twice), "a", &LayerCache::default())
        .unwrap_err();
    assert_eq!(found.len(), 1);
}

#[test]
fn two_fleets_of_a_target_may_not_share_an_object() {
    let fleet = "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {name: infra}\nspec:\n  clusters: {}\n  profiles: [{name: other}]\n";
    let tree = repository().with("fleets/infra.yaml", fleet);
    let cache = LayerCache::default();
    let retail = release(&tree, "a", &cache).unwrap();
    let infra = release_of(&tree, "infra", "a", &cache).unwrap();
    assert_eq!(
        texts(&collisions(&[&retail, &infra])),
        [
            "profiles/other/disk/sub/class.json:1:1: StorageClass fast is in the layer other/disk and, at profiles/other/disk/sub/class.json:1:1, in the layer other/disk of the fleet retail (hint: an object of a cluster has one source: remove one of them)",
        ]
    );
    assert_eq!(collisions(&[&retail]), []);
}

#[test]
fn a_variable_no_profile_declares_is_named_with_its_place() {
    let edit = |tree: crate::model::tree::MemoryTree| {
        tree.with(
            "profiles/other/disk/x.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x${{ var.region }}\n",
        )
    };
    let cache = LayerCache::default();
    for _ in 0..2 {
        let found = release(&edit(repository()), "a", &cache).unwrap_err();
        assert_eq!(
            texts(&found),
            [
                "profiles/other/disk/x.yaml:4:10: the profile other declares no variable 'region' (hint: declare it under spec.variables.properties of the profile)",
            ]
        );
    }
}

#[test]
fn status_is_kept_and_warned_of() {
    use crate::catalog::{Catalog, Folders};
    use crate::release::{ProfileAt, lint};
    let tree = repository().with(
        "profiles/other/disk/x.yaml",
        "apiVersion: v1\nkind: Node\nmetadata: {name: x}\nstatus: {a: 1}\n",
    );
    let catalog = Catalog::read(&tree, &Folders::default());
    let profile = catalog.profile(&"other".parse().unwrap()).unwrap();
    let found = lint(ProfileAt { profile, tree: &tree }, &LayerCache::default());
    assert_eq!(
        found.iter().map(|f| (f.place.to_string(), f.is_error())).collect::<Vec<_>>(),
        [("profiles/other/disk/x.yaml:4:9".to_owned(), false)]
    );
}

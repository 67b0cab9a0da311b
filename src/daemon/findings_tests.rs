//! No finding hides another: faults of every kind are planted, one by one, in pairs, and all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::library::{Library, WORKING_TREE};
use super::plans;
use fairlead_core::catalog::Folders;
use fairlead_core::model::tree::MemoryTree;

const HEAD: &str = "apiVersion: fairlead.dev/v1alpha1\nkind:";

fn base() -> BTreeMap<String, String> {
    let files = [
        (
            "profiles/edge/profile.yaml",
            format!(
                "{HEAD} ClusterProfile\nmetadata: {{name: edge}}\nspec:\n  version: 1.0.0\n  variables:\n    type: object\n    \
                 required: [region]\n    properties:\n      region: {{type: string, enum: [eu, us]}}\n      \
                 replicas: {{type: integer, minimum: 1, maximum: 9, default: 2}}\n      vip: {{type: string, format: ipv4}}\n      \
                 path: {{type: string, pattern: '^a', default: a/b}}\n      \
                 deep: {{type: object, default: {{}}, properties: {{port: {{type: integer, default: 80}}}}}}\n  \
                 layers:\n  - {{name: net, type: cni, manifests: {{path: net}}}}\n  - {{name: shop, type: addon, manifests: {{path: shop}}}}\n  \
                 - {{name: last, type: addon, dependsOn: [net], manifests: {{path: last}}}}\n"
            ),
        ),
        ("profiles/edge/net/cm.yaml", map("net", "{region: '${{ var.region }}', port: '${{ var.deep.port }}'}")),
        (
            "profiles/edge/shop/web.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: ${{ var.replicas }}\n".to_owned(),
        ),
        ("profiles/edge/last/cm.yaml", map("last", "{a: b}")),
        (
            "profiles/other/profile.yaml",
            format!(
                "{HEAD} ClusterProfile\nmetadata: {{name: other}}\nspec:\n  version: 0.1.0\n  layers:\n  \
                 - {{name: disk, type: csi, manifests: {{path: disk}}}}\n"
            ),
        ),
        ("profiles/other/disk/cm.yaml", map("disk", "{a: b}")),
        (
            "clusters/one.yaml",
            format!(
                "{HEAD} ClusterTarget\nmetadata: {{name: one, labels: {{segment: retail}}}}\nspec:\n  suspend: false\n  \
                 variables:\n    region: eu\n    vip: 10.0.0.1\n"
            ),
        ),
        (
            "clusters/two.yaml",
            format!(
                "{HEAD} ClusterTarget\nmetadata: {{name: two, labels: {{segment: retail}}}}\nspec:\n  timeZone: Europe/Berlin\n  \
                 variables:\n    region: us\n    replicas: 3\n"
            ),
        ),
        (
            "fleets/retail.yaml",
            format!(
                "{HEAD} Fleet\nmetadata: {{name: retail}}\nspec:\n  clusters: {{matchLabels: {{segment: retail}}}}\n  profiles:\n  \
                 - name: edge\n  variables:\n    vip: 10.0.0.9\n  rollout:\n    maxFailures: 1\n"
            ),
        ),
        (
            "fleets/infra.yaml",
            format!(
                "{HEAD} Fleet\nmetadata: {{name: infra}}\nspec:\n  clusters: {{matchLabels: {{segment: retail}}}}\n  profiles:\n  \
                 - name: other\n"
            ),
        ),
    ];
    files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect()
}

fn map(name: &str, data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n")
}

/// A fault: what is changed where, and what is found.
struct Fault {
    file: &'static str,
    /// What is there before; the whole file where it is empty.
    from: &'static str,
    to: String,
    /// Parts of lines.
    found: &'static [&'static str],
}

fn edit(file: &'static str, from: &'static str, to: &str, found: &'static [&'static str]) -> Fault {
    Fault { file, from, to: to.to_owned(), found }
}

fn file(file: &'static str, text: impl Into<String>, found: &'static [&'static str]) -> Fault {
    Fault { file, from: "", to: text.into(), found }
}

const PROFILE: &str = "profiles/edge/profile.yaml";
const ONE: &str = "clusters/one.yaml";
const TWO: &str = "clusters/two.yaml";
const RETAIL: &str = "fleets/retail.yaml";
const INFRA: &str = "fleets/infra.yaml";

#[allow(clippy::too_many_lines, reason = "a table")]
fn faults() -> Vec<Fault> {
    vec![
        // A profile by itself.
        edit(PROFILE, "  version: 1.0.0\n", "  colour: red\n  version: 1.0.0\n", &["unknown key 'colour'"]),
        edit(
            PROFILE,
            "required: [region]\n",
            "required: region\n",
            &["not a valid JSON Schema: 'region' is a string"],
        ),
        edit(PROFILE, "format: ipv4", "format: ip4", &["'ip4' is not a format"]),
        edit(PROFILE, "pattern: '^a'", "pattern: '^(a'", &["not a valid JSON Schema"]),
        edit(PROFILE, "enum: [eu, us]", "enum: [eu, us], enumm: 1", &["no keyword 'enumm'"]),
        edit(
            PROFILE,
            "{port: {type: integer, default: 80}}",
            "{port: {type: integer, default: x}}",
            &["the default of 'deep'"],
        ),
        edit(
            PROFILE,
            "    properties:\n",
            "    properties:\n      rec: {$ref: '#/$defs/none'}\n",
            &["there is nothing at '#/$defs/none'"],
        ),
        edit(
            PROFILE,
            "  layers:\n",
            "  layers:\n  - {name: gone, type: addon, manifests: {path: gone}}\n",
            &["there is no 'profiles/edge/gone'"],
        ),
        edit(PROFILE, "dependsOn: [net]", "dependsOn: [nett]", &["no layer 'nett'"]),
        edit(
            PROFILE,
            "- {name: shop,",
            "- {name: net, type: csi, helm: {chart: x}}\n  - {name: shop,",
            &["the layer name 'net' is taken twice", "helm layers are not supported"],
        ),
        edit(
            PROFILE,
            "  - {name: last,",
            "  - {name: x, type: os, dependsOn: [y], manifests: {path: last}}\n  - {name: y, type: os, dependsOn: [x], manifests: {path: last}}\n  - {name: last,",
            &["these layers wait for each other"],
        ),
        // A second circle.
        edit(
            PROFILE,
            "path: last}}",
            "path: last}}\n  - {name: v, type: os, dependsOn: [w], manifests: {path: net}}\n  - {name: w, type: os, dependsOn: [v], manifests: {path: net}}",
            &["v -> w -> v"],
        ),
        file(
            "profiles/edge2/profile.yaml",
            format!(
                "{HEAD} ClusterProfile\nmetadata: {{name: third}}\nspec: {{layers: [{{name: a, type: cni, manifests: {{path: ../x}}}}]}}\n"
            ),
            &["'version' is missing", "leaves its folder by '..'"],
        ),
        file(
            "profiles/same/profile.yaml",
            format!(
                "{HEAD} ClusterProfile\nmetadata: {{name: other}}\nspec:\n  version: 1.0.0\n  layers: [{{name: a, type: cni, manifests: {{path: x}}}}]\n"
            ),
            &["profile name 'other'", "there is no 'profiles/same/x'"],
        ),
        // Targets.
        edit(ONE, "region: eu", "region: mars", &["'mars' is not allowed"]),
        edit(ONE, "  suspend: false\n", "  suspend: false\n  suspned: true\n", &["unknown key 'suspned'"]),
        edit(
            ONE,
            "labels: {segment: retail}",
            "labels: {segment: retail, 'a b': c}",
            &["'a b' is not a label key"],
        ),
        edit(ONE, "vip: 10.0.0.1\n", "vip: 10.0.0.1\n    nobody: 1\n", &["declares the variable 'nobody'"]),
        edit(TWO, "    region: us\n", "", &["two.yaml", "variable 'region' is missing"]),
        edit(
            TWO,
            "  timeZone: Europe/Berlin\n",
            "  timeZone: Europe/Berlin\n  timeZone: UTC\n",
            &["the key 'timeZone' is here twice"],
        ),
        edit(TWO, "replicas: 3", "replicas: 99", &["two.yaml", "99 is out of range"]),
        file("clusters/bad.yaml", "a: [", &["clusters/bad.yaml:1:4: not valid YAML"]),
        file(
            "clusters/dup.yaml",
            format!(
                "{HEAD} ClusterTarget\nmetadata: {{name: two, labels: {{segment: retail}}}}\nspec: {{variables: {{region: pluto}}}}\n"
            ),
            &["target name 'two'", "'pluto' is not allowed"],
        ),
        // Fleets.
        edit(
            RETAIL,
            "  - name: edge\n",
            "  - name: edge\n  - name: nobody\n",
            &["there is no profile 'nobody'"],
        ),
        edit(
            RETAIL,
            "  rollout:\n",
            "  dependsOn: [nofleet]\n  rollout:\n",
            &["there is no fleet 'nofleet'"],
        ),
        edit(RETAIL, "vip: 10.0.0.9\n", "vip: 10.0.0.9\n    replicas: 77\n", &["77 is out of range"]),
        edit(
            RETAIL,
            "    maxFailures: 1\n",
            "    maxFailures: 1\n    waves: [{name: a, percent: 0%}]\n",
            &["a wave of 0%"],
        ),
        edit(INFRA, "  - name: other\n", "  - name: other\n  dependsOn: [infra]\n", &["infra -> infra"]),
        edit(
            INFRA,
            "  profiles:\n",
            "  windows: [{schedule: '* * * * *', duration: 0s}]\n  profiles:\n",
            &["a window of 0s"],
        ),
        file(
            "fleets/wrong.yaml",
            format!("{HEAD} ClusterTarget\nmetadata: {{name: x}}\nspec: {{suspned: true}}\n"),
            &[
                "a ClusterTarget does not belong in this folder",
                "fleets/wrong.yaml:4:8: unknown key 'suspned'",
            ],
        ),
        file(
            "fleets/clash.yaml",
            format!(
                "{HEAD} Fleet\nmetadata: {{name: clash}}\nspec:\n  clusters: {{matchLabels: {{segment: retail}}}}\n  profiles: [{{name: other}}, {{name: gone, revision: {{tag: '>=1'}}}}]\n"
            ),
            &["both give the profile 'other'", "no tag gone/v<version>"],
        ),
        // Layers.
        file(
            "profiles/edge/net/a.yaml",
            map("a", "{x: '${{ cluster.nam }}'}"),
            &["'cluster.nam' is not known"],
        ),
        file(
            "profiles/edge/net/b.yaml",
            map("b", "{x: '${{ var.replica }} ${{ var.nope }}'}"),
            &["no variable 'replica'", "no variable 'nope'"],
        ),
        file(
            "profiles/edge/net/c.yaml",
            map("c", "{x: '${{ vra.a + foo }}'}"),
            &["'vra' is not known", "'foo' is not known"],
        ),
        file(
            "profiles/edge/shop/d.yaml",
            map("d", "{x: '${{ cluster.labels.zone }}'}"),
            &["no label 'zone'"],
        ),
        file("profiles/edge/shop/e.yaml", "metadata: {name: e}\napiVersion: V 1\n", &["kind is missing"]),
        file("profiles/edge/shop/f.yaml", "a: [", &["profiles/edge/shop/f.yaml:1:4: not valid YAML"]),
        file(
            "profiles/edge/last/g.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: g}\ndata:\n  a: '${{ var.none }}'\n  a: x\n",
            &["the key 'a' is here twice", "no variable 'none'"],
        ),
        file(
            "profiles/edge/last/h.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: h, labels: {on: on, v: 1.10}}\nspec: {containers: [{name: c, env: [{name: E, value: yes}]}]}\n",
            &[
                "metadata.labels.v must be a text, and '1.10' is the number 1.1",
                "env.0.value must be a text, and 'yes' means true",
                "the key 'on' means true",
            ],
        ),
        file(
            "profiles/edge/last/i.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: i, labels: {fairlead.dev/x: y}}\ndata: {'${{ var.region }}': a}\n",
            &["is reserved", "a key can't hold an expression"],
        ),
        file(
            "profiles/edge/last/j.yaml",
            map("j", "{x: 'a ${{ var.region', y: '${{ 1 + }}'}"),
            &["the expression has no end", "'1 +' is not an expression"],
        ),
        file("profiles/other/disk/k.yaml", map("net", "{a: b}"), &["ConfigMap net is in the layer"]),
        file(
            "profiles/edge/shop/l.yaml",
            map("l", "{}").replace("{name: l}", "{name: '${{ var.path }}', labels: {x: '${{ 1 / 0 }}'}}"),
            &["must not hold '/'", "division by zero"],
        ),
        file(
            "profiles/edge/shop/m.yaml",
            "apiVersion: x.io/v1\nkind: Big\nmetadata: {name: m}\nspec: {n: 18446744073709551617}\n",
            &["does not fit into 64 bits"],
        ),
        file(
            "profiles/other/disk/n.yaml",
            "apiVersion: v1\nkind: ConfigMapList\nitems:\n- {metadata: {name: ''}}\n- {apiVersion: v1, kind: List, items: 3}\n",
            &["metadata.name is missing", "the items of a list must be a list"],
        ),
    ]
}

fn plant(faults: &[&Fault]) -> Vec<String> {
    let mut files = base();
    for fault in faults {
        match fault.from {
            "" => drop(files.insert(fault.file.to_owned(), fault.to.clone())),
            from => {
                let text = files.get_mut(fault.file).unwrap();
                assert!(text.contains(from), "{}: {from}", fault.file);
                *text = text.replacen(from, &fault.to, 1);
            }
        }
    }
    let (library, _) = Library::of_tree(Arc::new(MemoryTree::new(files)), None, Folders::default());
    let found = plans::findings(&Arc::new(library), WORKING_TREE).unwrap();
    found.iter().map(ToString::to_string).collect()
}

/// What is planted and not found.
fn hidden<'a>(faults: &[&'a Fault], lines: &[String]) -> Vec<&'a str> {
    let all = faults.iter().flat_map(|fault| fault.found.iter().copied());
    all.filter(|part| !lines.iter().any(|line| line.contains(part))).collect()
}

#[test]
fn nothing_is_wrong_with_what_faults_are_planted_in() {
    assert_eq!(plant(&[]), [""; 0]);
}

#[test]
fn one_fault_of_every_kind_is_found_among_all_of_them() {
    let all = faults();
    let all: Vec<&Fault> = all
        .iter()
        .filter(|fault| fault.to != "required: region\n" && !fault.to.contains("nobody: 1"))
        .collect();
    let lines = plant(&all);
    assert_eq!(hidden(&all, &lines), [""; 0], "{}", lines.join("\n"));
    assert!(!lines.iter().any(|line| line.contains("stand-in")), "{}", lines.join("\n"));
}

#[test]
fn of_two_faults_neither_hides_the_other() {
    let all = faults();
    let mut wrong = Vec::new();
    for (n, one) in all.iter().enumerate() {
        for other in &all[n..] {
            // What says that a value must be there is itself not valid.
            if one.to == "required: region\n" && other.from == "    region: us\n" {
                continue;
            }
            // Nobody knows what a profile declares that is not there, or of which there are two.
            let unknown = ["- name: nobody", "name: gone", "metadata: {name: other}"];
            let unknown = |fault: &Fault| unknown.iter().any(|part| fault.to.contains(part));
            if [(one, other), (other, one)].iter().any(|(a, b)| a.to.contains("nobody: 1") && unknown(b)) {
                continue;
            }
            let pair = if std::ptr::eq(one, other) { vec![one] } else { vec![one, other] };
            let lines = plant(&pair);
            for part in hidden(&pair, &lines) {
                wrong.push(format!("{part:?} of {} and {}:\n  {}", one.file, other.file, lines.join("\n  ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} hidden, such as\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
}

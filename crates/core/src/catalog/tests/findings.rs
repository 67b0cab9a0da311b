//! What is wrong in, the exact text out.

use crate::catalog::{Catalog, Folders};
use crate::model::tree::MemoryTree;

const PROFILE: &str = "\
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
      replicas: {type: integer, minimum: 1, maximum: 9, default: 2}
      vip: {type: string, format: ipv4}
      debug: {type: boolean}
  layers:
  - name: net
    type: cni
    manifests: {path: net}
";

const TARGET: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: ClusterTarget
metadata:
  name: one
  labels: {segment: retail}
spec:
  variables: {region: eu}
";

const FLEET: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: Fleet
metadata: {name: retail}
spec:
  clusters: {matchLabels: {segment: retail}}
  profiles:
  - name: edge
";

pub(super) fn base() -> MemoryTree {
    MemoryTree::new([
        ("profiles/edge/profile.yaml", PROFILE),
        ("profiles/edge/net/cm.yaml", "a: b"),
        ("clusters/one.yaml", TARGET),
        ("fleets/retail.yaml", FLEET),
    ])
}

pub(super) fn findings(tree: &MemoryTree) -> Vec<String> {
    let catalog = Catalog::read(tree, &Folders::default());
    catalog.diagnostics().iter().map(ToString::to_string).collect()
}

/// The base with one file's text changed; findings of that file lose its path.
fn changed(file: &str, from: &str, to: &str) -> Vec<String> {
    let text = match file {
        "profiles/edge/profile.yaml" => PROFILE,
        "clusters/one.yaml" => TARGET,
        _ => FLEET,
    };
    assert!(text.contains(from), "{from}");
    let found = findings(&base().with(file, text.replacen(from, to, 1)));
    found.iter().map(|line| line.replacen(&format!("{file}:"), "", 1)).collect()
}

fn check(file: &str, table: &[(&str, &str, &[&str])]) {
    let mut wrong = Vec::new();
    for (from, to, expected) in table {
        let found = changed(file, from, to);
        if found != *expected {
            wrong.push(format!("{from:?} -> {to:?}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_base_is_valid() {
    assert_eq!(findings(&base()), [""; 0]);
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn targets() {
    check(
        "clusters/one.yaml",
        &[
            (
                "spec:",
                "spec:\n  suspended: true",
                &[
                    "7:3: unknown key 'suspended'; expected one of pin, suspend, timeZone, variables (hint: did you mean 'suspend'?)",
                ],
            ),
            (
                "variables: {",
                "variabels: {",
                &[
                    "7:3: unknown key 'variabels'; expected one of pin, suspend, timeZone, variables (hint: did you mean 'variables'?)",
                ],
            ),
            (
                "name: one",
                "name: One_1",
                &[
                    "4:9: 'One_1' does not fit; expected a name: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
                ],
            ),
            (
                "name: one",
                "name: 12",
                &[
                    "4:9: 12 is a number; expected a name: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit (hint: put it in quotes)",
                ],
            ),
            (
                "name: one",
                "nam: one",
                &[
                    "3:1: 'name' is missing",
                    "4:3: unknown key 'nam'; expected one of annotations, labels, name (hint: did you mean 'name'?)",
                ],
            ),
            (
                "name: one",
                "name: ''",
                &[
                    "4:9: '' does not fit; expected a name: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
                ],
            ),
            (
                "name: one\n",
                "name: one\n  name: two\n",
                &["5:3: the key 'name' is here twice; the first is on line 4 (hint: remove one of them)"],
            ),
            (
                "segment: retail",
                "segment: retail, a/b/c: x, canary: true",
                &[
                    "5:29: 'a/b/c' is not a label key; expected a label key: 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, after a DNS name and '/' if it has a prefix",
                    "5:47: true is a boolean; expected a string (hint: put it in quotes)",
                ],
            ),
            (
                "segment: retail",
                "segment: retail, ring: '-x'",
                &[
                    "5:35: '-x' is not a label value; expected at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
                ],
            ),
            (
                "segment: retail",
                "segment: other",
                &["fleets/retail.yaml:5:3: warning: the label selector (segment=retail) chooses no target"],
            ),
            (
                "kind: ClusterTarget",
                "kind: ClusterTarge",
                &["2:7: 'ClusterTarge' is not allowed; expected 'ClusterTarget'"],
            ),
            (
                "kind: ClusterTarget",
                "kind: Fleet",
                &[
                    "2:7: a Fleet does not belong in this folder; expected ClusterTarget",
                    "6:1: 'clusters' is missing",
                    "6:1: 'profiles' is missing",
                ],
            ),
            ("v1alpha1", "v1", &["1:13: 'fairlead.dev/v1' is not allowed; expected 'fairlead.dev/v1alpha1'"]),
            (
                "spec:",
                "spec:\n  suspend: yes",
                &[
                    "7:12: 'yes' is a string; expected true or false (hint: write true or false, without quotes)",
                ],
            ),
            ("spec:", "spec:\n  pin:", &["7:6: there is no value; expected a mapping"]),
            (
                "spec:",
                "spec:\n  pin: {commit: 4f2c91a}",
                &[
                    "7:17: '4f2c91a' does not fit; expected a full commit hash: 40 digits of 0-9 and a-f, in quotes if all are digits",
                ],
            ),
            (
                "region: eu",
                "region: ue",
                &[
                    "7:23: variable 'region': 'ue' is not allowed; expected one of eu, us (profile edge, profiles/edge/profile.yaml:10:7) (hint: did you mean 'eu'?)",
                ],
            ),
            (
                "region: eu",
                "region: eu, replicas: 12, vip: 10.0.0.300",
                &[
                    "7:37: variable 'replicas': 12 is out of range; expected at most 9 (profile edge, profiles/edge/profile.yaml:11:7)",
                    "7:46: variable 'vip': '10.0.0.300' does not fit; expected an IPv4 address such as 10.20.0.5 (profile edge, profiles/edge/profile.yaml:12:7)",
                ],
            ),
            (
                "region: eu",
                "region: eu, replicas: '3', debug: yes",
                &[
                    "7:37: variable 'replicas': '3' is a string; expected a whole number (profile edge, profiles/edge/profile.yaml:11:7) (hint: remove the quotes)",
                    "7:49: variable 'debug': 'yes' is a string; expected true or false (profile edge, profiles/edge/profile.yaml:13:7) (hint: write true or false, without quotes)",
                ],
            ),
            (
                "region: eu",
                "region: eu, replica: 3",
                &[
                    "7:27: warning: no profile of this target declares the variable 'replica' (hint: did you mean 'replicas'?)",
                ],
            ),
            (
                "region: eu",
                "",
                &[
                    "7:3: variable 'region' is missing; expected a value as declared (profile edge, profiles/edge/profile.yaml:10:7)",
                ],
            ),
            (
                "  variables: {region: eu}",
                "  suspend: false",
                &[
                    "6:1: variable 'region' is missing; expected a value as declared (profile edge, profiles/edge/profile.yaml:10:7)",
                ],
            ),
            (
                "  variables: {region: eu}",
                "  variables: [region]",
                &["7:14: this is a list; expected a mapping"],
            ),
            ("{region: eu}", "{region: eu", &["7:14: not valid YAML: unclosed bracket '{'"]),
            (
                "spec:",
                "- x",
                &["6:3: not valid YAML: while parsing a block mapping, did not find expected key"],
            ),
            (TARGET, "just a text", &["1:1: 'just a text' is a string; expected a mapping"]),
            (
                TARGET,
                "",
                &["fleets/retail.yaml:5:3: warning: the label selector (segment=retail) chooses no target"],
            ),
        ],
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn fleets() {
    check(
        "fleets/retail.yaml",
        &[
            ("name: edge", "name: egde", &["7:11: there is no profile 'egde' (hint: did you mean 'edge'?)"]),
            (
                "name: edge",
                "name: other\n    revision: {branch: main}",
                &["7:11: warning: this commit has no profile 'other'; the revision must have it"],
            ),
            (
                "name: edge",
                "name: edge\n    revision: {brnch: main}",
                &[
                    "8:5: none of the possible keys is here; expected exactly one of branch, tag, commit (hint: did you mean 'branch'?)",
                ],
            ),
            (
                "name: edge",
                "name: edge\n    revision: {branch: main, tag: '1'}",
                &["8:5: branch and tag can't stand together; expected only one of them"],
            ),
            (
                "name: edge",
                "name: edge\n    revision: {tag: 'x.y'}",
                &[
                    "8:21: 'x.y' does not fit; expected a range of semantic versions such as '>=1.4, <2', '1.x' or '^1.2 || ^2'",
                ],
            ),
            (
                "name: edge",
                "name: edge\n    revision: main",
                &["8:15: 'main' is a string; expected a mapping"],
            ),
            (
                "name: edge",
                "name: edge\n  - name: edge",
                &["8:11: the profile 'edge' is here twice; the first is at fleets/retail.yaml:7:11"],
            ),
            ("  - name: edge", "    []", &["7:5: the list is too short; expected at least 1 entries"]),
            (
                "segment: retail",
                "segment: wholesale",
                &["5:3: warning: the label selector (segment=wholesale) chooses no target"],
            ),
            (
                "{matchLabels: {segment: retail}}",
                "{matchExpressions: [{key: segment, operator: In}, {key: a b, operator: Exists}, {key: c, operator: Has}]}",
                &[
                    "5:33: In takes at least one value",
                    "5:69: 'a b' is not a label key; expected a label key: 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, after a DNS name and '/' if it has a prefix",
                    "5:112: 'Has' is not allowed; expected one of In, NotIn, Exists, DoesNotExist",
                ],
            ),
            (
                "  profiles:",
                "  variables: {replicas: 99, replcas: 1}\n  profiles:",
                &[
                    "6:25: variable 'replicas': 99 is out of range; expected at most 9 (profile edge, profiles/edge/profile.yaml:11:7)",
                    "6:29: warning: no profile of this fleet declares the variable 'replcas' (hint: did you mean 'replicas'?)",
                ],
            ),
            (
                "  profiles:",
                "  rollout: {maxFailures: 120%, progressDeadline: 10 minutes, onFailure: rollback}\n  profiles:",
                &[
                    "6:26: '120%' does not fit; expected a whole number, or a percentage such as 25%",
                    "6:50: '10 minutes' does not fit; expected a duration such as 30s, 5m, 1h30m or 2d",
                    "6:73: 'rollback' is not allowed; expected one of Rollback, Pause, Continue (hint: did you mean 'Rollback'?)",
                ],
            ),
            (
                "  profiles:",
                "  rollout: {maxFailures: true, progressDeadline: 0s, offline: Skp}\n  profiles:",
                &[
                    "6:26: true is a boolean; expected a whole number, or a percentage such as 25%",
                    "6:50: a deadline of 0s leaves no time for anything; expected at least 1s",
                    "6:63: 'Skp' is not allowed; expected one of Skip, Wait (hint: did you mean 'Skip'?)",
                ],
            ),
            (
                "  profiles:",
                "  rollout: {maxFailures: 1.5}\n  profiles:",
                &[
                    "6:26: 1.5 is a number with a fraction; expected a whole number, or a percentage such as 25%",
                ],
            ),
            (
                "  profiles:",
                "  rollout:\n    waves:\n    - {name: a, percent: 10%, minSuccessTime: 5m, approval: Required}\n    - {name: b, clusters: {matchLabels: {segment: retail}}, windows: [{schedule: '* * * * *', duration: 1h}]}\n    - {name: c, maxConcurrency: 2}\n  windows: [{schedule: '0 1 * * Sat', duration: 4h, deny: true}]\n  profiles:",
                &[],
            ),
            (
                "  profiles:",
                "  rollout:\n    waves:\n    - {name: a, percent: 0%, count: 0}\n    - {name: rest, percent: 3}\n    - {name: c, maxConcurrency: 0}\n    - {name: a, clusters: {matchLabels: {ring: x}}, windows: [{schedule: '* * * * *', duration: 0s}]}\n  profiles:",
                &[
                    "8:26: a wave of 0% of the clusters; expected 1% to 100%",
                    "8:37: 0 is out of range; expected at least 1",
                    "9:14: 'rest' is the name of the wave of all that are left, and this one takes a part (hint: give it another name)",
                    "9:29: 3 is no percentage; expected such as 10% (hint: for 3 clusters, use 'count')",
                    "10:33: with a concurrency of 0 no cluster ever changes; expected at least 1 (hint: to stop a cluster, use 'suspend' on its target)",
                    "11:7: no cluster is left for this wave: 'c' takes all (hint: the wave that takes all that are left comes last)",
                    "11:14: the wave 'a' is here twice; the first is at fleets/retail.yaml:8:14",
                    "11:17: warning: the label selector (ring=x) takes no target that earlier waves leave",
                    "11:97: a window of 0s is never open; expected at least 1s",
                ],
            ),
            (
                "  profiles:",
                "  rollout: {waves: [{name: a, percent: 10%, count: 2}]}\n  profiles:",
                &[
                    "6:31: a wave takes its clusters by 'count' or by 'percent', not by both (hint: make two waves of it)",
                ],
            ),
            (
                "  profiles:",
                "  rollout: {waves: [{name: a, windows: [{schedule: 0 25 * * *, duration: 1h, timeZone: Berlin}]}]}\n  profiles:",
                &[
                    "6:52: '0 25 * * *' does not fit; expected minute, hour, day of the month, month and day of the week, such as '0 1 * * Sat,Sun' (hint: '25' is no hour: write 0 to 23, ranges and lists of them, or *)",
                    "6:88: 'Berlin' does not fit; expected a time zone of the IANA database such as Europe/Berlin",
                ],
            ),
            (
                "  profiles:",
                "  windows: [{schedule: '* * * * *', duration: 1h}]\n  dependsOn: [retail, retial]\n  profiles:",
                &[
                    "7:3: these fleets wait for each other: retail -> retail",
                    "7:23: there is no fleet 'retial' (hint: did you mean 'retail'?)",
                ],
            ),
            (
                "  profiles:",
                "  drift: {mode: Heel, ignore: [{path: spec.replicas}]}\n  profiles:",
                &[
                    "6:17: 'Heel' is not allowed; expected one of Heal, Report (hint: did you mean 'Heal'?)",
                    "6:39: 'spec.replicas' does not fit; expected a JSON pointer such as /spec/replicas",
                ],
            ),
            (
                "  profiles:",
                "  prune: {maxDeletions: -1, protect: Namespace}\n  profiles:",
                &[
                    "6:25: -1 is out of range; expected at least 0",
                    "6:38: 'Namespace' is a string; expected a list",
                ],
            ),
        ],
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn profiles() {
    check(
        "profiles/edge/profile.yaml",
        &[
            (
                "version: 1.0.0",
                "version: 1.0",
                &[
                    "5:12: 1.0 is a number; expected a semantic version such as 1.4.0 (hint: put it in quotes)",
                ],
            ),
            (
                "version: 1.0.0",
                "version: v1.0.0",
                &["5:12: 'v1.0.0' does not fit; expected a semantic version such as 1.4.0"],
            ),
            (
                "    type: object\n",
                "",
                &[
                    "6:3: the variables' schema must say 'type: object' (hint: list the variables under 'properties')",
                ],
            ),
            (
                "    type: object\n",
                "    type: objekt\n",
                &[
                    "7:11: not a valid JSON Schema: 'objekt' is not allowed; expected one of array, boolean, integer, null, number, object, string (hint: did you mean 'object'?)",
                    "7:11: the variables' schema must say 'type: object' (hint: list the variables under 'properties')",
                ],
            ),
            (
                "minimum: 1",
                "minimun: 1",
                &[
                    "11:33: warning: JSON Schema has no keyword 'minimun'; it says nothing (hint: did you mean 'minimum'?)",
                ],
            ),
            (
                "minimum: 1",
                "minimum: one",
                &["11:42: not a valid JSON Schema: 'one' is a string; expected a number"],
            ),
            (
                "default: 2",
                "default: 20",
                &["11:66: the default of 'replicas': 20 is out of range; expected at most 9"],
            ),
            (
                "format: ipv4",
                "format: ip4",
                &[
                    "12:35: 'ip4' is not a format that is known here; expected one of date, date-time, duration, email, hostname, idn-email, ipv4, ipv6, iri, json-pointer, regex, relative-json-pointer, time, uri, uri-reference, uri-template, uuid (hint: did you mean 'ipv4'?)",
                ],
            ),
            ("format: ipv4", "pattern: '('", &["12:36: not a valid JSON Schema: \"(\" is not a \"regex\""]),
            (
                "{type: boolean}",
                "{$ref: 'http://169.254.169.254/x'}",
                &[
                    "13:21: the reference 'http://169.254.169.254/x' leaves the repository; nothing is fetched (hint: copy the schema into the profile's folder)",
                ],
            ),
            (
                "{type: boolean}",
                "{$ref: 'file:///etc/passwd'}",
                &[
                    "13:21: the reference 'file:///etc/passwd' leaves the repository; nothing is fetched (hint: copy the schema into the profile's folder)",
                ],
            ),
            (
                "{type: boolean}",
                "{$ref: '/etc/passwd'}",
                &[
                    "13:21: the reference '/etc/passwd' leaves the profile's folder (hint: copy the schema into the profile's folder)",
                ],
            ),
            (
                "{type: boolean}",
                "{$ref: '../other/x.yaml'}",
                &[
                    "13:21: the reference '../other/x.yaml' leaves the profile's folder (hint: copy the schema into the profile's folder)",
                ],
            ),
            (
                "{type: boolean}",
                "{$ref: 'x.yaml'}",
                &["13:21: there is no file profiles/edge/x.yaml (hint: correct the path)"],
            ),
            (
                "{type: boolean}",
                "{$ref: '#/$defs/none'}",
                &[
                    "13:21: there is nothing at '#/$defs/none' in this schema (hint: references begin at the schema, e.g. #/$defs/port)",
                ],
            ),
            ("{type: boolean}", "{$ref: '#'}", &[]),
            (
                "type: object",
                "type: object\n    $schema: http://json-schema.org/draft-07/schema#",
                &[
                    "8:14: the schema is of another draft, 'http://json-schema.org/draft-07/schema#'; expected https://json-schema.org/draft/2020-12/schema",
                ],
            ),
            (
                "path: net",
                "path: /net",
                &["17:23: the path '/net' is absolute; expected a folder or file below profiles/edge/"],
            ),
            (
                "path: net",
                "path: ../edge/net",
                &[
                    "17:23: the path '../edge/net' leaves its folder by '..'; expected a folder or file below profiles/edge/",
                ],
            ),
            (
                "path: net",
                "path: .",
                &[
                    "17:23: the path '.' names no folder or file below the folder; expected a folder or file below profiles/edge/",
                ],
            ),
            (
                "path: net",
                "path: nets",
                &[
                    "17:23: there is no 'profiles/edge/nets' (hint: paths are relative to the profile's folder; Git keeps no empty folders)",
                ],
            ),
            ("path: net", "path: ''", &["17:23: '' is too short; expected at least 1 characters"]),
            (
                "path: net}",
                "path: net}\n  - {name: net, type: addon, helm: {chart: x}}",
                &[
                    "18:12: the layer name 'net' is taken twice; the first is at profiles/edge/profile.yaml:15:11",
                    "18:30: helm layers are not supported by this version yet (hint: render it into a folder of manifests, and name that in 'manifests')",
                ],
            ),
            (
                "path: net}",
                "path: net}\n    kustomize: {path: x}\n  - {name: b, type: csi}",
                &[
                    "18:5: kustomize layers are not supported by this version yet (hint: render it into a folder of manifests, and name that in 'manifests')",
                    "18:16: the layer 'net' has several sources: manifests and kustomize; expected exactly one of manifests, kustomize and helm",
                    "19:12: the layer 'b' says nothing about where its objects come from; expected exactly one of manifests, kustomize and helm",
                ],
            ),
            (
                "path: net}",
                "path: net}\n    dependsOn: [shop]\n  - {name: shop, type: addon, manifests: {path: net}}",
                &[
                    "18:5: these layers wait for each other: net -> shop -> net (hint: a layer without dependsOn waits for all layers of earlier types)",
                ],
            ),
            (
                "path: net}",
                "path: net}\n    dependsOn: [nets, net]",
                &[
                    "18:5: these layers wait for each other: net -> net (hint: a layer without dependsOn waits for all layers of earlier types)",
                    "18:17: this profile has no layer 'nets' (hint: did you mean 'net'?)",
                ],
            ),
            (
                "type: cni",
                "type: network",
                &["16:11: 'network' is not allowed; expected one of os, kubernetes, cni, csi, addon"],
            ),
        ],
    );
}

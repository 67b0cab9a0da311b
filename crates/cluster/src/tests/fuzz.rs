//! An API server's answers, as nobody would send them: whatever comes, it is read or refused, without a panic, without
//! growth, and without taking more than it may.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_core::model::name::InstanceName;
use fairlead_core::model::object::{GroupKind, ObjectKey};
use serde_json::{Value, json};

use crate::discovery::parse_for_tests;
use crate::error::{ApiError, Status};
use crate::health::Observer;
use crate::ledger::{MAX_UNPACKED, decode};
use crate::read;

/// How long a machine that does other work may take for one answer of a few kilobytes.
const MOST_TIME: Duration = Duration::from_secs(2);
/// Largest answer that is made here, in bytes.
const MOST_BYTES: usize = 1 << 20;

const KINDS: [(&str, &str); 12] = [
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("batch", "Job"),
    ("", "Pod"),
    ("", "PersistentVolumeClaim"),
    ("", "Service"),
    ("", "Namespace"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("example.com", "Kiln"),
];

fn object() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "b5a1c0de-0000", "resourceVersion": "71", "generation": 3,
            "creationTimestamp": "2026-11-23T01:02:03Z", "deletionTimestamp": "2026-11-23T01:02:04Z",
            "finalizers": ["example.com/keep"], "labels": {"applyset.kubernetes.io/part-of": "applyset-x-v1"},
            "annotations": {"fairlead.dev/digest": "00ff", "fairlead.dev/prune": "allow",
                "fairlead.dev/hold-until": "2026-11-24T00:00:00Z", "fairlead.dev/health": "ignore"},
            "managedFields": [
                {"manager": "fairlead-main", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-11-23T01:02:03Z",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {
                        "f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:image": {}, "f:name": {}}}}}}}},
                {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}],
        },
        "spec": {"replicas": 2, "completions": 1, "ttlSecondsAfterFinished": 0, "volumeName": "v", "storageClassName": "s",
            "conversion": {"strategy": "Webhook"}, "listeners": [{"name": "http"}], "strategy": {"rollingUpdate": {"partition": 1}}},
        "status": {
            "observedGeneration": 3, "replicas": 2, "readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1,
            "desiredNumberScheduled": 2, "numberReady": 1, "phase": "Pending", "succeeded": 1, "failed": 0,
            "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}, "currentRevision": "a", "updateRevision": "b",
            "conditions": [
                {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "no"},
                {"type": "Ready", "status": "Unknown", "observedGeneration": 2}],
            "containerStatuses": [{"name": "main", "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            "listeners": [{"name": "http", "conditions": [{"type": "Programmed", "status": "True"}]}],
        },
    })
}

fn seeds() -> Vec<Value> {
    let metadata = json!({"resourceVersion": "71", "continue": "more", "remainingItemCount": 3});
    vec![
        json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": [object(), object()]}),
        json!({"type": "MODIFIED", "object": object()}),
        json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict",
            "message": "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replicas: expected numeric, got &value.valueUnstructured{Value:\"2\"}",
            "details": {"name": "web", "kind": "deployments", "retryAfterSeconds": 3, "causes": [
                {"reason": "FieldManagerConflict", "message": "conflict with \"hpa\" using apps/v1", "field": ".spec.replicas"}]}}),
        json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "apps"}, "versions": [
            {"version": "v1", "freshness": "Current", "resources": [
                {"resource": "deployments", "responseKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                    "scope": "Namespaced", "verbs": ["list", "watch"]}]}]}]}),
        json!({"kind": "ConfigMap", "metadata": {"name": "fairlead-main.retail", "uid": "x",
            "annotations": {"fairlead.dev/digest": "00"}}, "data": {"parts": "{\"slot\":\"a\",\"count\":2}"},
            "binaryData": {"ledger.json.gz": "H4sIAAAAAAAAA6uuBQBDv6ajAgAAAA=="}}),
    ]
}

/// All that is done with an answer, whatever it was asked for.
fn take(bytes: &[u8]) {
    let set: Arc<str> = Arc::from("applyset-x-v1");
    let observer = Observer { manager: "fairlead-main", set: Some(&set), ignored: &[] };
    let reduce = |value: &Value| {
        for (group, kind) in KINDS {
            let kind = GroupKind { group: group.to_owned(), kind: kind.to_owned() };
            if let Some(reduced) = observer.reduce(&kind, value) {
                assert!(reduced.units() <= 2 + bytes.len() / 256, "{} of {}", reduced.units(), bytes.len());
            }
        }
    };
    let _ = read::list(bytes, &mut |item| {
        reduce(&item);
        Ok(())
    });
    if let Ok(tree) = read::tree(bytes, read::MAX_TREE) {
        assert!(read::weight(&tree) <= read::MAX_TREE);
        reduce(&tree);
        reduce(&tree["object"]);
        let instance: InstanceName = "main".parse().unwrap();
        let _ = decode(&instance, &tree, &std::collections::BTreeMap::new(), &mut { MAX_UNPACKED });
    }
    let _ = parse_for_tests(bytes);
    for code in [200, 404, 409, 422, 500] {
        for kind in ["Secret", "Pod"] {
            let error = ApiError::Status(Box::new(Status::read(code, None, bytes)));
            let key = ObjectKey::new("", kind, "shop", "web");
            let said = format!("{} {:?}", error.describe(&key), error.meaning(&key));
            assert!(!said.contains('\u{1b}'), "{said}");
        }
    }
}

fn any_value(random: &mut fastrand::Rng) -> Value {
    match random.u8(..14) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => json!(random.i64(..)),
        3 => json!(f64::MAX),
        4 => json!(""),
        5 => json!("\u{1b}[31m\u{202e}\0&value.valueUnstructured{Value:{{{"),
        6 => json!("x".repeat(random.usize(..20_000))),
        7 => json!([]),
        8 => json!({}),
        9 => json!([[[[{}]]]]),
        10 => object(),
        11 => (0..random.usize(..200)).fold(json!({}), |below, _| json!({"f:a": below})),
        12 => json!(vec![json!({"": 0}); random.usize(..2_000)]),
        _ => json!("9".repeat(30)),
    }
}

/// Changes one place of a value: another value, none, or the same twice.
fn change(value: &mut Value, random: &mut fastrand::Rng) {
    match value {
        Value::Object(members) if !members.is_empty() && random.u8(..8) > 0 => {
            let name = members.keys().nth(random.usize(..members.len())).cloned().unwrap_or_default();
            match random.u8(..12) {
                0 => drop(members.remove(&name)),
                1 => drop(members.insert(any_value(random).to_string(), any_value(random))),
                _ => change(&mut members[&name], random),
            }
        }
        Value::Array(items) if !items.is_empty() && random.u8(..8) > 0 => {
            let at = random.usize(..items.len());
            if random.u8(..6) == 0 {
                let again = items[at].clone();
                items.push(again);
            } else {
                change(&mut items[at], random);
            }
        }
        other => *other = any_value(random),
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=bytes.len());
        match random.u8(..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            3 => drop(bytes.splice(at..at, b"[{\"\":".repeat(random.usize(..200)))),
            _ => {
                let end = (at + random.usize(..40)).min(bytes.len());
                let some: Vec<u8> = bytes[at..end].to_vec();
                bytes.extend(some);
            }
        }
    }
}

/// Reads as many answers as there is time for; how many.
fn run(length: Duration, seed: u64) -> u64 {
    let (mut random, seeds, began) = (fastrand::Rng::with_seed(seed), seeds(), Instant::now());
    let mut count = 0;
    while began.elapsed() < length {
        let mut value = seeds[random.usize(..seeds.len())].clone();
        (0..random.usize(..6)).for_each(|_| change(&mut value, &mut random));
        let mut bytes = value.to_string().into_bytes();
        if random.u8(..3) == 0 {
            damage(&mut bytes, &mut random);
        }
        bytes.truncate(MOST_BYTES);
        let one = Instant::now();
        take(&bytes);
        assert!(one.elapsed() < MOST_TIME, "{:?}: {}", one.elapsed(), String::from_utf8_lossy(&bytes));
        count += 1;
    }
    count
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[test]
fn whatever_a_server_answers_is_read_or_refused() {
    for seed in seeds() {
        take(seed.to_string().as_bytes());
    }
    assert!(run(Duration::from_millis(500), fastrand::u64(..)) > 0);
}

/// The same for as long as wanted: `FAIRLEAD_FUZZ_MINUTES=11 cargo test fuzz_answers -- --ignored`.
#[test]
#[ignore = "runs for minutes"]
fn fuzz_answers() {
    let minutes = std::env::var("FAIRLEAD_FUZZ_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut count, seed) = (run(Duration::from_secs(20), 1), fastrand::u64(..));
    let before = resident();
    count += run(Duration::from_secs(minutes * 60), seed);
    let after = resident();
    println!("{count} answers, seed {seed}; resident {before} KiB, then {after} KiB");
    assert!(after < before + 64 * 1_024, "it grows: {before} KiB, then {after} KiB");
}

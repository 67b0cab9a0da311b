//! Ledgers as bytes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ledger::*;
use fairlead_core::model::assignment::{Assignment, ClusterPolicy, Purpose};
use fairlead_core::model::digest::{CommitId, FieldsDigest, ObjectDigest, ReleaseDigest};
use fairlead_core::model::name::InstanceName;
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::{LayerId, ReleaseRef};
use fairlead_core::model::revision::{Revision, Revisions};
use fairlead_core::plan::{InventoryEntry, Origin};

fn instance(name: &str) -> InstanceName {
    name.parse().unwrap()
}

fn release(n: u8) -> ReleaseRef {
    let control = Revision::control(CommitId::from_bytes([n; 20]));
    let revisions = Revisions { control, profiles: BTreeMap::new() };
    ReleaseRef { digest: ReleaseDigest::from_bytes([n; 32]), revisions }
}

fn ledger(objects: u32) -> Ledger {
    let mut ledger = Ledger::new(
        InstanceName::default(),
        "retail".parse().unwrap(),
        "edge-001".parse().unwrap(),
        "b5a1c0de".into(),
    );
    let layer = LayerId { profile: "p".parse().unwrap(), layer: "l".parse().unwrap() };
    ledger.inventory.layers = vec![layer.clone()];
    for n in 0..objects {
        let digest = blake3::hash(&n.to_le_bytes());
        let key = ObjectKey::new("", "ConfigMap", &format!("ns-{}", n % 3), &format!("cm-{n}"));
        let entry = InventoryEntry {
            version: "v1".into(),
            uid: Some(format!("uid-{n}").into()),
            layer: layer.clone(),
            applied: Some(ObjectDigest::from_bytes(*digest.as_bytes())),
            fields: Some(FieldsDigest::from_bytes([n as u8; 16])),
            origin: if n % 2 == 0 { Origin::Adopted } else { Origin::Created { generation: 3 } },
            left_out: vec![],
            stays: vec![],
            finished: false,
        };
        ledger.inventory.objects.insert(key, entry);
    }
    ledger
}

fn assignment(generation: u64, n: u8, base: Option<u8>, quarantined: &[u8]) -> Assignment {
    Assignment {
        target: "edge-001".parse().unwrap(),
        fleet: "retail".parse().unwrap(),
        generation,
        release: release(n),
        purpose: Purpose::Change,
        base: base.map(release),
        quarantined: quarantined.iter().map(|q| release(*q).digest).collect(),
        deletions_approved: false,
        adopt: false,
        policy: ClusterPolicy::default(),
    }
}

fn by_name(parts: &[Value]) -> BTreeMap<String, &Value> {
    parts.iter().map(|p| (p["metadata"]["name"].as_str().unwrap().to_owned(), p)).collect()
}

#[test]
fn a_ledger_comes_back_as_it_was() {
    let mut ledger = ledger(100);
    ledger.intend(&assignment(4, 1, Some(2), &[3]), "2026-11-23T01:02:03Z".parse().unwrap());
    ledger.converged = Some(Converged { release: release(1), generation: 4 });
    for max_part in [700_000, 500] {
        let encoded = encode(&ledger, 'a', max_part).unwrap();
        assert_eq!(encoded.parts.is_empty(), max_part == 700_000);
        let again =
            decode(&ledger.instance, &encoded.main, &by_name(&encoded.parts), &mut { MAX_UNPACKED }).unwrap();
        assert_eq!((&again.0, again.1), (&ledger, encoded.slot));
        assert!(encoded.parts.iter().all(|p| p["binaryData"].to_string().len() < 1_000));
    }
    let annotations = encode(&ledger, 'a', 700_000).unwrap().main["metadata"]["annotations"].clone();
    assert_eq!(annotations["applyset.kubernetes.io/contains-group-kinds"], "ConfigMap");
    assert_eq!(annotations["applyset.kubernetes.io/additional-namespaces"], "ns-0,ns-1,ns-2");
}

#[test]
fn a_split_ledger_never_mixes_with_the_one_before() {
    let first = encode(&ledger(100), 'a', 500).unwrap();
    let second = encode(&ledger(101), first.slot, 500).unwrap();
    let names = |e: &[Value]| by_name(e).into_keys().collect::<Vec<_>>();
    assert!(names(&first.parts).iter().all(|name| !names(&second.parts).contains(name)));
}

#[test]
fn a_damaged_ledger_is_an_error_never_an_empty_one() {
    let good = ledger(100);
    let split = encode(&good, 'a', 500).unwrap();
    let read = |main: &Value, parts: &[Value]| {
        decode(&good.instance, main, &by_name(parts), &mut { MAX_UNPACKED }).map(|_| ())
    };
    assert!(matches!(read(&split.main, &split.parts[1..]), Err(LedgerDamage::PartMissing { .. })));
    let mut swapped = split.parts.clone();
    let (a, b) = (swapped[0]["binaryData"].take(), swapped[1]["binaryData"].take());
    (swapped[0]["binaryData"], swapped[1]["binaryData"]) = (b, a);
    assert!(matches!(read(&split.main, &swapped), Err(LedgerDamage::Digest { .. })));
    let mut emptied = encode(&good, 'a', 700_000).unwrap().main;
    emptied["binaryData"] = serde_json::json!({});
    assert!(matches!(read(&emptied, &[]), Err(LedgerDamage::Unreadable { .. })));
    let whole = encode(&good, 'a', 700_000).unwrap().main;
    let other = decode(&instance("other"), &whole, &BTreeMap::new(), &mut { MAX_UNPACKED });
    assert!(matches!(other, Err(LedgerDamage::Foreign { .. })));
}

#[test]
fn history_takes_what_was_accepted_and_loses_what_failed() {
    let now = "2026-11-23T01:02:03Z".parse().unwrap();
    let mut ledger = ledger(0);
    let converge = |ledger: &mut Ledger, n: u8, generation| {
        ledger.converged = Some(Converged { release: release(n), generation });
    };
    ledger.intend(&assignment(1, 1, None, &[]), now);
    converge(&mut ledger, 1, 1);
    assert!(ledger.is_converged_at(&release(1).digest));
    ledger.intend(&assignment(2, 2, Some(1), &[]), now);
    assert!(!ledger.is_converged_at(&release(1).digest), "what converged is not what is assigned");
    assert_eq!(ledger.summary().converged, None);
    assert_eq!(ledger.back_to(&release(1).digest), Some(1));
    let mut back = ledger.clone();
    back.intend(&assignment(3, 1, Some(1), &[2]), now);
    assert_eq!(back.summary().converged, None, "it is on the way back, not there");
    converge(&mut back, 1, 3);
    assert!(back.summary().converged.is_some());
    converge(&mut ledger, 2, 2);
    ledger.intend(&assignment(3, 3, Some(2), &[]), now);
    let history = |l: &Ledger| l.summary().history.iter().map(|r| r.digest.as_bytes()[0]).collect::<Vec<_>>();
    assert_eq!(history(&ledger), [2, 1]);
    ledger.intend(&assignment(4, 1, Some(1), &[2, 3]), now);
    assert_eq!(history(&ledger), [1], "a failure removes one");
    assert_eq!(ledger.back_to(&release(1).digest), Some(1));
    for n in 10..30 {
        ledger.intend(&assignment(n.into(), n, Some(n - 1), &[]), now);
    }
    assert_eq!(history(&ledger).len(), 10);
}

#[test]
fn names_and_ids_keep_instances_and_fleets_apart() {
    let id = |i: &str, f: &str| set_id(&instance(i), &f.parse().unwrap());
    assert_ne!(id("a-b", "c"), id("a", "b-c"));
    let (longest, id) = ("a".repeat(63), id("default", "retail"));
    assert!(id.len() <= 63 && id.starts_with("applyset-") && id.ends_with("-v1"), "{id}");
    assert_eq!(set_id(&instance(&longest), &longest.parse().unwrap()).len(), id.len());
}

/// A record that unpacks to so many spaces.
fn bomb(size: usize) -> Value {
    use base64::Engine as _;
    use std::io::Write as _;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let block = vec![b' '; 1 << 16];
    (0..size / block.len()).for_each(|_| packer.write_all(&block).unwrap());
    let packed = packer.finish().unwrap();
    let mut main = encode(&ledger(1), 'a', 700_000).unwrap().main;
    main["metadata"]["annotations"]["fairlead.dev/digest"] = blake3::hash(&packed).to_hex().as_str().into();
    main["binaryData"] =
        serde_json::json!({"ledger.json.gz": base64::engine::general_purpose::STANDARD.encode(&packed)});
    main
}

#[test]
fn a_ledger_that_unpacks_to_more_than_it_may_is_damaged() {
    let (instance, none) = (ledger(1).instance, BTreeMap::new());
    let read = |main: &Value, left: &mut usize| match decode(&instance, main, &none, left) {
        Err(LedgerDamage::Unreadable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(read(&bomb(MAX_UNPACKED + (1 << 20)), &mut { MAX_UNPACKED }).contains("more than 96 MiB"));
    // All ledgers of a cluster share what there is: many small ones are as good as a large one.
    let (one, mut left) = (bomb(40 << 20), MAX_UNPACKED);
    assert!(!read(&one, &mut left).contains("MiB") && !read(&one, &mut left).contains("MiB"));
    assert!(read(&one, &mut left).contains("more than 96 MiB"));
    let whole = encode(&ledger(100), 'a', 700_000).unwrap().main;
    assert!(decode(&instance, &whole, &none, &mut left).is_ok(), "what fits is read");
}

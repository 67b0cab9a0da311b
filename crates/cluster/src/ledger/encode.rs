//! Ledgers as bytes, and as ConfigMaps.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::types::{Converged, FLEET_LABEL, INSTANCE_LABEL, Ledger, NAMESPACE, ledger_name, set_id};
use fairlead_core::model::assignment::Purpose;
use fairlead_core::model::digest::ReleaseDigest;
use fairlead_core::model::name::{FleetName, InstanceName, TargetName};
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::{LayerId, ReleaseRef};
use fairlead_core::plan::{Inventory, InventoryEntry};

/// The format that this version writes; it reads no newer one.
pub const CURRENT_FORMAT: u32 = 1;
/// Largest piece: a ConfigMap may hold 1 MiB, and etcd takes 1.5 MB with base64 around it.
pub const MAX_PART: usize = 700_000;
/// Most bytes of all ledgers of a cluster when unpacked, and most objects of one; one of 100,000 objects has about
/// 40 MB.
pub const MAX_UNPACKED: usize = 96 << 20;
const MAX_OBJECTS: usize = 200_000;
/// Largest ledger as it is stored, in bytes of all its parts.
const MAX_PACKED: usize = 32 << 20;
const CONTENT: &str = "ledger.json.gz";
const PARTS: &str = "parts";

/// Why a ledger that is there can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerDamage {
    #[error("the ledger {name} lacks its part {part}")]
    PartMissing { name: String, part: String },
    #[error("the ledger {name} does not match its digest")]
    Digest { name: String },
    #[error("the ledger {name} can't be read: {reason}")]
    Unreadable { name: String, reason: String },
    #[error("the ledger {name} has format {found}; this version reads up to {CURRENT_FORMAT}")]
    NewerFormat { name: String, found: u32 },
    #[error("the ledger {name} is that of fleet {fleet} of instance {instance}")]
    Foreign { name: String, instance: String, fleet: String },
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    format: u32,
    instance: Cow<'a, InstanceName>,
    fleet: Cow<'a, FleetName>,
    target: Cow<'a, TargetName>,
    identity: Cow<'a, str>,
    generation: u64,
    assigned: Cow<'a, Option<ReleaseRef>>,
    purpose: Option<Purpose>,
    intent_at: Option<Timestamp>,
    converged: Cow<'a, Option<Converged>>,
    base: Cow<'a, Option<ReleaseRef>>,
    history: Cow<'a, [Converged]>,
    quarantined: Cow<'a, [ReleaseDigest]>,
    #[serde(default)]
    orphaned: bool,
    layers: Cow<'a, [LayerId]>,
    #[serde(deserialize_with = "rows")]
    objects: Vec<Row<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    #[serde(flatten)]
    key: ObjectKey,
    is: Cow<'a, InventoryEntry>,
}

fn rows<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<Row<'static>>, D::Error> {
    crate::read::bounded(reader, MAX_OBJECTS, |_| true)
}

/// Which pieces hold a ledger that is too large for one.
#[derive(Serialize, Deserialize)]
struct Split {
    slot: char,
    count: usize,
}

/// A ledger as ConfigMaps: `parts` are written first, `main` makes them count.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub main: Value,
    pub parts: Vec<Value>,
    pub slot: char,
}

/// Packs a ledger. `last_slot` is that of the record before: its parts stay untouched until `main` is replaced.
pub fn encode(ledger: &Ledger, last_slot: char, max_part: usize) -> Result<Encoded, LedgerDamage> {
    let name = ledger_name(&ledger.instance, &ledger.fleet);
    let unreadable = |reason: String| LedgerDamage::Unreadable { name: name.clone(), reason };
    let json = serde_json::to_vec(&to_file(ledger)).map_err(|e| unreadable(e.to_string()))?;
    if json.len() > MAX_UNPACKED || ledger.inventory.objects.len() > MAX_OBJECTS {
        // It could not be read again.
        let (count, most) = (ledger.inventory.objects.len(), MAX_OBJECTS);
        return Err(unreadable(format!(
            "{count} objects are too many for one fleet on one cluster ({most})"
        )));
    }
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&json).map_err(|e| unreadable(e.to_string()))?;
    let packed = packer.finish().map_err(|e| unreadable(e.to_string()))?;
    let digest = blake3::hash(&packed).to_hex().to_string();

    let mut labels = labels(ledger);
    let set = set_id(&ledger.instance, &ledger.fleet);
    labels.insert("applyset.kubernetes.io/id", &set);
    let (kinds, namespaces) = membership(&ledger.inventory);
    let mut main = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels, "annotations": {
            "applyset.kubernetes.io/tooling": concat!("fairlead/v", env!("CARGO_PKG_VERSION")),
            "applyset.kubernetes.io/contains-group-kinds": kinds,
            "applyset.kubernetes.io/additional-namespaces": namespaces,
            "fairlead.dev/digest": digest,
        }},
    });
    if packed.len() <= max_part {
        main["binaryData"] = json!({CONTENT: STANDARD.encode(&packed)});
        return Ok(Encoded { main, parts: Vec::new(), slot: last_slot });
    }
    let slot = if last_slot == 'a' { 'b' } else { 'a' };
    let parts: Vec<_> =
        packed.chunks(max_part).enumerate().map(|(n, piece)| part(ledger, slot, n, piece)).collect();
    let split =
        serde_json::to_string(&Split { slot, count: parts.len() }).map_err(|e| unreadable(e.to_string()))?;
    main["data"] = json!({PARTS: split});
    Ok(Encoded { main, parts, slot })
}

fn labels(ledger: &Ledger) -> BTreeMap<&'static str, &str> {
    BTreeMap::from([(INSTANCE_LABEL, ledger.instance.as_str()), (FLEET_LABEL, ledger.fleet.as_str())])
}

fn part_name(name: &str, slot: char, number: usize) -> String {
    format!("{name}.{slot}{number}")
}

fn part(ledger: &Ledger, slot: char, number: usize, piece: &[u8]) -> Value {
    let name = part_name(&ledger_name(&ledger.instance, &ledger.fleet), slot, number);
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels(ledger)},
        "binaryData": {CONTENT: STANDARD.encode(piece)},
    })
}

fn membership(inventory: &Inventory) -> (String, String) {
    let keys = inventory.objects.keys();
    let kinds: BTreeSet<_> = keys.clone().map(|key| key.group_kind().to_string()).collect();
    let namespaces: BTreeSet<_> = keys.filter_map(|key| key.namespace()).collect();
    let join = |mut all: String, next: &str| {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(next);
        all
    };
    let kinds = kinds.iter().map(String::as_str).fold(String::new(), join);
    (kinds, namespaces.into_iter().filter(|n| *n != NAMESPACE).fold(String::new(), join))
}

fn to_file(ledger: &Ledger) -> File<'_> {
    let row = |(key, is): (&ObjectKey, _)| Row { key: key.clone(), is: Cow::Borrowed(is) };
    File {
        format: CURRENT_FORMAT,
        instance: Cow::Borrowed(&ledger.instance),
        fleet: Cow::Borrowed(&ledger.fleet),
        target: Cow::Borrowed(&ledger.target),
        identity: Cow::Borrowed(&ledger.identity),
        generation: ledger.generation,
        assigned: Cow::Borrowed(&ledger.assigned),
        purpose: ledger.purpose,
        intent_at: ledger.intent_at,
        converged: Cow::Borrowed(&ledger.converged),
        base: Cow::Borrowed(&ledger.base),
        history: Cow::Borrowed(&ledger.history),
        quarantined: Cow::Borrowed(&ledger.quarantined),
        orphaned: ledger.orphaned,
        layers: Cow::Borrowed(&ledger.inventory.layers),
        objects: ledger.inventory.objects.iter().map(row).collect(),
    }
}

fn from_file(file: File<'_>) -> Ledger {
    Ledger {
        instance: file.instance.into_owned(),
        fleet: file.fleet.into_owned(),
        target: file.target.into_owned(),
        identity: file.identity.into_owned(),
        generation: file.generation,
        assigned: file.assigned.into_owned(),
        purpose: file.purpose,
        intent_at: file.intent_at,
        converged: file.converged.into_owned(),
        base: file.base.into_owned(),
        history: file.history.into_owned(),
        quarantined: file.quarantined.into_owned(),
        orphaned: file.orphaned,
        inventory: Inventory {
            objects: file.objects.into_iter().map(|row| (row.key, row.is.into_owned())).collect(),
            layers: file.layers.into_owned(),
        },
    }
}

/// Unpacks a ledger from its `main` ConfigMap and whatever others were listed with it, of `left` bytes at most. Also
/// says which slot holds its parts.
pub fn decode(
    instance: &InstanceName,
    main: &Value,
    others: &BTreeMap<String, &Value>,
    left: &mut usize,
) -> Result<(Ledger, char), LedgerDamage> {
    let name = main["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let unreadable = |reason: &dyn std::fmt::Display| LedgerDamage::Unreadable {
        name: name.clone(),
        reason: super::super::text::clean(&reason.to_string()),
    };
    let (packed, slot) = packed(&name, main, others)?;
    if main["metadata"]["annotations"]["fairlead.dev/digest"].as_str()
        != Some(&*blake3::hash(&packed).to_hex())
    {
        return Err(LedgerDamage::Digest { name });
    }
    let mut json = Vec::new();
    let most = u64::try_from(*left).unwrap_or(u64::MAX).saturating_add(1);
    GzDecoder::new(&*packed).take(most).read_to_end(&mut json).map_err(|e| unreadable(&e))?;
    let Some(rest) = left.checked_sub(json.len()) else {
        let reason = format!("unpacked, the ledgers here have more than {} MiB", MAX_UNPACKED >> 20);
        return Err(unreadable(&reason));
    };
    *left = rest;
    let Format { format } = serde_json::from_slice(&json).map_err(|e| unreadable(&e))?;
    if format > CURRENT_FORMAT {
        return Err(LedgerDamage::NewerFormat { name, found: format });
    }
    let file: File = serde_json::from_slice(&json).map_err(|e| unreadable(&e))?;
    if *file.instance != *instance || name != ledger_name(&file.instance, &file.fleet) {
        let (instance, fleet) = (file.instance.to_string(), file.fleet.to_string());
        return Err(LedgerDamage::Foreign { name, instance, fleet });
    }
    Ok((from_file(file), slot))
}

fn packed(
    name: &str,
    main: &Value,
    others: &BTreeMap<String, &Value>,
) -> Result<(Vec<u8>, char), LedgerDamage> {
    let unreadable = |reason: String| LedgerDamage::Unreadable { name: name.to_owned(), reason };
    let piece = |map: &Value| {
        let text =
            map["binaryData"][CONTENT].as_str().ok_or_else(|| unreadable("it has no content".into()))?;
        STANDARD.decode(text).map_err(|e| unreadable(e.to_string()))
    };
    let Some(split) = main["data"][PARTS].as_str() else { return Ok((piece(main)?, 'a')) };
    let split: Split = serde_json::from_str(split).map_err(|e| unreadable(e.to_string()))?;
    let mut all = Vec::new();
    for number in 0..split.count {
        let part = part_name(name, split.slot, number);
        let missing = || LedgerDamage::PartMissing { name: name.to_owned(), part: part.clone() };
        all.extend(piece(others.get(&part).ok_or_else(missing)?)?);
        if all.len() > MAX_PACKED {
            return Err(unreadable(format!("it has more than {MAX_PACKED} bytes")));
        }
    }
    Ok((all, split.slot))
}

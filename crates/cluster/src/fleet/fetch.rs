//! What a plan is made from, read from the cluster beside the fleet's task: the release, the kinds, and what no
//! watch brings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use serde_json::Value;

use super::jobs::Hand;
use crate::answers::Class;
use crate::api::{METADATA_LIST, most_of};
use crate::discovery::{Discovery, Resource, escape};
use crate::error::ApiError;
use crate::health::{Observer, Reduced};
use crate::ledger::PART_OF;
use crate::memory::Room;
use crate::orders::{Other, ReleaseMissing};
use crate::session::Session;
use fairlead_core::model::assignment::Assignment;
use fairlead_core::model::name::FleetName;
use fairlead_core::model::object::{GroupKind, ObjectKey};
use fairlead_core::model::release::{LayerId, Release, ReleaseObject};
use fairlead_core::plan::{self, InventoryEntry, Origin};

/// Requests at a time when every kind is listed.
const RECOVER_AT_ONCE: usize = 8;

/// What the preparation of a plan read.
pub enum Prepared {
    Fetched(Result<Fetched, FetchError>),
    Read(Result<Extra, ApiError>),
    /// Releases that were applied before, while the present one waits.
    Applied(Vec<Arc<Release>>),
}

pub struct Fetched {
    pub release: Option<Arc<Release>>,
    pub discovery: Arc<Discovery>,
    /// Kinds of the inventory that discovery does not name, and that may be served all the same.
    pub unsure: BTreeSet<GroupKind>,
    /// What carries our label, of a ledger that is lost.
    pub recovered: Option<Vec<(ObjectKey, InventoryEntry)>>,
    /// What of ours other fleets are to get, by the newest commit.
    pub expected: Expected,
}

/// Objects that other fleets are to take over from us, sooner or later.
pub type Expected = BTreeMap<FleetName, BTreeSet<ObjectKey>>;

pub enum FetchError {
    Missing(ReleaseMissing),
    Api(ApiError),
}

/// What no watch of ours brings.
#[derive(Default)]
pub struct Extra {
    /// Objects of siblings that our release wants.
    pub seen: Vec<Reduced>,
    /// For each CRD that leaves, its instances that are not ours.
    pub foreign: BTreeMap<ObjectKey, usize>,
}

pub fn is_crd(key: &ObjectKey) -> bool {
    key.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

/// The kind that a CRD brings, if it is served: its name is `<plural>.<group>`.
pub fn brought_by<'a>(discovery: &'a Discovery, crd: &ObjectKey) -> Option<&'a Resource> {
    let (plural, group) = crd.name().split_once('.')?;
    discovery.kinds().map(|(_, resource)| resource).find(|r| r.plural == plural && r.group == group)
}

/// Gets the release and what the cluster serves; of a ledger that is `lost`, what carries our label.
pub async fn fetch(
    cx: &Session,
    set: &str,
    assignment: Option<&Assignment>,
    (inventory, crds): (&BTreeSet<GroupKind>, &[ObjectKey]),
    lost: bool,
) -> Result<Fetched, FetchError> {
    let release = match assignment {
        Some(assignment) => Some(cx.source.get(assignment).await.map_err(FetchError::Missing)?),
        None => None,
    };
    let mut discovery = cx.discovery().await.map_err(FetchError::Api)?;
    let wanted = release.iter().flat_map(|r| r.kinds()).map(|(kind, version)| (kind, Some(version)));
    let had = inventory.iter().map(|kind| (kind.clone(), None));
    let known = |(kind, version): (GroupKind, Option<&str>)| match version {
        Some(version) => discovery.exact(&kind, version).is_some(),
        None => discovery.find(&kind, "").is_some(),
    };
    // Instances of a CRD that leaves are counted: its kind must be known, even if nothing of ours is of it.
    let stays = |crd: &ObjectKey| release.iter().flat_map(|r| r.objects()).any(|(_, o)| o.key == *crd);
    let counted = |crd: &ObjectKey| brought_by(&discovery, crd).is_some() || stays(crd);
    if !wanted.chain(had).all(known) || !crds.iter().all(counted) {
        discovery = cx.rediscover(&discovery).await.map_err(FetchError::Api)?;
    }
    let mut unsure = BTreeSet::new();
    for kind in inventory.iter().filter(|kind| discovery.find(kind, "").is_none()) {
        if !discovery.is_unknown(&kind.group) && cx.may_still_be_served(kind).await {
            unsure.insert(kind.clone());
        }
    }
    let recovered = match lost {
        true => Some(recover(cx, set, &discovery, release.as_deref()).await.map_err(FetchError::Api)?),
        false => None,
    };
    Ok(Fetched { release, discovery, unsure, recovered, expected: Expected::new() })
}

/// Finds out which objects of the inventory that our release drops are to be handed over to other fleets. Where that
/// is not known, all may be: nothing is deleted on a guess.
pub async fn expect(
    cx: &Session,
    assignment: &Assignment,
    others: &[Other],
    inventory: &BTreeSet<ObjectKey>,
    fetched: &mut Fetched,
) -> Result<(), FetchError> {
    let discovery = Arc::clone(&fetched.discovery);
    let resolve = |object: &ReleaseObject| {
        let scope = discovery.find(&object.key.group_kind(), &object.version).map(|resource| resource.scope);
        scope.map_or_else(|| object.key.clone(), |scope| plan::resolve_key(&object.key, scope))
    };
    let keys = |release: &Release| release.objects().map(|(_, object)| resolve(object)).collect();
    let wanted: BTreeSet<ObjectKey> = fetched.release.as_deref().map(keys).unwrap_or_default();
    let dropped: BTreeSet<ObjectKey> = inventory.difference(&wanted).cloned().collect();
    if dropped.is_empty() {
        return Ok(());
    }
    for (fleet, release) in others {
        let theirs: Option<BTreeSet<ObjectKey>> = match release.clone() {
            None => None,
            Some(release) => {
                let order = Assignment { fleet: fleet.clone(), release, ..assignment.clone() };
                match cx.source.get(&order).await {
                    Ok(theirs) => Some(keys(&theirs)),
                    Err(missing) if missing.temporary => return Err(FetchError::Missing(missing)),
                    Err(_) => None,
                }
            }
        };
        let taken = theirs.map(|theirs| dropped.intersection(&theirs).cloned().collect());
        let taken: BTreeSet<ObjectKey> = taken.unwrap_or_else(|| {
            let target = &assignment.target;
            tracing::warn!(cluster = %target, %fleet, "it is not known what the fleet takes over; dropped objects stay");
            dropped.clone()
        });
        if !taken.is_empty() {
            fetched.expected.insert(fleet.clone(), taken);
        }
    }
    Ok(())
}

/// Lists every kind of the cluster by our label. Any failure is one: what can't be listed may hold something.
async fn recover(
    cx: &Session,
    set: &str,
    discovery: &Discovery,
    release: Option<&Release>,
) -> Result<Vec<(ObjectKey, InventoryEntry)>, ApiError> {
    let resources: Vec<Resource> =
        discovery.kinds().map(|(_, r)| r.clone()).filter(|r| r.watchable).collect();
    let manager = cx.settings.manager();
    let room_for = most_of(release.map_or(0, |release| release.objects().count()));
    let room = Room::new(room_for);
    let room = &Mutex::new(room.begin());
    let manager = &manager;
    let lists = resources.into_iter().map(|resource| {
        let selector = escape(&format!("{PART_OF}={set}"));
        let path = format!("{}?labelSelector={selector}", resource.all());
        let observer = Observer { manager, set: None, ignored: &[] };
        async move {
            let (kind, mut found) = (resource.group_kind(), Vec::new());
            let take = |item: Value| {
                let Some(reduced) = observer.reduce(&kind, &item) else { return true };
                let fits = room.lock().unwrap_or_else(PoisonError::into_inner).take(reduced.units());
                found.push(reduced);
                fits
            };
            match cx.api.list(&path, METADATA_LIST, room_for, take).await {
                // Kinds that nobody may list (or that are virtual) hold nothing of ours: we could not watch them.
                Err(ApiError::Status(status)) if matches!(status.code, 403..=405) => Ok((resource, Vec::new())),
                // What there is of it stays, without a place in the ledger: it is never deleted.
                Err(ApiError::Status(status)) if status.rule().class == Class::Trouble => {
                    tracing::warn!(%kind, error = %status, "the ledger is missing, and objects of a kind can't be read: they are not taken up");
                    Ok((resource, Vec::new()))
                }
                Err(error) => Err(error),
                Ok(_) => Ok((resource, found)),
            }
        }
    });
    let mut lists = futures::stream::iter(lists).buffer_unordered(RECOVER_AT_ONCE);
    let mut found = Vec::new();
    let layer = |key: &ObjectKey| layer_of(release, key);
    while let Some(list) = lists.next().await {
        let (resource, list) = list?;
        for reduced in list {
            // It carries our label, but we set no field of it: somebody copied that.
            if reduced.object.fields.is_none() {
                continue;
            }
            let Some(layer) = layer(&reduced.key) else { continue };
            let entry = InventoryEntry {
                version: resource.version.clone(),
                uid: Some(reduced.object.uid),
                layer,
                applied: reduced.object.digest,
                fields: None,
                // It carries our label. Whether it was there before is not known any more.
                origin: Origin::Created { generation: 0 },
                left_out: Vec::new(),
                stays: Vec::new(),
                finished: false,
            };
            found.push((reduced.key, entry));
        }
    }
    Ok(found)
}

/// The layer that an object belongs to now, or for one that the release dropped, the last one.
fn layer_of(release: Option<&Release>, key: &ObjectKey) -> Option<LayerId> {
    let release = release?;
    let same = |wanted: &ObjectKey| {
        wanted.is(key.group(), key.kind())
            && wanted.name() == key.name()
            && (wanted.namespace().is_none() || wanted.namespace() == key.namespace())
    };
    let found = release.objects().find(|(_, object)| same(&object.key)).map(|(layer, _)| layer);
    found.or(release.layers.last()).map(|layer| layer.id.clone())
}

/// Reads objects of siblings, and counts the foreign instances of CRDs.
pub async fn read_extra(
    hand: &Hand,
    reads: Vec<(Resource, ObjectKey)>,
    counts: Vec<(ObjectKey, Resource)>,
    known: &BTreeSet<ObjectKey>,
) -> Result<Extra, ApiError> {
    let mut extra = Extra::default();
    let mut seen = futures::stream::iter(
        reads.into_iter().map(|(resource, key)| async move { hand.read(&resource, &key).await }),
    )
    .buffer_unordered(RECOVER_AT_ONCE);
    while let Some(found) = seen.next().await {
        match found {
            Ok(found) => extra.seen.extend(found),
            // Unknown: whose it is shows when it is applied.
            Err(ApiError::Status(status)) if status.rule().class != Class::Unauthorized => {
                tracing::warn!(error = %status, "an object of another fleet can't be read");
            }
            Err(error) => return Err(error),
        }
    }
    for (crd, resource) in counts {
        match hand.count_foreign(&resource, known).await {
            Ok(count) => {
                extra.foreign.insert(crd, count);
            }
            // Not counted: the CRD stays.
            Err(error) if error.is_no_such_resource() => return Err(error),
            Err(ApiError::Status(status)) if status.rule().class != Class::Unauthorized => {}
            Err(error) => return Err(error),
        }
    }
    Ok(extra)
}

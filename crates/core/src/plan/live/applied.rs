//! What stands in a cluster now, as a release: what healing works from while a new release waits for a person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::digest::{LayerDigest, ReleaseDigest};
use crate::model::object::{GroupKind, ObjectKey};
use crate::model::release::{Release, ReleaseLayer, ReleaseObject, RenderedLayer};

use super::resolve::resolve_key;
use super::types::{Inventory, Scope};

/// The objects of which one of `releases` holds just the bytes that were applied last, in the layers of that
/// release; earlier releases are asked first. Objects of which none has the bytes are left out. None without
/// releases.
pub fn applied(
    releases: &[&Release],
    inventory: &Inventory,
    kinds: &BTreeMap<GroupKind, Scope>,
) -> Option<Release> {
    let first = releases.first()?;
    let mut taken: BTreeSet<ObjectKey> = BTreeSet::new();
    let mut layers: Vec<ReleaseLayer> = Vec::new();
    for layer in releases.iter().flat_map(|release| &release.layers) {
        let stands = |object: &&ReleaseObject| {
            let scope = kinds.get(&object.key.group_kind());
            let key = scope.map_or_else(|| object.key.clone(), |scope| resolve_key(&object.key, *scope));
            let entry = inventory.objects.get(&key);
            let stands = entry.is_some_and(|entry| entry.applied == Some(object.digest));
            stands && !key.is_own_record() && taken.insert(key)
        };
        let objects: Vec<ReleaseObject> = layer.content.objects.iter().filter(stands).cloned().collect();
        match layers.iter_mut().find(|known| known.id == layer.id) {
            Some(known) => known.content = content(known.content.objects.iter().cloned().chain(objects)),
            None => layers.push(ReleaseLayer { content: content(objects), ..layer.clone() }),
        }
    }
    let digest = ReleaseDigest::of(layers.iter().map(|layer| layer.content.digest.as_bytes().as_slice()));
    Some(Release { target: first.target.clone(), fleet: first.fleet.clone(), digest, layers })
}

fn content(objects: impl IntoIterator<Item = ReleaseObject>) -> Arc<RenderedLayer> {
    let objects: Vec<_> = objects.into_iter().collect();
    let digest = LayerDigest::of(objects.iter().map(|object| object.bytes.as_ref()));
    Arc::new(RenderedLayer { digest, objects })
}

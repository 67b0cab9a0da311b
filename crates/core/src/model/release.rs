//! Releases: what one target should run for one fleet.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::Place;
use super::digest::{LayerDigest, ObjectDigest, ReleaseDigest};
use super::name::{FleetName, LayerName, ProfileName, TargetName};
use super::object::{GroupKind, ObjectKey};
use super::profile::LayerType;
use super::revision::Revisions;

/// A layer of a release; a release may hold several profiles.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct LayerId {
    pub profile: ProfileName,
    pub layer: LayerName,
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.profile, self.layer)
    }
}

/// One object, ready to be sent but for the stamps that the cluster room adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseObject {
    /// Without a namespace where the manifest names none: the cluster's discovery says whether the kind has one.
    pub key: ObjectKey,
    /// Version within the group, e.g. `v1`.
    pub version: String,
    /// Canonical JSON: keys sorted, no white space, integral floats as integers.
    pub bytes: Bytes,
    pub digest: ObjectDigest,
    /// Where in the repository it is written.
    pub place: Place,
}

/// A layer's objects in the order in which they are written. Targets with equal inputs share it.
#[derive(Debug, PartialEq, Eq)]
pub struct RenderedLayer {
    pub digest: LayerDigest,
    pub objects: Vec<ReleaseObject>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseLayer {
    pub id: LayerId,
    pub layer_type: LayerType,
    /// Layers that must be healthy first, resolved: an explicit `dependsOn`, or all layers of earlier types.
    pub depends_on: Vec<LayerId>,
    /// Whether a conflict with another manager is forced.
    pub adopt: bool,
    pub content: Arc<RenderedLayer>,
}

/// What one target should run for one fleet. The digest covers the layers alone: two commits, or two
/// targets, that render the same bytes have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub target: TargetName,
    pub fleet: FleetName,
    pub digest: ReleaseDigest,
    /// In an order in which every layer comes after those that it depends on.
    pub layers: Vec<ReleaseLayer>,
}

impl Release {
    /// The kinds of its objects, with the versions in which they are written.
    pub fn kinds(&self) -> Vec<(GroupKind, &str)> {
        let all = self.objects().map(|(_, o)| (o.key.group(), o.key.kind(), o.version.as_str()));
        let distinct: BTreeSet<_> = all.collect();
        let owned = |(group, kind, version): (&str, &str, _)| {
            (GroupKind { group: group.to_owned(), kind: kind.to_owned() }, version)
        };
        distinct.into_iter().map(owned).collect()
    }

    pub fn objects(&self) -> impl Iterator<Item = (&ReleaseLayer, &ReleaseObject)> {
        self.layers.iter().flat_map(|layer| layer.content.objects.iter().map(move |object| (layer, object)))
    }
}

/// A release by name, with what to compile it from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseRef {
    pub digest: ReleaseDigest,
    pub revisions: Revisions,
}

//! All that must survive about one fleet.

use serde::{Deserialize, Serialize};

use crate::model::name::{FleetName, TargetName};
use crate::model::release::ReleaseRef;
use crate::model::revision::Revisions;

/// One fleet's state. Saved as one JSON document, under 2 MB for 5,000 clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetState {
    fleet: FleetName,
}

impl FleetState {
    pub fn new(fleet: FleetName) -> Self {
        Self { fleet }
    }

    pub fn fleet(&self) -> &FleetName {
        &self.fleet
    }

    /// For a target that the accepted commit does not know: the accepted revisions, whose profiles its
    /// first release is to be compiled with (its own definition comes from the head).
    pub fn entry_revisions(&self, _target: &TargetName) -> Option<Revisions> {
        None
    }

    /// Releases whose bytes must be kept: what is assigned, accepted, or a base.
    pub fn kept_releases(&self) -> Vec<(TargetName, ReleaseRef)> {
        Vec::new()
    }
}

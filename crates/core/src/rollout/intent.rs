//! What a commit wants of a fleet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::assignment::ClusterPolicy;
use crate::model::digest::InputDigest;
use crate::model::fleet::{OnRemoval, RolloutSpec, Window};
use crate::model::labels::Labels;
use crate::model::name::{FleetName, TargetName};
use crate::model::release::ReleaseRef;
use crate::model::revision::Revisions;
use crate::model::schedule::TimeZoneName;

/// A fleet as one head of the control branch wants it, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The control commit, and the commit that each profile of the fleet resolves to.
    pub revisions: Revisions,
    /// Of the renderers' names and versions. Releases that differ by this alone are a rollout named so.
    pub renderers: InputDigest,
    pub policy: FleetPolicy,
    /// The targets that the fleet's selector chooses.
    pub targets: BTreeMap<TargetName, TargetIntent>,
    /// Some target documents could not be read: a target that is absent may well be there.
    pub unknown: bool,
}

/// What of the fleet's document decides how a change goes through it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetPolicy {
    pub rollout: RolloutSpec,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<FleetName>,
    pub cluster: ClusterPolicy,
    pub on_removal: OnRemoval,
}

/// What one target should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetIntent {
    /// The release, or the diagnostic that keeps this target where it is.
    pub release: Result<ReleaseRef, String>,
    /// For a target that [`FleetState::entry_revisions`](super::FleetState::entry_revisions) asks for: the
    /// release of its own definition with the accepted commits of the profiles.
    pub entry: Option<Result<ReleaseRef, String>>,
    /// Labels at the head; waves select by them.
    pub labels: Labels,
    /// IANA name; windows are read in it.
    pub time_zone: Option<TimeZoneName>,
    pub suspend: bool,
    /// `release` is the one of the target's pin.
    pub pinned: bool,
    /// Another fleet that must converge on it first and has not.
    pub unmet: Option<FleetName>,
}

impl TargetIntent {
    pub fn new(release: ReleaseRef) -> Self {
        let (labels, time_zone, unmet) = (Labels::new(), None, None);
        Self { release: Ok(release), entry: None, labels, time_zone, suspend: false, pinned: false, unmet }
    }
}

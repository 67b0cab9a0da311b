//! ClusterTarget: one cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::digest::CommitId;
use super::name::TargetName;
use super::profile::{ApiVersion, Metadata};
use super::schedule::TimeZoneName;

pub type Variables = serde_json::Map<String, serde_json::Value>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterTargetKind {
    ClusterTarget,
}

/// One cluster: its name, labels and variables. Its address and credentials come from the daemon's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterTarget {
    pub api_version: ApiVersion,
    pub kind: ClusterTargetKind,
    pub metadata: Metadata<TargetName>,
    #[serde(default)]
    pub spec: ClusterTargetSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterTargetSpec {
    /// Values for the variables that the cluster's profiles declare.
    #[serde(skip_serializing_if = "Variables::is_empty")]
    pub variables: Variables,
    /// IANA time zone in which windows are read for this cluster, e.g. `Europe/Berlin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
    /// Keeps this cluster at (or brings it to) the profiles of a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Stops everything for this cluster, healing too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Keeps a cluster at the profiles of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Full hash; reachable from the control branch or an allowed tag.
    pub commit: CommitId,
}

//! What is said of a wave.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reason::{Absent, count, next};
use crate::model::name::WaveName;
use crate::model::schedule::TimeZoneName;

/// How one wave of a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaveReport {
    pub name: WaveName,
    /// Clusters that the change alters.
    pub affected: usize,
    /// Of these, the ones that run what they should, and are healthy.
    pub converged: usize,
    /// Of these, the ones that were so for the wave's `minSuccessTime`.
    pub baked: usize,
    pub at_work: usize,
    /// How many may be at work at a time.
    pub limit: usize,
    /// Failures that count against the change.
    pub failed: usize,
    /// Not to be had: offline, suspended, or stalled for long by problems of their own.
    pub away: usize,
    pub standing: WaveStanding,
}

/// What a wave does, or waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum WaveStanding {
    #[error("no cluster affected")]
    Unaffected,
    /// What comes after it may start.
    #[error("passed")]
    Passed,
    #[error("waits for the waves before it")]
    Ahead,
    #[error("{converged} of {affected} converged")]
    Rolling { converged: usize, affected: usize },
    #[error("converged, bakes{}", .until.map(|until| format!(" until {}", TimeZoneName::utc().shown(until))).unwrap_or_default())]
    Baking {
        #[schemars(with = "Option<String>")]
        until: Option<Timestamp>,
    },
    #[error("waits for an approval")]
    Approval { clusters: usize },
    #[error("waits for its windows: {}", next(*.opens, .zone))]
    Window {
        #[schemars(with = "Option<String>")]
        opens: Option<Timestamp>,
        zone: TimeZoneName,
    },
    #[error("0 of {affected} converged, {absent}")]
    NoneConverged {
        #[serde(flatten)]
        absent: Absent,
        affected: usize,
    },
    #[error("{clusters} quarantined")]
    Quarantined { clusters: usize },
    /// All that are at work wait for a person.
    #[error("{converged} of {affected} converged, {clusters} held")]
    Held { clusters: usize, converged: usize, affected: usize },
    /// Nobody of it can try the change.
    #[error("the documents of its {} are invalid", count(*.clusters))]
    Invalid { clusters: usize },
}

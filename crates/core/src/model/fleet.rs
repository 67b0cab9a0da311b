//! Fleet: targets, the profiles they run, and how a change reaches them.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::digest::CommitId;
use super::labels::LabelSelector;
use super::name::{FleetName, ProfileName, WaveName};
use super::object::ObjectKey;
use super::profile::{ApiVersion, Metadata};
use super::range::VersionRange;
use super::schedule::{Schedule, TimeZoneName};
use super::target::Variables;
use super::units::{Amount, Span};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FleetKind {
    Fleet,
}

/// A set of targets chosen by labels, the profiles they run, and how a change reaches them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fleet {
    pub api_version: ApiVersion,
    pub kind: FleetKind,
    pub metadata: Metadata<FleetName>,
    pub spec: FleetSpec,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSpec {
    /// Which targets belong to the fleet.
    pub clusters: LabelSelector,
    /// The profiles that they run.
    #[schemars(length(min = 1))]
    pub profiles: Vec<ProfileUse>,
    /// Values for variables: above a profile's defaults, below a target's values.
    #[serde(default, skip_serializing_if = "Variables::is_empty")]
    pub variables: Variables,
    #[serde(default)]
    pub rollout: RolloutSpec,
    /// Other fleets that must have converged on a shared target first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<FleetName>,
    /// When changes may start: in any of these that opens, and in none that closes (`deny`). Without one that
    /// opens: always. Healing and returns are not bound to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    #[serde(default)]
    pub drift: DriftSpec,
    #[serde(default)]
    pub prune: PruneSpec,
    /// What becomes of a cluster's objects when it leaves the fleet. Default: Orphan.
    #[serde(default)]
    pub on_removal: OnRemoval,
}

/// One profile of a fleet, and which of its commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileUse {
    pub name: ProfileName,
    /// Default: the commit at which this file is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionSpec>,
}

/// Which commit of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RevisionSpec {
    /// The head of a branch.
    Branch(String),
    /// The newest tag `<profile>/v<semver>`, or `v<semver>`, in a range such as `>=1.4, <2`, `1.x || 3.x` or `1.2 - 1.4`;
    /// `1.2` alone means `^1.2`.
    Tag(#[schemars(with = "String", extend("format" = "semver-range"))] VersionRange),
    /// A full commit hash, reachable from the control branch or an allowed tag.
    Commit(CommitId),
}

/// How a change reaches the clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RolloutSpec {
    /// Parts of the fleet, in order. A cluster is in the first wave that takes it; what no wave takes comes
    /// last, in a wave named `rest`. Default: one wave of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// More failed clusters than this end the rollout; a percentage is of each wave's affected clusters, rounded
    /// down. Default: 0.
    pub max_failures: Amount,
    /// How long a cluster may go without progress. Default: 10m.
    pub progress_deadline: Span,
    /// Default: Rollback.
    pub on_failure: OnFailure,
    /// What to do about clusters that can't be reached. Default: Skip.
    pub offline: Offline,
    /// Whether a revert to a known-good release need not wait for windows. Default: true.
    pub allow_reverts: bool,
}

impl Default for RolloutSpec {
    fn default() -> Self {
        Self {
            waves: Vec::new(),
            max_failures: Amount::Count(0),
            progress_deadline: Span::from_secs(600),
            on_failure: OnFailure::Rollback,
            offline: Offline::Skip,
            allow_reverts: true,
        }
    }
}

impl RolloutSpec {
    /// The names of the waves in order, with the one of what is left.
    pub fn wave_names(&self) -> Vec<WaveName> {
        let rest = (!self.waves.iter().any(Wave::takes_the_rest)).then(WaveName::rest);
        self.waves.iter().map(|wave| wave.name.clone()).chain(rest).collect()
    }
}

/// One part of a fleet: `clusters`, `count` or `percent`; without any of them it takes all that are left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wave {
    /// Unique in the fleet. `rest` is the name of what is left.
    pub name: WaveName,
    /// The clusters that this label selector chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<LabelSelector>,
    /// So many of the clusters that a change affects: those that can be reached first, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<u32>,
    /// The same as a share of the clusters that a change affects, such as `10%`, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Amount>,
    /// How many clusters change at a time; a percentage is of the wave's affected clusters, rounded up.
    /// Default: 100%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<Amount>,
    /// How long a cluster must stay healthy before it counts; a relapse before is a failure. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_success_time: Option<Span>,
    /// Whether a person must approve the wave (`fairlead approve`). Default: NotRequired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// When changes may start in this wave: the fleet's windows must be open, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

impl Wave {
    /// A wave of all that are left, with nothing asked of it.
    pub fn new(name: WaveName) -> Self {
        let (clusters, count, percent, max_concurrency) = (None, None, None, None);
        let (min_success_time, approval, windows) = (None, None, Vec::new());
        Self { name, clusters, count, percent, max_concurrency, min_success_time, approval, windows }
    }

    /// Whether nothing is left for the waves after it.
    pub fn takes_the_rest(&self) -> bool {
        let everything = self.clusters.as_ref().is_none_or(|clusters| *clusters == LabelSelector::default());
        everything && self.count.is_none() && self.percent.is_none()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    Required,
    NotRequired,
}

/// What happens when more than `maxFailures` clusters have failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Every cluster that the change reached gets its base release again.
    #[default]
    Rollback,
    /// The rollout holds and asks.
    Pause,
    /// The rollout goes on; failed clusters return alone.
    Continue,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Offline {
    /// The rollout goes on without them; they catch up when they return.
    #[default]
    Skip,
    /// The rollout waits for them.
    Wait,
}

/// A time in which changes may start, or with `deny` may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// When it starts: minute, hour, day of the month, month, day of the week, as in a CronJob.
    pub schedule: Schedule,
    /// How long it lasts.
    pub duration: Span,
    /// IANA name of the time zone for targets that name none of their own. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
    /// Closes instead of opening.
    #[serde(default)]
    pub deny: bool,
}

/// What happens when someone else changes a managed object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DriftSpec {
    /// Default: Heal.
    pub mode: DriftMode,
    /// Fields that others may own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoredPath>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftMode {
    /// Put it right.
    #[default]
    Heal,
    /// Only say so.
    Report,
}

/// A field that others may own: sent while our entry owns it, left out once another manager does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IgnoredPath {
    /// Kind of the objects; none: any kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// API group of the kind; none: any group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Name of the object; none: any name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// JSON pointer (RFC 6901), e.g. `/spec/replicas`. An item of a list: by its index in Git's list, by merge keys
    /// (`/spec/template/spec/containers/[name=web]/image`), or `*` for all.
    #[schemars(regex(pattern = r"^(/[^/]+)+$"))]
    pub path: String,
}

impl IgnoredPath {
    pub fn applies_to(&self, object: &ObjectKey) -> bool {
        let fits = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|w| w == has);
        fits(&self.kind, object.kind())
            && fits(&self.group, object.group())
            && fits(&self.name, object.name())
    }

    /// The pattern (see [`field_path`](super::field_path)) in the form in which the object is sent: of a Secret,
    /// `stringData` is.
    pub fn pattern(&self, object: &ObjectKey) -> Cow<'_, str> {
        match self.path.strip_prefix("/stringData").filter(|_| object.is("", "Secret")) {
            Some(rest) => Cow::Owned(format!("/data{rest}")),
            None => Cow::Borrowed(&self.path),
        }
    }
}

/// What may be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PruneSpec {
    /// More deletions than this in one release hold; a percentage is of the objects in the cluster's
    /// ledger and allows at least 5. Default: 50%.
    pub max_deletions: Amount,
    /// Kinds that are deleted only with `fairlead.dev/prune: allow` on the object or an approval.
    pub protect: Vec<String>,
    /// Whether a profile, fleet or repository without objects may delete everything. Default: false.
    pub allow_empty: bool,
}

impl Default for PruneSpec {
    fn default() -> Self {
        let protect = ["Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"];
        Self {
            max_deletions: Amount::Percent(50),
            protect: protect.map(str::to_owned).to_vec(),
            allow_empty: false,
        }
    }
}

impl PruneSpec {
    /// How many deletions one release may make in a cluster whose ledger holds `objects`.
    pub fn budget(&self, objects: usize) -> usize {
        match self.max_deletions {
            Amount::Count(n) => n as usize,
            percent @ Amount::Percent(_) => percent.floor_of(objects).max(5),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRemoval {
    /// Objects stay, and the ledger says so.
    #[default]
    Orphan,
    /// Objects are deleted.
    Delete,
}

//! What the API shows. The daemon makes it from its state and publishes it whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::digest::{CommitId, ReleaseDigest};
use fairlead_core::model::name::{FleetName, InstanceName, SourceName, TargetName, WaveName};
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::model::revision::ProfileRevision;
use fairlead_core::rollout::{Reason, TargetStatus, WaveReport};

/// Everything that the daemon knows and shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// Grows with every change of the view; begins anew with the daemon. Set by [`Publisher`].
    pub version: u64,
    pub instance: InstanceName,
    /// Version of the daemon.
    pub daemon: String,
    /// Why the daemon can't do its work yet, or any more; empty: it can. `/readyz` shows it.
    pub not_ready: Vec<NotReady>,
    /// Set: an emergency stop stands, and nothing is written to any cluster.
    pub stopped: Option<StopView>,
    pub repository: RepositoryView,
    /// By name.
    pub fleets: Vec<FleetView>,
    /// By name, then fleet: a target in two fleets is here twice, one in none not at all.
    pub targets: Vec<TargetView>,
    /// What is wrong in the observed commit.
    pub diagnostics: Vec<Diagnostic>,
}

/// A reason not to be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotReady {
    /// Stable, in kebab case, e.g. `no-commit-yet`.
    pub code: String,
    pub message: String,
}

/// An emergency stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StopView {
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// Who stopped everything, and by which way in.
    pub by: String,
    pub why: String,
}

/// The fleet repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryView {
    /// Without credentials: the publisher takes out what stands before the host's `@`.
    pub url: String,
    pub branch: String,
    /// Last commit seen on the branch.
    pub observed: Option<CommitId>,
    /// Why the head is not taken over, e.g. rewritten history.
    pub hold: Option<String>,
    /// Last fetch that worked.
    #[schemars(with = "Option<String>")]
    pub last_fetch: Option<Timestamp>,
    /// Why the last fetch failed; none: it worked.
    pub last_error: Option<String>,
}

/// How a fleet's rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FleetStatus {
    /// Every cluster runs what was accepted, and is healthy; what is suspended is left out.
    Converged,
    /// A change is on its way, or a cluster catches up.
    RollingOut,
    /// What was accepted does not run, healthy, on every cluster, or that can't be seen: see the reason.
    Degraded,
    /// A change failed; clusters go back to their bases.
    Returning,
    /// A change failed and was undone, or stands as `onFailure` says.
    Failed,
    /// Waits for a person.
    Held,
    /// Paused by a person.
    Paused,
    /// Nothing was observed yet.
    Unknown,
}

/// One fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetView {
    pub name: FleetName,
    /// The newest control commit seen that concerns this fleet.
    pub observed: Option<CommitId>,
    /// The control commit whose rollout completed last.
    pub accepted: Option<CommitId>,
    pub state: FleetStatus,
    /// Why it is in this state, where that is not plain.
    pub reason: Option<String>,
    /// What a person has to say before it goes on.
    pub needs: Vec<Need>,
    /// The waves of the change that is on its way, in order.
    #[serde(default)]
    pub waves: Vec<WaveReport>,
    /// When windows open next for a cluster that waits for one.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub next_window: Option<Timestamp>,
    /// Number of targets by state; states without targets are left out.
    pub counts: BTreeMap<TargetStatus, usize>,
    /// Targets where the change failed.
    pub failures: Vec<FailureView>,
}

/// The word that a fleet waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Need {
    /// `fairlead accept`: a revision is held.
    Accept,
    /// `fairlead approve`: deletions, targets that leave, or a wave.
    Approve,
    /// `fairlead resume`: the fleet is paused.
    Resume,
}

/// A change that failed on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureView {
    pub target: TargetName,
    pub release: ReleaseDigest,
    pub reason: String,
}

/// One target in one fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    pub name: TargetName,
    pub fleet: FleetName,
    /// Its wave, in a fleet that has several.
    #[serde(default)]
    pub wave: Option<WaveName>,
    pub status: TargetStatus,
    /// Why it is in this state, where that is not plain.
    pub reason: Option<String>,
    /// The same in parts.
    pub why: Reason,
    /// What the head wants it to run; none: not known, or it leaves.
    pub wanted: Option<ReleaseView>,
    /// What it is given to run now.
    pub assigned: Option<ReleaseView>,
    /// What it converged at last.
    pub converged: Option<ReleaseView>,
    /// Where a return would go.
    pub base: Option<ReleaseView>,
    /// When it came into this state.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    pub offline: bool,
    /// Number of objects in its ledger.
    pub objects: usize,
    /// Objects that Git dropped and that stay all the same, each with the reason.
    pub kept: Vec<String>,
    /// Objects that differ from Git and are not put right (drift mode `Report`, or contested), as `Kind namespace/name`.
    pub drift: Vec<String>,
    /// Objects that a person keeps from being healed (`fairlead.dev/hold-until`), with until when and who.
    pub break_glass: Vec<String>,
    /// What the present order waits for, uncut: objects that a person must decide about, or that are not healthy yet.
    #[serde(default)]
    pub waiting: Vec<String>,
}

/// A release, briefly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseView {
    pub release: ReleaseDigest,
    /// The control commit it was made from.
    pub commit: CommitId,
}

/// One event in a target's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryView {
    #[schemars(with = "String")]
    pub at: Timestamp,
    pub fleet: FleetName,
    pub release: ReleaseDigest,
    /// The control commit.
    pub commit: CommitId,
    /// The commit and the tag of each profile, by name; empty for what an older version noted.
    #[serde(default)]
    pub profiles: Vec<ProfileRevision>,
    pub outcome: String,
}

/// One rollout of a fleet: a commit, and what was said of it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    pub fleet: FleetName,
    /// Whose commit it is; `control`: the fleet repository.
    pub source: SourceName,
    pub commit: CommitId,
    /// `pending`, `success`, `failure` or `superseded`.
    pub state: String,
    pub description: String,
    #[schemars(with = "String")]
    pub began: Timestamp,
    /// When that was said.
    #[schemars(with = "String")]
    pub changed: Timestamp,
}

/// A pull request, and what merging it would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullView {
    pub number: u64,
    /// Its head.
    pub commit: CommitId,
    /// What is wrong with the head, by place.
    pub findings: Vec<Diagnostic>,
    /// The plan, against the merge base; none: see `noPlan`.
    pub plan: Option<serde_json::Value>,
    /// Why there is no plan.
    pub no_plan: Option<String>,
    /// The plan for people.
    pub text: String,
}

/// One entry of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    #[schemars(with = "String")]
    pub at: Timestamp,
    pub who: String,
    /// The way in: `socket`, `token`, `file`.
    pub via: String,
    /// The command.
    pub what: String,
    /// What it was done to, e.g. `fleet/retail`.
    pub subject: String,
    pub why: String,
    /// What became of it; empty for what an older version noted.
    pub outcome: String,
}

/// Why a target is where it is: all on one screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainView {
    pub target: TargetName,
    pub stopped: Option<StopView>,
    pub repository: RepositoryView,
    /// By name.
    pub fleets: Vec<ExplainFleet>,
    /// Its latest events, newest first.
    pub lately: Vec<HistoryView>,
}

/// A target in one of its fleets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainFleet {
    pub fleet: FleetView,
    pub target: TargetView,
    #[serde(default)]
    pub profiles: ProfilesView,
    /// Why its objects are not healthy, looked up for this answer; the first few.
    #[serde(default)]
    pub causes: Vec<CauseView>,
}

/// Which commits of its profiles a target runs, and which it should run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfilesView {
    /// By name; empty: it converged at nothing yet.
    pub converged: Vec<ProfileRevision>,
    /// By name; empty: not known, or it leaves.
    pub wanted: Vec<ProfileRevision>,
}

/// Why an object is not healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CauseView {
    /// Such as `Deployment shop/web`.
    pub object: String,
    /// What its pods, the newest events or its own status say.
    pub reason: String,
}

impl From<&ReleaseRef> for ReleaseView {
    fn from(release: &ReleaseRef) -> Self {
        Self { release: release.digest, commit: release.revisions.control.commit }
    }
}

impl FleetStatus {
    pub const ALL: [Self; 8] = [
        Self::Converged,
        Self::RollingOut,
        Self::Degraded,
        Self::Returning,
        Self::Failed,
        Self::Held,
        Self::Paused,
        Self::Unknown,
    ];

    /// As in JSON and in metrics' labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::RollingOut => "rollingOut",
            Self::Degraded => "degraded",
            Self::Returning => "returning",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        }
    }
}

impl StatusView {
    /// What is shown before anything is known.
    pub fn empty(instance: InstanceName, repository: RepositoryView) -> Self {
        Self {
            version: 0,
            instance,
            daemon: env!("CARGO_PKG_VERSION").to_owned(),
            not_ready: vec![NotReady {
                code: "starting".to_owned(),
                message: "the daemon has not read the repository yet".to_owned(),
            }],
            stopped: None,
            repository: RepositoryView { url: without_credentials(&repository.url), ..repository },
            fleets: Vec::new(),
            targets: Vec::new(),
            diagnostics: Vec::new(),
        }
    }
}

/// `https://user:token@host/x` to `https://host/x`; `git@host:x` stays: the user of an ssh address is no secret.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if scheme != "ssh" => format!("{scheme}://{}", &rest[at + 1..]),
        Some(at) => format!("{scheme}://{}@{}", rest[..at].split(':').next().unwrap_or(""), &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// Where readers see the newest view.
pub type Views = watch::Receiver<Arc<StatusView>>;

/// The daemon's end: publishes views, each with the next version. A view that equals the last is dropped, so that
/// readers wake for changes alone.
#[derive(Debug)]
pub struct Publisher {
    sender: watch::Sender<Arc<StatusView>>,
}

impl Publisher {
    pub fn new(first: StatusView) -> (Self, Views) {
        let (sender, views) = watch::channel(Arc::new(first));
        (Self { sender }, views)
    }

    /// Shows `view`; its version is set here. Whether it was a change.
    pub fn publish(&self, mut view: StatusView) -> bool {
        view.repository.url = without_credentials(&view.repository.url);
        self.sender.send_if_modified(|last| {
            view.version = last.version;
            if **last == view {
                return false;
            }
            view.version += 1;
            *last = Arc::new(view);
            true
        })
    }

    pub fn subscribe(&self) -> Views {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url() {
        for (url, shown) in [
            ("https://user:s3cret@git.example.com/a@b", "https://git.example.com/a@b"),
            ("https://s3cret@git.example.com", "https://git.example.com"),
            ("https://a:b@c:d@git.example.com/x", "https://git.example.com/x"),
            ("ssh://git:s3cret@git.example.com/x", "ssh://git@git.example.com/x"),
            ("git@git.example.com:a/b", "git@git.example.com:a/b"),
            ("/srv/fleet", "/srv/fleet"),
            ("file:///srv/a@b", "file:///srv/a@b"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }

    #[test]
    fn only_changes_are_published_and_each_has_its_own_version() {
        let first = StatusView::empty(InstanceName::default(), RepositoryView::default());
        let (publisher, mut views) = Publisher::new(first.clone());
        assert!(!publisher.publish(first.clone()));
        assert!(!views.has_changed().unwrap());
        assert!(publisher.publish(StatusView { not_ready: Vec::new(), ..first }));
        assert_eq!(views.borrow_and_update().version, 1);
    }

    #[test]
    fn labels_are_the_json_names() {
        for status in FleetStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}

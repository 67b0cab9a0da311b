//! Why something is as it is. There is no state without a reason.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{Person, RevisionHold};
use super::standing::WaveStanding;
use crate::model::digest::CommitId;
use crate::model::name::{FleetName, TargetName, WaveName};
use crate::model::schedule::TimeZoneName;

/// Why a fleet starts no change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum FleetReason {
    #[error("{hold}; 'fairlead accept' lets it go on")]
    Revision { hold: RevisionHold },
    #[error("the fleet has no targets any more and {of} would leave; approve it, or set prune.allowEmpty")]
    EmptyFleet { of: usize },
    #[error("{count} of {of} targets would leave; approve it")]
    MassRemoval { count: usize, of: usize },
    #[error("paused by {who}{why}", who = .by.who, why = because(.by))]
    Paused { by: Person },
    #[error("paused after failures: {failed} of {affected} failed: {cause}; resume, retry or push a fix")]
    Failures { failed: usize, affected: usize, cause: String },
    #[error("{}0 of {affected} converged, {absent}{}", colon(.wave), such_as(.first))]
    NoneConverged {
        #[serde(flatten)]
        absent: Absent,
        affected: usize,
        #[serde(default)]
        wave: Option<WaveName>,
        /// The first of them, and why it is not there.
        #[serde(default)]
        first: Option<String>,
    },
    /// Clusters wait for a person, and nothing else can go on.
    #[error("{}{} held: {target}: {reason}{}", colon(.wave), count(*.clusters), then(.remedy))]
    Held {
        wave: Option<WaveName>,
        clusters: usize,
        /// The first of them.
        target: TargetName,
        reason: String,
        /// What a person has to do.
        remedy: String,
    },
    /// Nobody of a wave can try the change, so nothing behind it starts.
    #[error(
        "{}the documents of its {} are invalid: {target}: {diagnostic}; mend them, or run 'fairlead approve {fleet}{}' to go on without",
        colon(.wave), count(*.clusters), flag(.wave)
    )]
    Invalid {
        wave: Option<WaveName>,
        clusters: usize,
        /// The first of them.
        target: TargetName,
        diagnostic: String,
        fleet: FleetName,
    },
    #[error("{} an approval: {}; 'fairlead approve' gives it", waits(.wave), count(*.clusters))]
    Approval { wave: Option<WaveName>, clusters: usize },
    #[error("{} its windows: {}", waits(.wave), next(*.opens, .zone))]
    Window {
        wave: Option<WaveName>,
        /// When the next one opens; none: none does.
        #[schemars(with = "Option<String>")]
        opens: Option<Timestamp>,
        /// To show the time in.
        zone: TimeZoneName,
    },
}

fn because(person: &Person) -> String {
    if person.why.is_empty() { String::new() } else { format!(" ({})", person.why) }
}

/// Why a cluster is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Reason {
    #[error("runs what it should")]
    Converged,
    #[error("runs what it should; the commit is not accepted yet")]
    ConvergedAhead,
    #[error("runs what it should; {}", left_behind(.count, .first, .approvable, .deleting, .first_deleting))]
    ConvergedKept {
        /// Dropped objects that stay.
        count: u32,
        first: String,
        approvable: bool,
        /// Dropped objects whose deletion was asked for, and that are still there.
        #[serde(default)]
        deleting: u32,
        /// The first of them, and what its deletion waits for.
        #[serde(default)]
        first_deleting: String,
    },
    #[error("not healthy: {cause}")]
    Unhealthy { cause: String },
    #[error("{}{waiting}", applying(*.applied, *.total), waiting = waiting_for(.waiting))]
    Applying { applied: usize, total: usize, waiting: Option<String> },
    #[error("stalled by a cluster problem; progress deadline paused: {reason}")]
    Stalled { reason: String },
    #[error("held: {reason}{}", then(.remedy))]
    Held {
        reason: String,
        /// What a person has to do; the rest follows by itself.
        #[serde(default)]
        remedy: String,
    },
    #[error("blocked by invalid configuration: {diagnostic}")]
    Invalid { diagnostic: String },
    #[error(
        "new, and does not fit the accepted profiles, with which it would start: {diagnostic}; waits until others are accepted"
    )]
    NotYet { diagnostic: String },
    #[error("waits for its turn{}: {in_flight} of at most {limit} clusters are at work", in_wave(.wave))]
    Turn {
        in_flight: usize,
        limit: usize,
        #[serde(default)]
        wave: Option<WaveName>,
    },
    #[error("waits for wave {ahead}: {standing}")]
    Wave { ahead: WaveName, standing: WaveStanding },
    #[error("waits for an approval{}; 'fairlead approve' gives it", of_wave(.wave))]
    Approval { wave: Option<WaveName> },
    #[error("waits for its window: {}", next(*.opens, .zone))]
    Window {
        /// When it opens; none: none does.
        #[schemars(with = "Option<String>")]
        opens: Option<Timestamp>,
        zone: TimeZoneName,
    },
    #[error("runs what it should; bakes until {}", utc(*.until))]
    Baking {
        #[schemars(with = "String")]
        until: Timestamp,
    },
    #[error("the fleet holds: {reason}")]
    Fleet { reason: FleetReason },
    #[error("waits for fleet {fleet} to converge on it")]
    DependsOn { fleet: FleetName },
    #[error("has not been heard from yet")]
    NotHeard,
    #[error("offline: {reason}")]
    Offline { reason: String },
    #[error("suspended in the repository")]
    Suspended,
    #[error("waits for the commit that is rolling out to be accepted")]
    Acceptance,
    #[error("failed: {cause}; nothing to go back to, so it stays and is healed")]
    NoBase { cause: String },
    #[error("failed: {cause}")]
    Failed { cause: String },
    #[error("going back to {to}: {cause}", to = .to.short())]
    Returning { to: CommitId, cause: String },
    #[error("rollback failed ({cause}); next attempt at {at}")]
    ReturnFailed {
        cause: String,
        #[schemars(with = "String")]
        at: Timestamp,
    },
    #[error("{release} is quarantined here: {cause}; fix it in a commit, or 'fairlead retry'", release = .release.short())]
    Quarantined { release: CommitId, cause: String },
    #[error("runs {release}, which failed in the rollout ({cause}); there is nothing to go back to", release = .release.short())]
    KeptQuarantined { release: CommitId, cause: String },
    #[error("waits: {release} failed on other clusters ({cause}); new clusters don't start on a failed release", release = .release.short())]
    QuarantinedElsewhere { release: CommitId, cause: String },
    #[error("leaves the fleet when {commit} is accepted", commit = .commit.short())]
    Leaving { commit: CommitId },
    #[error("'fairlead leave' took everything away; 'fairlead retry' takes it up again")]
    Left,
    #[error("leaving the fleet{}", waits_for(*.deleting, .first_deleting))]
    Removing {
        /// Objects whose deletion was asked for, and that are still there.
        #[serde(default)]
        deleting: u32,
        /// The first of them, and what its deletion waits for.
        #[serde(default)]
        first_deleting: String,
    },
    #[error("could not tell whether it left the fleet: some target documents can't be read")]
    Unreadable,
}

pub(super) fn in_wave(wave: &Option<WaveName>) -> String {
    wave.as_ref().map(|wave| format!(" in wave {wave}")).unwrap_or_default()
}

fn of_wave(wave: &Option<WaveName>) -> String {
    wave.as_ref().map(|wave| format!(" of wave {wave}")).unwrap_or_default()
}

fn waits(wave: &Option<WaveName>) -> String {
    wave.as_ref().map_or("waits for".to_owned(), |wave| format!("wave {wave} waits for"))
}

fn colon(wave: &Option<WaveName>) -> String {
    wave.as_ref().map(|wave| format!("wave {wave}: ")).unwrap_or_default()
}

fn flag(wave: &Option<WaveName>) -> String {
    wave.as_ref().map(|wave| format!(" --wave {wave}")).unwrap_or_default()
}

fn then(remedy: &str) -> String {
    if remedy.is_empty() { String::new() } else { format!("; {remedy}") }
}

fn such_as(first: &Option<String>) -> String {
    first.as_ref().map(|first| format!(": {first}")).unwrap_or_default()
}

pub(super) fn count(count: usize) -> String {
    if count == 1 { "1 cluster".to_owned() } else { format!("{count} clusters") }
}

/// When the next window opens, on the clocks that it was written for.
pub(super) fn next(opens: Option<Timestamp>, zone: &TimeZoneName) -> String {
    opens.map_or("none opens again".to_owned(), |opens| format!("the next opens {}", zone.shown(opens)))
}

fn utc(time: Timestamp) -> String {
    TimeZoneName::utc().shown(time)
}

/// Clusters that nobody waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Absent {
    /// Can't be reached.
    #[serde(rename = "away")]
    pub unreachable: usize,
    #[serde(default)]
    pub suspended: usize,
    /// Have been stalled for long by problems of their own.
    pub stalled: usize,
}

impl std::fmt::Display for Absent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            (self.unreachable, "unreachable"),
            (self.suspended, "suspended"),
            (self.stalled, "stalled by a cluster problem"),
        ];
        let said =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        f.write_str(&said.collect::<Vec<_>>().join(", "))
    }
}

fn dropped(count: u32) -> String {
    if count == 1 {
        "1 dropped object or field stays".to_owned()
    } else {
        format!("{count} dropped objects or fields stay")
    }
}

/// What the release dropped and is still there.
fn left_behind(count: &u32, first: &str, approvable: &bool, deleting: &u32, first_deleting: &str) -> String {
    let stay = (*count > 0).then(|| format!("{}: {first}{}", dropped(*count), approve(*approvable)));
    let go = (*deleting > 0).then(|| still_deleted(*deleting, first_deleting));
    stay.into_iter().chain(go).collect::<Vec<_>>().join("; ")
}

fn waits_for(count: u32, first: &str) -> String {
    if count == 0 { String::new() } else { format!("; {}", still_deleted(count, first)) }
}

pub(super) fn still_deleted(count: u32, first: &str) -> String {
    match count {
        1 => format!("1 dropped object is still being deleted: {first}"),
        _ => format!("{count} dropped objects are still being deleted: {first}"),
    }
}

fn approve(approvable: bool) -> &'static str {
    if approvable { "; 'fairlead approve' lets what is protected go" } else { "" }
}

fn applying(applied: usize, total: usize) -> String {
    if total == 0 { "starting".to_owned() } else { format!("{applied} of {total} objects applied") }
}

fn waiting_for(waiting: &Option<String>) -> String {
    waiting.as_ref().map(|what| format!(", waiting for {what}")).unwrap_or_default()
}

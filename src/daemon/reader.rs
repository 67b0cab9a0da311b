//! A head of the control branch to what it wants of each fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::library::{CompileError, Edition, Library, summary};
use crate::repo::{History, RepoError, Tag, is_version_tag, moved_tags, newest_tag, vanished_tags};
use fairlead_core::catalog::{Kind, LocatedFleet, Presence, Target};
use fairlead_core::model::assignment::ClusterPolicy;
use fairlead_core::model::budget::{self, Cost, OVER_BUDGET};
use fairlead_core::model::diagnostic::{Diagnostic, Place};
use fairlead_core::model::digest::{CommitId, InputDigest};
use fairlead_core::model::fleet::RevisionSpec;
use fairlead_core::model::name::{FleetName, ProfileName, TargetName};
use fairlead_core::model::range::VersionRange;
use fairlead_core::model::release::{Release, ReleaseRef};
use fairlead_core::model::revision::{Revision, Revisions};
use fairlead_core::release::{self, RENDERER};
use fairlead_core::rollout::{FleetPolicy, FleetState, Intent, RevisionHold, TargetIntent};

/// Most findings of a commit that are kept.
const MAX_FINDINGS: usize = 10_000;

/// What is to be read, and what is known so far.
pub struct ReadRequest {
    pub head: CommitId,
    /// The newest commit of the control branch: the head, but for a working tree.
    pub tip: Option<CommitId>,
    /// The last head that was taken over.
    pub accepted: Option<CommitId>,
    pub tags: BTreeMap<String, CommitId>,
    /// Tags as first seen or accepted, and commits that a person let in (see [`let_in`]).
    pub remembered: BTreeMap<String, CommitId>,
    pub fleets: BTreeMap<FleetName, FleetState>,
}

/// What a head wants.
pub struct Reading {
    pub head: CommitId,
    /// The head itself may not be used.
    pub hold: Option<RevisionHold>,
    pub fleets: BTreeMap<FleetName, FleetReading>,
    pub diagnostics: Vec<Diagnostic>,
    /// Branches that profiles follow; they must be fetched too.
    pub branches: BTreeSet<String>,
}

pub enum FleetReading {
    Intent(Box<Intent>),
    /// The fleet's document, or a revision that it names, can't be used.
    Invalid(String),
    Held(RevisionHold),
}

/// Under which name a commit off the branch is remembered once a person let it in.
pub fn let_in(commit: CommitId) -> String {
    format!("accepted-commit/{commit}")
}

/// Why a profile has no commit.
enum Unresolved {
    Held(RevisionHold),
    Invalid(String),
    Repository(RepoError),
}

impl From<RepoError> for Unresolved {
    fn from(error: RepoError) -> Self {
        Unresolved::Repository(error)
    }
}

pub struct Reader {
    library: Arc<Library>,
    /// None for files outside a Git repository: then no profile can have a revision of its own.
    history: Option<History>,
    allow_rewrite: bool,
}

/// What one reading finds out on its way.
struct Pass<'a> {
    request: &'a ReadRequest,
    control: Arc<Edition>,
    tags: Vec<Tag>,
    moved: BTreeMap<String, RevisionHold>,
    /// Tags that were there, and are no more.
    vanished: Vec<Tag>,
    diagnostics: BTreeSet<Diagnostic>,
    branches: BTreeSet<String>,
    /// Targets that several fleets choose.
    several: BTreeSet<TargetName>,
    /// Their releases.
    shared: BTreeMap<TargetName, Vec<(FleetName, Release)>>,
}

impl Reader {
    pub fn new(library: Arc<Library>, allow_rewrite: bool) -> Self {
        let history = library.history().cloned();
        Self { library, history, allow_rewrite }
    }

    /// Reads a head in full.
    ///
    /// # Errors
    /// The repository could not be read: nothing is known about the head, and nothing follows from it.
    pub fn read(&self, request: &ReadRequest) -> Result<Reading, RepoError> {
        let _counted = budget::enter_if_none();
        self.library.begin_reading();
        if let Some(hold) = self.rewritten(request)? {
            let held = |name: &FleetName| (name.clone(), FleetReading::Held(hold.clone()));
            return Ok(Reading {
                head: request.head,
                fleets: request.fleets.keys().map(held).collect(),
                hold: Some(hold),
                diagnostics: Vec::new(),
                branches: BTreeSet::new(),
            });
        }
        let control = self.library.at(request.head)?;
        let mut pass = Pass {
            request,
            tags: request
                .tags
                .iter()
                .map(|(name, commit)| Tag { name: name.clone(), commit: *commit })
                .collect(),
            moved: self.moved(request),
            vanished: match self.allow_rewrite {
                true => Vec::new(),
                false => vanished_tags(&request.remembered, &request.tags),
            },
            diagnostics: control.catalog.diagnostics().iter().cloned().collect(),
            branches: BTreeSet::new(),
            several: several(&control),
            shared: BTreeMap::new(),
            control: control.clone(),
        };
        let mut fleets = BTreeMap::new();
        for fleet in control.catalog.fleets() {
            fleets.insert(fleet.metadata.name.clone(), self.fleet(&mut pass, fleet)?);
        }
        for (name, state) in &request.fleets {
            if !fleets.contains_key(name) {
                fleets.insert(name.clone(), absent(&control, name, state));
            }
        }
        refuse_collisions(&mut pass, &mut fleets);
        let Pass { diagnostics, branches, .. } = pass;
        let diagnostics = within(diagnostics);
        Ok(Reading { head: request.head, hold: None, fleets, diagnostics, branches })
    }

    fn rewritten(&self, request: &ReadRequest) -> Result<Option<RevisionHold>, RepoError> {
        let accepted = request.accepted.filter(|from| *from != request.head && !self.allow_rewrite);
        let (Some(from), Some(history)) = (accepted, &self.history) else { return Ok(None) };
        let descends = match history.is_ancestor(from, request.head) {
            // History that the mirror no longer has was rewritten.
            Err(RepoError::UnknownCommit { commit }) if commit == from => false,
            answer => answer?,
        };
        Ok((!descends).then_some(RevisionHold::NonFastForward { from, to: request.head }))
    }

    fn moved(&self, request: &ReadRequest) -> BTreeMap<String, RevisionHold> {
        if self.allow_rewrite {
            return BTreeMap::new();
        }
        let moved = moved_tags(&request.remembered, &request.tags).into_iter();
        moved
            .map(|tag| {
                (tag.name.clone(), RevisionHold::TagMoved { tag: tag.name, from: tag.old, to: tag.new })
            })
            .collect()
    }

    fn fleet(&self, pass: &mut Pass<'_>, fleet: &LocatedFleet) -> Result<FleetReading, RepoError> {
        let name = &fleet.metadata.name;
        let mut profiles = BTreeMap::new();
        let mut stopped = None;
        for (n, used) in fleet.spec.profiles.iter().enumerate() {
            let commit = match self.resolve(pass, name, &used.name, used.revision.as_ref()) {
                Ok(commit) => commit,
                // The others are looked at all the same: no profile's mistake hides another's.
                Err(Unresolved::Held(hold)) => {
                    stopped.get_or_insert(FleetReading::Held(hold));
                    continue;
                }
                Err(Unresolved::Repository(error)) => return Err(error),
                Err(Unresolved::Invalid(text)) => {
                    let place = fleet.place(&format!("/spec/profiles/{n}/revision"));
                    let finding = Diagnostic::error(place, "unresolved-revision", text);
                    stopped.get_or_insert(FleetReading::Invalid(finding.to_string()));
                    pass.diagnostics.insert(finding);
                    continue;
                }
            };
            profiles.insert(used.name.clone(), Revision::control(commit));
        }
        if let Some(stopped) = stopped {
            return Ok(stopped);
        }
        let revisions = Revisions { control: Revision::control(pass.control.commit), profiles };
        let state = pass.request.fleets.get(name);
        let control = pass.control.clone();
        let mut targets = BTreeMap::new();
        for target in control.catalog.targets_of(fleet) {
            if let Err(exceeded) = budget::spend(Cost::Releases, 1) {
                let finding =
                    Diagnostic::error(fleet.place("/spec/clusters"), OVER_BUDGET, exceeded.to_string());
                let text = finding.to_string();
                pass.diagnostics.insert(finding);
                return Ok(FleetReading::Invalid(text));
            }
            let intent = self.target(pass, name, target, &revisions, state)?;
            targets.insert(target.metadata.name.clone(), intent);
        }
        Ok(FleetReading::Intent(Box::new(Intent {
            revisions,
            renderers: InputDigest::of([RENDERER.as_bytes()]),
            policy: policy(fleet),
            targets,
            unknown: !control.catalog.unreadable(Kind::Target).is_empty() || some_broken(&control, state),
        })))
    }

    fn target(
        &self,
        pass: &mut Pass<'_>,
        fleet: &FleetName,
        target: &Target,
        revisions: &Revisions,
        state: Option<&FleetState>,
    ) -> Result<TargetIntent, RepoError> {
        let name = &target.metadata.name;
        let pin = target.spec.pin.as_ref().map(|pin| pin.commit);
        let release = match pin {
            None => self.compile(pass, fleet, name, revisions, true)?,
            Some(commit) if !self.usable(pass, commit)? => {
                let place = target.place("/spec/pin/commit");
                let hold = RevisionHold::Unreachable { commit };
                let finding = Diagnostic::error(place, "unreachable-commit", hold.to_string());
                let text = finding.to_string();
                pass.diagnostics.insert(finding);
                Err(text)
            }
            Some(commit) => {
                let pinned = revisions.profiles.keys().map(|name| (name.clone(), Revision::control(commit)));
                let revisions = Revisions { control: revisions.control.clone(), profiles: pinned.collect() };
                self.compile(pass, fleet, name, &revisions, true)?
            }
        };
        let entry = state.and_then(|state| state.entry_revisions(name)).filter(|_| pin.is_none());
        let entry = match entry {
            Some(accepted) => {
                let revisions = Revisions { control: revisions.control.clone(), profiles: accepted.profiles };
                Some(self.compile(pass, fleet, name, &revisions, false)?)
            }
            None => None,
        };
        Ok(TargetIntent {
            release,
            entry,
            labels: target.metadata.labels.clone(),
            time_zone: target.spec.time_zone.clone(),
            suspend: target.spec.suspend,
            pinned: pin.is_some(),
            // Between fleets; known only when the decision is taken.
            unmet: None,
        })
    }

    /// The release, or the text of what is wrong with it. A shared one must not collide with other fleets'.
    fn compile(
        &self,
        pass: &mut Pass<'_>,
        fleet: &FleetName,
        target: &TargetName,
        revisions: &Revisions,
        share: bool,
    ) -> Result<Result<ReleaseRef, String>, RepoError> {
        match self.library.compile(fleet, target, revisions) {
            Ok(release) => {
                let found = ReleaseRef { digest: release.digest, revisions: revisions.clone() };
                if share && pass.several.contains(target) {
                    pass.shared.entry(target.clone()).or_default().push((fleet.clone(), release));
                }
                Ok(Ok(found))
            }
            Err(CompileError::Repository(error)) => Err(error),
            Err(CompileError::Content(diagnostics)) => {
                let text = summary(&diagnostics);
                // What many targets say together is kept within bounds; each says its first.
                let room = (2 * MAX_FINDINGS).saturating_sub(pass.diagnostics.len());
                pass.diagnostics.extend(diagnostics.into_iter().take(room));
                Ok(Err(text))
            }
        }
    }

    fn resolve(
        &self,
        pass: &mut Pass<'_>,
        fleet: &FleetName,
        profile: &ProfileName,
        revision: Option<&RevisionSpec>,
    ) -> Result<CommitId, Unresolved> {
        match revision {
            None => Ok(pass.control.commit),
            Some(RevisionSpec::Branch(branch)) => {
                pass.branches.insert(branch.clone());
                match self.history()?.resolve_branch(branch) {
                    Ok(commit) => Ok(commit),
                    Err(error @ RepoError::NoSuchBranch { .. }) => {
                        Err(Unresolved::Invalid(format!("profile {profile}: {error}")))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Some(RevisionSpec::Tag(range)) => {
                let newest = newest_tag(profile, range, &pass.tags);
                if let Some(hold) = vanished(pass, fleet, profile, range, newest.as_ref()) {
                    return Err(Unresolved::Held(hold));
                }
                let Some((_, tag)) = newest else {
                    return Err(Unresolved::Invalid(format!(
                        "profile {profile}: no tag {profile}/v<version> or v<version> is in the range {range}"
                    )));
                };
                match pass.moved.get(&tag.name) {
                    Some(hold) => Err(Unresolved::Held(hold.clone())),
                    None => Ok(tag.commit),
                }
            }
            Some(RevisionSpec::Commit(commit)) => {
                if self.usable(pass, *commit)? {
                    return Ok(*commit);
                }
                let commit = *commit;
                let accepted = pass.request.remembered.contains_key(&let_in(commit));
                Err(Unresolved::Held(match accepted {
                    true => RevisionHold::Missing { commit },
                    false => RevisionHold::Unreachable { commit },
                }))
            }
        }
    }

    fn history(&self) -> Result<&History, Unresolved> {
        self.history
            .as_ref()
            .ok_or_else(|| Unresolved::Invalid("this folder is in no Git repository".to_owned()))
    }

    /// Whether a commit that a document names is reached by the control branch or an allowed tag. Forges serve
    /// commits of forks by hash, so that it can be had says nothing.
    fn usable(&self, pass: &Pass<'_>, commit: CommitId) -> Result<bool, RepoError> {
        if self.allow_rewrite || pass.request.remembered.contains_key(&let_in(commit)) {
            // Only what is here can be used: no branch or tag that is followed may bring it.
            return match self.history.as_ref().map(|history| history.commit_info(commit)) {
                Some(Err(RepoError::UnknownCommit { .. })) | None => Ok(false),
                Some(found) => found.map(|_| true),
            };
        }
        let allowed = |tag: &&Tag| is_version_tag(&tag.name) && !pass.moved.contains_key(&tag.name);
        let unmoved = pass.tags.iter().filter(allowed);
        let tips: Vec<_> = pass.request.tip.into_iter().chain(unmoved.map(|tag| tag.commit)).collect();
        let Some(history) = &self.history else { return Ok(false) };
        match history.reachable(commit, &tips) {
            Err(RepoError::UnknownCommit { commit: missing }) if missing == commit => Ok(false),
            answer => answer,
        }
    }
}

/// The hold for a tag that the fleet takes a profile from, that is gone, and whose place no newer one takes: the one before
/// it would take the fleet back without anybody having asked for that.
fn vanished(
    pass: &Pass<'_>,
    fleet: &FleetName,
    profile: &ProfileName,
    range: &VersionRange,
    newest: Option<&(semver::Version, Tag)>,
) -> Option<RevisionHold> {
    let state = pass.request.fleets.get(fleet)?;
    let taken: Vec<Tag> =
        pass.vanished.iter().filter(|tag| state.takes(profile, tag.commit)).cloned().collect();
    let (version, tag) = newest_tag(profile, range, &taken)?;
    let instead = match newest {
        Some((newer, found)) if newer.cmp_precedence(&version).is_gt() || found.commit == tag.commit => {
            return None;
        }
        Some((_, older)) => format!(
            "{} is the newest that is left in {range}: push the tag again, or accept that",
            older.name
        ),
        None => format!("no tag is left in {range}: push it again"),
    };
    Some(RevisionHold::TagVanished { tag: tag.name, commit: tag.commit, instead })
}

/// The first findings, and how many more there are.
fn within(findings: BTreeSet<Diagnostic>) -> Vec<Diagnostic> {
    let more = findings.len().saturating_sub(MAX_FINDINGS);
    let mut kept: Vec<Diagnostic> = findings.into_iter().take(MAX_FINDINGS).collect();
    if more > 0 {
        let message = format!("{more} more findings are not shown");
        kept.push(Diagnostic::error(Place::file(""), "too-many-findings", message));
    }
    kept
}

/// The targets that more than one fleet chooses: of the others no release need be held to compare it.
fn several(control: &Edition) -> BTreeSet<TargetName> {
    let mut once = BTreeSet::new();
    let mut several = BTreeSet::new();
    for fleet in control.catalog.fleets() {
        for target in control.catalog.targets_of(fleet) {
            if !once.insert(&target.metadata.name) {
                several.insert(target.metadata.name.clone());
            }
        }
    }
    several
}

pub(super) fn policy(fleet: &LocatedFleet) -> FleetPolicy {
    let spec = &fleet.spec;
    FleetPolicy {
        rollout: spec.rollout.clone(),
        windows: spec.windows.clone(),
        depends_on: spec.depends_on.clone(),
        cluster: ClusterPolicy {
            drift: spec.drift.clone(),
            prune: spec.prune.clone(),
            progress_deadline: Some(spec.rollout.progress_deadline),
        },
        on_removal: spec.on_removal,
    }
}

/// Whether a target that the fleet knows is there but not valid: it has not left.
fn some_broken(control: &Edition, state: Option<&FleetState>) -> bool {
    let left = |name: &TargetName| control.catalog.target_presence(name) == Presence::Absent;
    let present = |name: &TargetName| control.catalog.target_presence(name) == Presence::Present;
    state.is_some_and(|state| state.targets().any(|name| !left(name) && !present(name)))
}

/// A fleet that has a state but no valid document: only one that was read to be absent has lost its targets.
fn absent(control: &Edition, name: &FleetName, state: &FleetState) -> FleetReading {
    if control.catalog.fleet_presence(name) == Presence::Absent {
        return FleetReading::Intent(Box::new(Intent {
            revisions: Revisions { control: Revision::control(control.commit), profiles: BTreeMap::new() },
            renderers: InputDigest::of([RENDERER.as_bytes()]),
            policy: state.policy(),
            targets: BTreeMap::new(),
            unknown: false,
        }));
    }
    let errors: Vec<_> = control.catalog.diagnostics().iter().filter(|d| d.is_error()).cloned().collect();
    FleetReading::Invalid(format!("fleet {name} can't be read: {}", summary(&errors)))
}

/// An object that two fleets give to one target holds that target in both.
fn refuse_collisions(pass: &mut Pass<'_>, fleets: &mut BTreeMap<FleetName, FleetReading>) {
    for (target, releases) in std::mem::take(&mut pass.shared) {
        let several: BTreeSet<_> = releases.iter().map(|(fleet, _)| fleet).collect();
        if several.len() < 2 {
            continue;
        }
        let found = release::collisions(&releases.iter().map(|(_, release)| release).collect::<Vec<_>>());
        if found.is_empty() {
            continue;
        }
        let text = summary(&found);
        for (fleet, _) in &releases {
            if let Some(FleetReading::Intent(intent)) = fleets.get_mut(fleet)
                && let Some(intent) = intent.targets.get_mut(&target)
            {
                intent.release = Err(text.clone());
            }
        }
        pass.diagnostics.extend(found);
    }
}

//! Plans of whole fleets, for commands and the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::library::{Library, WORKING_TREE};
use super::reader::{FleetReading, ReadRequest, Reader, Reading};
use crate::catalog;
use crate::cluster::LiveView;
use crate::cluster::fields::our_paths;
use crate::model::assignment::{Assignment, ClusterPolicy, Purpose};
use crate::model::diagnostic::Diagnostic;
use crate::model::digest::CommitId;
use crate::model::name::{FleetName, TargetName};
use crate::model::release::{Release, ReleaseRef};
use crate::plan::offline::comment::Way;
use crate::plan::offline::{Change, FleetPlan, Rules, Unplanned, against, compare};
use crate::plan::{self, Context};
use crate::release;
use crate::repo::RepoError;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{0}")]
    Unknown(String),
    #[error("the repository can't be read")]
    Repository(#[from] RepoError),
}

/// What a commit wants of one target for one fleet.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The release, or what is wrong with it.
    pub release: Result<Release, String>,
    pub name: Option<ReleaseRef>,
    pub policy: ClusterPolicy,
    pub rules: Rules,
}

/// A commit as people name it, or what stands in for it.
pub fn resolve(
    library: &Library,
    spec: Option<&str>,
    otherwise: Option<CommitId>,
) -> Result<CommitId, PlanError> {
    match (spec, library.history()) {
        (Some(spec), Some(history)) => Ok(history.resolve(spec)?),
        (Some(spec), None) => Err(PlanError::Unknown(format!("{spec}: this folder is in no Git repository"))),
        (None, _) => {
            otherwise.ok_or_else(|| PlanError::Unknown("no commit is known yet; name one".to_owned()))
        }
    }
}

/// Reads a commit, or the working tree, as the daemon would read a head that nothing holds.
pub fn read(library: &Arc<Library>, commit: CommitId) -> Result<Reading, RepoError> {
    let tags = library.history().map(|history| history.tags()).transpose()?.unwrap_or_default();
    let head = library.history().and_then(|history| history.resolve("HEAD").ok());
    let request = ReadRequest {
        head: commit,
        tip: if commit == WORKING_TREE { head } else { Some(commit) },
        accepted: None,
        tags: tags.into_iter().map(|tag| (tag.name, tag.commit)).collect(),
        remembered: BTreeMap::new(),
        fleets: BTreeMap::new(),
    };
    Reader::new(library.clone(), false).read(&request)
}

/// Everything that is wrong at a commit, or in the working tree, by place: also in profiles that no fleet runs, and in
/// what other mistakes keep from being used.
pub fn findings(library: &Arc<Library>, commit: CommitId) -> Result<Vec<Diagnostic>, RepoError> {
    let reading = read(library, commit)?;
    let mut found: BTreeSet<_> = reading.diagnostics.iter().cloned().collect();
    let control = library.at(commit)?;
    found.extend(library.lint(&control));
    // Of targets that something is wrong with: two fleets may not give one object.
    let mut shared: BTreeMap<TargetName, Vec<Release>> = BTreeMap::new();
    for fleet in control.catalog.fleets_to_look_at() {
        let intent = match reading.fleets.get(&fleet.metadata.name) {
            Some(FleetReading::Intent(intent)) => Some(intent),
            _ => None,
        };
        let none = BTreeMap::new();
        let revisions = intent.map_or(&none, |intent| &intent.revisions.profiles);
        for target in control.catalog.targets_to_look_at(fleet) {
            // What a pinned target runs is of another commit.
            let intended = intent.and_then(|intent| intent.targets.get(&target.metadata.name));
            if target.spec.pin.is_none() && intended.is_none_or(|intended| intended.release.is_err()) {
                let (release, more) = library.explore(&control, fleet, target, revisions)?;
                found.extend(more);
                shared.entry(target.metadata.name.clone()).or_default().push(release);
            }
        }
    }
    for (fleet, reading) in &reading.fleets {
        let FleetReading::Intent(intent) = reading else { continue };
        for (target, releases) in &mut shared {
            if let Some(Ok(name)) = intent.targets.get(target).map(|intended| &intended.release) {
                releases.extend(library.compile(fleet, target, &name.revisions).ok());
            }
        }
    }
    for releases in shared.values().filter(|releases| releases.len() > 1) {
        found.extend(release::collisions(&releases.iter().collect::<Vec<_>>()));
    }
    Ok(found.into_iter().filter(|finding| !catalog::is_about_stand_in(finding)).collect())
}

/// What a commit wants of every target.
pub fn releases(
    library: &Arc<Library>,
    commit: CommitId,
) -> Result<BTreeMap<(FleetName, TargetName), Wanted>, PlanError> {
    Ok(wanted(library, read(library, commit)?))
}

/// How a change would go through each fleet that was read.
pub fn ways(reading: Reading) -> Vec<Way> {
    let ways = reading.fleets.into_iter().filter_map(|(fleet, found)| match found {
        FleetReading::Intent(intent) => Some(Way {
            fleet,
            targets: intent.targets.len(),
            rollout: intent.policy.rollout,
            windows: intent.policy.windows,
        }),
        FleetReading::Invalid(_) | FleetReading::Held(_) => None,
    });
    ways.collect()
}

/// The releases of what was read.
pub fn wanted(library: &Library, reading: Reading) -> BTreeMap<(FleetName, TargetName), Wanted> {
    let mut all = BTreeMap::new();
    for (fleet, found) in reading.fleets {
        let FleetReading::Intent(intent) = found else { continue };
        for (target, intended) in intent.targets {
            let name = intended.release.as_ref().ok().cloned();
            let release = intended.release.and_then(|wanted| {
                library.compile(&fleet, &target, &wanted.revisions).map_err(|error| super::chain(&error))
            });
            let policy = intent.policy.cluster.clone();
            let rules = Rules { prune: policy.prune.clone(), on_removal: intent.policy.on_removal };
            all.insert((fleet.clone(), target), Wanted { release, name, policy, rules });
        }
    }
    all
}

/// What going from one commit to another does to every target.
pub fn between(library: &Arc<Library>, from: CommitId, to: CommitId) -> Result<FleetPlan, PlanError> {
    let (before, after) = (releases(library, from)?, releases(library, to)?);
    let rules = |(fleet, wanted): (&FleetName, &Wanted)| (fleet.clone(), wanted.rules.clone());
    let all_rules: BTreeMap<_, _> =
        before.iter().chain(&after).map(|((fleet, _), wanted)| rules((fleet, wanted))).collect();
    // A target whose release can't be compiled keeps what it has: it is said, and not taken as leaving.
    let broken: BTreeMap<_, _> =
        after.iter().filter_map(|(key, wanted)| Some((key, wanted.release.as_ref().err()?))).collect();
    let old = before
        .iter()
        .filter(|(key, _)| !broken.contains_key(key))
        .filter_map(|(_, w)| w.release.as_ref().ok());
    let new = after.values().filter_map(|wanted| wanted.release.as_ref().ok());
    let plan = compare(old, new, &all_rules);
    Ok(plan.unplanned(broken.into_iter().map(|((fleet, target), reason)| Unplanned {
        fleet: fleet.clone(),
        target: target.clone(),
        reason: reason.clone(),
    })))
}

/// What bringing a cluster to a release would change of what it really has.
pub fn live(
    release: &Release,
    wanted: &ReleaseRef,
    policy: &ClusterPolicy,
    view: &LiveView,
    manager: &str,
) -> Change {
    let assignment = Assignment {
        target: release.target.clone(),
        fleet: release.fleet.clone(),
        generation: 0,
        release: wanted.clone(),
        purpose: Purpose::Change,
        base: None,
        quarantined: Vec::new(),
        deletions_approved: false,
        adopt: false,
        policy: policy.clone(),
    };
    let adopt = BTreeSet::new();
    let context = Context {
        assignment: &assignment,
        inventory: &view.inventory,
        set: &view.set,
        siblings: &view.siblings,
        back_to: None,
        adopt: &adopt,
        now: Timestamp::now(),
    };
    let plan = plan::live(release, &view.observed, &context);
    against(release, &plan, &view.inventory, &view.objects, |object| our_paths(object, manager))
}

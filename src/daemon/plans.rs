//! Plans of whole fleets, for commands and the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::library::{Edition, Library, WORKING_TREE, summary};
use super::reader::{self, FleetReading, ReadRequest, Reader, Reading};
use crate::repo::RepoError;
use fairlead_cluster::LiveView;
use fairlead_cluster::fields::our_paths;
use fairlead_core::catalog::{self, Kind, Presence, Target};
use fairlead_core::model::assignment::{Assignment, ClusterPolicy, Purpose};
use fairlead_core::model::budget;
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::{FleetName, TargetName};
use fairlead_core::model::release::{Release, ReleaseRef};
use fairlead_core::plan::offline::comment::Way;
use fairlead_core::plan::offline::{Change, FleetPlan, Rules, Unplanned, Unread, against, compare};
use fairlead_core::plan::{self, Context};
use fairlead_core::release;

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
    let _counted = budget::enter_if_none();
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

/// The releases of what was read. Of a fleet that can't be used as it is, each target has the reason in place of a
/// release: what it wants is unknown, which is not the same as nothing.
pub fn wanted(
    library: &Library,
    reading: Reading,
) -> Result<BTreeMap<(FleetName, TargetName), Wanted>, RepoError> {
    let edition = library.at(reading.head)?;
    let mut all = BTreeMap::new();
    for (fleet, found) in reading.fleets {
        let intent = match found {
            FleetReading::Intent(intent) => intent,
            FleetReading::Invalid(reason) => {
                all.extend(unusable(&edition, &fleet, &reason));
                continue;
            }
            FleetReading::Held(hold) => {
                all.extend(unusable(&edition, &fleet, &hold.to_string()));
                continue;
            }
        };
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
    Ok(all)
}

/// The targets of a fleet whose document is there, and can't be used.
fn unusable(edition: &Edition, fleet: &FleetName, reason: &str) -> Vec<((FleetName, TargetName), Wanted)> {
    let Some(document) = edition.catalog.fleet(fleet) else { return Vec::new() };
    let policy = reader::policy(document);
    let wanted = |target: &Arc<Target>| {
        let rules = Rules { prune: policy.cluster.prune.clone(), on_removal: policy.on_removal };
        let release = Err(reason.to_owned());
        let wanted = Wanted { release, name: None, policy: policy.cluster.clone(), rules };
        ((fleet.clone(), target.metadata.name.clone()), wanted)
    };
    edition.catalog.targets_of(document).map(wanted).collect()
}

/// A commit as one side of a comparison.
pub struct Side {
    edition: Arc<Edition>,
    pub wanted: BTreeMap<(FleetName, TargetName), Wanted>,
}

/// What a side has for one target of one fleet.
enum Has<'a> {
    Release(&'a Release),
    Nothing,
    /// It may have something: what, could not be read.
    Unknown(String),
}

impl Side {
    pub fn read(library: &Arc<Library>, commit: CommitId) -> Result<Self, PlanError> {
        let reading = read(library, commit)?;
        Ok(Self { edition: library.at(commit)?, wanted: wanted(library, reading)? })
    }

    fn has(&self, fleet: &FleetName, target: &TargetName) -> Has<'_> {
        match self.wanted.get(&(fleet.clone(), target.clone())) {
            Some(Wanted { release: Ok(release), .. }) => return Has::Release(release),
            Some(Wanted { release: Err(reason), .. }) => return Has::Unknown(reason.clone()),
            None => {}
        }
        let catalog = &self.edition.catalog;
        let absent = match catalog.fleet_presence(fleet) {
            Presence::Present => {
                matches!(catalog.target_presence(target), Presence::Present | Presence::Absent)
            }
            presence => presence == Presence::Absent,
        };
        if absent {
            return Has::Nothing;
        }
        let problems: Vec<_> = catalog.problems_for(fleet, target).into_iter().cloned().collect();
        Has::Unknown(format!("{}; assignments stay", summary(&problems)))
    }

    /// What could not be read, and is not said of a target that is in `known`.
    pub fn unread(&self, known: &BTreeSet<(FleetName, TargetName)>) -> Vec<Unread> {
        let catalog = &self.edition.catalog;
        let said = |problems: Vec<&Diagnostic>| summary(&problems.into_iter().cloned().collect::<Vec<_>>());
        let fleets = catalog
            .broken(Kind::Fleet)
            .filter(|name| !known.iter().any(|(fleet, _)| fleet.as_str() == *name));
        let fleets = fleets.map(|name| Unread {
            what: format!("fleet {name}"),
            reason: said(catalog.problems_of(Kind::Fleet, name)),
            target: None,
        });
        let targets = catalog
            .broken(Kind::Target)
            .filter(|name| !known.iter().any(|(_, target)| target.as_str() == *name));
        let targets = targets.map(|name| Unread {
            what: format!("target {name}"),
            reason: said(catalog.problems_of(Kind::Target, name)),
            target: name.parse().ok(),
        });
        let files = [Kind::Fleet, Kind::Target].into_iter().flat_map(|kind| {
            let problems = || said(catalog.problems_of_folder(kind));
            let unread = |file: &String| Unread { what: file.clone(), reason: problems(), target: None };
            catalog.unreadable(kind).iter().map(unread).collect::<Vec<_>>()
        });
        fleets.chain(targets).chain(files).collect()
    }
}

/// What going from one commit to another does to every target. Where one of them could not be read for a target, there
/// is no plan for it, and the reason stands in its place: what can't be read has neither left nor come.
pub fn between(library: &Arc<Library>, from: CommitId, to: CommitId) -> Result<FleetPlan, PlanError> {
    let (before, after) = (Side::read(library, from)?, Side::read(library, to)?);
    let members: BTreeSet<_> = before.wanted.keys().chain(after.wanted.keys()).cloned().collect();
    let (mut old, mut new, mut unplanned) = (Vec::new(), Vec::new(), Vec::new());
    for (fleet, target) in &members {
        let reason = match (before.has(fleet, target), after.has(fleet, target)) {
            (_, Has::Unknown(reason)) => reason,
            (Has::Unknown(reason), _) => format!("at commit {}: {reason}", shown(from)),
            (before, after) => {
                old.extend(before.release());
                new.extend(after.release());
                continue;
            }
        };
        unplanned.push(Unplanned { fleet: fleet.clone(), target: target.clone(), reason });
    }
    let both = before.wanted.iter().chain(&after.wanted);
    let rules: BTreeMap<_, _> =
        both.map(|((fleet, _), wanted)| (fleet.clone(), wanted.rules.clone())).collect();
    let unread: BTreeSet<_> = before.unread(&members).into_iter().chain(after.unread(&members)).collect();
    Ok(compare(old, new, &rules).unplanned(unplanned).unread(unread))
}

impl<'a> Has<'a> {
    fn release(self) -> Option<&'a Release> {
        match self {
            Has::Release(release) => Some(release),
            Has::Nothing | Has::Unknown(_) => None,
        }
    }
}

fn shown(commit: CommitId) -> String {
    if commit == WORKING_TREE { "of the working tree".to_owned() } else { commit.short() }
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

//! Commits as validated documents, and releases compiled from them. What the daemon and the commands share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::repo::{History, RepoError};
use fairlead_core::catalog::{self, Catalog, Folders, LocatedFleet, Profile, Target};
use fairlead_core::model::budget::{self, Cost, OVER_BUDGET};
use fairlead_core::model::diagnostic::{Diagnostic, Place};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::{FleetName, ProfileName, TargetName};
use fairlead_core::model::release::Release;
use fairlead_core::model::revision::{Revision, Revisions};
use fairlead_core::model::tree::Tree;
use fairlead_core::release::{self, LayerCache, ProfileAt, Request};

/// Commits that are kept read: the head, what is accepted, a few bases and tags.
const KEPT: usize = 16;
/// Bytes of memory that the values of all commits that are kept read may take together, but for the newest.
const KEPT_WEIGHT: u64 = 1 << 30;

/// The id that stands for files which are not committed.
pub const WORKING_TREE: CommitId = CommitId::from_bytes([0; 20]);

/// One commit, read.
pub struct Edition {
    pub commit: CommitId,
    pub tree: Arc<dyn Tree>,
    pub catalog: Catalog,
    /// Bytes of memory that its values take, roughly.
    weight: u64,
    /// More of it may be read with another budget.
    partial: bool,
}

/// Reads commits of one repository, each once, and compiles releases from them. For any thread.
pub struct Library {
    history: Option<History>,
    folders: Folders,
    cache: LayerCache,
    editions: Mutex<VecDeque<Arc<Edition>>>,
    working_tree: Option<Arc<Edition>>,
}

/// Why a release can't be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Not now; what the content is, is unknown.
    #[error(transparent)]
    Repository(#[from] RepoError),
    #[error("{}", summary(.0))]
    Content(Vec<Diagnostic>),
}

impl CompileError {
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        match self {
            CompileError::Repository(error) => {
                vec![Diagnostic::error(Place::file(""), "repository", super::chain(&error))]
            }
            CompileError::Content(diagnostics) => diagnostics,
        }
    }
}

/// The first finding, and how many more there are.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    match diagnostics {
        [] => "nothing is wrong".to_owned(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    }
}

impl Library {
    pub fn new(history: Option<History>, folders: Folders, cache: LayerCache) -> Self {
        Self { history, folders, cache, editions: Mutex::default(), working_tree: None }
    }

    /// A library of one tree that is not committed.
    pub fn of_tree(tree: Arc<dyn Tree>, history: Option<History>, folders: Folders) -> (Self, Arc<Edition>) {
        let mut library = Self::new(history, folders, LayerCache::default());
        let catalog = Catalog::read(tree.as_ref(), &library.folders);
        let edition = Arc::new(Edition { commit: WORKING_TREE, tree, catalog, weight: 0, partial: false });
        library.working_tree = Some(edition.clone());
        (library, edition)
    }

    pub fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// A commit, read. Its content never changes, so a commit that was read is not read again.
    pub fn at(&self, commit: CommitId) -> Result<Arc<Edition>, RepoError> {
        if let Some(edition) = self.working_tree.as_ref().filter(|_| commit == WORKING_TREE) {
            return Ok(edition.clone());
        }
        if let Some(edition) = self.kept(commit) {
            return Ok(edition);
        }
        let Some(history) = &self.history else { return Err(RepoError::UnknownCommit { commit }) };
        Ok(self.keep(commit, Arc::new(history.tree(commit)?)))
    }

    fn kept(&self, commit: CommitId) -> Option<Arc<Edition>> {
        let mut editions = self.editions.lock().unwrap_or_else(PoisonError::into_inner);
        let found = editions.iter().position(|edition| edition.commit == commit)?;
        let edition = editions.remove(found)?;
        editions.push_front(edition.clone());
        Some(edition)
    }

    /// Reads a tree. An edition with something unreadable in it, or whose reading was stopped, is not kept: the next
    /// look may read it. What was too much for the budget is kept until the next reading: all who ask meanwhile get
    /// the same answer, and what is too much is not read once for each of them.
    fn keep(&self, commit: CommitId, tree: Arc<dyn Tree>) -> Arc<Edition> {
        let _counted = budget::enter_if_none();
        let spent = || budget::spent(Cost::Values);
        let before = self.editions.lock().unwrap_or_else(PoisonError::into_inner).front().cloned();
        let before = before.as_ref().map(|edition| &edition.catalog);
        let spent_before = spent();
        let catalog = Catalog::read_after(tree.as_ref(), &self.folders, before);
        let weight = spent().saturating_sub(spent_before);
        let has = |code: &str| catalog.diagnostics().iter().any(|finding| finding.code == code);
        let (whole, partial) = (!has("unreadable") && !budget::is_stopped(), has(OVER_BUDGET));
        let edition = Arc::new(Edition { commit, tree, catalog, weight, partial });
        if whole {
            let mut editions = self.editions.lock().unwrap_or_else(PoisonError::into_inner);
            editions.push_front(edition.clone());
            editions.truncate(KEPT);
            let mut weight = 0;
            let fitting = editions.iter().skip(1).take_while(|edition| {
                weight += edition.weight;
                weight <= KEPT_WEIGHT
            });
            let fitting = fitting.count();
            editions.truncate(1 + fitting);
        }
        edition
    }

    /// A reading begins, with a budget of its own: what was too much for the one before is read anew.
    pub fn begin_reading(&self) {
        let mut editions = self.editions.lock().unwrap_or_else(PoisonError::into_inner);
        editions.retain(|edition| !edition.partial);
    }

    /// What a target should run for a fleet at these revisions: fleet, target and variables from the control
    /// commit, each profile from its own.
    pub fn compile(
        &self,
        fleet: &FleetName,
        target: &TargetName,
        revisions: &Revisions,
    ) -> Result<Release, CompileError> {
        let _counted = budget::enter_if_none();
        let control = self.at(revisions.control.commit)?;
        let missing = |what: String| {
            let text = format!("{what} is not in commit {}, or not valid there", control.commit.short());
            CompileError::Content(vec![Diagnostic::error(Place::file(""), "missing", text)])
        };
        let fleet_document = control.catalog.fleet(fleet).ok_or_else(|| missing(format!("fleet {fleet}")))?;
        let target_document =
            control.catalog.target(target).ok_or_else(|| missing(format!("target {target}")))?;
        held(control.catalog.problems_for(fleet, target))?;
        let editions = self.profile_editions(revisions)?;
        let mut profiles = Vec::new();
        for used in &fleet_document.spec.profiles {
            let Some(edition) = editions.get(&used.name) else {
                return Err(missing(format!("a revision of profile {}", used.name)));
            };
            held(edition.catalog.problems_of_profile(&used.name))?;
            let Some(profile) = edition.catalog.profile(&used.name) else {
                let (name, at) = (&used.name, edition.commit.short());
                let text = format!("profile {name} is not in commit {at}, or not valid there");
                let place = fleet_document.place("/spec/profiles");
                return Err(CompileError::Content(vec![Diagnostic::error(place, "unknown-profile", text)]));
            };
            profiles.push(ProfileAt { profile, tree: edition.tree.as_ref() });
        }
        let request = Request { fleet: fleet_document, target: target_document, profiles: &profiles };
        release::compile(request, &self.cache).map_err(CompileError::Content)
    }

    /// What is wrong with the layers of an edition's profiles, whoever runs them.
    pub fn lint(&self, edition: &Edition) -> Vec<Diagnostic> {
        let profiles = edition.catalog.profiles_to_look_at();
        profiles
            .flat_map(|profile| {
                let at = ProfileAt { profile, tree: edition.tree.as_ref() };
                without_repeats(edition, profile, release::lint(at, &self.cache))
            })
            .collect()
    }

    /// What is wrong with what a fleet gives to a target, where something is known to be wrong already: no mistake
    /// in one document hides another elsewhere. Profiles without a known commit are passed over.
    pub fn explore(
        &self,
        control: &Edition,
        fleet: &LocatedFleet,
        target: &Target,
        revisions: &BTreeMap<ProfileName, Revision>,
    ) -> Result<(Release, Vec<Diagnostic>), RepoError> {
        let mut editions = BTreeMap::new();
        for (name, revision) in revisions.iter().filter(|(_, revision)| revision.commit != control.commit) {
            editions.insert(name, self.at(revision.commit)?);
        }
        let mut profiles = Vec::new();
        for used in &fleet.spec.profiles {
            let edition = match editions.get(&used.name) {
                Some(edition) => edition,
                None if used.revision.is_some() && !revisions.contains_key(&used.name) => continue,
                None => control,
            };
            let of_name =
                edition.catalog.profiles_to_look_at().filter(|profile| *profile.name() == used.name);
            profiles.extend(of_name.map(|profile| (edition, profile)));
        }
        let parts: Vec<_> = profiles
            .iter()
            .map(|(edition, profile)| ProfileAt { profile, tree: edition.tree.as_ref() })
            .collect();
        let request = Request { fleet, target, profiles: &parts };
        let (release, mut found) = release::explore(request, &self.cache);
        for (edition, profile) in profiles {
            found = without_repeats(edition, profile, found);
        }
        // The values were checked with the documents, and of these not all may be what was written.
        found.retain(|finding| finding.code != "missing-key" && !catalog::is_about_stand_in(finding));
        Ok((release, found))
    }

    fn profile_editions(
        &self,
        revisions: &Revisions,
    ) -> Result<BTreeMap<ProfileName, Arc<Edition>>, RepoError> {
        revisions
            .profiles
            .iter()
            .map(|(name, revision)| Ok((name.clone(), self.at(revision.commit)?)))
            .collect()
    }
}

/// Without what says again of a profile's layers what reading its document has said.
fn without_repeats(edition: &Edition, profile: &Profile, mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    const REPEATS: [&str; 7] = [
        "dependency-cycle",
        "duplicate-layer",
        "invalid-path",
        "missing-path",
        "schema-invalid",
        "unknown-layer",
        "unsupported-source",
    ];
    let file = profile.document.file();
    let said = |finding: &Diagnostic| finding.is_error() && finding.place.file == file;
    if edition.catalog.diagnostics().iter().any(said) {
        found.retain(|finding| finding.place.file != file || !REPEATS.contains(&finding.code.as_str()));
    }
    found
}

fn held(problems: Vec<&Diagnostic>) -> Result<(), CompileError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(CompileError::Content(problems.into_iter().cloned().collect()))
}

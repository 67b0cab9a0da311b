//! A tree's files to validated documents, or every diagnostic at once.
//!
//! In: a [`Tree`]. Out: documents with their places, and diagnostics (file, line, column, what was expected,
//! a hint). Guarantees: one bad document hides no other and stops nobody who doesn't use it; what can't be
//! read is an error, never "not there" ([`Presence`]). Assumes that a tree's answers belong to one commit.
//! Pure.

mod check;
mod document;
mod explain;
mod labels;
mod mend;
mod read;
pub mod report;
pub mod schema;
mod single;
mod variables;
pub mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::digest::TreeId;
use crate::model::name::{FleetName, ProfileName, TargetName};
use crate::model::profile::ClusterProfile;
use crate::model::tree::Tree;

pub use document::{Folders, Kind, Located, LocatedFleet, Presence, Profile, Target};
pub use mend::is_about_stand_in;
pub use single::read_single;
pub use variables::{values, variables};

use read::{Documents, Finding, Subject, TakenOut};

/// The documents of one kind.
#[derive(Debug)]
struct Shelf<T> {
    documents: BTreeMap<String, Arc<T>>,
    /// Names of documents that are there but not valid.
    broken: BTreeSet<String>,
    /// Names of documents that are looked at but not kept: see [`Documents::patched`].
    patched: BTreeMap<String, TakenOut>,
    /// Documents that can't be used and are looked at only so that all that is wrong is said at once.
    aside: Vec<Arc<T>>,
    /// Files, or folders, of which not everything could be read.
    unreadable: Vec<String>,
    /// Git's hash of the folder, if nothing is wrong with what it holds.
    sound: Option<TreeId>,
}

impl<T> Shelf<T> {
    /// Whether reading the folder of this tree would give the same, and nothing to say.
    fn is_of(&self, tree: &dyn Tree, folder: &str) -> bool {
        self.sound.is_some() && self.sound == id(tree, folder)
    }

    fn give_up_patched(&mut self) {
        for (name, _) in std::mem::take(&mut self.patched) {
            self.aside.extend(self.documents.remove(&name));
            self.broken.insert(name);
        }
    }

    fn presence(&self, name: &str) -> Presence {
        if self.documents.contains_key(name) {
            Presence::Present
        } else if self.broken.contains(name) {
            Presence::Broken
        } else if self.unreadable.is_empty() {
            Presence::Absent
        } else {
            Presence::Unknown
        }
    }
}

/// All documents of one commit, and all that is wrong with them.
#[derive(Debug)]
pub struct Catalog {
    profiles: Shelf<Profile>,
    /// Most commits leave them alone, and there may be thousands: editions share them.
    targets: Arc<Shelf<Target>>,
    fleets: Shelf<LocatedFleet>,
    /// By place.
    diagnostics: Vec<Diagnostic>,
    /// Indices of errors.
    errors: BTreeMap<Subject, Vec<usize>>,
}

impl Catalog {
    /// Reads and validates all documents of a tree.
    pub fn read(tree: &dyn Tree, folders: &Folders) -> Catalog {
        Self::read_after(tree, folders, None)
    }

    /// The same, with the targets of a catalog read `before` from the same folders where those are unchanged.
    pub fn read_after(tree: &dyn Tree, folders: &Folders, before: Option<&Catalog>) -> Catalog {
        let mut findings = Vec::new();
        let profiles = documents(tree, folders, Kind::Profile, &mut findings, |document, findings| {
            profile(tree, document, findings)
        });
        let same = before.map(|before| &before.targets);
        let targets = match same.filter(|targets| targets.is_of(tree, folders.of(Kind::Target))) {
            Some(targets) => Arc::clone(targets),
            None => Arc::new(documents(tree, folders, Kind::Target, &mut findings, |document, _| document)),
        };
        let fleets =
            documents(tree, folders, Kind::Fleet, &mut findings, |document: LocatedFleet, findings| {
                findings.extend(check::fleet(&document));
                document
            });
        let mut catalog =
            Catalog { profiles, targets, fleets, diagnostics: Vec::new(), errors: BTreeMap::new() };
        no_folder_at_all(&mut findings, folders);
        findings.extend(check::cross(&catalog));
        catalog.profiles.give_up_patched();
        // None are patched where they are shared.
        if let Some(targets) = Arc::get_mut(&mut catalog.targets) {
            targets.give_up_patched();
        }
        catalog.fleets.give_up_patched();
        findings.retain(|finding| !is_about_stand_in(&finding.diagnostic));
        catalog.file(findings);
        catalog
    }

    /// Every profile that there is something to say about: also those that can't be used.
    pub fn profiles_to_look_at(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles().chain(&self.profiles.aside)
    }

    /// The same for fleets.
    pub fn fleets_to_look_at(&self) -> impl Iterator<Item = &Arc<LocatedFleet>> {
        self.fleets().chain(&self.fleets.aside)
    }

    /// The same for the targets that a fleet's selector chooses.
    pub fn targets_to_look_at<'a>(
        &'a self,
        fleet: &'a LocatedFleet,
    ) -> impl Iterator<Item = &'a Arc<Target>> {
        let all = self.targets().chain(&self.targets.aside);
        all.filter(|target| fleet.spec.clusters.matches(&target.metadata.labels))
    }

    /// Sorts findings, joins equal ones, and notes whom they hold back.
    fn file(&mut self, findings: Vec<Finding>) {
        let mut joined: BTreeMap<Diagnostic, BTreeSet<Subject>> = BTreeMap::new();
        for finding in findings {
            joined.entry(finding.diagnostic).or_default().extend(finding.subjects);
        }
        for (diagnostic, subjects) in joined {
            if diagnostic.is_error() {
                for subject in subjects {
                    self.errors.entry(subject).or_default().push(self.diagnostics.len());
                }
            }
            self.diagnostics.push(diagnostic);
        }
    }

    /// Everything that is wrong, by place.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// Profiles that can be read, by name; there may still be something wrong with them.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.documents.values()
    }

    /// Targets that can be read, by name; there may still be something wrong with them.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.documents.values()
    }

    /// Fleets that can be read, by name; there may still be something wrong with them.
    pub fn fleets(&self) -> impl Iterator<Item = &Arc<LocatedFleet>> {
        self.fleets.documents.values()
    }

    pub fn profile(&self, name: &ProfileName) -> Option<&Arc<Profile>> {
        self.profiles.documents.get(name.as_str())
    }

    pub fn target(&self, name: &TargetName) -> Option<&Arc<Target>> {
        self.targets.documents.get(name.as_str())
    }

    pub fn fleet(&self, name: &FleetName) -> Option<&Arc<LocatedFleet>> {
        self.fleets.documents.get(name.as_str())
    }

    /// The targets that a fleet's selector chooses, by name.
    pub fn targets_of<'a>(&'a self, fleet: &'a LocatedFleet) -> impl Iterator<Item = &'a Arc<Target>> {
        self.targets().filter(|target| fleet.spec.clusters.matches(&target.metadata.labels))
    }

    /// Whether a target is there. A target may be treated as removed only if this says `Absent`.
    pub fn target_presence(&self, name: &TargetName) -> Presence {
        self.targets.presence(name.as_str())
    }

    /// Whether a fleet is there. A fleet may be treated as removed only if this says `Absent`.
    pub fn fleet_presence(&self, name: &FleetName) -> Presence {
        self.fleets.presence(name.as_str())
    }

    /// Whether a profile is there.
    pub fn profile_presence(&self, name: &ProfileName) -> Presence {
        self.profiles.presence(name.as_str())
    }

    /// The files and folders of a kind of which not everything could be read.
    pub fn unreadable(&self, kind: Kind) -> &[String] {
        match kind {
            Kind::Profile => &self.profiles.unreadable,
            Kind::Target => &self.targets.unreadable,
            Kind::Fleet => &self.fleets.unreadable,
        }
    }

    /// Names of documents of a kind that are there but not valid.
    pub fn broken(&self, kind: Kind) -> impl Iterator<Item = &str> {
        let broken = match kind {
            Kind::Profile => &self.profiles.broken,
            Kind::Target => &self.targets.broken,
            Kind::Fleet => &self.fleets.broken,
        };
        broken.iter().map(String::as_str)
    }

    /// The errors of one document.
    pub fn problems_of(&self, kind: Kind, name: &str) -> Vec<&Diagnostic> {
        self.errors_of(&[Subject::Document(kind, name.to_owned())])
    }

    /// The errors of files and folders of a kind of which it is not known what they hold.
    pub fn problems_of_folder(&self, kind: Kind) -> Vec<&Diagnostic> {
        self.errors_of(&[Subject::Folder(kind)])
    }

    /// The errors that hold back one target in one fleet: the target keeps its last assignment while there
    /// is one. Profiles with a revision of their own are not asked about: see
    /// [`Self::problems_of_profile`] of that revision's catalog.
    pub fn problems_for(&self, fleet: &FleetName, target: &TargetName) -> Vec<&Diagnostic> {
        let mut subjects = self.subjects(Kind::Fleet, fleet.as_str(), self.fleet_presence(fleet));
        subjects.extend(self.subjects(Kind::Target, target.as_str(), self.target_presence(target)));
        subjects.push(Subject::Use { fleet: fleet.to_string(), target: target.to_string() });
        let used = self.fleet(fleet).map(|f| f.spec.profiles.as_slice()).unwrap_or_default();
        for used in used.iter().filter(|used| used.revision.is_none()) {
            subjects.extend(self.subjects(
                Kind::Profile,
                used.name.as_str(),
                self.profile_presence(&used.name),
            ));
        }
        self.errors_of(&subjects)
    }

    /// The errors of a profile as such.
    pub fn problems_of_profile(&self, name: &ProfileName) -> Vec<&Diagnostic> {
        self.errors_of(&self.subjects(Kind::Profile, name.as_str(), self.profile_presence(name)))
    }

    fn subjects(&self, kind: Kind, name: &str, presence: Presence) -> Vec<Subject> {
        let mut subjects = vec![Subject::Document(kind, name.to_owned())];
        if presence == Presence::Unknown {
            subjects.push(Subject::Folder(kind));
        }
        subjects
    }

    fn errors_of(&self, subjects: &[Subject]) -> Vec<&Diagnostic> {
        let found: BTreeSet<usize> =
            subjects.iter().filter_map(|s| self.errors.get(s)).flatten().copied().collect();
        found.into_iter().filter_map(|n| self.diagnostics.get(n)).collect()
    }
}

/// One folder may be missing while a repository is begun. Without any of them this is no fleet repository, or not its
/// root, and "0 errors" would be said of nothing.
fn no_folder_at_all(findings: &mut Vec<Finding>, folders: &Folders) {
    let missing = |finding: &Finding| finding.diagnostic.code == "no-folder";
    if findings.iter().filter(|finding| missing(finding)).count() < Kind::ALL.len() {
        return;
    }
    findings.retain(|finding| !missing(finding));
    let names = Kind::ALL.map(|kind| format!("'{}'", folders.of(kind))).join(", ");
    let message = format!("there is none of the folders {names}, so nothing is read");
    let diagnostic = Diagnostic::error(Place::file("."), "no-folders", message)
        .hint("name the root of the fleet repository, or the folders in the daemon's settings");
    findings.push(Finding { subjects: Vec::new(), diagnostic });
}

/// Reads the documents of a kind, and lets `finish` check each one by itself.
fn documents<D: serde::de::DeserializeOwned, T>(
    tree: &dyn Tree,
    folders: &Folders,
    kind: Kind,
    findings: &mut Vec<Finding>,
    finish: impl Fn(Located<D>, &mut Vec<Diagnostic>) -> T,
) -> Shelf<T> {
    let before = findings.len();
    let mut read: Documents<D> = read::documents(tree, kind, folders.of(kind));
    let unique = read.unique(kind);
    let mut documents = BTreeMap::new();
    let mut aside = Vec::new();
    let twice = std::mem::take(&mut read.twice);
    for (name, document, kept) in
        unique.into_iter().map(|(n, d)| (n, d, true)).chain(twice.into_iter().map(|(n, d)| (n, d, false)))
    {
        let mut own = Vec::new();
        let document = Arc::new(finish(document, &mut own));
        own.retain(|finding| !read.mended.contains(&finding.place));
        let subjects = vec![Subject::Document(kind, name.clone())];
        findings.extend(own.into_iter().map(|diagnostic| Finding { subjects: subjects.clone(), diagnostic }));
        if kept {
            documents.insert(name, document);
        } else {
            aside.push(document);
        }
    }
    findings.append(&mut read.findings);
    let Documents { broken, patched, unreadable, .. } = read;
    let whole = findings.len() == before
        && broken.is_empty()
        && patched.is_empty()
        && aside.is_empty()
        && unreadable.is_empty();
    let sound = if whole { id(tree, folders.of(kind)) } else { None };
    Shelf { documents, broken, patched, aside, unreadable, sound }
}

/// Git's hash of a folder, if it can be had.
fn id(tree: &dyn Tree, folder: &str) -> Option<TreeId> {
    Some(tree.entry(folder).ok()??.id)
}

fn profile(tree: &dyn Tree, document: Located<ClusterProfile>, findings: &mut Vec<Diagnostic>) -> Profile {
    let folder = document.file().rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    findings.extend(check::profile(tree, &folder, &document));
    let (variables, more) = variables::read(tree, &folder, &document.spec.variables, &document.places);
    findings.extend(more);
    Profile { document, folder, variables }
}

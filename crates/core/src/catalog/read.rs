//! Files of a tree to documents of one kind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::{Kind, Located};
use super::explain;
use super::yaml::{self, Dialect, Doc, token};
use super::{labels, mend, schema};
use crate::model::budget::{self, Cost, OVER_BUDGET};
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::suggest::nearest;
use crate::model::tree::{Entry, EntryKind, Tree, TreeError};

/// Deepest folder below the root that is looked into.
const MAX_FOLDERS: usize = 32;
/// Most entries of folders below each of the three: 100,000 targets in a file each, and room.
const MAX_ENTRIES: usize = 130_000;

/// What a finding is about: whom it holds back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    /// A document by its name, also one that could not be read in full.
    Document(Kind, String),
    /// A folder of documents: which ones it is about is not known.
    Folder(Kind),
    /// One target in one fleet.
    Use { fleet: String, target: String },
}

/// A finding and whom it holds back.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) subjects: Vec<Subject>,
    pub(super) diagnostic: Diagnostic,
}

/// What was taken out of a document because it is wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct TakenOut {
    /// Values of variables may be missing for it.
    pub(super) values: bool,
    /// A fleet may choose other targets for it.
    pub(super) selector: bool,
}

/// What a folder holds of one kind.
pub(super) struct Documents<T> {
    /// By name, in the order of files and documents.
    pub(super) found: BTreeMap<String, Vec<Located<T>>>,
    /// Names of documents that are there but not valid.
    pub(super) broken: BTreeSet<String>,
    /// Names of documents in `found` that lack what was not valid: checked further, so that everything that
    /// is wrong is said at once, and then given up.
    pub(super) patched: BTreeMap<String, TakenOut>,
    /// Documents of names that are taken twice, or that have no name: see [`super::Shelf::aside`].
    pub(super) twice: Vec<(String, Located<T>)>,
    /// Where something was taken out of documents: what is said of these places may be of what stands in for it.
    pub(super) mended: BTreeSet<Place>,
    /// Files, or folders, of which not everything could be read.
    pub(super) unreadable: Vec<String>,
    pub(super) findings: Vec<Finding>,
}

/// What could not be read, as a finding.
pub(super) fn tree_error(error: &TreeError) -> Diagnostic {
    match error {
        TreeError::Refused { path, reason } => {
            Diagnostic::error(Place::file(path), "refused", format!("this is not read: {reason}"))
                .hint("use an ordinary file or folder")
        }
        TreeError::Unreadable { path, reason } => {
            Diagnostic::error(Place::file(path), "unreadable", format!("cannot be read: {reason}"))
        }
    }
}

/// Reads all documents of a kind below `folder`.
pub(super) fn documents<T: DeserializeOwned>(tree: &dyn Tree, kind: Kind, folder: &str) -> Documents<T> {
    let mut documents = Documents {
        found: BTreeMap::new(),
        broken: BTreeSet::new(),
        patched: BTreeMap::new(),
        twice: Vec::new(),
        mended: BTreeSet::new(),
        unreadable: Vec::new(),
        findings: Vec::new(),
    };
    match tree.list(folder) {
        Ok(Some(_)) => documents.walk(tree, kind, folder),
        Ok(None) => {
            let message = format!("there is no folder '{folder}', and so no {}", kind.noun());
            let finding = Diagnostic::warning(Place::file(folder), "no-folder", message);
            documents.findings.push(Finding { subjects: Vec::new(), diagnostic: finding });
        }
        Err(error) => documents.unreadable(kind, folder, tree_error(&error)),
    }
    documents
}

impl<T: DeserializeOwned> Documents<T> {
    fn unreadable(&mut self, kind: Kind, path: &str, diagnostic: Diagnostic) {
        self.unreadable.push(path.to_owned());
        self.findings.push(Finding { subjects: vec![Subject::Folder(kind)], diagnostic });
    }

    /// Level by level: a folder with too much below it is met after all that is nearer to the top.
    fn walk(&mut self, tree: &dyn Tree, kind: Kind, top: &str) {
        let mut folders = VecDeque::from([(top.to_owned(), 0)]);
        let mut left = MAX_ENTRIES;
        while let Some((folder, depth)) = folders.pop_front() {
            let Some(entries) = self.entries(tree, kind, &folder, depth) else { continue };
            let count = entries.len() + 1;
            let too_many = if count > left {
                Some(format!("too many folders and files: below {top}/ are more than {MAX_ENTRIES}"))
            } else {
                budget::spend(Cost::Entries, count).err().map(|exceeded| exceeded.to_string())
            };
            if let Some(message) = too_many {
                // What follows is not read; that it is not there can't be said of anything from now on.
                let finding = Diagnostic::error(Place::file(&folder), OVER_BUDGET, message);
                return self.unreadable(kind, &folder, finding.hint("folders from here on are not read"));
            }
            left -= count;
            self.folder(tree, kind, &folder, depth, entries, &mut folders);
        }
    }

    /// What is in a folder, if that can be said.
    fn entries(
        &mut self,
        tree: &dyn Tree,
        kind: Kind,
        folder: &str,
        depth: usize,
    ) -> Option<Vec<Result<Entry, TreeError>>> {
        if depth > MAX_FOLDERS {
            let message = format!("folders deeper than {MAX_FOLDERS} levels are not read");
            self.unreadable(kind, folder, Diagnostic::error(Place::file(folder), "too-deep", message));
            return None;
        }
        match tree.list(folder) {
            Ok(entries) => Some(entries.unwrap_or_default()),
            Err(error) => {
                self.unreadable(kind, folder, tree_error(&error));
                None
            }
        }
    }

    /// Reads the documents of one folder, and notes the folders in it.
    fn folder(
        &mut self,
        tree: &dyn Tree,
        kind: Kind,
        folder: &str,
        depth: usize,
        entries: Vec<Result<Entry, TreeError>>,
        folders: &mut VecDeque<(String, usize)>,
    ) {
        // A profile's folder is its own: what else is in it are its layers.
        let profile = entries.iter().flatten().any(|e| e.kind == EntryKind::File && is_profile(&e.name));
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                // A link in a layer's folder is for those who read the layer.
                Err(TreeError::Refused { .. }) if kind == Kind::Profile && profile => continue,
                Err(error) => {
                    let (TreeError::Refused { path, .. } | TreeError::Unreadable { path, .. }) = &error;
                    self.unreadable(kind, &path.clone(), tree_error(&error));
                    continue;
                }
            };
            let path =
                if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
            match (entry.kind, kind) {
                (EntryKind::Folder, Kind::Profile) if profile => {}
                (EntryKind::Folder, _) => folders.push_back((path, depth + 1)),
                (EntryKind::File, Kind::Profile) if is_profile(&entry.name) => self.file(tree, kind, &path),
                (EntryKind::File, Kind::Profile) => {}
                (EntryKind::File, _) if is_document(&entry.name) => self.file(tree, kind, &path),
                (EntryKind::File, _) => {}
            }
        }
    }

    fn file(&mut self, tree: &dyn Tree, kind: Kind, path: &str) {
        let gone =
            || TreeError::Unreadable { path: path.to_owned(), reason: "listed, but not there".to_owned() };
        let bytes = match tree.read(path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.unreadable(kind, path, tree_error(&gone())),
            Err(error) => return self.unreadable(kind, path, tree_error(&error)),
        };
        let mut parsed = yaml::parse(path, &bytes, Dialect::Fairlead);
        let mut subjects = Vec::new();
        for doc in &parsed.broken {
            match name_of(&doc.value) {
                Some(name) => {
                    self.broken.insert(name.to_owned());
                    subjects.push(Subject::Document(kind, name.to_owned()));
                }
                None => subjects.push(Subject::Folder(kind)),
            }
        }
        if !parsed.complete || subjects.contains(&Subject::Folder(kind)) {
            self.unreadable.push(path.to_owned());
            subjects.push(Subject::Folder(kind));
        }
        let documents = parsed.docs.len() + parsed.broken.len();
        if let Err(exceeded) = budget::spend(Cost::Documents, documents) {
            let finding = Diagnostic::error(Place::file(path), OVER_BUDGET, exceeded.to_string());
            return self.unreadable(kind, path, finding);
        }
        keep_affordable(&mut parsed.diagnostics);
        let places: Vec<Place> = parsed.diagnostics.iter().map(|finding| finding.place.clone()).collect();
        let findings = parsed.diagnostics.into_iter();
        self.findings.extend(findings.map(|diagnostic| Finding { subjects: subjects.clone(), diagnostic }));
        for doc in parsed.docs {
            self.document(kind, path, doc, None);
        }
        for doc in parsed.broken {
            self.document(kind, path, doc, Some(&places));
        }
    }

    /// `broken` is where a document is wrong that can't be used as it is.
    fn document(&mut self, kind: Kind, path: &str, doc: Doc, broken: Option<&[Place]>) {
        let name = name_of(&doc.value).map(str::to_owned);
        let subject = name.clone().map_or(Subject::Folder(kind), |name| Subject::Document(kind, name));
        let mut findings = validate(kind, &doc);
        // A value that could not be read is null here: that is no second mistake.
        findings.retain(|finding| broken.is_none_or(|places| !places.contains(&finding.place)));
        let valid = broken.is_none() && !findings.iter().any(Diagnostic::is_error);
        let mut value = doc.value;
        let taken_out = if valid { Vec::new() } else { mend::mend(schema::of(kind), &mut value) };
        for at in &taken_out {
            let parent = at.rsplit_once('/').map_or("", |(parent, _)| parent);
            let places = [at.as_str(), parent].map(|at| [doc.places.key(at), doc.places.value(at)]);
            self.mended.extend(places.into_iter().flatten());
        }
        let typed = match serde_json::from_value::<T>(value) {
            Ok(value) => Some(value),
            // The schema is made from the type; what is left is what a schema can't say.
            Err(error) if valid => {
                let message = format!("not a valid {}: {error}", kind.as_str());
                findings.push(Diagnostic::error(doc.places.value(""), "invalid-document", message));
                None
            }
            Err(_) => None,
        };
        keep_affordable(&mut findings);
        let findings = findings.into_iter();
        self.findings.extend(findings.map(|d| Finding { subjects: vec![subject.clone()], diagnostic: d }));
        match (typed, name) {
            // What is told apart by its name alone may be there in another document.
            (Some(value), Some(name)) if broken.is_some() => {
                self.twice.push((name, Located { value, places: doc.places }));
            }
            (Some(value), Some(name)) => {
                if !valid {
                    let taken_out = TakenOut {
                        values: taken_out.iter().any(|at| may_hold_values(at)),
                        selector: taken_out.iter().any(|at| at.starts_with("/spec/clusters")),
                    };
                    self.patched.insert(name.clone(), taken_out);
                }
                self.found.entry(name).or_default().push(Located { value, places: doc.places });
            }
            (_, Some(name)) => {
                self.broken.insert(name);
            }
            (value, None) => {
                self.unreadable.push(path.to_owned());
                let nameless = value.map(|value| (String::new(), Located { value, places: doc.places }));
                self.twice.extend(nameless);
            }
        }
    }

    /// Takes out the documents that share a name, and says so at each of them.
    pub(super) fn unique(&mut self, kind: Kind) -> BTreeMap<String, Located<T>> {
        let mut unique = BTreeMap::new();
        for (name, mut documents) in std::mem::take(&mut self.found) {
            let broken_too = self.broken.contains(&name);
            if documents.len() > 1 {
                let places: Vec<Place> = documents.iter().map(|d| d.places.value("/metadata/name")).collect();
                for (n, place) in places.iter().enumerate() {
                    let other = &places[usize::from(n == 0)];
                    let message =
                        format!("the {} name '{name}' is taken twice, here and at {other}", kind.noun());
                    let diagnostic = Diagnostic::error(place.clone(), "duplicate-name", message);
                    let subjects = vec![Subject::Document(kind, name.clone())];
                    self.findings.push(Finding {
                        subjects,
                        diagnostic: diagnostic.hint("rename or remove one of them"),
                    });
                }
                self.broken.insert(name.clone());
                self.twice.extend(documents.into_iter().map(|document| (name.clone(), document)));
            } else if broken_too {
                let place = documents[0].places.value("/metadata/name");
                let message =
                    format!("another document that is not valid has the {} name '{name}' too", kind.noun());
                let diagnostic = Diagnostic::error(place, "duplicate-name", message);
                let subjects = vec![Subject::Document(kind, name.clone())];
                self.findings
                    .push(Finding { subjects, diagnostic: diagnostic.hint("rename or remove one of them") });
                self.twice.extend(documents.into_iter().map(|document| (name.clone(), document)));
            } else if let Some(document) = documents.pop() {
                unique.insert(name, document);
            }
        }
        unique
    }
}

/// Once there are more findings than a commit may have, one is kept of each that is wrong.
fn keep_affordable(findings: &mut Vec<Diagnostic>) {
    if budget::spend(Cost::Findings, findings.len()).is_err() {
        findings.sort_by_key(|finding| !finding.is_error());
        findings.truncate(1);
    }
}

fn is_document(name: &str) -> bool {
    !name.starts_with('.') && [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

fn is_profile(name: &str) -> bool {
    ["profile.yaml", "profile.yml", "profile.json"].contains(&name)
}

fn name_of(document: &Value) -> Option<&str> {
    document.pointer("/metadata/name").and_then(Value::as_str)
}

/// Whether values of variables may have been taken out with what was at a pointer.
fn may_hold_values(pointer: &str) -> bool {
    let misspelt = || {
        let key = pointer.strip_prefix("/spec/").filter(|key| !key.contains('/'))?;
        nearest(key, ["variables"])
    };
    "/spec/variables".starts_with(pointer) || pointer.starts_with("/spec/variables/") || misspelt().is_some()
}

/// What is wrong with a document by itself.
fn validate(kind: Kind, doc: &Doc) -> Vec<Diagnostic> {
    let mut findings = labels::metadata(doc);
    let found = doc.value.get("kind").and_then(Value::as_str);
    if let Some(other) = Kind::ALL.into_iter().find(|k| *k != kind && Some(k.as_str()) == found) {
        let message = format!("a {} does not belong in this folder", other.as_str());
        let finding = Diagnostic::error(doc.places.value("/kind"), "wrong-folder", message);
        findings.push(finding.expected(kind.as_str()));
        findings.extend(against(schema::of(other), doc));
        return findings;
    }
    findings.extend(against(schema::of(kind), doc));
    findings
}

/// What the schema has to say about a document.
pub(super) fn against(schema: &schema::DocumentSchema, doc: &Doc) -> Vec<Diagnostic> {
    let Some(validator) = &schema.validator else {
        let message = "the schema can't be compiled";
        return vec![Diagnostic::error(doc.places.value(""), "internal", message)];
    };
    let problems = explain::problems(validator, &schema.schema, &doc.value);
    let finding = |problem: explain::Problem| {
        let problem = match doc.places.written(&problem.pointer) {
            Some(written) => problem.with_written(written),
            None => problem,
        };
        let pointer = &problem.pointer;
        let place = if problem.at_key { doc.places.key(pointer) } else { doc.places.value(pointer) };
        let finding = Diagnostic::error(place, problem.code, problem.message);
        Diagnostic { expected: problem.expected, hint: problem.hint, ..finding }
    };
    problems.into_iter().map(finding).collect()
}

/// The JSON pointer of an entry of a mapping.
pub(super) fn entry(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", token(key))
}

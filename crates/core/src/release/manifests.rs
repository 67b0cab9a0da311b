//! The manifests renderer: the files of a layer to its templates.

use crate::catalog::yaml::{self, Dialect};
use crate::model::budget::{self, Cost, OVER_BUDGET};
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::digest::{InputDigest, TreeId};
use crate::model::tree::{EntryKind, Tree, TreeError};

use super::cache::LayerCache;
use super::locate;
use super::scan::OPENING;
use super::template::{Finding, Templates};

/// Name and version of the renderer. The version grows whenever the same files and values give other bytes.
pub const RENDERER: &str = "manifests/2";

/// Code of findings that say nothing about the content: it could not be read.
pub(super) const UNREADABLE: &str = "unreadable";

/// Most files in a layer, and deepest folder.
const MAX_FILES: usize = 20_000;
const MAX_FOLDERS: usize = 32;
/// Most files and folders at or below a layer's path.
const MAX_ENTRIES: usize = 60_000;
/// Most findings for a layer.
const MAX_FINDINGS: usize = 100;

/// Reads every manifest at or below `path`, in the order of their paths. `used` is where a profile names the path.
/// Files that the cache has as they are now, and that hold no expressions, are not read again. All that is wrong is
/// among the errors of what is returned: a tree that can't be read in full gives one, never a smaller layer.
pub(super) fn read(
    tree: &dyn Tree,
    path: &str,
    expressions: bool,
    used: &Place,
    cache: &LayerCache,
) -> Templates {
    let (files, findings) = files(tree, path, used);
    let mut templates = Templates::default();
    templates.errors = findings;
    for (file, id) in files {
        let inputs = file_digest(&file, id, expressions);
        match cache.plain_file(&inputs) {
            Some(objects) => {
                if let Err(found) = templates.add_ready(&objects) {
                    templates.errors.extend(found);
                    break;
                }
            }
            None => {
                let before = templates.mark();
                let found = read_file(tree, &file, expressions, &mut templates);
                templates.errors.extend(found);
                if let Some(objects) = templates.plain_since(before) {
                    cache.keep_plain_file(&inputs, objects);
                }
            }
        }
        if templates.errors.len() > MAX_FINDINGS {
            break;
        }
    }
    templates.errors = capped(std::mem::take(&mut templates.errors), used);
    templates
}

/// What the objects of a file without expressions are made from; their places name the path.
fn file_digest(path: &str, id: TreeId, expressions: bool) -> InputDigest {
    let how: &[u8] = if expressions { b"expressions" } else { b"literal" };
    InputDigest::of([b"fairlead file 1".as_slice(), RENDERER.as_bytes(), path.as_bytes(), id.as_bytes(), how])
}

fn capped(mut findings: Vec<Diagnostic>, used: &Place) -> Vec<Diagnostic> {
    if findings.len() > MAX_FINDINGS {
        findings.truncate(MAX_FINDINGS);
        let message = format!("this layer has more than {MAX_FINDINGS} findings; the others are not shown");
        findings.push(Diagnostic::error(used.clone(), "too-many-findings", message));
    }
    findings
}

/// Adds the objects of a file; the errors in it. Warnings are added, too.
fn read_file(tree: &dyn Tree, file: &str, expressions: bool, templates: &mut Templates) -> Vec<Diagnostic> {
    let bytes = match tree.read(file) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let message = "the folder lists the file, but it can't be read";
            return vec![Diagnostic::error(Place::file(file), UNREADABLE, message)];
        }
        Err(error) => return vec![tree_error(&error)],
    };
    let parsed = yaml::parse(file, &bytes, Dialect::Kubernetes);
    let has_expressions = std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(OPENING));
    let (mut findings, warnings): (Vec<_>, Vec<_>) =
        parsed.diagnostics.into_iter().partition(Diagnostic::is_error);
    templates.warnings.extend(warnings);
    if has_expressions && expressions {
        findings.iter_mut().for_each(hint_about_braces);
    }
    // What is broken can't be used, but there may be more to say about it.
    let broken: Vec<Place> = findings.iter().map(|finding| finding.place.clone()).collect();
    for doc in parsed.docs {
        let found = templates.add(doc, expressions && has_expressions);
        findings.extend(placed(found, |_| Some(&bytes)));
    }
    for doc in parsed.broken {
        let found = templates.add(doc, expressions && has_expressions);
        // A value that could not be read is null here: that is no second mistake.
        let found = placed(found, |_| Some(&bytes)).into_iter();
        findings.extend(found.filter(|found| !broken.contains(&found.place)));
    }
    if !parsed.complete && findings.is_empty() {
        findings.push(Diagnostic::error(
            Place::file(file),
            "yaml-syntax",
            "the file can't be read to its end",
        ));
    }
    findings.iter_mut().for_each(|finding| hint_about_file(finding, file));
    findings
}

/// An expression without quotes inside `{}` or `[]` is YAML's business before it is ours.
fn hint_about_braces(finding: &mut Diagnostic) {
    if finding.code == "yaml-syntax" && finding.hint.is_none() {
        finding.hint = Some("put a value that holds ${{ ... }} in quotes".to_owned());
    }
}

fn hint_about_file(finding: &mut Diagnostic, file: &str) {
    let name = file.rsplit('/').next().unwrap_or(file);
    let other = match name {
        "kustomization.yaml" | "kustomization.yml" => {
            "a kustomization belongs into a layer with kustomize: {path: ...}"
        }
        "Chart.yaml" | "values.yaml" => "a chart belongs into a layer with helm: {chart: ...}",
        _ => return,
    };
    if finding.code == "missing-field" {
        finding.hint = Some(other.to_owned());
    }
}

/// Gives findings in scalars the place of their expression.
fn placed<'a>(findings: Vec<Finding>, text: impl Fn(&str) -> Option<&'a [u8]>) -> Vec<Diagnostic> {
    let exact = |finding: Finding| {
        let mut diagnostic = finding.diagnostic;
        if let (Some(nth), Some(text)) = (finding.nth, text(&diagnostic.place.file))
            && let Ok(text) = std::str::from_utf8(text)
        {
            diagnostic.place = locate::expression(text, &diagnostic.place, nth);
        }
        diagnostic
    };
    findings.into_iter().take(MAX_FINDINGS + 1).map(exact).collect()
}

/// The same for findings of a later time: the files are read again.
pub(super) fn placed_in(findings: Vec<Finding>, tree: &dyn Tree, used: &Place) -> Vec<Diagnostic> {
    let found = findings.into_iter().take(MAX_FINDINGS + 1).flat_map(|finding| {
        let bytes = tree.read(&finding.diagnostic.place.file).ok().flatten();
        placed(vec![finding], |_| bytes.as_deref())
    });
    capped(found.collect(), used)
}

pub(super) fn tree_error(error: &TreeError) -> Diagnostic {
    match error {
        TreeError::Refused { path, reason } => Diagnostic::error(Place::file(path), "refused", reason),
        TreeError::Unreadable { path, reason } => {
            Diagnostic::error(Place::file(path), UNREADABLE, format!("cannot be read: {reason}"))
        }
    }
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

/// The manifests at or below a path, sorted, with Git's hashes of them, and what is wrong with the others.
fn files(tree: &dyn Tree, path: &str, used: &Place) -> (Vec<(String, TreeId)>, Vec<Diagnostic>) {
    let missing = |message: String| vec![Diagnostic::error(used.clone(), "missing-path", message)];
    match tree.entry(path) {
        Err(error) => return (Vec::new(), vec![tree_error(&error)]),
        Ok(None) => return (Vec::new(), missing(format!("there is nothing at {path}"))),
        Ok(Some(entry)) if entry.kind == EntryKind::File && is_manifest(path) => {
            return (vec![(path.to_owned(), entry.id)], Vec::new());
        }
        Ok(Some(entry)) if entry.kind == EntryKind::File => {
            let message = format!("{path} is not a manifest: its name must end in .yaml, .yml or .json");
            return (Vec::new(), missing(message));
        }
        Ok(Some(_)) => {}
    }
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    let mut seen = 0;
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match tree.list(&folder) {
            Ok(Some(entries)) => entries,
            Ok(None) => {
                findings.push(Diagnostic::error(
                    Place::file(&folder),
                    UNREADABLE,
                    "the folder can't be read",
                ));
                continue;
            }
            Err(error) => {
                findings.push(tree_error(&error));
                continue;
            }
        };
        seen += entries.len() + 1;
        let spent = budget::spend(Cost::LayerEntries, entries.len() + 1);
        if seen > MAX_ENTRIES || spent.is_err() {
            let finding = match spent {
                Err(exceeded) => Diagnostic::error(used.clone(), OVER_BUDGET, exceeded.to_string()),
                // A matter of the content: it is remembered, and not counted once for each target.
                Ok(()) => {
                    let message = format!("{path} has more than {MAX_ENTRIES} files and folders");
                    Diagnostic::error(Place::file(path), "too-many-files", message)
                }
            };
            return (Vec::new(), vec![finding]);
        }
        for entry in entries {
            match entry {
                Err(error) => findings.push(tree_error(&error)),
                Ok(entry) if entry.kind == EntryKind::Folder && depth >= MAX_FOLDERS => {
                    let message = format!("folders stand deeper than {MAX_FOLDERS} in each other");
                    findings.push(Diagnostic::error(
                        Place::file(format!("{folder}/{}", entry.name)),
                        "too-deep",
                        message,
                    ));
                }
                Ok(entry) if entry.kind == EntryKind::Folder => {
                    folders.push((format!("{folder}/{}", entry.name), depth + 1))
                }
                Ok(entry) if is_manifest(&entry.name) => {
                    found.push((format!("{folder}/{}", entry.name), entry.id))
                }
                Ok(_) => {}
            }
        }
        if found.len() > MAX_FILES {
            return (Vec::new(), missing(format!("{path} has more than {MAX_FILES} files")));
        }
    }
    found.sort_unstable();
    (found, findings)
}

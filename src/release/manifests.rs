//! The manifests renderer: the files of a layer to its templates.

use crate::catalog::yaml::{self, Dialect};
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::digest::{InputDigest, TreeId};
use crate::model::tree::{EntryKind, Tree, TreeError};

use super::cache::LayerCache;
use super::locate;
use super::scan::OPENING;
use super::template::{Finding, Templates};

/// Name and version of the renderer. The version grows whenever the same files and values give other bytes.
pub const RENDERER: &str = "manifests/1";

/// Code of findings that say nothing about the content: it could not be read.
pub(super) const UNREADABLE: &str = "unreadable";

/// Most files in a layer, and deepest folder.
const MAX_FILES: usize = 20_000;
const MAX_FOLDERS: usize = 32;
/// Most findings for a layer.
const MAX_FINDINGS: usize = 100;

/// Reads every manifest at or below `path`, in the order of their paths. `used` is where a profile names the path.
/// Files that the cache has as they are now, and that hold no expressions, are not read again.
///
/// # Errors
/// All that is wrong. A tree that can't be read in full is an error, never a smaller layer.
pub(super) fn read(
    tree: &dyn Tree,
    path: &str,
    expressions: bool,
    used: &Place,
    cache: &LayerCache,
) -> Result<Templates, Vec<Diagnostic>> {
    let files = files(tree, path, used)?;
    let mut templates = Templates::default();
    let mut findings = Vec::new();
    for (file, id) in files {
        let inputs = file_digest(&file, id, expressions);
        let added = match cache.plain_file(&inputs) {
            Some(objects) => templates.add_ready(&objects),
            None => {
                let before = templates.mark();
                let added = read_file(tree, &file, expressions, &mut templates);
                if let (Ok(()), Some(objects)) = (&added, templates.plain_since(before)) {
                    cache.keep_plain_file(&inputs, objects);
                }
                added
            }
        };
        if let Err(found) = added {
            findings.extend(found);
        }
        if findings.len() > MAX_FINDINGS {
            break;
        }
    }
    if findings.is_empty() { Ok(templates) } else { Err(capped(findings, used)) }
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

fn read_file(
    tree: &dyn Tree,
    file: &str,
    expressions: bool,
    templates: &mut Templates,
) -> Result<(), Vec<Diagnostic>> {
    let bytes = match tree.read(file) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let message = "the folder lists the file, but it can't be read";
            return Err(vec![Diagnostic::error(Place::file(file), UNREADABLE, message)]);
        }
        Err(error) => return Err(vec![tree_error(&error)]),
    };
    let parsed = yaml::parse(file, &bytes, Dialect::Kubernetes);
    let has_expressions = std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(OPENING));
    let mut findings: Vec<Diagnostic> = parsed.diagnostics;
    if has_expressions && expressions {
        findings.iter_mut().for_each(hint_about_braces);
    }
    for doc in parsed.docs {
        if let Err(found) = templates.add(doc, expressions && has_expressions) {
            findings.extend(placed(found, |_| Some(&bytes)));
        }
    }
    if !parsed.complete && findings.is_empty() {
        findings.push(Diagnostic::error(
            Place::file(file),
            "yaml-syntax",
            "the file can't be read to its end",
        ));
    }
    findings.iter_mut().for_each(|finding| hint_about_file(finding, file));
    if findings.iter().any(Diagnostic::is_error) { Err(findings) } else { Ok(()) }
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

/// The manifests at or below a path, sorted, with Git's hashes of them.
fn files(tree: &dyn Tree, path: &str, used: &Place) -> Result<Vec<(String, TreeId)>, Vec<Diagnostic>> {
    let missing = |message: String| vec![Diagnostic::error(used.clone(), "missing-path", message)];
    match tree.entry(path).map_err(|error| vec![tree_error(&error)])? {
        None => return Err(missing(format!("there is nothing at {path}"))),
        Some(entry) if entry.kind == EntryKind::File && is_manifest(path) => {
            return Ok(vec![(path.to_owned(), entry.id)]);
        }
        Some(entry) if entry.kind == EntryKind::File => {
            return Err(missing(format!(
                "{path} is not a manifest: its name must end in .yaml, .yml or .json"
            )));
        }
        Some(_) => {}
    }
    let (mut found, mut findings) = (Vec::new(), Vec::new());
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
            return Err(missing(format!("{path} has more than {MAX_FILES} files")));
        }
    }
    found.sort_unstable();
    if findings.is_empty() { Ok(found) } else { Err(findings) }
}

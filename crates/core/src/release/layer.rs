//! One layer for one target, by way of the cache.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::budget::OVER_BUDGET;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::digest::InputDigest;
use crate::model::release::{ReleaseObject, RenderedLayer};
use crate::model::suggest::nearest;
use crate::model::tree::Tree;

use super::cache::LayerCache;
use super::canonical::{canonical_bytes, layer_digest};
use super::evaluate::Inputs;
use super::expression::{References, Wrong};
use super::manifests::{self, RENDERER, UNREADABLE};
use super::template::Templates;

/// What a layer is rendered from.
pub(super) struct Source<'a> {
    pub(super) tree: &'a dyn Tree,
    /// From the root of the repository.
    pub(super) path: &'a str,
    /// Where the profile names the path.
    pub(super) used: &'a Place,
    pub(super) expressions: bool,
    pub(super) inputs: Inputs<'a>,
    pub(super) profile: &'a str,
    /// Whether the profile declares a variable.
    pub(super) declares: &'a dyn Fn(&str) -> bool,
    /// Names that it declares, for suggestions.
    pub(super) declared: &'a [&'a str],
    /// Variables of which the value is known to be wrong: what refers to them is passed over.
    pub(super) suspect: &'a BTreeSet<String>,
}

/// Why there is no layer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) findings: Vec<Diagnostic>,
    /// The objects that nothing is wrong with.
    pub(super) objects: Vec<ReleaseObject>,
}

impl From<Vec<Diagnostic>> for Failed {
    fn from(findings: Vec<Diagnostic>) -> Self {
        Self { findings, objects: Vec::new() }
    }
}

impl Source<'_> {
    /// What the files of the layer are: Git's hash of them, where they are, and who reads them how.
    fn files_digest(&self) -> Result<InputDigest, Vec<Diagnostic>> {
        let entry = self.tree.entry(self.path).map_err(|error| vec![manifests::tree_error(&error)])?;
        let entry = entry.ok_or_else(|| {
            let message = format!("there is nothing at {}", self.path);
            vec![Diagnostic::error(self.used.clone(), "missing-path", message)]
        })?;
        let parts: [&[u8]; 5] = [
            b"fairlead files 1",
            RENDERER.as_bytes(),
            self.path.as_bytes(),
            entry.id.as_bytes(),
            if self.expressions { b"expressions" } else { b"literal" },
        ];
        Ok(InputDigest::of(parts))
    }

    fn input_digest(&self, files: &InputDigest, references: &References) -> InputDigest {
        let (variables, cluster) = self.inputs.projected(references);
        let (variables, cluster) = (canonical_bytes(&variables), canonical_bytes(&cluster));
        InputDigest::of([b"fairlead inputs 1".as_slice(), files.as_bytes(), &variables, &cluster])
    }

    fn templates(&self, files: &InputDigest, cache: &LayerCache) -> Arc<Templates> {
        if let Some(templates) = cache.templates(files) {
            return templates;
        }
        let templates = Arc::new(manifests::read(self.tree, self.path, self.expressions, self.used, cache));
        // What could not be read may be readable the next time, and the profile's file may say the same
        // elsewhere; the rest is a matter of the content.
        let passing = |finding: &Diagnostic| {
            finding.code == UNREADABLE || finding.code == OVER_BUDGET || finding.place.file == self.used.file
        };
        if !templates.errors.iter().any(passing) {
            cache.keep_templates(files, &templates);
        }
        templates
    }

    fn undeclared(&self, name: &str) -> Wrong {
        let message = format!("the profile {} declares no variable '{name}'", self.profile);
        Wrong::new("unknown-variable", message).hint(match nearest(name, self.declared.iter().copied()) {
            Some(near) => format!("did you mean 'var.{near}'?"),
            None => "declare it under spec.variables.properties of the profile".to_owned(),
        })
    }

    /// The layer, rendered or from the cache.
    ///
    /// # Errors
    /// All that is wrong with its content, and with its expressions for this target.
    pub(super) fn render(&self, cache: &LayerCache) -> Result<Arc<RenderedLayer>, Failed> {
        let files = self.files_digest()?;
        let mut read = None;
        let references = match cache.references(&files) {
            Some(references) => references,
            None => Arc::new(read.insert(self.templates(&files, cache)).references.clone()),
        };
        let whole = self.suspect.is_empty() && references.undeclared(self.declares).next().is_none();
        let inputs = self.input_digest(&files, &references);
        if whole
            && read.as_ref().is_none_or(|templates| templates.errors.is_empty())
            && let Some(layer) = cache.layer(&inputs)
        {
            return Ok(layer);
        }
        let templates = read.unwrap_or_else(|| self.templates(&files, cache));
        let skip = |references: &References| {
            references.undeclared(self.declares).next().is_some() || self.is_suspect(references)
        };
        let (objects, found) = templates.render(self.inputs, &skip);
        if whole && found.is_empty() && templates.errors.is_empty() {
            let layer = RenderedLayer { digest: layer_digest(&objects), objects };
            return Ok(cache.keep_layer(&inputs, layer));
        }
        let mut all = templates.errors.clone();
        let undeclared = templates.undeclared(self.declares, &|name| self.undeclared(name));
        all.extend(manifests::placed_in(undeclared, self.tree, self.used));
        all.extend(manifests::placed_in(found, self.tree, self.used));
        // What can be said without values is said again with them.
        let mut seen = BTreeSet::new();
        all.retain(|finding| seen.insert(finding.clone()));
        Err(Failed { findings: all, objects })
    }

    /// Whether something is referred to of which the value is known to be wrong.
    fn is_suspect(&self, references: &References) -> bool {
        !self.suspect.is_empty()
            && (references.all_variables
                || references.variables.iter().any(|name| self.suspect.contains(name)))
    }

    /// What can be said of the content without a target: it can't be read, it names what the profile does not
    /// declare, or it is worth a warning.
    pub(super) fn lint(&self, cache: &LayerCache) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let files = self.files_digest()?;
        let templates = self.templates(&files, cache);
        let undeclared = templates.undeclared(self.declares, &|name| self.undeclared(name));
        let mut found = manifests::placed_in(undeclared, self.tree, self.used);
        found.extend(templates.errors.iter().chain(&templates.warnings).cloned());
        Ok(found)
    }
}

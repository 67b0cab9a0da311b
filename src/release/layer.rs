//! One layer for one target, by way of the cache.

use std::sync::Arc;

use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::digest::InputDigest;
use crate::model::release::RenderedLayer;
use crate::model::suggest::nearest;
use crate::model::tree::Tree;

use super::cache::LayerCache;
use super::canonical::canonical_bytes;
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

    fn templates(&self, files: &InputDigest, cache: &LayerCache) -> Result<Arc<Templates>, Vec<Diagnostic>> {
        if let Some(templates) = cache.templates(files) {
            return templates.map_err(|findings| findings.to_vec());
        }
        let read = manifests::read(self.tree, self.path, self.expressions, self.used, cache);
        // What could not be read may be readable the next time, and the profile's file may say the same
        // elsewhere; the rest is a matter of the content.
        let passing =
            |finding: &Diagnostic| finding.code == UNREADABLE || finding.place.file == self.used.file;
        let lasting = !read.as_ref().is_err_and(|found| found.iter().any(passing));
        let templates = read.map(Arc::new).map_err(Arc::from);
        if lasting {
            cache.keep_templates(files, &templates);
        }
        templates.map_err(|findings| findings.to_vec())
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
    /// All that is wrong with its content, or with its expressions for this target.
    pub(super) fn render(&self, cache: &LayerCache) -> Result<Arc<RenderedLayer>, Vec<Diagnostic>> {
        let files = self.files_digest()?;
        let mut read = None;
        let references = match cache.references(&files) {
            Some(references) => references,
            None => {
                let templates = self.templates(&files, cache)?;
                Arc::new(read.insert(templates).references.clone())
            }
        };
        if references.undeclared(self.declares).is_some() {
            let templates = self.templates(&files, cache)?;
            let found = templates.undeclared(self.declares, &|name| self.undeclared(name));
            return Err(manifests::placed_in(found, self.tree, self.used));
        }
        let inputs = self.input_digest(&files, &references);
        if let Some(layer) = cache.layer(&inputs) {
            return Ok(layer);
        }
        let templates = match read {
            Some(templates) => templates,
            None => self.templates(&files, cache)?,
        };
        match templates.render(self.inputs) {
            Ok(layer) => Ok(cache.keep_layer(&inputs, layer)),
            Err(found) => Err(manifests::placed_in(found, self.tree, self.used)),
        }
    }

    /// What can be said of the content without a target: it can't be read, it names what the profile does not
    /// declare, or it is worth a warning.
    pub(super) fn lint(&self, cache: &LayerCache) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let files = self.files_digest()?;
        let templates = self.templates(&files, cache)?;
        let undeclared = templates.undeclared(self.declares, &|name| self.undeclared(name));
        let mut found = manifests::placed_in(undeclared, self.tree, self.used);
        found.extend(templates.warnings.iter().cloned());
        Ok(found)
    }
}

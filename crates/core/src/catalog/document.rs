//! Documents with their places.

use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::variables::VariablesSchema;
use super::yaml::Places;
use crate::model::diagnostic::Place;
use crate::model::fleet::Fleet;
use crate::model::name::ProfileName;
use crate::model::profile::ClusterProfile;
use crate::model::target::ClusterTarget;

/// Where documents are, from the repository's root; a setting of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Folders {
    pub profiles: String,
    pub clusters: String,
    pub fleets: String,
}

impl Default for Folders {
    fn default() -> Self {
        Self { profiles: "profiles".into(), clusters: "clusters".into(), fleets: "fleets".into() }
    }
}

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Profile,
    Target,
    Fleet,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Profile, Kind::Target, Kind::Fleet];

    /// As in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Profile => "ClusterProfile",
            Kind::Target => "ClusterTarget",
            Kind::Fleet => "Fleet",
        }
    }

    /// What people call it.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Kind::Profile => "profile",
            Kind::Target => "target",
            Kind::Fleet => "fleet",
        }
    }
}

impl Folders {
    pub fn of(&self, kind: Kind) -> &str {
        match kind {
            Kind::Profile => &self.profiles,
            Kind::Target => &self.clusters,
            Kind::Fleet => &self.fleets,
        }
        .trim_matches('/')
    }
}

/// Whether a document is there. Only [`Presence::Absent`] may ever be taken as "removed".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is in the catalog; it may still have problems ([`Catalog::problems_for`](super::Catalog::problems_for)).
    Present,
    /// A document of this name is there, but is not valid.
    Broken,
    /// It was not found, but not everything in its folder could be read.
    Unknown,
    /// The folder was read in full, and no document has this name.
    Absent,
}

/// A document, and where in the repository its parts are.
#[derive(Debug, Clone)]
pub struct Located<T> {
    pub value: T,
    pub places: Places,
}

impl<T> Located<T> {
    /// The file, from the repository's root.
    pub fn file(&self) -> &str {
        self.places.file()
    }

    /// Where the value at a JSON pointer is, or the innermost of its parents that is there.
    pub fn place(&self, pointer: &str) -> Place {
        self.places.value(pointer)
    }
}

impl<T> Deref for Located<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A profile with its folder and its variables' schema.
#[derive(Debug, Clone)]
pub struct Profile {
    pub document: Located<ClusterProfile>,
    /// From the repository's root; layers' paths are relative to it.
    pub folder: String,
    pub(super) variables: VariablesSchema,
}

impl Profile {
    pub fn name(&self) -> &ProfileName {
        &self.document.metadata.name
    }

    /// Whether the profile declares this variable.
    pub fn declares(&self, variable: &str) -> bool {
        self.variables.declares(variable)
    }

    /// Where a layer's `path` is, from the repository's root.
    ///
    /// # Errors
    /// Says why the path can't be used: absolute, empty or out of the folder.
    pub fn layer_path(&self, path: &str) -> Result<String, &'static str> {
        inside(&self.folder, path)
    }
}

pub type Target = Located<ClusterTarget>;
pub type LocatedFleet = Located<Fleet>;

/// The path, from the root, of `path` in `folder`, which it must not leave nor be.
pub(super) fn inside(folder: &str, path: &str) -> Result<String, &'static str> {
    if path.starts_with('/') {
        return Err("is absolute");
    }
    if path.contains(['\\', '\0']) {
        return Err("holds a character that paths here don't have");
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => return Err("leaves its folder by '..'"),
            ".git" => return Err("leads into .git"),
            segment => segments.push(segment),
        }
    }
    if segments.is_empty() {
        return Err("names no folder or file below the folder");
    }
    if folder.is_empty() { Ok(segments.join("/")) } else { Ok(format!("{folder}/{}", segments.join("/"))) }
}

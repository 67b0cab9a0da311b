//! Notes that lint a plan: what a reviewer should look at twice.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::object::ObjectKey;

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NoteSeverity {
    /// Destroys data, or stops the rollout.
    Danger,
    Warning,
    Info,
}

/// One note about what a change does to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    pub severity: NoteSeverity,
    /// For people.
    pub message: String,
    #[serde(flatten)]
    pub what: NoteKind,
}

/// What a note is about; `code` names the rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "code")]
pub enum NoteKind {
    DeletesNamespace {
        object: ObjectKey,
    },
    DeletesCrd {
        object: ObjectKey,
    },
    DeletesVolume {
        object: ObjectKey,
    },
    /// A protected kind leaves the release; the object stays.
    Protected {
        object: ObjectKey,
    },
    /// A field that the API server refuses to change.
    Immutable {
        object: ObjectKey,
        fields: Vec<String>,
    },
    /// The same, but `fairlead.dev/replace` allows delete and create.
    Replaces {
        object: ObjectKey,
        fields: Vec<String>,
    },
    /// More deletions than `prune.maxDeletions` allows: the change will hold.
    Budget {
        count: usize,
        of: usize,
        budget: usize,
    },
    /// The release is empty.
    LosesEverything {
        of: usize,
        allowed: bool,
    },
    /// The target leaves the fleet.
    Leaves {
        of: usize,
        deletes: bool,
    },
    /// In a live plan: it waits for a person.
    Holds {
        reason: String,
    },
    /// In a live plan: it can't work.
    Fails {
        reason: String,
    },
}

impl Note {
    pub fn new(what: NoteKind) -> Self {
        Self { severity: what.severity(), message: what.to_string(), what }
    }
}

impl NoteKind {
    fn severity(&self) -> NoteSeverity {
        match self {
            Self::DeletesNamespace { .. }
            | Self::DeletesCrd { .. }
            | Self::DeletesVolume { .. }
            | Self::Immutable { .. }
            | Self::Budget { .. }
            | Self::Holds { .. }
            | Self::Fails { .. }
            | Self::LosesEverything { .. }
            | Self::Leaves { deletes: true, .. } => NoteSeverity::Danger,
            Self::Replaces { .. } | Self::Leaves { .. } => NoteSeverity::Warning,
            Self::Protected { .. } => NoteSeverity::Info,
        }
    }

    /// The deletion of a kind that takes more with it than itself.
    pub fn deletes(object: &ObjectKey) -> Option<Self> {
        let object = object.clone();
        match (object.group(), object.kind()) {
            ("", "Namespace") => Some(Self::DeletesNamespace { object }),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Some(Self::DeletesCrd { object }),
            ("", "PersistentVolumeClaim" | "PersistentVolume") => Some(Self::DeletesVolume { object }),
            _ => None,
        }
    }
}

impl fmt::Display for NoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeletesNamespace { object } => write!(f, "deletes {object} and everything in it"),
            Self::DeletesCrd { object } => write!(f, "deletes {object} and every object of its kind"),
            Self::DeletesVolume { object } => write!(f, "deletes {object}, and with it perhaps its data"),
            Self::Protected { object } => {
                write!(
                    f,
                    "{object} leaves the release but stays in the cluster: its kind is protected (an approval "
                )?;
                f.write_str("or the annotation fairlead.dev/prune: allow deletes it)")
            }
            Self::Immutable { object, fields } => {
                write!(f, "{object}: the API server refuses to change {}; ", fields.join(", "))?;
                f.write_str("the annotation fairlead.dev/replace: allow lets it be deleted and created again")
            }
            Self::Replaces { object, fields } => {
                write!(f, "{object} is deleted and created again, because {} can't change", fields.join(", "))
            }
            Self::Budget { count, of, budget } => {
                write!(
                    f,
                    "deletes {count} of {of} objects, more than the {budget} that prune.maxDeletions allows: "
                )?;
                f.write_str("will wait for approval")
            }
            Self::LosesEverything { of, allowed: true } => write!(f, "deletes all {of} objects"),
            Self::LosesEverything { of, allowed: false } => {
                write!(f, "would delete all {of} objects: holds until prune.allowEmpty is set")
            }
            Self::Leaves { of, deletes: true } => write!(f, "leaves the fleet: all {of} objects are deleted"),
            Self::Leaves { of, deletes: false } => {
                write!(f, "leaves the fleet: its {of} objects stay as they are")
            }
            Self::Holds { reason } => write!(f, "waits for a person: {reason}"),
            Self::Fails { reason } => write!(f, "can't work: {reason}"),
        }
    }
}

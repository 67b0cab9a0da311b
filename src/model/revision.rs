//! Where content comes from.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::digest::CommitId;
use super::name::{ProfileName, SourceName};

/// A commit of a source repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Revision {
    pub source: SourceName,
    pub commit: CommitId,
}

impl Revision {
    pub fn control(commit: CommitId) -> Self {
        Self { source: SourceName::control(), commit }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.source, self.commit)
    }
}

/// All that decides what one target runs for one fleet: the commit that fleet, target and variables are
/// read at, and the commit of each profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Revisions {
    pub control: Revision,
    pub profiles: BTreeMap<ProfileName, Revision>,
}

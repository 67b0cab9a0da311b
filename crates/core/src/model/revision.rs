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

/// Which commit of a profile a release was made of, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileRevision {
    pub profile: ProfileName,
    pub commit: CommitId,
    /// The version tag of the profile on that commit, e.g. `base/v1.4.2`; the newest, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl ProfileRevision {
    /// `v1.4.2`: the tag without the profile's name in front, which says nothing new.
    pub fn short_tag(&self) -> Option<&str> {
        self.tag.as_deref().and_then(|tag| tag.rsplit('/').next())
    }

    /// `v1.4.2 (1111111)`, or the commit alone. The profile's name in front of its own tag is left out.
    pub fn version(&self) -> String {
        let commit = self.commit.short();
        match self.short_tag() {
            Some(tag) => format!("{tag} ({commit})"),
            None => commit,
        }
    }
}

impl fmt::Display for ProfileRevision {
    /// `base v1.4.2 (1111111)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.profile, self.version())
    }
}

/// All that decides what one target runs for one fleet: the commit that fleet, target and variables are
/// read at, and the commit of each profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Revisions {
    pub control: Revision,
    pub profiles: BTreeMap<ProfileName, Revision>,
}

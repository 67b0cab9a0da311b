//! Version tags: which one a range chooses, and which ones moved. Pure.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::ProfileName;
use fairlead_core::model::range::VersionRange;

/// A tag and the commit that it names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tag {
    pub name: String,
    pub commit: CommitId,
}

/// A tag that names another commit than it used to: holds until a person accepts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagMoved {
    pub name: String,
    pub old: CommitId,
    pub new: CommitId,
}

/// The newest version of a profile in `range`. Tags are `<profile>/v<semver>` or `v<semver>`; on equal
/// versions the profile's own wins. A pre-release matches only a range that names one of the same version
/// (semver's rule). Of versions that differ in build metadata alone, which has no order, the tag whose name
/// sorts last wins, so that the answer is the same everywhere.
pub fn newest_tag(profile: &ProfileName, range: &VersionRange, tags: &[Tag]) -> Option<(Version, Tag)> {
    let candidate = |tag: &'_ Tag| {
        let (version, own) = version_of(profile, &tag.name)?;
        range.matches(&version).then(|| (version, own, tag.clone()))
    };
    tags.iter()
        .filter_map(candidate)
        .max_by(|a, b| a.0.cmp_precedence(&b.0).then(a.1.cmp(&b.1)).then_with(|| a.2.name.cmp(&b.2.name)))
        .map(|(version, _, tag)| (version, tag))
}

/// The newest version tag of a profile on `commit`; on equal versions the profile's own.
pub fn tag_on<'a>(
    profile: &ProfileName,
    commit: CommitId,
    tags: &'a BTreeMap<String, CommitId>,
) -> Option<&'a str> {
    let on_commit = tags.iter().filter(|(_, tagged)| **tagged == commit);
    let versions = on_commit.filter_map(|(name, _)| Some((version_of(profile, name)?, name.as_str())));
    versions.max_by(|(a, _), (b, _)| a.0.cmp_precedence(&b.0).then(a.1.cmp(&b.1))).map(|(_, name)| name)
}

/// The version that a tag gives a profile, and whether the tag is the profile's own.
fn version_of(profile: &ProfileName, tag: &str) -> Option<(Version, bool)> {
    let (own, version) = match tag.rsplit_once('/') {
        Some((prefix, version)) => (prefix == profile.as_str()).then_some((true, version))?,
        None => (false, tag),
    };
    Version::parse(version.strip_prefix('v')?).ok().map(|version| (version, own))
}

/// Whether a tag is a version's, of some profile or of all: those that bring commits that documents may name.
pub fn is_version_tag(tag: &str) -> bool {
    let (profile, version) =
        tag.rsplit_once('/').map_or((None, tag), |(profile, version)| (Some(profile), version));
    profile.is_none_or(|profile| profile.parse::<ProfileName>().is_ok())
        && version.strip_prefix('v').is_some_and(|version| Version::parse(version).is_ok())
}

/// Tags that are remembered, and that the repository has no more.
pub fn vanished_tags(remembered: &BTreeMap<String, CommitId>, tags: &BTreeMap<String, CommitId>) -> Vec<Tag> {
    let gone = remembered.iter().filter(|(name, _)| is_version_tag(name) && !tags.contains_key(*name));
    gone.map(|(name, commit)| Tag { name: name.clone(), commit: *commit }).collect()
}

/// Tags that name another commit than remembered.
pub fn moved_tags(
    remembered: &BTreeMap<String, CommitId>,
    tags: &BTreeMap<String, CommitId>,
) -> Vec<TagMoved> {
    let moved = |(name, old): (&String, &CommitId)| {
        let new = tags.get(name).filter(|new| *new != old)?;
        Some(TagMoved { name: name.clone(), old: *old, new: *new })
    };
    remembered.iter().filter_map(moved).collect()
}

//! Releases and revisions, each written down once.
//!
//! 5,000 clusters name a few releases each; as full references that would be 10 MB of JSON. Targets hold
//! numbers into this interner instead.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::digest::ReleaseDigest;
use crate::model::release::ReleaseRef;
use crate::model::revision::Revisions;

/// Number of a release in the interner. Two numbers may stand for the same digest, of different revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseId(u32);

/// Number of revisions in the interner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionsId(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Line(#[serde(with = "packed")] ReleaseDigest, RevisionsId);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interner {
    revisions: Vec<Revisions>,
    releases: Vec<Line>,
    revision_index: BTreeMap<Revisions, RevisionsId>,
    release_index: BTreeMap<Line, ReleaseId>,
}

impl Interner {
    pub fn revs(&mut self, revisions: &Revisions) -> RevisionsId {
        if let Some(known) = self.revision_index.get(revisions) {
            return *known;
        }
        let number = RevisionsId(self.revisions.len() as u32);
        self.revisions.push(revisions.clone());
        self.revision_index.insert(revisions.clone(), number);
        number
    }

    pub fn release(&mut self, release: &ReleaseRef) -> ReleaseId {
        let line = Line(release.digest, self.revs(&release.revisions));
        if let Some(known) = self.release_index.get(&line) {
            return *known;
        }
        let number = ReleaseId(self.releases.len() as u32);
        self.releases.push(line);
        self.release_index.insert(line, number);
        number
    }

    pub fn digest(&self, release: ReleaseId) -> ReleaseDigest {
        self.releases[release.0 as usize].0
    }

    pub fn revs_of(&self, release: ReleaseId) -> RevisionsId {
        self.releases[release.0 as usize].1
    }

    pub fn revisions(&self, revs: RevisionsId) -> &Revisions {
        &self.revisions[revs.0 as usize]
    }

    pub fn full(&self, release: ReleaseId) -> ReleaseRef {
        let Line(digest, revs) = self.releases[release.0 as usize];
        ReleaseRef { digest, revisions: self.revisions(revs).clone() }
    }

    /// Whether both render the same bytes.
    pub fn same(&self, a: ReleaseId, b: ReleaseId) -> bool {
        a == b || self.digest(a) == self.digest(b)
    }

    pub fn holds(&self, release: ReleaseId) -> bool {
        (release.0 as usize) < self.releases.len()
    }

    pub fn holds_revs(&self, revs: RevisionsId) -> bool {
        (revs.0 as usize) < self.revisions.len()
    }

    /// An interner of only what `used` names; every number is rewritten.
    pub fn compact<'a>(
        &mut self,
        used: impl Iterator<Item = &'a mut ReleaseId>,
        used_revs: impl Iterator<Item = &'a mut RevisionsId>,
    ) {
        let old = std::mem::take(self);
        let mut new_revs = vec![None; old.revisions.len()];
        let mut new_releases = vec![None; old.releases.len()];
        let mut keep_revs = |interner: &mut Interner, revs: RevisionsId| {
            *new_revs[revs.0 as usize].get_or_insert_with(|| interner.revs(&old.revisions[revs.0 as usize]))
        };
        for revs in used_revs {
            *revs = keep_revs(self, *revs);
        }
        for release in used {
            let Line(digest, revs) = old.releases[release.0 as usize];
            let revs = keep_revs(self, revs);
            *release = *new_releases[release.0 as usize].get_or_insert_with(|| {
                let number = ReleaseId(self.releases.len() as u32);
                self.releases.push(Line(digest, revs));
                self.release_index.insert(Line(digest, revs), number);
                number
            });
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    revisions: std::borrow::Cow<'a, [Revisions]>,
    releases: std::borrow::Cow<'a, [Line]>,
}

impl Serialize for Interner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { revisions: (&self.revisions).into(), releases: (&self.releases).into() }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Interner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { revisions, releases } = Written::deserialize(deserializer)?;
        let (revisions, releases) = (revisions.into_owned(), releases.into_owned());
        if let Some(line) = releases.iter().find(|line| line.1.0 as usize >= revisions.len()) {
            return Err(D::Error::custom(format!("release {} names revisions that are not there", line.0)));
        }
        let revision_index =
            (0..).map(RevisionsId).zip(&revisions).map(|(n, record)| (record.clone(), n)).collect();
        let release_index = (0..).map(ReleaseId).zip(&releases).map(|(n, line)| (*line, n)).collect();
        Ok(Self { revisions, releases, revision_index, release_index })
    }
}

/// 43 characters instead of 64.
mod packed {
    use super::*;

    pub fn serialize<S: Serializer>(digest: &ReleaseDigest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(digest.as_bytes()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReleaseDigest, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(&text).map_err(D::Error::custom)?;
        let bytes = bytes.try_into().map_err(|_| D::Error::custom("a release digest has 32 bytes"))?;
        Ok(ReleaseDigest::from_bytes(bytes))
    }
}

/// Which releases were good here, newest first, at most ten; by the first eight bytes of their digests,
/// which is enough to know one again and small enough to keep for every cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(Vec<[u8; 8]>);

/// As many as a ledger keeps.
const HISTORY: usize = 10;

fn mark(digest: ReleaseDigest) -> [u8; 8] {
    let mut mark = [0; 8];
    mark.copy_from_slice(&digest.as_bytes()[..8]);
    mark
}

impl History {
    pub fn of(releases: &[ReleaseRef]) -> Self {
        Self(releases.iter().take(HISTORY).map(|release| mark(release.digest)).collect())
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn has(&self, digest: ReleaseDigest) -> bool {
        self.0.contains(&mark(digest))
    }
    pub fn add(&mut self, digest: ReleaseDigest) {
        self.remove(digest);
        self.0.insert(0, mark(digest));
        self.0.truncate(HISTORY);
    }
    pub fn remove(&mut self, digest: ReleaseDigest) {
        self.0.retain(|known| *known != mark(digest));
    }
}

impl Serialize for History {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0.as_flattened()))
    }
}

impl<'de> Deserialize<'de> for History {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let (marks, rest) = bytes.as_chunks::<8>();
        if rest.is_empty() { Ok(Self(marks.to_vec())) } else { Err(D::Error::custom("a cut-off history")) }
    }
}

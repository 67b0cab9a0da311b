//! What kinds a cluster serves, and under which paths.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::api::{Api, Call, MAX_PAGE};
use super::error::ApiError;
use super::read;
use fairlead_core::model::object::{GroupKind, ObjectKey};
use fairlead_core::plan::Scope;

/// Aggregated discovery, stable since Kubernetes 1.30 and in beta since 1.27; else the old, one request a group.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// How objects of one version of a kind are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub scope: Scope,
    /// Whether it can be listed and watched.
    pub watchable: bool,
}

/// The kinds of a cluster. A kind whose group could not be discovered is unknown, never absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    kinds: BTreeMap<GroupKind, Vec<Resource>>,
    /// Groups that did not answer (an aggregated API server that is down).
    unknown_groups: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct GroupList {
    kind: String,
    #[serde(deserialize_with = "groups")]
    items: Vec<Group>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Group {
    metadata: GroupMeta,
    #[serde(deserialize_with = "versions")]
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GroupMeta {
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Version {
    version: String,
    #[serde(deserialize_with = "resources")]
    resources: Vec<RawResource>,
    freshness: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawResource {
    resource: String,
    response_kind: Option<ResponseKind>,
    scope: String,
    #[serde(deserialize_with = "verbs")]
    verbs: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseKind {
    kind: String,
}

/// Most groups of a cluster, versions of a group, kinds of a version, and kinds in all versions together. Large
/// clusters have a few hundred groups and 2,000 kinds.
const MAX_GROUPS: usize = 5_000;
const MAX_VERSIONS: usize = 100;
const MAX_KINDS: usize = 5_000;
const MAX_ALL: usize = 20_000;
/// Most verbs of a kind.
const MAX_VERBS: usize = 50;
/// Longest name of a group, version, kind or resource, in bytes.
const MAX_NAME: usize = 253;
/// Where a server must be asked for each version: how long that may take, as a whole.
const ONE_BY_ONE_TIMEOUT: Duration = Duration::from_secs(120);

fn groups<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<Group>, D::Error> {
    read::bounded(reader, MAX_GROUPS, |_| true)
}

fn versions<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<Version>, D::Error> {
    read::bounded(reader, MAX_VERSIONS, |_| true)
}

fn verbs<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<String>, D::Error> {
    read::first(reader, MAX_VERBS)
}

/// What names no kind is dropped as it is read.
fn resources<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<RawResource>, D::Error> {
    let named = |raw: &RawResource| raw.response_kind.as_ref().is_some_and(|kind| !kind.kind.is_empty());
    read::bounded(reader, MAX_KINDS, named)
}

/// What clusters serve, by their answers: those of a fleet mostly serve the same, which is then read and held once.
/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Discoveries(Arc<Mutex<HashMap<blake3::Hash, Weak<Discovery>>>>);

impl Discoveries {
    fn get(&self, answers: &blake3::Hash) -> Option<Arc<Discovery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(answers)?.upgrade()
    }

    fn put(&self, answers: blake3::Hash, found: &Arc<Discovery>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, discovery| discovery.strong_count() > 0);
        known.insert(answers, Arc::downgrade(found));
    }
}

impl Discovery {
    /// Reads what a cluster serves; the same as in `shared` if it is answered in the same words.
    pub async fn read(api: &Api, shared: &Discoveries) -> Result<Arc<Self>, ApiError> {
        let core = api.call(Call::get("/api").accept(AGGREGATED).most(MAX_PAGE));
        let groups = api.call(Call::get("/apis").accept(AGGREGATED).most(MAX_PAGE));
        let (core, groups) = futures::future::try_join(core, groups).await?;
        let mut hasher = blake3::Hasher::new();
        // The first one's length tells where it ends.
        let answers = hasher.update(&core.len().to_le_bytes()).update(&core).update(&groups).finalize();
        if let Some(found) = shared.get(&answers) {
            return Ok(found);
        }
        let (mut found, mut whole) = (Self::default(), true);
        for body in [core, groups] {
            let list: GroupList = serde_json::from_slice(&body).map_err(ApiError::Decode)?;
            if list.kind == "APIGroupDiscoveryList" {
                list.items.into_iter().for_each(|group| found.add_group(group));
            } else {
                // Those answers say only where to ask on.
                whole = false;
                let (limit, asked) = (ONE_BY_ONE_TIMEOUT, found.read_one_by_one(api, &body));
                tokio::time::timeout(limit, asked).await.unwrap_or(Err(ApiError::Timeout(limit)))?;
            }
            found.is_not_too_much()?;
        }
        let found = Arc::new(found);
        if whole {
            shared.put(answers, &found);
        }
        Ok(found)
    }

    fn is_not_too_much(&self) -> Result<(), ApiError> {
        let all: usize = self.kinds.values().map(Vec::len).sum();
        if all > MAX_ALL || self.unknown_groups.len() > MAX_GROUPS {
            return Err(ApiError::TooMany(MAX_ALL));
        }
        Ok(())
    }

    fn add_group(&mut self, group: Group) {
        let name = group.metadata.name;
        for version in group.versions {
            if version.freshness == "Stale" {
                self.unknown_groups.insert(name.clone());
                continue;
            }
            for raw in version.resources {
                let Some(kind) = raw.response_kind.map(|k| k.kind).filter(|k| !k.is_empty()) else {
                    continue;
                };
                let namespaced = raw.scope == "Namespaced";
                self.add(&name, &version.version, kind, raw.resource, namespaced, &raw.verbs);
            }
        }
    }

    fn add(
        &mut self,
        group: &str,
        version: &str,
        kind: String,
        plural: String,
        namespaced: bool,
        verbs: &[String],
    ) {
        // Nothing of ours has such a name.
        if [group, version, &kind, &plural].iter().any(|name| name.len() > MAX_NAME) {
            return;
        }
        let can = |verb: &str| verbs.iter().any(|v| v == verb);
        let resource = Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.clone(),
            plural,
            scope: if namespaced { Scope::Namespaced } else { Scope::Cluster },
            watchable: can("list") && can("watch"),
        };
        self.kinds.entry(GroupKind { group: group.to_owned(), kind }).or_default().push(resource);
    }

    /// The kind in this version, or in the one that the server prefers.
    pub fn find(&self, kind: &GroupKind, version: &str) -> Option<&Resource> {
        let versions = self.kinds.get(kind)?;
        versions.iter().find(|r| r.version == version).or_else(|| versions.first())
    }

    /// The kind in exactly this version.
    pub fn exact(&self, kind: &GroupKind, version: &str) -> Option<&Resource> {
        self.kinds.get(kind)?.iter().find(|r| r.version == version)
    }

    pub fn kinds(&self) -> impl Iterator<Item = (&GroupKind, &Resource)> {
        self.kinds.iter().filter_map(|(kind, versions)| Some((kind, versions.first()?)))
    }

    pub fn scopes(&self) -> BTreeMap<GroupKind, Scope> {
        self.kinds().map(|(kind, resource)| (kind.clone(), resource.scope)).collect()
    }

    /// Whether there are groups of which it is not known what they serve.
    pub fn has_unknown(&self) -> bool {
        !self.unknown_groups.is_empty()
    }

    /// Whether it is not known what this group serves.
    pub fn is_unknown(&self, group: &str) -> bool {
        self.unknown_groups.contains(group)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OldRoot {
    versions: Vec<String>,
    groups: Vec<OldGroup>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OldGroup {
    name: String,
    versions: Vec<OldVersion>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OldVersion {
    version: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OldList {
    resources: Vec<OldResource>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OldResource {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(deserialize_with = "verbs")]
    verbs: Vec<String>,
}

impl Discovery {
    async fn read_one_by_one(&mut self, api: &Api, root: &[u8]) -> Result<(), ApiError> {
        let root: OldRoot = serde_json::from_slice(root).map_err(ApiError::Decode)?;
        let core = root.versions.into_iter().map(|version| (String::new(), version));
        let groups = root.groups.into_iter().flat_map(|group| {
            let name = group.name;
            group.versions.into_iter().map(move |v| (name.clone(), v.version))
        });
        for (group, version) in core.chain(groups) {
            let path =
                if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
            let list: OldList = match api.call(Call::get(path)).await {
                Ok(body) => serde_json::from_slice(&body).map_err(ApiError::Decode)?,
                Err(ApiError::Status(status)) if status.code >= 500 => {
                    self.unknown_groups.insert(group);
                    continue;
                }
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            let named = |r: &OldResource| !r.kind.is_empty() && !r.name.contains('/');
            for raw in list.resources.into_iter().filter(named) {
                self.add(&group, &version, raw.kind, raw.name, raw.namespaced, &raw.verbs);
            }
            self.is_not_too_much()?;
        }
        Ok(())
    }
}

impl Resource {
    fn root(&self, namespace: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            "/api/".to_owned()
        } else {
            format!("/apis/{}/", escape(&self.group))
        };
        path.push_str(&escape(&self.version));
        if let (Scope::Namespaced, Some(namespace)) = (self.scope, namespace) {
            path.push_str("/namespaces/");
            path.push_str(&escape(namespace));
        }
        path.push('/');
        path.push_str(&escape(&self.plural));
        path
    }

    /// Path of one object.
    pub fn object(&self, key: &ObjectKey) -> String {
        format!("{}/{}", self.root(key.namespace()), escape(key.name()))
    }

    /// Path of all objects, in all namespaces.
    pub fn all(&self) -> String {
        self.root(None)
    }

    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.clone(), kind: self.kind.clone() }
    }
}

/// Percent-encodes one segment of a path or one value of a query: a name can't leave its place.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'~')
            || (byte == b'.' && text != "." && text != "..")
        {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What an answer says, as [`Discovery::read`] takes it.
#[cfg(test)]
pub fn parse_for_tests(body: &[u8]) -> Result<Discovery, ApiError> {
    let list: GroupList = serde_json::from_slice(body).map_err(ApiError::Decode)?;
    let mut found = Discovery::default();
    list.items.into_iter().for_each(|group| found.add_group(group));
    found.is_not_too_much().map(|()| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery(json: &str) -> Discovery {
        parse_for_tests(json.as_bytes()).unwrap()
    }

    const APPS: &str = r#"{"kind":"APIGroupDiscoveryList","items":[
        {"metadata":{"name":"apps"},"versions":[
            {"version":"v1","freshness":"Current","resources":[
                {"resource":"deployments","responseKind":{"group":"apps","version":"v1","kind":"Deployment"},
                 "scope":"Namespaced","verbs":["list","watch","patch"],"subresources":[{"subresource":"scale"}]}]},
            {"version":"v1beta1","freshness":"Current","resources":[
                {"resource":"deployments","responseKind":{"group":"apps","version":"v1beta1","kind":"Deployment"},
                 "scope":"Namespaced","verbs":["list"]}]}]},
        {"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1beta1","freshness":"Stale","resources":[]}]}]}"#;

    fn key(namespace: Option<&str>, name: &str) -> ObjectKey {
        ObjectKey::new("apps", "Deployment", namespace.unwrap_or_default(), name)
    }

    #[test]
    fn an_object_is_written_in_its_own_version_and_read_in_any() {
        let found = discovery(APPS);
        let kind = key(None, "web").group_kind();
        let version = |v: &str| found.find(&kind, v).map(|r| r.version.as_str());
        assert_eq!((version("v1beta1"), version("v2")), (Some("v1beta1"), Some("v1")));
        assert!(found.exact(&kind, "v2").is_none());
        assert!(found.is_unknown("metrics.k8s.io") && !found.is_unknown("apps"));
        let path = found.exact(&kind, "v1").map(|r| (r.object(&key(Some("shop"), "web")), r.all()));
        let expected = (
            "/apis/apps/v1/namespaces/shop/deployments/web".to_owned(),
            "/apis/apps/v1/deployments".to_owned(),
        );
        assert_eq!(path, Some(expected));
    }

    #[test]
    fn what_no_cluster_serves_is_refused() {
        let kind =
            |n: usize| format!(r#"{{"resource":"r{n}","responseKind":{{"kind":"K{n}"}},"verbs":["list"]}}"#);
        let kinds = |count: usize| (0..count).map(kind).collect::<Vec<_>>().join(",");
        let version = |kinds: &str| format!(r#"{{"version":"v1","resources":[{kinds}]}}"#);
        let group = |name: usize, versions: &str| {
            format!(r#"{{"metadata":{{"name":"g{name}"}},"versions":[{versions}]}}"#)
        };
        let list = |groups: &[String]| {
            format!(r#"{{"kind":"APIGroupDiscoveryList","items":[{}]}}"#, groups.join(","))
        };
        let read = |text: String| parse_for_tests(text.as_bytes());
        assert!(read(list(&[group(0, &version(&kinds(2_000)))])).is_ok());
        assert!(read(list(&[group(0, &version(&kinds(MAX_KINDS + 1)))])).is_err());
        let some = version(&kinds(4_500));
        let many: Vec<String> = (0..5).map(|n| group(n, &some)).collect();
        assert!(matches!(read(list(&many)), Err(ApiError::TooMany(_))), "each alone would do");
        let groups: Vec<String> = (0..=MAX_GROUPS).map(|n| group(n, "")).collect();
        assert!(read(list(&groups)).is_err());
        let versions = vec![version(""); MAX_VERSIONS + 1].join(",");
        assert!(read(list(&[group(0, &versions)])).is_err());
        let long = APPS.replace("deployments", &"d".repeat(MAX_NAME + 1));
        assert_eq!(read(long).unwrap().kinds().count(), 0);
    }

    #[test]
    fn a_name_stays_in_its_segment() {
        let found = discovery(APPS);
        let resource = found.exact(&key(None, "").group_kind(), "v1").unwrap();
        let path = resource.object(&key(Some("a/../b"), "..?x=1#"));
        assert_eq!(path, "/apis/apps/v1/namespaces/a%2F..%2Fb/deployments/..%3Fx%3D1%23");
        assert_eq!(escape(".."), "%2E%2E");
    }
}

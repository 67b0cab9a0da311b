//! Get, list and watch.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use serde_json::{Value, json};

use super::answer::{Answer, Target, json_answer};
use super::ask::Ask;
use super::body::Body;
use super::cluster::{Inner, State};
use super::defaults::TEMPLATES;
use super::kind::{Kind, Version};
use super::object::{Key, Object};
use super::refuse::Refusal;
use super::scale;
use super::selector::Selector;
use super::table::{self, Include};
use super::watch::{From, Terms, Watch};

/// How long a watch lasts that does not say how long.
const WATCH_FOR: Duration = Duration::from_secs(1_800);

/// Through what objects are seen: which, and what of them.
#[derive(Debug, Clone)]
pub struct View {
    pub kind: Arc<Kind>,
    api_version: String,
    namespace: Option<String>,
    pub labels: Selector,
    /// Name and namespace.
    fields: Selector,
    /// Other fields that a selector may name.
    values: Selector,
    metadata_only: bool,
    /// As a table, with so much of each object.
    table: Option<Include>,
    /// Seconds since 1970, for ages.
    pub now: i64,
}

impl View {
    pub fn new(ask: &Ask, target: &Target, now: i64) -> Result<Self, Refusal> {
        let selector = |name: &str| {
            Selector::parse(ask.query(name)).map_err(|error| Refusal::bad_request(format!("{name}: {error}")))
        };
        let (labels, fields) = (selector("labelSelector")?, selector("fieldSelector")?);
        let (mut fields, values) = fields.split_fields();
        if let Some(unknown) = values.unknown_field(&target.kind) {
            return Err(Refusal::bad_request(format!("field label not supported: {unknown}")));
        }
        if let Some(name) = &target.name {
            fields = Selector::parse(&format!("metadata.name={name}")).unwrap_or_default();
        }
        Ok(Self {
            api_version: target.kind.api_version(target.version()),
            kind: Arc::clone(&target.kind),
            namespace: target.namespace.clone(),
            labels,
            fields,
            values,
            metadata_only: ask.wants_metadata(),
            table: ask.wants_table().then(|| Include::read(ask.query("includeObject"))),
            now,
        })
    }

    /// Whether an object's namespace and name fit.
    pub fn has_place_for(&self, object: &Object) -> bool {
        let key = &object.key;
        self.namespace.as_ref().is_none_or(|namespace| **namespace == *key.namespace)
            && self.fields.fits_fields(&key.namespace, &key.name)
    }

    /// Whether more is asked of an object than its namespace and name.
    pub fn selects(&self) -> bool {
        !self.labels.is_empty() || !self.values.is_empty()
    }

    /// Whether its labels and its other fields fit.
    pub fn fits(&self, value: &Value) -> bool {
        self.labels.fits(value) && self.values.fits_values(value)
    }

    /// An object as it is shown.
    pub fn present(&self, mut object: Value) -> Value {
        if self.table.is_some() {
            let version = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            let rows = vec![self.row(object)];
            return table::table(version, self.columns(), rows);
        }
        if self.metadata_only {
            return only_metadata(&self.kind, object);
        }
        object["apiVersion"] = json!(self.api_version);
        object
    }

    fn version(&self) -> Option<&Version> {
        let name = self.api_version.rsplit('/').next().unwrap_or_default();
        self.kind.versions.iter().find(|version| *version.name == *name)
    }

    fn columns(&self) -> Value {
        self.version().map_or(Value::Null, |version| table::columns(&self.kind, version))
    }

    fn row(&self, object: Value) -> Value {
        let Some(version) = self.version() else { return Value::Null };
        let shown = match self.table {
            Some(Include::Object) => {
                let mut object = object.clone();
                object["apiVersion"] = json!(self.api_version);
                Some(object)
            }
            Some(Include::None) => None,
            _ => Some(only_metadata(&self.kind, object.clone())),
        };
        table::row(&self.kind, version, &object, self.now, shown)
    }

    pub fn names(&self) -> (&str, &str) {
        if self.table.is_some() {
            ("Table", "meta.k8s.io/v1")
        } else if self.metadata_only {
            ("PartialObjectMetadata", "meta.k8s.io/v1")
        } else {
            (&self.kind.kind, &self.api_version)
        }
    }
}

fn only_metadata(kind: &Kind, mut object: Value) -> Value {
    let mut metadata = object["metadata"].take();
    if kind.is("apps", "DaemonSet")
        && let Some(annotations) = metadata["annotations"].as_object_mut()
    {
        // It is written with the whole object only, from a field that metadata does not have.
        annotations.remove(TEMPLATES);
        if annotations.is_empty()
            && let Some(map) = metadata.as_object_mut()
        {
            map.remove("annotations");
        }
    }
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// One object, as a request of this version sees it.
pub fn show(ask: &Ask, kind: &Kind, version: &Version, mut object: Value) -> Value {
    if ask.wants_metadata() {
        return only_metadata(kind, object);
    }
    object["apiVersion"] = json!(kind.api_version(version));
    object
}

pub fn get(state: &State, ask: &Ask, target: &Target, name: &str, now: i64) -> Answer {
    let key = Key::new(target.namespace.as_deref().unwrap_or_default(), name);
    let found = state.store.get(&target.kind.resource, &key);
    let object = found.ok_or_else(|| Refusal::not_found(&target.kind, name))?.value();
    if let Some(paths) = target.version().scale.as_ref().filter(|_| target.subresource == "scale") {
        return Ok(json_answer(200, &scale::of(paths, &object)));
    }
    if ask.wants_table() {
        let view = View::new(ask, target, now)?;
        return Ok(json_answer(200, &view.present(object)));
    }
    Ok(json_answer(200, &show(ask, &target.kind, target.version(), object)))
}

/// Where the next page of a list begins.
#[derive(Debug, PartialEq, Eq)]
struct Continue {
    version: u64,
    after: Key,
}

impl Continue {
    fn text(&self) -> String {
        use base64::Engine as _;
        let text = format!("{}\n{}\n{}", self.version, self.after.namespace, self.after.name);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    }

    fn parse(text: &str) -> Option<Self> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut lines = text.split('\n');
        let version = lines.next()?.parse().ok()?;
        Some(Self { version, after: Key::new(lines.next()?, lines.next()?) })
    }
}

pub fn list(state: &State, ask: &Ask, target: &Target, now: i64) -> Answer {
    let view = View::new(ask, target, now)?;
    if ask.wants_as() == Some("PartialObjectMetadata") {
        let go = go_type(&target.kind);
        let message =
            format!("you requested PartialObjectMetadata, but the requested object is a list ({go})");
        return Err(Refusal::new(406, "NotAcceptable", message));
    }
    let resource = &target.kind.resource;
    let limit: usize = match ask.query("limit") {
        "" => 0,
        text => text.parse().map_err(|_| Refusal::bad_request(format!("invalid limit: {text}")))?,
    };
    let (version, after, all) = snapshot(state, ask, resource)?;
    let mut items = Vec::new();
    let mut next = None;
    let mut left = 0;
    let in_view = all.iter().filter(|object| view.has_place_for(object));
    let mut last: Option<Key> = None;
    for object in in_view.filter(|object| after.as_ref().is_none_or(|after| object.key > *after)) {
        if limit > 0 && items.len() == limit {
            if next.is_none() {
                next = last.take().map(|after| Continue { version, after });
            }
            left += 1;
            if view.selects() {
                break;
            }
            continue;
        }
        let value = object.value();
        if view.fits(&value) {
            items.push(if view.table.is_some() { view.row(value) } else { item(&view, value) });
            last = Some(object.key.clone());
        }
    }
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(next) = next {
        metadata["continue"] = json!(next.text());
        // A selector would have to be tried on all that is left.
        if !view.selects() {
            metadata["remainingItemCount"] = json!(left);
        }
    }
    if view.table.is_some() {
        return Ok(json_answer(200, &table::table(metadata, view.columns(), items)));
    }
    let (kind, api_version) = if view.metadata_only {
        ("PartialObjectMetadataList", "meta.k8s.io/v1")
    } else {
        (&*target.kind.list_kind, &*view.api_version)
    };
    if target.kind.is_custom && !view.metadata_only && metadata.get("continue").is_none() {
        metadata["continue"] = json!("");
    }
    let mut list = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items});
    if view.metadata_only && items.is_empty() {
        list["items"] = Value::Null;
    }
    Ok(json_answer(200, &list))
}

/// A version, after which key of it, and all objects of it.
type Snapshot = (u64, Option<Key>, Vec<Arc<Object>>);

/// The moment that a list shows.
fn snapshot(state: &State, ask: &Ask, resource: &str) -> Result<Snapshot, Refusal> {
    let asked = version_number(ask)?;
    let expired = || {
        Refusal::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
        )
    };
    Ok(match ask.query("continue") {
        "" => {
            let exact = ask.query("resourceVersionMatch") == "Exact";
            match asked {
                Some(asked) if asked > state.store.version() => return Err(too_large(asked, state)),
                Some(asked) if exact && asked > 0 => {
                    let all = state.store.all_at(resource, asked);
                    (asked, None, all.map_err(|_| Refusal::too_old(asked, state.store.oldest(resource) + 1))?)
                }
                _ => (state.store.version(), None, state.store.all(resource).cloned().collect()),
            }
        }
        token => {
            let token = Continue::parse(token).ok_or_else(|| {
                Refusal::bad_request(
                    "invalid continue token: continue key is not valid: illegal base64 data at input byte 0",
                )
            })?;
            let all = state.store.all_at(resource, token.version).map_err(|_| expired())?;
            (token.version, Some(token.after), all)
        }
    })
}

/// The server's own name of a list's type.
fn go_type(kind: &Kind) -> String {
    let package = match &*kind.group {
        "" => "core",
        group => group.split('.').next().unwrap_or_default(),
    };
    if kind.is_custom {
        "*unstructured.UnstructuredList".to_owned()
    } else {
        format!("*{package}.{}", kind.list_kind)
    }
}

/// Items of lists of built-in kinds don't say what they are.
fn item(view: &View, value: Value) -> Value {
    let mut value = view.present(value);
    if !view.kind.is_custom
        && !view.metadata_only
        && let Some(map) = value.as_object_mut()
    {
        map.remove("kind");
        map.remove("apiVersion");
    }
    value
}

fn version_number(ask: &Ask) -> Result<Option<u64>, Refusal> {
    match ask.query("resourceVersion") {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            Refusal::bad_request(format!(
                "Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        }),
    }
}

fn too_large(asked: u64, state: &State) -> Refusal {
    let message = format!("Too large resource version: {asked}, current: {}", state.store.version());
    let details = json!({"retryAfterSeconds": 1,
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]});
    Refusal { details: Some(details), ..Refusal::new(504, "Timeout", message) }
}

pub fn watch(cluster: &Arc<Inner>, state: &mut State, ask: &Ask, target: &Target) -> Answer {
    let view = View::new(ask, target, cluster.now_millis().div_euclid(1_000))?;
    let initial = ask.is_set("sendInitialEvents");
    let from = match version_number(ask)? {
        None | Some(0) => From::Now,
        Some(version) if version > state.store.version() && !initial => {
            return Err(too_large(version, state));
        }
        Some(version) => From::Version(version),
    };
    let timeout = ask.query("timeoutSeconds").parse().ok().filter(|seconds: &u64| *seconds > 0);
    let terms = Terms {
        from,
        bookmarks: ask.is_set("allowWatchBookmarks"),
        initial,
        timeout: timeout.map_or(WATCH_FOR, Duration::from_secs),
    };
    let body = Body::watch(Watch::open(cluster, state, view, terms));
    let mut response = Response::new(body);
    response.headers_mut().insert(http::header::CONTENT_TYPE, super::answer::JSON);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continue_tokens_come_back() {
        let token = Continue { version: 7, after: Key::new("a", "b.c") };
        assert_eq!(Continue::parse(&token.text()), Some(token));
        assert_eq!(Continue::parse("x"), None);
    }
}

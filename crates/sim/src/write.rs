//! Create, replace, patch and apply.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{Answer, Target, json_answer};
use super::ask::{Ask, Place};
use super::cluster::{Inner, State};
use super::fields::FieldSet;
use super::managed::{self, Managers, Writer};
use super::object::Key;
use super::read::show;
use super::refuse::{Invalid, Refusal};
use super::rules::reset_fields;
use super::{crd, defaults, patch, rules, scale, strategic};

/// Largest object that is taken.
const MAX_OBJECT: usize = 3 << 20;

/// Largest request that etcd takes (`--max-request-bytes`), and largest that the API server sends to it at all.
const MAX_STORED: (usize, usize) = (3 << 19, 2 << 20);
/// What a request to etcd has besides the object.
const STORED_BESIDE: usize = 512;

/// Counts what is written.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Refuses what etcd would not store. Built-in objects are stored in another form, whose length is nearly that of the
/// texts; the simulation counts JSON.
fn must_fit(value: &Value) -> Result<(), Refusal> {
    let mut counted = Count(STORED_BESIDE);
    // Counting does not fail.
    let _ = serde_json::to_writer(&mut counted, value);
    let size = counted.0;
    if size > MAX_STORED.1 {
        let max = MAX_STORED.1;
        return Err(Refusal::internal(format!(
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max ({size} vs. {max})"
        )));
    }
    if size > MAX_STORED.0 {
        return Err(Refusal::internal("etcdserver: request is too large"));
    }
    Ok(())
}

/// Who writes, and whether it is kept.
#[derive(Debug, Clone)]
pub struct Intent {
    pub manager: String,
    pub dry_run: bool,
    /// Unknown fields are errors.
    pub strict: bool,
}

impl Intent {
    fn of(ask: &Ask) -> Self {
        Self {
            manager: ask.manager(),
            dry_run: ask.is_dry_run(),
            strict: ask.query("fieldValidation") == "Strict",
        }
    }

    /// A controller's.
    pub fn by(manager: &str) -> Self {
        Self { manager: manager.to_owned(), dry_run: false, strict: false }
    }
}

/// The body as an object, JSON or YAML.
fn body(ask: &Ask) -> Result<Value, Refusal> {
    if ask.body.len() > MAX_OBJECT {
        let message = format!("Request entity too large: limit is {MAX_OBJECT}");
        return Err(Refusal::new(413, "RequestEntityTooLarge", message));
    }
    if ask.content_type.contains("protobuf") {
        return Err(Refusal::media_type(
            "application/json, application/yaml; a simulated cluster reads no protobuf: use 'kubectl create -f'",
        ));
    }
    let value = match serde_json::from_slice(&ask.body) {
        Ok(value) => value,
        Err(_) if ask.content_type.contains("yaml") => serde_norway::from_slice(&ask.body)
            .map_err(|error| Refusal::bad_request(format!("error decoding YAML: {error}")))?,
        Err(error) => return Err(Refusal::bad_request(format!("error decoding JSON: {error}"))),
    };
    match value {
        Value::Object(_) => Ok(value),
        other => {
            Err(Refusal::bad_request(format!("json: cannot unmarshal {other} into Go value of type object")))
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Makes the object one of the target's kind, version, namespace and name.
fn place(target: &Target, value: &mut Value, name: Option<&str>) -> Result<(), Refusal> {
    let api_version = target.kind.api_version(target.version());
    let (is_kind, is_version) = (text(value, "/kind"), text(value, "/apiVersion"));
    let wrong = |what: &str, is: &str, wanted: &str| {
        let message = format!("the {what} in the data ({is}) does not match the expected {what} ({wanted})");
        Err(Refusal::bad_request(message))
    };
    if !is_kind.is_empty() && is_kind != &*target.kind.kind {
        return wrong("kind", is_kind, &target.kind.kind);
    }
    if !is_version.is_empty() && is_version != api_version {
        return wrong("API version", is_version, &api_version);
    }
    let namespace = text(value, "/metadata/namespace");
    if target.kind.namespaced && !namespace.is_empty() && namespace != target.namespace() {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(message));
    }
    // On an object that is in none, the server takes it away without a word.
    if !target.kind.namespaced
        && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.remove("namespace");
    }
    let named = text(value, "/metadata/name");
    if let Some(name) = name.filter(|name| !named.is_empty() && named != *name) {
        let message = format!("the name of the object ({named}) does not match the name on the URL ({name})");
        return Err(Refusal::bad_request(message));
    }
    value["kind"] = json!(target.kind.kind);
    value["apiVersion"] = json!(api_version);
    if !value["metadata"].is_object() {
        value["metadata"] = json!({});
    }
    if target.kind.namespaced {
        value["metadata"]["namespace"] = json!(target.namespace());
    }
    if let Some(name) = name {
        value["metadata"]["name"] = json!(name);
    }
    Ok(())
}

/// An object as the server keeps it: read into its types, with defaults.
fn read(target: &Target, value: Value, strict: bool) -> Result<Value, Refusal> {
    let (kind, version) = (&target.kind, target.version());
    if strict {
        let errors = version.typed().validate(&value);
        let unknown = errors.iter().filter_map(|error| error.strip_suffix(": field not declared in schema"));
        let unknown: Vec<String> =
            unknown.map(|path| format!("unknown field {:?}", path.trim_start_matches('.'))).collect();
        if !unknown.is_empty() {
            let message = format!(
                "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
                kind.kind,
                version.name,
                kind.kind,
                unknown.join(", ")
            );
            return Err(Refusal::bad_request(message));
        }
    }
    if kind.is_custom {
        return crd::read(kind, version, value);
    }
    decode(target, value).map_err(|error| {
        let what =
            format!("{} in version {:?} cannot be handled as a {}", kind.kind, version.name, kind.kind);
        Refusal::bad_request(format!("{what}: {error}"))
    })
}

/// A built-in object read into the server's types, with defaults.
fn decode(target: &Target, value: Value) -> Result<Value, String> {
    let version = target.version();
    let mut value = super::codec::normalise(&version.schema, version.root, value)?;
    defaults::apply(&target.kind, &mut value);
    Ok(value)
}

/// An object of which nothing is known yet, as the server's own types begin.
fn empty(target: &Target) -> Value {
    let (kind, version) = (&target.kind, target.version());
    let bare = json!({"apiVersion": kind.api_version(version), "kind": kind.kind});
    if kind.is_custom {
        return bare;
    }
    super::codec::normalise(&version.schema, version.root, bare).unwrap_or_default()
}

fn writer<'a>(
    target: &'a Target,
    version: &'a str,
    reset: &'a FieldSet,
    now: &'a str,
    manager: &'a str,
) -> Writer<'a> {
    Writer {
        typed: target.version().typed(),
        name: manager,
        version,
        subresource: target.subresource,
        reset,
        now,
    }
}

fn must_have_namespace(state: &State, target: &Target, name: &str) -> Result<(), Refusal> {
    let Some(namespace) = &target.namespace else { return Ok(()) };
    let Some(found) = state.namespace(namespace) else {
        let Some(kind) = super::kind::built_in("", "Namespace") else { return Ok(()) };
        return Err(Refusal::not_found(kind, namespace));
    };
    let terminating = found.pointer("/metadata/deletionTimestamp").is_some();
    if terminating { Err(Refusal::terminating(&target.kind, name, namespace)) } else { Ok(()) }
}

pub fn create(cluster: &Arc<Inner>, state: &mut State, ask: &Ask, target: &Target) -> Answer {
    let mut value = body(ask)?;
    // A built-in kind is known by its place.
    if target.kind.is_custom && text(&value, "/kind").is_empty() {
        return Err(Refusal::bad_request(format!("Object 'Kind' is missing in '{value}'")));
    }
    place(target, &mut value, None)?;
    let intent = Intent::of(ask);
    let made = make(cluster, state, target, value, &intent)?;
    Ok(json_answer(201, &show(ask, &target.kind, target.version(), made)))
}

/// Makes a new object for an update writer.
pub fn make(
    cluster: &Inner,
    state: &mut State,
    target: &Target,
    mut value: Value,
    intent: &Intent,
) -> Result<Value, Refusal> {
    let kind = &target.kind;
    let prefix = text(&value, "/metadata/generateName").to_owned();
    if text(&value, "/metadata/name").is_empty() && !prefix.is_empty() {
        value["metadata"]["name"] = json!(format!("{prefix}{}", state.suffix()));
    }
    let name = text(&value, "/metadata/name").to_owned();
    if !text(&value, "/metadata/resourceVersion").is_empty() {
        return Err(Refusal::bad_request("resourceVersion should not be set on objects to be created"));
    }
    managed::take(&mut value);
    let mut value = read(target, value, intent.strict)?;
    must_have_namespace(state, target, &name)?;
    let (api_version, now) = (kind.api_version(target.version()), cluster.now_text());
    let reset = reset_fields(kind, target.version(), "");
    let mut managers = Managers::default();
    let by = writer(target, &api_version, &reset, &now, &intent.manager);
    managers.update(&by, &empty(target), &value);
    value["metadata"]["managedFields"] = managers.to_value().unwrap_or_default();
    finish_create(cluster, state, target, value, intent)
}

/// What the server adds to an object that is new.
fn finish_create(
    cluster: &Inner,
    state: &mut State,
    target: &Target,
    mut value: Value,
    intent: &Intent,
) -> Result<Value, Refusal> {
    let (kind, now) = (&target.kind, cluster.now_text());
    let uid = state.new_uid();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        if metadata.get("managedFields").is_some_and(Value::is_null) {
            metadata.remove("managedFields");
        }
        for name in
            ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation", "resourceVersion"]
        {
            metadata.remove(name);
        }
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("creationTimestamp".into(), json!(now));
    }
    if rules::has_generation(kind) {
        value["metadata"]["generation"] = json!(1);
    }
    rules::prepare_create(kind, target.version(), &mut value, || state.address());
    let wrong = rules::check_create(kind, &value);
    if !wrong.is_empty() {
        return Err(Refusal::invalid(kind, text(&value, "/metadata/name"), &wrong));
    }
    let name = text(&value, "/metadata/name");
    if let Some(there) = state.store.get(&kind.resource, &Key::new(target.namespace(), name)) {
        let deleting = !text(&there.value(), "/metadata/deletionTimestamp").is_empty();
        return Err(Refusal::already_exists(kind, name, deleting));
    }
    if intent.dry_run {
        return Ok(value);
    }
    must_fit(&value)?;
    Ok(cluster.put(state, kind, value))
}

fn must_be_named(value: &Value, name: &str) -> Result<(), Refusal> {
    if text(value, "/metadata/name").is_empty() {
        let message =
            format!("the name of the object ({name} based on URL) was undeterminable: name must be provided");
        return Err(Refusal::bad_request(message));
    }
    Ok(())
}

/// Writes what a scale asks for; answers with the scale that there is then.
fn rescale(
    cluster: &Inner,
    state: &mut State,
    ask: &Ask,
    target: &Target,
    name: &str,
    change: impl FnOnce(&Value) -> Result<Value, Refusal>,
) -> Answer {
    let Some(paths) = target.version().scale.clone() else { return Err(Refusal::no_method(&target.kind)) };
    let live = live(state, target, name)?;
    let wanted = change(&scale::of(&paths, &live))?;
    let replicas = wanted.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
    if replicas < 0 {
        let wrong = Invalid::value("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(Refusal::invalid(&target.kind, name, &[wrong]));
    }
    let value = scale::apply(&paths, &live, &wanted);
    let done = update(cluster, state, target, live, value, &Intent::of(ask))?;
    Ok(json_answer(200, &scale::of(&paths, &done)))
}

pub fn replace(cluster: &Arc<Inner>, state: &mut State, ask: &Ask, target: &Target, name: &str) -> Answer {
    if target.subresource == "scale" {
        return rescale(cluster, state, ask, target, name, |_| body(ask));
    }
    let mut value = body(ask)?;
    must_be_named(&value, name)?;
    place(target, &mut value, Some(name))?;
    let has_version = !text(&value, "/metadata/resourceVersion").is_empty();
    let key = Key::new(target.namespace(), name);
    let is_new = state.store.get(&target.kind.resource, &key).is_none();
    if is_new && target.subresource.is_empty() && rules::is_made_by_update(&target.kind) {
        if let Some(metadata) = value["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        let made = make(cluster, state, target, value, &Intent::of(ask))?;
        return Ok(json_answer(201, &show(ask, &target.kind, target.version(), made)));
    }
    let value = read_update(target, value, ask)?;
    let live = live(state, target, name)?;
    let uid = text(&value, "/metadata/uid");
    if !uid.is_empty() && uid != text(&live, "/metadata/uid") {
        let is = text(&live, "/metadata/uid");
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {is}");
        return Err(Refusal::conflict(&target.kind, name, &why));
    }
    if !has_version && rules::must_name_version(&target.kind) {
        let wrong = Invalid::value("metadata.resourceVersion", &json!(0), "must be specified for an update");
        return Err(Refusal::invalid_resource(&target.kind, name, &wrong));
    }
    let done = update(cluster, state, target, live, value, &Intent::of(ask))?;
    Ok(json_answer(200, &show(ask, &target.kind, target.version(), done)))
}

/// Reads what an update brings; its managedFields are kept as they are.
fn read_update(target: &Target, mut value: Value, ask: &Ask) -> Result<Value, Refusal> {
    let sent = managed::take(&mut value);
    let mut value = read(target, value, ask.query("fieldValidation") == "Strict")?;
    if let Some(sent) = sent {
        value["metadata"]["managedFields"] = sent;
    }
    Ok(value)
}

fn live(state: &State, target: &Target, name: &str) -> Result<Value, Refusal> {
    let key = Key::new(target.namespace(), name);
    let found = state.store.get(&target.kind.resource, &key);
    let mut value = found.ok_or_else(|| Refusal::not_found(&target.kind, name))?.value();
    value["apiVersion"] = json!(target.kind.api_version(target.version()));
    Ok(value)
}

pub fn patch(cluster: &Arc<Inner>, state: &mut State, ask: &Ask, target: &Target, name: &str) -> Answer {
    let kind = ask.content_type.split(';').next().unwrap_or_default().trim();
    let intent = Intent::of(ask);
    let answer = |value| Ok(json_answer(200, &show(ask, &target.kind, target.version(), value)));
    if target.subresource == "scale" {
        return rescale(cluster, state, ask, target, name, |scale| {
            let mut scale = scale.clone();
            match kind {
                "application/json-patch+json" => patch::json_patch(&scale, &ask.body),
                "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                    patch::merge(&mut scale, &body(ask)?);
                    Ok(scale)
                }
                _ => Err(Refusal::media_type("application/json-patch+json, application/merge-patch+json")),
            }
        });
    }
    match kind {
        "application/apply-patch+yaml" => {
            let (code, value) = apply(cluster, state, ask, target, name)?;
            Ok(json_answer(code, &show(ask, &target.kind, target.version(), value)))
        }
        "application/merge-patch+json" => {
            let live = live(state, target, name)?;
            let mut value = live.clone();
            patch::merge(&mut value, &body(ask)?);
            answer(patched(cluster, state, ask, target, name, live, value, &intent)?)
        }
        "application/strategic-merge-patch+json" if !target.kind.is_custom => {
            let live = live(state, target, name)?;
            let mut value = live.clone();
            let version = target.version();
            strategic::merge(&version.schema, version.root, &mut value, &body(ask)?);
            answer(patched(cluster, state, ask, target, name, live, value, &intent)?)
        }
        "application/json-patch+json" => {
            let live = live(state, target, name)?;
            let value = patch::json_patch(&live, &ask.body)?;
            answer(patched(cluster, state, ask, target, name, live, value, &intent)?)
        }
        _ => Err(Refusal::media_type(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
    }
}

#[allow(clippy::too_many_arguments, reason = "one step of `patch`, which has them all")]
fn patched(
    cluster: &Inner,
    state: &mut State,
    ask: &Ask,
    target: &Target,
    name: &str,
    live: Value,
    mut value: Value,
    intent: &Intent,
) -> Result<Value, Refusal> {
    for (field, is) in [("uid", "/metadata/uid"), ("name", "/metadata/name")] {
        let (sent, is) = (text(&value, is).to_owned(), text(&live, is));
        if !sent.is_empty() && sent != is {
            let wrong = Invalid::immutable(format!("metadata.{field}"), &json!(sent));
            return Err(Refusal::invalid(&target.kind, name, &[wrong]));
        }
    }
    place(target, &mut value, Some(name))?;
    let value = read_update(target, value, ask)?;
    update(cluster, state, target, live, value, intent)
}

/// Whether a list of managers says "nobody".
fn is_reset(sent: &Value) -> bool {
    match sent.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([one]) => one.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    }
}

/// Replaces `live` by `value` for an update writer.
pub fn update(
    cluster: &Inner,
    state: &mut State,
    target: &Target,
    mut live: Value,
    mut value: Value,
    intent: &Intent,
) -> Result<Value, Refusal> {
    let kind = &target.kind;
    let name = text(&live, "/metadata/name").to_owned();
    let sent_version = text(&value, "/metadata/resourceVersion");
    if !sent_version.is_empty() && sent_version != text(&live, "/metadata/resourceVersion") {
        return Err(Refusal::modified(kind, &name));
    }
    let before = live.clone();
    let had = Managers::read(&live).unwrap_or_default();
    managed::take(&mut live);
    let sent = managed::take(&mut value);
    let mut managers = match &sent {
        Some(sent) if target.subresource.is_empty() && is_reset(sent) => Managers::default(),
        Some(sent) if target.subresource.is_empty() => {
            let read = Managers::read(&json!({"metadata": {"managedFields": sent}}));
            read.filter(|read| !read.is_empty()).unwrap_or_else(|| had.clone())
        }
        _ => had.clone(),
    };
    rules::keep_system_fields(&live, &mut value);
    rules::reset(kind, target.version(), target.subresource, &live, &mut value);
    let (api_version, now) = (kind.api_version(target.version()), cluster.now_text());
    if !managers.is_empty() {
        let reset = reset_fields(kind, target.version(), target.subresource);
        managers.update(&writer(target, &api_version, &reset, &now, &intent.manager), &live, &value);
    }
    finish_update(cluster, state, target, &before, (live, value), (had, managers), intent)
}

/// What the server does with every object that changes.
fn finish_update(
    cluster: &Inner,
    state: &mut State,
    target: &Target,
    before: &Value,
    (live, mut value): (Value, Value),
    (had, managers): (Managers, Managers),
    intent: &Intent,
) -> Result<Value, Refusal> {
    let kind = &target.kind;
    rules::bump_generation(kind, target.version(), &live, &mut value);
    let wrong = rules::check_update(kind, target.subresource, &live, &value);
    if !wrong.is_empty() {
        return Err(Refusal::invalid(kind, text(&live, "/metadata/name"), &wrong));
    }
    if value == live && managers.is_like(&had) {
        return Ok(before.clone());
    }
    if let Some(list) = managers.to_value() {
        value["metadata"]["managedFields"] = list;
    }
    if intent.dry_run {
        return Ok(value);
    }
    let key = Key::new(target.namespace(), text(&value, "/metadata/name"));
    let is_over = !text(&value, "/metadata/deletionTimestamp").is_empty() && rules::is_free(kind, &value);
    if is_over {
        // The last finalizer has gone, and with it the object.
        cluster.remove(state, kind, &key);
        return Ok(value);
    }
    must_fit(&value)?;
    Ok(cluster.put(state, kind, value))
}

/// What every applied configuration must have, and must not have.
fn check_config(config: &Value) -> Result<(), Refusal> {
    if text(config, "/apiVersion").is_empty() || text(config, "/kind").is_empty() {
        let message = format!("invalid object type: {}, Kind={}", slashed(config), text(config, "/kind"));
        return Err(Refusal::bad_request(message));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|list| !list.is_null()) {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// A server-side apply of a controller's, by force. A refusal would come again and again.
pub fn apply_by(
    cluster: &Inner,
    state: &mut State,
    kind: &Arc<super::kind::Kind>,
    name: &str,
    config: &Value,
    intent: &Intent,
) {
    let query = [("fieldManager", intent.manager.as_str()), ("force", "true")];
    let ask = Ask {
        method: http::Method::PATCH,
        place: Place::Unknown,
        query: query.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        accept: String::new(),
        content_type: "application/apply-patch+yaml".to_owned(),
        user_agent: String::new(),
        body: config.to_string().into(),
    };
    let _ = apply(cluster, state, &ask, &Target::of(kind, "", name), name);
}

/// Server-side apply. Also returns the code of the answer.
fn apply(
    cluster: &Inner,
    state: &mut State,
    ask: &Ask,
    target: &Target,
    name: &str,
) -> Result<(u16, Value), Refusal> {
    if ask.query("fieldManager").is_empty() {
        let wrong = Invalid::required("fieldManager", "is required for apply patch");
        let message = format!("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: {}", wrong.message);
        let details = json!({"group": "meta.k8s.io", "kind": "PatchOptions",
            "causes": [{"reason": wrong.reason, "message": wrong.message, "field": wrong.field}]});
        return Err(Refusal { details: Some(details), ..Refusal::new(422, "Invalid", message) });
    }
    let (kind, version, intent) = (&target.kind, target.version(), Intent::of(ask));
    let mut config = body(ask)?;
    check_config(&config)?;
    must_be_named(&config, name)?;
    let sent_namespace = text(&config, "/metadata/namespace").to_owned();
    place(target, &mut config, Some(name))?;
    let errors = version.typed().validate(&config);
    if !errors.is_empty() {
        let what = format!("{sent_namespace}/{name}; {}, Kind={}", slashed(&config), kind.kind);
        let message = format!("failed to create typed patch object ({what}): {}", errors.join("\n"));
        return Err(Refusal::internal(message));
    }
    let api_version = kind.api_version(version);
    let key = Key::new(target.namespace(), name);
    let found = state.store.get(&kind.resource, &key).cloned();
    if found.is_none() {
        if !text(&config, "/metadata/resourceVersion").is_empty()
            || !text(&config, "/metadata/uid").is_empty()
        {
            return Err(Refusal::modified(kind, name));
        }
        if !target.subresource.is_empty() {
            return Err(Refusal::not_found(kind, name));
        }
    }
    let before = match &found {
        Some(found) => {
            let mut value = found.value();
            value["apiVersion"] = json!(api_version);
            value
        }
        None => json!({"apiVersion": api_version, "kind": kind.kind, "metadata": {}}),
    };
    let sent_version = text(&config, "/metadata/resourceVersion");
    if !sent_version.is_empty() && sent_version != text(&before, "/metadata/resourceVersion") {
        return Err(Refusal::modified(kind, name));
    }
    let had = Managers::read(&before).unwrap_or_default();
    let mut managers = had.clone();
    let mut live = before.clone();
    managed::take(&mut live);
    let now = cluster.now_text();
    let reset = reset_fields(kind, version, target.subresource);
    let by = writer(target, &api_version, &reset, &now, &intent.manager);
    let applied = managers
        .apply(&by, (&empty(target), &live), &config, ask.is_set("force"))
        .map_err(|conflicts| Refusal::apply_conflict(&conflicts))?;
    let mut value = match applied {
        Some(mut value) if kind.is_custom => {
            patch::drop_nulls(&mut value);
            read(target, value, false)?
        }
        Some(value) => decode(target, value).map_err(|error| {
            let gvk = format!("{}, Kind={}", slashed(&config), kind.kind);
            Refusal::internal(format!(
                "failed to convert new object ({sent_namespace}/{name}; {gvk}) to proper version: unable to convert unstructured object to {gvk}: error decoding from json: {error}"
            ))
        })?,
        None => live.clone(),
    };
    if found.is_none() {
        must_have_namespace(state, target, name)?;
        value["metadata"]["managedFields"] = managers.to_value().unwrap_or_default();
        return Ok((201, finish_create(cluster, state, target, value, &intent)?));
    }
    rules::keep_system_fields(&live, &mut value);
    rules::reset(kind, version, target.subresource, &live, &mut value);
    let done = finish_update(cluster, state, target, &before, (live, value), (had, managers), &intent)?;
    Ok((200, done))
}

/// `/v1` or `apps/v1`, as the server prints a group and version.
fn slashed(object: &Value) -> String {
    let api_version = text(object, "/apiVersion");
    if api_version.contains('/') { api_version.to_owned() } else { format!("/{api_version}") }
}

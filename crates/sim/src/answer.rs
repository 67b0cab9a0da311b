//! From a request to its answer.

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::ask::{Ask, Path, Place};
use super::body::Body;
use super::cluster::{Inner, State};
use super::kind::{Kind, Version};
use super::refuse::Refusal;
use super::{delete, discover, openapi, read, review, write};

pub type Answer = Result<Response<Body>, Refusal>;

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The objects or the object that a request is about.
#[derive(Debug, Clone)]
pub struct Target {
    pub kind: Arc<Kind>,
    version: usize,
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// `status`, `scale`, or empty.
    pub subresource: &'static str,
}

impl Target {
    pub fn version(&self) -> &Version {
        &self.kind.versions[self.version]
    }

    /// The whole object of a kind in its first version: what controllers write to.
    pub fn of(kind: &Arc<Kind>, namespace: &str, name: &str) -> Self {
        Self {
            kind: Arc::clone(kind),
            version: 0,
            namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
            name: Some(name.to_owned()),
            subresource: "",
        }
    }

    pub fn status(self) -> Self {
        Self { subresource: "status", ..self }
    }

    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

pub fn json_answer(code: u16, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::whole(value.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

fn text_answer(code: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Answers a request.
pub fn answer(cluster: &Arc<Inner>, ask: &Ask) -> Response<Body> {
    let mut state = cluster.lock();
    let answer = route(cluster, &mut state, ask);
    drop(state);
    let mut response = answer.unwrap_or_else(|refusal| json_answer(refusal.code, &refusal.to_value()));
    let date = cluster.common.timers.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

fn route(cluster: &Arc<Inner>, state: &mut State, ask: &Ask) -> Answer {
    let nothing = || Ok(text_answer(StatusCode::NOT_FOUND, "404 page not found\n"));
    let found = match &ask.place {
        Place::Core => Some(discover::core(state, ask)),
        Place::Groups => Some(discover::groups(state, ask)),
        Place::Group(group) => discover::group(state, group),
        Place::Version(group, version) => discover::version(state, group, version),
        Place::About => Some(about(&cluster.settings().version)),
        Place::Health => return Ok(text_answer(StatusCode::OK, "ok")),
        Place::Unknown => None,
        Place::OpenApi(None) => Some(openapi::index(state)),
        Place::OpenApi(Some((group, version))) => {
            let about = cluster.settings().version.trim_start_matches('v');
            openapi::document(state, group, version, about)
        }
        Place::Resource(path) => {
            if let Some(answer) = review::review(ask, path) {
                return answer.map(|review| json_answer(201, &review));
            }
            if let Some(refused) = containers(state, path) {
                return Err(refused);
            }
            let Some(target) = target(state, path) else { return nothing() };
            return objects(cluster, state, ask, &target);
        }
    };
    let Some(value) = found else { return nothing() };
    let mut response = json_answer(200, &value);
    if let Ok(kind) = HeaderValue::from_str(&discover::content_type(ask)) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// What only a kubelet could answer: simulated pods run nothing.
fn containers(state: &State, path: &Path) -> Option<Refusal> {
    let what = path.subresource.as_deref()?;
    let of_pod = path.group.is_empty() && path.plural == "pods";
    if !of_pod || !["log", "exec", "attach", "portforward", "proxy", "ephemeralcontainers"].contains(&what) {
        return None;
    }
    let kind = state.kind("", "pods")?;
    let (namespace, name) = (path.namespace.as_deref()?, path.name.as_deref()?);
    if state.store.get(&kind.resource, &super::object::Key::new(namespace, name)).is_none() {
        return Some(Refusal::not_found(&kind, name));
    }
    let message =
        format!("pods of a simulated cluster run no containers: there is nothing to answer '{what}' with");
    Some(Refusal::new(501, "NotImplemented", message))
}

fn about(version: &str) -> Value {
    let mut numbers = version.trim_start_matches('v').split('.');
    let mut number = || numbers.next().unwrap_or_default().to_owned();
    json!({"major": number(), "minor": number(), "gitVersion": version, "gitCommit": "simulated",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "none",
        "platform": "simulated"})
}

fn target(state: &State, path: &Path) -> Option<Target> {
    let kind = state.kind(&path.group, &path.plural)?;
    let version = kind.versions.iter().position(|v| *v.name == *path.version && v.served)?;
    let subresource = match path.subresource.as_deref() {
        None => "",
        Some("status") if kind.versions[version].status => "status",
        Some("scale") if kind.versions[version].scale.is_some() => "scale",
        // What ends a namespace.
        Some("finalize") if kind.is("", "Namespace") => "finalize",
        Some(_) => return None,
    };
    if path.namespace.is_some() && !kind.namespaced {
        return None;
    }
    let (namespace, name) = (path.namespace.clone(), path.name.clone());
    Some(Target { kind, version, namespace, name, subresource })
}

fn objects(cluster: &Arc<Inner>, state: &mut State, ask: &Ask, target: &Target) -> Answer {
    let is_watch = ask.is_set("watch");
    let has_place = target.namespace.is_some() || !target.kind.namespaced;
    let now = cluster.now_millis().div_euclid(1_000);
    match (&ask.method, &target.name) {
        (&Method::GET, Some(name)) if !is_watch && has_place => read::get(state, ask, target, name, now),
        (&Method::GET, _) if is_watch && target.subresource.is_empty() => {
            read::watch(cluster, state, ask, target)
        }
        (&Method::GET, None) => read::list(state, ask, target, now),
        (&Method::POST, None) if has_place => write::create(cluster, state, ask, target),
        (&Method::PUT, Some(name)) if has_place => write::replace(cluster, state, ask, target, name),
        (&Method::PATCH, Some(name)) if has_place => write::patch(cluster, state, ask, target, name),
        (&Method::DELETE, Some(name)) if has_place && target.subresource.is_empty() => {
            delete::delete(cluster, state, ask, target, name)
        }
        (&Method::DELETE, None) if has_place => delete::delete_all(cluster, state, ask, target),
        _ => Err(Refusal::no_method(&target.kind)),
    }
}

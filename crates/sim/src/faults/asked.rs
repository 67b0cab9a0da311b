//! What a request asks for, as far as faults tell requests apart.

use bytes::Bytes;
use http::{Method, Request, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What Kubernetes calls what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    /// Server-side.
    Apply,
    Delete,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub verb: Verb,
    pub path: String,
    /// The kind's plural; empty for what is no resource.
    pub plural: String,
    pub name: String,
    /// The path of the object that it writes.
    pub object: Option<String>,
    pub continues: bool,
    pub dry_run: bool,
}

impl Asked {
    pub fn of(request: &Request<Bytes>) -> Self {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default();
        let says = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let place = Place::of(&path);
        let apply = || {
            let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            kind.is_some_and(|kind| kind.contains("apply-patch"))
        };
        let verb = match *request.method() {
            Method::GET if says("watch").is_some_and(|value| value != "0" && value != "false") => Verb::Watch,
            Method::GET if place.is_collection => Verb::List,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH if apply() => Verb::Apply,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ => Verb::Get,
        };
        let mut name = place.name.to_owned();
        let mut object = (!name.is_empty()).then(|| path.clone());
        if verb == Verb::Create {
            name = name_in(request.body());
            object = (!name.is_empty()).then(|| format!("{path}/{name}"));
        }
        Self {
            verb,
            plural: place.plural.to_owned(),
            name,
            object: object.filter(|_| !place.is_subresource),
            continues: says("continue").is_some_and(|token| !token.is_empty()),
            dry_run: says("dryRun").is_some(),
            path,
        }
    }

    pub fn is_write(&self) -> bool {
        !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }
}

fn name_in(body: &Bytes) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// The parts of a path.
#[derive(Default)]
struct Place<'a> {
    plural: &'a str,
    name: &'a str,
    is_collection: bool,
    is_subresource: bool,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Self {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let rest = match words.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => return Self::default(),
        };
        // A namespace's own path looks like the beginning of one inside it.
        let rest = match rest {
            ["namespaces", _, inner @ ..]
                if !inner.is_empty() && !matches!(inner, ["status" | "finalize"]) =>
            {
                inner
            }
            rest => rest,
        };
        match rest {
            [plural] => Self { plural, is_collection: true, ..Self::default() },
            [plural, name] => Self { plural, name, ..Self::default() },
            [plural, name, ..] => Self { plural, name, is_subresource: true, ..Self::default() },
            [] => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_method_and_path() {
        let ask = |method: Method, uri: &str| {
            let body = Bytes::from_static(br#"{"metadata":{"name":"new"}}"#);
            let asked = Asked::of(&Request::builder().method(method).uri(uri).body(body).unwrap());
            (asked.verb, asked.plural, asked.name, asked.object)
        };
        let s = str::to_owned;
        let maps = "/api/v1/namespaces/shop/configmaps";
        assert_eq!(ask(Method::GET, maps), (Verb::List, s("configmaps"), s(""), None));
        assert_eq!(ask(Method::GET, &format!("{maps}?watch=1")).0, Verb::Watch);
        assert_eq!(
            ask(Method::GET, &format!("{maps}/a")),
            (Verb::Get, s("configmaps"), s("a"), Some(format!("{maps}/a")))
        );
        assert_eq!(
            ask(Method::POST, maps),
            (Verb::Create, s("configmaps"), s("new"), Some(format!("{maps}/new")))
        );
        let namespace = "/api/v1/namespaces/shop";
        assert_eq!(
            ask(Method::PATCH, namespace),
            (Verb::Patch, s("namespaces"), s("shop"), Some(s(namespace)))
        );
        let status = "/apis/apps/v1/namespaces/shop/deployments/web/status";
        assert_eq!(ask(Method::PATCH, status), (Verb::Patch, s("deployments"), s("web"), None));
        assert_eq!(ask(Method::GET, "/apis"), (Verb::Get, s(""), s(""), None));
    }
}

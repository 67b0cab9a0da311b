//! A request, taken apart.

use bytes::Bytes;
use http::{Method, Request, header};

/// What is asked, of which place.
#[derive(Debug)]
pub struct Ask {
    pub method: Method,
    pub place: Place,
    pub query: Vec<(String, String)>,
    pub accept: String,
    pub content_type: String,
    pub user_agent: String,
    pub body: Bytes,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/<group>`
    Group(String),
    /// `/api/v1` and `/apis/<group>/<version>`
    Version(String, String),
    /// `/version`
    About,
    /// `/healthz`, `/livez`, `/readyz`
    Health,
    /// `/openapi/v3`, and its documents: none, or group and version.
    OpenApi(Option<(String, String)>),
    Resource(Path),
    Unknown,
}

/// The place of objects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Path {
    pub group: String,
    pub version: String,
    pub namespace: Option<String>,
    pub plural: String,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

impl Ask {
    pub fn read(request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let header = |name: header::HeaderName| {
            parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let query = parts.uri.query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self {
            place: place(parts.uri.path()),
            query: pairs.collect(),
            accept: header(header::ACCEPT),
            content_type: header(header::CONTENT_TYPE),
            user_agent: header(header::USER_AGENT),
            method: parts.method,
            body,
        }
    }

    /// The value of a query parameter; empty if it is not there.
    pub fn query(&self, name: &str) -> &str {
        self.query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub fn is_set(&self, name: &str) -> bool {
        matches!(self.query(name), "true" | "1" | "True" | "TRUE" | "t" | "T")
    }

    pub fn is_dry_run(&self) -> bool {
        self.query("dryRun") == "All"
    }

    /// Who writes: as named, or the beginning of the user agent.
    pub fn manager(&self) -> String {
        match self.query("fieldManager") {
            "" => {
                let agent = self.user_agent.split('/').next().unwrap_or_default();
                let printable = |c: &char| !c.is_control();
                agent.chars().filter(printable).take(128).collect()
            }
            name => name.to_owned(),
        }
    }

    /// As what kind the answer is asked for, if not as what it is.
    pub fn wants_as(&self) -> Option<&str> {
        // The first alternative that is known wins.
        let first = self.accept.split(',').map(str::trim).find(|one| one.starts_with("application/json"))?;
        let kind = first.split(';').map(str::trim).find_map(|one| one.strip_prefix("as="))?;
        Some(kind).filter(|kind| kind.starts_with("PartialObjectMetadata"))
    }

    /// Whether the answer is asked for as a table.
    pub fn wants_table(&self) -> bool {
        let first = self.accept.split(',').map(str::trim).find(|one| one.starts_with("application/json"));
        first.is_some_and(|first| first.split(';').any(|one| one.trim() == "as=Table"))
    }

    /// Whether only metadata is asked for.
    pub fn wants_metadata(&self) -> bool {
        self.wants_as().is_some()
    }
}

fn place(path: &str) -> Place {
    let parts: Vec<String> =
        path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect();
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["api"] => Place::Core,
        ["apis"] => Place::Groups,
        ["version"] => Place::About,
        ["healthz" | "livez" | "readyz", ..] => Place::Health,
        ["openapi", "v3"] => Place::OpenApi(None),
        ["openapi", "v3", "api", version] => Place::OpenApi(Some((String::new(), (*version).to_owned()))),
        ["openapi", "v3", "apis", group, version] => {
            Place::OpenApi(Some(((*group).to_owned(), (*version).to_owned())))
        }
        ["api", version] => Place::Version(String::new(), (*version).to_owned()),
        ["apis", group] => Place::Group((*group).to_owned()),
        ["apis", group, version] => Place::Version((*group).to_owned(), (*version).to_owned()),
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        _ => Place::Unknown,
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Place {
    let own = |text: &&str| (*text).to_owned();
    let (namespace, rest) = match rest {
        // `/namespaces/x/status` is a part of the namespace, `/namespaces/x/pods` are pods in it.
        ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let [plural, rest @ ..] = rest else { return Place::Unknown };
    if rest.len() > 2 {
        return Place::Unknown;
    }
    Place::Resource(Path {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        plural: own(plural),
        name: rest.first().map(own),
        subresource: rest.get(1).map(own),
    })
}

/// Undoes percent-encoding; in queries a plus stands for a space.
fn decode(text: &str, plus: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = || std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok();
        match byte {
            b'%' => match hex().and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(value) => {
                    out.push(value);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            b'+' if plus => out.push(b' '),
            other => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(uri: &str) -> Ask {
        Ask::read(Request::get(uri).header("user-agent", "fairlead/1.0 (a)").body(Bytes::new()).unwrap())
    }

    #[test]
    fn paths_say_what_is_meant() {
        let path = |text: &str| match ask(text).place {
            Place::Resource(path) => (path.namespace, path.plural, path.name, path.subresource),
            other => panic!("{other:?}"),
        };
        let own = |text: &str| Some(text.to_owned());
        for (text, expected) in [
            ("/api/v1/namespaces", (None, "namespaces".into(), None, None)),
            ("/api/v1/namespaces/a", (None, "namespaces".into(), own("a"), None)),
            ("/api/v1/namespaces/a/status", (None, "namespaces".into(), own("a"), own("status"))),
            ("/api/v1/namespaces/a/pods", (own("a"), "pods".into(), None, None)),
            (
                "/apis/apps/v1/namespaces/a/deployments/w/status",
                (own("a"), "deployments".into(), own("w"), own("status")),
            ),
            ("/apis/apps/v1/deployments", (None, "deployments".into(), None, None)),
            ("/api/v1/namespaces/a%2Fb/pods/c%2Ed", (own("a/b"), "pods".into(), own("c.d"), None)),
        ] {
            assert_eq!(path(text), expected, "{text}");
        }
    }

    #[test]
    fn queries_are_read() {
        let ask = ask("/api/v1/pods?labelSelector=a%3Db%2Cc&force=true&fieldManager=x+y");
        assert_eq!(ask.query("labelSelector"), "a=b,c");
        assert!(ask.is_set("force") && !ask.is_set("watch"));
        assert_eq!(ask.manager(), "x y");
    }
}

//! Random sequences of requests, from a seed.

use fastrand::Rng;
use serde_json::{Value, json};

use super::kinds::{self, Kind};
use super::step::{Send, Step};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const MANAGERS: [&str; 3] = ["fairlead-default", "alice", "bob"];
const SELECTORS: [&str; 8] =
    ["app=a", "app!=a", "app in (a,b)", "app notin (b)", "app", "!app", "app=a,tier=x", "tier==x"];

/// The sequence of a seed: some kinds, some objects of them, many requests.
pub fn sequence(seed: u64) -> Vec<Step> {
    let mut maker = Maker { rng: Rng::with_seed(seed), steps: Vec::new(), kinds: Vec::new(), last: 0 };
    maker.begin();
    for _ in 0..40 {
        maker.step();
    }
    maker.end();
    maker.steps
}

struct Maker {
    rng: Rng,
    steps: Vec<Step>,
    kinds: Vec<Kind>,
    last: usize,
}

impl Maker {
    fn begin(&mut self) {
        if self.rng.u8(..3) == 0 {
            let (definition, widget) = kinds::custom();
            let name = definition["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
            self.push(Step::Send(Send::body(
                "PATCH",
                format!("{path}?fieldManager=alice"),
                APPLY,
                definition,
            )));
            let established =
                [("/status/conditions/1/type", "Established"), ("/status/conditions/1/status", "True")];
            let until = established.map(|(pointer, value)| (pointer.to_owned(), json!(value)));
            self.push(Step::Await { path, until: until.into() });
            let list = "/apis/{ns}.example.com/v1/namespaces/{ns}/widgets".to_owned();
            self.push(Step::Await { path: list, until: [("code".to_owned(), json!(200))].into() });
            self.kinds.push(widget);
        }
        while self.kinds.len() < 3 {
            let kind = kinds::KINDS[self.rng.usize(..kinds::KINDS.len())];
            if self.kinds.iter().all(|known| known.kind != kind.kind) {
                self.kinds.push(kind);
            }
        }
        for kind in self.kinds.clone() {
            let id = format!("list-{}", kind.plural);
            self.push(Step::Send(Send::get(all(&kind, "limit=500&labelSelector=seq%3D{ns}")).id(id.clone())));
            let version = format!("{{{{{id}:/metadata/resourceVersion}}}}");
            let narrow = if self.rng.bool() { "%2Capp%3Da" } else { "" };
            let query = format!(
                "watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=120&labelSelector=seq%3D{{ns}}{narrow}"
            );
            let accept = if self.rng.bool() { METADATA } else { "" }.to_owned();
            self.push(Step::Watch { id: format!("watch-{}", kind.plural), path: all(&kind, &query), accept });
        }
    }

    fn end(&mut self) {
        for kind in self.kinds.clone() {
            self.push(Step::Collect { id: format!("watch-{}", kind.plural) });
            self.push(Step::Send(Send::get(all(&kind, "labelSelector=seq%3D{ns}"))));
        }
    }

    fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.rng.usize(..from.len())]
    }

    fn step(&mut self) {
        let kind = self.kinds[self.rng.usize(..self.kinds.len())];
        let name = object_name(&kind, self.pick::<&str>(&["a", "b"]));
        let send = match self.rng.u8(..100) {
            0..45 => self.apply(&kind, &name),
            45..53 => self.create(&kind, &name),
            53..62 => self.merge(&kind, &name),
            62..67 => self.json_patch(&kind, &name),
            67..71 => self.replace(&kind, &name),
            71..82 => self.delete(&kind, &name),
            82..86 => self.status(&kind, &name),
            86..91 => Send::get(one(&kind, &name, "")),
            _ => self.list(&kind),
        };
        let pages = send.path.ends_with("limit=1");
        let mut send = self.accept(send);
        self.last += 1;
        send.id = format!("{}-{name}-{}", kind.plural, self.last % 4);
        let next = Send {
            path: format!("{}&continue={{{{{}:/metadata/continue}}}}", send.path, send.id),
            ..send.clone()
        };
        self.push(Step::Send(send));
        if pages {
            self.push(Step::Send(Send { id: String::new(), ..next }));
        }
    }

    fn accept(&mut self, send: Send) -> Send {
        let accept = match (send.method.as_str(), self.rng.u8(..3)) {
            ("PATCH" | "GET", 0) => METADATA,
            _ => "",
        };
        // Lists have an own form of it, and refuse this one.
        let is_list = send.path.contains("labelSelector");
        if is_list { send } else { Send { accept: accept.to_owned(), ..send } }
    }

    /// Something of an object: with its core mostly, and some parts.
    fn content(&mut self, kind: &Kind, name: &str, core: bool) -> Value {
        let mut object =
            json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}});
        if self.rng.u8(..8) > 0 {
            object["metadata"]["labels"] = json!({"seq": "{ns}"});
        }
        if core {
            merge(&mut object, kinds::parse(kind.core));
        }
        let (own, common) = (kinds::parts(kind), kinds::common());
        for _ in 0..self.rng.u8(..4) {
            let part =
                if self.rng.u8(..3) == 0 { self.pick(&common).clone() } else { self.pick(&own).clone() };
            merge(&mut object, part);
        }
        object
    }

    fn manager(&mut self) -> String {
        match self.rng.u8(..6) {
            0 => String::new(),
            n => format!("fieldManager={}", MANAGERS[usize::from(n) % 3]),
        }
    }

    fn dry(&mut self) -> &'static str {
        if self.rng.u8(..10) == 0 { "&dryRun=All" } else { "" }
    }

    fn apply(&mut self, kind: &Kind, name: &str) -> Send {
        let core = self.rng.u8(..5) > 0;
        let body = self.content(kind, name, core);
        let manager = *self.pick(&MANAGERS);
        let force = *self.pick(&["", "&force=true", "&force=false"]);
        let strict = *self.pick(&["", "&fieldValidation=Strict"]);
        let query = format!("fieldManager={manager}{force}{strict}{}", self.dry());
        Send::body("PATCH", one(kind, name, &query), APPLY, body)
    }

    fn create(&mut self, kind: &Kind, name: &str) -> Send {
        let body = self.content(kind, name, true);
        let query = format!("{}{}", self.manager(), self.dry());
        let path = if kind.namespaced { in_namespace(kind) } else { all(kind, "") };
        Send::post(with(path, &query), body)
    }

    fn merge(&mut self, kind: &Kind, name: &str) -> Send {
        let gone = [
            json!({"metadata": {"finalizers": null}}),
            json!({"metadata": {"labels": {"app": null}}}),
            json!({"metadata": {"annotations": null}}),
            json!({"spec": {"replicas": null}}),
            json!({"data": {"a": null}}),
        ];
        let mut body =
            if self.rng.bool() { self.pick(&gone).clone() } else { self.content(kind, name, false) };
        if self.rng.u8(..6) == 0 {
            body["metadata"]["resourceVersion"] = json!(self.seen(kind, name, "resourceVersion"));
        }
        let query = format!("{}{}", self.manager(), self.dry());
        Send::body("PATCH", one(kind, name, &query), MERGE, body)
    }

    fn json_patch(&mut self, kind: &Kind, name: &str) -> Send {
        let operations = [
            json!({"op": "add", "path": "/metadata/labels/app", "value": "c"}),
            json!({"op": "remove", "path": "/metadata/labels/app"}),
            json!({"op": "replace", "path": "/metadata/labels/tier", "value": "y"}),
            json!({"op": "test", "path": "/metadata/labels/app", "value": "a"}),
            json!({"op": "remove", "path": "/metadata/finalizers"}),
            json!({"op": "add", "path": "/metadata/annotations", "value": {"whole~0/thing": "1"}}),
        ];
        let count = self.rng.usize(1..3);
        let body: Vec<Value> = (0..count).map(|_| self.pick(&operations).clone()).collect();
        let query = self.manager();
        Send::body("PATCH", one(kind, name, &query), JSON_PATCH, json!(body))
    }

    /// A whole new object, with the version that was seen last, or none.
    fn replace(&mut self, kind: &Kind, name: &str) -> Send {
        let mut body = self.content(kind, name, true);
        if self.rng.u8(..4) > 0 {
            body["metadata"]["resourceVersion"] = json!(self.seen(kind, name, "resourceVersion"));
        }
        let query = self.manager();
        Send::body("PUT", one(kind, name, &query), "application/json", body)
    }

    fn delete(&mut self, kind: &Kind, name: &str) -> Send {
        let mut options = json!({});
        match self.rng.u8(..4) {
            0 => options["preconditions"] = json!({"uid": self.seen(kind, name, "uid")}),
            1 => {
                options["preconditions"] =
                    json!({"resourceVersion": self.seen(kind, name, "resourceVersion")})
            }
            _ => {}
        }
        match self.rng.u8(..8) {
            0 => options["propagationPolicy"] = json!("Foreground"),
            1 => options["propagationPolicy"] = json!("Orphan"),
            2 | 3 => options["propagationPolicy"] = json!("Background"),
            _ => {}
        }
        let query = if self.rng.u8(..10) == 0 { "dryRun=All" } else { "" };
        Send::body("DELETE", one(kind, name, query), "application/json", options)
    }

    fn status(&mut self, kind: &Kind, name: &str) -> Send {
        let Some(status) = kind.status else { return Send::get(one(kind, name, "")) };
        let query = self.manager();
        let path = with(format!("{}/status", one(kind, name, "")), &query);
        let mut body = kinds::parse(status);
        merge(&mut body, json!({"metadata": {"labels": {"app": "from-status"}}, "spec": {"replicas": 9}}));
        Send::body("PATCH", path, MERGE, body)
    }

    fn list(&mut self, kind: &Kind) -> Send {
        let selector = format!("seq={{ns}},{}", self.pick(&SELECTORS));
        let selector = selector.replace(' ', "%20").replace('=', "%3D").replace(',', "%2C");
        // Whether there is another page depends on what else the server has: pages only of the own namespace.
        let limit = *self.pick(&["", "&limit=1", "&limit=500"]);
        let path = if self.rng.bool() && kind.namespaced {
            with(in_namespace(kind), &format!("labelSelector={selector}{limit}"))
        } else {
            all(kind, &format!("labelSelector={selector}&limit=500"))
        };
        let accept = if self.rng.bool() { METADATA_LIST } else { "" };
        Send { accept: accept.to_owned(), ..Send::get(path) }
    }

    /// A field of the object's metadata as one of the last answers had it.
    fn seen(&mut self, kind: &Kind, name: &str, field: &str) -> String {
        format!("{{{{{}-{name}-{}:/metadata/{field}}}}}", kind.plural, self.rng.u8(..4))
    }
}

fn object_name(kind: &Kind, name: &str) -> String {
    if kind.namespaced { name.to_owned() } else { format!("{{ns}}-{name}") }
}

fn root(kind: &Kind) -> String {
    if kind.api_version.contains('/') {
        format!("/apis/{}", kind.api_version)
    } else {
        format!("/api/{}", kind.api_version)
    }
}

fn in_namespace(kind: &Kind) -> String {
    format!("{}/namespaces/{{ns}}/{}", root(kind), kind.plural)
}

fn all(kind: &Kind, query: &str) -> String {
    with(format!("{}/{}", root(kind), kind.plural), query)
}

fn one(kind: &Kind, name: &str, query: &str) -> String {
    let collection = if kind.namespaced { in_namespace(kind) } else { all(kind, "") };
    with(format!("{collection}/{name}"), query)
}

fn with(path: String, query: &str) -> String {
    let query = query.trim_start_matches('&');
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// Adds a part: members are merged, and elements of lists by what they are called.
fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (key, value) in part {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(part)) => {
            for value in part {
                let same = |known: &Value| known["name"].is_string() && known["name"] == value["name"];
                if let Some(known) = into.iter().position(same) {
                    merge(&mut into[known], value);
                } else if !into.contains(&value) {
                    into.push(value);
                }
            }
        }
        (into, part) => *into = part,
    }
}

//! Records what a cluster's worker really sends, as sequences that others can replay:
//!
//!     cargo test --test it sim::record -- --ignored
//!
//! writes `tests/requests/*.jsonl`. Each run has a real API server of its own, on which nothing moves by itself;
//! what controllers would do, the test does, and that is recorded too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlead_cluster::{ConnectError, Connector};
use fairlead_core::model::assignment::FactBody;
use fairlead_core::model::name::TargetName;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::client::Body;
use serde_json::{Value, json};

use super::run::lines;
use super::step::{NS, Send, Step, map_strings};
use crate::cluster::world::World;
use crate::harness::{ControlPlane, Options, Result};

/// Where recorded sequences are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requests")
}

/// Everything that was sent, with what it refers to.
#[derive(Default)]
struct Tape {
    steps: Vec<Step>,
    /// Uids, versions and tokens, and where an answer had them.
    known: BTreeMap<String, String>,
    /// Versions of lists: one may be an object's, too, by chance.
    lists: BTreeMap<String, String>,
    /// Names of the run's own, and what stands for them.
    names: Vec<(String, String)>,
    watches: usize,
}

impl Tape {
    fn general(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, general)| text.replace(name, general))
    }

    /// Takes a request; gives the id under which its answer will be known.
    fn sent(&mut self, request: &http::request::Parts, body: &[u8]) -> Option<String> {
        let header =
            |name| request.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let accept = header(http::header::ACCEPT);
        let path = request.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let path = self.general(&self.path(&path));
        if path.contains("watch=1") {
            let id = format!("w{}", self.watches);
            self.watches += 1;
            self.steps.push(Step::Watch { id, path, accept });
            return None;
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let body = self.refer(&path, None, &body);
        let body = map_strings(&body, &|text| self.general(text));
        let id = self.steps.len().to_string();
        let waits = settled(&request.method, &path, &body);
        let (method, content_type) = (request.method.to_string(), header(http::header::CONTENT_TYPE));
        self.steps.push(Step::Send(Send { id: id.clone(), method, path, accept, content_type, body }));
        self.steps.extend(waits);
        Some(id)
    }

    /// A path whose versions and tokens are references.
    fn path(&self, path: &str) -> String {
        let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
        let pairs = query.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = self.lists.get(value).or_else(|| self.known.get(value));
            let known = known.filter(|_| matches!(name, "resourceVersion" | "continue"));
            known.map_or_else(|| pair.to_owned(), |reference| format!("{name}={reference}"))
        });
        format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
    }

    /// A body whose uids and versions are references; what no answer had is asked for first.
    fn refer(&mut self, path: &str, key: Option<&str>, value: &Value) -> Value {
        match value {
            Value::String(text) if matches!(key, Some("uid" | "resourceVersion")) => {
                if let Some(reference) = self.known.get(text) {
                    return json!(reference);
                }
                let id = format!("live-{}", self.steps.len());
                let path = path.split('?').next().unwrap_or_default();
                self.steps.push(Step::Send(Send::get(path).id(id.clone())));
                json!(format!("{{{{{id}:/metadata/{}}}}}", key.unwrap_or_default()))
            }
            Value::Array(items) => items.iter().map(|item| self.refer(path, None, item)).collect(),
            Value::Object(members) => {
                let referred = members.iter().map(|(k, v)| (k.clone(), self.refer(path, Some(k), v)));
                referred.collect::<serde_json::Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }

    fn answered(&mut self, id: &str, pointer: &str, body: &Value) {
        match body {
            Value::Object(members) => {
                let is_list = body["items"].is_array();
                for (key, value) in members {
                    if is_list && key == "metadata" {
                        for of_list in ["resourceVersion", "continue"] {
                            if let Some(text) = value[of_list].as_str() {
                                let reference = format!("{{{{{id}:/metadata/{of_list}}}}}");
                                self.lists.insert(text.to_owned(), reference);
                            }
                        }
                        continue;
                    }
                    let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    match value {
                        Value::String(text)
                            if matches!(key.as_str(), "uid" | "resourceVersion" | "continue") =>
                        {
                            self.known.insert(text.clone(), format!("{{{{{id}:{pointer}}}}}"));
                        }
                        value => self.answered(id, &pointer, value),
                    }
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    self.answered(id, &format!("{pointer}/{n}"), item);
                }
            }
            _ => {}
        }
    }
}

/// What a worker waits for after such a request, and a replay must too: definitions come into force, and go, a
/// moment after the answer.
fn settled(method: &http::Method, path: &str, body: &Value) -> Vec<Step> {
    let path = path.split('?').next().unwrap_or_default();
    let awaited = |path: &str, until: &[(&str, Value)]| Step::Await {
        path: path.to_owned(),
        until: until.iter().map(|(pointer, value)| ((*pointer).to_owned(), value.clone())).collect(),
    };
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match method.as_str() {
        _ if !path.contains("/customresourcedefinitions/") => Vec::new(),
        "DELETE" => vec![awaited(path, &[("code", json!(404))])],
        "PATCH" => {
            let (group, plural) = (text("/spec/group"), text("/spec/names/plural"));
            let objects = format!("/apis/{group}/{}/{plural}", text("/spec/versions/0/name"));
            let established = [
                ("/status/conditions/1/type", json!("Established")),
                ("/status/conditions/1/status", json!("True")),
            ];
            vec![awaited(path, &established), awaited(&objects, &[("code", json!(200))])]
        }
        _ => Vec::new(),
    }
}

/// A client whose requests are recorded.
fn recorded(client: kube::Client, tape: Arc<Mutex<Tape>>) -> kube::Client {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (client, tape) = (client.clone(), Arc::clone(&tape));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let id = tape.lock().unwrap().sent(&parts, &body);
            let response = client.send(http::Request::from_parts(parts, Body::from(body.to_vec()))).await?;
            let Some(id) = id else { return Ok(response) };
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            tape.lock().unwrap().answered(&id, "", &serde_json::from_slice(&body).unwrap_or_default());
            Ok::<_, tower::BoxError>(http::Response::from_parts(head, Body::from(body.to_vec())))
        }
    });
    kube::Client::new(service, "default")
}

struct Recorder {
    client: kube::Client,
}

impl Connector for Recorder {
    fn connect(&self, _: &TargetName) -> BoxFuture<'static, std::result::Result<kube::Client, ConnectError>> {
        Box::pin(std::future::ready(Ok(self.client.clone())))
    }

    fn stamp(&self, _: &TargetName) -> Option<u64> {
        None
    }
}

/// A run under this name; what it sends goes into the file of the name.
async fn record(name: &str, run: impl AsyncFnOnce(&mut World) -> Result<()>) -> Result<()> {
    let plane = ControlPlane::start(name, Options { controllers: false, users: Vec::new() }).await?;
    let tape = Arc::new(Mutex::new(Tape::default()));
    let client = recorded(plane.client().await?, Arc::clone(&tape));
    let mut world = World::over(client.clone(), Arc::new(Recorder { client }), name).await?;
    let set = world.set();
    tape.lock().unwrap().names = vec![
        ("fairlead-system".to_owned(), format!("{NS}-system")),
        (set, format!("{NS}-set")),
        (name.to_owned(), NS.to_owned()),
    ];
    // The namespace of a sequence is there before it starts.
    tape.lock().unwrap().steps.clear();
    run(&mut world).await?;
    world.kill().await;
    let tape = std::mem::take(&mut *tape.lock().unwrap());
    let mut steps = tape.steps;
    steps.extend((0..tape.watches).map(|n| Step::Collect { id: format!("w{n}") }));
    let head =
        "# Made by `cargo test --test it sim::record -- --ignored`: what a worker sent to a cluster.\n";
    std::fs::write(folder().join(format!("{name}.jsonl")), format!("{head}{}", lines(&steps)))?;
    Ok(())
}

fn deployment(world: &World, name: &str, image: &str) -> Value {
    let labels = json!({"app": name});
    let container = json!({"name": "main", "image": image, "ports": [{"containerPort": 80}],
        "env": [{"name": "MODE", "value": "edge"}], "resources": {"limits": {"memory": "128Mi"}}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": world.namespace, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [container]}}}})
}

fn service(world: &World, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": "web", "port": 80, "targetPort": 8080}]}})
}

fn secret(world: &World, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": world.namespace},
        "stringData": {"key": value}})
}

/// Says of a Deployment that it is available, as its controller would, once it has a generation.
async fn becomes_available(world: &World, name: &str, generation: i64) -> Result<()> {
    let api = world.api("apps/v1", "Deployment", "deployments");
    while api.get_opt(name).await?.and_then(|found| found.metadata.generation) != Some(generation) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let condition = |kind: &str, reason: &str| {
        json!({"type": kind, "status": "True", "reason": reason,
        "lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "by the test"})
    };
    let status = json!({"status": {"observedGeneration": generation, "replicas": 1,
        "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "conditions": [condition("Available", "MinimumReplicasAvailable"),
            condition("Progressing", "NewReplicaSetAvailable")]}});
    let params = PatchParams { field_manager: Some("kube-controller-manager".into()), ..Default::default() };
    api.patch_status(name, &params, &Patch::Merge(status)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes files of the repository"]
async fn install_change_prune_and_restart() -> Result<()> {
    record("recorded-install", async |world| {
        let release = |world: &World, image: &str, value: &str, more: bool| {
            let mut objects = vec![
                deployment(world, "web", image),
                service(world, "web"),
                secret(world, value),
                world.cm("one", value),
            ];
            objects.extend(more.then(|| world.cm("goes", "x")));
            world.release(&[("base", &[], vec![world.cm("first", "a")]), ("app", &["base"], objects)])
        };
        let first = release(world, "registry.example/web:1", "a", true);
        world.assign(&first);
        becomes_available(world, "web", 1).await?;
        world.converged().await;
        world.base = Some(first);
        let second = release(world, "registry.example/web:2", "b", false);
        world.assign(&second);
        becomes_available(world, "web", 2).await?;
        world.converged().await;
        world.kill().await;
        world.start();
        world.assign(&second);
        world.converged().await;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes files of the repository"]
async fn drift_of_every_sort_is_healed() -> Result<()> {
    record("recorded-drift", async |world| {
        let healed = |fact: &FactBody| matches!(fact, FactBody::Drift { healed: true, .. });
        let objects = ["edited", "deleted", "stripped"].map(|name| world.cm(name, "a"));
        world.converge(objects.to_vec()).await;
        world.meddle("edited", &json!({"data": {"key": "theirs", "more": "stays"}})).await?;
        world.until("the edit healed", healed).await;
        world.maps().delete("deleted", &DeleteParams::default()).await?;
        world.until("the deletion healed", healed).await;
        let strip = json!({"metadata": {"labels": {"applyset.kubernetes.io/part-of": null}}});
        world.meddle("stripped", &strip).await?;
        world.until("the label put back", healed).await;
        world.settings.verify_every = Duration::from_secs(1);
        let release = world.base.clone().expect("converged before");
        world.kill().await;
        world.start();
        world.assign(&release);
        world.converged().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes files of the repository"]
async fn objects_of_others_are_adopted_and_given_back() -> Result<()> {
    record("recorded-adopt", async |world| {
        for name in ["one", "two"] {
            let theirs = world.cm(name, "theirs");
            world.maps().patch(name, &PatchParams::apply("helm"), &Patch::Apply(&theirs)).await?;
        }
        // creationTimestamps are whole seconds.
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        let release =
            world.release(&[("app", &[], vec![world.cm("one", "ours"), world.cm("two", "theirs")])]);
        world.assign(&release);
        world.until("held", |fact| matches!(fact, FactBody::Held { .. })).await;
        world.handle().adopt(&world.fleet, [world.key("ConfigMap", "one")]);
        world.converged().await;
        world.base = Some(release);
        world.converge(vec![world.cm("three", "a")]).await;
        world.handle().leave(&world.fleet);
        world.until("left", |fact| matches!(fact, FactBody::Removed)).await;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes files of the repository"]
async fn a_definition_comes_with_its_objects() -> Result<()> {
    record("recorded-crd", async |world| {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"level": {"type": "integer"}}}}});
        let version =
            json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        let group = format!("{}.example.com", world.namespace);
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("gauges.{group}"), "annotations": {"fairlead.dev/prune": "allow"}},
            "spec": {"group": group, "scope": "Namespaced",
                "names": {"kind": "Gauge", "plural": "gauges"}, "versions": [version]}});
        let gauge = |world: &World, level: u8| {
            json!({"apiVersion": format!("{group}/v1"), "kind": "Gauge",
            "metadata": {"name": "tank", "namespace": world.namespace}, "spec": {"level": level}})
        };
        let one = world.cm("one", "a");
        world.converge(vec![gauge(world, 1), definition.clone(), one.clone()]).await;
        world.converge(vec![gauge(world, 2), definition, one.clone()]).await;
        world.converge(vec![one]).await;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes files of the repository"]
async fn a_namespace_is_removed_with_what_is_in_it() -> Result<()> {
    record("recorded-namespace", async |world| {
        let name = format!("{}-extra", world.namespace);
        let space = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "annotations": {"fairlead.dev/prune": "allow"}}});
        let mut map = world.cm("one", "a");
        map["metadata"]["namespace"] = json!(name);
        world.converge(vec![space, map, world.cm("stays", "a")]).await;
        let release = world.release(&[("app", &[], vec![world.cm("stays", "a")])]);
        world.assign(&release);
        let spaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(world.client.clone());
        let mut going = loop {
            let found = spaces.get(&name).await?;
            if found.metadata.deletion_timestamp.is_some() {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        // As its controller would.
        going.spec.get_or_insert_default().finalizers = None;
        let path = format!("/api/v1/namespaces/{name}/finalize");
        let request = http::Request::put(path).header("content-type", "application/json");
        let request = request.body(serde_json::to_vec(&going)?)?;
        world.client.request_text(request).await?;
        world.converged().await;
        Ok(())
    })
    .await
}

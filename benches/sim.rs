//! What simulated clusters cost: `cargo bench --bench sim`. Memory for each idle cluster, with 50 objects, and with
//! twelve open watches; requests a second on one core. Fails when a limit is missed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock"
)]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use fairlead_sim::{Body, Clock, Cluster, Fleet, SimSettings};
use http::{Method, Request};
use http_body::Body as _;
use serde_json::{Value, json};

const CLUSTERS: usize = 1_000;
const OBJECTS: usize = 50;
const WATCHED: [&str; 12] = [
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/services",
    "/api/v1/serviceaccounts",
    "/api/v1/namespaces",
    "/api/v1/pods",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/batch/v1/jobs",
    "/apis/rbac.authorization.k8s.io/v1/roles",
    "/apis/networking.k8s.io/v1/networkpolicies",
];

fn main() {
    let start = "2026-11-23T08:00:00Z".parse().unwrap();
    let fleet = Fleet::new(SimSettings::default(), Clock::manual(start));
    // What all clusters share is read once.
    fleet.cluster("warm");
    let before = resident();
    let clusters: Vec<Cluster> = (0..CLUSTERS).map(|n| fleet.cluster(&format!("edge-{n:04}"))).collect();
    let idle = each(resident() - before);

    let filled = Instant::now();
    clusters.iter().for_each(fill);
    let rate = (CLUSTERS * OBJECTS) as f64 / filled.elapsed().as_secs_f64();
    fleet.advance(std::time::Duration::from_secs(10));
    let busy = each(resident() - before);
    // The events of the beginning are forgotten.
    fleet.advance(std::time::Duration::from_secs(700));
    let full = each(resident() - before);

    let mut watches: Vec<Body> = clusters.iter().flat_map(open).collect();
    let watched = each(resident() - before);

    let changed = Instant::now();
    for cluster in &clusters {
        let path = format!("/api/v1/namespaces/shop/configmaps/cm-7?{WHO}");
        ask(cluster, Method::PATCH, &path, APPLY, &config_map(7, "second"));
    }
    let one = CLUSTERS as f64 / changed.elapsed().as_secs_f64();
    let told: usize = watches.iter_mut().map(read).sum();
    assert_eq!(told, CLUSTERS, "one event a cluster");
    let looked = Instant::now();
    for cluster in &clusters {
        ask(cluster, Method::GET, "/api/v1/configmaps?labelSelector=app%3Dshop&limit=500", "", &Value::Null);
    }
    let lists = CLUSTERS as f64 / looked.elapsed().as_secs_f64();

    println!("{CLUSTERS} clusters, in kB each:");
    println!("  idle                              {idle:8.1}   (limit 100)");
    println!("  with {OBJECTS} objects, just written     {busy:8.1}");
    println!("  with {OBJECTS} objects, at rest          {full:8.1}");
    println!("  the same with {} open watches     {watched:8.1}", WATCHED.len());
    println!("on one core, a second:");
    println!("  applies that make an object       {rate:8.0}");
    println!("  applies that change one           {one:8.0}");
    println!("  lists of 40 objects               {lists:8.0}");
    let total = (resident() as f64) / 1e6;
    println!("all of it: {total:.0} MB");
    assert!(idle < 100.0, "an idle cluster is too large");
    assert!(watched * CLUSTERS as f64 / 1e6 < 1.1, "too much is left for the daemon's 400 kB a cluster");
}

const APPLY: &str = "application/apply-patch+yaml";
const WHO: &str = "fieldManager=fairlead-default&force=true&fieldValidation=Strict";

fn each(bytes: usize) -> f64 {
    bytes as f64 / 1e3 / CLUSTERS as f64
}

/// As the main job has them: 40 ConfigMaps of half a kilobyte and 10 Deployments, the values of each cluster its own.
fn fill(cluster: &Cluster) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    ask(cluster, Method::PATCH, &format!("/api/v1/namespaces/shop?{WHO}"), APPLY, &namespace);
    for number in 0..OBJECTS - 10 {
        let path = format!("/api/v1/namespaces/shop/configmaps/cm-{number}?{WHO}");
        ask(cluster, Method::PATCH, &path, APPLY, &config_map(number, cluster.name()));
    }
    for number in 0..10 {
        let path = format!("/apis/apps/v1/namespaces/shop/deployments/web-{number}?{WHO}");
        ask(cluster, Method::PATCH, &path, APPLY, &deployment(number, cluster.name()));
    }
}

fn metadata(name: &str) -> Value {
    let set = "applyset-mN2xqT0h0g6gq9XWcWcT0b0vJm2cH9m5W3c8S6Jx1ts-v1";
    json!({"name": name, "namespace": "shop", "labels": {"app": "shop", "applyset.kubernetes.io/part-of": set},
        "annotations": {"fairlead.dev/digest": "b3:4f2c91a04f2c91a04f2c91a04f2c91a0"}})
}

fn config_map(number: usize, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(&format!("cm-{number}")),
        "data": {"key": value, "filler": "x".repeat(400)}})
}

fn deployment(number: usize, value: &str) -> Value {
    let labels = json!({"app": format!("web-{number}")});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(&format!("web-{number}")),
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": "registry.example/web:1",
                "env": [{"name": "CLUSTER", "value": value}], "ports": [{"containerPort": 8080}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}}})
}

fn ask(cluster: &Cluster, method: Method, path: &str, content_type: &str, body: &Value) -> Body {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let request = Request::builder().method(method).uri(path).header("content-type", content_type);
    let answer = cluster.handle(request.header("accept", "application/json").body(body).unwrap());
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.into_body()
}

fn open(cluster: &Cluster) -> Vec<Body> {
    let watch = |path: &&str| {
        let path = format!("{path}?watch=1&resourceVersion=1000000&labelSelector=app%3Dshop");
        // From now on: what there is has been told.
        let path = path.replace("1000000", &version(cluster));
        let mut body = ask(cluster, Method::GET, &path, "", &Value::Null);
        assert_eq!(read(&mut body), 0);
        body
    };
    WATCHED.iter().map(watch).collect()
}

fn version(cluster: &Cluster) -> String {
    let mut body = ask(cluster, Method::GET, "/api/v1/nodes?limit=1", "", &Value::Null);
    let Poll::Ready(Some(Ok(frame))) = poll(&mut body) else { panic!("no answer") };
    let list: Value = serde_json::from_slice(&frame.into_data().unwrap()).unwrap();
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

fn poll(body: &mut Body) -> Poll<Option<Result<http_body::Frame<Bytes>, std::convert::Infallible>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// How many events a watch has to tell.
fn read(body: &mut Body) -> usize {
    let mut events = 0;
    while let Poll::Ready(Some(Ok(frame))) = poll(body) {
        events += frame.into_data().unwrap().iter().filter(|byte| **byte == b'\n').count();
    }
    events
}

/// Resident memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

//! A client that does nothing but apply bodies: what the server can do, in this run, on this machine.

use std::time::{Duration, Instant};

use fairlead_cluster::{Connector, KubeconfigFolder};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request, header};
use kube::Client;
use serde_json::{Value, json};

use super::content::{self, TARGET};
use crate::harness::{ControlPlane, Result, wait_for};

/// Requests at a time: as many as the daemon allows itself at most.
const IN_FLIGHT: usize = 32;
const AGENT: &str = "bare-client";
const MANAGER: &str = "bare-client-of-the-benchmark";
/// The answer that the daemon asks for.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

/// A client over the daemon's own connection stack.
pub struct Bare {
    client: Client,
}

impl Bare {
    pub async fn connect(plane: &ControlPlane) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::copy(plane.kubeconfig(), folder.path().join(format!("{TARGET}.yaml")))?;
        let client = KubeconfigFolder::new(folder.path(), false).connect(&TARGET.parse()?).await?;
        Ok(Self { client })
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: &[u8]) -> Result<String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, METADATA_ONLY)
            .header(header::CONTENT_TYPE, kind)
            .header(header::USER_AGENT, AGENT)
            .body(body.to_vec())?;
        Ok(self.client.request_text(request).await?)
    }

    /// One server-side apply: how long it took.
    pub async fn apply(&self, object: &Value) -> Result<Duration> {
        let (path, body) = stamped(object);
        let start = Instant::now();
        self.send(Method::PATCH, &path, APPLY, &body).await?;
        Ok(start.elapsed())
    }

    /// Applies all, as many at a time as the daemon does: how long that took.
    pub async fn apply_all(&self, objects: &[Value]) -> Result<Duration> {
        let requests: Vec<_> = objects.iter().map(stamped).collect();
        let start = Instant::now();
        futures::stream::iter(requests)
            .map(|(path, body)| async move { self.send(Method::PATCH, &path, APPLY, &body).await })
            .buffer_unordered(IN_FLIGHT)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        Ok(start.elapsed())
    }

    /// What someone else does to a ConfigMap.
    pub async fn overwrite(&self, namespace: &str, name: &str, value: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager=someone-else");
        let body = json!({"data": {"value": value}}).to_string();
        self.send(Method::PATCH, &path, MERGE, body.as_bytes()).await.map(drop)
    }

    /// Waits until the controllers have seen all Deployments of a namespace: they should not work for the run before.
    pub async fn settled(&self, namespace: &str) -> Result<()> {
        wait_for("the controllers' having seen the Deployments", super::world::LIMIT, async || {
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
            let list: Value = self.client.request(Request::get(path).body(Vec::new())?).await?;
            let mut items = list["items"].as_array().into_iter().flatten();
            Ok(items.all(|item| item["status"]["observedGeneration"].is_u64()).then_some(()))
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }
}

/// Path and body of an apply, as large as the daemon's: it adds a label and an annotation.
fn stamped(object: &Value) -> (String, Vec<u8>) {
    let mut body = object.clone();
    let metadata = &mut body["metadata"];
    metadata["labels"]["benchmarks.example.com/part-of"] = json!("x".repeat(57));
    metadata["annotations"] = json!({"fairlead.dev/digest": "0".repeat(64)});
    let (name, namespace) = (content::name(object), object["metadata"]["namespace"].as_str());
    let path = match (object["kind"].as_str(), namespace) {
        (Some("ConfigMap"), Some(namespace)) => format!("/api/v1/namespaces/{namespace}/configmaps/{name}"),
        (Some("Deployment"), Some(namespace)) => {
            format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
        }
        _ => format!("/api/v1/namespaces/{name}"),
    };
    let path = format!("{path}?fieldManager={MANAGER}&force=false&fieldValidation=Strict");
    (path, body.to_string().into_bytes())
}

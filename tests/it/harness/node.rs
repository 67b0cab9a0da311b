//! A node that is not there, and what its pods do.

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::Result;

/// On a pod (in a workload: on its template), it makes the pod fail; see `stages-fail.yaml`.
pub const FAIL_ANNOTATION: &str = "fairlead.test/fail";

/// The ways to fail, as values of [`FAIL_ANNOTATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The container crashes again and again: `CrashLoopBackOff`.
    Crash,
    /// The image can't be had: `ImagePullBackOff`.
    Pull,
    /// The container runs and never becomes ready: its probe fails, by an event.
    Unready,
    /// The container is killed for its memory again and again.
    OutOfMemory,
    /// What the container is made from is missing: `CreateContainerConfigError`.
    Config,
    /// An init container crashes again and again.
    Init,
    /// A volume can't be mounted: an event.
    Mount,
    /// The container ends with an error and the pod fails, as where it is not to be restarted.
    Exit,
    /// The node throws the pod out.
    Evict,
}

impl Failure {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Pull => "pull",
            Self::Unready => "unready",
            Self::OutOfMemory => "oom",
            Self::Config => "config",
            Self::Init => "init",
            Self::Mount => "mount",
            Self::Exit => "exit",
            Self::Evict => "evict",
        }
    }
}

const NAME: &str = "fake";

/// Adds a fake node. kwok makes it ready, as large as kwok's nodes are, and runs its pods.
pub async fn add(client: &Client) -> Result<()> {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NAME,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": NAME, "kubernetes.io/os": "linux"},
        },
    });
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.patch(NAME, &PatchParams::apply("fairlead-tests"), &Patch::Apply(node)).await?;
    Ok(())
}

/// Whether pods can be scheduled.
pub async fn ready(client: &Client) -> Result<bool> {
    let nodes: Api<Node> = Api::all(client.clone());
    Ok(is_ready(&nodes.get(NAME).await?))
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
    let tainted = node.spec.iter().any(|spec| spec.taints.iter().flatten().next().is_some());
    ready && !tainted
}

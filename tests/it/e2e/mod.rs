//! The whole way, for real: a fleet repository, the daemon as a process, two control planes.
//!
//! Every test has an instance name and control planes, or namespaces, of its own.

mod adoption;
mod bad_commits;
mod canary;
mod connections;
mod faults;
mod git_moves;
mod holds;
mod hostile;
mod instances;
mod kill;
mod main_job;
mod many;
mod moves;
mod network;
mod people;
mod protected;
mod refusals;
mod secrets;
mod simulated;
mod waves;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::ControlPlane;
use crate::world::daemon::Daemon;
use crate::world::eventually;
use crate::world::repository::FleetRepo;

/// How long anything may take that takes seconds on a machine with nothing else to do.
pub const SOON: Duration = Duration::from_secs(90);

/// A folder of kubeconfigs by target.
pub struct Kubeconfigs {
    folder: TempDir,
}

impl Kubeconfigs {
    pub fn of(targets: &[(&str, PathBuf)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (target, kubeconfig) in targets {
            std::fs::copy(kubeconfig, folder.path().join(format!("{target}.yaml"))).unwrap();
        }
        Self { folder }
    }

    /// Empty, to be filled: a target's file is `<target>.yaml`.
    pub fn empty() -> Self {
        Self::of(&[])
    }

    pub fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// A target of the status.
pub fn target<'a>(status: &'a Value, name: &str) -> &'a Value {
    let targets = status["targets"].as_array().expect("the status has targets");
    targets.iter().find(|target| target["name"] == name).unwrap_or(&Value::Null)
}

/// Whether the fleet has accepted a commit and these targets run it.
pub fn runs(status: &Value, commit: &str, targets: &[&str]) -> bool {
    let fleet = &status["fleets"][0];
    fleet["accepted"] == commit && targets.iter().all(|name| target(status, name)["status"] == "converged")
}

/// One control plane, one target `edge-001`, and a repository with one profile to fill.
pub struct Small {
    pub repo: FleetRepo,
    pub daemon: Daemon,
    _kubeconfigs: Kubeconfigs,
}

impl Small {
    /// `namespace` is the test's own; the profile `app` has one layer, the folder `app`.
    pub fn new(plane: &ControlPlane, instance: &str) -> Self {
        Self::with(Kubeconfigs::of(&[("edge-001", plane.kubeconfig())]), instance)
    }

    pub fn with(kubeconfigs: Kubeconfigs, instance: &str) -> Self {
        let repo = FleetRepo::empty();
        repo.write("profiles/app/profile.yaml", PROFILE)
            .write("clusters/edge-001.yaml", TARGET)
            .write("fleets/retail.yaml", FLEET);
        let daemon = Daemon::new(instance, &repo.url(), kubeconfigs.path());
        Self { repo, daemon, _kubeconfigs: kubeconfigs }
    }

    /// Waits until the commit is accepted and the target converged.
    pub async fn converged(&self, commit: &str) -> Value {
        self.daemon
            .until(&format!("{commit} converged"), SOON, |status| runs(status, commit, &["edge-001"]))
            .await
    }
}

pub const PROFILE: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: ClusterProfile
metadata: {name: app}
spec:
  version: 1.0.0
  variables: {type: object, properties: {replicas: {type: integer, default: 1}}}
  layers:
  - {name: app, type: addon, manifests: {path: app}}
";

pub const TARGET: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: ClusterTarget
metadata: {name: edge-001, labels: {segment: retail}}
";

pub const FLEET: &str = "\
apiVersion: fairlead.dev/v1alpha1
kind: Fleet
metadata: {name: retail}
spec:
  clusters: {matchLabels: {segment: retail}}
  profiles: [{name: app}]
  rollout: {progressDeadline: 15s}
";

/// A ConfigMap as a manifest.
pub fn config_map(namespace: &str, name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata: {{value: \"{value}\"}}\n"
    )
}

/// What [`config_map`] holds in the cluster; none if it is not there.
pub async fn value(plane: &ControlPlane, namespace: &str, name: &str) -> Option<String> {
    let get =
        ["get", "configmap", name, "-n", namespace, "--ignore-not-found", "-o", "jsonpath={.data.value}"];
    Some(plane.kubectl(&get).await.unwrap()).filter(|value| !value.is_empty())
}

/// A Namespace as a manifest.
pub fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

/// A Deployment with one container as a manifest.
pub fn deployment(namespace: &str, name: &str, replicas: u32, annotations: &str) -> String {
    format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}, annotations: {{{annotations}}}}}
    spec: {{containers: [{{name: main, image: example.com/main:1}}]}}
"
    )
}

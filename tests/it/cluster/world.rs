//! A worker of its own on a shared control plane, with verbs for what a test does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlead_cluster::{
    Connector, KubeconfigFolder, ReleaseMissing, ReleaseSource, WorkerHandle, WorkerSettings, set_id, spawn,
};
use fairlead_core::model::assignment::{Assignment, ClusterPolicy, Fact, FactBody, Purpose};
use fairlead_core::model::diagnostic::Place;
use fairlead_core::model::digest::{CommitId, LayerDigest, ObjectDigest, ReleaseDigest};
use fairlead_core::model::name::{FleetName, InstanceName};
use fairlead_core::model::object::{ObjectKey, split_api_version};
use fairlead_core::model::profile::LayerType;
use fairlead_core::model::release::{
    LayerId, Release, ReleaseLayer, ReleaseObject, ReleaseRef, RenderedLayer,
};
use fairlead_core::model::revision::{Revision, Revisions};
use futures::future::BoxFuture;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{ControlPlane, Events, Mark, Result};

/// Seconds on an idle machine; test machines are not idle.
pub const SOON: Duration = Duration::from_secs(60);

/// Releases by digest.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<BTreeMap<ReleaseDigest, Arc<Release>>>>);

impl ReleaseSource for Shelf {
    fn get(
        &self,
        assignment: &Assignment,
    ) -> BoxFuture<'static, std::result::Result<Arc<Release>, ReleaseMissing>> {
        let found = self.0.lock().unwrap().get(&assignment.release.digest).cloned();
        let missing = ReleaseMissing { message: "not on the shelf".into(), temporary: false };
        Box::pin(std::future::ready(found.ok_or(missing)))
    }
}

/// One layer: its name, the layers that it waits for, its objects.
pub type Layer<'a> = (&'a str, &'a [&'a str], Vec<Value>);

/// A running worker.
pub struct Running {
    pub handle: WorkerHandle,
    pub facts: mpsc::Receiver<Fact>,
    task: JoinHandle<()>,
    cancel: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// A worker's world.
pub struct World {
    /// None: a cluster of which we know no more than how to connect to it.
    plane: Option<&'static ControlPlane>,
    pub instance: InstanceName,
    pub fleet: FleetName,
    pub namespace: String,
    pub client: kube::Client,
    pub policy: ClusterPolicy,
    pub settings: WorkerSettings,
    pub generation: u64,
    pub base: Option<ReleaseRef>,
    /// How long facts are waited for.
    pub patience: Duration,
    shelf: Shelf,
    connector: Arc<dyn Connector>,
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl World {
    /// A worker with an instance name and a namespace of the test's name.
    pub async fn new(plane: &'static ControlPlane, name: &str) -> Result<Self> {
        plane.create_namespace(name).await?;
        Self::in_namespace(plane, name, name).await
    }

    pub async fn in_namespace(plane: &'static ControlPlane, instance: &str, namespace: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::copy(plane.kubeconfig(), folder.path().join("edge-001.yaml"))?;
        let connector = Arc::new(KubeconfigFolder::new(folder.path(), false));
        let client = plane.client().await?;
        let mut world = Self::made(client, connector, instance, namespace, folder)?;
        world.plane = Some(plane);
        world.start();
        Ok(world)
    }

    /// A worker that connects by a connector of the test's; its namespace is made.
    pub async fn over(client: kube::Client, connector: Arc<dyn Connector>, name: &str) -> Result<Self> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        namespaces.create(&Default::default(), &serde_json::from_value(namespace)?).await?;
        let mut world = Self::made(client, connector, name, name, tempfile::tempdir()?)?;
        world.start();
        Ok(world)
    }

    fn made(
        client: kube::Client,
        connector: Arc<dyn Connector>,
        instance: &str,
        namespace: &str,
        folder: tempfile::TempDir,
    ) -> Result<Self> {
        let instance: InstanceName = instance.parse()?;
        let mut settings = WorkerSettings::new(instance.clone(), "edge-001".parse()?);
        settings.retry = (Duration::from_millis(100), Duration::from_secs(2));
        let mut policy = ClusterPolicy::default();
        policy.prune.max_deletions = fairlead_core::model::units::Amount::Percent(100);
        Ok(Self {
            plane: None,
            instance,
            fleet: "retail".parse()?,
            namespace: namespace.to_owned(),
            client,
            policy,
            settings,
            generation: 0,
            base: None,
            patience: SOON,
            shelf: Shelf::default(),
            connector,
            folder,
            running: None,
        })
    }

    /// Starts a worker, as after a crash: nothing is left of the one before.
    pub fn start(&mut self) {
        let connector = Arc::clone(&self.connector);
        let (sender, facts) = mpsc::channel(64);
        let cancel = CancellationToken::new();
        let source = Arc::new(self.shelf.clone());
        let (handle, task) = spawn(self.settings.clone(), connector, source, sender, cancel.clone());
        handle.track(&self.fleet);
        self.running = Some(Running { handle, facts, task, cancel });
    }

    /// Ends the worker between two of its instructions.
    pub async fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.task.abort();
            let _ = (&mut running.task).await;
        }
    }

    pub fn kubeconfig(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("edge-001.yaml"))?)
    }

    pub fn set_kubeconfig(&self, text: &str) -> Result<()> {
        Ok(std::fs::write(self.folder.path().join("edge-001.yaml"), text)?)
    }

    pub fn handle(&self) -> &WorkerHandle {
        &self.running.as_ref().unwrap().handle
    }

    pub fn set(&self) -> String {
        set_id(&self.instance, &self.fleet)
    }

    /// Puts a release on the shelf.
    pub fn release(&self, layers: &[Layer<'_>]) -> ReleaseRef {
        let release = Arc::new(release(&self.fleet, layers));
        let digest = release.digest;
        self.shelf.0.lock().unwrap().insert(digest, release);
        let control = Revision::control(CommitId::from_bytes([7; 20]));
        ReleaseRef { digest, revisions: Revisions { control, profiles: BTreeMap::new() } }
    }

    pub fn assignment(&self, release: &ReleaseRef) -> Assignment {
        Assignment {
            target: self.settings.target.clone(),
            fleet: self.fleet.clone(),
            generation: self.generation,
            release: release.clone(),
            purpose: Purpose::Change,
            base: self.base.clone(),
            quarantined: Vec::new(),
            deletions_approved: false,
            adopt: false,
            policy: self.policy.clone(),
        }
    }

    /// Assigns a release under a new generation.
    pub fn assign(&mut self, release: &ReleaseRef) {
        self.generation += 1;
        self.handle().assign(self.assignment(release));
    }

    /// Assigns one layer of objects and waits until the cluster has converged at it.
    pub async fn converge(&mut self, objects: Vec<Value>) -> ReleaseRef {
        let release = self.release(&[("app", &[], objects)]);
        self.assign(&release);
        self.converged().await;
        self.base = Some(release.clone());
        release
    }

    /// Waits for a fact; everything before it is returned too, it last.
    pub async fn until(&mut self, what: &str, mut is: impl FnMut(&FactBody) -> bool) -> Vec<FactBody> {
        let mut heard = Vec::new();
        let facts = &mut self.running.as_mut().unwrap().facts;
        let end = tokio::time::Instant::now() + self.patience;
        loop {
            match tokio::time::timeout_at(end, facts.recv()).await {
                Ok(Some(fact)) => {
                    let found = is(&fact.body);
                    heard.push(fact.body);
                    if found {
                        return heard;
                    }
                }
                Ok(None) => panic!("{what}: the worker has ended after {heard:#?}"),
                Err(_) => panic!("{what}: not in time, only {heard:#?}"),
            }
        }
    }

    /// The next fact, if one comes in time.
    pub async fn next_fact(&mut self, patience: Duration) -> Option<FactBody> {
        let facts = &mut self.running.as_mut().unwrap().facts;
        tokio::time::timeout(patience, facts.recv()).await.ok().flatten().map(|fact| fact.body)
    }

    /// Gives the order that stands once more, with leave to take over what was there before.
    pub fn adopt(&self, release: &ReleaseRef) {
        self.handle().assign(Assignment { adopt: true, ..self.assignment(release) });
    }

    pub async fn converged(&mut self) -> Vec<FactBody> {
        let wanted = self.generation;
        self.until(
            "converged",
            |fact| matches!(fact, FactBody::Converged { generation, .. } if *generation == wanted),
        )
        .await
    }

    pub fn plane(&self) -> &'static ControlPlane {
        self.plane.expect("only a control plane of the harness has an audit log")
    }

    pub async fn mark(&self) -> Result<Mark> {
        self.plane().audit().mark().await
    }

    /// Our requests since then, but for watches.
    pub async fn requests(&self, mark: Mark) -> Result<Events> {
        let ours = format!("({})", self.instance);
        let events = self.plane().audit().since(mark).await?;
        Ok(events.filter(|e| e.user_agent.ends_with(&ours) && e.verb != "watch"))
    }

    pub fn api(&self, api_version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let (group, version) = split_api_version(api_version);
        let resource = ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: api_version.into(),
            kind: kind.into(),
            plural: plural.into(),
        };
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    pub fn maps(&self) -> Api<DynamicObject> {
        self.api("v1", "ConfigMap", "configmaps")
    }

    /// The object, or None.
    pub async fn map(&self, name: &str) -> Result<Option<Value>> {
        Ok(self.maps().get_opt(name).await?.map(|object| serde_json::to_value(object).unwrap()))
    }

    /// Changes a ConfigMap as someone else.
    pub async fn meddle(&self, name: &str, patch: &Value) -> Result<()> {
        self.maps()
            .patch(
                name,
                &PatchParams { field_manager: Some("meddler".into()), ..PatchParams::default() },
                &Patch::Merge(patch),
            )
            .await?;
        Ok(())
    }

    /// A ConfigMap in the test's namespace.
    pub fn cm(&self, name: &str, value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace}, "data": {"key": value}})
    }

    pub fn key(&self, kind: &str, name: &str) -> ObjectKey {
        ObjectKey::new("", kind, &self.namespace, name)
    }

    /// The ConfigMap that holds our ledger.
    pub fn ledger_name(&self) -> String {
        format!("fairlead-{}.{}", self.instance, self.fleet)
    }
}

/// A release as the compiler would make it.
pub fn release(fleet: &FleetName, layers: &[Layer<'_>]) -> Release {
    let id = |layer: &str| LayerId { profile: "edge".parse().unwrap(), layer: layer.parse().unwrap() };
    let mut keys = BTreeSet::new();
    let layers: Vec<ReleaseLayer> = layers
        .iter()
        .map(|(name, depends_on, objects)| {
            let objects: Vec<_> = objects.iter().map(|value| object(value, name)).collect();
            for object in &objects {
                assert!(keys.insert(object.key.clone()), "{} stands twice", object.key);
            }
            let digest = LayerDigest::of(objects.iter().map(|o| o.bytes.as_ref()));
            ReleaseLayer {
                id: id(name),
                layer_type: LayerType::Addon,
                depends_on: depends_on.iter().map(|layer| id(layer)).collect(),
                adopt: name.starts_with("adopt"),
                content: Arc::new(RenderedLayer { digest, objects }),
            }
        })
        .collect();
    let names: Vec<String> =
        layers.iter().map(|layer| format!("{}{}", layer.id, layer.content.digest)).collect();
    let digest = ReleaseDigest::of(names.iter().map(String::as_bytes));
    Release { target: "edge-001".parse().unwrap(), fleet: fleet.clone(), digest, layers }
}

fn object(value: &Value, layer: &str) -> ReleaseObject {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let api_version = text("/apiVersion").unwrap();
    let (group, version) = split_api_version(&api_version);
    let bytes = value.to_string().into_bytes();
    ReleaseObject {
        key: ObjectKey::new(
            group,
            &text("/kind").unwrap(),
            &text("/metadata/namespace").unwrap_or_default(),
            &text("/metadata/name").unwrap(),
        ),
        version: version.to_owned(),
        digest: ObjectDigest::of([bytes.as_slice()]),
        bytes: bytes.into(),
        place: Place::file(format!("profiles/edge/{layer}.yaml")),
    }
}

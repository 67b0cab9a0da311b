//! The clusters' workers: one each, started when a fleet first names its target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use fairlead_cluster::{
    Brake, Connector, Discoveries, Memory, Other, ReleaseSource, WorkerHandle, WorkerSettings,
};
use fairlead_core::model::assignment::Fact;
use fairlead_core::model::name::{FleetName, InstanceName, TargetName};

/// The workers by target, for those who only ask them something.
#[derive(Clone, Default)]
pub struct Handles(Arc<Mutex<BTreeMap<TargetName, WorkerHandle>>>);

impl Handles {
    pub fn get(&self, target: &TargetName) -> Option<WorkerHandle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    fn put(&self, target: TargetName, handle: WorkerHandle) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(target, handle);
    }
}

/// Owns every worker.
pub struct Workers {
    instance: InstanceName,
    connector: Arc<dyn Connector>,
    source: Arc<dyn ReleaseSource>,
    facts: mpsc::Sender<Fact>,
    handles: Handles,
    /// Targets that have several fleets, with each of these.
    shared: BTreeSet<(TargetName, FleetName)>,
    tasks: JoinSet<()>,
    brake: Brake,
    discoveries: Discoveries,
    memory: Memory,
    cancel: CancellationToken,
}

impl Workers {
    pub fn new(
        instance: InstanceName,
        connector: Arc<dyn Connector>,
        source: Arc<dyn ReleaseSource>,
        facts: mpsc::Sender<Fact>,
        brake: Brake,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            instance,
            connector,
            source,
            facts,
            handles: Handles::default(),
            shared: BTreeSet::new(),
            tasks: JoinSet::new(),
            brake,
            discoveries: Discoveries::default(),
            memory: Memory::default(),
            cancel,
        }
    }

    /// The worker of a target; it reports about `fleet` from now on.
    pub fn of(&mut self, target: &TargetName, fleet: &FleetName) -> WorkerHandle {
        if let Some(handle) = self.handles.get(target) {
            handle.track(fleet);
            return handle;
        }
        let settings = WorkerSettings {
            fleets: vec![fleet.clone()],
            brake: self.brake.clone(),
            discoveries: self.discoveries.clone(),
            memory: self.memory.clone(),
            ..WorkerSettings::new(self.instance.clone(), target.clone())
        };
        let (connector, source) = (self.connector.clone(), self.source.clone());
        let cancel = self.cancel.child_token();
        let (handle, task) = fairlead_cluster::spawn(settings, connector, source, self.facts.clone(), cancel);
        self.tasks.spawn(async move {
            if let Err(error) = task.await {
                tracing::error!(%error, "a worker ended by itself");
            }
        });
        self.handles.put(target.clone(), handle.clone());
        handle
    }

    /// Tells the fleets of targets that have several what the others are to get there.
    pub fn tell_others(&mut self, others: BTreeMap<(TargetName, FleetName), Vec<Other>>) {
        let told = others.keys().cloned().collect();
        for (target, fleet) in std::mem::replace(&mut self.shared, told) {
            if let Some(handle) = self.handles.get(&target)
                && !others.contains_key(&(target, fleet.clone()))
            {
                handle.others(&fleet, Vec::new());
            }
        }
        for ((target, fleet), others) in others {
            self.of(&target, &fleet).others(&fleet, others);
        }
    }

    /// For a target that is new in a fleet, or back in it: its worker says what the cluster has.
    pub fn greet(&mut self, target: &TargetName, fleet: &FleetName) {
        match self.handles.get(target) {
            Some(handle) => handle.greet(fleet),
            None => drop(self.of(target, fleet)),
        }
    }

    pub fn handles(&self) -> Handles {
        self.handles.clone()
    }

    pub fn instance(&self) -> &InstanceName {
        &self.instance
    }

    /// Waits until all have ended; they do so when the token they were made with is cancelled.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

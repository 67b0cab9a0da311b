//! Simulated clusters for whoever connects to clusters by the names of targets.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use fairlead_cluster::{ConnectError, Connector, RequestObserver};
use fairlead_core::model::name::TargetName;
use fairlead_sim::{Cluster, Fleet};

pub mod adapt;

type MakeClient = dyn Fn(Cluster, Option<RequestObserver>) -> kube::Client + Send + Sync;

/// Knows every target: its cluster is made when it is first connected to.
#[derive(Clone)]
pub struct SimConnector {
    fleet: Fleet,
    observer: Option<RequestObserver>,
    make: Arc<MakeClient>,
}

impl SimConnector {
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, observer: None, make: Arc::new(adapt::client) }
    }

    /// Tells `observer` of every request to these clusters.
    #[must_use]
    pub fn observed(self, observer: RequestObserver) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Makes clients otherwise, with something between them and their cluster.
    #[must_use]
    pub fn made_by(
        self,
        make: impl Fn(Cluster, Option<RequestObserver>) -> kube::Client + Send + Sync + 'static,
    ) -> Self {
        Self { make: Arc::new(make), ..self }
    }
}

impl Connector for SimConnector {
    fn connect(&self, target: &TargetName) -> BoxFuture<'static, Result<kube::Client, ConnectError>> {
        let (connector, name) = (self.clone(), target.to_string());
        // A client starts a task, so it is made inside the runtime.
        async move {
            let cluster = connector.fleet.cluster(&name);
            Ok((connector.make)(cluster, connector.observer.clone()))
        }
        .boxed()
    }

    fn stamp(&self, _: &TargetName) -> Option<u64> {
        None
    }
}

//! The simulated clusters, and a person's hands on them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::{BoxError, service_fn};

use crate::daemon::Simulation;
use crate::simulated::{SimConnector, adapt};
use fairlead_cluster::RequestObserver;
use fairlead_sim::{Clock, Cluster, Fleet, SimSettings};

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

/// Why something could not be done to a simulated cluster.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("the cluster {cluster} answers {status} to {what}")]
    Refused { cluster: String, what: &'static str, status: http::StatusCode },
    #[error("the request can't be written")]
    Request(#[from] http::Error),
}

/// All simulated clusters; clones are the same ones.
#[derive(Clone)]
pub struct Stage {
    fleet: Fleet,
    /// Names of clusters that don't answer.
    dead: Arc<Mutex<BTreeSet<String>>>,
}

impl Stage {
    /// Pods of these clusters take so long to be ready.
    pub fn new(ready_after: Duration) -> Self {
        let settings = SimSettings { ready_after, ..SimSettings::default() };
        Self { fleet: Fleet::new(settings, Clock::given(Timestamp::now)), dead: Arc::default() }
    }

    /// Lets time go on in the clusters.
    pub async fn drive(self) {
        self.fleet.drive().await;
    }

    /// What the daemon connects to.
    pub fn connector(&self) -> Simulation {
        let stage = self.clone();
        Box::new(move |observer| {
            let connector = SimConnector::new(stage.fleet.clone()).observed(observer);
            Box::new(connector.made_by(move |cluster, observer| stage.client(cluster, observer)))
        })
    }

    /// A client whose line to the cluster can be cut.
    fn client(&self, cluster: Cluster, observer: Option<RequestObserver>) -> kube::Client {
        let stage = self.clone();
        let line = service_fn(move |request| {
            let answer = match stage.is_dead(cluster.name()) {
                true => Err(BoxError::from("no answer (the demo cut it off)")),
                false => Ok(cluster.handle(request)),
            };
            std::future::ready(answer)
        });
        adapt::client(line, observer)
    }

    /// A cluster stops answering, or answers again.
    pub fn offline(&self, cluster: &str, dead: bool) {
        let mut names = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        if dead {
            names.insert(cluster.to_owned());
            self.fleet.cluster(cluster).close_watches();
        } else {
            names.remove(cluster);
        }
    }

    fn is_dead(&self, cluster: &str) -> bool {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).contains(cluster)
    }

    /// `kubectl get deployment web -n shop`: its replicas.
    pub fn replicas(&self, cluster: &str) -> Result<i64, StageError> {
        let request = Request::get(WEB).body(Bytes::new())?;
        let (status, body) = ask(&self.fleet.cluster(cluster), request);
        let replicas = body.as_ref().and_then(|body| body.pointer("/spec/replicas")?.as_i64());
        let what = "get deployment web";
        replicas.ok_or_else(|| StageError::Refused { cluster: cluster.to_owned(), what, status })
    }

    /// `kubectl scale deployment web -n shop --replicas=N`.
    pub fn scale(&self, cluster: &str, replicas: i64) -> Result<(), StageError> {
        let patch = json!({"spec": {"replicas": replicas}}).to_string();
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("{WEB}?fieldManager=kubectl-scale"))
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(Bytes::from(patch))?;
        let (status, _) = ask(&self.fleet.cluster(cluster), request);
        let what = "scale deployment web";
        if status.is_success() {
            return Ok(());
        }
        Err(StageError::Refused { cluster: cluster.to_owned(), what, status })
    }
}

fn ask(cluster: &Cluster, request: Request<Bytes>) -> (http::StatusCode, Option<Value>) {
    use futures::FutureExt as _;
    let answer = cluster.handle(request);
    let status = answer.status();
    // An answer that is not a watch is whole at once.
    let body = answer.into_body().collect().now_or_never().and_then(Result::ok);
    (status, body.and_then(|body| serde_json::from_slice(&body.to_bytes()).ok()))
}

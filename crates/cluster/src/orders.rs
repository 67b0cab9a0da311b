//! What a worker is told, and by whom it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::brake::Brake;
use super::discovery::Discoveries;
use super::memory::Memory;
use fairlead_core::model::assignment::{Assignment, ClusterPolicy};
use fairlead_core::model::fleet::OnRemoval;
use fairlead_core::model::name::{FleetName, InstanceName, TargetName};
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::{Release, ReleaseRef};
use fairlead_core::plan::{Inventory, Observed, Sibling};

/// Why there is no release to an assignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReleaseMissing {
    pub message: String,
    /// Whether it may be there later (a repository that can't be read now); else the assignment fails.
    pub temporary: bool,
}

/// Where a worker gets the objects of an assignment from: compiled on the spot, or fetched by digest.
pub trait ReleaseSource: Send + Sync + 'static {
    fn get(&self, assignment: &Assignment) -> BoxFuture<'static, Result<Arc<Release>, ReleaseMissing>>;
}

/// How a worker behaves.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    pub instance: InstanceName,
    pub target: TargetName,
    /// Fleets that facts are wanted for from the start, whether or not they have a ledger.
    pub fleets: Vec<FleetName>,
    /// First and longest wait before a failed connection or object is tried again; doubled in between, jittered.
    pub retry: (Duration, Duration),
    /// How often every object is compared in full; jittered by a tenth.
    pub verify_every: Duration,
    /// How often credentials are looked at for a change.
    pub credentials_every: Duration,
    /// First and longest wait before an object is healed again; doubled in between. The first heal is at once.
    pub heal_pace: (Duration, Duration),
    /// More heals of one object in a row than this are a fight.
    pub contest_heals: usize,
    /// An object that stood this long as it should starts anew.
    pub contest_window: Duration,
    /// Shared by all workers.
    pub brake: Brake,
    /// What all clusters' answers may take; shared by all workers.
    pub memory: Memory,
    pub discoveries: Discoveries,
}

impl WorkerSettings {
    pub fn new(instance: InstanceName, target: TargetName) -> Self {
        Self {
            instance,
            target,
            fleets: Vec::new(),
            retry: (Duration::from_secs(1), Duration::from_secs(60)),
            verify_every: Duration::from_secs(6 * 3_600),
            credentials_every: Duration::from_secs(10),
            heal_pace: (Duration::from_secs(1), Duration::from_secs(300)),
            contest_heals: 5,
            contest_window: Duration::from_secs(3_600),
            brake: Brake::default(),
            memory: Memory::default(),
            discoveries: Discoveries::default(),
        }
    }

    /// Field manager and user of every write.
    pub fn manager(&self) -> String {
        format!("fairlead-{}", self.instance)
    }

    pub fn user_agent(&self) -> String {
        format!("fairlead/{} ({})", env!("CARGO_PKG_VERSION"), self.instance)
    }
}

/// What is to become of one fleet's share of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Assign(Arc<Assignment>),
    Remove {
        generation: u64,
        on_removal: OnRemoval,
        policy: Box<ClusterPolicy>,
        approved: bool,
    },
    /// Give everything up, also the ledger.
    Leave,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FleetOrders {
    pub order: Option<Order>,
    /// Grows when a target comes (back) to the fleet: what the cluster has is said again.
    pub greetings: u32,
    /// Single objects that may be taken over; [`Assignment::adopt`] allows it for all of a release.
    pub adopt: BTreeSet<ObjectKey>,
    /// What the target's other fleets are to get.
    pub others: Arc<[Other]>,
}

/// What another fleet of the target is to get by the newest commit, be it now or in a later wave. None: that is not
/// known, for the commit holds a mistake there.
pub type Other = (FleetName, Option<ReleaseRef>);

/// All that a worker was told, as of now: it looks at the newest state, not at a queue of changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    pub suspended: bool,
    pub fleets: BTreeMap<FleetName, FleetOrders>,
}

/// What a cluster has, for a plan that compares with it.
#[derive(Debug, Clone)]
pub struct LiveView {
    /// What the ledger remembers; empty without one.
    pub inventory: Inventory,
    pub observed: Observed,
    /// Our ApplySet id.
    pub set: String,
    /// By ApplySet id.
    pub siblings: BTreeMap<Arc<str>, Sibling>,
    /// The objects themselves, as the server has them. Secrets' values are in them: whoever prints redacts.
    pub objects: BTreeMap<ObjectKey, Value>,
}

/// Why there is no view of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    #[error("the cluster can't be reached: {0}")]
    Offline(String),
    #[error("{0}")]
    Api(String),
    #[error("the worker has ended")]
    Ended,
}

/// Why an object is not healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ailment {
    pub object: ObjectKey,
    /// The first cause in front; cleaned.
    pub reason: String,
}

pub(super) enum Question {
    /// What the cluster has of a release and of the fleet's ledger.
    Live { fleet: FleetName, release: Arc<Release>, answer: oneshot::Sender<Result<LiveView, LiveError>> },
    /// Why objects of a fleet are not healthy.
    Causes { fleet: FleetName, answer: oneshot::Sender<Result<Vec<Ailment>, LiveError>> },
}

impl Question {
    /// Answers that there is no answer.
    pub fn refuse(self, error: LiveError) {
        match self {
            Self::Live { answer, .. } => drop(answer.send(Err(error))),
            Self::Causes { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// Gives orders to a worker. None of them blocks, and the latest for a fleet counts.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    orders: Arc<watch::Sender<Orders>>,
    questions: mpsc::Sender<Question>,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Live { fleet, .. } | Self::Causes { fleet, .. }) = self;
        f.debug_struct("Question").field("fleet", fleet).finish_non_exhaustive()
    }
}

impl WorkerHandle {
    pub(super) fn new(fleets: &[FleetName]) -> (Self, watch::Receiver<Orders>, mpsc::Receiver<Question>) {
        let fleets = fleets.iter().map(|fleet| (fleet.clone(), FleetOrders::default())).collect();
        let (orders, receiver) = watch::channel(Orders { suspended: false, fleets });
        let (questions, asked) = mpsc::channel(16);
        (Self { orders: Arc::new(orders), questions }, receiver, asked)
    }

    fn change(&self, fleet: &FleetName, change: impl FnOnce(&mut FleetOrders)) {
        self.orders.send_modify(|orders| change(orders.fleets.entry(fleet.clone()).or_default()));
    }

    /// Says that facts about a fleet are wanted, whether or not the cluster has a ledger of it.
    pub fn track(&self, fleet: &FleetName) {
        self.change(fleet, |_| {});
    }

    /// Says that the target is new in a fleet, or back in it: whoever asks knows nothing of what the cluster has.
    /// An order to leave was carried out, and stands no more.
    pub fn greet(&self, fleet: &FleetName) {
        self.change(fleet, |orders| {
            orders.greetings = orders.greetings.wrapping_add(1);
            orders.order.take_if(|order| matches!(order, Order::Remove { .. }));
        });
    }

    /// The order of this moment for a fleet.
    pub fn assign(&self, assignment: Assignment) {
        let fleet = assignment.fleet.clone();
        self.change(&fleet, |orders| {
            let newer = |old: &Assignment| old.release.digest != assignment.release.digest;
            if !matches!(&orders.order, Some(Order::Assign(old)) if !newer(old)) {
                // Whoever lets objects be taken over means those of one release.
                orders.adopt.clear();
            }
            orders.order = Some(Order::Assign(Arc::new(assignment)));
        });
    }

    /// The target has left a fleet: its objects stay or are deleted, within the budget unless `approved`.
    pub fn remove(
        &self,
        fleet: &FleetName,
        generation: u64,
        on_removal: OnRemoval,
        policy: ClusterPolicy,
        approved: bool,
    ) {
        let policy = Box::new(policy);
        self.change(fleet, |o| o.order = Some(Order::Remove { generation, on_removal, policy, approved }));
    }

    /// Stops everything in this cluster, healing too; or goes on.
    pub fn suspend(&self, suspended: bool) {
        self.orders.send_modify(|orders| orders.suspended = suspended);
    }

    /// Lets a fleet take over these objects of its present release, though they were there before.
    pub fn adopt(&self, fleet: &FleetName, keys: impl IntoIterator<Item = ObjectKey>) {
        self.change(fleet, |orders| orders.adopt.extend(keys));
    }

    /// Says what the target's other fleets are to get by the newest commit: what of ours is among it is handed over to
    /// them, however late they come, and not pruned before.
    pub fn others(&self, fleet: &FleetName, others: Vec<Other>) {
        self.orders.send_if_modified(|orders| {
            let orders = orders.fleets.entry(fleet.clone()).or_default();
            let news = *orders.others != *others;
            if news {
                orders.others = others.into();
            }
            news
        });
    }

    /// Gives up every object of a fleet (label, annotation, ownership of fields) and the ledger.
    pub fn leave(&self, fleet: &FleetName) {
        self.change(fleet, |orders| orders.order = Some(Order::Leave));
    }

    /// What the cluster has of a release and of the fleet's ledger, read now.
    pub async fn live(&self, fleet: &FleetName, release: Arc<Release>) -> Result<LiveView, LiveError> {
        let (answer, view) = oneshot::channel();
        let question = Question::Live { fleet: fleet.clone(), release, answer };
        self.questions.send(question).await.map_err(|_| LiveError::Ended)?;
        view.await.map_err(|_| LiveError::Ended)?
    }

    /// Why objects of a fleet are not healthy, looked up now; the first few. No request where all are.
    pub async fn causes(&self, fleet: &FleetName) -> Result<Vec<Ailment>, LiveError> {
        let (answer, causes) = oneshot::channel();
        let question = Question::Causes { fleet: fleet.clone(), answer };
        self.questions.send(question).await.map_err(|_| LiveError::Ended)?;
        causes.await.map_err(|_| LiveError::Ended)?
    }
}

//! A plan in execution, as a state machine without IO: what may be started now, and what is still open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use crate::model::assignment::{Assignment, Progress, Waiting};
use crate::model::object::ObjectKey;
use crate::model::release::{LayerId, Release, ReleaseObject};
use crate::plan::{Action, Inventory, LivePlan, Served, Sibling, Verb};

/// How many objects a progress report names.
pub const NAMED: usize = 5;

/// Where one object of the release stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Todo,
    /// Tried; again at this time.
    Later {
        at: Instant,
        why: String,
    },
    Running,
    /// Being deleted; applied once it is gone.
    Leaving,
    Done,
    /// A person must decide.
    Held,
}

/// One object of the release.
#[derive(Debug, Clone)]
pub struct Item {
    pub layer: usize,
    /// Position in the first rank of its layer (namespaces and CRDs).
    pub first: bool,
    pub action: Action,
    pub state: State,
    /// Failed tries in a row.
    pub tries: u32,
    /// Why the last try failed: still the reason while it is tried again.
    pub why: Option<String>,
    /// A first apply without force has shown whose fields it would take: not another set's.
    pub may_force: bool,
    /// Whether the present work puts right what someone else did.
    pub healing: bool,
    /// Whether this assignment wrote it, or is to.
    pub ours: bool,
    /// Whether the present heal is logged.
    pub log: bool,
    /// What is being deleted is not made anew before this.
    pub not_before: Option<Instant>,
    /// Found wrong by its values, of which the proof of unchanged says nothing.
    pub by_value: bool,
    /// The version that a comparison found as it should be.
    pub compared: Option<Box<str>>,
    /// The version whose drift was reported.
    pub reported: Option<Box<str>>,
}

/// One object that leaves.
#[derive(Debug, Clone)]
pub struct Leaver {
    pub action: Action,
    pub state: State,
    pub tries: u32,
}

#[derive(Debug, Clone)]
struct Layer {
    id: LayerId,
    waits: Vec<usize>,
    /// Items that are not done and healthy; of them, those of the first rank.
    open: BTreeSet<usize>,
    open_first: BTreeSet<usize>,
}

/// A plan in execution.
#[derive(Debug)]
pub struct Run {
    pub assignment: Arc<Assignment>,
    /// None when the target leaves the fleet.
    pub release: Option<Arc<Release>>,
    pub items: Vec<Item>,
    pub index: BTreeMap<ObjectKey, usize>,
    layers: Vec<Layer>,
    /// Items that may be started once their layer may.
    todo: BTreeSet<usize>,
    pub prune: Vec<Vec<Leaver>>,
    pub stage: usize,
    pub deletions_left: usize,
    pub adopt: BTreeSet<ObjectKey>,
    pub siblings: BTreeMap<Arc<str>, Sibling>,
    pub back_to: Option<u64>,
    /// When it began.
    pub since: Instant,
    /// Requests that the plan consists of, and how many are done.
    total: usize,
    applied: usize,
    /// The result is written: what comes now is drift.
    pub converged: bool,
    /// What stands in the cluster is healed while the order waits: nothing is said of the order's own way.
    pub standby: bool,
    /// Objects that stay until another fleet takes them over.
    pub hands_over: Vec<ObjectKey>,
    /// Whether `Converged` was the last thing said about health.
    pub said_healthy: Option<bool>,
}

impl Run {
    pub fn new(assignment: Arc<Assignment>, release: Option<Arc<Release>>, plan: LivePlan) -> Self {
        let ids: Vec<LayerId> = plan.layers.iter().map(|layer| layer.id.clone()).collect();
        let mut run = Self {
            assignment,
            release,
            items: Vec::with_capacity(plan.layers.iter().map(|layer| layer.actions.len()).sum()),
            index: BTreeMap::new(),
            layers: Vec::new(),
            todo: BTreeSet::new(),
            prune: Vec::new(),
            stage: 0,
            deletions_left: plan.deletions_left,
            adopt: BTreeSet::new(),
            siblings: BTreeMap::new(),
            back_to: None,
            since: Instant::now(),
            total: 0,
            applied: 0,
            converged: false,
            standby: false,
            hands_over: Vec::new(),
            said_healthy: None,
        };
        for (number, planned) in plan.layers.into_iter().enumerate() {
            let place = |id: &LayerId| ids.iter().position(|other| other == id);
            let waits = planned.waits.iter().filter_map(place).collect();
            let layer = Layer { id: planned.id, waits, open: BTreeSet::new(), open_first: BTreeSet::new() };
            run.layers.push(layer);
            for (position, action) in planned.actions.into_iter().enumerate() {
                run.add(number, position < planned.first, action);
            }
        }
        let leaver = |action| Leaver { action, state: State::Todo, tries: 0 };
        run.prune = plan.prune.into_iter().map(|stage| stage.into_iter().map(leaver).collect()).collect();
        run.total += run.prune.iter().flatten().filter(|l| l.action.verb != Verb::Forget).count();
        run
    }

    fn add(&mut self, layer: usize, first: bool, action: Action) {
        let number = self.items.len();
        self.index.insert(action.key.clone(), number);
        let idle = matches!(action.verb, Verb::Unchanged | Verb::Report);
        self.total += usize::from(!idle);
        let state = match action.verb {
            Verb::Unchanged | Verb::Report => State::Done,
            Verb::Held => State::Held,
            Verb::Recreate => State::Leaving,
            _ => State::Todo,
        };
        if state == State::Todo {
            self.todo.insert(number);
        }
        let healing = action.verb == Verb::Heal;
        let ours = action.verb.applies() && !healing;
        let (tries, why, may_force) = (0, None, false);
        self.items.push(Item {
            layer,
            first,
            action,
            state,
            tries,
            why,
            may_force,
            healing,
            ours,
            log: true,
            not_before: None,
            by_value: false,
            compared: None,
            reported: None,
        });
        self.layers[layer].open.insert(number);
        if first {
            self.layers[layer].open_first.insert(number);
        }
    }

    /// Takes up what a crash interrupted: what is as the release wants it, and of which the ledger has no result, was
    /// written by the order that stands, or one that it overtook with the same object. Its failure counts.
    pub fn take_up(&mut self, inventory: &Inventory) {
        for number in 0..self.items.len() {
            let Some(digest) = self.object(number).map(|object| object.digest) else { continue };
            let Some(item) = self.items.get_mut(number) else { continue };
            let stands = matches!(item.action.verb, Verb::Unchanged | Verb::Compare);
            let entry = inventory.objects.get(&item.action.key);
            item.ours |= stands && entry.is_some_and(|entry| entry.applied != Some(digest));
        }
    }

    /// The object of the release that an item applies.
    pub fn object(&self, item: usize) -> Option<&ReleaseObject> {
        let item = self.items.get(item)?;
        self.release.as_ref()?.layers.get(item.layer)?.content.objects.get(item.action.object?)
    }

    pub fn layer_id(&self, item: usize) -> Option<&LayerId> {
        Some(&self.layers.get(self.items.get(item)?.layer)?.id)
    }

    pub fn adopts(&self, item: usize) -> bool {
        let Some(item) = self.items.get(item) else { return false };
        let layer = self.release.as_ref().and_then(|r| r.layers.get(item.layer));
        layer.is_some_and(|layer| layer.adopt) || self.adopt.contains(&item.action.key)
    }

    /// Sets where an item stands.
    pub fn set(&mut self, item: usize, state: State, healthy: bool) {
        let Some(entry) = self.items.get_mut(item) else { return };
        let was_done = entry.state == State::Done;
        if matches!(state, State::Todo | State::Later { .. }) {
            self.todo.insert(item);
        } else {
            self.todo.remove(&item);
        }
        if state == State::Done && !was_done && self.applied < self.total {
            self.applied += 1;
        }
        match &state {
            State::Later { why, .. } => entry.why = Some(why.clone()),
            State::Done => entry.why = None,
            _ => {}
        }
        entry.state = state;
        self.touch(item, healthy);
    }

    /// Notes the health of an item.
    pub fn touch(&mut self, item: usize, healthy: bool) {
        let Some(entry) = self.items.get(item) else { return };
        let (closed, first) = (entry.state == State::Done && healthy, entry.first);
        let layer = &mut self.layers[entry.layer];
        if closed {
            layer.open.remove(&item);
            layer.open_first.remove(&item);
        } else {
            layer.open.insert(item);
            if first {
                layer.open_first.insert(item);
            }
        }
    }

    pub fn is_settled(&self, item: usize) -> bool {
        self.items.get(item).is_some_and(|entry| !self.layers[entry.layer].open.contains(&item))
    }

    fn may_start(&self, item: &Item, now: Instant) -> bool {
        if matches!(item.state, State::Later { at, .. } if at > now) {
            return false;
        }
        // What was ours already is put right whatever its layer waits for.
        if item.healing {
            return true;
        }
        let layer = &self.layers[item.layer];
        if layer.waits.iter().any(|wait| !self.layers[*wait].open.is_empty()) {
            return false;
        }
        if !item.first && !layer.open_first.is_empty() {
            return false;
        }
        match &item.action.served {
            Served::By(crd) => self.index.get(crd).is_none_or(|crd| self.is_settled(*crd)),
            Served::Yes | Served::No => true,
        }
    }

    /// Up to `room` items that may be started now.
    pub fn ready(&self, now: Instant, room: usize) -> Vec<usize> {
        let may = |item: &&usize| self.items.get(**item).is_some_and(|entry| self.may_start(entry, now));
        self.todo.iter().filter(may).take(room).copied().collect()
    }

    /// Whether every object is applied and healthy.
    pub fn is_applied(&self) -> bool {
        self.layers.iter().all(|layer| layer.open.is_empty())
    }

    /// Whether nothing is left to prune.
    pub fn is_pruned(&self) -> bool {
        self.stage >= self.prune.len()
    }

    /// When something that waits may go on. What is due already waits for something else than time.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let later = |state: &State| match state {
            State::Later { at, .. } if *at > now => Some(*at),
            _ => None,
        };
        let items = self.todo.iter().filter_map(|item| later(&self.items.get(*item)?.state));
        let leavers = self.prune.get(self.stage).into_iter().flatten().filter_map(|l| later(&l.state));
        items.chain(leavers).min()
    }

    pub fn leaver_mut(&mut self, key: &ObjectKey) -> Option<&mut Leaver> {
        self.prune.get_mut(self.stage)?.iter_mut().find(|leaver| leaver.action.key == *key)
    }

    /// Marks what leaves as gone; whether there was such.
    pub fn gone(&mut self, key: &ObjectKey) -> bool {
        let Some(leaver) = self.leaver_mut(key) else { return false };
        if leaver.state == State::Done {
            return false;
        }
        leaver.state = State::Done;
        self.applied += usize::from(self.applied < self.total);
        true
    }

    /// Objects that are not done and healthy, by layer.
    pub fn unsettled(&self) -> impl Iterator<Item = &Item> {
        self.layers.iter().flat_map(|layer| &layer.open).filter_map(|item| self.items.get(*item))
    }

    /// How far it has come; `why` says why an object is not healthy.
    pub fn progress(&self, why: impl Fn(&ObjectKey) -> Option<String>) -> Progress {
        let open = self.layers.iter().flat_map(|layer| layer.open.iter().map(move |item| (layer, *item)));
        let waiting = open.filter_map(|(layer, item)| {
            let item = self.items.get(item)?;
            let reason = match &item.state {
                State::Later { why, .. } => why.clone(),
                State::Todo | State::Running => item.why.clone()?,
                State::Done => why(&item.action.key)?,
                State::Leaving => "is being deleted".to_owned(),
                State::Held => "held".to_owned(),
            };
            Some(Waiting { layer: layer.id.clone(), object: item.action.key.clone(), reason })
        });
        Progress { applied: self.applied, total: self.total, waiting: waiting.take(NAMED).collect() }
    }
}

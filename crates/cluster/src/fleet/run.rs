//! A plan in execution, as a state machine without IO: what may be started now, and what is still open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use fairlead_core::model::assignment::{Assignment, Hold, Progress, Waiting};
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::{LayerId, Release, ReleaseObject};
use fairlead_core::plan::{Action, Inventory, Kept, LivePlan, Served, Sibling, Verb, may_unblock};

/// How often what is to end a refusal at admission is tried before everything else goes on.
const UNBLOCK_TRIES: u32 = 3;
/// How long API servers may take to hear that an admission webhook, a policy or a quota is another one.
const UNBLOCK_SETTLES: Duration = Duration::from_secs(10);
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
    /// Belongs to another set, which was seen without asking; what stands by for a person leaves it alone.
    Held,
}

/// How a converged release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Healthy,
    Unhealthy,
    /// Something waits for the cluster to get over a problem of its own.
    Stalled,
    /// Something is kept from being healed by a person.
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
    /// A person must act before the next try can succeed.
    pub held: Option<Hold>,
    /// The last try failed for a reason that is the cluster's, not the release's.
    pub stalled: bool,
    /// A first apply without force has shown whose fields it would take: not another set's.
    pub may_force: bool,
    /// Others own our own annotation, and nothing else that we want to set: it was copied, and is forced.
    pub forces_stamp: bool,
    /// Whether the present work puts right what someone else did.
    pub healing: bool,
    /// It waits for something that the cluster was asked for by others: its namespace to be gone, or to be back.
    pub held_up: bool,
    /// Of these, that its namespace is gone or going: what else is in there fares no better.
    pub no_namespace: bool,
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
    /// Where it belonged.
    pub layer: Option<LayerId>,
    pub state: State,
    pub tries: u32,
    /// Until when a release that is applied and healthy waits for its end; none: nothing was asked yet.
    pub patience: Option<Instant>,
}

impl Leaver {
    fn new(action: Action) -> Self {
        Self { action, layer: None, state: State::Todo, tries: 0, patience: None }
    }

    fn is_due(&self, now: Instant) -> bool {
        match self.state {
            State::Todo => true,
            State::Later { at, .. } => at <= now,
            _ => false,
        }
    }

    /// Whether it was waited for as long as a release waits: only the cluster can bring it on.
    fn is_overdue(&self, now: Instant) -> bool {
        let asked = matches!(self.state, State::Leaving | State::Later { .. });
        asked && self.patience.is_some_and(|until| until <= now)
    }
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
    /// Deletions before everything else.
    pub unblock: Vec<Leaver>,
    /// A write was refused at admission: what may end that is changed before everything else, too.
    blocked: bool,
    /// Items that go before everything else.
    first: Vec<usize>,
    /// What goes before everything else is under work.
    pub unblocking: bool,
    /// When that was done.
    unblocked: Option<Instant>,
    /// The intent could not be written: only what may end that is done, then the plan is made again.
    pub preliminary: bool,
    pub prune: Vec<Vec<Leaver>>,
    /// Objects that the release dropped and that stay.
    pub kept: Vec<Kept>,
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
    /// What was said last of a converged release.
    pub said_health: Option<Health>,
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
            unblock: plan.unblock.into_iter().map(Leaver::new).collect(),
            blocked: false,
            first: Vec::new(),
            unblocking: false,
            unblocked: None,
            preliminary: false,
            prune: Vec::new(),
            kept: plan.kept,
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
            said_health: None,
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
        run.prune =
            plan.prune.into_iter().map(|stage| stage.into_iter().map(Leaver::new).collect()).collect();
        run.total += run.leavers().filter(|l| l.action.verb != Verb::Forget).count();
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
        if action.unblocks {
            self.first.push(number);
        }
        let healing = action.verb == Verb::Heal;
        let ours = action.verb.applies() && !healing;
        let (tries, why, may_force) = (0, None, false);
        let (held, stalled) = (None, false);
        self.items.push(Item {
            layer,
            first,
            action,
            state,
            tries,
            why,
            held,
            stalled,
            may_force,
            forces_stamp: false,
            healing,
            held_up: false,
            no_namespace: false,
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

    fn leavers(&self) -> impl Iterator<Item = &Leaver> {
        self.unblock.iter().chain(self.prune.iter().flatten())
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
        for leaver in self.unblock.iter_mut().chain(self.prune.iter_mut().flatten()) {
            let entry = inventory.objects.get(&leaver.action.key);
            leaver.layer = entry.map(|entry| entry.layer.clone());
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

    pub fn forces_stamp(&self, item: usize) -> bool {
        self.items.get(item).is_some_and(|entry| entry.forces_stamp)
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
            State::Done => {
                (entry.why, entry.held_up, entry.no_namespace, entry.forces_stamp) =
                    (None, false, false, false);
                (entry.held, entry.stalled) = (None, false);
            }
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

    fn may_start(&self, number: usize, now: Instant, unblocking: bool) -> bool {
        let Some(item) = self.items.get(number) else { return false };
        if matches!(item.state, State::Later { at, .. } if at > now) {
            return false;
        }
        // What was ours already is put right whatever its layer waits for.
        if item.healing && !self.preliminary {
            return true;
        }
        if self.first.contains(&number) {
            return true;
        }
        if unblocking || self.preliminary {
            return false;
        }
        self.is_turn(item)
    }

    fn may_jump(&self, item: &Item) -> bool {
        matches!(item.action.verb, Verb::Update | Verb::Heal) && may_unblock(&item.action.key)
    }

    /// Lets everything go before the rest whose change may end that writes are refused at admission.
    pub fn jump(&mut self) {
        if !std::mem::replace(&mut self.blocked, true) {
            let may = |(number, item): (usize, &Item)| {
                (self.may_jump(item) && !matches!(item.state, State::Done | State::Held)).then_some(number)
            };
            self.first = self.items.iter().enumerate().filter_map(may).collect();
        }
    }

    /// Whether an item goes before everything else.
    pub fn first_contains(&self, item: usize) -> bool {
        self.first.contains(&item)
    }

    /// Whether what goes before everything else is under work. What fails again and again keeps nothing else from
    /// being tried.
    pub fn is_unblocking(&self) -> bool {
        let works = |state: &State, tries: u32| match state {
            State::Todo | State::Running => true,
            State::Later { .. } => tries < UNBLOCK_TRIES,
            _ => false,
        };
        let items = self.first.iter().filter_map(|number| self.items.get(*number));
        self.unblock.iter().any(|leaver| works(&leaver.state, leaver.tries))
            || items.into_iter().any(|item| works(&item.state, item.tries))
    }

    /// Whether the plan may still end that a write is refused at admission, or has just done so: servers hear of it a
    /// moment later.
    pub fn unblocks(&mut self, now: Instant) -> bool {
        self.jump();
        self.is_unblocking() || self.unblocked.is_some_and(|at| now.duration_since(at) < UNBLOCK_SETTLES)
    }

    /// Tries again at once what was refused while something stood in its way.
    pub fn after_unblocking(&mut self, now: Instant) {
        self.unblocked = Some(now);
        for item in self.items.iter_mut().filter(|item| item.tries > 0) {
            if let State::Later { at, .. } = &mut item.state {
                *at = now;
            }
        }
    }

    /// Objects that waited for a namespace are tried again at once.
    pub fn namespace_is_back(&mut self, name: &str, now: Instant) {
        for item in self.items.iter_mut().filter(|item| item.held_up) {
            if let State::Later { at, .. } = &mut item.state
                && item.action.key.namespace() == Some(name)
            {
                *at = now;
            }
        }
    }

    /// Whether all that its layer and its rank wait for is there.
    fn is_turn(&self, item: &Item) -> bool {
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
        let unblocking = self.is_unblocking();
        let may = |item: &&usize| self.may_start(**item, now, unblocking);
        self.todo.iter().filter(may).take(room).copied().collect()
    }

    /// Whether every object is applied and healthy.
    pub fn is_applied(&self) -> bool {
        self.layers.iter().all(|layer| layer.open.is_empty())
    }

    /// Whether nothing is left to prune.
    pub fn is_pruned(&self) -> bool {
        self.stage >= self.prune.len() && self.unblock.iter().all(|leaver| leaver.state == State::Done)
    }

    /// Whether what is left to prune was waited for long enough: it fails no release that is applied and healthy.
    pub fn is_overdue(&self, now: Instant) -> bool {
        let mut open = self.at_turn().filter(|leaver| leaver.state != State::Done).peekable();
        open.peek().is_some() && open.all(|leaver| leaver.is_overdue(now))
    }

    /// What leaves and is waited for now.
    fn at_turn(&self) -> impl Iterator<Item = &Leaver> {
        self.unblock.iter().chain(self.prune.get(self.stage).into_iter().flatten())
    }

    /// What was to leave and is still there, with what it waits for itself: what leaves before it.
    pub fn lingering(&self) -> impl Iterator<Item = (&Leaver, Option<&ObjectKey>)> {
        let open = |leaver: &&Leaver| leaver.state != State::Done;
        let first = self.at_turn().find(open).map(|leaver| &leaver.action.key);
        let later = self.prune.iter().skip(self.stage + 1).flatten().filter(open);
        self.at_turn()
            .filter(open)
            .map(|leaver| (leaver, None))
            .chain(later.map(move |leaver| (leaver, first)))
    }

    /// What of the first stage is to be asked for now.
    pub fn unblock_due(&self, now: Instant) -> Vec<Action> {
        self.unblock.iter().filter(|leaver| leaver.is_due(now)).map(|leaver| leaver.action.clone()).collect()
    }

    /// What of the present stage of pruning is to be asked for now; stages that are done are passed.
    pub fn prune_due(&mut self, now: Instant) -> Vec<Action> {
        while self.prune.get(self.stage).is_some_and(|s| s.iter().all(|leaver| leaver.state == State::Done)) {
            self.stage += 1;
        }
        let stage = self.prune.get(self.stage).into_iter().flatten();
        stage.filter(|leaver| leaver.is_due(now)).map(|leaver| leaver.action.clone()).collect()
    }

    /// When something that waits may go on. What is due already waits for something else than time.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let later = |state: &State| match state {
            State::Later { at, .. } if *at > now => Some(*at),
            _ => None,
        };
        let items = self.todo.iter().filter_map(|item| later(&self.items.get(*item)?.state));
        // Nothing but time wakes a run that has converged.
        let soon = now + Duration::from_millis(50);
        let leavers = self.at_turn().filter_map(|leaver| match leaver.state {
            State::Later { at, .. } if self.converged => Some(at.max(soon)),
            _ => later(&leaver.state),
        });
        let open = self.at_turn().filter(|leaver| leaver.state != State::Done && !self.converged);
        let patience = open.filter_map(|leaver| leaver.patience).filter(|until| *until > now);
        items.chain(leavers).chain(patience).min()
    }

    pub fn leaver_mut(&mut self, key: &ObjectKey) -> Option<&mut Leaver> {
        let stage = self.prune.get_mut(self.stage).into_iter().flatten();
        self.unblock.iter_mut().chain(stage).find(|leaver| leaver.action.key == *key)
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
        let waiting = self.open_items().filter_map(|(layer, item)| {
            let reason = match (&item.held, &item.state) {
                (Some(hold), _) => hold.to_string(),
                (None, State::Later { why, .. }) => why.clone(),
                (None, State::Todo | State::Running) => item.why.clone()?,
                (None, State::Done) => why(&item.action.key)?,
                (None, State::Leaving) => "is being deleted".to_owned(),
                (None, State::Held) => "is managed by another set".to_owned(),
            };
            Some(Waiting { layer: layer.id.clone(), object: item.action.key.clone(), reason })
        });
        let leaving = self.at_turn().filter_map(|leaver| {
            let object = leaver.action.key.clone();
            let reason = match &leaver.state {
                State::Leaving => why(&object).unwrap_or_else(|| "is being deleted".to_owned()),
                State::Later { why, .. } => why.clone(),
                _ => return None,
            };
            Some(Waiting { layer: leaver.layer.clone()?, object, reason })
        });
        let holds = self.open_items().filter_map(|(_, item)| item.held.clone());
        let stalled = self.open_items().find(|(_, item)| item.stalled && item.held.is_none());
        let stalled = stalled
            .map(|(_, item)| format!("{}: {}", item.action.key, item.why.as_deref().unwrap_or_default()));
        Progress {
            applied: self.applied,
            total: self.total,
            waiting: waiting.chain(leaving).take(NAMED).collect(),
            holds: holds.take(NAMED).collect(),
            stalled,
        }
    }

    fn open_items(&self) -> impl Iterator<Item = (&Layer, &Item)> {
        let open = self.layers.iter().flat_map(|layer| layer.open.iter().map(move |item| (layer, *item)));
        open.filter_map(|(layer, item)| Some((layer, self.items.get(item)?)))
    }

    /// The first object that holds up a run in which nothing else can move before the cluster does something that
    /// others asked it for: to be done with an object, or with a namespace.
    pub fn held_up(&self) -> Option<usize> {
        if self.is_unblocking() {
            return None;
        }
        let lost = |item: &Item| (item.held_up && item.no_namespace) || item.state == State::Leaving;
        let of = |key: &ObjectKey| match key.namespace() {
            None if key.is("", "Namespace") => Some(key.name().to_owned()),
            within => within.map(str::to_owned),
        };
        let lost = self.open_items().filter(|(_, item)| lost(item));
        let lost: BTreeSet<String> = lost.filter_map(|(_, item)| of(&item.action.key)).collect();
        let is_lost = |item: &Item| {
            item.state == State::Done && of(&item.action.key).is_some_and(|name| lost.contains(&name))
        };
        let mut first = None;
        for number in self.layers.iter().flat_map(|layer| &layer.open) {
            let item = self.items.get(*number)?;
            let held_up = item.state == State::Leaving || item.held_up;
            if held_up {
                first.get_or_insert(*number);
            } else if !is_lost(item) && (!matches!(item.state, State::Todo) || self.is_turn(item)) {
                return None;
            }
        }
        first
    }
}

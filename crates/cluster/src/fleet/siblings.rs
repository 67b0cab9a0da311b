//! The other fleets on a cluster, and other names of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Fleet, Phase};
use crate::ledger::{Ledger, Stored, set_id};
use crate::orders::Order;
use fairlead_core::model::assignment::Hold;
use fairlead_core::model::object::ObjectKey;
use fairlead_core::plan::Sibling;

/// How long pruning waits for the other fleets' plans. They have the same server and begin at the same time; one
/// that takes longer has trouble that is not ours.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked whether those still want an object for whom it was kept.
pub const LOOK_FOR_HEIRS: Duration = Duration::from_secs(10);

impl Fleet {
    /// What our order wants is known from now on, or can't be.
    pub(super) fn settle_order(&self) {
        let generation = match &self.told.order {
            Some(Order::Assign(assignment)) => assignment.generation,
            _ => return,
        };
        self.cx.settle(&self.name, generation);
    }

    /// The other fleets here, with what the newest commit is to give them.
    pub(super) fn siblings(&self) -> BTreeMap<Arc<str>, Sibling> {
        let mut siblings = self.cx.siblings_of(&self.name);
        for (fleet, keys) in &self.expected {
            let id = Arc::from(set_id(&self.cx.settings.instance, fleet));
            let heir = siblings.entry(id).or_insert_with(|| Sibling {
                fleet: fleet.clone(),
                wants: BTreeSet::new(),
                adopted: BTreeSet::new(),
                left: true,
            });
            // One that has left, and is to come back, claims just what it is to get.
            if std::mem::replace(&mut heir.left, false) {
                heir.wants.clear();
            }
            heir.wants.extend(keys.iter().cloned());
        }
        siblings
    }

    pub(super) fn inventory_keys(&self) -> BTreeSet<ObjectKey> {
        self.stored.ledger.inventory.objects.keys().cloned().collect()
    }

    /// Whether what other fleets are to get may change the present plan: it prunes, hands over, or is being made.
    pub(super) fn minds_others(&self) -> bool {
        let run = self.run.as_ref();
        match self.phase {
            Phase::Idle => false,
            Phase::Executing => {
                run.is_some_and(|run| run.standby || !run.hands_over.is_empty() || !run.is_pruned())
            }
            _ => true,
        }
    }

    /// Whether an object that was kept for another fleet is wanted by none any more: then it is for us to prune.
    pub(super) fn has_lost_heirs(&mut self) -> bool {
        let Some(run) = self.run.as_ref().filter(|run| self.phase == Phase::Executing && run.converged)
        else {
            return false;
        };
        let (siblings, inventory) = (self.siblings(), &self.stored.ledger.inventory.objects);
        let mut waiting = run.hands_over.iter().filter(|key| inventory.contains_key(*key)).peekable();
        if waiting.peek().is_none() {
            return false;
        }
        let wanted = |key: &ObjectKey| siblings.values().any(|sibling| sibling.claims(key));
        let lost = waiting.any(|key| !wanted(key));
        if !lost {
            self.wake = Some(Instant::now() + LOOK_FOR_HEIRS);
        }
        lost
    }

    /// Whether objects stay that the release of a converged fleet dropped.
    pub(super) fn keeps_something(&self) -> bool {
        let converged = self.run.as_ref().is_some_and(|run| run.converged && !run.standby);
        converged && self.said.kept.as_ref().is_some_and(|(_, kept)| !kept.is_empty())
    }

    /// Whether a person allowed, by its annotation, that an object goes which stayed because it is protected.
    pub(super) fn may_go_now(&self, key: &ObjectKey) -> bool {
        let mut kept = self.said.kept.iter().flat_map(|(_, kept)| kept);
        let protected = kept.any(|kept| kept.approvable && kept.object == *key);
        protected && self.keeps_something() && self.eye.get(key).is_some_and(|seen| seen.object.prune_allowed)
    }

    /// Says what we have and want, for the other fleets to see.
    pub(super) fn publish_wants(&self) {
        let items = self.run.iter().flat_map(|run| &run.items);
        self.cx.set_sibling(&self.stored, items.map(|item| item.action.key.clone()).collect());
    }

    /// Whether nothing that we would prune can turn out to be wanted by an order that another fleet has already: an
    /// object that a commit moves between fleets is handed over, and not deleted first.
    pub(super) fn siblings_are_known(&mut self) -> bool {
        let Some(run) = &mut self.run else { return true };
        if run.is_pruned() {
            return true;
        }
        let orders = self.orders.borrow();
        let settled = orders.fleets.iter().filter(|(fleet, _)| **fleet != self.name).all(|(fleet, told)| {
            match &told.order {
                Some(Order::Assign(assignment)) => self.cx.is_settled(fleet, assignment.generation),
                _ => true,
            }
        });
        if settled || run.since.elapsed() > PATIENCE {
            return true;
        }
        self.wake = Some(Instant::now() + LOOK_EVERY);
        false
    }

    /// After a hold because of what the ledger says of this cluster: reads that again, for a person may have removed
    /// it. False if it can't be told.
    pub(super) async fn look_who_is_here(&mut self) -> bool {
        let of_ledger = |hold: &Hold| matches!(hold, Hold::SameCluster { .. } | Hold::IdentityChanged { .. });
        if !self.said.held.as_ref().is_some_and(|(_, hold)| of_ledger(hold)) {
            return true;
        }
        match self.cx.read_ledgers().await {
            Ok(mut ledgers) => {
                let settings = &self.cx.settings;
                match ledgers.remove(self.name.as_str()) {
                    Some(Ok(stored)) => self.stored = stored,
                    Some(Err(_)) => {}
                    None => {
                        let (instance, target) = (settings.instance.clone(), settings.target.clone());
                        let identity = self.cx.identity.clone();
                        self.stored = Stored::new(Ledger::new(instance, self.name.clone(), target, identity));
                    }
                }
                true
            }
            Err(error) => {
                tracing::warn!(fleet = %self.name, %error, "cannot look whether the cluster has another name still");
                self.phase = Phase::Stopped;
                self.wake = Some(Instant::now() + self.backoff.next_wait());
                false
            }
        }
    }
}

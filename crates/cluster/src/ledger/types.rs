//! What a ledger holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use fairlead_core::model::assignment::{Assignment, LedgerSummary, Purpose};
use fairlead_core::model::digest::ReleaseDigest;
use fairlead_core::model::name::{FleetName, InstanceName, TargetName};
use fairlead_core::model::object::OWN_NAMESPACE;
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::plan::Inventory;

/// Namespace of all ledgers.
pub const NAMESPACE: &str = OWN_NAMESPACE;
/// ApplySet's label on every member, with the set's id.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// Label of every ledger: the name of the installation.
pub const INSTANCE_LABEL: &str = "fairlead.dev/instance";
/// Label of every ledger: the fleet.
pub const FLEET_LABEL: &str = "fairlead.dev/fleet";
/// Releases that the history keeps.
const HISTORY: usize = 10;

/// A release at which the cluster converged, and under which order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Converged {
    pub release: ReleaseRef,
    pub generation: u64,
}

/// The record of one (instance, fleet) in one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub instance: InstanceName,
    pub fleet: FleetName,
    pub target: TargetName,
    /// Uid of the namespace `kube-system`: the cluster's identity.
    pub identity: String,
    pub generation: u64,
    /// The last intent, and the server's time at it.
    pub assigned: Option<ReleaseRef>,
    pub purpose: Option<Purpose>,
    pub intent_at: Option<Timestamp>,
    /// The last result, also of an earlier assignment.
    pub converged: Option<Converged>,
    pub base: Option<ReleaseRef>,
    /// Releases that were accepted, newest first.
    pub history: Vec<Converged>,
    pub quarantined: Vec<ReleaseDigest>,
    /// The target left the fleet and its objects were left in place.
    pub orphaned: bool,
    pub inventory: Inventory,
}

impl Ledger {
    pub fn new(instance: InstanceName, fleet: FleetName, target: TargetName, identity: String) -> Self {
        Self {
            instance,
            fleet,
            target,
            identity,
            generation: 0,
            assigned: None,
            purpose: None,
            intent_at: None,
            converged: None,
            base: None,
            history: Vec::new(),
            quarantined: Vec::new(),
            orphaned: false,
            inventory: Inventory::default(),
        }
    }

    /// Whether the last result is what is assigned, under the order that stands: who is on the way back to a
    /// release converged at it before, and is not there.
    pub fn is_converged_at(&self, release: &ReleaseDigest) -> bool {
        let at = |r: &ReleaseRef| r.digest == *release;
        let now = |c: &Converged| at(&c.release) && c.generation == self.generation;
        self.assigned.as_ref().is_some_and(at) && self.converged.as_ref().is_some_and(now)
    }

    pub fn summary(&self) -> LedgerSummary {
        let assigned = self.assigned.as_ref();
        let converged = assigned.filter(|assigned| self.is_converged_at(&assigned.digest));
        LedgerSummary {
            generation: self.generation,
            assigned: self.assigned.clone(),
            converged: converged.cloned(),
            base: self.base.clone(),
            history: self.history.iter().map(|h| h.release.clone()).collect(),
            quarantined: self.quarantined.clone(),
            objects: self.inventory.objects.len(),
        }
    }

    /// Records an order, before anything of it is done. The base it names was accepted, so it enters the history;
    /// what it quarantines leaves it.
    pub fn intend(&mut self, assignment: &Assignment, server_time: Timestamp) {
        // The one who left may come back under another name.
        self.target.clone_from(&assignment.target);
        self.generation = assignment.generation;
        self.assigned = Some(assignment.release.clone());
        self.purpose = Some(assignment.purpose);
        self.intent_at = Some(server_time);
        self.orphaned = false;
        self.base.clone_from(&assignment.base);
        self.quarantined.clone_from(&assignment.quarantined);
        if let Some(base) = &assignment.base {
            self.remember(base);
        }
        self.history.retain(|past| !assignment.quarantined.contains(&past.release.digest));
    }

    fn remember(&mut self, base: &ReleaseRef) {
        let generation = self.back_to(&base.digest).unwrap_or(self.generation);
        self.history.retain(|past| past.release.digest != base.digest);
        self.history.insert(0, Converged { release: base.clone(), generation });
        self.history.truncate(HISTORY);
    }

    /// The generation under which the cluster last converged at a release.
    pub fn back_to(&self, release: &ReleaseDigest) -> Option<u64> {
        let known = self.converged.iter().chain(&self.history).find(|past| past.release.digest == *release);
        known.map(|past| past.generation)
    }
}

/// The name of a ledger's ConfigMap. The dot keeps (`a-b`, `c`) and (`a`, `b-c`) apart: names have none.
pub fn ledger_name(instance: &InstanceName, fleet: &FleetName) -> String {
    format!("fairlead-{instance}.{fleet}")
}

/// The id of the set whose parent is this ledger, as the ApplySet specification (KEP-3659) makes it.
pub fn set_id(instance: &InstanceName, fleet: &FleetName) -> String {
    let parent = format!("{}.{NAMESPACE}.ConfigMap.", ledger_name(instance, fleet));
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(Sha256::digest(parent.as_bytes())))
}

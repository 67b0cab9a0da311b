//! While a plan as a whole waits for a person, or can't work: nothing of it is executed, and what stands in the
//! cluster is healed all the same. A hold gates change, never healing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fetch::Prepared;
use super::run::Run;
use super::{Fleet, Phase, beside};
use fairlead_core::model::assignment::Assignment;
use fairlead_core::model::release::{Release, ReleaseRef};
use fairlead_core::plan::{self, Observed};

impl Fleet {
    /// Waits for something to change, and fetches what was applied before.
    pub(super) fn stand_by(&mut self) {
        self.stop();
        let Some(goal) = &self.goal else { return };
        let ledger = &self.stored.ledger;
        if ledger.inventory.objects.values().all(|entry| entry.applied.is_none()) {
            return;
        }
        let known = goal.release.as_ref().map(|release| release.digest);
        let records =
            [ledger.assigned.as_ref(), ledger.converged.as_ref().map(|c| &c.release), ledger.base.as_ref()];
        let mut wanted: Vec<ReleaseRef> = Vec::new();
        for record in records.into_iter().flatten() {
            if Some(record.digest) != known && wanted.iter().all(|other| other.digest != record.digest) {
                wanted.push(record.clone());
            }
        }
        let (cx, assignment) = (Arc::clone(&self.cx), Arc::clone(&goal.assignment));
        self.prep = Some(beside(async move {
            let mut releases = Vec::new();
            for release in wanted {
                let digest = release.digest;
                match cx.source.get(&Assignment { release, ..(*assignment).clone() }).await {
                    Ok(release) => releases.push(release),
                    // What only it has is not healed until the order changes.
                    Err(error) => {
                        tracing::warn!(cluster = %assignment.target, release = %digest.short(), %error, "an applied release is not available");
                    }
                }
            }
            Prepared::Applied(releases)
        }));
    }

    /// Whether only healing goes on.
    pub(super) fn stands_by(&self) -> bool {
        self.phase == Phase::Executing && self.run.as_ref().is_some_and(|run| run.standby)
    }

    /// Heals what stands in the cluster until the plan is made again.
    pub(super) fn heal_only(&mut self, applied: &[Arc<Release>]) {
        let (Some(goal), Some(discovery)) = (self.goal.clone(), self.discovery.clone()) else { return };
        let kinds = discovery.scopes();
        let releases: Vec<&Release> = goal.release.iter().chain(applied).map(|release| &**release).collect();
        let Some(release) = plan::applied(&releases, &self.stored.ledger.inventory, &kinds) else { return };
        let siblings = self.cx.siblings_of(&self.name);
        let unread = self.unread_kinds(Some(&release), &discovery);
        let observed = Observed { objects: self.eye.objects(), kinds, unread, ..Observed::default() };
        let adopt = BTreeSet::new();
        let mut plan =
            plan::live(&release, &observed, &self.context(&goal.assignment, &siblings, None, &adopt));
        plan.prune.clear();
        plan.unblock.clear();
        let mut run = Run::new(goal.assignment, Some(Arc::new(release)), plan);
        (run.siblings, run.standby, run.converged) = (siblings, true, true);
        self.run = Some(Box::new(run));
        self.refresh_health();
        self.phase = Phase::Executing;
    }
}

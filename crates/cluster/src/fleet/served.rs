//! What the cluster serves, looked at again when it answers that something is not served (any more).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Fleet, Phase};
use crate::discovery::Discovery;
use fairlead_core::model::object::{GroupKind, ObjectKey};

/// How soon it is looked again what the cluster serves, after a look.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often, while an API group of ours does not answer.
const LOOK_FOR_GROUPS: Duration = Duration::from_secs(30);

impl Fleet {
    /// Reads what the cluster serves and follows it: a kind that is served in another version is watched in that one,
    /// one that came, went, or changed its scope changes the plan.
    pub(super) async fn look_what_is_served(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return;
        }
        self.looked = Some(Instant::now());
        let Some(old) = self.discovery.clone() else { return };
        let new = match self.cx.rediscover(&old).await {
            Ok(new) => new,
            Err(error) => {
                tracing::warn!(fleet = %self.name, %error, "cannot read what the cluster serves");
                return;
            }
        };
        self.discovery = Some(Arc::clone(&new));
        let found = |kind: &GroupKind| new.find(kind, "").is_some();
        let mut other = self.groups_changed(&old, &new) || self.unsure.iter().any(found);
        for kind in &self.unsure {
            other |= !self.cx.may_still_be_served(kind).await;
        }
        for resource in self.eye.resources() {
            let kind = resource.group_kind();
            match new.find(&kind, &resource.version) {
                Some(now) if *now == resource => {}
                Some(now) => {
                    other |= now.scope != resource.scope;
                    tracing::info!(fleet = %self.name, %kind, version = now.version, "is served in another version");
                    self.eye.replace(now.clone());
                }
                None if new.is_unknown(&kind.group) => {}
                None => {
                    let unsure = self.cx.may_still_be_served(&kind).await;
                    if !unsure {
                        tracing::warn!(fleet = %self.name, %kind, "is not served any more");
                        self.eye.end(&kind);
                        other = true;
                    }
                }
            }
        }
        if other && self.phase == Phase::Executing {
            self.plan_again();
        }
    }

    fn groups_changed(&self, old: &Discovery, new: &Discovery) -> bool {
        self.groups().iter().any(|group| old.is_unknown(group) != new.is_unknown(group))
    }

    fn groups(&self) -> BTreeSet<String> {
        let wanted = self.run.iter().flat_map(|run| &run.items).map(|item| item.action.key.group());
        let had = self.stored.ledger.inventory.objects.keys().map(ObjectKey::group);
        wanted.chain(had).map(str::to_owned).collect()
    }

    /// Looks again in a while if an API group of ours does not answer.
    pub(super) fn mind_groups(&mut self) {
        let Some(discovery) = self.discovery.as_ref() else { return };
        let unknown = |group: &String| discovery.is_unknown(group);
        let lacks = !self.unsure.is_empty() || (discovery.has_unknown() && self.groups().iter().any(unknown));
        self.relook = lacks.then(|| Instant::now() + LOOK_FOR_GROUPS);
    }

    /// Whether the cluster serves no version of an object's kind.
    pub(super) fn is_kind_gone(&self, key: &ObjectKey) -> bool {
        let kind = key.group_kind();
        let gone = |discovery: &Arc<Discovery>| {
            discovery.find(&kind, "").is_none() && !discovery.is_unknown(&kind.group)
        };
        self.discovery.as_ref().is_some_and(gone) && !self.eye.watches(&kind)
    }

    /// Whether a kind can be read of which a dropped object stayed because it could not.
    pub(super) fn kept_can_be_read(&self) -> bool {
        use fairlead_core::plan::KeptWhy;
        let Some(run) = self.run.as_ref().filter(|run| !run.standby) else { return false };
        let readable = |kind: &GroupKind| self.eye.is_listed(kind);
        run.kept.iter().any(|kept| kept.why == KeptWhy::Unread && readable(&kept.key.group_kind()))
    }
}

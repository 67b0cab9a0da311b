//! What the API asks beyond the view: plans and histories.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::engine::ProfilesQuestion;
use super::library::Library;
use super::plans::{self, PlanError, Wanted};
use super::pulls::Desk;
use super::workers::Handles;
use crate::repo::RepoError;
use crate::server::{
    AuditView, CauseView, HistoryView, PlanQuestion, ProfilesView, PullView, Questions, Refusal, RolloutView,
    Views,
};
use crate::store::{self, StoreError};
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::name::{FleetName, InstanceName, TargetName};
use fairlead_core::plan::offline::{Change, FleetPlan, Member, Unplanned};

/// Clusters that are asked at a time for a live plan.
const AT_A_TIME: usize = 16;

/// Answers from the repository, the store and the clusters.
pub struct Asked {
    library: Arc<Library>,
    store: store::Handle,
    workers: Handles,
    views: Views,
    /// Our field manager.
    manager: String,
    /// None: there is no forge to ask.
    desk: Option<Desk>,
    engine: mpsc::Sender<ProfilesQuestion>,
}

impl Asked {
    pub fn new(
        instance: &InstanceName,
        library: Arc<Library>,
        store: store::Handle,
        workers: Handles,
        views: Views,
        desk: Option<Desk>,
        engine: mpsc::Sender<ProfilesQuestion>,
    ) -> Self {
        Self { library, store, workers, views, manager: format!("fairlead-{instance}"), desk, engine }
    }

    async fn compare(&self, question: PlanQuestion) -> Result<Value, Refusal> {
        let (library, views) = (self.library.clone(), self.views.clone());
        let accepted = views.borrow().fleets.iter().find_map(|fleet| fleet.accepted);
        let observed = views.borrow().repository.observed;
        let (from, to) = (question.from, question.to);
        let plan = tokio::task::spawn_blocking(move || {
            let to = plans::resolve(&library, head_or(&to), observed)?;
            let from = plans::resolve(&library, from.as_deref(), accepted)?;
            plans::between(&library, from, to)
        });
        let plan = plan.await.map_err(|error| Refusal::Internal(error.to_string()))?.map_err(refusal)?;
        serde_json::to_value(plan).map_err(|error| Refusal::Internal(error.to_string()))
    }

    async fn live(&self, to: Option<String>) -> Result<Value, Refusal> {
        let (library, observed) = (self.library.clone(), self.views.borrow().repository.observed);
        let side = tokio::task::spawn_blocking(move || {
            let to = plans::resolve(&library, head_or(&to), observed)?;
            plans::Side::read(&library, to)
        });
        let side = side.await.map_err(|error| Refusal::Internal(error.to_string()))?.map_err(refusal)?;
        let unread = side.unread(&side.wanted.keys().cloned().collect());
        let asked = side.wanted.into_iter().map(|((fleet, target), wanted)| async move {
            let change = self.live_change(&fleet, &target, wanted).await;
            (Member { fleet, target }, change)
        });
        let found: Vec<_> = stream::iter(asked).buffer_unordered(AT_A_TIME).collect().await;
        let (mut changes, mut unplanned) = (Vec::new(), Vec::new());
        for (member, change) in found {
            match change {
                Ok(change) => changes.push((member, change)),
                Err(reason) => {
                    unplanned.push(Unplanned { fleet: member.fleet, target: member.target, reason })
                }
            }
        }
        let plan = FleetPlan::of(changes).unplanned(unplanned).unread(unread);
        serde_json::to_value(plan).map_err(|error| Refusal::Internal(error.to_string()))
    }

    async fn live_change(
        &self,
        fleet: &FleetName,
        target: &TargetName,
        wanted: Wanted,
    ) -> Result<Change, String> {
        let (release, name) = (wanted.release?, wanted.name.ok_or("no release")?);
        let worker = self.workers.get(target).ok_or("no fleet of the daemon has this target yet")?;
        let release = Arc::new(release);
        let view = worker.live(fleet, release.clone()).await.map_err(|error| error.to_string())?;
        Ok(plans::live(&release, &name, &wanted.policy, &view, &self.manager))
    }
}

/// A mirror has no HEAD: what people mean is the head that was seen.
fn head_or(to: &Option<String>) -> Option<&str> {
    to.as_deref().filter(|to| *to != "HEAD")
}

fn refusal(error: PlanError) -> Refusal {
    match error {
        PlanError::Unknown(text) => Refusal::NotFound(text),
        PlanError::Repository(
            error @ (RepoError::UnknownCommit { .. } | RepoError::UnknownRevision { .. }),
        ) => Refusal::NotFound(error.to_string()),
        PlanError::Repository(error) => Refusal::Unavailable(super::chain(&error)),
    }
}

impl Questions for Asked {
    fn plan(&self, question: PlanQuestion) -> BoxFuture<'_, Result<Value, Refusal>> {
        Box::pin(async move {
            if question.live { self.live(question.to).await } else { self.compare(question).await }
        })
    }

    fn history(&self, target: TargetName, limit: u32) -> BoxFuture<'_, Result<Vec<HistoryView>, Refusal>> {
        Box::pin(async move {
            let events = self.store.read(move |records| records.history(&target, limit)).await;
            let events = events.map_err(unavailable)?;
            let view = |event: store::HistoryEvent| HistoryView {
                at: event.at,
                fleet: event.fleet,
                release: event.release,
                commit: event.control,
                profiles: event.profiles,
                outcome: event.outcome,
            };
            Ok(events.into_iter().map(view).collect())
        })
    }

    fn profiles(&self, fleet: FleetName, target: TargetName) -> BoxFuture<'_, Result<ProfilesView, Refusal>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let stopping = || Refusal::Unavailable("the daemon is stopping".to_owned());
            let question = ProfilesQuestion { fleet, target, answer };
            self.engine.send(question).await.map_err(|_| stopping())?;
            answered.await.map_err(|_| stopping())
        })
    }

    fn causes(&self, fleet: FleetName, target: TargetName) -> BoxFuture<'_, Vec<CauseView>> {
        Box::pin(async move {
            let Some(worker) = self.workers.get(&target) else { return Vec::new() };
            let found = worker.causes(&fleet).await.unwrap_or_default();
            let view = |found: fairlead_cluster::Ailment| CauseView {
                object: found.object.to_string(),
                reason: found.reason,
            };
            found.into_iter().map(view).collect()
        })
    }

    fn rollouts(&self, fleet: FleetName, limit: u32) -> BoxFuture<'_, Result<Vec<RolloutView>, Refusal>> {
        Box::pin(async move {
            let found = self.store.read(move |records| records.rollouts(&fleet, limit)).await;
            let view = |rollout: store::RolloutRecord| RolloutView {
                fleet: rollout.fleet,
                source: rollout.revision.source,
                commit: rollout.revision.commit,
                state: rollout.state,
                description: rollout.description,
                began: rollout.began,
                changed: rollout.changed,
            };
            Ok(found.map_err(unavailable)?.into_iter().map(view).collect())
        })
    }

    fn audit(&self, subject: Option<String>, limit: u32) -> BoxFuture<'_, Result<Vec<AuditView>, Refusal>> {
        Box::pin(async move {
            let found = self.store.read(move |records| records.audit(subject.as_deref(), limit)).await;
            let view = |entry: store::AuditEntry| AuditView {
                at: entry.at,
                who: entry.who,
                via: entry.via,
                what: entry.what,
                subject: entry.subject,
                why: entry.why,
                outcome: entry.outcome,
            };
            Ok(found.map_err(unavailable)?.into_iter().map(view).collect())
        })
    }

    fn findings(&self, commit: String) -> BoxFuture<'_, Result<Vec<Diagnostic>, Refusal>> {
        let library = self.library.clone();
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || {
                let commit = plans::resolve(&library, Some(&commit), None)?;
                Ok(plans::findings(&library, commit)?)
            });
            found.await.map_err(|error| Refusal::Internal(error.to_string()))?.map_err(refusal)
        })
    }

    fn pull(&self, number: u64) -> BoxFuture<'_, Result<PullView, Refusal>> {
        Box::pin(async move {
            let no_forge =
                || Refusal::NotFound("no forge is asked: see the daemon's setting forge".to_owned());
            self.desk.as_ref().ok_or_else(no_forge)?.pull(number).await
        })
    }
}

fn unavailable(error: StoreError) -> Refusal {
    Refusal::Unavailable(super::chain(&error))
}

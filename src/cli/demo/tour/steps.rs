//! The steps: each acts, waits, and tells what came of it.

use std::collections::BTreeSet;

use git2::Oid;
use tokio::time::Instant;

use super::wait::{LOOK_EVERY, QUIET};
use super::{Said, Tour, TourError, id, seconds, short};
use crate::cli::demo::content;
use crate::cli::demo::figures::Figures;
use crate::cli::demo::git::GitError;
use crate::server::{FleetStatus, FleetView, StatusView, TargetView};
use fairlead_core::model::digest::CommitId;
use fairlead_core::rollout::TargetStatus;

impl Tour {
    pub(super) async fn good(&mut self) -> Result<String, TourError> {
        let (web, version) = self.next_web()?;
        let before = self.figures().await?;
        let files = [(content::WEB, web), (content::PROMOTION, content::PROMOTION_TEXT.to_owned())];
        let (commit, took) = self.roll_out(&files, &format!("Shop {version}, with a promotion")).await?;
        self.good = Some(commit);
        let (shops, spent) = (self.shops(), self.figures().await?.since(&before));
        Ok(format!(
            "{shops} shops run {version}, {took} after the commit. {spent}. That is an apply for each object that \
             changed, two a shop, and the ledger before and after; the hubs got none."
        ))
    }

    pub(super) async fn bad(&mut self) -> Result<String, TourError> {
        let text = self.web()?;
        let missing = "no labels of its pods";
        let bad = content::crashing(&text)
            .ok_or_else(|| GitError::Changed { path: content::WEB.to_owned(), missing })?;
        let before = self.figures().await?;
        let began = Instant::now();
        let commit = self.commit(&[(content::WEB, bad)], "A version that crashes")?;
        self.bad = Some(commit);
        let wanted = id(commit);
        let mut reached = BTreeSet::new();
        let undone = |view: &StatusView| {
            let got = view.targets.iter().filter(|t| t.assigned.as_ref().is_some_and(|r| r.commit == wanted));
            reached.extend(got.map(|target| target.name.clone()));
            let retail = view.fleets.iter().find(|fleet| fleet.name.as_str() == "retail");
            let failed =
                |fleet: &FleetView| fleet.state == FleetStatus::Failed && fleet.observed == Some(wanted);
            let back = |t: &TargetView| {
                t.assigned.as_ref().map(|r| r.release) == t.converged.as_ref().map(|r| r.release)
            };
            retail.is_some_and(failed) && view.targets.iter().all(back)
        };
        self.until("the bad change's being undone", undone).await?;
        let (shops, spent) = (self.shops(), self.figures().await?.since(&before));
        let (reached, took) = (reached.len(), seconds(began.elapsed()));
        Ok(format!(
            "The bad change came back: it reached {reached} of {shops} shops, and {took} after the commit all of them \
             run again what they ran before. {spent}. Its bytes are in quarantine: no commit brings them back by \
             accident."
        ))
    }

    pub(super) async fn revert_bad(&mut self) -> Result<String, TourError> {
        let bad = self.bad.take().ok_or(TourError::Missing("bad change"))?;
        let (took, spent) = self.revert(bad).await?;
        Ok(format!("Converged {took} after the revert. {spent}."))
    }

    pub(super) async fn revert_good(&mut self) -> Result<String, TourError> {
        let good = self.good.take().ok_or(TourError::Missing("good change"))?;
        let (took, spent) = self.revert(good).await?;
        let shops = self.shops();
        Ok(format!("{shops} shops are back at the first version, {took} after the revert. {spent}."))
    }

    async fn revert(&mut self, commit: Oid) -> Result<(String, Figures), TourError> {
        let before = self.settle().await?;
        let began = Instant::now();
        let reverted = self.repo().revert(commit)?;
        self.say(Said::Command(format!("git revert --no-edit {}", short(commit))))?;
        self.taken(reverted).await?;
        let took = seconds(began.elapsed());
        Ok((took, self.figures().await?.since(&before)))
    }

    pub(super) async fn drift(&mut self) -> Result<String, TourError> {
        let cluster = self.shop(0)?;
        let before = self.figures().await?;
        let replicas = self.stage.replicas(&cluster)?;
        let by_hand = replicas + 3;
        let command =
            format!("kubectl --context {cluster} scale deployment web -n shop --replicas={by_hand}");
        self.say(Said::Command(command))?;
        let began = Instant::now();
        self.stage.scale(&cluster, by_hand)?;
        let bound = self.bound();
        while self.stage.replicas(&cluster)? != replicas {
            if began.elapsed() > bound {
                return Err(TourError::Late { what: "the drift's being put right", after: bound });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let took = began.elapsed().as_millis();
        let told = self.told_of(&cluster, "drift put right", bound).await?;
        let spent = self.figures().await?.since(&before);
        Ok(format!(
            "Put right within {took} ms: {cluster} has {replicas} replicas again. Its history says \"{told}\". {spent}; \
             {} object healed.",
            spent.healed()
        ))
    }

    pub(super) async fn offline(&mut self) -> Result<String, TourError> {
        if self.shops() < 2 {
            return Ok("Left out: with one shop there are no others that go on.".to_owned());
        }
        let cluster = self.shop(1)?;
        self.stage.offline(&cluster, true);
        let done = self.change_without(&cluster).await;
        // Whatever went wrong meanwhile: it comes back.
        let began = Instant::now();
        self.stage.offline(&cluster, false);
        let (commit, version, others) = done?;
        let before = self.figures().await?;
        let there = |view: &StatusView| {
            let mut of_cluster = view.targets.iter().filter(|target| target.name.as_str() == cluster);
            of_cluster.all(|target| {
                target.status == TargetStatus::Converged
                    && target.converged.as_ref().is_some_and(|release| release.commit == commit)
            })
        };
        self.until("the cluster's catching up", there).await?;
        let (took, spent) = (seconds(began.elapsed()), self.figures().await?.since(&before));
        Ok(format!(
            "{others} had {version} while {cluster} was away; it caught up {took} after it answered again. {spent}."
        ))
    }

    /// A change while a cluster is away: the commit, its version, and how long the others took.
    async fn change_without(&mut self, cluster: &str) -> Result<(CommitId, String, String), TourError> {
        let away = |view: &StatusView| {
            view.targets.iter().any(|t| t.name.as_str() == cluster && t.status == TargetStatus::Offline)
        };
        self.until("the cluster's being seen as offline", away).await?;
        let (web, version) = self.next_web()?;
        let message = format!("Shop {version}");
        let (commit, took) = self.roll_out(&[(content::WEB, web)], &message).await?;
        let others = self.shops().saturating_sub(1);
        Ok((id(commit), version, format!("{took} after the commit, {others} shops")))
    }

    pub(super) async fn readme(&mut self) -> Result<String, TourError> {
        let text = self.repo().read(content::README)?.unwrap_or_default();
        let before = self.settle().await?;
        let files = [(content::README, format!("{text}\nThe tour was here.\n"))];
        let (_, took) = self.roll_out(&files, "A line in the README").await?;
        // What it could have started would show by then.
        tokio::time::sleep(QUIET).await;
        let spent = self.figures().await?.since(&before);
        Ok(format!("Accepted {took} after the commit, and {} s later still {spent}.", QUIET.as_secs()))
    }

    /// Commits, and waits until every fleet has accepted it.
    async fn roll_out(
        &mut self,
        files: &[(&str, String)],
        message: &str,
    ) -> Result<(Oid, String), TourError> {
        let began = Instant::now();
        let commit = self.commit(files, message)?;
        self.taken(commit).await?;
        Ok((commit, seconds(began.elapsed())))
    }

    fn commit(&mut self, files: &[(&str, String)], message: &str) -> Result<Oid, TourError> {
        let commit = self.repo().commit(files, message)?;
        self.say(Said::Command(format!("git commit -am '{message}'   # {}", short(commit))))?;
        Ok(commit)
    }

    fn web(&self) -> Result<String, TourError> {
        let missing = "it is not there";
        let changed = || GitError::Changed { path: content::WEB.to_owned(), missing };
        Ok(self.repo().read(content::WEB)?.ok_or_else(changed)?)
    }

    fn next_web(&self) -> Result<(String, String), TourError> {
        let missing = "no image shop/web:<version>";
        let changed = || GitError::Changed { path: content::WEB.to_owned(), missing };
        Ok(content::next_version(&self.web()?).ok_or_else(changed)?)
    }

    /// A shop to try something on; with few clusters there is only the first.
    fn shop(&self, number: usize) -> Result<String, TourError> {
        let shops: Vec<_> = self.clusters.iter().filter(|cluster| !cluster.hub).collect();
        let shop = shops.get(number).or(shops.first()).ok_or(TourError::Missing("shop"))?;
        Ok(shop.name.clone())
    }
}

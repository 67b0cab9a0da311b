//! What is in a pull request, and what merging it would do.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::Locked;
use crate::catalog::Folders;
use crate::daemon::library::Library;
use crate::daemon::plans;
use crate::model::diagnostic::Diagnostic;
use crate::model::digest::CommitId;
use crate::model::name::InstanceName;
use crate::plan::offline::comment::{Way, comment};
use crate::plan::offline::{FleetPlan, escape};
use crate::release::LayerCache;
use crate::repo::{Mirror, MirrorSettings};

/// A pull request's head, looked at.
pub(super) struct Checked {
    pub head: CommitId,
    pub findings: Vec<Diagnostic>,
    pub plan: Result<FleetPlan, String>,
    ways: Vec<Way>,
}

/// Its mirror and cache hold what strangers send, and so are not those of the clusters.
pub(super) struct Checker {
    settings: MirrorSettings,
    folders: Folders,
    path: PathBuf,
    bench: Locked<Bench>,
}

struct Bench {
    mirror: Mirror,
    library: Arc<Library>,
}

impl Checker {
    pub(super) fn new(settings: MirrorSettings, folders: Folders, path: PathBuf) -> Self {
        Self { settings, folders, path, bench: Locked::default() }
    }

    /// Fetches the ref and reads it, on a blocking thread; an earlier check that still runs is waited for.
    pub(super) async fn check(&self, reference: String) -> Result<Checked, String> {
        let (settings, folders, path) = (self.settings.clone(), self.folders.clone(), self.path.clone());
        let bench = self.bench.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
            if bench.is_none() {
                *bench = Some(Bench::open(&settings, folders, &path).map_err(|e| crate::daemon::chain(&e))?);
            }
            let Some(bench) = bench.as_mut() else { return Err("there is no mirror".to_owned()) };
            bench.check(&reference).map_err(|error| crate::daemon::chain(&error))
        });
        task.await.map_err(|error| format!("the check broke off: {error}"))?
    }
}

impl Bench {
    fn open(
        settings: &MirrorSettings,
        folders: Folders,
        path: &std::path::Path,
    ) -> Result<Self, plans::PlanError> {
        let mirror = Mirror::open(settings, path)?;
        let library = Library::new(Some(mirror.history()), folders, LayerCache::default());
        Ok(Self { mirror, library: Arc::new(library) })
    }

    fn check(&mut self, reference: &str) -> Result<Checked, plans::PlanError> {
        let branch = self.mirror.fetch(&[])?.head;
        let head = self.mirror.fetch_pull(reference)?;
        let base = self.mirror.history().merge_base(branch, head)?;
        let findings = plans::findings(&self.library, head)?;
        let plan = match base {
            Some(base) => plans::between(&self.library, base, head).map_err(|error| error.to_string()),
            None => Err("it has no commit in common with the branch".to_owned()),
        };
        let ways = plans::ways(plans::read(&self.library, head)?);
        Ok(Checked { head, findings, plan, ways })
    }
}

impl Checked {
    /// The comment, in at most `max` characters.
    pub(super) fn comment(&self, instance: &InstanceName, max: usize, page: Option<&str>) -> String {
        let foot = format!("\n<sub>Fairlead `{instance}`: what merging this would do to the fleets.</sub>\n");
        let room = max.saturating_sub(foot.chars().count() + MARK_AND_LAST_WORDS);
        let empty = FleetPlan::default();
        match &self.plan {
            Ok(plan) => comment(plan, &self.findings, &self.ways, room, page) + &foot,
            Err(reason) => {
                format!(
                    "**No plan**: {}.\n\n{}{foot}",
                    escape(reason),
                    comment(&empty, &self.findings, &[], room, page)
                )
            }
        }
    }
}

/// Room for what the comment gets besides.
const MARK_AND_LAST_WORDS: usize = 4_000;

//! What is in a pull request, and what merging it would do.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use super::Locked;
use super::apart::{Answer, Failed, Question, TIME, ask};
use crate::repo::{Mirror, MirrorSettings};
use fairlead_core::catalog::Folders;
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::InstanceName;

/// Room for the mark that the comment gets, and its last words.
const MARK_AND_LAST_WORDS: usize = 4_000;

/// A pull request's head, looked at.
pub(super) struct Checked {
    pub head: CommitId,
    pub found: Answer,
    foot: String,
}

/// Its mirror holds what strangers send, and so is not that of the clusters.
pub(super) struct Checker {
    settings: MirrorSettings,
    folders: Folders,
    path: PathBuf,
    mirror: Locked<Mirror>,
    instance: InstanceName,
    /// Longest comment of the forge, in characters.
    max_comment: usize,
}

impl Checker {
    pub(super) fn new(
        settings: MirrorSettings,
        folders: Folders,
        path: PathBuf,
        instance: InstanceName,
        max_comment: usize,
    ) -> Self {
        Self { settings, folders, path, mirror: Locked::default(), instance, max_comment }
    }

    /// Fetches the ref and reads it, on a blocking thread; an earlier check that still runs is waited for. What ends the
    /// reading at the last attempt is the result.
    pub(super) async fn check(
        &self,
        reference: String,
        page: Option<String>,
        time: Duration,
        last: bool,
    ) -> Result<Checked, Failed> {
        let (settings, folders, path) = (self.settings.clone(), self.folders.clone(), self.path.clone());
        let foot =
            format!("\n<sub>Fairlead `{}`: what merging this would do to the fleets.</sub>\n", self.instance);
        let room = self.max_comment.saturating_sub(foot.chars().count() + MARK_AND_LAST_WORDS);
        let mirror = self.mirror.clone();
        let task = tokio::task::spawn_blocking(move || {
            let chain = |error| Failed::Elsewhere(crate::daemon::chain(&error));
            // Held until the answer is there: the mirror is not packed anew while another process reads it.
            let mut mirror = mirror.lock().unwrap_or_else(PoisonError::into_inner);
            if mirror.is_none() {
                *mirror = Some(Mirror::open(&settings, &path).map_err(chain)?);
            }
            let Some(mirror) = mirror.as_mut() else {
                return Err(Failed::Elsewhere("there is no mirror".to_owned()));
            };
            let branch = mirror.fetch(&[]).map_err(chain)?.head;
            let head = mirror.fetch_pull(&reference).map_err(chain)?;
            let question =
                Question { seconds: time.as_secs(), mirror: path, folders, branch, head, room, page };
            let found = match ask(&question, time) {
                // How a head fails by its limits is what is to be said of it.
                Err(Failed::Broke(why)) if last => Answer::not_checked(&why, head),
                Err(Failed::TooLong(why)) if time >= TIME => Answer::not_checked(&why, head),
                found => found?,
            };
            Ok(Checked { head, found, foot })
        });
        task.await.map_err(|error| Failed::Elsewhere(format!("the check broke off: {error}")))?
    }
}

impl Checked {
    pub(super) fn comment(&self) -> String {
        format!("{}{}", self.found.comment, self.foot)
    }
}

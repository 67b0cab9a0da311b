//! The emergency stop: a brake that every write to a cluster passes, and a file that says that it is pulled.
//!
//! The file is the truth over restarts, and a way in when the API is down: whoever makes `stop` in the state folder
//! stops everything, whoever removes it takes it up again. It needs neither the store nor the repository.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::server::{Caller, Refusal, StopView};
use fairlead_cluster::Brake;
use fairlead_cluster::text::clean;

/// So much of the file is read.
const MAX_FILE: u64 = 64 << 10;
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long whoever stops everything waits for the last requests.
const DRAIN: Duration = Duration::from_secs(5);

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    pub stop: Option<StopView>,
    /// It came so by the file, made or removed by hand; nobody came through the API.
    pub by_file: bool,
}

/// What the file says.
enum Found {
    Nothing,
    Stop(StopView),
    /// Made by hand.
    ByHand(StopView),
    Unknown(io::Error),
}

#[derive(Debug)]
pub struct Emergency {
    brake: Brake,
    file: PathBuf,
    standing: watch::Sender<Standing>,
    /// Held while file and brake are changed together. True: the file could not be written, memory counts.
    unfiled: Mutex<bool>,
}

impl Emergency {
    /// Stops everything at once if the file is there, or if it is not known whether it is.
    pub fn open(state: &Path, brake: Brake) -> Self {
        let file = state.join("stop");
        let (standing, _) = watch::channel(Standing::default());
        let emergency = Self { brake, file, standing, unfiled: Mutex::default() };
        match emergency.read() {
            Found::Nothing => {}
            Found::Stop(stop) => emergency.begin(stop, false),
            Found::ByHand(stop) => emergency.begin(stop, true),
            Found::Unknown(error) => {
                let why = format!("cannot read {}: {error}", emergency.file.display());
                let (since, by) = (Timestamp::now(), "the daemon".to_owned());
                emergency.begin(StopView { since, by, why }, false);
            }
        }
        emergency
    }

    pub fn current(&self) -> Option<StopView> {
        self.standing.borrow().stop.clone()
    }

    /// Hears of every beginning and end.
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Looks at the file until cancelled.
    pub async fn follow(self: std::sync::Arc<Self>, cancel: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        while cancel.run_until_cancelled(look.tick()).await.is_some() {
            self.look();
        }
    }

    fn look(&self) {
        let unfiled = self.lock();
        let stopped = self.brake.is_pulled();
        match self.read() {
            Found::Stop(stop) | Found::ByHand(stop) if !stopped => self.begin(stop, true),
            Found::Nothing if stopped && !*unfiled => self.end(true),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.unfiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, stop: StopView, by_file: bool) {
        self.brake.pull();
        let StopView { by, why, .. } = &stop;
        warn!(by, why, "EMERGENCY STOP: nothing is written to any cluster until fairlead resume");
        self.standing.send_replace(Standing { stop: Some(stop), by_file });
    }

    fn end(&self, by_file: bool) {
        self.brake.release();
        info!("the emergency stop is over; work goes on where it was");
        self.standing.send_replace(Standing { stop: None, by_file });
    }

    fn read(&self) -> Found {
        let mut text = Vec::new();
        let read = fairlead_private::state_file().read(true).open(&self.file);
        match read.and_then(|file| file.take(MAX_FILE).read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(error) => return Found::Unknown(error),
        };
        if let Ok(view) = serde_json::from_slice::<StopView>(&text) {
            return Found::Stop(view);
        }
        let text: String = clean(&String::from_utf8_lossy(&text));
        let why = if text.is_empty() { "no reason given".to_owned() } else { text };
        let made = std::fs::metadata(&self.file).and_then(|data| data.modified()).ok();
        let since = made.and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_else(Timestamp::now);
        let by = format!("the file {}", self.file.display());
        Found::ByHand(StopView { since, by, why })
    }

    /// Whole or not at all, and on the disk.
    fn write(&self, view: &StopView) -> io::Result<()> {
        let draft = self.file.with_extension("new");
        let mut file = fairlead_private::state_file().write(true).create(true).truncate(true).open(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(view)?)?;
        file.sync_all()?;
        std::fs::rename(&draft, &self.file)?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.file.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
    }

    /// Stops everything; false: it was so already.
    fn pull(&self, caller: &Caller, why: String) -> Result<bool, io::Error> {
        let mut unfiled = self.lock();
        if self.brake.is_pulled() && !*unfiled {
            return Ok(false);
        }
        let view = StopView { since: Timestamp::now(), by: caller.to_string(), why };
        self.begin(view.clone(), false);
        let written = self.write(&view);
        *unfiled = written.is_err();
        if let Err(error) = &written {
            error!(%error, file = %self.file.display(), "the stop is not remembered over a restart");
        }
        written.map(|()| true)
    }

    fn release(&self) -> io::Result<bool> {
        let mut unfiled = self.lock();
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.sync_folder()?,
        }
        *unfiled = false;
        let stopped = self.brake.is_pulled();
        if stopped {
            self.end(false);
        }
        Ok(stopped)
    }
}

impl crate::server::Emergency for Emergency {
    fn stop(&self, caller: Caller, reason: String) -> BoxFuture<'_, String> {
        Box::pin(async move {
            let pulled = self.pull(&caller, reason);
            let left = self.brake.drained(DRAIN).await;
            let mut said = match pulled {
                Ok(true) => "every write to every cluster is stopped".to_owned(),
                Ok(false) => "everything was stopped already".to_owned(),
                Err(error) => format!(
                    "every write to every cluster is stopped, but only until the daemon ends: cannot write {}: {error}",
                    self.file.display()
                ),
            };
            if left > 0 {
                said.push_str(&format!("; {left} requests that were on their way have no answer yet"));
            }
            said
        })
    }

    fn resume(&self) -> Result<String, Refusal> {
        let gone = self.release().map_err(|error| {
            let file = self.file.display();
            Refusal::Unavailable(format!("everything stays stopped: cannot remove {file}: {error}"))
        });
        Ok(match gone? {
            true => "the emergency stop is over; work goes on where it was".to_owned(),
            false => "nothing was stopped".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Emergency as _, Via};

    fn ann() -> Caller {
        Caller { name: "ann".to_owned(), via: Via::Socket }
    }

    #[tokio::test]
    async fn a_stop_outlives_the_process_and_the_first_word_counts() {
        let folder = tempfile::tempdir().unwrap();
        let brake = Brake::default();
        let emergency = Emergency::open(folder.path(), brake.clone());
        assert_eq!((brake.is_pulled(), emergency.current()), (false, None));
        assert!(emergency.stop(ann(), "fire".into()).await.contains("is stopped"));
        assert!(emergency.stop(ann(), "again".into()).await.contains("already"));
        emergency.look();
        assert!(brake.is_pulled());

        let brake = Brake::default();
        let again = Emergency::open(folder.path(), brake.clone());
        let stop = again.current().unwrap();
        assert_eq!((brake.is_pulled(), stop.by.as_str(), stop.why.as_str()), (true, "ann (socket)", "fire"));
        assert!(again.resume().unwrap().contains("is over"));
        assert_eq!((brake.is_pulled(), again.resume().unwrap().as_str()), (false, "nothing was stopped"));
        assert_eq!(Emergency::open(folder.path(), Brake::default()).current(), None);
    }

    #[test]
    fn a_file_made_by_hand_stops_and_its_removal_resumes() {
        let folder = tempfile::tempdir().unwrap();
        let brake = Brake::default();
        let emergency = Emergency::open(folder.path(), brake.clone());
        std::fs::write(folder.path().join("stop"), "the API\u{1b} is down\n").unwrap();
        emergency.look();
        let stop = emergency.current().unwrap();
        assert_eq!((brake.is_pulled(), stop.why.as_str()), (true, "the API is down"));
        std::fs::remove_file(folder.path().join("stop")).unwrap();
        emergency.look();
        assert_eq!((brake.is_pulled(), emergency.current()), (false, None));
    }

    #[tokio::test]
    async fn what_cannot_be_written_stops_all_the_same_and_what_cannot_be_read_counts_as_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let brake = Brake::default();
        let emergency = Emergency::open(&folder.path().join("gone"), brake.clone());
        assert!(emergency.stop(ann(), "fire".into()).await.contains("only until the daemon ends"));
        emergency.look();
        assert!(brake.is_pulled());

        std::fs::create_dir(folder.path().join("stop")).unwrap();
        let brake = Brake::default();
        let emergency = Emergency::open(folder.path(), brake.clone());
        assert!(brake.is_pulled() && emergency.current().unwrap().why.contains("cannot read"));
        assert!(matches!(emergency.resume(), Err(Refusal::Unavailable(_))));
        assert!(brake.is_pulled());
    }
}

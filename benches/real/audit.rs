//! The audit log as it grows, with times: when a request came and when it was answered, by the server's clock, which
//! is this machine's.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::harness::{ControlPlane, Error, Result};

const LEDGERS: &str = "fairlead-system";
const POLL: Duration = Duration::from_millis(5);

/// One request of the daemon.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub verb: String,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    pub object_ref: ObjectRef,
    #[serde(rename = "requestReceivedTimestamp")]
    pub received: Timestamp,
    #[serde(rename = "stageTimestamp")]
    pub answered: Timestamp,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    pub namespace: String,
    pub name: String,
}

impl Entry {
    pub fn is_apply(&self) -> bool {
        self.verb == "patch" && self.object_ref.namespace != LEDGERS
    }

    pub fn is_ledger_write(&self) -> bool {
        self.object_ref.namespace == LEDGERS && ["create", "update"].contains(&&*self.verb)
    }
}

/// What the daemon asked from some moment on.
pub struct Tail {
    log: PathBuf,
    at: u64,
    rest: Vec<u8>,
    pub entries: Vec<Entry>,
}

impl Tail {
    pub fn new(plane: &ControlPlane) -> Result<Self> {
        let log = plane.folder().join("audit.log");
        let at = log.metadata()?.len();
        Ok(Self { log, at, rest: Vec::new(), entries: Vec::new() })
    }

    fn read(&mut self) -> Result<()> {
        let mut file = match File::open(&self.log) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        file.seek(SeekFrom::Start(self.at))?;
        self.at += file.read_to_end(&mut self.rest)? as u64;
        let end = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        for line in whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let entry: Entry = serde_json::from_slice(line)?;
            if entry.user_agent.starts_with("fairlead/") {
                self.entries.push(entry);
            }
        }
        Ok(())
    }

    /// Reads on until the log has what is wanted.
    pub async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&[Entry]) -> bool,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            self.read()?;
            if wanted(&self.entries) {
                return Ok(());
            }
            if start.elapsed() > limit {
                return Err(Error::new(format!("{what}: not after {} s", limit.as_secs())));
            }
            sleep(POLL).await;
        }
    }

    /// The answer to the first apply of an object.
    pub fn applied(&self, name: &str) -> Option<Timestamp> {
        let entry = self.entries.iter().find(|entry| entry.is_apply() && entry.object_ref.name == name);
        entry.map(|entry| entry.answered)
    }
}

/// Seconds between two moments.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

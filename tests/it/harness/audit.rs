//! What an API server was asked: its audit log, read between two marks.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;

use super::{Context, Error, Result, kubeconfig, wait_for};

/// The user agent of the requests that find out how far the log is.
const BARRIER: &str = "fairlead-tests-barrier";
const DEADLINE: Duration = Duration::from_secs(30);

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// The audit log of one API server.
#[derive(Clone, Debug)]
pub struct Audit {
    log: PathBuf,
    /// None while the server doesn't run: all that it will write is written.
    kubeconfig: Option<PathBuf>,
}

impl Audit {
    pub(super) fn new(log: PathBuf, kubeconfig: Option<PathBuf>) -> Self {
        Self { log, kubeconfig }
    }

    /// The place after everything that was answered until now.
    pub async fn mark(&self) -> Result<Mark> {
        let before = self.flush().await?;
        Ok(Mark(before + read(&self.log, before)?.len() as u64))
    }

    /// What was answered since then. A watch counts when it starts.
    pub async fn since(&self, mark: Mark) -> Result<Events> {
        self.flush().await?;
        let lines = read(&self.log, mark.0)?;
        let entries: Vec<Entry> = lines
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .context("reading the audit log")?;
        Ok(Events(entries.into_iter().filter_map(Entry::into_event).collect()))
    }

    /// Waits until the log has what was answered before: it has it when it has a later request.
    /// Returns a place shortly before the log's end.
    ///
    /// Two of them, one after the other: the server logs a request just after it answered it, so
    /// the first may overtake one that was answered a moment before it.
    async fn flush(&self) -> Result<u64> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let mut from = 0;
        let Some(kubeconfig) = &self.kubeconfig else { return Ok(from) };
        let client = kubeconfig::client(kubeconfig, BARRIER).await?;
        for _ in 0..2 {
            let unique = LAST.fetch_add(1, Ordering::Relaxed);
            let uri = format!("/version?barrier={}-{unique}", std::process::id());
            from = length(&self.log)?;
            let request = http::Request::get(&uri).body(Vec::new())?;
            tokio::time::timeout(DEADLINE, client.request_text(request))
                .await
                .map_err(|_| Error::new(format!("{uri}: no answer after {} s", DEADLINE.as_secs())))??;
            let what = format!("the entry of {uri} in {}", self.log.display());
            wait_for(&what, DEADLINE, async || Ok(read(&self.log, from)?.contains(&uri).then_some(())))
                .await?;
        }
        Ok(from)
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub verb: String,
    /// Empty for the core group, and for what is no resource.
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub user: String,
    pub user_agent: String,
    pub code: u16,
    pub request_uri: String,
}

/// Requests, in the order in which they were logged. Filters can be chained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events(pub Vec<Event>);

impl Events {
    /// Those whose user agent starts so.
    pub fn agent(&self, prefix: &str) -> Self {
        self.filter(|event| event.user_agent.starts_with(prefix))
    }

    pub fn verb(&self, verb: &str) -> Self {
        self.filter(|event| event.verb == verb)
    }

    /// Those of a resource, subresources included.
    pub fn resource(&self, resource: &str) -> Self {
        self.filter(|event| event.resource == resource)
    }

    pub fn namespace(&self, namespace: &str) -> Self {
        self.filter(|event| event.namespace == namespace)
    }

    pub fn filter(&self, keep: impl Fn(&Event) -> bool) -> Self {
        Self(self.0.iter().filter(|&event| keep(event)).cloned().collect())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A line for each request, to be shown when a count is not what it should be.
    pub fn lines(&self) -> String {
        let line = |event: &Event| {
            let Event { verb, request_uri, code, user_agent, .. } = event;
            format!("{verb} {request_uri} {code} {user_agent}\n")
        };
        self.0.iter().map(line).collect()
    }
}

/// A line of the log, as far as we read it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    user: EntryUser,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
}

#[derive(Default, Deserialize)]
struct EntryUser {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl Entry {
    /// None for what is no request of a test, or the second entry of one.
    fn into_event(self) -> Option<Event> {
        let second = self.verb == "watch" && self.stage != "ResponseStarted";
        if second || self.user_agent == BARRIER {
            return None;
        }
        Some(Event {
            verb: self.verb,
            group: self.object_ref.api_group,
            resource: self.object_ref.resource,
            subresource: self.object_ref.subresource,
            namespace: self.object_ref.namespace,
            name: self.object_ref.name,
            user: self.user.username,
            user_agent: self.user_agent,
            code: self.response_status.code,
            request_uri: self.request_uri,
        })
    }
}

/// The log's whole lines from some place on. The server makes the file with its first entry.
fn read(log: &Path, from: u64) -> Result<String> {
    let doing = || format!("reading {}", log.display());
    let mut file = match File::open(log) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        file => file.context(doing())?,
    };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from)).context(doing())?;
    file.read_to_end(&mut bytes).context(doing())?;
    bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
    // The log is UTF-8, but `from` may be inside a character.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn length(log: &Path) -> Result<u64> {
    match log.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        metadata => Ok(metadata.context(format!("reading {}", log.display()))?.len()),
    }
}

//! The channel of a connection over ssh on which the server's program is spoken to.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

use super::error::{RepoError, clean};
use super::ssh::Client;
use super::store::lock;
use super::transport::{Clock, Way};

/// Bytes of the program's standard error that are kept, the last ones: what it dies of is said last.
const MAX_SAID: usize = 4_096;
/// Longest text of it in an error, in characters.
const MAX_TOLD: usize = 240;
/// Bytes of the server that are kept while we write, such as a hook's progress during a push.
const MAX_WAITING: usize = 16 << 20;
/// How long after the end of its output a program's exit status is waited for.
const STATUS_TIME: Duration = Duration::from_secs(3);

/// A channel and the connection that it is on.
pub(super) struct Conversation {
    program: &'static str,
    send: ChannelWriteHalf<Msg>,
    receive: ChannelReadHalf,
    /// Ends the connection when it goes.
    _connection: Handle<Client>,
    inbox: Inbox,
    /// What libgit2 reads next.
    ready: Bytes,
    /// Something came that libgit2 was given.
    spoke: bool,
}

/// What has come and was not read.
#[derive(Default)]
struct Inbox {
    output: VecDeque<Bytes>,
    waiting: usize,
    /// Standard error.
    said: Vec<u8>,
    exit: Option<Exit>,
    /// The answer to the request to start the program.
    started: Option<bool>,
    /// No more output comes.
    eof: bool,
    closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exit {
    Status(u32),
    Signal,
}

impl Inbox {
    /// What a message holds counts, whatever it is.
    fn take(&mut self, clock: &Clock, message: Option<ChannelMsg>) -> Result<(), RepoError> {
        if let Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) = &message {
            clock.count(data.len())?;
        }
        match message {
            Some(ChannelMsg::Data { data }) => {
                self.waiting += data.len();
                self.output.push_back(data);
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                self.said.extend_from_slice(&data);
                let more = self.said.len().saturating_sub(MAX_SAID);
                self.said.drain(..more);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => self.exit = Some(Exit::Status(exit_status)),
            Some(ChannelMsg::ExitSignal { .. }) => self.exit = Some(Exit::Signal),
            Some(ChannelMsg::Success) => self.started = Some(true),
            Some(ChannelMsg::Failure) => self.started = Some(false),
            Some(ChannelMsg::Eof) => self.eof = true,
            Some(ChannelMsg::Close) | None => self.closed = true,
            Some(_) => {}
        }
        Ok(())
    }
}

impl Conversation {
    pub(super) fn new(channel: Channel<Msg>, connection: Handle<Client>, program: &'static str) -> Self {
        let (receive, send) = channel.split();
        Self {
            program,
            send,
            receive,
            _connection: connection,
            inbox: Inbox::default(),
            ready: Bytes::new(),
            spoke: false,
        }
    }

    /// Waits until the server says whether it starts the program.
    pub(super) async fn started(&mut self, way: &Way, clock: &Clock) -> Result<(), RepoError> {
        while self.inbox.started.is_none() && !self.inbox.closed {
            self.next(clock).await?;
        }
        match self.inbox.started {
            Some(true) => Ok(()),
            Some(false) => Err(self.ended(way, &format!("it refuses to run {}", self.program))),
            None => Err(self.ended(way, "it closed the connection")),
        }
    }

    /// Takes one message.
    async fn next(&mut self, clock: &Clock) -> Result<(), RepoError> {
        let message = clock.in_time(self.receive.wait()).await?;
        self.inbox.take(clock, message)
    }

    /// The next bytes; none when the program has ended as it should.
    pub(super) async fn read(
        &mut self,
        way: &Way,
        clock: &Clock,
        into: &mut [u8],
    ) -> Result<usize, RepoError> {
        while self.ready.is_empty() {
            if let Some(data) = self.inbox.output.pop_front() {
                self.inbox.waiting = self.inbox.waiting.saturating_sub(data.len());
                self.ready = self.shown(way, data)?;
            } else if self.inbox.eof || self.inbox.closed {
                return self.at_the_end(way, clock).await;
            } else {
                self.next(clock).await?;
            }
        }
        let count = self.ready.len().min(into.len());
        into[..count].copy_from_slice(&self.ready.split_to(count));
        self.spoke = true;
        Ok(count)
    }

    /// What libgit2 sees of these bytes: of the listing of refs only what it needs, and then all.
    fn shown(&self, way: &Way, data: Bytes) -> Result<Bytes, RepoError> {
        let Some(listing) = &way.listing else { return Ok(data) };
        let mut listing = lock(listing);
        if listing.ended() {
            return Ok(data);
        }
        let shown = listing.feed(&data).map_err(|fault| match way.fault(fault) {
            RepoError::Unreachable { url, reason } if !self.spoke => {
                // A shell's greeting, most often.
                let began = String::from_utf8_lossy(&data[..data.len().min(100)]).into_owned();
                RepoError::Unreachable {
                    url,
                    reason: clean(&format!("{reason}: it begins with '{}'", began.trim())),
                }
            }
            error => error,
        })?;
        Ok(shown.into())
    }

    /// The program wrote all that it has to say; did it end well?
    async fn at_the_end(&mut self, way: &Way, clock: &Clock) -> Result<usize, RepoError> {
        let rest = async {
            while self.inbox.exit.is_none() && !self.inbox.closed {
                let message = self.receive.wait().await;
                self.inbox.take(clock, message)?;
            }
            Ok(())
        };
        if let Ok(taken) = clock.in_time(tokio::time::timeout(STATUS_TIME, rest)).await? {
            taken?;
        }
        match &self.inbox.exit {
            Some(Exit::Status(0)) if self.is_whole(way) => Ok(0),
            Some(Exit::Status(0)) => {
                Err(self.ended(way, &format!("its {} ended before all was there", self.program)))
            }
            Some(Exit::Status(127)) => Err(self.ended(way, &format!("it has no {}", self.program))),
            Some(Exit::Status(status)) => {
                let what = format!("its {} ended with exit status {status}", self.program);
                Err(self.ended(way, &what))
            }
            Some(Exit::Signal) => Err(self.ended(way, &format!("its {} was killed", self.program))),
            None => Err(self.ended(way, "it closed the connection before all was there")),
        }
    }

    /// Whether the listing of refs has ended, as far as that is known.
    fn is_whole(&self, way: &Way) -> bool {
        way.listing.as_ref().is_none_or(|listing| lock(listing).ended())
    }

    /// Sends all of `bytes`.
    pub(super) async fn write(&mut self, way: &Way, clock: &Clock, bytes: &[u8]) -> Result<(), RepoError> {
        if self.send_all(clock, bytes).await? {
            return Ok(());
        }
        match self.at_the_end(way, clock).await {
            Err(error) => Err(error),
            Ok(_) => Err(self.ended(way, "it stopped reading")),
        }
    }

    /// Whether the server took all of `bytes`. What comes meanwhile is kept: a server that can't get rid of its words does
    /// not read.
    async fn send_all(&mut self, clock: &Clock, bytes: &[u8]) -> Result<bool, RepoError> {
        let mut send = pin!(self.send.data_bytes(Bytes::copy_from_slice(bytes)));
        loop {
            let open = !self.inbox.closed && self.inbox.waiting < MAX_WAITING;
            let step = async {
                tokio::select! {
                    biased;
                    sent = &mut send => Err(sent.is_ok()),
                    message = self.receive.wait(), if open => Ok(message),
                }
            };
            match clock.in_time(step).await? {
                Err(sent) => return Ok(sent),
                Ok(message) => self.inbox.take(clock, message)?,
            }
            if self.inbox.closed {
                return Ok(false);
            }
        }
    }

    /// Why the conversation ended too early, with the server's words.
    fn ended(&self, way: &Way, what: &str) -> RepoError {
        let said = tail(&String::from_utf8_lossy(&self.inbox.said));
        if !self.spoke && says_not_found(&said) {
            return way.not_found(&said);
        }
        let reason = if said.is_empty() { what.to_owned() } else { format!("{what}; it says: {said}") };
        RepoError::Unreachable { url: way.url.clone(), reason }
    }
}

/// The last words, cleaned.
fn tail(said: &str) -> String {
    let said = super::error::clean_to(said, usize::MAX);
    let length = said.chars().count();
    if length <= MAX_TOLD {
        return said;
    }
    let cut: String = said.chars().skip(length - MAX_TOLD).collect();
    let from = cut.find(' ').map_or(0, |space| space + 1);
    format!("… {}", &cut[from..])
}

/// Whether a server's words mean that there is no such repository, or none that this key may see: Git's own, and those of
/// the forges.
fn says_not_found(said: &str) -> bool {
    const WORDS: [&str; 8] = [
        "does not appear to be a git repository",
        "repository not found",
        "could not be found",
        "cannot find repository",
        "project not found",
        "does not exist",
        "no such repository",
        "denied by fallthru",
    ];
    let said = said.to_lowercase();
    WORDS.iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::settings::FetchLimits;

    #[test]
    fn of_a_long_text_the_end_is_told() {
        assert_eq!(tail("fatal: '/x'\x1b[31m does\nnot  appear\r\n"), "fatal: '/x' [31m does not appear");
        assert_eq!(tail(""), "");
        let long = format!("{} ERROR: Repository not found.\n", "motd ".repeat(1_000));
        let told = tail(&long);
        assert!(told.starts_with("… motd") && told.ends_with("motd ERROR: Repository not found."), "{told}");
        assert!(told.chars().count() <= MAX_TOLD + 2);
    }

    #[test]
    fn what_forges_say_of_a_repository_that_is_not_there() {
        for said in [
            "fatal: '/srv/x.git' does not appear to be a git repository",
            "ERROR: Repository not found.",
            "remote: ERROR: The project you were looking for could not be found or you don't have permission to view it.",
            "Gitea: Cannot find repository: a/b",
            "FATAL: R any x git DENIED by fallthru (or you mis-spelled the reponame)",
        ] {
            assert!(says_not_found(said), "{said}");
        }
        assert!(!says_not_found("fatal: detected dubious ownership in repository at '/srv/x.git'"));
    }

    #[test]
    fn standard_error_is_kept_within_bounds() {
        let url = "git@git.example.com:fleet".parse().unwrap();
        let clock = Clock::start(url, FetchLimits { bytes: 20 << 20, ..FetchLimits::default() });
        let mut inbox = Inbox::default();
        let noise = || Some(ChannelMsg::ExtendedData { data: Bytes::from_static(&[b'x'; 32_768]), ext: 1 });
        for _ in 0..640 {
            inbox.take(&clock, noise()).unwrap();
        }
        assert_eq!(inbox.said.len(), MAX_SAID);
        assert_eq!(inbox.take(&clock, noise()).unwrap_err().label(), "too-large");
    }
}

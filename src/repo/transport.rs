//! What libgit2's connections to other machines have in common: which way they take, how long they may take, and where
//! the typed cause of an error waits. Over https and ssh, Fairlead speaks itself ([`super::https`], [`super::ssh`]).

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use git2::Remote;
use git2::transport::{Service, Transport};
use http::HeaderValue;
use tokio::runtime::Builder;

use super::advertisement::{Advertisement, Fault};
use super::error::RepoError;
use super::refs::{Refs, can_be_kept};
use super::settings::FetchLimits;
use super::store::{SILENCE_TIMEOUT, lock};
use super::url::RepositoryUrl;
use super::{https, ssh};
use fairlead_net::Trust;

/// After how long a silence TCP asks the peer whether it is there.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(60);

thread_local! {
    /// The way that the transport takes which libgit2 is about to make, on the thread that asked it to fetch.
    static NEXT: RefCell<Option<Way>> = const { RefCell::new(None) };
}

/// How to get at one repository. No `Debug`: it holds a secret.
#[derive(Clone)]
pub(super) struct Way {
    pub url: RepositoryUrl,
    pub peer: Peer,
    /// What the server is shown, in words for errors: which kind, and which file.
    pub used: Arc<str>,
    pub limits: FetchLimits,
    pub cause: Cause,
    /// What comes of the server's listing of its refs. None: libgit2 gets the listing as it is.
    pub listing: Option<Arc<Mutex<Advertisement>>>,
}

/// Which server is believed, and what it is shown.
#[derive(Clone)]
pub(super) enum Peer {
    Http { trust: Box<Trust>, authorization: Option<HeaderValue> },
    Ssh(Arc<ssh::Login>),
}

impl Way {
    /// What is wrong with a listing of refs.
    pub(super) fn fault(&self, fault: Fault) -> RepoError {
        let url = self.url.clone();
        match fault {
            Fault::Malformed(reason) => RepoError::Unreachable { url, reason: reason.to_owned() },
            Fault::ObjectFormat(format) => RepoError::ObjectFormat { url, format },
        }
    }

    /// `said`: the server's own words, or nothing.
    pub(super) fn not_found(&self, said: &str) -> RepoError {
        let mut reason = match &self.peer {
            Peer::Http { authorization: None, .. } => {
                "the settings name no credentials, without which many servers say that of a private one"
                    .to_owned()
            }
            _ => format!("{} may not see it", self.used),
        };
        if !said.is_empty() {
            reason.push_str(&format!("; it says: {said}"));
        }
        RepoError::RepositoryNotFound { url: self.url.clone(), reason }
    }
}

/// Where the typed cause of an error waits: libgit2 passes only a text through.
#[derive(Clone, Default)]
pub(super) struct Cause(Arc<Mutex<Option<RepoError>>>);

impl Cause {
    /// The first one counts.
    pub(super) fn set(&self, error: RepoError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn take(&self) -> Option<RepoError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Keeps an error, and gives the text of it that libgit2 may carry: one with a NUL in it would be a panic there.
pub(super) fn told(cause: &Cause, error: RepoError) -> String {
    let text = error.to_string().replace('\0', " ");
    cause.set(error);
    text
}

/// For as long as it lives, connections of this thread to other machines take one way.
pub(super) struct OnWay(Option<Arc<Mutex<Advertisement>>>);

impl OnWay {
    pub(super) fn go(way: Way) -> Self {
        let listing = way.listing.clone();
        NEXT.set(Some(way));
        Self(listing)
    }

    /// The refs that the server listed, and how many more it has that were passed over.
    pub(super) fn refs(&self, remote: &Remote<'_>) -> Result<(Refs, usize), git2::Error> {
        if let Some(listing) = &self.0 {
            let mut listing = lock(listing);
            if listing.ended() {
                return Ok(listing.take());
            }
        }
        let heads = remote.list()?.iter();
        let heads = heads.filter(|head| can_be_kept(head.name()) && !head.name().ends_with("^{}"));
        Ok((heads.map(|head| (head.name().to_owned(), head.oid())).collect(), 0))
    }
}

impl Drop for OnWay {
    fn drop(&mut self) {
        NEXT.take();
    }
}

/// What libgit2 calls for every remote on another machine.
pub(super) fn transport(remote: &Remote<'_>) -> Result<Transport, git2::Error> {
    let way = NEXT.with_borrow(Clone::clone);
    let way = way.ok_or_else(|| git2::Error::from_str("nothing said how to connect"))?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| git2::Error::from_str(&error.to_string()))?;
    let cause = way.cause.clone();
    let failed = |error| git2::Error::from_str(&told(&cause, error));
    match way.peer {
        // A request and its answer for each step.
        Peer::Http { .. } => {
            Transport::smart(remote, true, https::subtransport(way, runtime).map_err(failed)?)
        }
        // One conversation.
        Peer::Ssh(_) => Transport::smart(remote, false, ssh::subtransport(way, runtime)),
    }
}

/// The program on the server, as in commands and URLs.
pub(super) fn name_of(service: Service) -> &'static str {
    match service {
        Service::UploadPackLs | Service::UploadPack => "git-upload-pack",
        Service::ReceivePackLs | Service::ReceivePack => "git-receive-pack",
    }
}

/// What one connection may take of time and bytes.
pub(super) struct Clock {
    url: RepositoryUrl,
    limits: FetchLimits,
    began: Instant,
    received: AtomicU64,
}

impl Clock {
    pub(super) fn start(url: RepositoryUrl, limits: FetchLimits) -> Self {
        Self { url, limits, began: Instant::now(), received: AtomicU64::default() }
    }

    /// What comes of a step, unless the server stays silent for too long or the whole takes too long.
    pub(super) async fn in_time<F: Future>(&self, step: F) -> Result<F::Output, RepoError> {
        let left = self.limits.time.saturating_sub(self.began.elapsed());
        let wait = left.min(SILENCE_TIMEOUT);
        tokio::time::timeout(wait, step).await.map_err(|_| {
            let reason = if wait < SILENCE_TIMEOUT {
                format!("the fetch took more than {} s", self.limits.time.as_secs())
            } else {
                format!("it was silent for {} s", SILENCE_TIMEOUT.as_secs())
            };
            RepoError::Timeout { url: self.url.clone(), reason }
        })
    }

    pub(super) fn count(&self, bytes: usize) -> Result<(), RepoError> {
        let size = self.received.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let limit = self.limits.bytes;
        if size <= limit {
            return Ok(());
        }
        Err(RepoError::TooLarge { what: self.url.to_string(), size, limit })
    }
}

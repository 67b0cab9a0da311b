//! Git's smart protocol over https (and http, where a setting asks for it), with the HTTP and TLS of the rest of Fairlead.
//!
//! libgit2 has a client of its own for it, which costs every fetch that a webhook asks for 40 ms and more: it sends a
//! request's head and body apart without `TCP_NODELAY`, so that the body waits for the server's delayed
//! acknowledgement; it is refused once before it shows a token; and a file of certificates that it trusts is trusted by
//! the whole process from then on.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use git2::Remote;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::Runtime;

use super::advertisement::{Advertisement, Fault};
use super::error::{RepoError, clean};
use super::refs::{Refs, can_be_kept};
use super::settings::FetchLimits;
use super::store::{SILENCE_TIMEOUT, lock};
use super::url::RepositoryUrl;
use fairlead_net::{ConnectFailure, Connector, Failed, Protocols, Route, Trust, explain};

/// Some forges serve the smart protocol to nobody whose name does not begin like Git's own.
const AGENT: &str = concat!("git/2.0 (fairlead ", env!("CARGO_PKG_VERSION"), ")");

/// After how long a silence the peer is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

thread_local! {
    /// The way that the transport takes which libgit2 is about to make, on the thread that asked it to fetch.
    static NEXT: RefCell<Option<Way>> = const { RefCell::new(None) };
}

/// How to get at one repository. No `Debug`: it holds a secret.
#[derive(Clone)]
pub(super) struct Way {
    pub url: RepositoryUrl,
    pub authorization: Option<HeaderValue>,
    pub trust: Trust,
    pub limits: FetchLimits,
    pub cause: Cause,
    /// What comes of the server's listing of its refs. None: libgit2 gets the listing as it is.
    pub listing: Option<Arc<Mutex<Advertisement>>>,
}

/// Where the typed cause of an error waits: libgit2 passes only a text through.
#[derive(Clone, Default)]
pub(super) struct Cause(Arc<Mutex<Option<RepoError>>>);

impl Cause {
    pub(super) fn set(&self, error: RepoError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn take(&self) -> Option<RepoError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// For as long as it lives, connections of this thread to `https://` and `http://` take one way.
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

/// What libgit2 calls for every remote whose URL begins with `https://` or `http://`.
pub(super) fn transport(remote: &Remote<'_>) -> Result<Transport, git2::Error> {
    let way = NEXT.with_borrow(Clone::clone);
    let way = way.ok_or_else(|| git2::Error::from_str("nothing said how to connect over http"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| git2::Error::from_str(&error.to_string()))?;
    let ask = connect(&way, Route::of_process());
    let line = Line { runtime, ask, began: Instant::now(), received: AtomicU64::default(), way };
    Transport::smart(remote, true, Smart(Arc::new(line)))
}

/// One connection's share of libgit2's work.
struct Smart(Arc<Line>);

impl SmartSubtransport for Smart {
    fn action(&self, url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let (name, lists) = match service {
            Service::UploadPackLs => ("git-upload-pack", true),
            Service::UploadPack => ("git-upload-pack", false),
            Service::ReceivePackLs => ("git-receive-pack", true),
            Service::ReceivePack => ("git-receive-pack", false),
        };
        let (line, url) = (Arc::clone(&self.0), url.trim_end_matches('/').to_owned());
        Ok(Box::new(Exchange { line, url, name, lists, asks: Vec::new(), answer: None, rest: Bytes::new() }))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// Sends a request.
pub(super) type Ask =
    dyn Fn(Request<Full<Bytes>>) -> BoxFuture<'static, Result<Response<Incoming>, ClientError>> + Send + Sync;

/// A client, which keeps its connection from one request to the next.
struct Line {
    way: Way,
    runtime: Runtime,
    ask: Box<Ask>,
    began: Instant,
    received: AtomicU64,
}

/// One request, and its answer as it comes.
struct Exchange {
    line: Arc<Line>,
    url: String,
    /// The service, as in URLs.
    name: &'static str,
    /// It lists the refs.
    lists: bool,
    asks: Vec<u8>,
    answer: Option<Incoming>,
    rest: Bytes,
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asks.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Exchange {
    /// Sends the request first, if that was not done.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill().map(|()| {
            let count = self.rest.len().min(into.len());
            into[..count].copy_from_slice(&self.rest.split_to(count));
            count
        });
        read.map_err(|error| {
            // A text with a NUL in it would be a panic on libgit2's side.
            let text = error.to_string().replace('\0', " ");
            self.line.way.cause.set(error);
            io::Error::other(text)
        })
    }
}

impl Exchange {
    /// Waits for the next bytes, if there are none left; at the end there are none.
    fn fill(&mut self) -> Result<(), RepoError> {
        if self.answer.is_none() {
            let request = self.request()?;
            let answer = self.line.in_time((self.line.ask)(request))?;
            let answer = answer.map_err(|error| failed(&self.line.way.url, &error))?;
            self.judge(&answer)?;
            self.answer = Some(answer.into_body());
        }
        let Some(answer) = &mut self.answer else { return Ok(()) };
        while self.rest.is_empty() {
            let Some(frame) = self.line.in_time(answer.frame())? else { return Ok(()) };
            let frame = frame.map_err(|error| failed(&self.line.way.url, &error))?;
            if let Ok(data) = frame.into_data() {
                self.line.count(data.len())?;
                self.rest = match self.line.way.listing.as_ref().filter(|_| self.lists) {
                    Some(listing) => {
                        let shown = lock(listing).feed(&data);
                        shown.map_err(|fault| self.line.way.fault(fault))?.into()
                    }
                    None => data,
                };
            }
        }
        Ok(())
    }

    fn request(&mut self) -> Result<Request<Full<Bytes>>, RepoError> {
        let (url, name) = (&self.url, self.name);
        let request = if self.lists {
            Request::get(format!("{url}/info/refs?service={name}")).header(ACCEPT, "*/*")
        } else {
            Request::post(format!("{url}/{name}"))
                .header(CONTENT_TYPE, format!("application/x-{name}-request"))
                .header(ACCEPT, format!("application/x-{name}-result"))
        };
        let mut request = request.header(USER_AGENT, AGENT);
        if let Some(authorization) = &self.line.way.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = Full::new(Bytes::from(std::mem::take(&mut self.asks)));
        request.body(body).map_err(|error| RepoError::UrlNotAllowed {
            url: self.line.way.url.to_string(),
            reason: error.to_string(),
        })
    }

    /// Whether an answer is what was asked for, going by its head.
    fn judge(&self, answer: &Response<Incoming>) -> Result<(), RepoError> {
        let way = &self.line.way;
        let (url, status) = (way.url.clone(), answer.status());
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED if way.authorization.is_none() => {
                let reason = "it asks for a login; name a file under 'credentials'".to_owned();
                return Err(RepoError::CredentialsMissing { url, reason });
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(RepoError::AuthenticationFailed { url });
            }
            StatusCode::NOT_FOUND => return Err(RepoError::RepositoryNotFound { url }),
            // Never followed: it would show the token to another host.
            _ if status.is_redirection() => {
                let reason = clean(&format!("{status} to {}", header(LOCATION)));
                return Err(RepoError::RedirectRefused { url, reason });
            }
            _ => return Err(RepoError::Unreachable { url, reason: format!("it answers {status}") }),
        }
        let kind = if self.lists { "advertisement" } else { "result" };
        let (found, wanted) = (header(CONTENT_TYPE), format!("application/x-{}-{kind}", self.name));
        if found.starts_with(&wanted) {
            return Ok(());
        }
        let reason = clean(&format!("it answers with '{found}', which is not Git's smart protocol"));
        Err(RepoError::Unreachable { url, reason })
    }
}

impl Way {
    fn fault(&self, fault: Fault) -> RepoError {
        let url = self.url.clone();
        match fault {
            Fault::Malformed(reason) => RepoError::Unreachable { url, reason: reason.to_owned() },
            Fault::ObjectFormat(format) => RepoError::ObjectFormat { url, format },
        }
    }
}

impl Line {
    /// What comes of a step, unless the server stays silent for too long or the whole takes too long.
    fn in_time<F: Future>(&self, step: F) -> Result<F::Output, RepoError> {
        let left = self.way.limits.time.saturating_sub(self.began.elapsed());
        let wait = left.min(SILENCE_TIMEOUT);
        let timed = self.runtime.block_on(async { tokio::time::timeout(wait, step).await });
        timed.map_err(|_| {
            let url = self.way.url.clone();
            let reason = if wait < SILENCE_TIMEOUT {
                format!("the fetch took more than {} s", self.way.limits.time.as_secs())
            } else {
                format!("it was silent for {} s", SILENCE_TIMEOUT.as_secs())
            };
            RepoError::Timeout { url, reason }
        })
    }

    fn count(&self, bytes: usize) -> Result<(), RepoError> {
        let size = self.received.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let limit = self.way.limits.bytes;
        if size <= limit {
            return Ok(());
        }
        Err(RepoError::TooLarge { what: self.way.url.to_string(), size, limit })
    }
}

/// A client of one repository.
pub(super) fn connect(way: &Way, route: Route) -> Box<Ask> {
    let connector = Connector::new(route, way.trust.clone(), Protocols::Http1)
        .keep_alive(KEEP_ALIVE)
        .allow_plain(way.url.is_plain());
    let client = Client::builder(TokioExecutor::new()).timer(TokioTimer::new()).build(connector);
    Box::new(move |request| Box::pin(client.request(request)))
}

/// What an error of the connection means.
pub(super) fn failed(url: &RepositoryUrl, error: &(dyn std::error::Error + 'static)) -> RepoError {
    let ConnectFailure { kind, text } = explain(error);
    let (url, reason) = (url.clone(), clean(&text));
    match kind {
        Failed::Certificate => RepoError::CertificateRejected { url, reason },
        Failed::Timeout => RepoError::Timeout { url, reason },
        Failed::Unreachable | Failed::Tls | Failed::Proxy => RepoError::Unreachable { url, reason },
    }
}

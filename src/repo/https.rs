//! Git's smart protocol over https (and http, where a setting asks for it), with the HTTP and TLS of the rest of Fairlead.
//!
//! libgit2 has a client of its own for it, which costs every fetch that a webhook asks for 40 ms and more: it sends a
//! request's head and body apart without `TCP_NODELAY`, so that the body waits for the server's delayed
//! acknowledgement; it is refused once before it shows a token; and a file of certificates that it trusts is trusted by
//! the whole process from then on.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::Runtime;

use super::error::{RepoError, clean};
use super::store::lock;
use super::transport::{Clock, KEEP_ALIVE, Peer, Way, name_of, told};
use super::url::RepositoryUrl;
use fairlead_net::{ConnectFailure, Connector, Failed, Protocols, Route, explain};

/// Some forges serve the smart protocol to nobody whose name does not begin like Git's own.
const AGENT: &str = concat!("git/2.0 (fairlead ", env!("CARGO_PKG_VERSION"), ")");

/// What speaks to the repository at the other end of `way`.
pub(super) fn subtransport(way: Way, runtime: Runtime) -> Result<impl SmartSubtransport, RepoError> {
    let ask = connect(&way, Route::of_process())?;
    let clock = Clock::start(way.url.clone(), way.limits);
    Ok(Smart(Arc::new(Line { runtime, ask, clock, way })))
}

/// One connection's share of libgit2's work.
struct Smart(Arc<Line>);

impl SmartSubtransport for Smart {
    fn action(&self, url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let lists = matches!(service, Service::UploadPackLs | Service::ReceivePackLs);
        let name = name_of(service);
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
    clock: Clock,
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
        read.map_err(|error| io::Error::other(told(&self.line.way.cause, error)))
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
                self.line.clock.count(data.len())?;
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
        if let Some(authorization) = self.line.authorization() {
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
            StatusCode::UNAUTHORIZED if self.line.authorization().is_none() => {
                let reason =
                    "the settings name none, and it asks for a login; name a tokenFile under 'credentials'";
                return Err(RepoError::CredentialsMissing { url, reason: reason.to_owned() });
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let refused = format!("{} ({status})", way.used);
                return Err(RepoError::AuthenticationFailed { url, refused });
            }
            StatusCode::NOT_FOUND => return Err(way.not_found("")),
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

impl Line {
    fn in_time<F: Future>(&self, step: F) -> Result<F::Output, RepoError> {
        self.runtime.block_on(self.clock.in_time(step))
    }

    /// What is shown to the server, if there is anything.
    fn authorization(&self) -> Option<&HeaderValue> {
        match &self.way.peer {
            Peer::Http { authorization, .. } => authorization.as_ref(),
            Peer::Ssh(_) => None,
        }
    }
}

/// A client of one repository.
///
/// # Errors
/// The way is not one over http.
pub(super) fn connect(way: &Way, route: Route) -> Result<Box<Ask>, RepoError> {
    let Peer::Http { trust, .. } = &way.peer else {
        let reason = "it is not an address of http".to_owned();
        return Err(RepoError::UrlNotAllowed { url: way.url.to_string(), reason });
    };
    let connector = Connector::new(route, (**trust).clone(), Protocols::Http1)
        .keep_alive(KEEP_ALIVE)
        .allow_plain(way.url.is_plain());
    let client = Client::builder(TokioExecutor::new()).timer(TokioTimer::new()).build(connector);
    Ok(Box::new(move |request| Box::pin(client.request(request))))
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

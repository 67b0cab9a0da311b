//! Who may do what.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use super::command::{Caller, Via};
use super::places::Place;
use super::problem::Problem;
use super::tokens::{Tokens, Verdict};

/// The way a connection came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// Over the Unix socket, from this user.
    Socket { user: String },
    /// Over TCP, on a loopback address: someone on this machine, or what they run.
    Loopback,
    /// Over TCP, from anywhere.
    Open,
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing; details are for [`Reader`]s.
    Free,
    /// To be on this machine, or a token.
    Read,
    /// A name.
    Change,
}

/// Set on requests whose sender may see everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader;

pub(super) type GuardState = (Option<Arc<Tokens>>, Access);

/// Answers requests that may not pass; marks the others with [`Reader`] and their [`Caller`].
pub(super) async fn guard(
    State((tokens, access)): State<GuardState>,
    mut request: Request,
    next: Next,
) -> Response {
    // Set by the listener on every connection; without it nothing is known, so nothing is trusted.
    let way = request.extensions().get().cloned().unwrap_or(Way::Open);
    let caller = match identify(&way, tokens.as_deref(), request.headers()) {
        Ok(caller) => caller,
        Err(_) if access == Access::Free => None,
        Err(problem) => return unauthorized(problem),
    };
    let reads = caller.is_some() || way == Way::Loopback;
    match access {
        Access::Change if caller.is_none() => {
            return unauthorized(
                Problem::new(StatusCode::UNAUTHORIZED, "who changes something must be named")
                    .hint("use the Unix socket in the state folder, or send 'Authorization: Bearer <token>'"),
            );
        }
        Access::Read if !reads => {
            return unauthorized(
                Problem::new(StatusCode::UNAUTHORIZED, "a token is needed")
                    .hint("send 'Authorization: Bearer <token>' with a token of the server's token file"),
            );
        }
        _ => {}
    }
    if reads {
        request.extensions_mut().insert(Reader);
    }
    if let Some(caller) = caller {
        if let Some(place) = request.extensions().get::<Place>() {
            place.keep();
        }
        request.extensions_mut().insert(caller);
    }
    next.run(request).await
}

fn unauthorized(problem: Problem) -> Response {
    let mut response = problem.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
    }
    response
}

/// The caller's name, if one was given. A token that is wrong is an error even where none is needed.
fn identify(way: &Way, tokens: Option<&Tokens>, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    if let Way::Socket { user } = way {
        return Ok(Some(Caller { name: user.clone(), via: Via::Socket }));
    }
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "the token is not known here");
    let tokens = tokens.ok_or_else(|| unknown().hint("the daemon runs without a token file"))?;
    let (scheme, token) = header.to_str().ok().and_then(|h| h.split_once(' ')).ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "only bearer tokens are known here"));
    }
    match tokens.check(token.trim()) {
        Verdict::Known(name) => Ok(Some(Caller { name, via: Via::Token })),
        Verdict::Unknown => Err(unknown()),
        Verdict::Unusable => {
            let detail = "the token file can't be read, so no token is accepted";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .hint("the daemon's log says what is wrong"))
        }
    }
}

/// Refuses requests on loopback that name another host: a web page whose name was rebound to this machine's
/// address could otherwise read as if it were on it.
pub(super) async fn check_host(request: Request, next: Next) -> Response {
    // A forge names the proxy's host; what it sends is signed.
    let signed = request.uri().path().starts_with("/webhooks/");
    if request.extensions().get::<Way>() == Some(&Way::Loopback) && !signed && !names_loopback(&request) {
        return Problem::new(StatusCode::FORBIDDEN, "the Host header does not name this machine")
            .hint("on a loopback address only localhost, 127.0.0.1 and [::1] are answered; a proxy must send one of them")
            .into_response();
    }
    next.run(request).await
}

fn names_loopback(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let named = |authority: &str| {
        let authority: Option<http::uri::Authority> = authority.parse().ok();
        let host =
            authority.as_ref().filter(|a| !a.as_str().contains('@')).map(|a| a.host().to_ascii_lowercase());
        matches!(host.as_deref(), Some("localhost" | "127.0.0.1" | "[::1]"))
    };
    // A request line with a whole URL wins over the header, says RFC 9112; so both must hold.
    host.to_str().is_ok_and(named) && request.uri().authority().is_none_or(|a| named(a.as_str()))
}

/// The name of a user of this machine; `uid 1000` where `/etc/passwd` does not know it.
pub(super) fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&passwd, uid).unwrap_or_else(|| format!("uid {uid}"))
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_id() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!((name_in(passwd, 1000).as_deref(), name_in(passwd, 1001)), (Some("alice"), None));
    }

    #[test]
    fn only_names_of_this_machine_pass() {
        let passes = |uri: &str, hosts: &[&str]| {
            let request = hosts.iter().fold(Request::builder().uri(uri), |r, h| r.header(HOST, *h));
            names_loopback(&request.body(axum::body::Body::empty()).unwrap())
        };
        for good in ["localhost", "LOCALHOST:8420", "127.0.0.1:1", "[::1]", "[::1]:8420"] {
            assert!(passes("/", &[good]), "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8420",
            "x@localhost",
            "",
            "::1",
        ] {
            assert!(!passes("/", &[bad]), "{bad}");
        }
        assert!(!passes("/", &[]));
        assert!(!passes("/", &["localhost", "evil.example"]));
        assert!(!passes("http://evil.example/", &["localhost"]));
    }
}

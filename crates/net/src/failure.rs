//! What went wrong with a connection, in words. A library's own text is for programmers; none of it comes out of here.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::trust::is_an_authoritys;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// Nobody answers there.
    Unreachable,
    Timeout,
    /// The server's certificate is not trusted.
    Certificate,
    /// There is no TLS in common, or the server does not want us.
    Tls,
    /// It is a proxy's fault, or of the setting that names it.
    Proxy,
}

/// Why there is no connection. The text is whole: it has no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ConnectFailure {
    pub kind: Failed,
    pub text: String,
}

impl ConnectFailure {
    pub(super) fn new(kind: Failed, text: String) -> Self {
        Self { kind, text }
    }
}

/// The failure of a connection that an error of an HTTP client is about, if it is about one.
pub fn connect_failure_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e ConnectFailure> {
    chain(error).find_map(<dyn Error>::downcast_ref)
}

/// An error of an HTTP client in words.
pub fn explain(error: &(dyn Error + 'static)) -> ConnectFailure {
    explain_known(error)
        .unwrap_or_else(|| ConnectFailure::new(Failed::Unreachable, "the connection broke off".to_owned()))
}

/// The same, if it is an error of a connection at all: one of ours, of the HTTP libraries, of TLS or of the system.
pub fn explain_known(error: &(dyn Error + 'static)) -> Option<ConnectFailure> {
    if let Some(failure) = connect_failure_of(error) {
        return Some(failure.clone());
    }
    if let Some(tls) = chain(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        return Some(tls_words(tls, "the server", "what is trusted"));
    }
    if let Some(io) = chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).last() {
        let timeout = io.kind() == io::ErrorKind::TimedOut;
        let kind = if timeout { Failed::Timeout } else { Failed::Unreachable };
        return Some(ConnectFailure::new(kind, io_words(io)));
    }
    if let Some(http2) = chain(error).find_map(|error| error.downcast_ref::<h2::Error>()) {
        return Some(ConnectFailure::new(Failed::Unreachable, http2_words(http2)));
    }
    let hyper = chain(error).find_map(|error| error.downcast_ref::<hyper::Error>());
    let (kind, text) = match hyper {
        Some(hyper) if hyper.is_timeout() => (Failed::Timeout, "it stopped answering"),
        Some(hyper) if hyper.is_incomplete_message() => {
            (Failed::Unreachable, "the connection was closed before the answer was there")
        }
        Some(hyper) if hyper.is_parse() || hyper.is_parse_status() => (
            Failed::Unreachable,
            "it does not speak HTTP as it should; is the port right, and is it http:// or https://?",
        ),
        Some(hyper) if hyper.is_body_write_aborted() || hyper.is_closed() || hyper.is_canceled() => {
            (Failed::Unreachable, "the connection was closed")
        }
        Some(_) => (Failed::Unreachable, "the connection broke off"),
        None if chain(error).any(<dyn Error>::is::<hyper_util::client::legacy::Error>) => {
            (Failed::Unreachable, "the connection broke off")
        }
        None => return None,
    };
    Some(ConnectFailure::new(kind, text.to_owned()))
}

/// What the peer did, by RFC 9113. The code's name is of the standard, not of the library.
fn http2_words(error: &h2::Error) -> String {
    if let Some(error) = error.get_io() {
        return io_words(error);
    }
    let reason = error.reason().filter(|reason| *reason != h2::Reason::NO_ERROR);
    let reason = reason.map(|reason| format!(" (HTTP/2 error {reason:?})")).unwrap_or_default();
    if error.is_go_away() && error.is_remote() {
        format!("the server ended the connection before it looked at the request{reason}")
    } else if error.is_reset() && error.is_remote() {
        format!("the server broke off the request{reason}")
    } else {
        format!("the server does not keep to HTTP/2{reason}")
    }
}

/// An error and all its causes; what an `io::Error` wraps is one of them.
pub(super) fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error)).take(32)
}

fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
}

/// A failure of TCP. `place`: what was connected to.
pub(super) fn tcp_failure(error: &(dyn Error + 'static), place: &str, proxy: bool) -> ConnectFailure {
    let io = chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).last();
    let timeout = io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
    let kind = match () {
        () if proxy => Failed::Proxy,
        () if timeout => Failed::Timeout,
        () => Failed::Unreachable,
    };
    let what = match io {
        // The resolver's errors have no kind, and their words are those of the C library.
        Some(io) if io.to_string().contains("lookup address") => match io.to_string() {
            text if text.contains("Temporary failure") || text.contains("try again") => {
                "its name can't be looked up now: no name server gives an answer".to_owned()
            }
            _ => "there is no host of that name".to_owned(),
        },
        Some(io) => io_words(io),
        None => "it can't be connected to".to_owned(),
    };
    ConnectFailure::new(kind, format!("{place}: {what}"))
}

/// The system's errors in words.
pub fn io_words(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "the connection was refused: nothing listens there",
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => "the connection was reset",
        Kind::UnexpectedEof => "the connection was closed",
        Kind::TimedOut => "no answer in time",
        Kind::HostUnreachable => "there is no way to that host",
        Kind::NetworkUnreachable | Kind::NetworkDown => "there is no way to that network",
        Kind::AddrNotAvailable => "no local address or port is free for it",
        Kind::NotFound => "there is no such file",
        Kind::PermissionDenied => "permission denied",
        Kind::IsADirectory => "it is a folder",
        // Without an error number it is a library's own text.
        _ if error.raw_os_error().is_none() => "the connection broke off",
        _ => return error.to_string(),
    }
    .to_owned()
}

/// A failure of a TLS handshake with `place`, by what `trust` describes.
pub(super) fn tls_failure(error: &io::Error, place: &str, trust: &str) -> ConnectFailure {
    match chain(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        Some(tls) => tls_words(tls, place, trust),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            let text = format!("{place} closed the connection during the TLS handshake");
            ConnectFailure::new(Failed::Tls, text)
        }
        None => {
            ConnectFailure::new(Failed::Tls, format!("{place} during the TLS handshake: {}", io_words(error)))
        }
    }
}

fn tls_words(error: &rustls::Error, place: &str, trust: &str) -> ConnectFailure {
    use rustls::Error as Tls;
    let (kind, text) = match error {
        Tls::InvalidCertificate(why) => {
            let why = certificate_words(why, trust);
            (Failed::Certificate, format!("the certificate of {place} is not trusted: {why}"))
        }
        Tls::NoCertificatesPresented => (Failed::Certificate, format!("{place} shows no certificate")),
        Tls::AlertReceived(alert) => (Failed::Tls, format!("{place} {}", alert_words(*alert))),
        Tls::InvalidMessage(_) => {
            (Failed::Tls, format!("{place} does not speak TLS; is the port right, and is it https?"))
        }
        Tls::PeerIncompatible(_) => (
            Failed::Tls,
            format!("{place} has no version or cipher of TLS in common (1.2 and 1.3 are spoken)"),
        ),
        _ => (Failed::Tls, format!("{place} does not keep to TLS")),
    };
    ConnectFailure::new(kind, text)
}

fn certificate_words(why: &CertificateError, trust: &str) -> String {
    use CertificateError as Why;
    match why {
        Why::UnknownIssuer => format!("it is not signed by an authority of {trust}, and not pinned there itself"),
        Why::BadSignature => format!("an authority of {trust} has its issuer's name, but did not sign it"),
        Why::ExpiredContext { not_after, .. } => format!("it expired at {}", time(not_after.as_secs())),
        Why::Expired => "it has expired".to_owned(),
        Why::NotValidYetContext { not_before, .. } => {
            format!("it is not valid before {}; is this machine's clock right?", time(not_before.as_secs()))
        }
        Why::NotValidYet => "it is not valid yet; is this machine's clock right?".to_owned(),
        Why::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                return format!("it names no host (subjectAltName), so it is not for {expected}");
            }
            let names: Vec<_> = presented.iter().take(8).map(|name| alternative(name)).collect();
            format!("it is for {}, not for {expected}", names.join(", "))
        }
        Why::NotValidForName => "it is for another host".to_owned(),
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => {
            "it is not for servers (extended key usage)".to_owned()
        }
        Why::BadEncoding => "it can't be read; is it of version 3?".to_owned(),
        Why::UnhandledCriticalExtension => "it has a critical extension that is not known".to_owned(),
        Why::Revoked => "it is revoked".to_owned(),
        Why::UnsupportedSignatureAlgorithmContext { .. } => {
            "it is signed in a way that is not supported (SHA-256 and longer with RSA, ECDSA P-256 or P-384, and \
             Ed25519 are)"
                .to_owned()
        }
        Why::Other(other) if is_an_authoritys(other) => {
            format!("it is an authority's own, which is accepted only where it is pinned; {trust} does not have it")
        }
        _ => "it can't be checked".to_owned(),
    }
}

/// `DnsName("example.com")` as a person writes it.
fn alternative(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    inner.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.:*".contains(*c)).take(253).collect()
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}

fn alert_words(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            "asks for a client certificate, and there is none"
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => "refuses the client certificate",
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            "has no version or cipher of TLS in common (1.2 and 1.3 are spoken)"
        }
        Alert::UnrecognisedName => "serves no host of that name",
        other => return format!("ended the TLS handshake (alert {})", u8::from(other)),
    }
    .to_owned()
}

//! Errors of the libraries below a connection, in words for people: none of them speaks to one.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// What is to be said of an error, and which one is looked at next.
pub struct Known<'a> {
    /// None: it says nothing that its source does not say.
    pub text: Option<String>,
    pub source: Option<&'a (dyn Error + 'static)>,
}

impl Known<'_> {
    fn last(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), source: None }
    }
}

/// Words for an error of a library that is known here.
pub fn explain<'a>(error: &'a (dyn Error + 'static)) -> Option<Known<'a>> {
    if let Some(kube::Error::Service(source)) = error.downcast_ref() {
        return Some(Known { text: None, source: Some(&**source) });
    }
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        let text = error.is_connect().then(|| "cannot connect".to_owned());
        return Some(Known { text, source: error.source() });
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return Some(http_error(error));
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return Some(http2_error(error));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(Known::last(tls_error(error)));
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return io_error(error);
    }
    // Types that can't be named, with words that only their makers understand.
    match error.to_string().as_str() {
        "tcp connect error" | "tcp open error" => Some(Known { text: None, source: error.source() }),
        "dns error" => {
            Some(Known { text: Some("the host's name can't be looked up".into()), source: error.source() })
        }
        _ => None,
    }
}

fn http_error(error: &hyper::Error) -> Known<'_> {
    if error.is_timeout() {
        return Known::last("the server does not answer any more");
    }
    if error.is_parse() || error.is_parse_status() {
        return Known::last("the server does not answer in HTTP");
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Known::last("the server closed the connection before it answered");
    }
    match error.source() {
        Some(source) => Known { text: None, source: Some(source) },
        None => Known::last("the connection broke"),
    }
}

fn http2_error(error: &h2::Error) -> Known<'_> {
    if let Some(error) = error.get_io() {
        return io_error(error).unwrap_or_else(|| Known::last(error.to_string()));
    }
    let reason = error.reason().map(|reason| format!(" ({reason:?})")).unwrap_or_default();
    if error.is_go_away() && error.is_remote() {
        Known::last(format!("the server ended the connection{reason}"))
    } else if error.is_reset() && error.is_remote() {
        Known::last(format!("the server broke off the request{reason}"))
    } else {
        Known::last(format!("the server does not keep to HTTP/2{reason}"))
    }
}

/// What the system says, without its number; what another library put into an error of the system, as that.
fn io_error(error: &io::Error) -> Option<Known<'_>> {
    if let Some(inner) = error.get_ref() {
        return Some(
            explain(inner).unwrap_or_else(|| Known { text: Some(inner.to_string()), source: inner.source() }),
        );
    }
    let text = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            "the connection broke".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "the connection ended too early".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        _ => return None,
    };
    Some(Known::last(text))
}

fn tls_error(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(error) => certificate_error(error),
        Tls::AlertReceived(alert) => alert_received(*alert),
        Tls::InvalidMessage(_) => "the server does not speak TLS".to_owned(),
        Tls::PeerIncompatible(_) => {
            "the server speaks neither TLS 1.2 nor 1.3 with a cipher that is known here".to_owned()
        }
        Tls::NoCertificatesPresented => "the server shows no certificate".to_owned(),
        other => other.to_string(),
    }
}

fn certificate_error(error: &CertificateError) -> String {
    let what = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::Revoked => "is revoked",
        CertificateError::UnknownIssuer => "is signed by an authority that is not trusted here",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name than the one that was asked"
        }
        CertificateError::BadEncoding => "can't be read",
        CertificateError::BadSignature => "has a signature that is wrong",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers"
        }
        CertificateError::Other(other) => return other_certificate_error(&other.to_string()),
        _ => "is not accepted",
    };
    format!("the server's certificate {what}")
}

/// The names of variants that the certificate library gives where it has no words.
fn other_certificate_error(name: &str) -> String {
    let what = match name {
        "CaUsedAsEndEntity" => "is an authority's own, not a server's",
        "EndEntityUsedAsCa" => "is signed by one that is no authority",
        "UnsupportedCertVersion" => "has a version that is not X.509 v3",
        "MaximumSignatureChecksExceeded" | "MaximumPathBuildCallsExceeded" => "has too long a chain",
        _ => "is not accepted",
    };
    format!("the server's certificate {what}")
}

fn alert_received(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateRequired => {
            "the server does not accept our client certificate".to_owned()
        }
        AlertDescription::UnrecognisedName => "the server knows no host of that name".to_owned(),
        AlertDescription::ProtocolVersion => "the server does not speak TLS 1.2 or 1.3".to_owned(),
        other => format!("the server refused the TLS connection ({other:?})"),
    }
}

/// Whether a request can't have been processed: it was never sent, or the server said that it had not looked at it.
/// Source: RFC 9113, 6.8 (GOAWAY) and 8.7 (REFUSED_STREAM).
pub fn was_not_processed(error: &(dyn Error + 'static)) -> bool {
    chain_of(error).any(|error| {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote() && (error.is_go_away() || refused);
        }
        error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
    })
}

/// Whether there was no connection to begin with: another try meets the same at once.
pub fn was_not_connected(error: &(dyn Error + 'static)) -> bool {
    chain_of(error).any(|error| {
        error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect())
    })
}

fn chain_of<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

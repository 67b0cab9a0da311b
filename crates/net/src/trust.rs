//! Which server certificates are trusted.
//!
//! Beside what authorities signed, a certificate that is pinned itself (in a `caFile` or a kubeconfig) is accepted for its
//! host, also where it says of itself that it is an authority's: OpenSSL's `X509_V_FLAG_PARTIAL_CHAIN` and Go's
//! `x509.Certificate.Verify` do the same, and `openssl req -x509` makes such certificates.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::failure::io_words;
use super::pem::{self, Identity};
use fairlead_private::{self as private, Holds};

/// How errors call the certificates of this machine.
pub(super) const OF_SYSTEM: &str = "this machine's certificates";
/// Largest file of certificates that is read.
const MAX_FILE: u64 = 4 << 20;

/// The system's certificates, as they were when first asked for.
static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let (_, _unusable) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
});

/// Why certificates or keys can't be used. The text does not say in which file or field they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrustError(pub(super) String);

/// What a connector trusts, and how it shows who it is.
#[derive(Clone)]
pub struct Trust {
    pub(super) config: ClientConfig,
    /// How errors call it.
    pub(super) described: String,
}

impl Trust {
    /// Trusts the system's certificates.
    ///
    /// # Errors
    /// The machine has none that can be used, or TLS can't be set up.
    pub fn system() -> Result<Self, TrustError> {
        Self::of(SYSTEM.clone(), Vec::new(), None, OF_SYSTEM.to_owned())
    }

    /// Trusts the system's certificates, and those of a PEM file, which is read now.
    ///
    /// # Errors
    /// The file can't be read, or holds no certificate.
    pub fn system_and(ca_file: Option<&Path>) -> Result<Self, TrustError> {
        let Some(path) = ca_file else { return Self::system() };
        let bytes = read(path)?;
        let (roots, pinned) = anchors(SYSTEM.clone(), &bytes)?;
        Self::of(roots, pinned, None, format!("this machine's certificates or caFile ({})", path.display()))
    }

    /// Trusts the certificates of a PEM text and no others. `described`: how errors call them.
    ///
    /// # Errors
    /// It holds no certificate, or the identity can't be used.
    pub fn only(pem: &[u8], identity: Option<Identity>, described: String) -> Result<Self, TrustError> {
        let (roots, pinned) = anchors(RootCertStore::empty(), pem)?;
        Self::of(roots, pinned, identity, described)
    }

    /// Trusts the system's certificates, and shows an identity.
    ///
    /// # Errors
    /// The identity can't be used.
    pub fn system_as(identity: Option<Identity>) -> Result<Self, TrustError> {
        Self::of(SYSTEM.clone(), Vec::new(), identity, OF_SYSTEM.to_owned())
    }

    /// Trusts anybody: what `insecure-skip-tls-verify` asks for.
    ///
    /// # Errors
    /// The identity can't be used.
    pub fn anybody(identity: Option<Identity>) -> Result<Self, TrustError> {
        let provider = provider();
        let verifier = Arc::new(Anybody(provider.clone()));
        Ok(Self { config: config(provider, verifier, identity)?, described: "nothing".to_owned() })
    }

    /// Shows who it is as another configuration does.
    #[must_use]
    pub fn identified_by(mut self, other: &ClientConfig) -> Self {
        self.config.client_auth_cert_resolver = Arc::clone(&other.client_auth_cert_resolver);
        self
    }

    fn of(
        roots: RootCertStore,
        pinned: Vec<CertificateDer<'static>>,
        identity: Option<Identity>,
        described: String,
    ) -> Result<Self, TrustError> {
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = if roots.is_empty() && pinned.is_empty() {
            // Such a machine trusts nobody; an error at the connection says so.
            Arc::new(Nobody(provider.clone()))
        } else {
            let inner =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            let inner = inner.map_err(|_| TrustError("TLS can't be set up with them".to_owned()))?;
            Arc::new(Pinning { inner, pinned })
        };
        Ok(Self { config: config(provider, verifier, identity)?, described })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<Identity>,
) -> Result<ClientConfig, TrustError> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TrustError("TLS 1.2 and 1.3 can't be set up".to_owned()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(Identity { chain, key }) = identity else { return Ok(builder.with_no_client_auth()) };
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        TrustError(match error {
            Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
            _ => "the key is of a kind that is not supported; RSA (2048 bits and more), ECDSA with P-256 or P-384, \
                  and Ed25519 are"
                .to_owned(),
        })
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    private::read(path, Holds::Settings, MAX_FILE).map_err(|error| {
        // Without an error number it is our own text.
        TrustError(if error.raw_os_error().is_some() { io_words(&error) } else { error.to_string() })
    })
}

/// Adds the certificates of a PEM text to those that sign, and gives them as those that are trusted themselves, too. As
/// in Go, what can't be read among others is left out.
fn anchors(
    mut roots: RootCertStore,
    text: &[u8],
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TrustError> {
    let pinned = pem::certificates(text)?;
    let (good, _) = roots.add_parsable_certificates(pinned.iter().cloned());
    if good == 0 {
        return Err(TrustError("none of the certificates in it can be read".to_owned()));
    }
    Ok((roots, pinned))
}

/// As an authority's signature says, or because it is pinned itself.
#[derive(Debug)]
struct Pinning {
    inner: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Pinning {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(refused) => refused,
            accepted => return accepted,
        };
        if !lacks_only_an_issuer(&refused) || !self.pinned.iter().any(|pinned| pinned == end_entity) {
            return Err(refused);
        }
        // Its dates are good: they are looked at first.
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether a certificate is good but for who signed it, or says of itself that it is an authority's.
fn lacks_only_an_issuer(refused: &Error) -> bool {
    use CertificateError as Why;
    let Error::InvalidCertificate(why) = refused else { return false };
    match why {
        Why::UnknownIssuer | Why::BadSignature => true,
        // Of a signature that nobody has to check, or by another authority of that name.
        Why::UnsupportedSignatureAlgorithmContext { .. }
        | Why::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => true,
        Why::Other(other) => is_an_authoritys(other),
        _ => false,
    }
}

/// Whether a certificate is refused because it is an authority's own.
pub(super) fn is_an_authoritys(error: &rustls::OtherError) -> bool {
    matches!(error.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// For a machine without certificates.
#[derive(Debug)]
struct Nobody(Arc<CryptoProvider>);

/// Without a check.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

macro_rules! unverified {
    ($name:ty, $verdict:expr) => {
        impl ServerCertVerifier for $name {
            fn verify_server_cert(
                &self,
                _: &CertificateDer<'_>,
                _: &[CertificateDer<'_>],
                _: &ServerName<'_>,
                _: &[u8],
                _: UnixTime,
            ) -> Result<ServerCertVerified, Error> {
                $verdict
            }

            fn verify_tls12_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signed: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                let algorithms = &self.0.signature_verification_algorithms;
                verify_tls12_signature(message, certificate, signed, algorithms)
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signed: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                let algorithms = &self.0.signature_verification_algorithms;
                verify_tls13_signature(message, certificate, signed, algorithms)
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                self.0.signature_verification_algorithms.supported_schemes()
            }
        }
    };
}

unverified!(Nobody, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
unverified!(Anybody, Ok(ServerCertVerified::assertion()));

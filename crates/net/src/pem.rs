//! Certificates and keys in PEM, as Go's `crypto/tls` and OpenSSL read them: what stands between the blocks, and blocks
//! of other kinds, are passed over.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::trust::TrustError;

/// As Go's `base64.StdEncoding`: padded, and without a look at the last bits.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Decodes a field of base64, in one line or many.
///
/// # Errors
/// It is none. The text shows nothing of it.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, TrustError> {
    let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(&compact).map_err(|error| {
        use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
        let what = match error {
            _ if compact.starts_with(b"-----BEGIN") => {
                "it is PEM itself; encode it once more (base64 -w0 FILE)"
            }
            InvalidByte(_, b'-' | b'_') => {
                "it is the URL's kind of base64, with '-' and '_' instead of '+' and '/'"
            }
            InvalidByte(..) => "it holds a character that base64 has not",
            InvalidLength(_) | InvalidPadding => "its end is missing",
            InvalidLastSymbol(..) => "its end is damaged",
        };
        TrustError(format!("it is not base64: {what}"))
    })
}

/// The certificates of a text.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let text = tolerant(text);
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let holds = |words: &str| String::from_utf8_lossy(&text).contains(words);
    Err(TrustError(
        if holds("-----BEGIN CERTIFICATE") || holds("-----BEGIN TRUSTED CERTIFICATE") {
            "the certificate in it can't be read"
        } else if holds("PRIVATE KEY-----") {
            "it holds a key and no certificate"
        } else {
            "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
        }
        .to_owned(),
    ))
}

/// What a client shows of itself.
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A certificate with what leads to its authority, and its key; each may stand in the other's text, too.
    ///
    /// # Errors
    /// `Err(true, ..)`: the key can't be used; `Err(false, ..)`: the certificate.
    pub fn read(certificate: &[u8], key: &[u8]) -> Result<Self, (bool, TrustError)> {
        let chain = certificates(certificate).map_err(|error| (false, error))?;
        let text = tolerant(key);
        let found = PrivateKeyDer::from_pem_slice(&text);
        let key = found.map_err(|_| {
            let holds = |words: &str| String::from_utf8_lossy(&text).contains(words);
            let what = if holds("ENCRYPTED") {
                "the key is encrypted with a passphrase, which nobody could type; take the passphrase away"
            } else if holds("PRIVATE KEY-----") {
                "the key in it can't be read"
            } else {
                "it holds no private key in PEM"
            };
            (true, TrustError(what.to_owned()))
        })?;
        Ok(Self { chain, key })
    }
}

/// Blocks as the parser wants them: each line without white space around it. Editors and templates indent.
fn tolerant(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 1);
    for line in text.split(|byte| *byte == b'\n' || *byte == b'\r') {
        let line = line.trim_ascii();
        if !line.is_empty() {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    out
}

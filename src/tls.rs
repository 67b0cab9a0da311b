//! What Fairlead trusts when it calls a forge or a repository over https.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The system's certificates, as they were when first asked for.
static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let (_, _unusable) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
});

/// Why a file of certificates can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// Trusts the system's certificates, and those of a PEM file, which is read now.
///
/// # Errors
/// The file can't be read, or holds no certificate.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, Unusable> {
    let mut roots = SYSTEM.clone();
    if let Some(path) = ca_file {
        let failed = |error: &dyn std::fmt::Display| Unusable(error.to_string());
        let mut found = 0;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
            let certificate = certificate.map_err(|error| failed(&error))?;
            roots.add(certificate).map_err(|error| failed(&error))?;
            found += 1;
        }
        if found == 0 {
            return Err(failed(&"it holds no certificate in PEM"));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

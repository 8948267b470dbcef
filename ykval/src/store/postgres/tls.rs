//! TLS to the database, by rustls and *ring*: the chain and the name in the certificate are always checked.

use crate::file::{self, Audience};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::path::Path;
use std::sync::Arc;
pub(super) use tokio_postgres_rustls::MakeRustlsConnect;
use yubiotp::authorities::BUNDLES;
use yubiotp::diagnostic::{Code, Diagnostic};

const MOST_AUTHORITIES: u64 = 16 << 20;

/// The TLS connector. If TLS is not used, it trusts no authority.
pub(super) fn connector(used: bool, ca: Option<&Path>) -> Result<MakeRustlsConnect, Diagnostic> {
    let roots = if used { roots(ca)? } else { RootCertStore::empty() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Diagnostic::error(Code::DatabaseFailed, format!("TLS cannot be used: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn roots(named: Option<&Path>) -> Result<RootCertStore, Diagnostic> {
    let mut roots = RootCertStore::empty();
    let path =
        named.or_else(|| BUNDLES.iter().map(Path::new).find(|path| path.exists())).ok_or_else(|| {
            let problem =
                format!("this host has no certificate authorities: none of {} exists", BUNDLES.join(", "));
            Diagnostic::error(Code::CaBundleMissing, problem)
                .advise("install ca-certificates, or set postgres.ca")
        })?;
    let text = file::read(path, Audience::Everyone, MOST_AUTHORITIES).map_err(|fault| fault.diagnostic())?;
    let invalid = |problem: &str| Diagnostic::error(Code::CaFileInvalid, problem).at(file::location(path));
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let added = certificate
            .map_err(|why| why.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|why| why.to_string()));
        // A bad certificate in the system's bundle is skipped. In a file that the configuration names, it is an error.
        if let (Err(why), Some(_)) = (added, named) {
            return Err(invalid(&format!("a certificate in it cannot be used: {why}")));
        }
    }
    if roots.is_empty() {
        return Err(invalid("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(roots)
}

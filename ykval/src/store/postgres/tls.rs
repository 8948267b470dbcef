//! TLS to the database, by rustls and *ring*: the chain and the name in the certificate are always checked.

use crate::certificates;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::path::Path;
use std::sync::Arc;
pub(super) use tokio_postgres_rustls::MakeRustlsConnect;
use yubiotp::diagnostic::{Code, Diagnostic};

/// The TLS connector. If TLS is not used, it trusts no authority.
pub(super) fn connector(used: bool, ca: Option<&Path>) -> Result<MakeRustlsConnect, Diagnostic> {
    let roots = if used { certificates::roots(ca, "postgres.ca")? } else { RootCertStore::empty() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Diagnostic::error(Code::DatabaseFailed, format!("TLS cannot be used: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

//! TLS to members, by rustls and *ring*: the chain and the name in the certificate are always checked.

use crate::certificates::{self, MOST_PEM};
use crate::config::EtcdConfig;
use crate::file::{self, Audience};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, Error, RootCertStore};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use yubiotp::diagnostic::{Code, Diagnostic};

/// The protocol of gRPC.
pub(super) const HTTP2: &[u8] = b"h2";

/// Reads the files that the settings name; for every new connection, so that renewed ones are used. `None`: without TLS.
/// `protocols` are offered; without any, members speak HTTP/1.1.
pub(super) fn connector(
    config: &EtcdConfig,
    protocols: &[&[u8]],
) -> Result<Option<TlsConnector>, Diagnostic> {
    if !config.tls {
        return Ok(None);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Diagnostic::error(Code::DatabaseFailed, format!("TLS cannot be used: {error}")))?
        .with_root_certificates(certificates::roots(config.ca.as_deref(), "etcd.ca")?);
    let mut tls = match &config.client {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = certificates::read(&files.certificate).map_err(|fault| fault.diagnostic())?;
            let key =
                file::read(&files.key, Audience::Group, MOST_PEM).map_err(|fault| fault.diagnostic())?;
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|why| {
                let problem = format!("holds no private key in PEM without a passphrase ({why})");
                Diagnostic::error(Code::CertificateInvalid, problem).at(file::location(&files.key))
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|why| {
                let problem = format!("cannot be used with the key {}: {why}", files.key.display());
                Diagnostic::error(Code::CertificateKeyMismatch, problem)
                    .at(file::location(&files.certificate))
            })?
        }
    };
    tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Some(TlsConnector::from(Arc::new(tls))))
}

/// Whether a server speaks TLS, whatever its certificate is. Nothing is sent to it but the first message of a handshake.
pub(super) async fn is_spoken(tcp: TcpStream, host: &str) -> bool {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let (Ok(builder), Ok(name)) =
        (builder.with_safe_default_protocol_versions(), ServerName::try_from(host.to_owned()))
    else {
        return false;
    };
    // No certificate is trusted, so the handshake ends there.
    let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let why = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.err();
    let why = why.as_ref().and_then(|why| why.get_ref()?.downcast_ref());
    matches!(why, Some(Error::InvalidCertificate(_) | Error::AlertReceived(_) | Error::PeerIncompatible(_)))
}

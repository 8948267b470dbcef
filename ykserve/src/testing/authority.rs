//! Certificates, and connections by TLS.

use super::Wire;
use crate::settings::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate and its key, in PEM.
pub type Identity = (String, String);

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Another one each time.
    ///
    /// # Panics
    /// There are no random numbers.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a name, and its key.
    ///
    /// # Panics
    /// It is no name.
    #[must_use]
    pub fn identity(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The files of a server with a certificate for `localhost`: `server.pem`, `server.key`, `clients.pem`.
    #[must_use]
    pub fn files(&self, folder: &Path, clients: Option<&Self>) -> TlsFiles {
        let (certificate, key) = self.identity("localhost");
        TlsFiles {
            certificate: put(folder, "server.pem", &certificate),
            key: put(folder, "server.key", &key),
            client_ca: clients.map(|clients| put(folder, "clients.pem", &clients.pem)),
        }
    }

    /// Connects, believing this authority, with a certificate or without.
    ///
    /// # Errors
    /// The handshake fails.
    ///
    /// # Panics
    /// The certificate is none.
    pub async fn connect(
        &self,
        to: SocketAddr,
        shown: Option<&Identity>,
    ) -> io::Result<Wire<TlsStream<TcpStream>>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from("localhost").unwrap();
        Ok(Wire::over(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }
}

/// Writes a file that may hold secrets, in one step instead of one of that name: a server may look at any time.
///
/// # Panics
/// It cannot be written.
pub fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
    let (path, new) = (folder.join(name), folder.join(format!(".{name}.new")));
    crate::file::create(&new, text.as_bytes(), 0o600).unwrap();
    std::fs::rename(&new, &path).unwrap();
    path
}

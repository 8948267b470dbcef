//! Authorities, servers and clients of https, made for each test.

use crate::server::{Server, read_request};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A certificate authority.
pub(crate) struct Ca {
    pub(crate) certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a name or address.
    pub(crate) fn signs(&self, name: &str) -> Pair {
        self.signs_with(name, |_| {})
    }

    pub(crate) fn signs_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names = if name.is_empty() { Vec::new() } else { vec![name.to_string()] };
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }
}

pub(crate) fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2020, 2, 1);
}

pub(crate) fn not_yet(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2090, 1, 1);
    params.not_after = date_time_ymd(2091, 1, 1);
}

/// What a server over TLS wants.
pub(crate) struct Wants<'a> {
    /// Client certificates of this authority.
    pub(crate) clients_of: Option<&'a Ca>,
    pub(crate) versions: &'a [&'static SupportedProtocolVersion],
}

impl Default for Wants<'_> {
    fn default() -> Self {
        Self { clients_of: None, versions: rustls::ALL_VERSIONS }
    }
}

/// An https server that replies.
pub(crate) fn serve(pair: &Pair, wants: &Wants) -> Server {
    let config = Arc::new(config(pair, wants));
    Server::new(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        if read_request(&mut stream).is_empty() {
            return;
        }
        let _ = stream.write_all(crate::server::reply("status=OK").as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

pub(crate) fn config(pair: &Pair, wants: &Wants) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(wants.versions).unwrap();
    let builder = match wants.clients_of {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.certificate.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain: Vec<CertificateDer> = vec![pair.certificate.der().clone()];
    builder.with_single_cert(chain, PrivateKeyDer::Pkcs8(pair.key.serialize_der().into())).unwrap()
}

/// A folder of PEM files.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file of mode 0600, and says where.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_string()
    }
}

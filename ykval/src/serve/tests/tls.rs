//! TLS: which certificates are shown, taken and read anew.

use super::*;
use crate::config::{Decrypt, DecryptAt, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Who signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a name, and its key.
    fn identity(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The files of a server with a certificate for `localhost`.
    fn files(&self, folder: &Path, clients: Option<&Self>) -> TlsFiles {
        let (certificate, key) = self.identity("localhost");
        TlsFiles {
            certificate: put(folder, "server.pem", &certificate),
            key: put(folder, "server.key", &key),
            client_ca: clients.map(|clients| put(folder, "clients.pem", &clients.pem)),
        }
    }

    /// Connects, believing this authority, with a certificate or without.
    async fn connect(
        &self,
        to: SocketAddr,
        shown: Option<&(String, String)>,
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

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_read_anew() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut folder = PathBuf::new();
    let site = Site::with("", 9, |config, at| {
        config.tls = Some(old.files(at, None));
        folder = at.to_owned();
    });
    let site = site.await;
    assert!(site.started.tls);
    let mut stays = old.connect(site.address(), None).await.unwrap();
    assert_eq!(stays.get(&verify(&otp(1, 0))).await.status(), "OK");

    // Half of it is another's: refused, and the old one stays.
    put(&folder, "server.pem", &new.identity("localhost").0);
    site.order(Order::Reload).await;
    let log = site.logged("event=certificate-refused").await;
    assert!(log.contains("server.key") && !log.contains("event=certificate-reloaded"), "{log}");
    assert!(old.connect(site.address(), None).await.is_ok(), "the old certificate is not shown any more");

    let _ = new.files(&folder, None);
    site.order(Order::Reload).await;
    site.logged("event=certificate-reloaded").await;
    let mut wire = new.connect(site.address(), None).await.unwrap();
    assert_eq!(wire.get("/healthz").await.code, 200);
    assert!(old.connect(site.address(), None).await.is_err(), "the old certificate is still shown");
    assert_eq!(stays.get("/healthz").await.code, 200, "a connection was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changed_is_read_without_a_signal() {
    let (old, new) = (Authority::new(), Authority::new());
    let site = Site::with("", 1, |config, at| config.tls = Some(old.files(at, None))).await;
    let _ = new.files(site.folder.path(), None);
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        if new.connect(site.address(), None).await.is_ok() {
            return;
        }
    }
    panic!("not within 8 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_stands_for_a_signature() {
    let (server, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let site = Site::with("require_signature = true", 9, |config, at| {
        config.tls = Some(server.files(at, Some(&clients)));
    });
    let site = site.await;
    for (shown, status) in [
        (None, "BAD_SIGNATURE"),
        (Some(clients.identity("other.example")), "BAD_SIGNATURE"),
        (Some(clients.identity("client.example")), "OK"),
    ] {
        let mut wire = server.connect(site.address(), shown.as_ref()).await.unwrap();
        assert_eq!(wire.get(&verify(&otp(1, 0))).await.status(), status);
    }
    // What another authority signed is nobody's: there the connection ends.
    let forged = others.identity("client.example");
    if let Ok(mut wire) = server.connect(site.address(), Some(&forged)).await {
        let _ =
            tokio::io::AsyncWriteExt::write_all(&mut wire.io, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                .await;
        assert_eq!(wire.closed_within(Duration::from_secs(5)).await.as_deref(), Some(""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_is_cut() {
    let server = Authority::new();
    let site =
        Site::with("[limits]\nread_ms = 300", 1, |config, at| config.tls = Some(server.files(at, None)))
            .await;
    for said in ["", "\u{16}\u{3}\u{1}", "GET / HTTP/1.1\r\n\r\n"] {
        let mut wire = site.connect().await;
        wire.send(said).await;
        assert!(wire.closed_within(Duration::from_secs(5)).await.is_some(), "{said:?}");
    }
}

/// Beyond the limit of connections a client gets one answer, by TLS; far beyond it, an alert of TLS.
#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit() {
    let server = Authority::new();
    let files = |config: &mut Config, at: &Path| {
        config.tls = Some(server.files(at, None));
        config.limits.connections = 0;
    };
    let site = Site::with("", 1, files).await;
    let mut wire = server.connect(site.address(), None).await.unwrap();
    assert_eq!(wire.get(&verify(&otp(0, 0))).await.status(), "OK");
    assert_eq!(wire.closed_within(Duration::from_secs(5)).await.as_deref(), Some(""));
    let mut silent = Vec::new();
    for _ in 0..super::super::BRIEF {
        silent.push(site.connect().await);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = std::time::Instant::now();
    let refused = server.connect(site.address(), None).await.err();
    // On a slow machine the first ones are over by now.
    if begun.elapsed() < Duration::from_millis(500) {
        let why = refused.unwrap().to_string();
        assert!(why.contains("InternalError"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_decryption_wants_a_certificate() {
    let (server, clients) = (Authority::new(), Authority::new());
    let site = Site::with("", 2, |config, at| {
        let files = server.files(at, Some(&clients));
        config.decrypt = Some(Decrypt { listen: DecryptAt::Tls(([127, 0, 0, 1], 0).into(), files) });
    });
    let site = site.await;
    let at: SocketAddr = site.started.decrypt.as_ref().unwrap().parse().unwrap();
    let path = format!("/wsapi/decrypt?otp={}", otp(1, 0));
    let mut wire = server.connect(at, Some(&clients.identity("any.example"))).await.unwrap();
    assert_eq!(wire.get(&path).await.body, "OK counter=0001 low=0001 high=01 use=01\n");
    // The client of TLS 1.3 hears of it behind its own handshake.
    if let Ok(mut wire) = server.connect(at, None).await {
        let _ =
            tokio::io::AsyncWriteExt::write_all(&mut wire.io, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                .await;
        assert_eq!(wire.closed_within(Duration::from_secs(5)).await.as_deref(), Some(""));
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new().files(folder.path(), None);
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let fault = super::super::tls::Certificate::read(&files, super::super::tls::Clients::May).err().unwrap();
    assert_eq!(fault.diagnostic().code, yubiotp::diagnostic::Code::FileReadableByOthers, "{fault}");
}

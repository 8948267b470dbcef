//! TLS on a listener. Its files are read again when they change.

use crate::certificates::{self, CertificatesFault, MOST_PEM};
use crate::file::{self, Audience, FileFault};
use crate::settings::TlsFiles;
use crate::timer::TimedSocket;
use crate::validity::{Stage, Validity, is_version_1};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use yubiotp::diagnostic::{Code, Diagnostic};

/// Why TLS cannot be used: the finding about a file, or about several.
#[derive(Debug)]
pub struct TlsFault(Box<Diagnostic>);

impl TlsFault {
    /// The finding.
    pub const fn diagnostic(&self) -> &Diagnostic {
        &self.0
    }

    fn content(path: &Path, found: Diagnostic) -> Self {
        Self(Box::new(found.at(file::location(path))))
    }
}

impl From<FileFault> for TlsFault {
    fn from(fault: FileFault) -> Self {
        Self(Box::new(fault.diagnostic()))
    }
}

impl From<CertificatesFault> for TlsFault {
    fn from(fault: CertificatesFault) -> Self {
        Self(Box::new(fault.diagnostic()))
    }
}

/// In one line, for logs.
impl Display for TlsFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for TlsFault {}

/// Whether clients must show certificates, where there is an authority for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// They may.
    May,
    /// They must.
    Must,
}

/// The certificate of a listener, as it was read last.
pub struct Certificate {
    files: TlsFiles,
    clients: Clients,
    listener: &'static str,
    now: RwLock<Arc<Read>>,
    /// Sent when an authority for clients was removed.
    withdrawn: watch::Sender<()>,
    seen: Mutex<Vec<Stamp>>,
    /// The validity that was logged last, and when.
    logged: Mutex<Option<(Validity, Stage, i64)>>,
}

/// The files of a listener, which were read and fit together.
pub struct Read {
    config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    /// The authorities for clients.
    authorities: Vec<CertificateDer<'static>>,
}

impl Read {
    /// Reads them as a server does when it starts.
    ///
    /// # Errors
    /// A file cannot be used, or the key does not belong to the certificate.
    pub fn all(files: &TlsFiles, clients: Clients) -> Result<Self, TlsFault> {
        config(files, clients)
    }

    /// The chain that the server sends, its own certificate first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The authorities for clients.
    #[must_use]
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    fn validity(&self) -> Option<Validity> {
        self.chain.first().and_then(Validity::of)
    }
}

/// Changes when a file is replaced or written: inode, size, time of change.
type Stamp = Option<(u64, u64, SystemTime)>;

impl Certificate {
    /// Reads the files. `listener` is what metrics call it.
    ///
    /// # Errors
    /// As those of [`Read::all`].
    pub fn read(files: &TlsFiles, clients: Clients, listener: &'static str) -> Result<Self, TlsFault> {
        let seen = Mutex::new(stamps(files));
        let now = RwLock::new(Arc::new(config(files, clients)?));
        let (withdrawn, _) = watch::channel(());
        let files = files.clone();
        Ok(Self { files, clients, listener, now, withdrawn, seen, logged: Mutex::default() })
    }

    fn now(&self) -> Arc<Read> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.now().config).into()
    }

    /// Receives when an authority for clients is removed, from now on.
    pub(crate) fn withdrawn(&self) -> watch::Receiver<()> {
        self.withdrawn.subscribe()
    }

    /// The end of the server certificate's validity, in seconds since 1970.
    pub(crate) fn until(&self) -> Option<i64> {
        self.now().validity().map(|validity| validity.until)
    }

    pub(crate) fn listener(&self) -> &'static str {
        self.listener
    }

    /// The validity to be logged: when it becomes a problem, and then once a day.
    pub(crate) fn concern(&self, now: i64) -> Option<(Validity, Stage)> {
        const DAY: i64 = 24 * 3600;
        let validity = self.now().validity()?;
        let stage = validity.stage(now);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if stage == Stage::Valid {
            *logged = None;
            return None;
        }
        if logged.is_some_and(|(of, was, at)| (of, was) == (validity, stage) && now.saturating_sub(at) < DAY)
        {
            return None;
        }
        *logged = Some((validity, stage, now));
        Some((validity, stage))
    }

    /// Whether the files changed since they were last read, with success or without.
    pub(crate) fn changed(&self) -> bool {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != stamps(&self.files)
    }

    /// Reads the files again, for new connections. If an authority for clients was removed, open connections with client
    /// certificates end. If the files cannot be used, the old certificate stays in use.
    pub(crate) fn reload(&self) -> Result<(), TlsFault> {
        // Taken before the files are read, so that a change in between is noticed next time.
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = stamps(&self.files);
        let new = Arc::new(config(&self.files, self.clients)?);
        let old = std::mem::replace(
            &mut *self.now.write().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(&new),
        );
        if old.authorities.iter().any(|old| !new.authorities.contains(old)) {
            self.withdrawn.send_replace(());
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.files.certificate
    }
}

/// The certificate that the client showed.
pub(crate) fn shown<T>(io: &TlsStream<TimedSocket<T>>) -> Option<CertificateDer<'static>> {
    io.get_ref().1.peer_certificates()?.first().map(|certificate| certificate.clone().into_owned())
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let stamp = |path: &PathBuf| {
        let is = std::fs::metadata(path).ok()?;
        Some((is.ino(), is.len(), is.modified().ok()?))
    };
    [&files.certificate, &files.key].into_iter().chain(&files.client_ca).map(stamp).collect()
}

fn config(files: &TlsFiles, clients: Clients) -> Result<Read, TlsFault> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates::read(&files.certificate)?;
    if chain.first().is_some_and(is_version_1) {
        let old = Diagnostic::error(
            Code::CertificateInvalid,
            "is an X.509 version 1 certificate, which clients reject",
        );
        let found = old.advise("create one of version 3, with the server's name in subjectAltName");
        return Err(TlsFault::content(&files.certificate, found));
    }
    let key = file::read(&files.key, Audience::Group, MOST_PEM)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|why| {
        let problem = format!("holds no private key in PEM without a passphrase ({why})");
        TlsFault::content(&files.key, Diagnostic::error(Code::CertificateInvalid, problem))
    })?;
    let together = |why: rustls::Error| {
        let problem = format!("cannot be used with the key {}: {why}", files.key.display());
        TlsFault::content(&files.certificate, Diagnostic::error(Code::CertificateKeyMismatch, problem))
    };
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(together)?;
    let mut authorities = Vec::new();
    let config = match &files.client_ca {
        None => config.with_no_client_auth(),
        Some(ca) => {
            authorities = certificates::read(ca)?;
            config.with_client_cert_verifier(verifier(ca, &authorities, clients, provider)?)
        }
    };
    let mut config = config.with_single_cert(chain.clone(), key).map_err(together)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(together)?;
    Ok(Read { config: Arc::new(config), chain, authorities })
}

fn verifier(
    ca: &Path,
    authorities: &[CertificateDer<'static>],
    clients: Clients,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsFault> {
    let fault = |why: String| TlsFault::content(ca, Diagnostic::error(Code::CaFileInvalid, why));
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate.clone()).map_err(|why| fault(why.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = match clients {
        Clients::May => verifier.allow_unauthenticated(),
        Clients::Must => verifier,
    };
    verifier.build().map_err(|why| fault(why.to_string()))
}

//! TLS of a listener, and its files read anew when they change.

use super::timer::TimedSocket;
use super::validity::{Stage, Validity, is_version_1};
use crate::certificates::{self, CertificatesFault, MOST_PEM};
use crate::config::TlsFiles;
use crate::file::{self, Audience, FileFault};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Why TLS cannot be spoken, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The file of the key.
    #[error(transparent)]
    File(#[from] FileFault),
    /// A file of certificates.
    #[error(transparent)]
    Certificates(#[from] CertificatesFault),
    /// What is in a file.
    #[error("{path}: {why}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key, taken together.
    #[error("{certificate} and {key}: {why}")]
    Together {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        why: rustls::Error,
    },
}

/// Whether clients must show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Those who have one: on the listener of questions.
    May,
    /// All: on that of the decryption.
    Must,
}

impl Clients {
    /// The listener, as metrics name it.
    pub(super) const fn listener(self) -> &'static str {
        match self {
            Self::May => "listen",
            Self::Must => "decrypt",
        }
    }
}

/// The certificate of a listener, as it was read last.
pub(super) struct Certificate {
    files: TlsFiles,
    clients: Clients,
    now: RwLock<Arc<Read>>,
    /// Told anew when an authority is gone that certified clients.
    withdrawn: watch::Sender<()>,
    seen: Mutex<Vec<Stamp>>,
    /// What was logged last of its validity, and when.
    logged: Mutex<Option<(Validity, Stage, i64)>>,
}

/// The files of a listener, read and found to go together.
pub struct Read {
    config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    /// Who may certify clients.
    authorities: Vec<CertificateDer<'static>>,
}

impl Read {
    /// Reads them, as a server does when it starts.
    ///
    /// # Errors
    /// One of them cannot be used, or they do not go together.
    pub fn all(files: &TlsFiles, clients: Clients) -> Result<Self, TlsFault> {
        config(files, clients)
    }

    /// The certificates that clients are shown, the server's own first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Those of who may certify clients.
    #[must_use]
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    fn validity(&self) -> Option<Validity> {
        self.chain.first().and_then(Validity::of)
    }
}

/// By what a file that was replaced or written is told from what it was.
type Stamp = Option<(u64, u64, SystemTime)>;

impl Certificate {
    pub(super) fn read(files: &TlsFiles, clients: Clients) -> Result<Self, TlsFault> {
        let seen = Mutex::new(stamps(files));
        let now = RwLock::new(Arc::new(config(files, clients)?));
        let (withdrawn, _) = watch::channel(());
        Ok(Self { files: files.clone(), clients, now, withdrawn, seen, logged: Mutex::default() })
    }

    fn now(&self) -> Arc<Read> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.now().config).into()
    }

    /// Hears when an authority is withdrawn, from now on.
    pub(super) fn withdrawn(&self) -> watch::Receiver<()> {
        self.withdrawn.subscribe()
    }

    /// Until when the server's own is valid, in seconds since 1970.
    pub(super) fn until(&self) -> Option<i64> {
        self.now().validity().map(|validity| validity.until)
    }

    pub(super) fn listener(&self) -> &'static str {
        self.clients.listener()
    }

    /// What is to be logged of its validity: what is not as it should be, once, and then once a day.
    pub(super) fn concern(&self, now: i64) -> Option<(Validity, Stage)> {
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

    /// Whether the files are others than those that were read last, well or badly.
    pub(super) fn changed(&self) -> bool {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != stamps(&self.files)
    }

    /// Reads the files anew, for connections to come; those of clients end if one who may have certified them is gone. If
    /// the files cannot be used, the old ones stay.
    pub(super) fn reload(&self) -> Result<(), TlsFault> {
        // Before they are read: a change in between is seen the next time.
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

    pub(super) fn path(&self) -> &Path {
        &self.files.certificate
    }
}

/// What the client showed.
pub(super) fn shown<T>(io: &TlsStream<TimedSocket<T>>) -> Option<CertificateDer<'static>> {
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
        return Err(TlsFault::Content {
            path: files.certificate.clone(),
            why: "is an X.509 version 1 certificate: make one of version 3, with the server's name in subjectAltName"
                .to_owned(),
        });
    }
    let key = file::read(&files.key, Audience::Group, MOST_PEM)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|why| TlsFault::Content {
        path: files.key.clone(),
        why: format!("holds no private key in PEM without a passphrase ({why})"),
    })?;
    let together =
        |why| TlsFault::Together { certificate: files.certificate.clone(), key: files.key.clone(), why };
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
    let fault = |why: String| TlsFault::Content { path: ca.to_owned(), why };
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

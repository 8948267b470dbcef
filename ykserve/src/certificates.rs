//! Files of certificates in PEM.

use crate::file::{self, Audience, FileFault};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use yubiotp::authorities::BUNDLES;
use yubiotp::diagnostic::{Code, Diagnostic};

/// The most bytes a file of keys or certificates may have.
pub const MOST_PEM: u64 = 1 << 20;

const MOST_AUTHORITIES: u64 = 16 << 20;

/// Why certificates cannot be read.
#[derive(Debug)]
pub enum CertificatesFault {
    /// The file.
    File(FileFault),
    /// Its content.
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl From<FileFault> for CertificatesFault {
    fn from(fault: FileFault) -> Self {
        Self::File(fault)
    }
}

impl CertificatesFault {
    /// The finding.
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::File(fault) => fault.diagnostic(),
            Self::Content { path, why } => {
                Diagnostic::error(Code::CertificateInvalid, why.as_str()).at(file::location(path))
            }
        }
    }
}

/// The certificates of a file: at least one.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificatesFault> {
    let fault = |why: String| CertificatesFault::Content { path: path.to_owned(), why };
    let text = file::read(path, Audience::Everyone, MOST_PEM)?;
    let read = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates = read.map_err(|why| fault(format!("is not PEM ({why})")))?;
    if certificates.is_empty() {
        return Err(fault("holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

/// The authorities by which a server is judged: those of a file that `setting` names, or the system's.
///
/// # Errors
/// A file cannot be read or used, or this host has no authorities.
pub fn roots(named: Option<&Path>, setting: &str) -> Result<RootCertStore, Diagnostic> {
    let mut roots = RootCertStore::empty();
    let path =
        named.or_else(|| BUNDLES.iter().map(Path::new).find(|path| path.exists())).ok_or_else(|| {
            let problem =
                format!("this host has no certificate authorities: none of {} exists", BUNDLES.join(", "));
            Diagnostic::error(Code::CaBundleMissing, problem)
                .advise(format!("install ca-certificates, or set {setting}"))
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

//! Files of certificates in PEM.

use crate::file::{self, Audience, FileFault};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic};

/// The most bytes a file of keys or certificates may have.
pub const MOST_PEM: u64 = 1 << 20;

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

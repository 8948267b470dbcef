//! The certificate authorities: those that the settings name, else the system's.

use crate::failure::Unable;
use crate::files::{self, Kind};
use crate::pem;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use yubiotp::ask::Obstacle;
use yubiotp::authorities::BUNDLES;

/// The most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 4096;

/// The treatment of a certificate that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bad {
    /// It is passed over: the other hundred are good.
    Skip,
    /// It is an error: somebody named this file.
    Tell,
}

struct Found {
    store: RootCertStore,
    /// Whole certificates, so that none is kept twice.
    seen: BTreeSet<Vec<u8>>,
}

/// Reads them, and says where they came from.
pub(crate) fn read(named: Option<&str>) -> Result<(RootCertStore, String), Unable> {
    let mut found = Found { store: RootCertStore::empty(), seen: BTreeSet::new() };
    let Some(named) = named else {
        let from = BUNDLES.iter().find(|path| Path::new(path).exists()).ok_or_else(|| {
            let why = format!("no certificate authorities: none of {} exists", BUNDLES.join(", "));
            Unable::new(Obstacle::NoAuthorities, why)
        })?;
        let text = files::read(Path::new(from), Kind::Found)?;
        found.add(from, &text, Bad::Skip)?;
        return found.some((*from).to_string());
    };
    let path = Path::new(named);
    let (file, is) = files::open(path)?;
    if is.is_dir() {
        found.add_folder(path)?;
        return found.some(named.to_string());
    }
    let text = files::read_open(path, file, &is, Kind::Named)?;
    pem::refuse_binary(named, &text, Obstacle::DerCertificate)?;
    found.add(named, &text, Bad::Tell)?;
    found.some(named.to_string())
}

impl Found {
    fn some(self, from: String) -> Result<(RootCertStore, String), Unable> {
        if self.store.is_empty() {
            return Err(format!("{from}: holds no certificate (PEM: -----BEGIN CERTIFICATE-----)").into());
        }
        Ok((self.store, from))
    }

    fn add(&mut self, name: &str, text: &[u8], bad: Bad) -> Result<(), Unable> {
        for section in pem::sections(text) {
            let section = match section {
                Ok(section) => section,
                Err(_) if bad == Bad::Skip => continue,
                Err(line) => return Err(format!("{name}: line {line} begins what is not whole PEM").into()),
            };
            if !matches!(section.label, "CERTIFICATE" | "X509 CERTIFICATE")
                || !self.seen.insert(section.der.to_vec())
            {
                continue;
            }
            let certificate = CertificateDer::from_slice(&section.der).into_owned();
            if let (Err(error), Bad::Tell) = (self.store.add(certificate), bad) {
                let line = section.line;
                return Err(format!("{name}: the certificate in line {line} cannot be used: {error}").into());
            }
        }
        Ok(())
    }

    /// Every file of a folder that holds certificates, links (`hash.0`) followed, each file once.
    fn add_folder(&mut self, folder: &Path) -> Result<(), Unable> {
        let told = |error| format!("{}: cannot be read: {}", folder.display(), files::words(&error));
        let mut seen = BTreeSet::new();
        for entry in std::fs::read_dir(folder).map_err(told)?.take(MAX_ENTRIES) {
            let path = entry.map_err(told)?.path();
            // A link that leads nowhere is skipped.
            let Ok((file, is)) = files::open(&path) else { continue };
            if !is.is_file() || !seen.insert((is.dev(), is.ino())) {
                continue;
            }
            let text = files::read_open(&path, file, &is, Kind::Found)?;
            self.add(&path.display().to_string(), &text, Bad::Skip)?;
        }
        Ok(())
    }
}

//! Certificates and their keys.

use super::report::Report;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use ykval::config::Tls;
use ykval::file::{self, Audience};

const MOST: u64 = 16 << 20;

/// A certificate, its key, and who certifies clients.
pub(super) fn look(report: &mut Report, about: &'static str, tls: &Tls) {
    match served(tls) {
        Ok(count) => {
            report
                .ok(about, format!("{}: {count} in the chain, and the key fits", tls.certificate.display()));
        }
        Err(why) => report.error(about, why),
    }
    if let Some(path) = &tls.client_ca {
        authorities(report, about, path);
    }
}

/// A file of certificate authorities.
pub(super) fn authorities(report: &mut Report, about: &'static str, path: &Path) {
    let roots = certificates(path).and_then(|all| {
        let mut roots = RootCertStore::empty();
        for one in all {
            roots.add(one).map_err(|why| format!("{}: {why}", path.display()))?;
        }
        Ok(roots.len())
    });
    match roots {
        Ok(count) => {
            let (name, ies) = (path.display(), if count == 1 { "y" } else { "ies" });
            report.ok(about, format!("{name}: {count} certificate authorit{ies}"));
        }
        Err(why) => report.error(about, why),
    }
}

fn served(tls: &Tls) -> Result<usize, String> {
    let chain = certificates(&tls.certificate)?;
    let name = tls.key.display();
    let text = file::read(&tls.key, Audience::Group, MOST).map_err(|fault| fault.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| format!("{name}: holds no private key in PEM that is not encrypted"))?;
    let count = chain.len();
    // An error of its own shows nothing of the key.
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|why| format!("{name}: does not go with {}: {why}", tls.certificate.display()))?;
    Ok(count)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = file::read(path, Audience::Everyone, MOST).map_err(|fault| fault.to_string())?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let all = all.ok().filter(|all| !all.is_empty());
    all.ok_or_else(|| format!("{}: holds no certificate in PEM", path.display()))
}

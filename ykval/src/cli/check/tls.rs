//! Certificates: read as the server reads them, and whether clients will accept them.

use super::report::Report;
use super::{Site, server};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use ykval::certificates;
use ykval::clock;
use ykval::config::{DecryptAt, StoreAt, TlsFiles};
use ykval::serve::tls::{Clients, Read};
use ykval::serve::{Stage, Validity};

pub(super) fn look(report: &mut Report, site: &Site<'_>) {
    let config = &site.config;
    if let Some(files) = &config.tls {
        listener(report, "tls", files, Clients::May);
    }
    match config.decrypt.as_ref().map(|decrypt| &decrypt.listen) {
        Some(DecryptAt::Tls(_, files)) => listener(report, "decrypt", files, Clients::Must),
        Some(DecryptAt::Unix(path)) => socket(report, path),
        None => {}
    }
    if let StoreAt::Postgres(at) = &config.store
        && let Some(path) = &at.ca
    {
        authorities(report, "store", path);
    }
    if let Some(path) = config.ksm.as_ref().and_then(|ksm| ksm.ca.as_deref()) {
        authorities(report, "ksm", path);
    }
}

/// A certificate, its key, and who certifies clients.
fn listener(report: &mut Report, about: &'static str, files: &TlsFiles, clients: Clients) {
    let read = match Read::all(files, clients) {
        Ok(read) => read,
        Err(why) => return report.error(about, why.to_string()),
    };
    let name = files.certificate.display();
    let [own, others @ ..] = read.chain() else { return };
    let until = Validity::of(own).map(|validity| validity.until);
    let good = match Validity::of(own).map(|validity| (validity, validity.stage(clock::now()))) {
        Some((validity, Stage::Expired)) => {
            let until = clock::written(validity.until);
            report.error(about, format!("{name}: expired on {until}: clients refuse it: renew it"));
            false
        }
        Some((validity, Stage::NotYet)) => {
            let from = clock::written(validity.from);
            report.error(
                about,
                format!("{name}: is not valid before {from}: clients refuse it: look at the clock, or wait"),
            );
            false
        }
        Some((validity, Stage::Ending)) => {
            let until = clock::written(validity.until);
            report.warning(about, format!("{name}: expires on {until}: renew it"));
            true
        }
        Some((_, Stage::Valid)) | None => true,
    };
    for other in others {
        expired(report, about, &files.certificate, other, "a certificate of the chain, behind the first,");
    }
    if good {
        let until =
            until.map_or_else(String::new, |until| format!(", valid until {}", clock::written(until)));
        report.ok(about, format!("{name}: {} in the chain, and the key fits{until}", read.chain().len()));
    }
    if let Some(path) = &files.client_ca {
        tell_authorities(report, about, path, read.authorities());
    }
}

/// A file of certificate authorities.
fn authorities(report: &mut Report, about: &'static str, path: &Path) {
    match certificates::read(path) {
        Ok(all) => tell_authorities(report, about, path, &all),
        Err(why) => report.error(about, why.to_string()),
    }
}

fn tell_authorities(report: &mut Report, about: &'static str, path: &Path, all: &[CertificateDer<'_>]) {
    for one in all {
        expired(report, about, path, one, "a certificate authority");
    }
    let (name, ies) = (path.display(), if all.len() == 1 { "y" } else { "ies" });
    report.ok(about, format!("{name}: {} certificate authorit{ies}", all.len()));
}

/// A warning: clients with another trust anchor go on, and some do not look at the dates of authorities.
fn expired(report: &mut Report, about: &'static str, path: &Path, one: &CertificateDer<'_>, what: &str) {
    if let Some(validity) = Validity::of(one)
        && validity.stage(clock::now()) == Stage::Expired
    {
        let (name, until) = (path.display(), clock::written(validity.until));
        report.warning(about, format!("{name}: {what} expired on {until}: replace it, or remove it"));
    }
}

/// The socket of the decryption.
fn socket(report: &mut Report, path: &Path) {
    let name = path.display();
    if server::is_given(path) {
        return report.ok("decrypt", format!("{name}: its folder is made when the server starts"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(is) if !std::os::unix::fs::FileTypeExt::is_socket(&is.file_type()) => {
            report.error("decrypt", format!("{name}: is no socket: remove it"));
        }
        _ if path.parent().is_some_and(Path::is_dir) => report.ok("decrypt", name.to_string()),
        _ => report.error("decrypt", format!("{name}: its folder is not there")),
    }
}

//! Certificates, read as the server reads them, and whether clients accept them.

use super::Site;
use crate::cli::place::INSTALLED;
use rustls::pki_types::CertificateDer;
use std::path::Path;
use ykcli::report::Report;
use ykserve::tls::{Clients, Read};
use ykserve::validity::{Stage, Validity};
use ykval::certificates;
use ykval::clock;
use ykval::config::{DecryptAt, EtcdClientFiles, StoreAt, TlsFiles};
use ykval::file;
use yubiotp::diagnostic::{Code, Diagnostic};

pub(super) fn check(report: &mut Report, site: &Site) {
    let config = &site.config;
    if let Some(files) = &config.tls {
        listener(report, "tls", files, Clients::May);
    }
    match config.decrypt.as_ref().map(|decrypt| &decrypt.listen) {
        Some(DecryptAt::Tls(_, files)) => listener(report, "decrypt", files, Clients::Must),
        Some(DecryptAt::Unix(path)) => socket(report, path),
        None => {}
    }
    let of_store = match &config.store {
        StoreAt::Postgres(at) => at.ca.as_deref(),
        StoreAt::Etcd(at) => at.ca.as_deref(),
        StoreAt::Sqlite(_) => None,
    };
    if let Some(path) = of_store {
        authorities(report, "store", path);
    }
    if let StoreAt::Etcd(at) = &config.store
        && let Some(files) = &at.client
    {
        shown_to_etcd(report, files);
    }
    if let Some(path) = config.ksm.as_ref().and_then(|ksm| ksm.ca.as_deref()) {
        authorities(report, "ksm", path);
    }
}

/// A certificate, its key, and the authorities for clients.
fn listener(report: &mut Report, about: &'static str, files: &TlsFiles, clients: Clients) {
    let read = match Read::all(files, clients) {
        Ok(read) => read,
        Err(fault) => return report.add(about, fault.diagnostic().clone()),
    };
    let at = || Some(file::location(&files.certificate));
    let [own, others @ ..] = read.chain() else { return };
    let until = Validity::of(own).map(|validity| validity.until);
    let good = valid_now(report, about, &files.certificate, own, "clients reject it");
    for other in others {
        expired(report, about, &files.certificate, other, "a certificate of the chain, after the first,");
    }
    if good {
        let until =
            until.map_or_else(String::new, |until| format!(", valid until {}", clock::written(until)));
        report.ok(about, at(), format!("{} in the chain, with its key{until}", read.chain().len()));
    }
    if let Some(path) = &files.client_ca {
        tell_authorities(report, about, path, read.authorities());
    }
}

/// Whether a certificate is valid now. Tells if it is not, or soon will not be.
fn valid_now(
    report: &mut Report,
    about: &'static str,
    path: &Path,
    own: &CertificateDer<'_>,
    consequence: &str,
) -> bool {
    let Some(validity) = Validity::of(own) else { return true };
    let at = || file::location(path);
    let (found, remedy) = match validity.stage(clock::now()) {
        Stage::Expired => {
            let problem = format!("expired on {}, and {consequence}", clock::written(validity.until));
            (Diagnostic::error(Code::CertificateExpired, problem), "renew it")
        }
        Stage::NotYet => {
            let problem = format!("is not valid before {}, and {consequence}", clock::written(validity.from));
            (
                Diagnostic::error(Code::CertificateNotYetValid, problem),
                "check the clock of this host, or wait",
            )
        }
        Stage::Ending => {
            let problem = format!("expires on {}", clock::written(validity.until));
            (Diagnostic::warning(Code::CertificateExpiresSoon, problem), "renew it")
        }
        Stage::Valid => return true,
    };
    report.add(about, found.at(at()).advise(remedy));
    validity.stage(clock::now()) == Stage::Ending
}

/// The certificate that the members of etcd are shown. Its key is read when the store is opened.
fn shown_to_etcd(report: &mut Report, files: &EtcdClientFiles) {
    let path = &files.certificate;
    let all = match certificates::read(path) {
        Ok(all) => all,
        Err(fault) => return report.add("store", fault.diagnostic()),
    };
    let [own, ..] = all.as_slice() else { return };
    if valid_now(report, "store", path, own, "etcd rejects it") {
        let until =
            Validity::of(own).map(|validity| format!(", valid until {}", clock::written(validity.until)));
        let words = format!("{} in the chain{}", all.len(), until.unwrap_or_default());
        report.ok("store", Some(file::location(path)), words);
    }
}

/// A file of certificate authorities.
fn authorities(report: &mut Report, about: &'static str, path: &Path) {
    match certificates::read(path) {
        Ok(all) => tell_authorities(report, about, path, &all),
        Err(fault) => report.add(about, fault.diagnostic()),
    }
}

fn tell_authorities(report: &mut Report, about: &'static str, path: &Path, all: &[CertificateDer<'_>]) {
    for one in all {
        expired(report, about, path, one, "a certificate authority");
    }
    let ies = if all.len() == 1 { "y" } else { "ies" };
    report.ok(about, Some(file::location(path)), format!("{} certificate authorit{ies}", all.len()));
}

/// Only a warning: clients may have another trust anchor, and some ignore the dates of authorities.
fn expired(report: &mut Report, about: &'static str, path: &Path, one: &CertificateDer<'_>, what: &str) {
    if let Some(validity) = Validity::of(one)
        && validity.stage(clock::now()) == Stage::Expired
    {
        let problem = format!("{what} expired on {}", clock::written(validity.until));
        let found = Diagnostic::warning(Code::CertificateExpired, problem).at(file::location(path));
        report.add(about, found.advise("replace it, or remove it"));
    }
}

/// The socket of `/wsapi/decrypt`.
fn socket(report: &mut Report, path: &Path) {
    let at = || file::location(path);
    if INSTALLED.makes_folder_of(path) {
        return report.ok("decrypt", Some(at()), "systemd creates its folder when the server starts");
    }
    let invalid = |problem: &str| Diagnostic::error(Code::DecryptSocketInvalid, problem).at(at());
    match std::fs::symlink_metadata(path) {
        Ok(is) if !std::os::unix::fs::FileTypeExt::is_socket(&is.file_type()) => {
            report.add("decrypt", invalid("exists and is not a socket").advise("remove it"));
        }
        _ if path.parent().is_some_and(Path::is_dir) => report.ok("decrypt", Some(at()), "its folder exists"),
        _ => report.add("decrypt", invalid("its folder does not exist").advise("create the folder")),
    }
}

//! Whether the user who runs the server may use its files.

use super::Site;
use crate::cli::place::INSTALLED;
use std::path::{Path, PathBuf};
use ykcli::report::Report;
use ykserve::installation::{PASS, READ, ServerUser, WRITE};
use ykval::config::{Config, DecryptAt, StoreAt};
use yubiotp::diagnostic::{Code, Diagnostic, Severity};

pub(super) fn check(report: &mut Report, site: &Site) {
    let Some(server) = &site.server else { return };
    for (area, path, wanted) in needed(&site.config, server) {
        if let Err(found) = server.may(&path, wanted) {
            report.add(area, found);
        }
    }
    for record in records(&site.config) {
        if let Some(found) = record.found(server) {
            report.add(record.area, found);
        }
    }
    if let StoreAt::Sqlite(path) = &site.config.store {
        server.store(path, &["-wal", "-shm"]).into_iter().for_each(|found| report.add("store", found));
    }
}

/// A file that the server replaces while it runs. If it cannot, it serves nevertheless, and says so with this code.
struct Record<'a> {
    area: &'static str,
    path: &'a Path,
    code: Code,
    /// What happens after a restart if it was not written.
    otherwise: &'static str,
    /// Whether the server does not start if it cannot read it.
    is_read_first: bool,
}

impl Record<'_> {
    fn found(&self, server: &ServerUser) -> Option<Diagnostic> {
        let read = server.may(self.path, READ);
        if self.is_read_first && read.is_err() {
            return read.err();
        }
        // It is written beside, and renamed.
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let found = read.and_then(|()| server.may(folder, READ | WRITE | PASS)).err()?;
        let problem = format!("{}: after a restart, {}", found.problem, self.otherwise);
        Some(Diagnostic { code: self.code, problem, ..found }.with_severity(Severity::Warning))
    }
}

fn records(config: &Config) -> impl Iterator<Item = Record<'_>> {
    let seen = config.store.seen().map(|path| Record {
        area: "store",
        path,
        code: Code::DatabaseStateNotWritten,
        otherwise: "an older state of the database will not be noticed",
        is_read_first: true,
    });
    let sync = config.sync.as_ref().map(|sync| Record {
        area: "sync",
        path: &sync.state,
        code: Code::SyncStateNotWritten,
        otherwise: "it sends peers again what they have",
        is_read_first: false,
    });
    seen.into_iter().chain(sync)
}

/// The files that the server opens, but those of SQLite, with the access that it needs.
fn needed(config: &Config, server: &ServerUser) -> Vec<(&'static str, PathBuf, u32)> {
    let mut all = vec![("configuration", config.path.clone(), READ)];
    if server.credential.is_none() {
        all.push(("store key", config.store_key.clone(), READ));
    }
    let mut tls = |about, files: &ykval::config::TlsFiles| {
        for path in
            [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()].into_iter().flatten()
        {
            all.push((about, path.clone(), READ));
        }
    };
    if let Some(files) = &config.tls {
        tls("tls", files);
    }
    if let Some(DecryptAt::Tls(_, files)) = config.decrypt.as_ref().map(|decrypt| &decrypt.listen) {
        tls("decrypt", files);
    }
    match &config.store {
        StoreAt::Sqlite(_) => {}
        StoreAt::Postgres(at) => {
            all.extend(
                [&at.password_file, &at.ca].into_iter().flatten().map(|path| ("store", path.clone(), READ)),
            );
        }
        StoreAt::Etcd(at) => {
            let client = at.client.iter().flat_map(|files| [&files.certificate, &files.key]);
            let password = at.user.iter().map(|user| &user.password_file);
            all.extend(at.ca.iter().chain(client).chain(password).map(|path| ("store", path.clone(), READ)));
        }
    }
    all.extend(config.ksm.iter().filter_map(|ksm| Some(("ksm", ksm.ca.clone()?, READ))));
    all.extend(config.sync.iter().filter_map(|sync| Some(("sync", sync.ca.clone()?, READ))));
    if let Some(DecryptAt::Unix(path)) = config.decrypt.as_ref().map(|decrypt| &decrypt.listen)
        && !INSTALLED.makes_folder_of(path)
    {
        all.extend(path.parent().map(|folder| ("decrypt", folder.to_owned(), WRITE | PASS)));
    }
    all
}

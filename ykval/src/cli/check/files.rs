//! Whether the user who runs the server may use its files.

use super::Site;
use crate::cli::place::INSTALLED;
use std::path::PathBuf;
use ykcli::report::Report;
use ykserve::installation::{PASS, READ, ServerUser, WRITE};
use ykval::config::{Config, DecryptAt, StoreAt};

pub(super) fn check(report: &mut Report, site: &Site) {
    let Some(server) = &site.server else { return };
    for (area, path, wanted) in needed(&site.config, server) {
        if let Err(found) = server.may(&path, wanted) {
            report.add(area, found);
        }
    }
    if let StoreAt::Sqlite(path) = &site.config.store {
        server.store(path, &["-wal", "-shm"]).into_iter().for_each(|found| report.add("store", found));
    }
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
    if let Some(DecryptAt::Unix(path)) = config.decrypt.as_ref().map(|decrypt| &decrypt.listen)
        && !INSTALLED.makes_folder_of(path)
    {
        all.extend(path.parent().map(|folder| ("decrypt", folder.to_owned(), WRITE | PASS)));
    }
    all
}

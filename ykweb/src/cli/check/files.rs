//! Whether the user who runs the server may use its files.

use crate::cli::place::INSTALLED;
use std::path::PathBuf;
use ykcli::report::Report;
use ykserve::installation::{PASS, READ, ServerUser, WRITE};
use ykweb::config::{Config, Passwords};
use yubiotp::diagnostic::{Diagnostic, Program};

pub(super) fn check(report: &mut Report, config: &Config, server: &ServerUser) {
    for (area, path, wanted) in needed(config, server) {
        if let Err(found) = server.may(&path, wanted) {
            report.add(area, found);
        }
    }
    server
        .store(&config.store, &["-wal", "-shm", ".used"])
        .into_iter()
        .for_each(|found| report.add("store", found));
    if let Passwords::Pam(socket) = &config.password
        && let Err(found) = server.may(socket, WRITE)
    {
        // systemd creates this socket: a changed owner would not stay.
        let found = Diagnostic { remedies: Vec::new(), ..found };
        let found =
            found.advise(format!("set SocketUser={} below [Socket], where it is created", server.uid));
        report.add("password", found.run(Program::System, "systemctl edit ykweb-password.socket"));
    }
}

/// The files that the server opens, but its store, with the access that it needs.
fn needed(config: &Config, server: &ServerUser) -> Vec<(&'static str, PathBuf, u32)> {
    let mut all = vec![("configuration", config.path.clone(), READ)];
    let mut reads = |area, path: Option<&PathBuf>| all.extend(path.map(|path| (area, path.clone(), READ)));
    if let Some(files) = &config.tls {
        reads("tls", Some(&files.certificate));
        reads("tls", Some(&files.key));
        reads("tls", files.client_ca.as_ref());
    }
    if let Passwords::File(path) = &config.password {
        reads("password", Some(path));
    }
    if let Some(validation) = &config.validation {
        reads("validation", validation.key_file.as_ref());
        reads("validation", validation.ca.as_ref());
    }
    if server.credential.is_none() {
        reads("store key", Some(&config.store_key));
    }
    let sockets = [config.identity.as_ref().map(|identity| &identity.path), config.check.as_ref()];
    let sockets = sockets.into_iter().flatten().filter(|path| !INSTALLED.makes_folder_of(path));
    all.extend(sockets.filter_map(|path| Some(("sockets", path.parent()?.to_owned(), WRITE | PASS))));
    all
}

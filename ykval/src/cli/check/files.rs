//! Whether the user who runs the server may use its files. Root, who runs the check, may use all of them, so this reads the
//! owner and mode of each file and of the folders above it.

use super::Site;
use super::server::{self, Server};
use rustix::fs::{AtFlags, CWD, FileType, Stat, getxattr, statat};
use std::path::{Path, PathBuf};
use ykcli::report::Report;
use ykval::config::{Config, DecryptAt, StoreAt};
use ykval::file;
use yubiotp::diagnostic::{Code, Diagnostic, Program, is_ours};

const READ: u32 = 4;
const WRITE: u32 = 2;
const PASS: u32 = 1;

pub(super) fn check(report: &mut Report, site: &Site) {
    let Some(server) = &site.server else { return };
    for (area, path, wanted) in needed(&site.config, server) {
        if let Err(found) = may(server, &path, wanted) {
            report.add(area, found);
        }
    }
    if let StoreAt::Sqlite(path) = &site.config.store
        && let Ok(is) = statat(CWD, path, AtFlags::empty())
        && is.st_uid != server.uid
        && is.st_uid != 0
    {
        let problem = format!("belongs to uid {}, and {} runs the server", is.st_uid, server.name);
        let found = Diagnostic::error(Code::FileOfOtherOwner, problem).at(file::location(path));
        report.add("store", file::change(found, path, &format!("chown {}", server.uid)));
    }
}

/// The files that the server opens, with the access that it needs.
fn needed(config: &Config, server: &Server) -> Vec<(&'static str, PathBuf, u32)> {
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
        StoreAt::Sqlite(path) => {
            all.push(("store", path.clone(), READ | WRITE));
            // The server creates and removes files beside it.
            all.extend(path.parent().map(|folder| ("store", folder.to_owned(), READ | WRITE | PASS)));
            for suffix in ["-wal", "-shm"] {
                let mut name = path.clone().into_os_string();
                name.push(suffix);
                all.extend(Path::new(&name).exists().then(|| ("store", name.into(), READ | WRITE)));
            }
        }
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
        && !server::is_given(path)
    {
        all.extend(path.parent().map(|folder| ("decrypt", folder.to_owned(), WRITE | PASS)));
    }
    all
}

/// Whether the server has this access. Missing files are found by other checks.
fn may(server: &Server, path: &Path, wanted: u32) -> Result<(), Diagnostic> {
    let closed = |path: &Path, cannot: &str, (program, remedy): (bool, String)| {
        let problem = format!("{} runs the server, and cannot {cannot} it", server.name);
        let found = Diagnostic::error(Code::FileClosedToServer, problem).at(file::location(path));
        if program { found.run(Program::System, remedy) } else { found.advise(remedy) }
    };
    // The target of a link, and the folders above the target.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let above = path.ancestors().skip(1);
    for folder in above.collect::<Vec<_>>().into_iter().rev() {
        allowed(server, folder, PASS).map_err(|remedy| closed(&path, "reach", remedy))?;
    }
    allowed(server, &path, wanted).map_err(|remedy| {
        let cannot = if wanted & WRITE == 0 { "read" } else { "write to" };
        closed(&path, cannot, remedy)
    })
}

/// Decides by the mode bits of the one class that the user is in. `Err`: what to do, and whether that is a command.
fn allowed(server: &Server, path: &Path, wanted: u32) -> Result<(), (bool, String)> {
    let Ok(is) = statat(CWD, path, AtFlags::empty()) else { return Ok(()) };
    let mode = is.st_mode;
    let is_group = server.groups.contains(&is.st_gid);
    let class = match (is.st_uid == server.uid, is_group) {
        (true, _) => mode >> 6,
        (false, true) => mode >> 3,
        (false, false) => mode,
    };
    if class & wanted == wanted || has_access_list(path) {
        return Ok(());
    }
    Err(remedy(server, path, &is, wanted, is_group))
}

/// Whether the file has an access list, which decides as well. That is not checked here.
fn has_access_list(path: &Path) -> bool {
    getxattr(path, "system.posix_acl_access", &mut [0_u8; 1024][..]).is_ok_and(|length| length > 0)
}

fn remedy(server: &Server, path: &Path, is: &Stat, wanted: u32, is_group: bool) -> (bool, String) {
    let (name, mode) = (file::word(path), is.st_mode & 0o7777);
    let Server { uid, group, .. } = server;
    let folder = FileType::from_raw_mode(is.st_mode) == FileType::Directory;
    match (wanted, folder) {
        (PASS, true) => {
            (false, format!("give that user access to the folder {name} (mode {mode:04o}), or move the file"))
        }
        _ if !is_ours(path.as_os_str().as_encoded_bytes()) => (false, file::MOVE.to_owned()),
        (READ, false) if is_group => (true, format!("chmod g+r {name}")),
        // It may be a secret: no other users.
        (READ, false) => (true, format!("chgrp {group} {name} && chmod g=r,o= {name}")),
        _ => (true, format!("chown {uid} {name}")),
    }
}

//! Whether the user who runs the server may use its files. Root runs the check and may use all of them, so this reads
//! owners and modes: those of the file and of each folder on the way.

use super::Site;
use super::report::Report;
use super::server::{self, Server};
use rustix::fs::{AtFlags, CWD, FileType, Stat, getxattr, statat};
use std::path::{Path, PathBuf};
use ykval::config::{Config, DecryptAt, StoreAt};

const READ: u32 = 4;
const WRITE: u32 = 2;
const PASS: u32 = 1;

pub(super) fn look(report: &mut Report, site: &Site<'_>) {
    let Some(server) = &site.server else { return };
    for (about, path, wanted) in needed(&site.config, server) {
        if let Err(why) = may(server, &path, wanted) {
            report.error(about, why);
        }
    }
    if let StoreAt::Sqlite(path) = &site.config.store
        && let Ok(is) = statat(CWD, path, AtFlags::empty())
        && is.st_uid != server.uid
        && is.st_uid != 0
    {
        let (name, owner) = (path.display(), is.st_uid);
        report.error(
            "store",
            format!("{name}: belongs to uid {owner}, and {} runs the server: chown it", server.name),
        );
    }
}

/// What the server opens, and for what.
fn needed(config: &Config, server: &Server) -> Vec<(&'static str, PathBuf, u32)> {
    let mut all = vec![("settings", config.path.clone(), READ)];
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
            // What is beside it comes and goes with the server.
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
    }
    all.extend(config.ksm.iter().filter_map(|ksm| Some(("ksm", ksm.ca.clone()?, READ))));
    if let Some(DecryptAt::Unix(path)) = config.decrypt.as_ref().map(|decrypt| &decrypt.listen)
        && !server::is_given(path)
    {
        all.extend(path.parent().map(|folder| ("decrypt", folder.to_owned(), WRITE | PASS)));
    }
    all
}

/// Whether it may; what is not there is for others to find.
fn may(server: &Server, path: &Path, wanted: u32) -> Result<(), String> {
    // Of links, where they lead: they can be followed only through the folders there.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let above = path.ancestors().skip(1);
    for folder in above.collect::<Vec<_>>().into_iter().rev() {
        allowed(server, folder, PASS).map_err(|remedy| {
            let name = path.display();
            format!("{name}: {} runs the server, and cannot get there: {remedy}", server.name)
        })?;
    }
    allowed(server, &path, wanted).map_err(|remedy| {
        let cannot = if wanted & WRITE == 0 { "read" } else { "write to" };
        format!("{}: {} runs the server, and cannot {cannot} it: {remedy}", path.display(), server.name)
    })
}

/// By the bits of the one class that the user is in; else what to change.
fn allowed(server: &Server, path: &Path, wanted: u32) -> Result<(), String> {
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

/// With an access list more than the mode decides: that is not judged here.
fn has_access_list(path: &Path) -> bool {
    getxattr(path, "system.posix_acl_access", &mut [0_u8; 1024][..]).is_ok_and(|length| length > 0)
}

fn remedy(server: &Server, path: &Path, is: &Stat, wanted: u32, is_group: bool) -> String {
    let (name, mode) = (path.display(), is.st_mode & 0o7777);
    let Server { uid, group, .. } = server;
    let folder = FileType::from_raw_mode(is.st_mode) == FileType::Directory;
    match (wanted, folder) {
        (PASS, true) => format!("let it pass the folder {name} (mode {mode:04o}), or move the file"),
        (READ, false) if is_group => format!("chmod g+r {name}"),
        // Of a secret, nobody else.
        (READ, false) => format!("chgrp {group} {name} && chmod g=r,o= {name}"),
        _ => format!("chown {uid} {name}"),
    }
}

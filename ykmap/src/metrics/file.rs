//! A file that its readers always find whole.

use crate::{Done, Failure};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use yubiotp::diagnostic::{Code, Diagnostic, Location, cause};

/// Replaces a file by one with this text and mode 0644. On a failure, what was there stays.
pub(super) fn replace(path: &Path, text: &str) -> Done {
    let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
        return Err(Failure::input(format!("{}: is no name of a file", path.display())));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = b".".to_vec();
    new.extend_from_slice(name.as_bytes());
    // The collector reads names that end in .prom.
    new.extend_from_slice(format!(".{}.new", std::process::id()).as_bytes());
    written(folder, &new, name.as_bytes(), text).map_err(|why| {
        let found = Diagnostic::error(Code::FileInaccessible, format!("cannot be written: {}", cause(&why)));
        let advice =
            "check that its folder is there, that you may write in it, and that its disk is not full";
        found.at(Location::file(path.as_os_str().as_bytes())).advise(advice).into()
    })
}

fn written(folder: &Path, new: &[u8], name: &[u8], text: &str) -> io::Result<()> {
    let folder =
        rustix::fs::openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // One that a killed run of the same number left.
    match rustix::fs::unlinkat(&folder, new, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(why) => return Err(why.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let mut file = File::from(rustix::fs::openat(&folder, new, flags, open)?);
    let replaced = file
        .write_all(text.as_bytes())
        .and_then(|()| Ok(rustix::fs::fchmod(&file, open)?))
        .and_then(|()| Ok(rustix::fs::renameat(&folder, new, &folder, name)?));
    if replaced.is_err() {
        let _ = rustix::fs::unlinkat(&folder, new, AtFlags::empty());
    }
    replaced
}

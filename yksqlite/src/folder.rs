//! The folder: who may write to it, its lock, and how a file gets its name there.

use crate::{BESIDE, Problem, missing_or, with};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, flock, open, statat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ykserve::{clock, file, random};
use yubiotp::diagnostic::{Code, Diagnostic, Program, cause};

/// Whether there is a file, or anything else, of this name.
///
/// # Errors
/// The system does not say.
pub fn is_there(path: &Path) -> Result<bool, Problem> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(why) => Err(Problem::system(path, why)),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// The folder of a store. Nobody else may write to it: they could add a log of their own.
///
/// # Errors
/// Others may, or there is no such folder, and so no store.
pub fn folder(path: &Path) -> Result<Stat, Problem> {
    let folder = folder_of(path);
    let stat = statat(CWD, folder, AtFlags::empty()).map_err(|why| missing_or(path, folder, why))?;
    only_the_owner_writes(folder, &stat)?;
    Ok(stat)
}

pub(crate) fn only_the_owner_writes(path: &Path, stat: &Stat) -> Result<(), Problem> {
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    let problem = format!("group or others may write to it (mode {mode:04o})");
    let open = Diagnostic::error(Code::FileWritableByOthers, problem);
    // A folder that everybody may write to is meant to be shared.
    let is_shared = FileType::from_raw_mode(stat.st_mode) == FileType::Directory && mode & 0o002 != 0;
    Err(Problem::of(
        path,
        if is_shared {
            open.advise("move the store to a folder that only the server's user may write to")
        } else {
            file::change(open, path, "chmod go-w")
        },
    ))
}

/// Locks the folder of a store of this server: shared to open it, exclusively to create or replace it. Waits so long for others.
///
/// # Errors
/// Somebody else still has the lock, or the system refused.
pub fn lock(path: &Path, how: FlockOperation, patience: Duration, server: &str) -> Result<OwnedFd, Problem> {
    let folder = folder_of(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = open(folder, flags, Mode::empty()).map_err(|why| Problem::system(folder, why))?;
    let begun = Instant::now();
    let locked = loop {
        match flock(&opened, how) {
            Err(Errno::WOULDBLOCK) if begun.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(10));
            }
            locked => break locked,
        }
    };
    match locked {
        Ok(()) => Ok(opened),
        Err(Errno::WOULDBLOCK) if how == FlockOperation::NonBlockingLockShared => {
            let busy = Diagnostic::error(Code::DatabaseBeingRestored, "a backup is being restored to it");
            Err(Problem::of(path, busy.advise("try again when that has ended")))
        }
        Err(Errno::WOULDBLOCK) => {
            let used = Diagnostic::error(Code::DatabaseInUse, "is in use by a server or a command");
            let stop = format!("systemctl stop {server}");
            let used = used.run_when(
                "stop the server, and every command that uses the store",
                Program::System,
                stop,
            );
            Err(Problem::of(path, used))
        }
        Err(why) => Err(Problem::system(folder, why)),
    }
}

/// A name for a new file beside this one, which no other file has.
///
/// # Errors
/// The system has no random source.
pub fn beside(path: &Path) -> Result<PathBuf, Problem> {
    let unlike_any = random::bytes::<8>().map_err(|why| Problem::system(path, why))?;
    let mut name = before_number(path);
    name.push(format!("{:016x}", u64::from_le_bytes(unlike_any)));
    Ok(path.with_file_name(name))
}

fn before_number(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name
}

/// Removes files with a name of [`beside`], which killed processes left. Call it with the folder locked exclusively.
///
/// # Errors
/// One cannot be removed.
pub fn remove_leftovers(path: &Path) -> Result<(), Problem> {
    let folder = folder_of(path);
    let before = before_number(path);
    let is_left = |name: &OsStr| {
        let Some(rest) = name.as_bytes().strip_prefix(before.as_bytes()) else { return false };
        let Some((number, suffix)) = rest.split_at_checked(16) else { return false };
        number.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            && (suffix.is_empty() || BESIDE.iter().any(|beside| beside.as_bytes() == suffix))
    };
    for entry in std::fs::read_dir(folder).map_err(|why| Problem::system(folder, why))? {
        let name = entry.map_err(|why| Problem::system(folder, why))?.file_name();
        if is_left(&name) {
            let left = folder.join(name);
            std::fs::remove_file(&left)
                .map_err(|why| Problem::system(&left, format!("cannot remove it: {}", cause(&why))))?;
        }
    }
    Ok(())
}

/// A new, empty file of mode 0600, whatever the umask.
///
/// # Errors
/// It exists, or the system refused.
pub fn create(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o600))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600))?;
    Ok(file)
}

/// Removes a file that only this process uses, with the files that SQLite keeps beside it.
pub fn remove(path: &Path) {
    for suffix in [""].iter().chain(&BESIDE) {
        let _ = std::fs::remove_file(with(path, suffix));
    }
}

/// Syncs a file.
///
/// # Errors
/// The system reports that it may not be on the disk.
pub fn sync(path: &Path) -> Result<(), Problem> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    file.and_then(rustix::fs::fsync).map_err(|why| Problem::system(path, why))
}

/// Syncs the folder of a file, so that created and removed names are on the disk.
///
/// # Errors
/// The system reports that they may not be.
pub fn sync_folder(path: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::fsync(open(folder_of(path), flags, Mode::empty())?)
}

/// Gives a store that is to be replaced a second name, with its log, and returns that name: `*.before-restore-TIME`.
///
/// # Errors
/// It cannot have one: do not replace it.
pub fn keep(to: &Path) -> Result<PathBuf, Problem> {
    let now = clock::written(clock::now()).replace(['-', ':'], "");
    for number in 0..100_u32 {
        let again = if number == 0 { String::new() } else { format!("-{number}") };
        let kept = with(to, &format!(".before-restore-{now}{again}"));
        match rustix::fs::link(to, &kept) {
            Ok(()) => {
                for suffix in BESIDE.iter().filter(|suffix| **suffix != "-shm") {
                    match rustix::fs::link(with(to, suffix), with(&kept, suffix)) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(why) => return Err(Problem::system(&kept, why)),
                    }
                }
                sync_folder(to).map_err(|why| Problem::system(&kept, why))?;
                return Ok(kept);
            }
            Err(Errno::EXIST) => {}
            Err(why) => {
                let problem = format!("cannot keep the former store: {}", cause(&why));
                return Err(Problem::system(&kept, problem));
            }
        }
    }
    let many = Diagnostic::error(Code::DatabaseFailed, "too many former stores are kept beside it");
    Err(Problem::of(to, many.advise("move the files *.before-restore-* away")))
}

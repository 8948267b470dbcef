//! The file of the store: its owner and mode, and whether it is still the one that was opened.

use super::{StoreFault, used};
use crate::file;
use rusqlite::{Error, ErrorCode};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, flock, statat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use yubiotp::diagnostic::{Code, Diagnostic, Program, cause};

/// The suffixes of the files that SQLite keeps beside a database.
pub(super) const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Where a store is.
pub(super) struct DatabaseFile {
    /// The absolute path: SQLite takes some relative names for URIs.
    path: PathBuf,
    /// The same for people, or the file that it was copied from.
    called: PathBuf,
    /// The open files: the database, its log, and the index of that log, by which processes see each other.
    held: Vec<(PathBuf, Identity)>,
}

/// Tells a file from another one of the same name: device and inode.
type Identity = (u64, u64);

const fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// Whether there is anything of this name.
pub(super) fn is_there(path: &Path) -> Result<bool, StoreFault> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(why) => Err(said(path, why)),
    }
}

impl DatabaseFile {
    /// Finds an existing file that nobody else may read or write. It is not opened: closing a descriptor of it would drop the
    /// locks that SQLite has on it in this process.
    pub(super) fn find(path: &Path) -> Result<Self, StoreFault> {
        let path = std::path::absolute(path).map_err(|why| said(path, why))?;
        let me = rustix::process::geteuid().as_raw();
        let folder = folder(&path)?;
        let stat = statat(CWD, &path, AtFlags::empty()).map_err(|why| match why {
            Errno::NOENT => missing(&path),
            why => said(&path, why),
        })?;
        let error = |code, problem: String| Diagnostic::error(code, problem).at(file::location(&path));
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(StoreFault::new(error(Code::FileOfWrongKind, "is not a regular file".to_owned())));
        }
        // An empty file is no database.
        if stat.st_size == 0 {
            return Err(missing(&path));
        }
        // Root manages the store of the user who runs the server, to whom the folder belongs, too.
        let theirs = me == 0 && stat.st_uid == folder.st_uid;
        if stat.st_uid != 0 && stat.st_uid != me && !theirs {
            let problem = format!("belongs to uid {}, and uid {me} runs this", stat.st_uid);
            let other = error(Code::FileOfOtherOwner, problem);
            return Err(StoreFault::new(
                other.advise("run this as the user that owns the store, or as root"),
            ));
        }
        let mode = stat.st_mode & 0o7777;
        if mode & 0o077 != 0 {
            let problem = format!("others than its owner may use it (mode {mode:04o})");
            let open = error(Code::FileReadableByOthers, problem);
            return Err(StoreFault::new(file::change(open, &path, "chmod go=")));
        }
        let held = vec![(path.clone(), identity(&stat))];
        Ok(Self { called: path.clone(), path, held })
    }

    /// A file that only this process knows, as an absolute path.
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), called: path.to_owned(), held: Vec::new() }
    }

    /// Shows it to people under the name of the file that it was copied from.
    pub(super) fn called(self, from: &Path) -> Self {
        Self { called: from.to_owned(), ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes which files are open. Call it after a connection has read from them.
    pub(super) fn hold(mut self) -> Result<Self, StoreFault> {
        for suffix in ["-wal", "-shm", used::SUFFIX] {
            let path = with(&self.path, suffix);
            let stat = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW).map_err(|why| said(&path, why))?;
            self.held.push((path, identity(&stat)));
        }
        self.still_there()?;
        Ok(self)
    }

    /// Fails if a file was removed or replaced: it would still take writes, but they would be lost when the store is opened
    /// again.
    pub(super) fn still_there(&self) -> Result<(), StoreFault> {
        for (path, held) in &self.held {
            let now = statat(CWD, path, AtFlags::empty());
            if !now.is_ok_and(|now| identity(&now) == *held) {
                let problem = "was removed or replaced while the server had it open; nothing more is stored";
                let replaced = Diagnostic::error(Code::DatabaseReplaced, problem).at(file::location(path));
                return Err(StoreFault::new(
                    replaced
                        .advise("stop the server, and find out who replaced the file before you start it"),
                ));
            }
        }
        Ok(())
    }

    /// The fault for an error of SQLite, with a remedy for its code.
    pub(super) fn fault(&self, why: &Error) -> StoreFault {
        let writable = "let the server's user write to the file and to its folder";
        let mut text = why.to_string();
        // If a file cannot be opened, SQLite's binding appends the path.
        let suffix = format!(": {}", self.path.display());
        let without_path = text.strip_suffix(&suffix).map_or(text.len(), str::len);
        text.truncate(without_path);
        let error = |code| Diagnostic::error(code, text.as_str());
        self.finds(match why.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => not_ours(),
            _ if is_damage(why) => damaged(error(Code::DatabaseRowDamaged)),
            Some(ErrorCode::DatabaseCorrupt) => damaged(error(Code::DatabaseDamaged)),
            Some(ErrorCode::DatabaseBusy) => {
                Diagnostic::error(Code::DatabaseBusy, "another process has been writing to it for too long")
            }
            Some(ErrorCode::DiskFull) => error(Code::DatabaseFull).advise("free space on its disk"),
            Some(ErrorCode::ReadOnly) => error(Code::DatabaseReadOnly).advise(writable),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                error(Code::FileInaccessible).advise(writable)
            }
            _ => error(Code::DatabaseFailed),
        })
    }

    /// A finding about this store.
    pub(super) fn finds(&self, found: Diagnostic) -> StoreFault {
        StoreFault::new(found.at(file::location(&self.called)))
    }
}

/// Whether a stored value is one that no version of this program writes.
const fn is_damage(why: &Error) -> bool {
    matches!(
        why,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
    )
}

/// The finding for a file that is not a store.
pub(super) fn not_ours() -> Diagnostic {
    Diagnostic::error(Code::DatabaseNotOurs, "is not a store of ykwebd")
        .advise("name the right file in store")
}

/// What to do about a damaged store.
pub(super) fn damaged(found: Diagnostic) -> Diagnostic {
    restore(found)
}

/// How to put a copy back so that what was used stays used.
fn restore(found: Diagnostic) -> Diagnostic {
    found.run_when("stop the server", Program::System, "systemctl stop ykwebd").run_when(
        "to restore a backup",
        Program::Ykwebd,
        "restore FILE",
    )
}

fn missing(path: &Path) -> StoreFault {
    let found = Diagnostic::error(Code::DatabaseMissing, "does not exist, although its store key does")
        .at(file::location(path))
        .advise("if the setting store names the wrong place, correct it")
        .advise("if its disk is not mounted, mount it")
        .run_when("to restore a backup", Program::Ykwebd, "restore FILE")
        .advise("only if there is no backup: move the store key away, and create both anew; then add all users again")
        .run_when("to create them", Program::Ykwebd, "init");
    StoreFault::new(found)
}

/// The name of a file that SQLite keeps beside another.
pub(super) fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

/// The folder of a file. Nobody else may write to it: they could add a log of their own.
pub(super) fn folder(path: &Path) -> Result<Stat, StoreFault> {
    let folder = path.parent().unwrap_or(path);
    let stat = statat(CWD, folder, AtFlags::empty()).map_err(|why| match why {
        Errno::NOENT => missing(path),
        why => said(folder, why),
    })?;
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(stat);
    }
    let problem = format!("group or others may write to it (mode {mode:04o})");
    let open = Diagnostic::error(Code::FileWritableByOthers, problem).at(file::location(folder));
    // A folder that everybody may write to is meant to be shared.
    Err(StoreFault::new(if mode & 0o002 != 0 {
        open.advise("move the store to a folder that only the server's user may write to")
    } else {
        file::change(open, folder, "chmod go-w")
    }))
}

/// The fault for an error of the system about a file.
pub(super) fn said(path: &Path, why: impl Display) -> StoreFault {
    StoreFault::new(Diagnostic::error(Code::FileInaccessible, cause(&why)).at(file::location(path)))
}

/// A new, empty file of mode 0600, whatever the caller's umask.
pub(super) fn create(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600))?;
    Ok(file)
}

/// Locks the folder of a store: shared to open it, exclusively to create or replace it. Waits so long for others.
pub(super) fn lock(path: &Path, how: FlockOperation, patience: Duration) -> Result<OwnedFd, StoreFault> {
    let folder = path.parent().unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(folder, flags, Mode::empty()).map_err(|why| said(folder, why))?;
    let until = Instant::now() + patience;
    let locked = loop {
        match flock(&opened, how) {
            Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            locked => break locked,
        }
    };
    let found = match locked {
        Ok(()) => return Ok(opened),
        Err(Errno::WOULDBLOCK) if how == FlockOperation::NonBlockingLockShared => {
            Diagnostic::error(Code::DatabaseBeingRestored, "a copy is being restored to it")
                .advise("try again when that has ended")
        }
        Err(Errno::WOULDBLOCK) => {
            Diagnostic::error(Code::DatabaseInUse, "is in use by a server or a command").run_when(
                "stop the server, and every command that uses the store",
                Program::System,
                "systemctl stop ykwebd",
            )
        }
        Err(why) => return Err(said(folder, why)),
    };
    Err(StoreFault::new(found.at(file::location(path))))
}

/// A name for a new file beside this one, which no other file has.
pub(super) fn beside(path: &Path) -> Result<PathBuf, StoreFault> {
    let unlike_any = crate::random::bytes::<8>().map_err(|why| said(path, why))?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}", u64::from_le_bytes(unlike_any)));
    Ok(path.with_file_name(name))
}

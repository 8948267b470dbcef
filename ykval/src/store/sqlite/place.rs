//! The file of the store: its owner and mode, and whether it is still the one that was opened.

use super::super::StoreFault;
use crate::file;
use rusqlite::{Error, ErrorCode};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, flock, open, statat};
use rustix::io::Errno;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, cause};

/// Where a store is.
pub(super) struct DatabaseFile {
    /// The absolute path: SQLite takes some relative names for URIs.
    pub(super) path: PathBuf,
    /// The same, for people.
    pub(super) at: String,
    /// What it is opened for.
    pub(super) access: Access,
    /// Held while the store is open, so that [`restore`](super::restore) fails meanwhile.
    lock: Option<OwnedFd>,
    /// The open files: the database, its log, and the index of that log, by which processes see each other.
    held: Vec<(PathBuf, Identity)>,
}

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading and writing.
    Full,
    /// Only reading.
    Look,
}

/// The finding for a file that is not a store.
pub(super) fn not_ours() -> Diagnostic {
    Diagnostic::error(Code::DatabaseNotOurs, "is not a store of ykvald")
        .advise("name the right file in store")
}

/// Tells a file from another one of the same name: device and inode.
type Identity = (u64, u64);

/// Whether there is a store, or anything else of this name.
pub(super) fn is_there(path: &Path) -> Result<bool, StoreFault> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(why) => Err(said(path, why)),
    }
}

impl DatabaseFile {
    /// Finds an existing file that nobody else may write to. It is not opened: closing a descriptor of it would drop
    /// the locks that SQLite has on it in this process.
    pub(super) fn find(path: &Path) -> Result<Self, StoreFault> {
        let path = std::path::absolute(path).map_err(|why| said(path, why))?;
        let me = rustix::process::geteuid().as_raw();
        let folder = folder(&path)?;
        let stat = statat(CWD, &path, AtFlags::empty()).map_err(|why| match why {
            Errno::NOENT => StoreFault::Missing(file::location(&path)),
            why => said(&path, why),
        })?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(found(&path, of_wrong_kind()));
        }
        // An empty file is no database.
        if stat.st_size == 0 {
            return Err(StoreFault::Missing(file::location(&path)));
        }
        // Root manages the store of the user who runs the server, to whom the folder belongs, too.
        let theirs = me == 0 && stat.st_uid == folder.st_uid;
        if stat.st_uid != 0 && stat.st_uid != me && !theirs {
            let owner = stat.st_uid;
            let problem = format!("belongs to uid {owner}, and uid {me} runs this");
            let other = Diagnostic::error(Code::FileOfOtherOwner, problem);
            return Err(found(&path, other.advise("run this as the user that owns the store, or as root")));
        }
        only_the_owner_writes(&path, &stat)?;
        let held = vec![(path.clone(), identity(&stat))];
        Ok(Self { at: path.display().to_string(), path, access: Access::Full, lock: None, held })
    }

    /// The same, only for reading.
    pub(super) fn only_looked_at(self) -> Self {
        Self { access: Access::Look, ..self }
    }

    /// A file that only this process knows, as an absolute path.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            at: path.display().to_string(),
            path: path.to_owned(),
            access: Access::Full,
            lock: None,
            held: Vec::new(),
        }
    }

    /// Prevents a restore to this place until this is dropped.
    pub(super) fn keep_from_being_restored(&mut self) -> Result<(), StoreFault> {
        self.lock = Some(lock(&self.path, FlockOperation::NonBlockingLockShared)?);
        Ok(())
    }

    /// Shows it to people under the name of the file that it was copied from.
    pub(super) fn called(self, from: &Path) -> Self {
        Self { at: from.display().to_string(), ..self }
    }

    /// Releases the lock, so that it can be taken exclusively.
    pub(super) fn let_it_be_restored(&mut self) {
        self.lock = None;
    }

    /// Whether a name leads to one of the open files, or would once SQLite creates it.
    pub(super) fn has(&self, path: &Path) -> bool {
        let names = ["", "-wal", "-shm", "-journal"].map(|suffix| with(&self.path, suffix));
        let found = statat(CWD, path, AtFlags::empty()).map(|stat| identity(&stat));
        names.iter().any(|name| name == path)
            || found.is_ok_and(|found| self.held.iter().any(|(_, held)| *held == found))
    }

    /// Finds the file under this name again, because it was replaced.
    pub(super) fn find_again(&mut self) -> Result<(), StoreFault> {
        let lock = self.lock.take();
        *self = Self { lock, ..Self::find(&self.path)? };
        Ok(())
    }

    /// Notes which files are open. Call it after a connection has read from them.
    pub(super) fn hold(mut self) -> Result<Self, StoreFault> {
        for suffix in ["-wal", "-shm"] {
            let path = with(&self.path, suffix);
            let stat = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW).map_err(|why| said(&path, why))?;
            self.held.push((path, identity(&stat)));
        }
        self.still_there()?;
        Ok(self)
    }

    /// Fails if a file was removed or replaced: it would still take writes, but they would be lost when the store is
    /// opened again.
    pub(super) fn still_there(&self) -> Result<(), StoreFault> {
        for (path, held) in &self.held {
            let now = statat(CWD, path, AtFlags::empty());
            if !now.is_ok_and(|now| identity(&now) == *held) {
                return Err(StoreFault::Replaced(file::location(path)));
            }
        }
        Ok(())
    }

    /// The fault for an error of SQLite. If a stored value is damaged, it names the row.
    pub(super) fn fault(&self, why: &Error, what: &dyn Display) -> StoreFault {
        match why {
            why if why.sqlite_error_code() == Some(ErrorCode::NotADatabase) => self.finds(not_ours()),
            why if super::rows::is_damage(why) => {
                StoreFault::Damaged { at: self.location(), what: what.to_string() }
            }
            why if why.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => self.says(
                Code::DatabaseBusy,
                "another process has been writing to it for too long; a large import ends by itself",
            ),
            error => {
                let mut why = error.to_string();
                // If a file cannot be opened, SQLite's binding appends the path.
                let without_path =
                    why.strip_suffix(&self.at).and_then(|why| why.strip_suffix(": ")).map(str::len);
                why.truncate(without_path.unwrap_or(why.len()));
                self.failed(error.sqlite_error_code(), &why)
            }
        }
    }

    /// The fault for an error of SQLite, with a remedy for its code.
    fn failed(&self, code: Option<ErrorCode>, why: &str) -> StoreFault {
        let error = |code| Diagnostic::error(code, why);
        self.finds(match code {
            Some(ErrorCode::DiskFull) => error(Code::DatabaseFull).advise("free space on its disk"),
            Some(ErrorCode::DatabaseCorrupt) => {
                return StoreFault::Broken { at: self.location(), why: why.to_owned() };
            }
            Some(ErrorCode::ReadOnly) => error(Code::DatabaseReadOnly)
                .advise("let the server's user write to the file and to its folder"),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => error(Code::FileInaccessible)
                .advise("let the server's user write to the file and to its folder"),
            _ => error(Code::DatabaseFailed),
        })
    }

    /// The file as the location of a finding.
    pub(super) fn location(&self) -> Location {
        Location::file(self.at.as_bytes())
    }

    /// A finding about this store.
    pub(super) fn finds(&self, found: Diagnostic) -> StoreFault {
        StoreFault::of_database(self.location(), found)
    }

    /// The same, without a remedy.
    pub(super) fn says(&self, code: Code, problem: &str) -> StoreFault {
        self.finds(Diagnostic::error(code, problem))
    }

    pub(super) fn closed(&self) -> StoreFault {
        self.says(Code::DatabaseClosed, "was closed")
    }
}

/// Locks the folder of a store: shared to open it, exclusively to replace it.
pub(super) fn lock(path: &Path, how: FlockOperation) -> Result<OwnedFd, StoreFault> {
    let folder = path.parent().unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = open(folder, flags, Mode::empty()).map_err(|why| said(folder, why))?;
    match flock(&opened, how) {
        Ok(()) => Ok(opened),
        Err(Errno::WOULDBLOCK) if how == FlockOperation::NonBlockingLockShared => {
            let busy = Diagnostic::error(Code::DatabaseBeingRestored, "a backup is being restored to it");
            Err(found(path, busy.advise("try again when that has ended")))
        }
        Err(Errno::WOULDBLOCK) => Err(found(
            path,
            Diagnostic::error(Code::DatabaseInUse, "is in use by a server or a command").run_when(
                "stop the server, and every command that uses the store",
                Program::System,
                "systemctl stop ykvald",
            ),
        )),
        Err(why) => Err(said(folder, why)),
    }
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
        Errno::NOENT => StoreFault::Missing(file::location(path)),
        why => said(folder, why),
    })?;
    only_the_owner_writes(folder, &stat)?;
    Ok(stat)
}

fn only_the_owner_writes(path: &Path, stat: &Stat) -> Result<(), StoreFault> {
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    let open = Diagnostic::error(
        Code::FileWritableByOthers,
        format!("group or others may write to it (mode {mode:04o})"),
    );
    // A folder that everybody may write to is meant to be shared.
    let is_shared = FileType::from_raw_mode(stat.st_mode) == FileType::Directory && mode & 0o002 != 0;
    Err(found(
        path,
        if is_shared {
            open.advise("move the store to a folder that only the server's user may write to")
        } else {
            file::change(open, path, "chmod go-w")
        },
    ))
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// The fault for an error of the system about a file.
pub(super) fn said(path: &Path, why: impl Display) -> StoreFault {
    found(path, Diagnostic::error(Code::FileInaccessible, cause(&why)))
}

/// A finding about a file.
pub(super) fn found(path: &Path, found: Diagnostic) -> StoreFault {
    StoreFault::of_database(file::location(path), found)
}

/// The finding for a folder, a device or a pipe.
pub(super) fn of_wrong_kind() -> Diagnostic {
    Diagnostic::error(Code::FileOfWrongKind, "is not a regular file")
}

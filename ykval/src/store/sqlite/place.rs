//! The file of the store, the lock of its folder, and what its errors mean here.

use super::StoreFault;
use rusqlite::Error;
use rustix::fs::FlockOperation;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use yksqlite::{Failure, Others, Problem};
pub(super) use yksqlite::{folder, is_there, keep, with};
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// Where a store is.
pub(super) struct DatabaseFile {
    file: yksqlite::DatabaseFile,
    /// The same for people: its path, or that of the file that it was copied from.
    pub(super) at: String,
    pub(super) access: Access,
    /// Prevents a restore to this place while it is open.
    lock: Option<OwnedFd>,
}

/// What a store is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading and writing.
    Full,
    /// Only reading.
    Look,
}

impl From<Problem> for StoreFault {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Missing(at) => Self::Missing(at),
            Problem::Replaced(at) => Self::Replaced(at),
            Problem::Other(found) => Self::Database(found),
        }
    }
}

/// The finding for a file that is not a store.
pub(super) fn not_ours() -> Diagnostic {
    Diagnostic::error(Code::DatabaseNotOurs, "is not a store of ykvald")
        .advise("name the right file in store")
}

impl DatabaseFile {
    /// Finds an existing file that nobody else may write to.
    pub(super) fn find(path: &Path) -> Result<Self, StoreFault> {
        Ok(Self::new(yksqlite::DatabaseFile::find(path, Others::MayRead)?))
    }

    /// A file that only this process knows, as an absolute path.
    pub(super) fn of(path: &Path) -> Self {
        Self::new(yksqlite::DatabaseFile::of(path))
    }

    fn new(file: yksqlite::DatabaseFile) -> Self {
        Self { at: file.path().display().to_string(), file, access: Access::Full, lock: None }
    }

    /// The same, only for reading.
    pub(super) fn only_looked_at(self) -> Self {
        Self { access: Access::Look, ..self }
    }

    /// Shows it to people under the name of the file that it was copied from.
    pub(super) fn called(self, from: &Path) -> Self {
        Self { at: from.display().to_string(), file: self.file.called(from), ..self }
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Prevents a restore to this place until this is dropped.
    pub(super) fn keep_from_being_restored(&mut self) -> Result<(), StoreFault> {
        self.lock = Some(lock(self.path(), FlockOperation::NonBlockingLockShared)?);
        Ok(())
    }

    /// Releases the lock, so that it can be taken exclusively.
    pub(super) fn let_it_be_restored(&mut self) {
        self.lock = None;
    }

    /// Whether a name leads to one of the open files, or would once SQLite creates it.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.file.has(path)
    }

    /// Finds the file under this name again, because it was replaced.
    pub(super) fn find_again(&mut self) -> Result<(), StoreFault> {
        let lock = self.lock.take();
        *self = Self { lock, ..Self::find(self.path())? };
        Ok(())
    }

    /// Notes which files are open. Call it after a connection has read from them.
    pub(super) fn hold(self) -> Result<Self, StoreFault> {
        Ok(Self { file: self.file.hold(&[])?, ..self })
    }

    /// Fails if a file was removed or replaced: it would still take writes, but they would be lost when the store is
    /// opened again.
    pub(super) fn still_there(&self) -> Result<(), StoreFault> {
        Ok(self.file.still_there()?)
    }

    /// The fault for an error of SQLite. If a stored value is damaged, it names the row.
    pub(super) fn fault(&self, why: &Error, what: &dyn Display) -> StoreFault {
        match yksqlite::failure(why, self.path()) {
            Failure::NotADatabase => self.finds(not_ours()),
            Failure::Value(_) => StoreFault::Damaged { at: self.location(), what: what.to_string() },
            Failure::Damaged(why) => StoreFault::Broken { at: self.location(), why },
            Failure::Busy => self.says(
                Code::DatabaseBusy,
                "another process has been writing to it for too long; a large import ends by itself",
            ),
            Failure::Other(found) => self.finds(found),
        }
    }

    /// The file as the location of a finding.
    pub(super) fn location(&self) -> Location {
        self.file.location()
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
    Ok(yksqlite::lock(path, how, Duration::ZERO, "ykvald")?)
}

/// The fault for an error of the system about a file.
pub(super) fn said(path: &Path, why: impl Display) -> StoreFault {
    Problem::system(path, why).into()
}

/// A finding about a file.
pub(super) fn found(path: &Path, found: Diagnostic) -> StoreFault {
    Problem::of(path, found).into()
}

/// The finding for a folder, a device or a pipe.
pub(super) fn of_wrong_kind() -> Diagnostic {
    Diagnostic::error(Code::FileOfWrongKind, "is not a regular file")
}

//! The file of the store, the lock of its folder, and what its errors mean here.

use super::{StoreFault, used};
use rusqlite::Error;
use rustix::fs::FlockOperation;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use yksqlite::{Failure, Others, Problem};
pub(super) use yksqlite::{folder, is_there, with};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};

/// Where a store is.
pub(super) struct DatabaseFile(yksqlite::DatabaseFile);

impl From<Problem> for StoreFault {
    fn from(problem: Problem) -> Self {
        Self::new(match problem {
            Problem::Missing(at) => missing(at),
            Problem::Replaced(at) => {
                let what = "was removed or replaced while the server had it open; nothing more is stored";
                let replaced = Diagnostic::error(Code::DatabaseReplaced, what).at(at);
                replaced.advise("stop the server, and find out who replaced the file before you start it")
            }
            Problem::Other(found) => *found,
        })
    }
}

impl DatabaseFile {
    /// Finds an existing file that nobody else may read or write.
    pub(super) fn find(path: &Path) -> Result<Self, StoreFault> {
        Ok(Self(yksqlite::DatabaseFile::find(path, Others::MayNothing)?))
    }

    /// A file that only this process knows, as an absolute path.
    pub(super) fn of(path: &Path) -> Self {
        Self(yksqlite::DatabaseFile::of(path))
    }

    /// Shows it to people under the name of the file that it was copied from.
    pub(super) fn called(self, from: &Path) -> Self {
        Self(self.0.called(from))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Notes which files are open. Call it after a connection has read from them.
    pub(super) fn hold(self) -> Result<Self, StoreFault> {
        Ok(Self(self.0.hold(&[used::SUFFIX])?))
    }

    /// Fails if a file was removed or replaced: it would still take writes, but they would be lost when the store is opened
    /// again.
    pub(super) fn still_there(&self) -> Result<(), StoreFault> {
        Ok(self.0.still_there()?)
    }

    /// The fault for an error of SQLite, with a remedy.
    pub(super) fn fault(&self, why: &Error) -> StoreFault {
        self.finds(match yksqlite::failure(why, self.path()) {
            Failure::NotADatabase => not_ours(),
            Failure::Value(why) => damaged(Diagnostic::error(Code::DatabaseRowDamaged, why)),
            Failure::Damaged(why) => damaged(Diagnostic::error(Code::DatabaseDamaged, why)),
            Failure::Busy => {
                Diagnostic::error(Code::DatabaseBusy, "another process has been writing to it for too long")
            }
            Failure::Other(found) => found,
        })
    }

    /// A finding about this store.
    pub(super) fn finds(&self, found: Diagnostic) -> StoreFault {
        StoreFault::new(found.at(self.0.location()))
    }
}

/// The finding for a file that is not a store.
pub(super) fn not_ours() -> Diagnostic {
    Diagnostic::error(Code::DatabaseNotOurs, "is not a store of ykwebd")
        .advise("name the right file in store")
}

/// What to do about a damaged store: how to put a copy back so that what was used stays used.
pub(super) fn damaged(found: Diagnostic) -> Diagnostic {
    found.run_when("stop the server", Program::System, "systemctl stop ykwebd").run_when(
        "to restore a backup",
        Program::Ykwebd,
        "restore FILE",
    )
}

fn missing(at: Location) -> Diagnostic {
    Diagnostic::error(Code::DatabaseMissing, "does not exist, although its store key does")
        .at(at)
        .advise("if the setting store names the wrong place, correct it")
        .advise("if its disk is not mounted, mount it")
        .run_when("to restore a backup", Program::Ykwebd, "restore FILE")
        .advise("only if there is no backup: move the store key away, and create both anew; then add all users again")
        .run_when("to create them", Program::Ykwebd, "init")
}

/// The fault for an error of the system about a file.
pub(super) fn said(path: &Path, why: impl Display) -> StoreFault {
    Problem::system(path, why).into()
}

/// Locks the folder of a store: shared to open it, exclusively to create or replace it. Waits so long for others.
pub(super) fn lock(path: &Path, how: FlockOperation, patience: Duration) -> Result<OwnedFd, StoreFault> {
    Ok(yksqlite::lock(path, how, patience, "ykwebd")?)
}

//! A store that is one file of SQLite, with the files that SQLite keeps beside it: what must hold before it is opened, while it
//! is open, and when another one takes its place. What is in it is the matter of its server.
//!
//! - [`DatabaseFile`] finds a file that nobody else writes to, and tells whether it is still the one that was opened: what is
//!   written to a file that was replaced is lost with it.
//! - [`lock`] keeps a server and a restore apart. A new store is [created](create) under a name that [nobody has](beside), and
//!   then linked or renamed; [`keep`] gives the former one another name.
//! - [`failure`] sorts the errors of SQLite by what an administrator can do.
#![forbid(unsafe_code)]

mod failure;
mod file;
mod folder;

#[cfg(test)]
mod tests;

pub use failure::{Failure, failure, is_damage};
pub use file::{DatabaseFile, Others};
pub use folder::{beside, create, folder, is_there, keep, lock, remove, remove_leftovers, sync, sync_folder};
use rustix::io::Errno;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use ykserve::file::location;
use yubiotp::diagnostic::{Code, Diagnostic, Location, cause};

/// The suffixes of the files that SQLite keeps beside a database.
pub const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Why a file is no store, or none any more.
#[derive(Debug)]
pub enum Problem {
    /// There is none here, or an empty file.
    Missing(Location),
    /// This open file lost its name, or another file has it now.
    Replaced(Location),
    /// Anything else: the finding, with its location.
    Other(Box<Diagnostic>),
}

impl Problem {
    /// A finding about this file or folder.
    #[must_use]
    pub fn of(path: &Path, found: Diagnostic) -> Self {
        Self::Other(Box::new(found.at(location(path))))
    }

    /// The system refused something about this file or folder, or failed.
    #[must_use]
    pub fn system(path: &Path, why: impl Display) -> Self {
        Self::of(path, Diagnostic::error(Code::FileInaccessible, cause(&why)))
    }
}

/// The name of a file that SQLite keeps beside another.
#[must_use]
pub fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

fn missing_or(path: &Path, of: &Path, why: Errno) -> Problem {
    if why == Errno::NOENT { Problem::Missing(location(path)) } else { Problem::system(of, why) }
}

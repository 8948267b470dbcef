//! The file: its owner and mode, and whether it is still the one that was opened.

use crate::folder::{folder, only_the_owner_writes};
use crate::{BESIDE, Problem, missing_or, with};
use rustix::fs::{AtFlags, CWD, FileType, Stat, statat};
use std::path::{Path, PathBuf};
use ykserve::file::{change, location};
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// What users other than its owner may do with a file; nobody else may write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Read it.
    MayRead,
    /// Nothing.
    MayNothing,
}

/// Where a store is, and which of its files are open.
#[derive(Debug)]
pub struct DatabaseFile {
    /// Absolute: SQLite takes some relative names for URIs.
    path: PathBuf,
    /// The same for people, or the file that it was copied from.
    called: PathBuf,
    /// The database, its log, and the index of that log, by which processes see each other.
    held: Vec<(PathBuf, Identity)>,
}

/// Tells a file from another one of the same name: device and inode.
type Identity = (u64, u64);

const fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

impl DatabaseFile {
    /// Finds an existing file, in a folder that nobody else may write to. It is not opened: closing a descriptor of it would drop
    /// the locks that SQLite has on it in this process.
    ///
    /// # Errors
    /// There is none, or it must not be used.
    pub fn find(path: &Path, others: Others) -> Result<Self, Problem> {
        let path = std::path::absolute(path).map_err(|why| Problem::system(path, why))?;
        let me = rustix::process::geteuid().as_raw();
        let folder = folder(&path)?;
        let stat = statat(CWD, &path, AtFlags::empty()).map_err(|why| missing_or(&path, &path, why))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let other = Diagnostic::error(Code::FileOfWrongKind, "is not a regular file");
            return Err(Problem::of(&path, other));
        }
        // An empty file is no database.
        if stat.st_size == 0 {
            return Err(Problem::Missing(location(&path)));
        }
        // Root manages the store of the user who runs the server, to whom the folder belongs, too.
        let theirs = me == 0 && stat.st_uid == folder.st_uid;
        if stat.st_uid != 0 && stat.st_uid != me && !theirs {
            let problem = format!("belongs to uid {}, and uid {me} runs this", stat.st_uid);
            let other = Diagnostic::error(Code::FileOfOtherOwner, problem);
            return Err(Problem::of(
                &path,
                other.advise("run this as the user that owns the store, or as root"),
            ));
        }
        match others {
            Others::MayRead => only_the_owner_writes(&path, &stat)?,
            Others::MayNothing => only_the_owner_uses(&path, &stat)?,
        }
        let held = vec![(path.clone(), identity(&stat))];
        Ok(Self { called: path.clone(), path, held })
    }

    /// A file that only this process knows, by its absolute path.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), called: path.to_owned(), held: Vec::new() }
    }

    /// Shows it to people under the name of the file that it was copied from.
    #[must_use]
    pub fn called(self, from: &Path) -> Self {
        Self { called: from.to_owned(), ..self }
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The location of a finding about it.
    #[must_use]
    pub fn location(&self) -> Location {
        location(&self.called)
    }

    /// Whether a name leads to one of the open files, or would once SQLite creates it.
    #[must_use]
    pub fn has(&self, path: &Path) -> bool {
        let found = statat(CWD, path, AtFlags::empty()).map(|stat| identity(&stat));
        self.path == path
            || BESIDE.iter().any(|suffix| with(&self.path, suffix) == path)
            || found.is_ok_and(|found| self.held.iter().any(|(_, held)| *held == found))
    }

    /// Notes that its log and the index of that are open, and the files with these further suffixes. Call it after a connection
    /// has read from them.
    ///
    /// # Errors
    /// One of them is not there, or was replaced meanwhile.
    pub fn hold(mut self, further: &[&str]) -> Result<Self, Problem> {
        for suffix in ["-wal", "-shm"].iter().chain(further) {
            let path = with(&self.path, suffix);
            let stat = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW);
            let stat = stat.map_err(|why| Problem::system(&path, why))?;
            self.held.push((path, identity(&stat)));
        }
        self.still_there()?;
        Ok(self)
    }

    /// Fails if an open file was removed or replaced: it would still take writes, but they would be lost when the store is opened
    /// again.
    ///
    /// # Errors
    /// [`Problem::Replaced`].
    pub fn still_there(&self) -> Result<(), Problem> {
        for (path, held) in &self.held {
            let now = statat(CWD, path, AtFlags::empty());
            if !now.is_ok_and(|now| identity(&now) == *held) {
                return Err(Problem::Replaced(location(path)));
            }
        }
        Ok(())
    }
}

fn only_the_owner_uses(path: &Path, stat: &Stat) -> Result<(), Problem> {
    let mode = stat.st_mode & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let problem = format!("others than its owner may use it (mode {mode:04o})");
    let open = Diagnostic::error(Code::FileReadableByOthers, problem);
    Err(Problem::of(path, change(open, path, "chmod go=")))
}

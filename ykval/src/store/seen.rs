//! A file that records the last state of a database that was written to: an older state, or another database, lacks used
//! OTPs. What a state is, each kind of database says.

use crate::file;
use rustix::fs::{Access, AtFlags, CWD, FlockOperation, Mode, OFlags, accessat, flock, open};
use rustix::io::Errno;
use std::fmt::Display;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

const MOST: u64 = 4096;

/// Why a database is refused, or why the record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The administrator can accept it (`accept-database`).
    OtherDatabase(Box<Diagnostic>),
    /// The file of the record.
    Fault(Box<Diagnostic>),
}

impl NotTaken {
    pub(super) fn other(found: Diagnostic) -> Self {
        Self::OtherDatabase(Box::new(found))
    }

    fn fault(found: Diagnostic) -> Self {
        Self::Fault(Box::new(found))
    }
}

/// A state of a kind of database. By default, none was seen.
pub(super) trait SeenState: Copy + Default + Eq {
    /// The kind of database, for people.
    const KIND: &'static str;
    /// What is not noticed after a restart, if nothing could be recorded.
    const UNNOTICED: &'static str;

    /// The file. There is one way to write each state.
    fn text(self) -> String;

    /// The state in such a file.
    fn parse(text: &str) -> Option<Self>;

    /// This state, unless another process recorded a newer one of the same database.
    fn or_newer(self, recorded: Self) -> Self;
}

/// The file of the record, or none.
pub(super) struct SeenFile<S> {
    path: Option<PathBuf>,
    state: PhantomData<fn() -> S>,
}

impl<S: SeenState> SeenFile<S> {
    /// Without a path, nothing is recorded.
    pub(super) const fn new(path: Option<PathBuf>) -> Self {
        Self { path, state: PhantomData }
    }

    /// The recorded state; none without a file.
    pub(super) fn load(&self) -> Result<S, NotTaken> {
        self.path.as_deref().map_or_else(|| Ok(S::default()), load)
    }

    /// Why nothing could be recorded, as far as that is known in advance.
    pub(super) fn cannot_remember(&self) -> Option<Diagnostic> {
        let path = self.path.as_deref()?;
        let writes = accessat(CWD, folder(path), Access::WRITE_OK, AtFlags::EACCESS);
        writes.err().map(|why| cannot_write::<S>(path, &why))
    }

    /// Writes the file, unless another process with the same file has seen a newer state.
    pub(super) fn write(&self, now: S) -> Result<(), NotTaken> {
        let Some(path) = &self.path else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let system = |why| NotTaken::fault(cannot_write::<S>(path, &why));
        let folder = open(folder(path), flags, Mode::empty()).map_err(system)?;
        lock_a_while(&folder).map_err(system)?;
        let recorded = load(path)?;
        let now = now.or_newer(recorded);
        if now == recorded {
            return Ok(());
        }
        file::replace(path, now.text().as_bytes(), 0o600)
            .map_err(|fault| NotTaken::fault(cannot_write::<S>(path, &fault.diagnostic().problem)))
    }
}

/// Replaces the record by this state, older or not.
pub(super) fn replace(path: Option<&Path>, state: impl SeenState) -> Result<(), file::FileFault> {
    let Some(path) = path else { return Ok(()) };
    file::replace(path, state.text().as_bytes(), 0o600)
}

/// Locks the folder, so that two processes do not write at the same time. A store in SQLite that is open in the same folder
/// keeps a lock on it that may never end: then it is written without.
fn lock_a_while(folder: &OwnedFd) -> rustix::io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            done => return done,
        }
    }
    Ok(())
}

const LOCK_TRIES: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// The server starts nevertheless, and refuses an older state until it ends.
fn cannot_write<S: SeenState>(path: &Path, why: &dyn Display) -> Diagnostic {
    let problem = format!("cannot write it: {}; after a restart of ykvald, {}", cause(why), S::UNNOTICED);
    let found = Diagnostic::warning(Code::DatabaseStateNotWritten, problem).at(file::location(path));
    found.advise("let the server's user write to the file and to its folder")
}

fn load<S: SeenState>(path: &Path) -> Result<S, NotTaken> {
    let text = match file::read_replaced(path, MOST) {
        Ok(text) => text,
        Err(fault) if fault.is_missing() => return Ok(S::default()),
        Err(fault) => return Err(NotTaken::fault(fault.diagnostic())),
    };
    let text = str::from_utf8(&text).ok();
    // Anything that is not written this way is damaged, or of a later version.
    text.and_then(|text| S::parse(text).filter(|state| state.text() == text)).ok_or_else(|| {
        let problem = format!("is damaged, so it is not known which {} was used", S::KIND);
        NotTaken::other(Diagnostic::error(Code::DatabaseStateDamaged, problem).at(file::location(path)))
    })
}

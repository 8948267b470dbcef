//! Records the last state of the database that was written to: an older state, or another database, lacks used OTPs.
//!
//! PostgreSQL numbers its timelines: each promotion of a standby begins the next one. A primary that was replaced and
//! returns is still in the one before. A new cluster (`initdb`, `pg_upgrade`) has another system identifier.

use crate::file::{self, FileFault};
use rustix::fs::{Access, AtFlags, CWD, FlockOperation, Mode, OFlags, accessat, flock, open};
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;
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

fn other(found: Diagnostic) -> NotTaken {
    NotTaken::OtherDatabase(Box::new(found))
}

/// The last known state of one database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SeenState {
    system: Option<u64>,
    /// 0: none yet.
    timeline: u32,
}

pub(super) struct Seen {
    /// The highest timeline; others can wait for it to change.
    timeline: watch::Sender<u32>,
    state: Mutex<SeenState>,
    file: Option<PathBuf>,
    /// Whether this process writes the file. Commands only read it.
    writes: watch::Sender<bool>,
}

impl Seen {
    /// Reads the file; without a file, nothing is recorded.
    pub(super) fn read(file: Option<PathBuf>) -> Result<Self, NotTaken> {
        let state = file.as_deref().map_or_else(|| Ok(SeenState::default()), load)?;
        Ok(Self {
            timeline: watch::Sender::new(state.timeline),
            state: Mutex::new(state),
            file,
            writes: watch::Sender::new(false),
        })
    }

    /// The state that was seen so far.
    pub(super) fn state(&self) -> SeenState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Undoes the states that were seen since, of a database in which nothing was stored.
    pub(super) fn go_back(&self, to: SeenState) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = to;
        self.timeline.send_replace(to.timeline);
    }

    /// Why nothing could be recorded, as far as that is known in advance.
    pub(super) fn cannot_remember(&self) -> Option<Diagnostic> {
        let path = self.file.as_deref()?;
        let writes = accessat(CWD, folder(path), Access::WRITE_OK, AtFlags::EACCESS);
        writes.err().map(|why| cannot_write(path, &why))
    }

    /// From now on, records in the file what is seen.
    pub(super) fn remember(&self) -> Result<(), NotTaken> {
        self.writes.send_replace(true);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(*state)
    }

    /// Replaces the record by the state that was seen now, older or not.
    pub(super) fn replace(&self, path: Option<&Path>) -> Result<(), FileFault> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = path else { return Ok(()) };
        file::replace(path, text(*state).as_bytes(), 0o600)
    }

    /// Refuses an older state and another database; records a newer state.
    pub(super) fn accept(&self, timeline: Option<u32>, system: Option<u64>) -> Result<(), NotTaken> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(known), Some(system)) = (state.system, system)
            && known != system
        {
            let problem = format!(
                "is another PostgreSQL cluster (system identifier {system}) than the one that ykvald has stored in \
                 ({known}); it may not know which OTPs were used"
            );
            return Err(other(Diagnostic::error(Code::DatabaseIsOther, problem)));
        }
        if let Some(timeline) = timeline.filter(|timeline| *timeline < state.timeline) {
            let problem = format!(
                "is on timeline {timeline}, and ykvald has stored on timeline {}: it is an old primary, or an old copy, and \
                 does not know which OTPs were used since",
                state.timeline
            );
            let found = Diagnostic::error(Code::DatabaseOldPrimary, problem);
            return Err(other(found.advise("stop it, and make it a standby of the new primary (pg_rewind)")));
        }
        let now = SeenState {
            system: state.system.or(system),
            timeline: state.timeline.max(timeline.unwrap_or(0)),
        };
        if now != *state {
            if *self.writes.borrow() {
                // Before anything is stored there. If that fails, the state is known until this process ends; the
                // server reported it.
                let _ = self.write(now);
            }
            *state = now;
            self.timeline.send_replace(now.timeline);
        }
        Ok(())
    }

    /// Whether a connection on this timeline leads to an old primary.
    pub(super) fn is_past(&self, timeline: Option<u32>) -> bool {
        timeline.is_some_and(|timeline| timeline < *self.timeline.borrow())
    }

    /// Waits until a connection on this timeline leads to an old primary.
    pub(super) async fn passed(&self, timeline: Option<u32>) {
        let mut seen = self.timeline.subscribe();
        let Some(timeline) = timeline else { return std::future::pending().await };
        // The sender lives as long as `self`.
        let _ = seen.wait_for(|seen| timeline < *seen).await;
    }

    /// Writes the file, unless another process with the same file has seen a newer state.
    fn write(&self, now: SeenState) -> Result<(), NotTaken> {
        let Some(path) = &self.file else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let system = |why| NotTaken::Fault(Box::new(cannot_write(path, &why)));
        let folder = open(folder(path), flags, Mode::empty()).map_err(system)?;
        flock(&folder, FlockOperation::LockExclusive).map_err(system)?;
        let there = load(path)?;
        let same = there.system.is_none() || now.system.is_none() || there.system == now.system;
        let timeline = if same { now.timeline.max(there.timeline) } else { now.timeline };
        let now = SeenState { system: now.system.or(there.system), timeline };
        if now == there {
            return Ok(());
        }
        file::replace(path, text(now).as_bytes(), 0o600)
            .map_err(|fault| NotTaken::Fault(Box::new(cannot_write(path, &fault.diagnostic().problem))))
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// The server starts nevertheless, and refuses an old primary until it ends.
fn cannot_write(path: &Path, why: &dyn Display) -> Diagnostic {
    let problem = format!(
        "cannot write it: {}; after a restart of ykvald, an old primary of PostgreSQL that comes back will not be noticed",
        cause(why)
    );
    let found = Diagnostic::warning(Code::DatabaseStateNotWritten, problem).at(file::location(path));
    found.advise("let the server's user write to the file and to its folder")
}

/// For people.
impl Display for Seen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let SeenState { system, timeline } = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "timeline {timeline}")?;
        system.map_or(Ok(()), |system| write!(f, " of the cluster with the system identifier {system}"))
    }
}

const HEAD: &str = "# The PostgreSQL that ykvald has stored in, version 1. Written by ykvald. Without it, an old primary that \
                    comes back is not noticed, and used OTPs are good again.\n";

fn text(state: SeenState) -> String {
    let system = state.system.map(|system| format!("system: {system}\n")).unwrap_or_default();
    format!("{HEAD}{system}timeline: {}\n", state.timeline)
}

fn load(path: &Path) -> Result<SeenState, NotTaken> {
    let text = match file::read_replaced(path, MOST) {
        Ok(text) => text,
        Err(fault) if fault.is_missing() => return Ok(SeenState::default()),
        Err(fault) => return Err(NotTaken::Fault(Box::new(fault.diagnostic()))),
    };
    let damaged = || {
        let problem = "is damaged, so it is not known which PostgreSQL was used";
        other(Diagnostic::error(Code::DatabaseStateDamaged, problem).at(file::location(path)))
    };
    let text = str::from_utf8(&text).map_err(|_| damaged())?;
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let system = number("system: ").map(str::parse).transpose().map_err(|_| damaged())?;
    let timeline = number("timeline: ").and_then(|number| number.parse().ok()).ok_or_else(damaged)?;
    let state = SeenState { system, timeline };
    // There is one way to write it: anything else is damaged, or of a later version.
    if self::text(state) == text { Ok(state) } else { Err(damaged()) }
}

//! Records the last state of the database that was written to: an older state, or another database, lacks used OTPs.
//!
//! PostgreSQL numbers its timelines: each promotion of a standby begins the next one. A primary that was replaced and
//! returns is still in the one before. A new cluster (`initdb`, `pg_upgrade`) has another system identifier.

use crate::file::FileFault;
pub(super) use crate::store::seen::NotTaken;
use crate::store::seen::{self, SeenFile};
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;
use yubiotp::diagnostic::{Code, Diagnostic};

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
    file: SeenFile<SeenState>,
    /// Whether this process writes the file. Commands only read it.
    writes: watch::Sender<bool>,
}

impl Seen {
    /// Reads the file; without a file, nothing is recorded.
    pub(super) fn read(file: Option<PathBuf>) -> Result<Self, NotTaken> {
        let file = SeenFile::new(file);
        let state: SeenState = file.load()?;
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
        self.file.cannot_remember()
    }

    /// From now on, records in the file what is seen.
    pub(super) fn remember(&self) -> Result<(), NotTaken> {
        self.writes.send_replace(true);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.write(*state)
    }

    /// Replaces the record by the state that was seen now, older or not.
    pub(super) fn replace(&self, path: Option<&Path>) -> Result<(), FileFault> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        seen::replace(path, *state)
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
            return Err(NotTaken::other(Diagnostic::error(Code::DatabaseIsOther, problem)));
        }
        if let Some(timeline) = timeline.filter(|timeline| *timeline < state.timeline) {
            let problem = format!(
                "is on timeline {timeline}, and ykvald has stored on timeline {}: it is an old primary, or an old copy, and \
                 does not know which OTPs were used since",
                state.timeline
            );
            let found = Diagnostic::error(Code::DatabaseOldPrimary, problem);
            return Err(NotTaken::other(
                found.advise("stop it, and make it a standby of the new primary (pg_rewind)"),
            ));
        }
        let now = SeenState {
            system: state.system.or(system),
            timeline: state.timeline.max(timeline.unwrap_or(0)),
        };
        if now != *state {
            if *self.writes.borrow() {
                // Before anything is stored there. If that fails, the state is known until this process ends; the
                // server reported it.
                let _ = self.file.write(now);
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

impl seen::SeenState for SeenState {
    const KIND: &'static str = "PostgreSQL";
    const UNNOTICED: &'static str = "an old primary of PostgreSQL that comes back will not be noticed";

    fn text(self) -> String {
        let system = self.system.map(|system| format!("system: {system}\n")).unwrap_or_default();
        format!("{HEAD}{system}timeline: {}\n", self.timeline)
    }

    fn parse(text: &str) -> Option<Self> {
        let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let system = number("system: ").map(str::parse).transpose().ok()?;
        Some(Self { system, timeline: number("timeline: ")?.parse().ok()? })
    }

    fn or_newer(self, recorded: Self) -> Self {
        let same = recorded.system.is_none() || self.system.is_none() || recorded.system == self.system;
        let timeline = if same { self.timeline.max(recorded.timeline) } else { self.timeline };
        Self { system: self.system.or(recorded.system), timeline }
    }
}

//! The connections that verifications read with.

use super::connect::{self, Use};
use super::{DatabaseFile, StoreFault};
use rusqlite::{Connection, ErrorCode};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Slot = Mutex<Option<Connection>>;

/// One connection for each thread that may read at the same time, opened on first use.
pub(super) struct Readers {
    place: Arc<DatabaseFile>,
    first: Slot,
    others: Vec<Slot>,
    closed: AtomicBool,
}

impl Readers {
    pub(super) fn new(place: Arc<DatabaseFile>) -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16);
        let others = (1..threads).map(|_| Slot::default()).collect();
        Self { place, first: Slot::default(), others, closed: AtomicBool::new(false) }
    }

    /// Reads on the calling thread: a row in memory takes some microseconds, and readers do not wait for writers.
    pub(super) fn read<T>(
        &self,
        what: impl Display,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreFault> {
        let mut connection = self.one();
        if self.are_closed() {
            return Err(self.place.closed());
        }
        let open = match connection.take() {
            Some(open) => open,
            None => connect::open(&self.place, Use::Read)?,
        };
        let found = read(&open);
        // A connection that failed is opened again.
        let failed = found.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
        if failed.is_none_or(|code| code == ErrorCode::DatabaseBusy) {
            *connection = Some(open);
        }
        found.map_err(|why| self.place.fault(&why, &what))
    }

    /// A free connection; if there is none, waits for the first.
    fn one(&self) -> MutexGuard<'_, Option<Connection>> {
        let free = self.all().find_map(|connection| connection.try_lock().ok());
        free.unwrap_or_else(|| self.first.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn all(&self) -> impl Iterator<Item = &Slot> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(super) fn are_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for connection in self.all() {
            *connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

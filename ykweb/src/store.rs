//! Where users, their tokens, positions, sessions and events are stored: one SQLite file, in WAL mode, with
//! `synchronous=FULL`.
//!
//! A [`Store`] may be used by many threads, and by several processes at the same time: `ykwebd` and its commands. Each change
//! is one transaction, which is on the disk before the call returns. Calls wait for the disk, and for each other, so a server
//! makes them off its runtime (`spawn_blocking`).
//!
//! `users`, `tokens` and `recovery` say who has what. `positions` is the ledger: what was used.

mod connect;
mod events;
mod fault;
mod guesses;
mod log;
mod place;
mod positions;
mod recovery;
mod restore;
mod rows;
mod sessions;
#[cfg(test)]
mod tests;
mod tokens;
mod used;
mod users;

pub use events::StoredEvent;
pub use fault::StoreFault;
pub(crate) use positions::Step;
pub use recovery::{NewCodes, RecoverySet};
pub use restore::{FormerStore, Restored, Waiting, restore, restore_in_place};
pub use sessions::{NewSession, StoredSession};
pub use tokens::{Added, NewApp, OathRecord, Token};
pub use users::{Account, User};

use log::Written;
use place::DatabaseFile;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use rustix::fs::FlockOperation;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use used::{StoreNumber, UsedFile};
use yubiotp::seal::{StoreKeyId, StoreKeyIds};

/// The parts of the schema. A part may refer to those before it.
const SCHEMAS: &[&str] = &[
    connect::SCHEMA,
    used::SCHEMA,
    users::SCHEMA,
    tokens::SCHEMA,
    recovery::SCHEMA,
    positions::SCHEMA,
    guesses::SCHEMA,
    sessions::SCHEMA,
    events::SCHEMA,
];

/// Most connections that read at the same time.
const READERS: usize = 8;

/// A connection, opened when it is needed.
type Slot = Mutex<Option<Connection>>;

/// The store. A clone is the same one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    place: DatabaseFile,
    used: UsedFile,
    /// When the file was written last, as of the last look at whether the log continues it.
    written: Mutex<Option<Written>>,
    /// Keeps the log of the database open, also while every other connection is being opened again.
    anchor: Mutex<Connection>,
    writer: Slot,
    readers: Vec<Slot>,
    /// Held while the store is open, so that [`restore`] fails meanwhile. The last field: dropped after the connections.
    _lock: OwnedFd,
}

impl Store {
    /// Creates a store that is tied to this store key, whole or not at all, and opens it. A store that exists is opened.
    ///
    /// # Errors
    /// It cannot be created, or is none of this key.
    pub fn create(path: &Path, key: StoreKeyId) -> Result<Self, StoreFault> {
        if !place::is_there(path)? {
            connect::make(path, key)?;
        }
        Self::open(path, key.into())
    }

    /// Opens a store.
    ///
    /// # Errors
    /// There is none, it is tied to another store key, it is older than what was accepted, or it cannot be used.
    pub fn open(path: &Path, keys: StoreKeyIds) -> Result<Self, StoreFault> {
        let place = DatabaseFile::find(path)?;
        let lock = place::lock(place.path(), FlockOperation::NonBlockingLockShared, connect::PATIENCE)?;
        // A restore may have replaced it meanwhile.
        let place = DatabaseFile::find(place.path())?;
        let anchor = connect::open(&place)?;
        log::move_on_close(&anchor, false, &place)?;
        connect::check(&anchor, &place, keys)?;
        connect::log_ahead(&anchor, &place)?;
        let number = StoreNumber::of(&anchor).map_err(|why| place.fault(&why))?;
        let used = UsedFile::find(place.path(), number)?.ok_or_else(|| used::missing(place.path()))?;
        // Before the count, which may grow meanwhile.
        let (recorded, written) = (used.recorded()?, Written::of(&place));
        log::check(Some(&anchor), &place, Some(recorded))?;
        let count = used::count(&anchor).map_err(|why| place.fault(&why))?;
        used.compare(recorded, count, &place)?;
        used.raise(count)?;
        let place = place.hold()?;
        let readers = (0..READERS).map(|_| Slot::default()).collect();
        Ok(Self(Arc::new(Inner {
            place,
            used,
            written: Mutex::new(written),
            anchor: Mutex::new(anchor),
            writer: Slot::default(),
            readers,
            _lock: lock,
        })))
    }

    /// Reads, on a connection that waits for no change. All that one call reads is of one moment only if it is one statement.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreFault> {
        self.with(self.free_reader(), |connection| read(connection))
    }

    /// Makes a change, in one transaction that no other change comes between. It is on the disk when this returns, or, if it
    /// is a fault, may be.
    ///
    /// # Errors
    /// The database cannot be written; or a later version has upgraded it, or it was replaced or is an older copy now.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreFault> {
        let Inner { place, used, .. } = &*self.0;
        let changed = self.with(&self.0.writer, |connection| {
            if let Err(fault) = self.0.still_continues(connection) {
                return Ok(Err(fault));
            }
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Some(fault) = connect::is_later(&transaction, place)? {
                return Ok(Err(fault));
            }
            let before = used::count(&transaction)?;
            let recorded = used.recorded().and_then(|recorded| {
                used.compare(recorded, before, place)?;
                // Of another process, between its commit and its record: the database is ahead by no more than one change.
                if recorded < before { used.raise(before) } else { Ok(()) }
            });
            if let Err(fault) = recorded {
                return Ok(Err(fault));
            }
            let changed = change(&transaction)?;
            let mut count = used::count(&transaction)?;
            if count > before.saturating_add(1) {
                count = before.saturating_add(1);
                used::set(&transaction, count)?;
            }
            transaction.commit()?;
            // Before anybody is told.
            let recorded = if count > before { used.raise(count) } else { Ok(()) };
            Ok(recorded.map(|()| changed))
        })?;
        place.still_there()?;
        changed
    }

    /// Does something on a connection. One that failed is opened again the next time.
    fn with<T>(
        &self,
        slot: &Slot,
        act: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreFault> {
        let place = &self.0.place;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => {
                let connection = connect::open(place)?;
                log::move_on_close(&connection, false, place)?;
                connection
            }
        };
        let done = act(&mut connection);
        let failed = done.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
        if failed.is_none_or(|code| code == ErrorCode::DatabaseBusy) {
            *slot = Some(connection);
        }
        done.map_err(|why| place.fault(&why))
    }

    /// A connection that nobody reads with; if there is none, that of the writer is no place to wait: the first.
    fn free_reader(&self) -> &Slot {
        let is_free = |slot: &&Slot| !matches!(slot.try_lock(), Err(TryLockError::WouldBlock));
        self.0.readers.iter().find(is_free).or(self.0.readers.first()).unwrap_or(&self.0.writer)
    }
}

impl Inner {
    /// Fails if the file was replaced by an older one, which has its name and its inode: looks only if it was written to.
    fn still_continues(&self, connection: &Connection) -> Result<(), StoreFault> {
        let written = Written::of(&self.place);
        let mut known = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.is_none() || *known != written {
            log::check(Some(connection), &self.place, Some(self.used.recorded()?))?;
            *known = written;
        }
        Ok(())
    }
}

/// Moves the log into the file if no other process has the store open, and if it is the log of this file.
impl Drop for Inner {
    fn drop(&mut self) {
        for slot in self.readers.iter_mut().chain([&mut self.writer]) {
            *slot = Slot::default();
        }
        let anchor = self.anchor.get_mut().unwrap_or_else(PoisonError::into_inner);
        let check = || {
            self.place.still_there()?;
            log::check(Some(anchor), &self.place, Some(self.used.recorded()?))?;
            log::move_on_close(anchor, true, &self.place)
        };
        // The next open says what is wrong.
        let _ = check();
    }
}

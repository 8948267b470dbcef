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
    /// Keeps the log of the database open, also while every other connection is being opened again.
    _anchor: Mutex<Connection>,
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
        connect::check(&anchor, &place, keys)?;
        connect::log_ahead(&anchor, &place)?;
        let number = StoreNumber::of(&anchor).map_err(|why| place.fault(&why))?;
        let used = UsedFile::find(place.path(), number)?.ok_or_else(|| used::missing(place.path()))?;
        // Before the count, which may grow meanwhile.
        let recorded = used.recorded()?;
        let count = used::count(&anchor).map_err(|why| place.fault(&why))?;
        used.compare(recorded, count, &place)?;
        used.raise(count)?;
        let place = place.hold()?;
        let readers = (0..READERS).map(|_| Slot::default()).collect();
        Ok(Self(Arc::new(Inner {
            place,
            used,
            _anchor: Mutex::new(anchor),
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
            None => connect::open(place)?,
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

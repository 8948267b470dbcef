//! Connections and the schema.

use super::place::{Access, DatabaseFile, folder, found, is_there, lock, not_ours, said, with};
use super::*;
use crate::store::moving::MARKED;
use rusqlite::OpenFlags;
use rustix::fs::FlockOperation;
use std::time::Duration;
use yksqlite::{BESIDE, beside, create, remove, sync_folder};
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// The schemas, each upgraded in one transaction. The index in this list, from 1, is the `user_version` of a store; the
/// schemas of PostgreSQL have the same numbers.
const SCHEMAS: &[&str] =
    &[include_str!("../migrations/0001.sqlite.sql"), include_str!("../migrations/0002.sqlite.sql")];

/// The number of the last of them.
pub(super) const KNOWN: i64 = SCHEMAS.len() as i64;

/// `ykvd`, in the header of the file.
pub(super) const APPLICATION: i64 = 0x796b_7664;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Storing positions.
    Write,
    /// Reading, for verifications and administrators.
    Read,
    /// A change by an administrator.
    Change,
}

/// Opens an existing file.
pub(super) fn open(place: &DatabaseFile, purpose: Use) -> Result<Connection, StoreFault> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match place.access {
            Access::Full => Connection::open_with_flags(place.path(), flags)?,
            Access::Look => return look::open(place.path()),
        };
        connection.busy_timeout(match purpose {
            // While an administrator enrols a million keys.
            Use::Write => Duration::from_secs(10),
            // Only while a log is read again after a crash.
            Use::Read => Duration::from_secs(1),
            // Between the batches of a busy server.
            Use::Change => Duration::from_secs(30),
        })?;
        // The cache of a connection holds the upper levels of the tree. The rest is in the system's cache.
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA cache_size = -2048; PRAGMA mmap_size = 0; \
             PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
        )?;
        if purpose == Use::Read {
            connection.pragma_update(None, "query_only", true)?;
        }
        Ok(connection)
    };
    open().map_err(|why: rusqlite::Error| place.fault(&why, &"the file"))
}

/// Refuses a store of a later version or another store key, or one that was moved, and upgrades an earlier schema.
pub(super) fn check(
    connection: &mut Connection,
    place: &DatabaseFile,
    key: StoreKeyIds,
) -> Result<StoreKeyId, StoreFault> {
    recognize(connection, place, key)?;
    check_to_move(connection, place, key)
}

/// The same, also for a store that was moved, or is not complete.
pub(super) fn check_to_move(
    connection: &mut Connection,
    place: &DatabaseFile,
    key: StoreKeyIds,
) -> Result<StoreKeyId, StoreFault> {
    let fault = |why| place.fault(&why, &"the file");
    is_ours(connection, place)?;
    let under = is_of_key(connection, place, key)?;
    carry_forward(connection, place, SCHEMAS)?;
    // Without a write-ahead log, a commit needs more than one sync, and readers would wait for it.
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(fault)?;
    if mode != "wal" {
        let no_log = Diagnostic::error(Code::DatabaseWithoutWal, "its file system allows no write-ahead log");
        return Err(place.finds(
            no_log.advise("move the store to a disk of this host; network file systems do not work"),
        ));
    }
    Ok(under)
}

/// Refuses a store of a later version or another store key; otherwise returns the number of its schema, and the store key that
/// it is under. Changes nothing.
pub(super) fn recognize(
    connection: &Connection,
    place: &DatabaseFile,
    key: StoreKeyIds,
) -> Result<(i64, StoreKeyId), StoreFault> {
    let fault = |why| place.fault(&why, &"the file");
    is_ours(connection, place)?;
    if let Some(refused) = refused(connection, place).map_err(fault)? {
        return Err(refused);
    }
    let under = is_of_key(connection, place, key)?;
    Ok((schema_number(connection).map_err(fault)?, under))
}

fn is_ours(connection: &Connection, place: &DatabaseFile) -> Result<(), StoreFault> {
    let id = connection.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0));
    let is_ours = id.map_err(|why| place.fault(&why, &"the file"))? == APPLICATION;
    if is_ours { Ok(()) } else { Err(place.finds(not_ours())) }
}

/// The number of the schema, above [`MARKED`] in a store that must not be used.
pub(super) fn schema_number(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))
}

/// Why this program must not write: a later one upgraded the store, or it was moved, perhaps while this one had it open. In
/// a transaction this reads one page that is in memory.
pub(super) fn refused(connection: &Connection, place: &DatabaseFile) -> rusqlite::Result<Option<StoreFault>> {
    let found = schema_number(connection)?;
    if found <= KNOWN {
        return Ok(None);
    }
    Ok(Some(match moving::read(connection)?.mark {
        Some(mark) if found > MARKED => StoreFault::Moved { at: place.location(), mark: Box::new(mark) },
        _ => StoreFault::Later { at: place.location(), found, known: KNOWN },
    }))
}

/// Upgrades a backup to the schema of this program.
pub(super) fn carry_to_latest(connection: &mut Connection, place: &DatabaseFile) -> Result<(), StoreFault> {
    carry_forward(connection, place, SCHEMAS)
}

/// Refuses a store that is tied to another key; otherwise returns the one that it is tied to.
pub(super) fn is_of_key(
    connection: &Connection,
    place: &DatabaseFile,
    key: StoreKeyIds,
) -> Result<StoreKeyId, StoreFault> {
    let stored = stored_key(connection).map_err(|why| place.fault(&why, &"the file"))?;
    let wanted = key_of(stored, place)?;
    if key.has(wanted) {
        Ok(wanted)
    } else {
        Err(StoreFault::OtherStoreKey { at: place.location(), wanted, given: key.current })
    }
}

/// The key that a store is tied to, from what is stored.
pub(super) fn key_of(stored: Vec<u8>, place: &DatabaseFile) -> Result<StoreKeyId, StoreFault> {
    stored
        .try_into()
        .map(StoreKeyId)
        .map_err(|_| StoreFault::Damaged { at: place.location(), what: "the id of its store key".to_owned() })
}

/// The key that a store is tied to, as it is stored.
pub(super) fn stored_key(connection: &Connection) -> rusqlite::Result<Vec<u8>> {
    connection.query_row("SELECT value FROM meta WHERE name = 'store_key'", [], |row| row.get(0))
}

/// Upgrades to the latest schema, in one transaction.
pub(super) fn carry_forward(
    connection: &mut Connection,
    place: &DatabaseFile,
    schemas: &[&str],
) -> Result<(), StoreFault> {
    let fault = |why| place.fault(&why, &"its schema");
    let known = i64::try_from(schemas.len()).unwrap_or(i64::MAX);
    let found = schema_number(connection).map_err(fault)? % MARKED;
    if found > known {
        return Err(StoreFault::Later { at: place.location(), found, known });
    }
    if found == known {
        return Ok(());
    }
    let mut carry = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been faster.
        let number = schema_number(&transaction)?;
        let done = number % MARKED;
        for schema in schemas.iter().skip(usize::try_from(done).unwrap_or(0)) {
            transaction.execute_batch(schema)?;
        }
        let marked = number.saturating_sub(done);
        transaction.pragma_update(None, "user_version", known.saturating_add(marked))?;
        transaction.commit()
    };
    carry().map_err(fault)
}

/// Creates a store: complete, under another name, and then linked, so that an unfinished one is never there, and only
/// one of two processes creates it.
pub(super) fn make(path: &Path, key: StoreKeyId, restored: Option<i64>) -> Result<(), StoreFault> {
    let path = std::path::absolute(path).map_err(|why| said(path, why))?;
    folder(&path)?;
    // A restore removes files that look left over.
    let _not_restored = lock(&path, FlockOperation::NonBlockingLockShared)?;
    for suffix in BESIDE {
        let left = with(&path, suffix);
        // Another process that is creating the store has such a file, too.
        if is_there(&left)? && !is_there(&path)? {
            let left_over = Diagnostic::error(
                Code::DatabaseLeftovers,
                "exists without its store, and would be mixed into a new one",
            );
            return Err(found(
                &left,
                left_over.advise("move it away; it may hold the newest changes of the lost store"),
            ));
        }
    }
    let new = beside(&path)?;
    let cannot = |why| said(&path, format!("cannot create it: {}", cause(&std::io::Error::from(why))));
    drop(create(&new).map_err(cannot)?);
    let made = fill(&new, key, restored).and_then(|()| match rustix::fs::link(&new, &path) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        linked => linked.map_err(cannot),
    });
    // Removes only this name: a file that was linked stays.
    remove(&new);
    made?;
    sync_folder(&path).map_err(cannot)
}

fn fill(path: &Path, key: StoreKeyId, restored: Option<i64>) -> Result<(), StoreFault> {
    let place = DatabaseFile::of(path);
    let mut connection = open(&place, Use::Change)?;
    let prepare = || {
        connection.pragma_update(None, "page_size", PAGE_SIZE)?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
        connection.pragma_update(None, "application_id", APPLICATION)
    };
    prepare().map_err(|why| place.fault(&why, &"the file"))?;
    carry_forward(&mut connection, &place, SCHEMAS)?;
    let tie = "INSERT INTO meta (name, value) VALUES ('store_key', ?1)";
    connection.execute(tie, [key.0]).map_err(|why| place.fault(&why, &"meta"))?;
    restored::set_since(&connection, restored).map_err(|why| place.fault(&why, &"meta"))?;
    connection.close().map_err(|(_, why)| place.fault(&why, &"the file"))
}

/// The page size of the system. Measured with a million tokens: 1,024 and 2,048 are no faster, and neither is WITHOUT
/// ROWID.
const PAGE_SIZE: u32 = 4096;

//! Connections, and what a file has to be to be a store.

use super::place::{self, DatabaseFile, said};
use super::used::{self, StoreNumber};
use super::{SCHEMAS, StoreFault};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};
use rustix::fs::FlockOperation;
use std::path::Path;
use std::time::Duration;
use yksqlite::{BESIDE, beside, create, remove, sync_folder};
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use yubiotp::seal::{StoreKeyId, StoreKeyIds};

/// `ykwd`, in the header of the file.
const APPLICATION: i64 = 0x796b_7764;

/// The `user_version` of a store of this version.
const VERSION: i64 = 1;

/// The longest wait for a change by another process.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const SCHEMA: &str = "
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Opens an existing file.
pub(super) fn open(place: &DatabaseFile) -> Result<Connection, StoreFault> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(place.path(), flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
             PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA journal_size_limit = 67108864;",
        )?;
        Ok(connection)
    };
    open().map_err(|why: rusqlite::Error| place.fault(&why))
}

/// Refuses what is not a store of this version and of one of these keys.
pub(super) fn check(
    connection: &Connection,
    place: &DatabaseFile,
    keys: StoreKeyIds,
) -> Result<(), StoreFault> {
    let fault = |why| place.fault(&why);
    let application = connection.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0));
    let version = version(connection).map_err(fault)?;
    if application.map_err(fault)? != APPLICATION || version < 1 {
        return Err(place.finds(place::not_ours()));
    }
    if let Some(later) = is_later(connection, place).map_err(fault)? {
        return Err(later);
    }
    let stored = connection
        .query_row("SELECT value FROM meta WHERE name = 'store_key'", [], |row| row.get::<_, Vec<u8>>(0))
        .optional()
        .map_err(fault)?;
    let Some(wanted) = stored.and_then(|id| id.try_into().ok()).map(StoreKeyId) else {
        let problem = "the ID of its store key is damaged";
        return Err(place.finds(place::damaged(Diagnostic::error(Code::DatabaseRowDamaged, problem))));
    };
    if !keys.has(wanted) {
        let problem =
            format!("is sealed under store key {wanted}, and the configured store key is {}", keys.current);
        let other = Diagnostic::error(Code::DatabaseUnderOtherStoreKey, problem);
        return Err(place.finds(
            other.advise(format!("put your copy of store key {wanted} in the place of the configured one")),
        ));
    }
    Ok(())
}

/// Gives the store a write-ahead log.
pub(super) fn log_ahead(connection: &Connection, place: &DatabaseFile) -> Result<(), StoreFault> {
    let fault = |why| place.fault(&why);
    let mode = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0));
    let mode: String = mode.map_err(fault)?;
    if mode != "wal" {
        let no_log = Diagnostic::error(Code::DatabaseWithoutWal, "its file system allows no write-ahead log");
        return Err(place.finds(
            no_log.advise("move the store to a disk of this host; network file systems do not work"),
        ));
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))
}

/// Why this program must not write: a later one upgraded the store, perhaps while this one had it open. In a transaction
/// this reads one page that is in memory.
pub(super) fn is_later(
    connection: &Connection,
    place: &DatabaseFile,
) -> rusqlite::Result<Option<StoreFault>> {
    let found = version(connection)?;
    Ok((found > VERSION).then(|| {
        let problem =
            format!("was created or upgraded by a later ykwebd (schema {found}; this one knows {VERSION})");
        let later = Diagnostic::error(Code::DatabaseFromLaterVersion, problem);
        place.finds(later.advise("install that version of ykwebd, or a later one"))
    }))
}

/// Creates a store: complete, under another name, and then linked, so that an unfinished one is never there, and only one of
/// two processes creates it.
pub(super) fn make(path: &Path, key: StoreKeyId) -> Result<(), StoreFault> {
    let path = std::path::absolute(path).map_err(|why| said(path, why))?;
    place::folder(&path)?;
    let _alone = place::lock(&path, FlockOperation::NonBlockingLockExclusive, PATIENCE)?;
    if place::is_there(&path)? {
        return Ok(());
    }
    for suffix in BESIDE {
        let left = place::with(&path, suffix);
        if place::is_there(&left)? {
            let problem = "exists without its store, and would be mixed into a new one";
            let found = Diagnostic::error(Code::DatabaseLeftovers, problem)
                .advise("move it away; it may hold the newest changes of the lost store");
            return Err(StoreFault::new(found.at(crate::file::location(&left))));
        }
    }
    let number = StoreNumber::new(crate::random::bytes().map_err(|why| said(&path, why))?);
    // One that is there is of a store that was lost.
    used::replace(&path, number, 0)?;
    let new = beside(&path)?;
    let cannot = |why| said(&path, format!("cannot create it: {}", cause(&std::io::Error::from(why))));
    create(&new).map_err(cannot)?;
    let made = fill(&new, key, number).and_then(|()| rustix::fs::link(&new, &path).map_err(cannot));
    // Removes only this name: a file that was linked stays.
    remove(&new);
    made?;
    sync_folder(&path).map_err(|why| said(&path, why))
}

fn fill(path: &Path, key: StoreKeyId, number: StoreNumber) -> Result<(), StoreFault> {
    let place = DatabaseFile::of(path);
    let fault = |why| place.fault(&why);
    let mut connection = open(&place)?;
    let mut fill = || {
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
        connection.pragma_update(None, "application_id", APPLICATION)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for schema in SCHEMAS {
            transaction.execute_batch(schema)?;
        }
        transaction.execute("INSERT INTO meta (name, value) VALUES ('store_key', ?1)", [key.0])?;
        used::first(&transaction, number)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()
    };
    fill().map_err(fault)?;
    // Writes the log into the file, and syncs that.
    connection.close().map_err(|(_, why)| place.fault(&why))
}

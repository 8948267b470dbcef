//! Replaces a store by a backup, and raises every position to the highest that is known.
//!
//! Everything is done to a copy of the backup beside the store. Renaming the copy is the one moment that replaces the
//! store: before it, the old store is in place and whole; after it, the new one is. Until SQLite opens the new one, its
//! header says that the log beside it belongs to the old one (`header`).

use super::connect::{self, Use};
use super::header::{self, Kind, RESTORED};
use super::place::{DatabaseFile, folder, found, is_there, keep, lock, not_ours, of_wrong_kind, said, with};
use super::{Evidence, Path, StoreFault, StoreKeyIds, admin, restored, rows};
use crate::clock;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::path::PathBuf;
use yksqlite::{beside, create, remove, remove_leftovers, sync, sync_folder};
use yubiotp::Position;
use yubiotp::diagnostic::{Code, Diagnostic, Program, cause};

mod merge;

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// When the backup was made, in seconds since 1970.
    pub taken: i64,
    /// How much was in it.
    pub count: super::Count,
    /// Tokens whose position was raised above that of the backup, or that it did not have.
    pub raised: u64,
    /// Tokens that are restored now.
    pub restored: u64,
    /// Where the former store is kept.
    pub kept: Option<PathBuf>,
    /// Whether the former store could be used.
    pub former: FormerStore,
}

/// What became of the former store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormerStore {
    /// There was none.
    None,
    /// It is whole: its positions were taken over.
    Read,
    /// It was not read, and why.
    NotRead(String),
}

/// Replaces a store by a backup, all or nothing. The former store is kept under another name.
///
/// # Errors
/// The backup cannot be used, the store is open, or something could not be written.
pub fn restore(
    from: &Path,
    to: &Path,
    key: impl Into<StoreKeyIds>,
    evidence: &Evidence,
    accept_risk: bool,
) -> Result<Restored, StoreFault> {
    let key = key.into();
    let to = std::path::absolute(to).map_err(|why| said(to, why))?;
    if to.is_symlink() {
        let link = Diagnostic::error(Code::FileIsLink, "is a symbolic link");
        return Err(found(&to, link.advise("name the file that it points to in store")));
    }
    let owner = folder(&to)?;
    let _alone = lock(&to, FlockOperation::NonBlockingLockExclusive)?;
    remove_leftovers(&to)?;
    is_backup(from)?;
    let there = is_there(&to)? && std::fs::metadata(&to).is_ok_and(|file| file.len() > 0);
    // An interrupted restore.
    if there && header::kind(&to)? == Kind::Restored {
        header::finish(&to)?;
    }
    let new = beside(&to)?;
    let done = copy(from, &new).and_then(|()| {
        // Faults name the backup.
        let place = DatabaseFile::of(&new).called(from);
        let mut backup = checked(&place, key)?;
        must_not_be_moved(&backup, from)?;
        // After the check of the backup: SQLite may create an empty log beside it.
        let former = if there { Former::open(&to, key) } else { Former::None };
        if let Former::Read(former) = &former {
            must_not_be_moved(former, &to)?;
        }
        let done = build(&mut backup, &place, (former, evidence), accept_risk)?;
        backup.close().map_err(|(_, why)| place.fault(&why, &"the file"))?;
        let owner = std::os::unix::fs::lchown(&new, Some(owner.st_uid), Some(owner.st_gid));
        owner.map_err(|why| said(&to, format!("cannot chown it: {}", cause(&why))))?;
        sync(&new)?;
        let kept = if there { Some(keep(&to)?) } else { None };
        // This replaces the store.
        rustix::fs::rename(&new, &to).and_then(|()| sync_folder(&to)).map_err(|why| said(&to, why))?;
        header::finish(&to)?;
        Ok(Restored { kept, ..done })
    });
    remove(&new);
    done
}

/// Refuses a file that is not a complete copy of a store.
fn is_backup(from: &Path) -> Result<(), StoreFault> {
    if !std::fs::metadata(from).map_err(|why| said(from, why))?.is_file() {
        return Err(found(from, of_wrong_kind()));
    }
    match header::kind(from)? {
        Kind::Other => Err(found(from, not_ours())),
        Kind::Store if std::fs::metadata(with(from, "-wal")).is_ok_and(|log| log.len() > 0) => {
            let incomplete = Diagnostic::error(
                Code::BackupIncomplete,
                "is a store, and its newest changes are in the log beside it (-wal)",
            );
            Err(found(
                from,
                incomplete.run_when(
                    "with store naming that file, make a backup",
                    Program::Ykvald,
                    "backup FILE",
                ),
            ))
        }
        _ => Ok(()),
    }
}

fn copy(from: &Path, new: &Path) -> Result<(), StoreFault> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let source = rustix::fs::open(from, flags, Mode::empty()).map_err(|why| said(from, why))?;
    let target = create(new).map_err(|why| said(new, format!("cannot create it: {}", cause(&why))))?;
    std::io::copy(&mut File::from(source), &mut File::from(target)).map_err(|why| said(new, why))?;
    Ok(())
}

/// Fails if SQLite finds damage.
pub(super) fn whole(connection: &Connection, place: &DatabaseFile) -> Result<(), StoreFault> {
    let first = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match first {
        Ok(said) if said == "ok" => Ok(()),
        Ok(why) => Err(StoreFault::Broken { at: place.location(), why }),
        Err(why) => Err(place.fault(&why, &"the file")),
    }
}

/// The store that is replaced.
enum Former {
    None,
    Read(Connection),
    NotRead(String),
}

impl Former {
    /// Opens it read-only: it is kept unchanged, with its log.
    fn open(path: &Path, key: StoreKeyIds) -> Self {
        let place = DatabaseFile::of(path);
        let open = || {
            if header::kind(path)? != Kind::Store {
                return Err(place.says(Code::DatabaseNotOurs, "is not a store that was in use"));
            }
            let flags =
                rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags);
            let connection = connection.map_err(|why| place.fault(&why, &"the file"))?;
            whole(&connection, &place)?;
            connect::is_of_key(&connection, &place, key)?;
            Ok(connection)
        };
        match open() {
            Ok(connection) => Self::Read(connection),
            Err(why) => Self::NotRead(why.to_string()),
        }
    }
}

/// The OTPs since a move are in another store: a backup in its place would accept them, and a copy of it accepts nothing.
fn must_not_be_moved(former: &Connection, to: &Path) -> Result<(), StoreFault> {
    let place = DatabaseFile::of(to);
    match connect::refused(former, &place).map_err(|why| place.fault(&why, &"the file"))? {
        Some(moved @ StoreFault::Moved { .. }) => Err(moved),
        _ => Ok(()),
    }
}

/// Opens a backup, checks that it is whole and has this store key, and upgrades its schema.
fn checked(place: &DatabaseFile, key: StoreKeyIds) -> Result<Connection, StoreFault> {
    let mut connection = connect::open(place, Use::Change)?;
    whole(&connection, place)?;
    connect::is_of_key(&connection, place, key)?;
    connect::carry_to_latest(&mut connection, place)?;
    Ok(connection)
}

/// Turns a copy of the backup into the new store.
fn build(
    connection: &mut Connection,
    place: &DatabaseFile,
    (former, evidence): (Former, &Evidence),
    accept_risk: bool,
) -> Result<Restored, StoreFault> {
    let fault = |why| place.fault(&why, &"a row");
    let (taken, is_said) = taken(connection).map_err(fault)?;
    let count = rows::count(connection).map_err(fault)?;
    let is_complete = evidence.is_complete;
    // Older log lines are in the backup, or are of a key that was replaced before it.
    let since_backup = is_said.then(|| taken.saturating_sub(MARGIN));
    let mut merge = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !is_complete {
            restored::mark_all(&transaction, taken)?;
        }
        let mut raised = match &former {
            Former::Read(former) => {
                let merged = merge::former(&transaction, former)?;
                if merged.covers_all && !is_complete {
                    restored::set_since(&transaction, restored::since(former)?)?;
                }
                merged.raised
            }
            Former::None | Former::NotRead(_) => 0,
        };
        let since = restored::since(&transaction)?;
        for (id, position) in evidence.positions(since_backup) {
            raised += u64::from(merge::raise(&transaction, &id, position, since)?);
        }
        if accept_risk {
            restored::accept_risk(&transaction)?;
        }
        transaction.execute("DELETE FROM meta WHERE name = 'backup'", [])?;
        let restored = restored::count(&transaction)?;
        transaction.commit()?;
        connection.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get::<_, String>(0))?;
        connection.pragma_update(None, "application_id", RESTORED)?;
        Ok((raised, restored))
    };
    let (raised, restored) = merge().map_err(fault)?;
    let former = match former {
        Former::None => FormerStore::None,
        Former::Read(_) => FormerStore::Read,
        Former::NotRead(why) => FormerStore::NotRead(why),
    };
    Ok(Restored { taken, count, raised, restored, kept: None, former })
}

/// How much older than the backup a line of the log may be and still count, in seconds.
const MARGIN: i64 = 60;

/// The time of a backup, and whether it is recorded in it. A copy by another program has no record: then it is the time
/// of the last write in it.
fn taken(connection: &Connection) -> rusqlite::Result<(i64, bool)> {
    let named = |name| {
        let find = "SELECT value FROM meta WHERE name = ?1";
        connection.query_row(find, [name], restored::big_endian).optional()
    };
    if let Some(taken) = named("backup")? {
        return Ok((taken, true));
    }
    let used = connection.query_row("SELECT max(modified) FROM tokens", [], |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Integer(at) => at,
            _ => 0,
        })
    })?;
    Ok((named("written")?.unwrap_or(0).max(used).clamp(0, clock::now()), false))
}

/// The higher of two positions, either of which may be missing.
fn higher(one: Option<Position>, other: Option<Position>) -> Option<Position> {
    one.max(other)
}

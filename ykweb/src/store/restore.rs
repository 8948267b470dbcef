//! Puts an older copy in the place of the store, so that everything that was used since stays used.
//!
//! Where the store that is replaced is whole and knows of all that was accepted, the copy learns it from there. Where it does
//! not, nobody knows which codes were used since the copy, so none of them may be accepted.
//!
//! All is done to a copy beside the store, in one transaction. Renaming it is the one moment that replaces the store.

use super::connect;
use super::place::{self, DatabaseFile, is_there, said, with};
use super::used::{self, StoreNumber, UsedFile};
use super::{StoreFault, log, sessions};
use crate::user::UserName;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use yksqlite::{BESIDE, beside, create, keep, sync, sync_folder};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Program, cause};
use yubiotp::seal::StoreKeyIds;

mod lost;
mod merge;

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// What became of the store that was replaced.
    pub former: FormerStore,
    /// Under which name it is kept.
    pub kept: Option<PathBuf>,
    /// Whether everything is known that was accepted since the copy. Otherwise codes that may have been used were ended.
    pub is_complete: bool,
    /// How many sessions of the copy were ended.
    pub sessions: usize,
    /// The users whose recovery codes ended, and who have none now.
    pub without_codes: Vec<UserName>,
    /// The TOTP tokens whose codes are rejected until all that may have been used are over.
    pub waiting: Vec<Waiting>,
    /// The HOTP tokens that were disabled, because nobody knows which of their codes were used.
    pub lost: Vec<(UserName, TokenId)>,
    /// The tokens of the copy that were disabled because they were disabled or removed since.
    pub disabled: Vec<(UserName, TokenId)>,
    /// The users of the copy who were disabled because they were disabled or removed since.
    pub disabled_users: Vec<UserName>,
}

/// A TOTP token whose codes are rejected for a while.
#[derive(Debug)]
pub struct Waiting {
    /// Whose it is.
    pub user: UserName,
    /// Its name in logs.
    pub token: TokenId,
    /// Until when, in seconds since 1970, if its clock is right.
    pub until: u64,
}

/// What became of the store that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormerStore {
    /// There was none, or the copy was in its place already.
    None,
    /// It is whole, and knows all that was accepted: the copy learnt it.
    Read,
    /// It was an older copy itself, also if that shows only by a count that differs from the recorded one. What it knows was taken
    /// over.
    Older,
    /// It was not read, and why.
    NotRead(String),
}

/// Replaces the store `to` by the copy `from`, all or nothing. The former store is kept under another name. `now` is in seconds
/// since 1970.
///
/// # Errors
/// The copy cannot be used, the store is in use, or something could not be written.
pub fn restore(from: &Path, to: &Path, keys: StoreKeyIds, now: u64) -> Result<Restored, StoreFault> {
    let (to, _alone) = alone(to)?;
    is_copy(from, &to)?;
    let new = beside(&to)?;
    let done = copy(from, &new).and_then(|()| {
        let place = DatabaseFile::of(&new).called(from);
        let mut connection = checked(&place, keys)?;
        let there = is_there(&to)?;
        let former = if there { former(&to, keys) } else { Ok(None) };
        let number = StoreNumber::of(&connection).map_err(|why| place.fault(&why))?;
        let recorded = UsedFile::find(&to, number)?.map(|used| used.count()).transpose()?.flatten();
        let (done, count) = build(&mut connection, &place, (&to, former), recorded, now)?;
        connection.close().map_err(|(_, why)| place.fault(&why))?;
        give(&new)?;
        sync(&new)?;
        let kept = if there { Some(keep(&to)?) } else { None };
        // What is not in the database now is in the former store under its other name.
        for suffix in BESIDE {
            remove(&with(&to, suffix))?;
        }
        // This replaces the store.
        rustix::fs::rename(&new, &to).map_err(|why| said(&to, why))?;
        sync_folder(&to).map_err(|why| said(&to, why))?;
        used::replace(&to, number, count)?;
        Ok(Restored { kept, ..done })
    });
    yksqlite::remove(&new);
    done
}

/// The same for a copy that is in the place of the store already, in one transaction. What is beside it says nothing about what
/// was used: it may have been put back with the copy.
///
/// # Errors
/// The copy cannot be used, it is in use, or something could not be written.
pub fn restore_in_place(to: &Path, keys: StoreKeyIds, now: u64) -> Result<Restored, StoreFault> {
    let (to, _alone) = alone(to)?;
    let place = DatabaseFile::find(&to)?;
    give(&to)?;
    let mut connection = checked(&place, keys)?;
    let number = StoreNumber::of(&connection).map_err(|why| place.fault(&why))?;
    let recorded = UsedFile::find(&to, number)?.map(|used| used.count()).transpose()?.flatten();
    let change = |transaction: &Connection| {
        let count = used::count(transaction)?.max(recorded.unwrap_or(0)).saturating_add(1);
        let mut done = Restored::new(FormerStore::None);
        lost::end(transaction, now, &mut done)?;
        // Some of them may have ended since the copy.
        done.sessions = sessions::end_all_sessions(transaction)?;
        used::set(transaction, count)?;
        Ok((done, count))
    };
    let (done, count) = in_transaction(&mut connection, change).map_err(|why| place.fault(&why))?;
    connection.close().map_err(|(_, why)| place.fault(&why))?;
    used::replace(&to, number, count)?;
    Ok(done)
}

impl Restored {
    fn new(former: FormerStore) -> Self {
        Self {
            is_complete: former == FormerStore::Read,
            former,
            kept: None,
            sessions: 0,
            without_codes: Vec::new(),
            waiting: Vec::new(),
            lost: Vec::new(),
            disabled: Vec::new(),
            disabled_users: Vec::new(),
        }
    }
}

/// The absolute path of a store that nobody has open, and nobody opens until the lock is dropped.
fn alone(to: &Path) -> Result<(PathBuf, OwnedFd), StoreFault> {
    let to = std::path::absolute(to).map_err(|why| said(to, why))?;
    if to.is_symlink() {
        let link = Diagnostic::error(Code::FileIsLink, "is a symbolic link").at(crate::file::location(&to));
        return Err(StoreFault::new(link.advise("name the file that it points to in store")));
    }
    place::folder(&to)?;
    let lock = place::lock(&to, FlockOperation::NonBlockingLockExclusive, Duration::ZERO)?;
    Ok((to, lock))
}

/// Refuses what is the store itself, or not all of a copy.
fn is_copy(from: &Path, to: &Path) -> Result<(), StoreFault> {
    let error = |code, problem| Diagnostic::error(code, problem).at(crate::file::location(from));
    let stat = std::fs::metadata(from).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => StoreFault::new(error(Code::FileMissing, "does not exist")),
        _ => said(from, why),
    })?;
    if !stat.is_file() {
        return Err(StoreFault::new(error(Code::FileOfWrongKind, "is not a regular file")));
    }
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    if real(from).is_some_and(|from| real(to) == Some(from)) {
        let same = error(Code::CommandLineInvalid, "is in the place of the store already");
        return Err(StoreFault::new(same.run(Program::Ykwebd, "restore --in-place")));
    }
    if std::fs::metadata(with(from, "-wal")).is_ok_and(|log| log.len() > 0) {
        let problem = "has its newest changes in the log beside it (-wal)";
        let word = |path: &Path| crate::file::word(path);
        let copy = format!("sqlite3 {} \".backup FILE\"", word(from));
        return Err(StoreFault::new(error(Code::BackupIncomplete, problem).run_when(
            "to make a whole copy of it",
            Program::System,
            copy,
        )));
    }
    Ok(())
}

fn copy(from: &Path, new: &Path) -> Result<(), StoreFault> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let source = rustix::fs::open(from, flags, Mode::empty()).map_err(|why| said(from, why))?;
    let target = create(new).map_err(|why| said(new, format!("cannot create it: {}", cause(&why))))?;
    std::io::copy(&mut File::from(source), &mut File::from(target)).map_err(|why| said(new, why))?;
    Ok(())
}

/// Opens a copy, if it is whole and of this version and key.
fn checked(place: &DatabaseFile, keys: StoreKeyIds) -> Result<Connection, StoreFault> {
    let connection = connect::open(place)?;
    connect::check(&connection, place, keys)?;
    whole(&connection, place)?;
    Ok(connection)
}

/// Fails if SQLite finds damage.
fn whole(connection: &Connection, place: &DatabaseFile) -> Result<(), StoreFault> {
    let first = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    let first = first.map_err(|why| place.fault(&why))?;
    if first == "ok" {
        return Ok(());
    }
    Err(place.finds(Diagnostic::error(Code::DatabaseDamaged, first).advise("use another copy")))
}

/// Whether the store that is replaced can be read: its number and its count, or why not. It is opened read-only, so that one that
/// is damaged is kept as it is.
fn former(to: &Path, keys: StoreKeyIds) -> Result<Option<(StoreNumber, u64)>, String> {
    let place = DatabaseFile::of(to);
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(to, flags).map_err(|why| place.fault(&why))?;
        connect::check(&connection, &place, keys)?;
        whole(&connection, &place)?;
        // The log may continue a store that is not there any more.
        log::check(None, &place, None)?;
        let read = || Ok((StoreNumber::of(&connection)?, used::count(&connection)?));
        read().map_err(|why| place.fault(&why))
    };
    open().map(Some).map_err(|fault| fault.diagnostic().problem)
}

/// What is known of the store that is replaced: where it is, and what [`former`] said.
type Found<'a> = (&'a Path, Result<Option<(StoreNumber, u64)>, String>);

/// Turns a copy into the new store. Its count is above all that there were.
fn build(
    connection: &mut Connection,
    place: &DatabaseFile,
    (to, former): Found<'_>,
    recorded: Option<u64>,
    now: u64,
) -> Result<(Restored, u64), StoreFault> {
    let fault = |why| place.fault(&why);
    let number = StoreNumber::of(connection).map_err(fault)?;
    let own = used::count(connection).map_err(fault)?;
    // Between a commit and its record, a crash leaves a store one ahead of the record.
    let knows_all = |count: u64| {
        recorded.is_some_and(|recorded| (recorded..=recorded.saturating_add(1)).contains(&count))
    };
    let (kind, count) = match former {
        Ok(None) => (FormerStore::None, 0),
        Ok(Some((of, count))) if of == number && knows_all(count) && own <= count => {
            (FormerStore::Read, count)
        }
        Ok(Some((of, count))) if of == number => (FormerStore::Older, count),
        Ok(Some(_)) => {
            (FormerStore::NotRead("it is another store, not one that the copy is of".to_owned()), 0)
        }
        Err(why) => (FormerStore::NotRead(why), 0),
    };
    // A copy that is ahead of all that is here was made before store and record were set back: more may have been used.
    let copy_knows_all = knows_all(own) && own <= count.max(recorded.unwrap_or(0));
    let is_read = matches!(kind, FormerStore::Read | FormerStore::Older);
    if is_read {
        let path = to.as_os_str().to_str().ok_or_else(|| said(to, "its path is not UTF-8"))?;
        connection.execute("ATTACH ?1 AS former", [path]).map_err(fault)?;
    }
    let count = count.max(own).max(recorded.unwrap_or(0)).saturating_add(1);
    let change = |transaction: &Connection| {
        let mut done = Restored::new(kind);
        if is_read {
            merge::raise(transaction)?;
        }
        if !copy_knows_all && done.is_complete {
            merge::take_over(transaction, &mut done)?;
        } else if !copy_knows_all {
            lost::end(transaction, now, &mut done)?;
        }
        done.is_complete |= copy_knows_all;
        // Some of them may have ended since the copy.
        done.sessions = sessions::end_all_sessions(transaction)?;
        used::set(transaction, count)?;
        Ok(done)
    };
    let done = in_transaction(connection, change).map_err(fault)?;
    if is_read {
        connection.execute_batch("DETACH former").map_err(fault)?;
    }
    // Into one file: what is in a log beside it would not be renamed with it.
    let mode =
        connection.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get::<_, String>(0));
    if mode.map_err(fault)? != "delete" {
        let problem = "cannot write its log into the file";
        return Err(place.finds(Diagnostic::error(Code::DatabaseFailed, problem)));
    }
    connect::log_ahead(connection, place)?;
    Ok((done, count))
}

fn in_transaction<T>(
    connection: &mut Connection,
    change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let changed = change(&transaction)?;
    transaction.commit()?;
    Ok(changed)
}

/// If root runs this, the store gets the owner of its folder.
fn give(path: &Path) -> Result<(), StoreFault> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = place::folder(path)?;
    let owner = std::os::unix::fs::lchown(path, Some(owner.st_uid), Some(owner.st_gid));
    owner.map_err(|why| said(path, format!("cannot chown it: {}", cause(&why))))
}

fn remove(path: &Path) -> Result<(), StoreFault> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(said(path, why)),
        _ => Ok(()),
    }
}

//! How much was accepted, also beside the database: so that an older copy of the database is noticed.
//!
//! The database counts every change that nobody may undo. Each of them grows the count in its own transaction. After the
//! commit, and before anybody is told, the count is on the disk in a file of its own. So the file is never ahead of the
//! database, except where an older copy of the database was put back.
//!
//! The file has two slots, and the one with the lower count is written: a write that is cut off loses nothing. Each names the
//! store, so that the file of a new store says nothing about a copy of an old one.
//!
//! The database is never ahead by more than one change: a change grows the count by one, and is made only once the change
//! before it is in the file. So a database that is further ahead is beside an older file: both were set back, and then only one of
//! them was replaced. Nobody notices it if both were set back to the same moment, or to one change from each other.

use super::StoreFault;
use super::place::{DatabaseFile, said, with};
use crate::file;
use rusqlite::Connection;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, Program, cause};

pub(super) const SCHEMA: &str = "
-- How many changes there were that nobody may undo: OTPs and codes were accepted, codes were replaced, or tokens, users or
-- sessions ended.
CREATE TABLE used (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store INTEGER NOT NULL, -- a random number, which this store and its copies have
    count INTEGER NOT NULL
) STRICT;
";

/// The suffix of the file.
pub(super) const SUFFIX: &str = ".used";

/// Each slot has a sector of its own, which a disk writes whole or not at all.
const SLOT: usize = 512;
const MAGIC: &[u8; 8] = b"ykwbused";

/// The random number of a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct StoreNumber(i64);

impl StoreNumber {
    pub(super) const fn new(random: [u8; 8]) -> Self {
        Self(i64::from_le_bytes(random))
    }

    /// Whether it is this one.
    pub(super) const fn is(self, number: i64) -> bool {
        self.0 == number
    }

    /// That of a database.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        connection.query_row("SELECT store FROM used", [], |row| row.get(0)).map(Self)
    }
}

/// Writes the count of a new store.
pub(super) fn first(transaction: &Connection, number: StoreNumber) -> rusqlite::Result<()> {
    transaction.execute("INSERT INTO used (one, store, count) VALUES (1, ?1, 0)", [number.0]).map(drop)
}

/// The count in a database.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let mut find = connection.prepare_cached("SELECT count FROM used")?;
    find.query_row([], |row| row.get::<_, i64>(0)).map(|count| u64::try_from(count).unwrap_or(0))
}

/// Counts a change, in its transaction.
pub(super) fn grow(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE used SET count = count + 1")?.execute([]).map(drop)
}

/// Sets the count, in a transaction.
pub(super) fn set(transaction: &Connection, count: u64) -> rusqlite::Result<()> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    transaction.execute("UPDATE used SET count = ?1", [count]).map(drop)
}

fn slot(store: StoreNumber, count: u64) -> Vec<u8> {
    [*MAGIC, store.0.to_be_bytes(), count.to_be_bytes(), (!count).to_be_bytes()].concat()
}

/// `None`: it was never written, is damaged, or is of another store.
fn read_slot(bytes: &[u8], store: StoreNumber) -> Option<u64> {
    let count = bytes.get(16..24)?.try_into().map(u64::from_be_bytes).ok()?;
    bytes.starts_with(&slot(store, count)).then_some(count)
}

/// All of a new file.
fn contents(store: StoreNumber, count: u64) -> Vec<u8> {
    let mut bytes = slot(store, count);
    bytes.resize(2 * SLOT, 0);
    bytes
}

/// The file beside a database.
pub(super) struct UsedFile {
    path: PathBuf,
    file: File,
    store: StoreNumber,
}

impl UsedFile {
    /// Opens the file of a database. `None`: there is none.
    pub(super) fn find(database: &Path, store: StoreNumber) -> Result<Option<Self>, StoreFault> {
        let path = with(database, SUFFIX);
        // Root must not write where a link of the server's user leads.
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(why) => return Err(said(&path, why)),
        };
        let stat = fstat(&file).map_err(|why| said(&path, why))?;
        let error = |code, problem: &str| Diagnostic::error(code, problem).at(file::location(&path));
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(StoreFault::new(error(Code::FileOfWrongKind, "is not a regular file")));
        }
        if stat.st_mode & 0o022 != 0 {
            let open = error(Code::FileWritableByOthers, "others than its owner may write to it");
            return Err(StoreFault::new(file::change(open, &path, "chmod go=")));
        }
        Ok(Some(Self { path, file: File::from(file), store }))
    }

    fn slots(&self) -> Result<[Option<u64>; 2], StoreFault> {
        let mut bytes = [0; 2 * SLOT];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => return Ok([None; 2]),
            Err(why) => return Err(said(&self.path, format!("cannot read it: {}", cause(&why)))),
        }
        let (first, second) = bytes.split_at(SLOT);
        Ok([read_slot(first, self.store), read_slot(second, self.store)])
    }

    /// The count in it. `None`: it is damaged, or of another store.
    pub(super) fn count(&self) -> Result<Option<u64>, StoreFault> {
        self.slots().map(|[first, second]| first.max(second))
    }

    /// Writes a count that the database has, durably, unless a later one is there. Of one [`UsedFile`], one thread at a time.
    pub(super) fn raise(&self, count: u64) -> Result<(), StoreFault> {
        let cannot = |why: &std::io::Error| said(&self.path, format!("cannot write it: {}", cause(why)));
        let lock =
            |how| rustix::io::retry_on_intr(|| flock(&self.file, how)).map_err(|why| cannot(&why.into()));
        lock(FlockOperation::LockExclusive)?;
        let raise = || {
            let [first, second] = self.slots()?;
            let Some(now) = first.max(second) else { return Err(self.damaged()) };
            if now < count {
                let at = if first == Some(now) { SLOT as u64 } else { 0 };
                self.file.write_all_at(&slot(self.store, count), at).map_err(|why| cannot(&why))?;
            }
            // What another process wrote may not be on the disk yet.
            self.file.sync_data().map_err(|why| cannot(&why))
        };
        let raised = raise();
        lock(FlockOperation::Unlock)?;
        raised
    }

    fn damaged(&self) -> StoreFault {
        let problem = "is damaged or of another store, so nobody knows how much was accepted";
        restored(Diagnostic::error(Code::WebStoreRestored, problem).at(file::location(&self.path)))
    }

    /// The fault if a database with this count is older than this file, or this file is older. `recorded` was read before the
    /// count; the file is read again.
    pub(super) fn compare(&self, recorded: u64, count: u64, place: &DatabaseFile) -> Result<(), StoreFault> {
        if count >= recorded {
            let recorded = self.recorded()?;
            if count <= recorded.saturating_add(1) {
                return Ok(());
            }
            let problem = format!(
                "is an older copy (it recorded {recorded}, and the store's count is {count}): nobody knows what was used"
            );
            return Err(restored(
                Diagnostic::error(Code::WebStoreRestored, problem).at(file::location(&self.path)),
            ));
        }
        let problem = format!(
            "is an older copy (its count is {count}, and {recorded} was recorded): used codes would be accepted again"
        );
        Err(older(place, problem))
    }

    /// The count that is recorded.
    pub(super) fn recorded(&self) -> Result<u64, StoreFault> {
        self.count()?.ok_or_else(|| self.damaged())
    }
}

/// The fault for a store that has no such file.
pub(super) fn missing(database: &Path) -> StoreFault {
    let problem = "is missing, so nobody knows whether the store beside it is an older copy";
    let found = Diagnostic::error(Code::WebStoreRestored, problem);
    restored(found.at(file::location(&with(database, SUFFIX))))
}

/// The fault for a store that is an older copy.
pub(super) fn older(place: &DatabaseFile, problem: impl Into<String>) -> StoreFault {
    restored(Diagnostic::error(Code::WebStoreRestored, problem).at(file::location(place.path())))
}

fn restored(found: Diagnostic) -> StoreFault {
    StoreFault::new(
        found
            .run_when("stop the server", Program::System, "systemctl stop ykwebd")
            .run_when("to put a copy back so that used codes stay invalid", Program::Ykwebd, "restore FILE")
            .run_when("if the copy is in place and there is no other", Program::Ykwebd, "restore --in-place"),
    )
}

/// Creates or replaces the file of a store that nobody has open: the caller holds its lock exclusively. It gets the owner of the
/// folder.
pub(super) fn replace(database: &Path, store: StoreNumber, count: u64) -> Result<(), StoreFault> {
    file::replace(&with(database, SUFFIX), &contents(store, count), 0o600)
        .map_err(|why| StoreFault::new(why.diagnostic()))
}

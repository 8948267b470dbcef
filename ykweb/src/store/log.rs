//! Whether the log beside a store (`-wal`) continues this store, or a newer one in whose place somebody put a copy.
//!
//! SQLite does not ask: it reads pages from the log, and all others from the file. If a copy was put in the place of the file
//! and the log was left, the count comes from the log, and the codes that were used in between come from the copy.
//!
//! The rule: the file, read without its log, has to have the count that the log says it has.
//! - The log begins anew only when all of it was moved to the file, and a change grows the count by one. So if the first change
//!   in the log that is counted led to a count of N, the file has at least N - 1. The log then has all that came after.
//! - While a process has the store open, it knows how far the log was moved. If the last count in the log was, the file has it.
//!   Of a page that is in the log again behind that point, SQLite moves nothing: the file may have any count from before.
//! - If the log has no count, the file has at least the recorded one.
//!
//! This is compared when a store is opened, before the first change after the file was written to, and before the log is moved
//! to the file by the last process that closes the store. If it does not hold, the log is not moved, so it stays to be noticed.
//!
//! Not noticed:
//! - a snapshot of everything, with `ykweb.db.used`;
//! - a copy that another program mixed with the log: `sqlite3` moves the log when it closes a store that nobody else has open;
//! - a file that is replaced in the moment between the comparison and the end of the change;
//! - a copy that does not have the pages of the store (of `VACUUM INTO`), from after the log began;
//! - a copy from after the log began, where a part of the log was moved and a change came behind it that did not begin it anew,
//!   because somebody was reading.

use super::StoreFault;
use super::place::{DatabaseFile, said, with};
use super::used::{self, StoreNumber};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

mod frames;

use frames::Frames;

/// How often a comparison that fails is repeated: another process may be moving pages.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// What of a file changes when somebody writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written([i64; 4], u64);

impl Written {
    /// When the file of a store was written last.
    pub(super) fn of(place: &DatabaseFile) -> Option<Self> {
        let is = std::fs::metadata(place.path()).ok()?;
        Some(Self([is.mtime(), is.mtime_nsec(), is.ctime(), is.ctime_nsec()], is.size()))
    }
}

/// Says whether the log is moved to the file when this connection is closed as the last one.
pub(super) fn move_on_close(
    connection: &Connection,
    is_moved: bool,
    place: &DatabaseFile,
) -> Result<(), StoreFault> {
    let set = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !is_moved);
    set.map(drop).map_err(|why| place.fault(&why))
}

/// Fails if the log continues a newer file than the one beside it. `recorded`: the count that was recorded before the call.
/// `connection`: one that has the store open and is in no transaction; `None` if nobody has it open.
pub(super) fn check(
    connection: Option<&Connection>,
    place: &DatabaseFile,
    recorded: Option<u64>,
) -> Result<(), StoreFault> {
    let mut tries = 0;
    loop {
        let checked = once(connection, place, recorded);
        tries += 1;
        if checked.is_ok() || tries == TRIES {
            return checked;
        }
        std::thread::sleep(PAUSE);
    }
}

fn once(
    connection: Option<&Connection>,
    place: &DatabaseFile,
    recorded: Option<u64>,
) -> Result<(), StoreFault> {
    let path = with(place.path(), "-wal");
    let cannot = |why: &io::Error| said(&path, format!("cannot read it: {}", cause(why)));
    let own = Own::read(place)?;
    let frames = read(&path, own.page).map_err(|why| cannot(&why))?;
    let moved = connection.map_or(Ok(0), moved).map_err(|why| place.fault(&why))?;
    if frames.begun != header(&path).map_err(|why| cannot(&why))? {
        let busy = "another process is moving its log into it";
        return Err(place.finds(Diagnostic::error(Code::DatabaseBusy, busy).advise("try again")));
    }
    // Again: it may have grown before the log began anew.
    let own = Own::read(place)?;
    let Some(least) = own.least(&frames, moved, recorded) else {
        return Err(used::older(place, "is not the file that the log beside it (-wal) continues"));
    };
    if own.count >= least {
        return Ok(());
    }
    let problem = format!(
        "is an older copy (its count is {}, and the log beside it continues {least}): used codes would be accepted again",
        own.count
    );
    Err(used::older(place, problem))
}

fn read(log: &Path, page: u32) -> io::Result<Frames> {
    open(log)?.map_or(Ok(Frames::default()), |log| Frames::read(BufReader::new(log), page))
}

/// The header of the log; `None`: there is none.
fn header(log: &Path) -> io::Result<Option<frames::Header>> {
    open(log)?.map_or(Ok(None), |mut log| frames::header(&mut log))
}

/// `None`: there is no such file. SQLite has no locks on a log, which closing it here would drop.
fn open(log: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    match rustix::fs::open(log, flags, Mode::empty()) {
        Ok(log) => Ok(Some(File::from(log))),
        Err(Errno::NOENT) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// How many frames of the log were moved to the file, by whichever process.
fn moved(connection: &Connection) -> rusqlite::Result<u64> {
    let moved = connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(2))?;
    Ok(u64::try_from(moved).unwrap_or(0))
}

/// What the file says without its log.
struct Own {
    number: StoreNumber,
    count: u64,
    /// The page of the count.
    page: u32,
}

impl Own {
    fn read(place: &DatabaseFile) -> Result<Self, StoreFault> {
        let read = || {
            // An immutable database has no log, and no locks. SQLite opens it, because closing another descriptor of the file would
            // drop the locks that SQLite has on it.
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_URI;
            let connection = Connection::open_with_flags(uri(place.path()), flags)?;
            // A process that was killed while it moved the log leaves a file that is shorter than its header says.
            connection.execute_batch("PRAGMA writable_schema = ON; PRAGMA mmap_size = 0")?;
            let page = "SELECT rootpage FROM sqlite_master WHERE name = 'used'";
            let page = connection.query_row(page, [], |row| row.get(0))?;
            Ok(Self { number: StoreNumber::of(&connection)?, count: used::count(&connection)?, page })
        };
        read().map_err(|why| place.fault(&why))
    }

    /// The least count that the file has if the log continues it. `None`: the log is of another store.
    fn least(&self, frames: &Frames, moved: u64, recorded: Option<u64>) -> Option<u64> {
        let mut counts = Vec::with_capacity(frames.counts.len());
        for (at, row) in &frames.counts {
            let (_, count) = row.filter(|(number, _)| self.number.is(*number))?;
            counts.push((*at, count));
        }
        Some(match (counts.first(), counts.last()) {
            (_, Some((at, last))) if *at <= moved => *last,
            (Some((_, first)), _) => first.saturating_sub(1),
            (None, _) => recorded.unwrap_or(0),
        })
    }
}

/// The path as a URI, with everything else than plain characters written as `%XX`.
fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    uri
}

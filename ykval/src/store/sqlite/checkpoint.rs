//! Moves pages from the write-ahead log into the database, beside the writer: if the writer moved and synced a thousand
//! pages, every request would wait for it.
//!
//! SQLite starts the log from the beginning only once all of it was moved, which never happens while it is written to.
//! So a thread moves most of it, and then the writer, between two batches, the few pages that were added meanwhile.

use super::connect::{self, Use};
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Changed rows, each at most one page of the log, until the thread moves them. More at a time is no faster, and makes
/// one sync longer.
pub(super) const BULK: u64 = 1000;

/// Maximum rows that the writer moves itself. More than one batch, or there would never be so few.
const LITTLE: u64 = 1000;

/// From so many rows on, the writer waits: the disk writes the log faster than it moves it.
const MOST: u64 = 16 * BULK;

/// The state of the log, for the writer.
pub(super) struct WriteAheadLog {
    place: Arc<DatabaseFile>,
    /// `None` while it ends.
    bulk: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    moved: Arc<AtomicBool>,
    asked: bool,
    /// Rows changed since the log began, and since the thread was asked to move them.
    rows: u64,
    meanwhile: u64,
}

impl WriteAheadLog {
    pub(super) fn new(place: Arc<DatabaseFile>) -> std::io::Result<Self> {
        let (bulk, asked) = sync_channel(1);
        let moved = Arc::new(AtomicBool::new(false));
        let (beside, done) = (Arc::clone(&place), Arc::clone(&moved));
        let thread = std::thread::Builder::new().name("ykvald-log".to_owned());
        let thread = Some(thread.spawn(move || move_bulk(&beside, &asked, &done))?);
        Ok(Self { place, bulk: Some(bulk), thread, moved, asked: false, rows: 0, meanwhile: 0 })
    }

    /// Call it between two batches. Errors are ignored: everything is durable in the log.
    pub(super) fn grew(&mut self, rows: u64, connection: &Connection) {
        self.rows = self.rows.saturating_add(rows);
        self.meanwhile = self.meanwhile.saturating_add(rows);
        if self.rows >= MOST || (self.moved.load(Ordering::Acquire) && self.meanwhile <= LITTLE) {
            // Another process is moving it: the next batch tries again.
            if is_busy(connection).unwrap_or(false) {
                return;
            }
            self.moved.store(false, Ordering::Release);
            self.asked = false;
            self.rows = 0;
        } else if self.moved.swap(false, Ordering::AcqRel) || (!self.asked && self.rows >= BULK) {
            self.asked = self.bulk.as_ref().is_some_and(|bulk| bulk.try_send(()).is_ok());
            self.meanwhile = 0;
        }
    }

    /// A connection for the writer.
    pub(super) fn connect(&self) -> Result<Connection, StoreFault> {
        let connection = connect::open(&self.place, Use::Write)?;
        let alone = connection.pragma_update(None, "wal_autocheckpoint", 0);
        alone.map_err(|why| self.place.fault(&why, &"the log"))?;
        Ok(connection)
    }
}

/// The thread ends before the writer, so that its connection is not the last one.
impl Drop for WriteAheadLog {
    fn drop(&mut self) {
        self.bulk = None;
        // If it panicked, it moved nothing.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Moves the pages that no reader needs, without waiting. `true`: another process is moving them.
fn is_busy(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(0))
}

fn move_bulk(place: &DatabaseFile, asked: &Receiver<()>, moved: &AtomicBool) {
    let mut connection = None;
    while asked.recv().is_ok() {
        connection = connection.take().or_else(|| connect::open(place, Use::Write).ok());
        // If it fails, the pages stay in the log, and the writer moves them when there are too many.
        connection = connection.filter(|connection| is_busy(connection).is_ok());
        moved.store(true, Ordering::Release);
    }
}

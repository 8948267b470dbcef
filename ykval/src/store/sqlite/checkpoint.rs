//! Moves what is in the log to where it belongs, beside the writer: moving a thousand pages and syncing them would have all
//! who ask in that moment wait for it.
//!
//! A log begins anew only once all of it was moved, and one that is written to all the time is never quite moved. So a
//! thread moves the bulk, and then the writer, between two batches, the little that came meanwhile.

use super::connect::{self, Use};
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// So many changed rows, and so pages in the log at most, until the bulk is moved. More at a time is no faster, and what
/// one sync has to wait for.
pub(super) const BULK: u64 = 1000;

/// So many may have come meanwhile for the writer to move them itself. More than one batch, or there would never be so
/// few.
const LITTLE: u64 = 1000;

/// So many, and the writer waits: the disk takes them faster into the log than out of it.
const MOST: u64 = 16 * BULK;

/// What the writer knows of its log.
pub(super) struct WriteAheadLog {
    place: Arc<DatabaseFile>,
    /// None while it ends.
    bulk: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    moved: Arc<AtomicBool>,
    asked: bool,
    /// Rows changed since the log began, and since the bulk was to be moved.
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

    /// To be called between two batches. What fails here was durable before, and fails again where it matters.
    pub(super) fn grew(&mut self, rows: u64, connection: &Connection) {
        self.rows = self.rows.saturating_add(rows);
        self.meanwhile = self.meanwhile.saturating_add(rows);
        if self.rows >= MOST || (self.moved.load(Ordering::Acquire) && self.meanwhile <= LITTLE) {
            // Whoever else is at it, the next batch tries again.
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

/// The thread ends with the writer, and its connection is not the last one.
impl Drop for WriteAheadLog {
    fn drop(&mut self) {
        self.bulk = None;
        // If it panicked, it has moved nothing.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Moves what no reader needs any more, and waits for nobody; or somebody else is moving it.
fn is_busy(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(0))
}

fn move_bulk(place: &DatabaseFile, asked: &Receiver<()>, moved: &AtomicBool) {
    let mut connection = None;
    while asked.recv().is_ok() {
        connection = connection.take().or_else(|| connect::open(place, Use::Write).ok());
        // What cannot be moved stays in the log, and the writer tries when there is too much of it.
        connection = connection.filter(|connection| is_busy(connection).is_ok());
        moved.store(true, Ordering::Release);
    }
}

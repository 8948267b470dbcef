//! What was decided about users: so that whoever was refused can find out why, by the number on the page.

use super::{Store, StoreFault};
use rusqlite::{OptionalExtension as _, Row, params};

pub(super) const SCHEMA: &str = "
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,             -- seconds since 1970
    event TEXT NOT NULL,
    code TEXT NOT NULL,
    user TEXT,
    host TEXT,
    peer TEXT,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_user ON events (user, number);
";

/// The most events that are kept: the oldest are removed.
const MOST: i64 = 100_000;

/// An event. No part of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// `R-7K2M9Q`: as on the page and in the log.
    pub id: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// `login`, `verify`, as in the log.
    pub event: String,
    /// The code of its kind.
    pub code: String,
    /// The user, as far as one was named.
    pub user: Option<String>,
    /// The protected host, if it concerns one.
    pub host: Option<String>,
    /// Where the browser, or the caller, was.
    pub peer: Option<String>,
    /// Why, in one sentence.
    pub reason: String,
}

fn event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        id: row.get(0)?,
        at: row.get::<_, i64>(1).map(|at| u64::try_from(at).unwrap_or(0))?,
        event: row.get(2)?,
        code: row.get(3)?,
        user: row.get(4)?,
        host: row.get(5)?,
        peer: row.get(6)?,
        reason: row.get(7)?,
    })
}

const COLUMNS: &str = "SELECT id, at, event, code, user, host, peer, reason FROM events";

impl Store {
    /// Stores events, all or none.
    ///
    /// # Errors
    /// They could not be stored.
    pub fn add_events(&self, events: &[StoredEvent]) -> Result<(), StoreFault> {
        self.write(|tx| {
            let mut insert = tx.prepare_cached(
                "INSERT OR REPLACE INTO events (id, at, event, code, user, host, peer, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for StoredEvent { id, at, event, code, user, host, peer, reason } in events {
                let at = i64::try_from(*at).unwrap_or(i64::MAX);
                insert.execute(params![id, at, event, code, user, host, peer, reason])?;
                let number = tx.last_insert_rowid();
                if number % 1000 == 0 {
                    tx.execute("DELETE FROM events WHERE number <= ?1", [number.saturating_sub(MOST)])?;
                }
            }
            Ok(())
        })
    }

    /// The event of this number.
    ///
    /// # Errors
    /// It could not be read.
    pub fn event(&self, id: &str) -> Result<Option<StoredEvent>, StoreFault> {
        self.read(|connection| {
            connection.query_row(&format!("{COLUMNS} WHERE id = ?1"), [id], event).optional()
        })
    }

    /// The last events of a user, or of everybody; the latest first.
    ///
    /// # Errors
    /// They could not be read.
    pub fn last_events(&self, user: Option<&str>, most: usize) -> Result<Vec<StoredEvent>, StoreFault> {
        self.read(|connection| {
            // Each by an index: one condition for both would read all events.
            let which = if user.is_some() { "user = ?1" } else { "?1 IS NULL" };
            let query = format!("{COLUMNS} WHERE {which} ORDER BY number DESC LIMIT ?2");
            let mut all = connection.prepare_cached(&query)?;
            all.query_map(params![user, i64::try_from(most).unwrap_or(i64::MAX)], event)?.collect()
        })
    }
}

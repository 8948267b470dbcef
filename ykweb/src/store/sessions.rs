//! Sessions, and the keys by which browsers and protected hosts know them.

use super::{Store, StoreFault, used};
use crate::session::{Evidence, KeyHash, Means};
use crate::user::UserName;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

pub(super) const SCHEMA: &str = "
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL,
    groups TEXT NOT NULL,            -- each followed by a line end
    begun INTEGER NOT NULL,          -- these two in seconds since 1970
    seen INTEGER NOT NULL,
    address TEXT,
    agent TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_of_user ON sessions (user);
CREATE TABLE session_keys (
    hash BLOB PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    host TEXT                        -- NULL: the portal
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_of_session ON session_keys (session);
CREATE TABLE evidence (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    means TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX evidence_of_session ON evidence (session);
-- Grows whenever a session is ended by a command, so that the server looks.
CREATE TABLE ended (one INTEGER PRIMARY KEY CHECK (one = 1), times INTEGER NOT NULL) STRICT;
INSERT INTO ended VALUES (1, 0);
";

/// A session as it is stored.
#[derive(Debug, Clone)]
pub struct StoredSession {
    /// Its number, by which it is listed and ended.
    pub number: u64,
    /// Whose it is.
    pub user: UserName,
    /// The groups that the user had when it began.
    pub groups: Vec<String>,
    /// When it began, in seconds since 1970.
    pub begun: u64,
    /// When it was last used, as far as that is stored.
    pub seen: u64,
    /// From where it began.
    pub address: Option<String>,
    /// What the browser called itself, cut.
    pub agent: String,
    /// What the user showed.
    pub evidence: Vec<Evidence>,
    /// The hashes of its keys, each with its protected host; `None`: the portal.
    pub keys: Vec<(KeyHash, Option<String>)>,
}

/// A session that begins.
pub struct NewSession<'a> {
    /// Whose it is.
    pub user: &'a UserName,
    /// The user's groups.
    pub groups: &'a [String],
    /// From where.
    pub address: Option<String>,
    /// What the browser calls itself.
    pub agent: &'a str,
    /// What the user showed.
    pub evidence: Evidence,
    /// The hash of the key in the portal's cookie.
    pub key: KeyHash,
}

/// SQLite's integers are signed.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0))
}

impl Store {
    /// Stores a session that begins, and ends the oldest of the user beyond `most`. The number, and those that were ended. A
    /// user who was disabled or removed meanwhile gets none.
    ///
    /// # Errors
    /// It could not be stored.
    pub fn begin_session(
        &self,
        new: &NewSession<'_>,
        most: usize,
    ) -> Result<Option<(u64, Vec<u64>)>, StoreFault> {
        self.write(|tx| {
            if is_disabled(tx, new.user)? {
                return Ok(None);
            }
            let groups: String = new.groups.iter().flat_map(|group| [group.as_str(), "\n"]).collect();
            let at = stored(new.evidence.at);
            tx.prepare_cached(
                "INSERT INTO sessions (user, groups, begun, seen, address, agent) VALUES (?1, ?2, ?3, ?3, ?4, ?5)",
            )?
            .execute(params![new.user.as_str(), groups, at, new.address, new.agent])?;
            let session = tx.last_insert_rowid();
            add_evidence(tx, session, new.evidence)?;
            add_key(tx, session, new.key, None)?;
            let mut older = tx.prepare_cached(
                "SELECT number FROM sessions WHERE user = ?1 ORDER BY seen DESC, number DESC LIMIT -1 OFFSET ?2",
            )?;
            let older = older.query_map(params![new.user.as_str(), i64::try_from(most).unwrap_or(i64::MAX)], |row| number(row, 0))?;
            let older = older.filter(|other| *other != Ok(u64::try_from(session).unwrap_or(0))).collect::<rusqlite::Result<Vec<_>>>()?;
            for other in &older {
                tx.execute("DELETE FROM sessions WHERE number = ?1", [stored(*other)])?;
            }
            Ok(Some((u64::try_from(session).unwrap_or(0), older)))
        })
    }

    /// Adds what the user showed, and replaces the portal's key, so that one that somebody planted before is worth nothing.
    /// `false`: the session has ended.
    ///
    /// # Errors
    /// It could not be stored.
    pub fn add_evidence(&self, session: u64, evidence: Evidence, key: KeyHash) -> Result<bool, StoreFault> {
        self.write(|tx| {
            if !is_alive(tx, session)? {
                return Ok(false);
            }
            add_evidence(tx, stored(session), evidence)?;
            tx.execute("DELETE FROM session_keys WHERE session = ?1 AND host IS NULL", [stored(session)])?;
            add_key(tx, stored(session), key, None)?;
            Ok(true)
        })
    }

    /// Gives a protected host a key to the session, in place of one that it has. `false`: the session has ended.
    ///
    /// # Errors
    /// It could not be stored.
    pub fn add_host_key(&self, session: u64, key: KeyHash, host: &str) -> Result<bool, StoreFault> {
        self.write(|tx| {
            if !is_alive(tx, session)? {
                return Ok(false);
            }
            tx.execute(
                "DELETE FROM session_keys WHERE session = ?1 AND host = ?2",
                params![stored(session), host],
            )?;
            add_key(tx, stored(session), key, Some(host))?;
            Ok(true)
        })
    }

    /// Ends sessions. How many there were.
    ///
    /// # Errors
    /// They could not be removed.
    pub fn end_sessions(&self, numbers: &[u64]) -> Result<usize, StoreFault> {
        self.write(|tx| {
            let mut ended = 0;
            for number in numbers {
                ended += tx.execute("DELETE FROM sessions WHERE number = ?1", [stored(*number)])?;
            }
            note_ended(tx)?;
            Ok(ended)
        })
    }

    /// Ends all sessions that there are. How many there were.
    ///
    /// # Errors
    /// They could not be removed.
    pub fn end_all_sessions(&self) -> Result<usize, StoreFault> {
        self.write(end_all_sessions)
    }

    /// Ends all sessions of a user. How many there were.
    ///
    /// # Errors
    /// They could not be removed.
    pub fn end_sessions_of(&self, user: &UserName) -> Result<usize, StoreFault> {
        self.write(|tx| end_sessions_of(tx, user))
    }

    /// Stores when sessions were last used.
    ///
    /// # Errors
    /// It could not be stored.
    pub fn note_seen(&self, seen: &[(u64, u64)]) -> Result<(), StoreFault> {
        self.write(|tx| {
            let mut update =
                tx.prepare_cached("UPDATE sessions SET seen = max(seen, ?2) WHERE number = ?1")?;
            for (session, at) in seen {
                update.execute([stored(*session), stored(*at)])?;
            }
            Ok(())
        })
    }

    /// Whether the store can be written: writes what is there.
    ///
    /// # Errors
    /// It cannot.
    pub fn try_write(&self) -> Result<(), StoreFault> {
        self.write(|tx| tx.execute("UPDATE ended SET times = times", []).map(drop))
    }

    /// A number that grows whenever a command ended sessions.
    ///
    /// # Errors
    /// It could not be read.
    pub fn times_ended(&self) -> Result<u64, StoreFault> {
        self.read(|connection| connection.query_row("SELECT times FROM ended", [], |row| number(row, 0)))
    }

    /// The numbers of all sessions.
    ///
    /// # Errors
    /// They could not be read.
    pub fn session_numbers(&self) -> Result<Vec<u64>, StoreFault> {
        self.read(|connection| {
            let mut all = connection.prepare("SELECT number FROM sessions")?;
            all.query_map([], |row| number(row, 0))?.collect()
        })
    }

    /// All sessions, those of one user if it is named, the oldest first.
    ///
    /// # Errors
    /// They could not be read.
    pub fn sessions(&self, of: Option<&UserName>) -> Result<Vec<StoredSession>, StoreFault> {
        self.read(|connection| sessions(connection, of))
    }
}

fn sessions(connection: &Connection, of: Option<&UserName>) -> rusqlite::Result<Vec<StoredSession>> {
    let mut all = connection.prepare(
        "SELECT number, user, groups, begun, seen, address, agent FROM sessions WHERE ?1 IS NULL OR user = ?1 ORDER BY number",
    )?;
    let mut evidence = connection.prepare("SELECT means, at FROM evidence WHERE session = ?1 ORDER BY at")?;
    let mut keys = connection.prepare("SELECT hash, host FROM session_keys WHERE session = ?1")?;
    let mut rows = all.query([of.map(UserName::as_str)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let session = row.get::<_, i64>(0)?;
        // A name that this version does not have belongs to nobody.
        let Ok(user) = UserName::parse(&row.get::<_, String>(1)?) else { continue };
        let shown = evidence.query_map([session], |row| Ok((row.get::<_, String>(0)?, number(row, 1)?)))?;
        let shown = shown.collect::<rusqlite::Result<Vec<_>>>()?;
        let held = keys.query_map([session], |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get(1)?)))?;
        found.push(StoredSession {
            number: number(row, 0)?,
            user,
            groups: row.get::<_, String>(2)?.lines().map(str::to_owned).collect(),
            begun: number(row, 3)?,
            seen: number(row, 4)?,
            address: row.get(5)?,
            agent: row.get(6)?,
            evidence: shown
                .into_iter()
                .filter_map(|(means, at)| Some(Evidence { means: Means::named(&means)?, at }))
                .collect(),
            keys: held
                .map(|key| key.map(|(hash, host)| (KeyHash(hash), host)))
                .collect::<rusqlite::Result<_>>()?,
        });
    }
    Ok(found)
}

fn add_evidence(tx: &Connection, session: i64, evidence: Evidence) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM evidence WHERE session = ?1 AND means = ?2")?
        .execute(params![session, evidence.means.name()])?;
    tx.prepare_cached("INSERT INTO evidence (session, means, at) VALUES (?1, ?2, ?3)")?.execute(params![
        session,
        evidence.means.name(),
        stored(evidence.at)
    ])?;
    Ok(())
}

fn add_key(tx: &Connection, session: i64, key: KeyHash, host: Option<&str>) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO session_keys (hash, session, host) VALUES (?1, ?2, ?3)")?
        .execute(params![key.0, session, host])?;
    Ok(())
}

fn is_alive(tx: &Connection, session: u64) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM sessions WHERE number = ?1")?.exists([stored(session)])
}

/// A user whom the store does not know has no second factor, and may sign in where none is asked for.
fn is_disabled(tx: &Connection, user: &UserName) -> rusqlite::Result<bool> {
    let enabled = tx
        .prepare_cached("SELECT enabled FROM users WHERE name = ?1")?
        .query_row([user.as_str()], |row| row.get::<_, bool>(0))
        .optional()?;
    Ok(enabled == Some(false))
}

/// Whatever ends a session or keeps a user or a token out comes here: an older copy would undo it.
pub(super) fn note_ended(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute("UPDATE ended SET times = times + 1", [])?;
    used::grow(tx)
}

/// Ends all sessions, within another change.
pub(super) fn end_all_sessions(tx: &Connection) -> rusqlite::Result<usize> {
    let ended = tx.execute("DELETE FROM sessions", [])?;
    note_ended(tx)?;
    Ok(ended)
}

/// Ends all sessions of a user, within another change: of a token, of the user.
pub(super) fn end_sessions_of(tx: &Connection, user: &UserName) -> rusqlite::Result<usize> {
    let ended = tx.execute("DELETE FROM sessions WHERE user = ?1", [user.as_str()])?;
    note_ended(tx)?;
    Ok(ended)
}

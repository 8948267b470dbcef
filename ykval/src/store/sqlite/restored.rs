//! Stored data of restored tokens.

use super::rows::{Column, unstorable};
use super::*;
use rusqlite::{OptionalExtension as _, params};
use yubiotp::freshness::Touch;

pub(super) fn since(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT value FROM meta WHERE name = 'restored'", [], big_endian).optional()
}

/// Seconds since 1970, as the table `meta` stores them.
pub(super) fn big_endian(row: &rusqlite::Row<'_>) -> rusqlite::Result<i64> {
    let bytes: [u8; 8] = row.get(0)?;
    Ok(i64::from_be_bytes(bytes))
}

/// Sets the time for tokens that the store does not have.
pub(super) fn set_since(transaction: &Connection, since: Option<i64>) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM meta WHERE name = 'restored'", [])?;
    if let Some(since) = since {
        let set = "INSERT INTO meta (name, value) VALUES ('restored', ?1)";
        transaction.execute(set, [since.max(0).to_be_bytes()])?;
    }
    Ok(())
}

pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let count = "SELECT count(*) FROM tokens WHERE restored IS NOT NULL";
    connection.query_row(count, [], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

pub(super) fn mark_all(transaction: &Connection, at: i64) -> rusqlite::Result<()> {
    let at = at.max(0);
    transaction.execute("UPDATE tokens SET restored = min(coalesce(restored, ?1), ?1)", [at])?;
    let at = since(transaction)?.map_or(at, |before| before.min(at));
    set_since(transaction, Some(at))
}

/// Marks a token whose key changes.
pub(super) fn begin(
    transaction: &Connection,
    id: &PublicId,
    since: Option<i64>,
    never_used: bool,
) -> rusqlite::Result<()> {
    let mut begin = transaction.prepare_cached(
        "UPDATE tokens SET restored = iif(?3, NULL, coalesce(restored, ?2)) WHERE public_id = ?1",
    )?;
    begin.execute(params![Column(id), since, never_used]).map(|_| ())
}

pub(super) fn last_touch(connection: &Connection, id: PublicId) -> rusqlite::Result<Option<LastTouch>> {
    let mut find = connection
        .prepare_cached("SELECT position, timestamp, at, pause, failed FROM touches WHERE public_id = ?1")?;
    find.query_row([Column(&id)], to_touch).optional()
}

fn to_touch(row: &rusqlite::Row<'_>) -> rusqlite::Result<LastTouch> {
    let Column(position) = row.get(0)?;
    let touch = Touch { position, timestamp: row.get(1)? };
    let pause = row.get::<_, i64>(3)?.unsigned_abs();
    Ok(LastTouch { touch, at: row.get(2)?, pause, failed: row.get(4)? })
}

/// All of them.
pub(super) fn touches(connection: &Connection) -> rusqlite::Result<Vec<(PublicId, LastTouch)>> {
    let all = "SELECT position, timestamp, at, pause, failed, public_id FROM touches ORDER BY public_id";
    let touch = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Column<PublicId>>(5)?.0, to_touch(row)?));
    connection.prepare(all)?.query_map([], touch)?.collect()
}

pub(super) fn set_last_touch(
    transaction: &Connection,
    id: PublicId,
    last: &LastTouch,
) -> rusqlite::Result<()> {
    let LastTouch { touch: Touch { position, timestamp }, at, pause, failed } = last;
    let pause = i64::try_from(*pause).map_err(|_| unstorable("a pause"))?;
    let mut set = transaction.prepare_cached(
        "INSERT INTO touches (public_id, position, timestamp, at, pause, failed) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT DO UPDATE SET position = ?2, timestamp = ?3, at = ?4, pause = ?5, failed = ?6",
    )?;
    set.execute(params![Column(&id), Column(*position), timestamp, at, pause, failed]).map(|_| ())
}

pub(super) fn prove(transaction: &Connection, id: PublicId) -> rusqlite::Result<()> {
    transaction.execute("UPDATE tokens SET restored = NULL WHERE public_id = ?1", [Column(&id)])?;
    transaction.execute("DELETE FROM touches WHERE public_id = ?1", [Column(&id)]).map(|_| ())
}

pub(super) fn accept_risk(transaction: &Connection) -> rusqlite::Result<u64> {
    let cleared = transaction.execute("UPDATE tokens SET restored = NULL WHERE restored IS NOT NULL", [])?;
    transaction.execute("DELETE FROM touches", [])?;
    set_since(transaction, None)?;
    Ok(cleared as u64)
}

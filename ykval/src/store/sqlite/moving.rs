//! What a move stores, each in a transaction that the caller commits.

use super::admin::{remember, standing};
use super::rows::Column;
use super::*;
use crate::store::moving::MARKED;
use rusqlite::{OptionalExtension as _, params};

fn text(connection: &Connection) -> rusqlite::Result<String> {
    let text = connection.query_row("SELECT value FROM meta WHERE name = 'moves'", [], |row| {
        let text: Vec<u8> = row.get(0)?;
        String::from_utf8(text).map_err(|why| rusqlite::Error::Utf8Error(0, why.utf8_error()))
    });
    Ok(text.optional()?.unwrap_or_default())
}

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Moves> {
    Moves::parse(&text(connection)?).ok_or(rusqlite::Error::InvalidColumnType(
        0,
        "moves".to_owned(),
        rusqlite::types::Type::Blob,
    ))
}

/// Why a move must not write: a later version upgraded the store.
pub(super) fn only_later(
    transaction: &Connection,
    place: &DatabaseFile,
) -> rusqlite::Result<Option<StoreFault>> {
    let (found, known) = (connect::schema_number(transaction)? % MARKED, connect::KNOWN);
    Ok((found > known).then(|| StoreFault::Later { at: place.location(), found, known }))
}

/// Nobody else writes until this transaction ends.
pub(super) fn set(
    transaction: &Connection,
    from: &str,
    to: &Moves,
    restored: Option<i64>,
) -> rusqlite::Result<bool> {
    if text(transaction)? != from {
        return Ok(false);
    }
    let set = "INSERT INTO meta (name, value) VALUES ('moves', ?1) ON CONFLICT DO UPDATE SET value = ?1";
    transaction.execute(set, [to.to_text().as_bytes()])?;
    if let Some(since) = restored {
        restored::mark_all(transaction, since)?;
    }
    let marked = if to.is_fenced() { MARKED } else { 0 };
    let number = connect::schema_number(transaction)? % MARKED;
    transaction.pragma_update(None, "user_version", number.saturating_add(marked))?;
    Ok(true)
}

pub(super) fn fill(transaction: &Connection, run: RunId, rows: &Rows) -> rusqlite::Result<bool> {
    let mark = read(transaction)?.mark;
    if !mark.is_some_and(|mark| mark.stage == Stage::Filling && mark.run == run) {
        return Ok(false);
    }
    for client in &rows.clients {
        put_client(transaction, client)?;
    }
    for Retired { id, key, position } in &rows.retired {
        remember(transaction, id, *key, *position)?;
    }
    for token in &rows.tokens {
        put_token(transaction, token)?;
    }
    for (id, touch) in &rows.touches {
        restored::set_last_touch(transaction, *id, touch)?;
    }
    if let Some(since) = rows.restored_since {
        restored::set_since(transaction, since)?;
    }
    Ok(true)
}

fn put_client(transaction: &Connection, client: &Client) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT OR REPLACE INTO clients \
         (id, name, enabled, require_signature, rate, certificate_name, sealed_key, created) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let Client { id, name, enabled, require_signature, rate, certificate_name, sealed_key, created } = client;
    let values =
        params![Column(*id), name, enabled, require_signature, rate, certificate_name, sealed_key, created];
    put.execute(values).map(|_| ())
}

fn put_token(transaction: &Connection, token: &Token) -> rusqlite::Result<()> {
    let key = token.position_of();
    if let Some((former, Some(position))) = standing(transaction, &token.id)?
        && former != key
    {
        remember(transaction, &token.id, former, position)?;
    }
    let mut kept = transaction
        .prepare_cached("SELECT position FROM retired WHERE public_id = ?1 AND fingerprint = ?2")?;
    let kept: Option<Column<Position>> =
        kept.query_row(params![Column(&token.id), Column(&key)], |row| row.get(0)).optional()?;
    let here = rows::token(transaction, token.id)?;
    let token = token.clone().raised_to(here.as_ref(), kept.map(|Column(kept)| kept));
    let mut put = transaction.prepare_cached(
        "INSERT INTO tokens (public_id, fingerprint, sealed, enabled, position, nonce, modified, restored) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET fingerprint = ?2, sealed = ?3, \
         enabled = ?4, position = ?5, nonce = ?6, modified = ?7, restored = ?8",
    )?;
    let sealed = token.key.as_ref().map(|(_, sealed)| Column(sealed));
    put.execute(params![
        Column(&token.id),
        Column(&key),
        sealed,
        token.enabled,
        token.position.map(Column),
        token.nonce,
        token.modified,
        token.restored,
    ])
    .map(|_| ())
}

//! Advances a token, in a transaction that the caller commits.

use super::rows::Column;
use super::*;
use rusqlite::{CachedStatement, OptionalExtension as _, params};

/// The result of a step, valid once it is committed.
pub(super) enum Found {
    Fresh,
    SameRequest,
    Replayed(Position),
    Disabled,
    Restored(i64),
    NotThisKey,
}

/// Steps in one transaction.
pub(super) struct Steps<'a> {
    transaction: &'a Connection,
    advance: CachedStatement<'a>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(transaction: &'a Connection) -> rusqlite::Result<Self> {
        let advance = transaction.prepare_cached(
            "UPDATE tokens SET position = ?3, nonce = ?4, modified = ?5 \
             WHERE public_id = ?1 AND fingerprint = ?2 AND enabled AND (position IS NULL OR position < ?3) \
             AND (restored IS NULL OR ?6)",
        )?;
        Ok(Self { transaction, advance })
    }

    /// One statement compares and stores, and its row count decides. Why it changed none is read afterwards.
    pub(super) fn take(&mut self, step: &Step) -> rusqlite::Result<Found> {
        let Step { token, key, to, nonce, at, as_restored } = step;
        let values = params![Column(token), Column(key), Column(*to), nonce, at, as_restored];
        let done = self.advance.execute(values)?;
        if done == 1 { Ok(Found::Fresh) } else { self.why_not(step) }
    }

    fn why_not(&self, step: &Step) -> rusqlite::Result<Found> {
        let mut find = self.transaction.prepare_cached(
            "SELECT fingerprint, enabled, position, nonce = ?2 AND nonce <> '', restored FROM tokens \
             WHERE public_id = ?1",
        )?;
        let found = find.query_row(params![Column(&step.token), step.nonce], |row| {
            Ok((
                row.get::<_, Column<Fingerprint>>(0)?.0,
                row.get::<_, bool>(1)?,
                row.get::<_, Option<Column<Position>>>(2)?,
                row.get::<_, bool>(3)?,
                row.get::<_, Option<i64>>(4)?,
            ))
        });
        let Some((key, enabled, position, same_nonce, restored)) = found.optional()? else {
            return if step.key == Fingerprint::ELSEWHERE { self.begin(step) } else { Ok(Found::NotThisKey) };
        };
        if key != step.key {
            return Ok(Found::NotThisKey);
        }
        if !enabled {
            return Ok(Found::Disabled);
        }
        match (position, restored) {
            (Some(Column(stored)), _) if stored == step.to && same_nonce => Ok(Found::SameRequest),
            (Some(Column(stored)), _) if stored >= step.to => Ok(Found::Replayed(stored)),
            (_, Some(since)) if !step.as_restored => Ok(Found::Restored(since)),
            // Then the statement would have changed the row.
            _ => Err(rusqlite::Error::StatementChangedRows(0)),
        }
    }

    /// Adds a token that only a key storage module knew. Not in a restored store: there it has to begin as restored.
    fn begin(&self, step: &Step) -> rusqlite::Result<Found> {
        if restored::since(self.transaction)?.is_some() {
            return Ok(Found::NotThisKey);
        }
        let mut begin = self.transaction.prepare_cached(
            "INSERT INTO tokens (public_id, fingerprint, sealed, enabled, position, nonce, modified) \
             VALUES (?1, ?2, NULL, 1, ?3, ?4, ?5)",
        )?;
        let Step { token, key, to, nonce, at, .. } = step;
        begin.execute(params![Column(token), Column(key), Column(*to), nonce, at])?;
        Ok(Found::Fresh)
    }
}

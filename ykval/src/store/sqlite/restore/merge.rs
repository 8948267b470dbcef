//! What is known from elsewhere is put into a backup. Positions only grow, and a token that is switched off in either
//! place is so afterwards.

use super::super::rows::Column;
use super::{admin, higher};
use rusqlite::{Connection, OptionalExtension as _, params};
use yubiotp::key::Fingerprint;
use yubiotp::{Position, PublicId};

/// A token, as far as it matters here.
struct Standing {
    id: PublicId,
    key: Fingerprint,
    position: Option<Position>,
    enabled: bool,
    restored: Option<i64>,
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Standing> {
    let (Column(id), Column(key)) = (row.get(0)?, row.get(1)?);
    let position = row.get::<_, Option<Column<Position>>>(2)?.map(|Column(position)| position);
    Ok(Standing { id, key, position, enabled: row.get(3)?, restored: row.get(4)? })
}

fn find(transaction: &Connection, id: &PublicId) -> rusqlite::Result<Option<Standing>> {
    let mut find = transaction.prepare_cached(
        "SELECT public_id, fingerprint, position, enabled, restored FROM tokens WHERE public_id = ?1",
    )?;
    find.query_row([Column(id)], read).optional()
}

fn add(transaction: &Connection, token: &Standing) -> rusqlite::Result<()> {
    let mut add = transaction.prepare_cached(
        "INSERT INTO tokens (public_id, fingerprint, sealed, enabled, position, nonce, modified, restored) \
         VALUES (?1, zeroblob(8), NULL, ?2, ?3, '', NULL, ?4)",
    )?;
    let Standing { id, position, enabled, restored, .. } = token;
    add.execute(params![Column(id), enabled, position.map(Column), restored]).map(|_| ())
}

fn set(transaction: &Connection, token: &Standing) -> rusqlite::Result<()> {
    let mut set = transaction.prepare_cached(
        "UPDATE tokens SET position = ?2, enabled = ?3, restored = ?4, \
         nonce = iif(position IS ?2, nonce, '') WHERE public_id = ?1",
    )?;
    let Standing { id, position, enabled, restored, .. } = token;
    set.execute(params![Column(id), position.map(Column), enabled, restored]).map(|_| ())
}

/// Raises a position, of a token that is here or not. Whether that told anything new.
pub(super) fn raise(
    transaction: &Connection,
    id: &PublicId,
    position: Position,
    since: Option<i64>,
) -> rusqlite::Result<bool> {
    let Some(mut here) = find(transaction, id)? else {
        let (key, position) = (Fingerprint::ELSEWHERE, Some(position));
        add(transaction, &Standing { id: *id, key, position, enabled: true, restored: since })?;
        return Ok(true);
    };
    if here.position >= Some(position) {
        return Ok(false);
    }
    here.position = Some(position);
    set(transaction, &here)?;
    Ok(true)
}

/// What the former store had.
pub(super) struct Merged {
    /// Positions that were raised.
    pub(super) raised: u64,
    /// It knew all that the backup knows, so it knew of all tokens.
    pub(super) covers_all: bool,
}

/// Takes over what the former store knew. A token that it knew, and that was not restored there, is not restored here.
pub(super) fn former(transaction: &Connection, former: &Connection) -> rusqlite::Result<Merged> {
    // Schema 1 has no restored tokens.
    let schema: i64 = former.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let restored = if schema < 2 { "NULL" } else { "restored" };
    let (mut raised, mut met, mut added, mut behind) = (0_u64, 0_u64, 0_u64, false);
    let mut tokens = former
        .prepare(&format!("SELECT public_id, fingerprint, position, enabled, {restored} FROM tokens"))?;
    let mut tokens = tokens.query([])?;
    while let Some(row) = tokens.next()? {
        let there = read(row)?;
        let Some(mut here) = find(transaction, &there.id)? else {
            add(transaction, &there)?;
            if there.key != Fingerprint::ELSEWHERE {
                remember(transaction, &there)?;
            }
            added = added.saturating_add(1);
            continue;
        };
        met = met.saturating_add(1);
        let before = here.position;
        here.enabled &= there.enabled;
        if here.key == there.key {
            let is_behind = there.position < here.position;
            behind |= is_behind;
            here.position = higher(here.position, there.position);
            if there.restored.is_none() && !is_behind {
                here.restored = None;
            }
        } else {
            remember(transaction, &there)?;
        }
        raised = raised.saturating_add(u64::from(here.position > before));
        set(transaction, &here)?;
    }
    let mut retired = former.prepare("SELECT public_id, fingerprint, position FROM retired")?;
    let mut retired = retired.query([])?;
    while let Some(row) = retired.next()? {
        let (Column(id), Column(key), Column(position)) = (row.get(0)?, row.get(1)?, row.get(2)?);
        match find(transaction, &id)? {
            Some(mut here) if here.key == key && key != Fingerprint::ELSEWHERE => {
                here.position = higher(here.position, Some(position));
                set(transaction, &here)?;
            }
            _ => admin::remember(transaction, &id, key, position)?,
        }
    }
    let known = transaction.query_row("SELECT count(*) FROM tokens", [], |row| row.get::<_, i64>(0))?;
    let all = met.saturating_add(added) == known.unsigned_abs();
    Ok(Merged { raised: raised.saturating_add(added), covers_all: all && !behind })
}

/// How far a key came that is not the one here.
fn remember(transaction: &Connection, token: &Standing) -> rusqlite::Result<()> {
    match token.position {
        Some(position) => admin::remember(transaction, &token.id, token.key, position),
        None => Ok(()),
    }
}

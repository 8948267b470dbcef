//! Secrets sealed anew, when the store key is replaced. Each in a transaction that the caller commits.

use super::connect::stored_key;
use super::rows::Column;
use super::*;
use rusqlite::params;

/// `false` if the store is under neither.
pub(super) fn seal_under(
    transaction: &Connection,
    from: StoreKeyId,
    to: StoreKeyId,
) -> rusqlite::Result<bool> {
    let now = stored_key(transaction)?;
    if now == from.0 {
        transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'store_key'", [to.0])?;
    }
    Ok(now == from.0 || now == to.0)
}

pub(super) fn store(transaction: &Connection, resealed: &[Resealed]) -> rusqlite::Result<u64> {
    let mut client =
        transaction.prepare_cached("UPDATE clients SET sealed_key = ?3 WHERE id = ?1 AND sealed_key = ?2")?;
    let mut token =
        transaction.prepare_cached("UPDATE tokens SET sealed = ?3 WHERE public_id = ?1 AND sealed = ?2")?;
    let mut stored = 0_u64;
    for one in resealed {
        let changed = match one {
            Resealed::Client { id, from, to } => client.execute(params![Column(*id), from, to])?,
            Resealed::Token { id, from, to } => {
                token.execute(params![Column(id), Column(from), Column(to)])?
            }
        };
        stored = stored.saturating_add(changed as u64);
    }
    Ok(stored)
}

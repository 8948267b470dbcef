//! Compares accepted OTPs with the database.

use super::admin::{ELSEWHERE, remember, standing};
use super::rows::Column;
use super::*;
use rusqlite::params;

/// One statement for each OTP, so that it sees the key and its position at the same moment.
pub(super) fn forgotten(connection: &Connection, accepted: &[Accepted]) -> rusqlite::Result<Vec<Forgotten>> {
    let mut find = connection.prepare(
        "SELECT (SELECT fingerprint FROM tokens WHERE public_id = ?1), \
         (SELECT position FROM tokens WHERE public_id = ?1), \
         (SELECT position FROM retired WHERE public_id = ?1 AND fingerprint = ?2)",
    )?;
    let mut forgotten = Vec::new();
    for one in accepted {
        let stored = find.query_row(params![Column(&one.token), Column(&one.key)], |row| {
            let key: Option<Column<Fingerprint>> = row.get(0)?;
            let is_here = key.is_some_and(|Column(key)| key == one.key);
            let position: Option<Column<Position>> = row.get(if is_here { 1 } else { 2 })?;
            Ok(position.map(|Column(position)| position))
        });
        let stored = match stored {
            // A fault for whoever asks for this token; nobody accepts an OTP of it.
            Err(why) if yksqlite::is_damage(&why) => continue,
            stored => stored?,
        };
        if stored < Some(one.position) {
            forgotten.push(Forgotten { accepted: *one, stored });
        }
    }
    Ok(forgotten)
}

/// Returns how many were raised, and which token is damaged, if one is: the others are raised all the same.
pub(super) fn raise(
    transaction: &Connection,
    accepted: &[Accepted],
) -> rusqlite::Result<(u64, Option<PublicId>)> {
    let now = crate::clock::now();
    // Without a key until it is imported again. In a restored store they are restored: nobody knows which other OTPs of
    // them were accepted.
    let restored = restored::since(transaction)?;
    let mut add = transaction.prepare_cached(
        "INSERT INTO tokens (public_id, fingerprint, sealed, enabled, position, nonce, modified, restored) \
         VALUES (?1, zeroblob(8), NULL, 1, ?2, '', ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    let mut raise = transaction.prepare_cached(
        "UPDATE tokens SET position = ?2, nonce = '', modified = coalesce(modified, ?3) \
         WHERE public_id = ?1 AND (position IS NULL OR position < ?2)",
    )?;
    let (mut raised, mut damaged) = (0_u64, None);
    for Accepted { token, key, position } in accepted {
        let values = params![Column(token), Column(*position), now];
        let added = add.execute(params![Column(token), Column(*position), now, restored])?;
        let here = match standing(transaction, token) {
            Err(why) if yksqlite::is_damage(&why) => {
                damaged = Some(*token);
                continue;
            }
            here => here?.map_or(ELSEWHERE, |(here, _)| here),
        };
        if here != *key {
            remember(transaction, token, *key, *position)?;
        }
        // A key continues from positions without a key, and a token without a key from the positions of all its keys.
        let counts = here == *key || *key == ELSEWHERE || here == ELSEWHERE;
        let changed = if added == 0 && counts { raise.execute(values)? } else { added };
        raised = raised.saturating_add(u64::from(changed > 0));
    }
    Ok((raised, damaged))
}

//! What nobody knows any more: which codes were used since a copy was made. All that may have been used are ended.

use super::{Restored, Waiting};
use crate::session::Means;
use crate::store::rows::Column;
use crate::user::UserName;
use rusqlite::{Connection, params};
use yubiotp::key::Fingerprint;
use yubiotp::oath::Period;
use yubiotp::oath::window::{LOST_STEPS, never_used};
use yubiotp::{Position, TokenId};

/// Ends all recovery codes; rejects the codes of TOTP tokens until all that may have been used are over; and disables HOTP
/// tokens, whose codes have no end. Validation servers know the OTPs of YubiKeys. `now` is in seconds since 1970.
pub(super) fn end(transaction: &Connection, now: u64, done: &mut Restored) -> rusqlite::Result<()> {
    done.without_codes = users_with_codes(transaction)?;
    transaction.execute("DELETE FROM recovery_sets", [])?;
    let mut tokens = transaction.prepare(
        "SELECT t.user, t.id, t.fingerprint, t.kind, t.period, coalesce(p.position, 0) FROM tokens t \
         LEFT JOIN positions p ON p.token = t.id AND p.fingerprint = t.fingerprint \
         WHERE t.kind <> 'yubikey' ORDER BY t.user, t.id",
    )?;
    let mut rows = tokens.query([])?;
    while let Some(row) = rows.next()? {
        let (Column(user), Column(token)): (Column<UserName>, Column<TokenId>) = (row.get(0)?, row.get(1)?);
        let (Column(key), Column(means)): (_, Column<Means>) = (row.get(2)?, row.get(3)?);
        let period = row.get::<_, Option<u16>>(4)?.and_then(Period::new);
        if let (Means::Totp, Some(period)) = (means, period) {
            let next = never_used(period, now);
            raise(transaction, &token, key, next)?;
            let until = next.to_stored().saturating_mul(period.seconds());
            done.waiting.push(Waiting { user, token, until });
        } else {
            // Also if somebody enables it again.
            let Column(at): Column<Position> = row.get(5)?;
            raise(
                transaction,
                &token,
                key,
                Position::from_stored(at.to_stored().saturating_add(LOST_STEPS)),
            )?;
            transaction.execute("UPDATE tokens SET enabled = 0 WHERE id = ?1", [Column(&token)])?;
            done.lost.push((user, token));
        }
    }
    Ok(())
}

/// The users with recovery codes.
pub(super) fn users_with_codes(transaction: &Connection) -> rusqlite::Result<Vec<UserName>> {
    let mut all = transaction.prepare("SELECT user FROM recovery_sets ORDER BY user")?;
    all.query_map([], |row| row.get(0).map(|Column(user)| user))?.collect()
}

fn raise(transaction: &Connection, token: &TokenId, key: Fingerprint, to: Position) -> rusqlite::Result<()> {
    let mut raise = transaction.prepare_cached(
        "INSERT INTO positions (token, fingerprint, position, drift) VALUES (?1, ?2, ?3, 0) \
         ON CONFLICT DO UPDATE SET position = max(position, excluded.position)",
    )?;
    raise.execute(params![Column(token), Column(key), Column(to)]).map(drop)
}

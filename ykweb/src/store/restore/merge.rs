//! What a copy learns from the store that it replaces, which is attached as `former`.

use super::{Restored, lost};
use crate::store::rows::Column;
use rusqlite::Connection;

/// Raises positions, burns codes and takes tries, as far as the former store knows more. Nothing is lowered.
pub(super) fn raise(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "INSERT INTO main.positions (token, fingerprint, position, drift) \
         SELECT token, fingerprint, position, drift FROM former.positions WHERE true \
         ON CONFLICT DO UPDATE SET position = excluded.position, drift = excluded.drift \
         WHERE excluded.position > position;
         UPDATE main.recovery_codes SET used = \
         (SELECT f.used FROM former.recovery_codes f \
          WHERE f.set_id = recovery_codes.set_id AND f.number = recovery_codes.number) \
         WHERE used IS NULL;
         INSERT INTO main.guesses (user, full_at) SELECT user, full_at FROM former.guesses WHERE true \
         ON CONFLICT DO UPDATE SET full_at = max(full_at, excluded.full_at);",
    )
}

/// Takes over the recovery codes of a former store that knows all that was accepted: those of the copy may have been replaced.
/// Disables who and what was disabled or removed since the copy.
pub(super) fn take_over(transaction: &Connection, done: &mut Restored) -> rusqlite::Result<()> {
    let before = lost::users_with_codes(transaction)?;
    transaction.execute_batch(
        "DELETE FROM main.recovery_sets WHERE id NOT IN (SELECT id FROM former.recovery_sets);
         INSERT INTO main.recovery_sets (id, user, made, under) \
         SELECT id, user, made, under FROM former.recovery_sets \
         WHERE id NOT IN (SELECT id FROM main.recovery_sets) AND user IN (SELECT name FROM main.users);
         INSERT INTO main.recovery_codes (set_id, number, mac, used) \
         SELECT set_id, number, mac, used FROM former.recovery_codes \
         WHERE set_id IN (SELECT id FROM main.recovery_sets) ON CONFLICT DO NOTHING;",
    )?;
    let after = lost::users_with_codes(transaction)?;
    done.without_codes = before.into_iter().filter(|user| !after.contains(user)).collect();

    let mut users = transaction.prepare(
        "UPDATE main.users SET enabled = 0 \
         WHERE enabled AND name NOT IN (SELECT name FROM former.users WHERE enabled) RETURNING name",
    )?;
    let users = users.query_map([], |row| row.get(0).map(|Column(user)| user))?;
    done.disabled_users = users.collect::<rusqlite::Result<_>>()?;
    let mut tokens = transaction.prepare(
        "UPDATE main.tokens SET enabled = 0 \
         WHERE enabled AND (id, user) NOT IN (SELECT id, user FROM former.tokens WHERE enabled) RETURNING user, id",
    )?;
    let tokens = tokens.query_map([], |row| {
        let (Column(user), Column(token)) = (row.get(0)?, row.get(1)?);
        Ok((user, token))
    })?;
    done.disabled = tokens.collect::<rusqlite::Result<_>>()?;
    Ok(())
}

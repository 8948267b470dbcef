//! How many codes may still be tried for each user.

use super::rows::Column;
use super::{Store, StoreFault};
use crate::user::UserName;
use rusqlite::{OptionalExtension as _, params};
use yubiotp::guesses::Bucket;

pub(super) const SCHEMA: &str = "
CREATE TABLE guesses (
    user TEXT NOT NULL PRIMARY KEY, -- stays where the user is removed: who comes back has no new tries
    full_at INTEGER NOT NULL CHECK (full_at >= 0) -- when no try is missing any more
) STRICT, WITHOUT ROWID;
";

impl Store {
    /// Changes the bucket of a user, which no other login does meanwhile. `change` returns what is stored next, or `None` to
    /// store nothing.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(crate) fn change_bucket<T>(
        &self,
        user: &UserName,
        change: impl FnOnce(Bucket) -> (Option<Bucket>, T),
    ) -> Result<T, StoreFault> {
        self.write(|transaction| {
            let mut find = transaction.prepare_cached("SELECT full_at FROM guesses WHERE user = ?1")?;
            let stored = find.query_row([Column(user)], |row| row.get(0)).optional()?;
            let (next, result) = change(stored.map_or(Bucket::FULL, |Column(bucket)| bucket));
            if let Some(next) = next {
                let mut set = transaction.prepare_cached(
                    "INSERT INTO guesses (user, full_at) VALUES (?1, ?2) \
                     ON CONFLICT DO UPDATE SET full_at = excluded.full_at",
                )?;
                set.execute(params![Column(user), Column(next)])?;
            }
            Ok(result)
        })
    }
}

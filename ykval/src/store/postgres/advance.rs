//! One step forward: what every accepted OTP goes through. The races are thought through in `postgres.rs`.

use super::schema::{KNOWN, not_later};
use super::{Trouble, position, stored};
use crate::store::{Advanced, Step, StoreFault};
use deadpool_postgres::ClientWrapper;
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;

/// The number of rows that it changes is the decision. A store that a later program has carried forward, of which this
/// one does not know what has to hold, is not changed.
const ADVANCE: &str = "UPDATE ykvald.tokens SET position = $3, nonce = $4, modified = $5
    WHERE public_id = $1 AND fingerprint = $2 AND enabled AND (position IS NULL OR position < $3)
        AND (SELECT schema_number FROM ykvald.meta) <= $6";

/// As above, of a token whose key is elsewhere, and which need not be known yet.
const ADVANCE_ELSEWHERE: &str =
    "INSERT INTO ykvald.tokens AS t (public_id, fingerprint, enabled, position, nonce, modified)
    SELECT $1::bytea, $2::bytea, true, $3::bigint, $4::text, $5::bigint
    WHERE (SELECT schema_number FROM ykvald.meta) <= $6
    ON CONFLICT (public_id) DO UPDATE
    SET position = excluded.position, nonce = excluded.nonce, modified = excluded.modified
    WHERE t.fingerprint = excluded.fingerprint AND t.enabled
        AND (t.position IS NULL OR t.position < excluded.position)";

const LOOK: &str = "SELECT fingerprint, enabled, position, nonce FROM ykvald.tokens WHERE public_id = $1";

/// How often is looked again, where between the step and the look something was changed that would have let it through.
const TRIES: usize = 3;

pub(super) async fn advance(db: &mut ClientWrapper, store: &str, step: Step) -> Result<Advanced, Trouble> {
    let Step { token, key, to, nonce, at } = &step;
    let number = stored(*to)?;
    let one_step =
        db.prepare_cached(if *key == Fingerprint::ELSEWHERE { ADVANCE_ELSEWHERE } else { ADVANCE }).await?;
    for _ in 0..TRIES {
        // Answered after the commit, and so on stable storage.
        let changed = db
            .execute(&one_step, &[&token.as_bytes(), &key.0.as_slice(), &number, nonce, at, &KNOWN])
            .await?;
        if changed == 1 {
            #[expect(clippy::disallowed_methods, reason = "the commit of this very row was answered")]
            return Ok(Advanced::Fresh(Receipt::after_durable_advance(*token, *to)));
        }
        let number = "SELECT schema_number FROM ykvald.meta";
        not_later(db.query_one(number, &[]).await?.try_get(0)?, store)?;
        if let Some(found) = why_not(db, &step).await? {
            return Ok(found);
        }
    }
    Err(Trouble::Cannot(
        "a token changes faster than it can be read, or the database changes what it is told",
    ))
}

/// Why nothing was changed; `None` if it would be now.
async fn why_not(db: &ClientWrapper, step: &Step) -> Result<Option<Advanced>, Trouble> {
    let look = db.prepare_cached(LOOK).await?;
    let row = db.query_opt(&look, &[&step.token.as_bytes()]).await?;
    let row = row.ok_or(StoreFault::NotThisKey(step.token))?;
    if row.try_get::<_, &[u8]>(0)? != step.key.0.as_slice() {
        return Err(StoreFault::NotThisKey(step.token).into());
    }
    if !row.try_get::<_, bool>(1)? {
        return Ok(Some(Advanced::Disabled));
    }
    let stored = position(row.try_get(2)?, step.token)?;
    let nonce: &str = row.try_get(3)?;
    Ok(stored.filter(|stored| *stored >= step.to).map(|stored| {
        if stored == step.to && !nonce.is_empty() && nonce == step.nonce {
            Advanced::SameRequest
        } else {
            Advanced::Replayed { stored }
        }
    }))
}

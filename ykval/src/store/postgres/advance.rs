//! Advances a token, which every accepted OTP does. `postgres.rs` explains the races.

use super::durable::{self, fit, fits, unfit};
use super::link::Link;
use super::trouble::{Trouble, position, stored};
use super::{BATCH, LONG, SHORT, schema};
use crate::store::batch::Batched;
use crate::store::{Advanced, Step, StoreFault};
use deadpool_postgres::ClientWrapper;
use std::collections::HashSet;
use std::time::Duration;
use tokio_postgres::types::ToSql;
use yubiotp::PublicId;
use yubiotp::diagnostic::Code;
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;

/// Many steps, each of another token. Locked rows are skipped, so that no step waits for another. The returned rows are
/// those that were changed: they decide.
const ADVANCE_MANY: &str = concat!(
    fit!(),
    ", held AS MATERIALIZED (
        SELECT s.id, s.fingerprint, s.position, s.nonce, s.modified, s.as_restored
        FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::text[], $5::bigint[], $6::boolean[])
            AS s (id, fingerprint, position, nonce, modified, as_restored)
        JOIN ykvald.tokens t ON t.public_id = s.id
        WHERE ",
    fits!(),
    " FOR NO KEY UPDATE OF t SKIP LOCKED)
    UPDATE ykvald.tokens t SET position = h.position, nonce = h.nonce, modified = h.modified
    FROM held h
    WHERE t.public_id = h.id AND t.fingerprint = h.fingerprint AND t.enabled
        AND (t.position IS NULL OR t.position < h.position) AND (t.restored IS NULL OR h.as_restored)
    RETURNING t.public_id"
);

/// One step. It waits for the row. The number of changed rows decides.
const ADVANCE: &str = concat!(
    fit!(),
    " UPDATE ykvald.tokens SET position = $3, nonce = $4, modified = $5
    WHERE public_id = $1 AND fingerprint = $2 AND enabled AND (position IS NULL OR position < $3)
        AND (restored IS NULL OR $6) AND ",
    fits!()
);

/// The same for a token whose key is elsewhere, which the store need not know yet. A restored store must know it: such a
/// token begins as restored.
const ADVANCE_ELSEWHERE: &str = concat!(
    fit!(),
    " INSERT INTO ykvald.tokens AS t (public_id, fingerprint, enabled, position, nonce, modified)
    SELECT $1::bytea, $2::bytea, true, $3::bigint, $4::text, $5::bigint WHERE ",
    fits!(),
    " AND (EXISTS (SELECT FROM ykvald.tokens k WHERE k.public_id = $1)
        OR NOT EXISTS (SELECT FROM ykvald.meta m WHERE m.restored IS NOT NULL))
    ON CONFLICT (public_id) DO UPDATE
    SET position = excluded.position, nonce = excluded.nonce, modified = excluded.modified
    WHERE t.fingerprint = excluded.fingerprint AND t.enabled
        AND (t.position IS NULL OR t.position < excluded.position) AND (t.restored IS NULL OR $6)"
);

/// Why a step changed nothing. Returns one row always.
const LOOK: &str = concat!(
    "SELECT f.unfit, t.fingerprint, t.enabled, t.position, t.nonce,
        EXISTS (SELECT FROM ykvald.meta m WHERE m.restored IS NOT NULL), t.restored FROM (SELECT ",
    unfit!(),
    " AS unfit) f LEFT JOIN ykvald.tokens t ON t.public_id = $1"
);

/// Attempts, if the row changes between the step and [`LOOK`] so that the step would succeed.
const TRIES: usize = 3;

#[expect(clippy::disallowed_methods, reason = "only for a row whose commit was answered")]
const fn receipt(step: &Step) -> Receipt<PublicId> {
    Receipt::after_durable_advance(step.token, step.to)
}

/// Steps that wait at the same time: one statement, one commit.
impl Batched<Link> for Step {
    /// A step that changed nothing is returned: [`alone`] finds out why, or waits for the row.
    type Answer = Result<Receipt<PublicId>, Self>;

    const MOST: usize = BATCH;
    const PATIENCE: Duration = LONG;

    async fn ask(link: &Link, steps: Vec<Self>) -> Result<Vec<Self::Answer>, StoreFault> {
        let mut seen = HashSet::new();
        // The second of two steps of one token has to wait for this batch.
        let (now, later): (Vec<_>, Vec<_>) =
            steps.into_iter().enumerate().partition(|(_, step)| seen.insert(step.token));
        let (at, now): (Vec<_>, Vec<_>) = now.into_iter().unzip();
        let taken = link.run(SHORT, move |db| Box::pin(many(db, now))).await?;
        let later = later.into_iter().map(|(at, step)| (at, Err(step)));
        let mut answers: Vec<_> = at.into_iter().zip(taken).chain(later).collect();
        answers.sort_unstable_by_key(|(at, _)| *at);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// Takes steps of different tokens.
async fn many(
    db: &mut ClientWrapper,
    steps: Vec<Step>,
) -> Result<Vec<Result<Receipt<PublicId>, Step>>, Trouble> {
    let statement = db.prepare_cached(ADVANCE_MANY).await?;
    let ids: Vec<_> = steps.iter().map(|step| step.token.as_bytes()).collect();
    let fingerprints: Vec<_> = steps.iter().map(|step| step.key.0.as_slice()).collect();
    let positions = steps.iter().map(|step| stored(step.to)).collect::<Result<Vec<_>, _>>()?;
    let nonces: Vec<_> = steps.iter().map(|step| step.nonce.as_str()).collect();
    let modified: Vec<_> = steps.iter().map(|step| step.at).collect();
    let restored: Vec<_> = steps.iter().map(|step| step.as_restored).collect();
    // The query returns after the commit: its rows are on stable storage.
    let values: [&(dyn ToSql + Sync); 6] = [&ids, &fingerprints, &positions, &nonces, &modified, &restored];
    let rows = db.query(&statement, &values).await?;
    let mut changed = HashSet::with_capacity(rows.len());
    for row in &rows {
        changed.extend(PublicId::from_bytes(row.try_get(0)?));
    }
    let answer = |step: Step| if changed.contains(&step.token) { Ok(receipt(&step)) } else { Err(step) };
    Ok(steps.into_iter().map(answer).collect())
}

/// Takes one step.
pub(super) async fn alone(db: &mut ClientWrapper, step: Step) -> Result<Advanced, Trouble> {
    let Step { token, key, to, nonce, at, as_restored } = &step;
    let number = stored(*to)?;
    let one_step =
        db.prepare_cached(if *key == Fingerprint::ELSEWHERE { ADVANCE_ELSEWHERE } else { ADVANCE }).await?;
    for _ in 0..TRIES {
        // Returns after the commit: the row is on stable storage.
        let values: [&(dyn ToSql + Sync); 6] =
            [&token.as_bytes(), &key.0.as_slice(), &number, nonce, at, as_restored];
        let changed = db.execute(&one_step, &values).await?;
        if changed == 1 {
            return Ok(Advanced::Fresh(receipt(&step)));
        }
        schema::must_still_be_usable(db).await?;
        if let Some(found) = why_not(db, &step).await? {
            return Ok(found);
        }
    }
    Err(Trouble::cannot(
        Code::DatabaseFailed,
        "a token changes faster than it can be read, or a trigger changes what is stored",
    ))
}

/// Why nothing was changed; `None` if the step would succeed now.
async fn why_not(db: &ClientWrapper, step: &Step) -> Result<Option<Advanced>, Trouble> {
    let look = db.prepare_cached(LOOK).await?;
    let row = db.query_one(&look, &[&step.token.as_bytes()]).await?;
    durable::judge(row.try_get(0)?)?;
    match row.try_get::<_, Option<&[u8]>>(1)? {
        Some(key) if key == step.key.0.as_slice() => {}
        None if step.key == Fingerprint::ELSEWHERE && !row.try_get::<_, bool>(5)? => return Ok(None),
        _ => return Err(StoreFault::NotThisKey(step.token).into()),
    }
    if !row.try_get::<_, bool>(2)? {
        return Ok(Some(Advanced::Disabled));
    }
    let stored = position(row.try_get(3)?, step.token)?;
    let nonce: &str = row.try_get(4)?;
    let restored = row.try_get::<_, Option<i64>>(6)?.filter(|_| !step.as_restored);
    Ok(match stored.filter(|stored| *stored >= step.to) {
        Some(stored) if stored == step.to && !nonce.is_empty() && nonce == step.nonce => {
            Some(Advanced::SameRequest)
        }
        Some(stored) => Some(Advanced::Replayed { stored }),
        None => restored.map(|since| Advanced::Restored { since }),
    })
}

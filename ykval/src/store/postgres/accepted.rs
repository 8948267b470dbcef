//! Compares accepted OTPs with the database: on each connection before it is used, and on request.

use super::Change;
use super::identity::text;
use super::trouble::{Trouble, position, stored};
use crate::guard::{Accepted, Forgotten, Guard};
use deadpool_postgres::ClientWrapper;
use std::time::Duration;
use tokio_postgres::Error;

/// A connection that was idle for longer may lead to a server that is no longer, or again, the primary.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// Identifies a database and the start of its server: a restart changes it.
const WHICH: &str = "SELECT extract(epoch FROM pg_postmaster_start_time())::text || ' ' ||
    (SELECT oid FROM pg_database WHERE datname = current_database())";

/// The accepted OTPs that the database does not have, each with its index in the question.
const FORGOTTEN: &str = "SELECT k.place, CASE WHEN t.public_id IS NULL THEN r.position ELSE t.position END
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) WITH ORDINALITY AS k (id, fingerprint, position, place)
    LEFT JOIN ykvald.tokens t ON t.public_id = k.id AND t.fingerprint = k.fingerprint
    LEFT JOIN ykvald.retired r ON r.public_id = k.id AND r.fingerprint = k.fingerprint
    WHERE coalesce(CASE WHEN t.public_id IS NULL THEN r.position ELSE t.position END, -1) < k.position
    ORDER BY k.place";

/// Tells the guard which database a connection leads to, and which OTPs it lost. Call it for each connection that is
/// new or was idle for [`IDLE`].
pub(super) async fn compare(client: &ClientWrapper, guard: &Guard) -> Result<(), Error> {
    if let Some(which) = text(client, WHICH).await? {
        guard.met(which);
    }
    let newest = guard.newest();
    if !newest.is_empty() {
        guard.found(&forgotten(client, &newest).await?);
    }
    Ok(())
}

pub(super) async fn forgotten(
    client: &ClientWrapper,
    accepted: &[Accepted],
) -> Result<Vec<Forgotten>, Error> {
    let (ids, keys, positions) = columns(accepted);
    let find = client.prepare_cached(FORGOTTEN).await?;
    let rows = client.query(&find, &[&ids, &keys, &positions]).await?;
    let mut forgotten = Vec::new();
    for row in &rows {
        let place: i64 = row.try_get(0)?;
        let one = usize::try_from(place).ok().and_then(|place| accepted.get(place.checked_sub(1)?));
        let Some(one) = one else { continue };
        // Damage is a fault for whoever asks for this token; nobody accepts an OTP of it.
        let Ok(stored) = position(row.try_get(1)?, one.token) else { continue };
        forgotten.push(Forgotten { accepted: *one, stored });
    }
    Ok(forgotten)
}

type Columns<'a> = (Vec<&'a [u8]>, Vec<&'a [u8]>, Vec<i64>);

fn columns(accepted: &[Accepted]) -> Columns<'_> {
    let ids = accepted.iter().map(|one| one.token.as_bytes()).collect();
    let keys = accepted.iter().map(|one| one.key.0.as_slice()).collect();
    // An accepted position was stored, so it is one of PostgreSQL's numbers.
    let positions = accepted.iter().map(|one| stored(one.position).unwrap_or(i64::MAX)).collect();
    (ids, keys, positions)
}

/// Adds tokens that are missing, without a key until it is imported again. In a restored store they are restored: other
/// servers may have accepted more of their OTPs.
const ADD: &str = r"INSERT INTO ykvald.tokens (public_id, fingerprint, enabled, position, nonce, modified, restored)
    SELECT k.id, '\x0000000000000000', true, max(k.position), '', $3, m.restored
    FROM ykvald.meta m, unnest($1::bytea[], $2::bigint[]) AS k (id, position) GROUP BY k.id, m.restored
    ON CONFLICT (public_id) DO NOTHING";

/// Keeps the positions of keys that the store no longer has.
const KEEP: &str = "INSERT INTO ykvald.retired AS r (public_id, fingerprint, position)
    SELECT k.id, k.fingerprint, k.position
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS k (id, fingerprint, position)
    JOIN ykvald.tokens t ON t.public_id = k.id WHERE t.fingerprint <> k.fingerprint
    ON CONFLICT (public_id, fingerprint) DO UPDATE SET position = greatest(r.position, excluded.position)";

/// A key continues from positions without a key, and a token without a key from the positions of all its keys.
const RAISE: &str = r"UPDATE ykvald.tokens t SET position = k.position, nonce = '', modified = coalesce(t.modified, $4)
    FROM (SELECT h.public_id, max(a.position) AS position
        FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS a (id, fingerprint, position)
        JOIN ykvald.tokens h ON h.public_id = a.id
        WHERE a.fingerprint IN (h.fingerprint, '\x0000000000000000') OR h.fingerprint = '\x0000000000000000'
        GROUP BY h.public_id) k
    WHERE t.public_id = k.public_id AND (t.position IS NULL OR (t.position >= 0 AND t.position < k.position))";

pub(super) async fn raise(db: &mut ClientWrapper, mut accepted: Vec<Accepted>) -> Result<u64, Trouble> {
    // In one order, so that two callers cannot deadlock. The last entry of a key is its highest.
    accepted.sort_by_key(|one| (one.token, one.key.0, one.position));
    accepted.reverse();
    accepted.dedup_by_key(|one| (one.token, one.key.0));
    let (ids, keys, positions) = columns(&accepted);
    let now = crate::clock::now();
    let change = Change::begin(db).await?;
    let added = change.execute(ADD, &[&ids, &positions, &now]).await?;
    change.execute(KEEP, &[&ids, &keys, &positions]).await?;
    let raised = change.execute(RAISE, &[&ids, &keys, &positions, &now]).await?;
    change.commit().await?;
    Ok(added.saturating_add(raised))
}

//! Reads and changes tokens. `postgres.rs` explains the races.

use super::link::Link;
use super::reseal::Under;
use super::trouble::{Trouble, position, stored};
use super::{BATCH, Change, LONG, SHORT};
use crate::store::batch::Batched;
use crate::store::{
    Count, Distinct, Enrolled, Enrolment, History, ImportedCounts, ImportedPosition, PAGE, Retired,
    StoreFault, Token,
};
use deadpool_postgres::{ClientWrapper, Transaction};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;
use tokio_postgres::Row;
use yubiotp::PublicId;
use yubiotp::key::Fingerprint;
use yubiotp::seal::Sealed;

/// Maximum rows in one statement.
const AT_ONCE: usize = 10_000;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT public_id, fingerprint, sealed, enabled, position, nonce, modified, restored FROM ykvald.tokens WHERE ",
            $rest
        )
    };
}

pub(super) fn read(row: &Row) -> Result<Token, Trouble> {
    let id: &[u8] = row.try_get(0)?;
    let id = PublicId::from_bytes(id).ok_or_else(|| Trouble::Damaged("a public id".to_owned()))?;
    let damaged = || Trouble::Damaged(format!("token {id}"));
    let fingerprint = Fingerprint(row.try_get::<_, &[u8]>(1)?.try_into().map_err(|_| damaged())?);
    let sealed = row.try_get::<_, Option<&[u8]>>(2)?;
    let sealed = sealed.map(|sealed| Sealed::from_bytes(sealed).ok_or_else(damaged)).transpose()?;
    Ok(Token {
        id,
        key: sealed.map(|sealed| (fingerprint, sealed)),
        enabled: row.try_get(3)?,
        position: position(row.try_get(4)?, id)?,
        nonce: row.try_get(5)?,
        modified: row.try_get(6)?,
        restored: row.try_get(7)?,
    })
}

/// Tokens that are read at the same time: one statement.
impl Batched<Link> for PublicId {
    /// A damaged row is a fault for its caller only.
    type Answer = Result<Option<Token>, Trouble>;

    const MOST: usize = BATCH;
    const PATIENCE: Duration = LONG;

    async fn ask(link: &Link, ids: Vec<Self>) -> Result<Vec<Self::Answer>, StoreFault> {
        link.run(SHORT, move |db| Box::pin(many(db, ids))).await
    }
}

/// Tokens with these public IDs.
pub(super) const THESE: &str = select!("public_id = ANY($1)");

async fn many(
    db: &mut ClientWrapper,
    ids: Vec<PublicId>,
) -> Result<Vec<Result<Option<Token>, Trouble>>, Trouble> {
    let statement = db.prepare_cached(THESE).await?;
    let bytes: Vec<_> = ids.iter().map(PublicId::as_bytes).collect();
    let rows = db.query(&statement, &[&bytes]).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        found.insert(row.try_get::<_, &[u8]>(0)?, row);
    }
    Ok(ids.iter().map(|id| found.get(id.as_bytes()).map(|row| read(row)).transpose()).collect())
}

pub(super) async fn page(db: &mut ClientWrapper, after: Option<PublicId>) -> Result<Vec<Token>, Trouble> {
    // The empty ID is the lowest.
    let (page, from) = match &after {
        Some(after) => (select!("public_id > $1 ORDER BY public_id LIMIT $2"), after.as_bytes()),
        None => (select!("public_id >= $1 ORDER BY public_id LIMIT $2"), [].as_slice()),
    };
    let page = db.prepare_cached(page).await?;
    let most = i64::try_from(PAGE).unwrap_or(i64::MAX);
    db.query(&page, &[&from, &most]).await?.iter().map(read).collect()
}

const RETIRED: &str = "SELECT public_id, fingerprint, position FROM ykvald.retired";

pub(super) fn read_retired(row: &Row) -> Result<Retired, Trouble> {
    let id: &[u8] = row.try_get(0)?;
    let id = PublicId::from_bytes(id).ok_or_else(|| Trouble::Damaged("a public id".to_owned()))?;
    let damaged = || Trouble::Damaged(format!("token {id}"));
    let key = Fingerprint(row.try_get::<_, &[u8]>(1)?.try_into().map_err(|_| damaged())?);
    let position = position(Some(row.try_get(2)?), id)?.ok_or_else(damaged)?;
    Ok(Retired { id, key, position })
}

pub(super) async fn retired(db: &mut ClientWrapper) -> Result<Vec<Retired>, Trouble> {
    db.query(RETIRED, &[]).await?.iter().map(read_retired).collect()
}

/// Of the tokens of a page.
pub(super) async fn retired_of(db: &mut ClientWrapper, page: &[Token]) -> Result<Vec<Retired>, Trouble> {
    let Some((first, last)) = page.first().zip(page.last()) else { return Ok(Vec::new()) };
    let of_these =
        "SELECT public_id, fingerprint, position FROM ykvald.retired WHERE public_id BETWEEN $1 AND $2";
    let rows = db.query(of_these, &[&first.id.as_bytes(), &last.id.as_bytes()]).await?;
    rows.iter().map(read_retired).collect()
}

pub(super) async fn count(db: &mut ClientWrapper) -> Result<Count, Trouble> {
    let both = "SELECT (SELECT count(*) FROM ykvald.clients), (SELECT count(*) FROM ykvald.tokens)";
    let row = db.query_one(both, &[]).await?;
    let number = |at| row.try_get::<_, i64>(at).map(i64::cast_unsigned);
    Ok(Count { clients: number(0)?, tokens: number(1)? })
}

pub(super) async fn set_enabled(
    db: &mut ClientWrapper,
    id: PublicId,
    enabled: bool,
) -> Result<bool, Trouble> {
    let row = Change::of_one_row(db).await?;
    let switch = "UPDATE ykvald.tokens SET enabled = $2 WHERE public_id = $1";
    let switched = row.execute(switch, &[&id.as_bytes(), &enabled]).await?;
    row.commit().await?;
    Ok(switched == 1)
}

/// Takes as many of `all` as fit into one statement, each token once: a second entry of a token stays for a later
/// statement.
fn some<T>(all: &mut VecDeque<T>, id: impl Fn(&T) -> PublicId) -> Vec<T> {
    let (mut now, mut again) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    while now.len() < AT_ONCE
        && let Some(one) = all.pop_front()
    {
        if seen.insert(id(&one)) { &mut now } else { &mut again }.push(one);
    }
    for one in again.into_iter().rev() {
        all.push_front(one);
    }
    now
}

/// Adds tokens that the store does not know.
const ADD: &str = "INSERT INTO ykvald.tokens (public_id, fingerprint, sealed, enabled, restored)
    SELECT k.id, k.fingerprint, k.sealed, true, CASE WHEN k.used THEN coalesce(m.restored, 0) WHEN NOT k.never_used THEN m.restored END
    FROM ykvald.meta m,
        unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::boolean[], $5::boolean[])
            AS k (id, fingerprint, sealed, never_used, used)
    ON CONFLICT (public_id) DO NOTHING";

/// Locks the rows whose key is replaced: their positions no longer change, and the statements below see the last ones.
const HOLD: &str = "SELECT count(*) FROM (
    SELECT FROM ykvald.tokens t JOIN unnest($1::bytea[], $2::bytea[]) AS k (id, fingerprint) ON t.public_id = k.id
    WHERE t.fingerprint <> k.fingerprint FOR UPDATE OF t) held";

/// Keeps the position of the replaced key. If the token had no key here, only a position above all kept ones: a token
/// whose key was removed has the highest of those.
const RETIRE: &str = r"INSERT INTO ykvald.retired AS r (public_id, fingerprint, position)
    SELECT t.public_id, t.fingerprint, t.position
    FROM ykvald.tokens t JOIN unnest($1::bytea[], $2::bytea[]) AS k (id, fingerprint) ON t.public_id = k.id
    WHERE t.fingerprint <> k.fingerprint AND t.position IS NOT NULL
        AND (t.fingerprint <> '\x0000000000000000'
            OR t.position > ALL (SELECT o.position FROM ykvald.retired o WHERE o.public_id = t.public_id))
    ON CONFLICT (public_id, fingerprint) DO UPDATE SET position = greatest(r.position, excluded.position)";

/// Replaces the key. It continues from its own position, or from one without a key.
const REPLACE: &str = r"UPDATE ykvald.tokens t SET fingerprint = k.fingerprint, sealed = k.sealed,
        position = k.position, nonce = '', modified = CASE WHEN k.position IS NOT NULL THEN t.modified END,
        restored = CASE WHEN NOT k.never_used THEN coalesce(t.restored, k.restored) END
    FROM (SELECT n.id, n.fingerprint, n.sealed, n.never_used,
            CASE WHEN n.used THEN coalesce(m.restored, 0) ELSE m.restored END AS restored,
            (SELECT max(r.position) FROM ykvald.retired r
                WHERE r.public_id = n.id AND r.fingerprint IN (n.fingerprint, '\x0000000000000000')) AS position
        FROM ykvald.meta m,
            unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::boolean[], $5::boolean[])
                AS n (id, fingerprint, sealed, never_used, used)) k
    WHERE t.public_id = k.id AND t.fingerprint <> k.fingerprint";

/// Compares with every key that the store has or had. No other change of keys runs until this one ends.
async fn compare(change: &Transaction<'_>, distinct: &mut Distinct) -> Result<(), Trouble> {
    if distinct.is_idle() {
        return Ok(());
    }
    let first = change.prepare_cached(select!("public_id >= $1 ORDER BY public_id LIMIT $2")).await?;
    let next = change.prepare_cached(select!("public_id > $1 ORDER BY public_id LIMIT $2")).await?;
    let most = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
    let mut after: Option<PublicId> = None;
    loop {
        let (page, from) = match &after {
            Some(after) => (&next, after.as_bytes()),
            None => (&first, [].as_slice()),
        };
        let rows = change.query(page, &[&from, &most]).await?;
        for row in &rows {
            let token = read(row)?;
            distinct.is_here(&token).map_err(|same| Trouble::Told(same.into()))?;
            after = Some(token.id);
        }
        if rows.len() < AT_ONCE {
            break;
        }
    }
    let rows = change.query(RETIRED, &[]).await?;
    let retired: Vec<_> = rows.iter().map(read_retired).collect::<Result<_, _>>()?;
    match distinct.were_here(&retired).first() {
        Some(same) => Err(Trouble::Told((*same).into())),
        None => Ok(()),
    }
}

pub(super) async fn enrol(
    db: &mut ClientWrapper,
    under: Under,
    keys: Vec<Enrolment>,
    mut distinct: Distinct,
) -> Result<Enrolled, Trouble> {
    let mut keys = VecDeque::from(keys);
    let change = Change::begin(db).await?;
    under.must_be(&change).await?;
    compare(&change, &mut distinct).await?;
    let mut enrolled = Enrolled::default();
    while !keys.is_empty() {
        let some = some(&mut keys, |key| key.id);
        let ids: Vec<_> = some.iter().map(|key| key.id.as_bytes()).collect();
        let fingerprints: Vec<_> = some.iter().map(|key| key.fingerprint.0.as_slice()).collect();
        let sealed: Vec<_> = some.iter().map(|key| key.sealed.as_bytes().as_slice()).collect();
        let [never_used, used] = [History::NeverUsed, History::UsedElsewhere]
            .map(|history| some.iter().map(|key| key.history == history).collect::<Vec<_>>());
        let added = run(&change, ADD, &[&ids, &fingerprints, &sealed, &never_used, &used]).await?;
        run(&change, HOLD, &[&ids, &fingerprints]).await?;
        run(&change, RETIRE, &[&ids, &fingerprints]).await?;
        let changed = run(&change, REPLACE, &[&ids, &fingerprints, &sealed, &never_used, &used]).await?;
        enrolled.added = enrolled.added.saturating_add(added);
        enrolled.changed = enrolled.changed.saturating_add(changed);
        let rest = (some.len() as u64).saturating_sub(added).saturating_sub(changed);
        enrolled.unchanged = enrolled.unchanged.saturating_add(rest);
    }
    change.commit().await?;
    Ok(enrolled)
}

async fn run(
    change: &Transaction<'_>,
    statement: &str,
    values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<u64, Trouble> {
    let statement = change.prepare_cached(statement).await?;
    Ok(change.execute(&statement, values).await?)
}

pub(super) async fn remove_key(db: &mut ClientWrapper, id: PublicId) -> Result<bool, Trouble> {
    let change = Change::begin(db).await?;
    let hold = "SELECT 1 FROM ykvald.tokens WHERE public_id = $1 AND sealed IS NOT NULL FOR UPDATE";
    let retire = "INSERT INTO ykvald.retired AS r (public_id, fingerprint, position)
        SELECT public_id, fingerprint, position FROM ykvald.tokens WHERE public_id = $1 AND position IS NOT NULL
        ON CONFLICT (public_id, fingerprint) DO UPDATE SET position = greatest(r.position, excluded.position)";
    // Nobody here knows which key makes the next OTPs: they continue from the highest position of all.
    let remove = r"UPDATE ykvald.tokens t SET fingerprint = '\x0000000000000000', sealed = NULL,
            position = h.position, nonce = '', modified = CASE WHEN h.position IS NOT NULL THEN t.modified END
        FROM (SELECT max(r.position) AS position FROM ykvald.retired r WHERE r.public_id = $1) h
        WHERE t.public_id = $1";
    let id = id.as_bytes();
    if change.query_opt(hold, &[&id]).await?.is_none() {
        return Ok(false);
    }
    change.execute(retire, &[&id]).await?;
    change.execute(remove, &[&id]).await?;
    change.commit().await?;
    Ok(true)
}

const ADD_KNOWN: &str = r"INSERT INTO ykvald.tokens (public_id, fingerprint, enabled, position, nonce, modified, restored)
    SELECT k.id, '\x0000000000000000', true, k.position, k.nonce, k.modified, m.restored
    FROM ykvald.meta m, unnest($1::bytea[], $2::bigint[], $3::text[], $4::bigint[]) AS k (id, position, nonce, modified)
    ON CONFLICT (public_id) DO NOTHING";

const SWITCH_OFF: &str = "UPDATE ykvald.tokens t SET enabled = false
    FROM unnest($1::bytea[], $2::boolean[]) AS k (id, enabled)
    WHERE t.public_id = k.id AND t.enabled AND NOT k.enabled";

/// If the keys of a token were removed, keeps an imported position separately: it counts for every key that follows.
const KEEP: &str = r"INSERT INTO ykvald.retired AS r (public_id, fingerprint, position)
    SELECT t.public_id, t.fingerprint, k.position
    FROM ykvald.tokens t JOIN unnest($1::bytea[], $2::bigint[]) AS k (id, position) ON t.public_id = k.id
    WHERE t.fingerprint = '\x0000000000000000' AND k.position IS NOT NULL
        AND EXISTS (SELECT FROM ykvald.retired o WHERE o.public_id = t.public_id)
    ON CONFLICT (public_id, fingerprint) DO UPDATE SET position = greatest(r.position, excluded.position)";

const RAISE: &str = "UPDATE ykvald.tokens t SET position = k.position, nonce = k.nonce, modified = k.modified
    FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bigint[]) AS k (id, position, nonce, modified)
    WHERE t.public_id = k.id AND (t.position IS NULL OR t.position < k.position) AND k.position IS NOT NULL";

pub(super) async fn raise(
    db: &mut ClientWrapper,
    known: Vec<ImportedPosition>,
) -> Result<ImportedCounts, Trouble> {
    let mut known = VecDeque::from(known);
    let change = Change::begin(db).await?;
    let mut raised = ImportedCounts::default();
    while !known.is_empty() {
        let some = some(&mut known, |known| known.id);
        let ids: Vec<_> = some.iter().map(|known| known.id.as_bytes()).collect();
        let enabled: Vec<_> = some.iter().map(|known| known.enabled).collect();
        let positions = some.iter().map(|known| known.position.map(stored).transpose());
        let positions = positions.collect::<Result<Vec<_>, _>>()?;
        // Both belong to the position.
        let nonce =
            |known: &ImportedPosition| known.position.map_or_else(String::new, |_| known.nonce.clone());
        let nonces: Vec<_> = some.iter().map(nonce).collect();
        let modified: Vec<_> =
            some.iter().map(|known| known.modified.filter(|_| known.position.is_some())).collect();
        // New tokens are added as enabled, and counted with the others when they are disabled.
        let added = run(&change, ADD_KNOWN, &[&ids, &positions, &nonces, &modified]).await?;
        let disabled = run(&change, SWITCH_OFF, &[&ids, &enabled]).await?;
        run(&change, KEEP, &[&ids, &positions]).await?;
        let grown = run(&change, RAISE, &[&ids, &positions, &nonces, &modified]).await?;
        raised.added = raised.added.saturating_add(added);
        raised.disabled = raised.disabled.saturating_add(disabled);
        raised.raised = raised.raised.saturating_add(grown);
        let rest = (some.len() as u64).saturating_sub(added).saturating_sub(grown);
        raised.unchanged = raised.unchanged.saturating_add(rest);
    }
    change.commit().await?;
    Ok(raised)
}
